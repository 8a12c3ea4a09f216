//! Bodies: complete, bounded, with the right digest, or an error.

use bytes::Bytes;
use futures::StreamExt;

use super::*;

const LAYER: &[u8] = b"0123456789";

async fn fetch(
    upstream: &HttpUpstream,
    server: &Server,
    offset: u64,
) -> Result<FetchedBlob, Error> {
    upstream
        .blob(
            &repository(server),
            &Digest::sha256(LAYER),
            offset,
            Purpose::Blob,
            soon(),
        )
        .await
}

async fn chunks(blob: FetchedBlob) -> Vec<Result<Bytes, Error>> {
    blob.body.collect().await
}

async fn small(upstream: &HttpUpstream, server: &Server, limit_bytes: u64) -> Result<Bytes, Error> {
    let digest = Digest::sha256(LAYER);
    upstream
        .small_blob(
            &repository(server),
            &digest,
            limit_bytes,
            Purpose::CosignTag,
            soon(),
        )
        .await
}

#[tokio::test]
async fn a_manifest_is_read_whole_and_hashed() {
    let server =
        Server::start(|_| Reply::ok("{}").with("Content-Type", "application/x; charset=utf-8"))
            .await;
    let manifest = pull(&upstream(&server), &server).await.unwrap();
    assert_eq!(
        (&manifest.bytes[..], manifest.content_type.as_str()),
        (&b"{}"[..], "application/x")
    );
    assert_eq!(manifest.digest, Digest::sha256(b"{}"));
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/v2/org/app/manifests/v1")
    );
    assert_eq!(
        seen.header("accept"),
        Some(crate::oci::media_type::ACCEPT_MANIFEST)
    );
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert!(
        seen.header("user-agent")
            .unwrap()
            .starts_with("countersign/0.")
    );
}

#[tokio::test]
async fn a_manifest_by_digest_has_that_digest() {
    let server = Server::start(|_| Reply::ok("{}")).await;
    let upstream = upstream(&server);
    for algorithm in [
        crate::oci::digest::Algorithm::Sha256,
        crate::oci::digest::Algorithm::Sha512,
    ] {
        let right = Digest::of(algorithm, b"{}");
        let reference = Reference::Digest(right);
        let manifest = upstream
            .manifest(&repository(&server), &reference, Purpose::Manifest, soon())
            .await;
        assert_eq!(manifest.unwrap().digest, right);
        let reference = Reference::Digest(Digest::of(algorithm, b"{ }"));
        let error = upstream
            .manifest(&repository(&server), &reference, Purpose::Manifest, soon())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_manifest_has_a_limit() {
    let limits = Limits {
        manifest_bytes_max: 4096,
        ..limits()
    };
    for reply in [
        Reply::Endless,
        Reply::ok(vec![b' '; 4097]),
        // Honest about its size: not read at all, so not waited for.
        Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n".to_vec()),
    ] {
        let server = Server::start(move |_| reply.clone()).await;
        let upstream = build(
            &server.host(),
            plain(credentials::Credentials::Anonymous),
            limits.clone(),
        )
        .unwrap();
        let error = pull(&upstream, &server).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooLarge {
                    limit_bytes: 4096,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(server.seen().len(), 1, "not asked again");
    }
    let mut manifest = br#"{"schemaVersion":2}"#.to_vec();
    manifest.resize(4096, b' ');
    let server = Server::start(move |_| Reply::ok(manifest.clone())).await;
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    assert_eq!(pull(&upstream, &server).await.unwrap().bytes.len(), 4096);
}

#[tokio::test]
async fn lists_and_small_blobs_have_limits_of_their_own() {
    let server = Server::start(|_| Reply::ok(LAYER)).await;
    let limits = Limits {
        list_bytes_max: 9,
        ..limits()
    };
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    let error = upstream
        .tags(&repository(&server), None, soon())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit_bytes: 9, .. }),
        "{error:?}"
    );
    let error = small(&upstream, &server, 9).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit_bytes: 9, .. }),
        "{error:?}"
    );
    assert_eq!(&small(&upstream, &server, 10).await.unwrap()[..], LAYER);
}

#[tokio::test]
async fn a_small_blob_has_its_digest() {
    let server = Server::start(|_| Reply::ok("other")).await;
    let error = small(&upstream(&server), &server, 100).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_short_manifest_is_truncated() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let raw = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n4\r\n12");
        let server = Server::start(move |_| Reply::Raw(raw.clone().into_bytes())).await;
        let error = pull(&upstream(&server), &server).await.unwrap_err();
        assert!(
            matches!(error, Error::Truncated { .. }),
            "{head}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let server = Server::start(|_| {
        Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01".to_vec())
    })
    .await;
    let upstream = upstream(&server);
    let error = pull(&upstream, &server).await.unwrap_err();
    assert!(is_failed(&error, "stalled"), "{error:?}");
    let chunks = chunks(fetch(&upstream, &server, 0).await.unwrap()).await;
    assert_eq!(chunks[0].as_ref().unwrap(), "01");
    assert!(is_failed(chunks[1].as_ref().unwrap_err(), "stalled"));
    assert_eq!(chunks.len(), 2);
}

