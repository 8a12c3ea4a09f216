//! `HEAD` is no sole witness: many registries serve by `GET` what they refuse by `HEAD`.

use super::*;

const LAYER: &[u8] = b"0123456789";

/// A server that answers `HEAD` and `GET` each in its own way.
async fn with_head(head: Reply, get: Reply) -> Server {
    Server::start(move |request| {
        if request.method == "HEAD" {
            head.clone()
        } else {
            get.clone()
        }
    })
    .await
}

/// The first byte of the layer, as it is asked for.
fn first_byte() -> Reply {
    Reply::Answer(206, Vec::new(), LAYER[..1].into()).with("Content-Range", "bytes 0-0/10")
}

async fn confirm(server: &Server, content: &[u8], time: Duration) -> Result<(), Error> {
    upstream(server)
        .confirm_blob(
            &repository(server),
            &Digest::sha256(content),
            content.len() as u64,
            Instant::now() + time,
        )
        .await
}

fn methods(server: &Server) -> Vec<String> {
    server.seen().into_iter().map(|seen| seen.method).collect()
}

#[tokio::test]
async fn a_head_that_answers_200_confirms_a_blob() {
    let server = with_head(Reply::ok(LAYER), Reply::status(500)).await;
    confirm(&server, LAYER, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(methods(&server), ["HEAD"]);
}

#[tokio::test]
async fn any_other_head_is_followed_by_a_get_of_the_first_byte() {
    let heads = [400, 401, 403, 404, 405, 406, 409, 410, 416, 500, 501, 503].map(Reply::status);
    let further = [
        Reply::Close,
        Reply::redirect("ftp://127.0.0.1/"),
        Reply::Answer(206, Vec::new(), Vec::new()),
    ];
    for head in heads.into_iter().chain(further) {
        for get in [first_byte(), Reply::ok(LAYER)] {
            let server = with_head(head.clone(), get).await;
            let confirmed = confirm(&server, LAYER, Duration::from_secs(5)).await;
            assert!(confirmed.is_ok(), "{head:?}: {confirmed:?}");
            assert_eq!(methods(&server), ["HEAD", "GET"], "{head:?}");
            assert_eq!(server.seen()[1].header("range"), Some("bytes=0-0"));
        }
    }
}

/// Answers of 200 that are for something else than the layer.
fn other_content() -> [(Reply, &'static str); 5] {
    let page = || Reply::ok("<html>Sign in</html>");
    let chunked = |headers: &str| {
        let head =
            format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        Reply::Raw(head.into_bytes())
    };
    [
        (page().with("Content-Type", "text/html"), "other_content"),
        (page().with("Content-Encoding", "gzip"), "other_content"),
        (page(), "wrong_digest"),
        (chunked("Content-Type: text/html\r\n"), "other_content"),
        (chunked("Content-Encoding: br\r\n"), "other_content"),
    ]
}

#[tokio::test]
async fn head_that_answers_for_other_content_is_followed_by_a_get() {
    for (head, _) in other_content() {
        let server = with_head(head.clone(), first_byte()).await;
        let confirmed = confirm(&server, LAYER, Duration::from_secs(5)).await;
        assert!(confirmed.is_ok(), "{head:?}: {confirmed:?}");
        assert_eq!(methods(&server), ["HEAD", "GET"], "{head:?}");
    }
}

#[tokio::test]
async fn get_that_answers_with_other_content_confirms_no_blob() {
    let other_part =
        Reply::Answer(206, Vec::new(), b"<".into()).with("Content-Range", "bytes 0-0/20");
    for (get, expected) in other_content()
        .into_iter()
        .chain([(other_part, "wrong_digest")])
    {
        let server = with_head(Reply::status(405), get.clone()).await;
        let confirmed = confirm(&server, LAYER, Duration::from_secs(5)).await;
        let outcome = observer::outcome(&confirmed.unwrap_err());
        assert_eq!(outcome, expected, "{get:?}");
    }
}

#[tokio::test]
async fn get_that_says_no_size_or_the_right_one_confirms_a_blob() {
    let part = Reply::Answer(206, Vec::new(), b"0".into());
    for get in [
        part.clone(),
        part.clone().with("Content-Range", "bytes 0-0/*"),
        first_byte().with("Content-Type", "text/html"),
        Reply::ok(LAYER).with("Content-Encoding", "gzip"),
    ] {
        let server = with_head(Reply::status(405), get.clone()).await;
        let confirmed = confirm(&server, LAYER, Duration::from_secs(5)).await;
        assert!(confirmed.is_ok(), "{get:?}: {confirmed:?}");
    }
}

#[tokio::test]
async fn a_head_redirected_to_storage_that_signs_get_only_is_followed_by_a_get() {
    let storage = with_head(Reply::status(403), first_byte()).await;
    let to = storage.url("/bucket/layer?X-Amz-Signature=for-GET");
    let server = with_head(Reply::redirect(&to), Reply::redirect(&to)).await;
    confirm(&server, LAYER, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(methods(&storage), ["HEAD", "GET"]);
}

#[tokio::test]
async fn a_head_that_hangs_leaves_half_of_the_time_for_the_get() {
    let server = with_head(Reply::Stall(Vec::new()), first_byte()).await;
    let started = Instant::now();
    confirm(&server, LAYER, Duration::from_secs(2))
        .await
        .unwrap();
    assert!(started.elapsed() < Duration::from_millis(1800));
}

#[tokio::test]
async fn the_get_decides_whether_a_blob_is_there() {
    for (get, expected) in [
        (404, "not_found"),
        (410, "not_found"),
        (403, "denied"),
        (418, "unexpected"),
        (416, "unexpected"),
    ] {
        let server = with_head(Reply::status(405), Reply::status(get)).await;
        let confirmed = confirm(&server, LAYER, Duration::from_secs(5)).await;
        assert_eq!(
            observer::outcome(&confirmed.unwrap_err()),
            expected,
            "{get}"
        );
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_satisfied_confirms_an_empty_blob_only() {
    let server = with_head(Reply::status(501), Reply::status(416)).await;
    confirm(&server, b"", Duration::from_secs(5)).await.unwrap();
    confirm(&server, LAYER, Duration::from_secs(5))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_head_that_is_throttled_is_not_doubled_by_a_get() {
    let throttled = Reply::status(429).with("Retry-After", "600");
    let server = with_head(throttled, first_byte()).await;
    let confirmed = confirm(&server, LAYER, Duration::from_secs(5)).await;
    assert!(
        matches!(confirmed, Err(Error::Throttled { .. })),
        "{confirmed:?}"
    );
    assert_eq!(methods(&server), ["HEAD"]);
}

#[tokio::test]
async fn a_head_that_fails_is_sent_once() {
    let server = with_head(Reply::status(500), Reply::ok("{}")).await;
    let head = upstream(&server)
        .head_manifest(&repository(&server), &tag("v1"), Purpose::Manifest, soon())
        .await;
    assert!(is_failed(&head.unwrap_err(), "500"));
    assert_eq!(methods(&server), ["HEAD"]);
}
