//! The budget for what is read: taken before reading, held while what was read lives, and nobody else's fault.

use super::*;
use crate::shares::Hold;

/// Manifests of this size are large, and the budget has room for one of them.
const BYTES: usize = 200_000;

fn manifest() -> Vec<u8> {
    format!("{{{}}}", " ".repeat(BYTES - 2)).into_bytes()
}

fn tight(server: &Server) -> HttpUpstream {
    within(server, 1_000_000)
}

fn within(server: &Server, reading_bytes_max: u64) -> HttpUpstream {
    let limits = Limits {
        reading_bytes_max,
        discovery_bytes_max: 1_000_000,
        ..limits()
    };
    let plain = plain(credentials::Credentials::Anonymous);
    build(&server.host(), plain, limits).unwrap()
}

async fn pull_soon(upstream: &HttpUpstream, server: &Server) -> Result<FetchedManifest, Error> {
    let deadline = Instant::now() + Duration::from_millis(500);
    upstream
        .manifest(&repository(server), &tag("v1"), Purpose::Manifest, deadline)
        .await
}

#[tokio::test]
async fn bytes_are_taken_before_a_body_is_read() {
    let server = Server::start(|_| {
        Reply::Stall(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").into())
    })
    .await;
    let upstream = tight(&server);
    let (first, second) = (pull_soon(&upstream, &server), pull_soon(&upstream, &server));
    let (first, second) = tokio::join!(first, second);
    // The upstream is to blame for the one that was read, and not for the one that waited.
    assert!(is_failed(&first.unwrap_err(), ""), "first");
    let second = second.unwrap_err();
    assert!(matches!(second, Error::Congested { .. }), "{second:?}");
    assert!(!second.is_transient());
}

#[tokio::test]
async fn bytes_are_held_for_as_long_as_what_was_read() {
    let server = Server::start(|_| Reply::ok(manifest())).await;
    let upstream = tight(&server);
    let first = pull_soon(&upstream, &server).await.unwrap();
    assert_eq!(first.bytes.len(), BYTES);
    let part = first.bytes.slice(10..20);
    drop(first);
    let error = pull_soon(&upstream, &server).await.unwrap_err();
    assert!(matches!(error, Error::Congested { .. }), "{error:?}");
    drop(part);
    let second = pull_soon(&upstream, &server).await.unwrap();
    // From now on it counts elsewhere.
    second.hold.release();
    pull_soon(&upstream, &server).await.unwrap();
}

#[tokio::test]
async fn body_of_unknown_length_holds_bytes_for_what_came() {
    let server = Server::start(|_| {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        answer.extend(format!("{BYTES:x}\r\n").into_bytes());
        answer.extend(manifest());
        answer.extend(b"\r\n0\r\n\r\n");
        Reply::Raw(answer)
    })
    .await;
    let upstream = within(&server, 8_000_000);
    let first = pull_soon(&upstream, &server).await.unwrap();
    assert_eq!(first.bytes.len(), BYTES);
    let held = u64::try_from(BYTES).unwrap() * crate::oci::manifest::MEMORY_PER_BYTE;
    assert_eq!(first.hold.bytes(), held);
}

#[tokio::test]
async fn small_bodies_are_read_beside_large_ones() {
    let server = Server::start(|_| Reply::ok("{}")).await;
    let upstream = tight(&server);
    let all: Hold = upstream.reading().begin(1_000_000, soon()).await.unwrap();
    pull_soon(&upstream, &server).await.unwrap();
    assert!(all.bytes() > 800_000);
}