#[tokio::test]
async fn a_blob_arrives_whole() {
    let server = Server::start(|_| Reply::ok(LAYER)).await;
    let blob = fetch(&upstream(&server), &server, 0).await.unwrap();
    assert_eq!((blob.offset, blob.size), (0, Some(10)));
    let chunks = chunks(blob).await;
    assert_eq!(
        chunks
            .into_iter()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .concat(),
        LAYER
    );
    let seen = &server.seen()[0];
    assert_eq!(
        seen.target,
        format!("/v2/org/app/blobs/{}", Digest::sha256(LAYER))
    );
    assert_eq!(seen.header("range"), None);
}

#[tokio::test]
async fn a_short_blob_ends_with_an_error() {
    let server =
        Server::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01".to_vec()))
            .await;
    let chunks = chunks(fetch(&upstream(&server), &server, 0).await.unwrap()).await;
    assert!(
        matches!(chunks.last().unwrap(), Err(Error::Truncated { .. })),
        "{chunks:?}"
    );
}

#[tokio::test]
async fn a_blob_goes_on_where_it_stopped() {
    let server = Server::start(|request| {
        assert_eq!(request.header("range"), Some("bytes=4-"));
        Reply::Answer(
            206,
            vec![("Content-Range".into(), "bytes 4-9/10".into())],
            LAYER[4..].into(),
        )
    })
    .await;
    let blob = fetch(&upstream(&server), &server, 4).await.unwrap();
    assert_eq!((blob.offset, blob.size), (4, Some(10)));
    assert_eq!(chunks(blob).await[0].as_ref().unwrap(), &LAYER[4..]);
}

#[tokio::test]
async fn an_upstream_may_ignore_the_range() {
    let server = Server::start(|_| Reply::ok(LAYER)).await;
    let blob = fetch(&upstream(&server), &server, 4).await.unwrap();
    assert_eq!((blob.offset, blob.size), (0, Some(10)));
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_refused() {
    for (offset, range) in [
        (4, Some("bytes 3-9/10")),
        (4, Some("bytes 5-9/10")),
        (4, Some("bytes 4-10/10")),
        (4, None),
        (0, Some("bytes 0-9/10")),
    ] {
        let server = Server::start(move |_| {
            let headers = range.map(|range| ("Content-Range".to_owned(), range.to_owned()));
            Reply::Answer(206, headers.into_iter().collect(), LAYER.into())
        })
        .await;
        let error = fetch(&upstream(&server), &server, offset)
            .await
            .unwrap_err();
        assert!(is_unexpected(&error, "range"), "{range:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_range_with_less_or_more_than_the_rest_ends_with_an_error() {
    for (range, body) in [
        ("bytes 4-6/10", &LAYER[4..7]),
        ("bytes 4-9/10", &LAYER[4..9]),
    ] {
        let server = Server::start(move |_| {
            Reply::Answer(
                206,
                vec![("Content-Range".into(), range.into())],
                body.into(),
            )
        })
        .await;
        let chunks = chunks(fetch(&upstream(&server), &server, 4).await.unwrap()).await;
        assert!(
            matches!(chunks.last().unwrap(), Err(Error::Truncated { .. })),
            "{chunks:?}"
        );
    }
    let server = Server::start(|_| {
        Reply::Answer(
            206,
            vec![("Content-Range".into(), "bytes 4-7/8".into())],
            LAYER[4..].into(),
        )
    })
    .await;
    let chunks = chunks(fetch(&upstream(&server), &server, 4).await.unwrap()).await;
    assert!(
        is_failed(chunks.last().unwrap().as_ref().unwrap_err(), "longer"),
        "{chunks:?}"
    );
}

#[tokio::test]
async fn a_head_tells_size_and_digest() {
    let digest = Digest::sha256(LAYER);
    let server = Server::start(move |request| {
        assert_eq!(request.method, "HEAD");
        Reply::ok(LAYER).with("Docker-Content-Digest", &digest.to_string())
    })
    .await;
    let upstream = upstream(&server);
    upstream
        .confirm_blob(&repository(&server), &digest, 10, soon())
        .await
        .unwrap();
    let head = upstream
        .head_manifest(&repository(&server), &tag("v1"), Purpose::Manifest, soon())
        .await
        .unwrap();
    assert_eq!(head.digest, Some(digest));

    let server = Server::start(|_| Reply::ok("").with("Docker-Content-Digest", "sha256:XYZ")).await;
    let upstream = super::upstream(&server);
    let head = upstream
        .head_manifest(&repository(&server), &tag("v1"), Purpose::Manifest, soon())
        .await
        .unwrap();
    assert_eq!(head.digest, None);
}
