//! Times: whoever is slow is waited for, and not for ever.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::limited;
use crate::support::*;

/// An answer that a time limit of a second led to.
#[track_caller]
fn assert_in_time(answer: &Answer) {
    assert_unavailable(answer);
    assert!(answer.elapsed < Duration::from_secs(4), "{answer}");
}

#[tokio::test]
async fn of_connecting() {
    // A socket whose queue is full answers nobody.
    let port = ports::free_port();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], port).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let connecting = TcpStream::connect(("127.0.0.1", port));
        let connected = tokio::time::timeout(Duration::from_millis(100), connecting).await;
        waiting.extend(connected);
    }
    let name = format!("127.0.0.1:{port}");
    let key = SigningKey::generate();
    let configuration = Configuration::new(&[])
        .policy(key_policy("apps", &format!("{name}/**"), &[&key]))
        .set("upstreams", json!({&name: {"plain_http": true}}))
        .set(
            "limits",
            json!({
                "connect_time_max": "300ms", "header_time_max": "60s", "decision_time_max": "60s",
                "upstream_attempts_max": 1,
            }),
        );
    let proxy = Proxy::start(configuration).await;
    let answer = proxy.get(&format!("/v2/{name}/apps/manifests/v1")).await;
    assert_in_time(&answer);
    drop((listener, waiting));
}

#[tokio::test]
async fn of_headers() {
    let scene = limited(json!({
        "header_time_max": "300ms", "decision_time_max": "60s", "upstream_attempts_max": 1,
    }))
    .await;
    scene.signed("apps/web", "v1");
    scene.registry.fault("/manifests/v1", Fault::Hang);
    assert_in_time(&scene.manifest("apps/web", "v1").await);
}

#[tokio::test]
async fn without_a_byte_of_a_body() {
    let scene = limited(json!({
        "body_idle_time_max": "300ms", "decision_time_max": "60s", "upstream_attempts_max": 1,
    }))
    .await;
    scene.signed("apps/web", "v1");
    scene.registry.fault("/manifests/v1", Fault::StallAfter(10));
    assert_in_time(&scene.manifest("apps/web", "v1").await);
}

/// A byte now and then is never idle; the decision as a whole has an end.
#[tokio::test]
async fn of_a_decision() {
    let drip = Fault::Trickle(1, Duration::from_millis(50));
    for part in ["/manifests/v1", "\\.sig", "/referrers/", "/blobs/"] {
        let scene = limited(json!({"decision_time_max": "1s"})).await;
        let image = scene.unsigned("apps/web", "v1");
        let stranger = SigningKey::generate();
        scene.registry.sign_legacy("apps/web", &image, &stranger);
        scene.registry.fault(part, drip.clone());
        assert_in_time(&scene.manifest("apps/web", "v1").await);
    }
    // Tags and referrers as well.
    let scene = limited(json!({"decision_time_max": "1s"})).await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.fault("/(tags|referrers)/", drip);
    let repository = scene.repository("apps/web");
    for rest in ["tags/list", &format!("referrers/{}", image.digest)] {
        let answer = scene.proxy.get(&format!("/v2/{repository}/{rest}")).await;
        assert_in_time(&answer);
    }
}

/// A byte now and then is never idle, and a blob has no end by which it must be there: it must come at some speed.
#[tokio::test]
async fn of_a_blob_that_drips() {
    let scene = limited(json!({"body_idle_time_max": "1s", "transfer_attempts_max": 1})).await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let drip = Fault::Trickle(1, Duration::from_millis(100));
    scene.registry.fault("/blobs/", drip);
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert!(!answer.is_whole_success(), "{answer}");
    assert!(answer.elapsed < Duration::from_secs(6), "{answer}");
}

#[tokio::test]
async fn of_a_token_that_drips() {
    let (registry, service) = FakeRegistry::start_with_tokens().await;
    let key = SigningKey::generate();
    registry.push_tagged("apps/web", "v1", &Image::new("private"));
    let images = format!("{}/apps/**", registry.name());
    let configuration = Configuration::new(&[&registry])
        .policy(key_policy("apps", &images, &[&key]))
        .set("limits", json!({"decision_time_max": "1s"}));
    let proxy = Proxy::start(configuration).await;
    let drip = Fault::Trickle(1, Duration::from_millis(500));
    service.fault("/token", drip);
    let path = format!("/v2/{}/apps/web/manifests/v1", registry.name());
    assert_in_time(&proxy.get(&path).await);
}

/// Whatever the upstream says, other purposes are not held up, and the client hears at once.
#[tokio::test]
async fn of_a_pause() {
    for seconds in [10_000_000, u64::MAX] {
        let scene = limited(json!({})).await;
        scene.signed("apps/web", "v1");
        scene
            .registry
            .fault("/manifests/v1", Fault::Throttled(seconds));
        let answer = scene.manifest("apps/web", "v1").await;
        assert_in_time(&answer);
        let said: u64 = answer.header("retry-after").parse().unwrap();
        assert!(said <= 15 * 60, "come back after {said} seconds");
        let path = format!("/v2/{}/tags/list", scene.repository("apps/web"));
        assert_eq!(scene.proxy.get(&path).await.status, 200);
    }
}

#[tokio::test]
async fn of_the_headers_of_a_client() {
    let scene = limited(json!({"client_header_time_max": "500ms"})).await;
    for sent in ["", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", scene.proxy.port()))
            .await
            .unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let reading = stream.read_to_end(&mut read);
        let ended = tokio::time::timeout(Duration::from_secs(10), reading).await;
        assert!(ended.is_ok(), "{sent:?}: it waits for ever");
        assert!(started.elapsed() > Duration::from_millis(300), "{sent:?}");
    }
}

#[tokio::test]
async fn in_which_connections_are_used_up() {
    let scene = limited(json!({"connections_max": 3})).await;
    scene.registry.fault("/manifests/hung", Fault::Hang);
    let hung = scene.manifest_path("apps/web", "hung");
    let request = format!("GET {hung} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..3 {
        let stream = TcpStream::connect(("127.0.0.1", scene.proxy.port()));
        let mut stream = stream.await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asking = scene.proxy.get("/v2/");
    let answered = tokio::time::timeout(Duration::from_secs(1), asking).await;
    assert!(answered.is_err(), "a fourth connection is served");
    assert_eq!(scene.proxy.admin("/livez").await.status, 200);
    held.clear();
    assert_eq!(scene.proxy.get("/v2/").await.status, 200);
}

#[tokio::test]
async fn of_an_idle_client() {
    let scene = limited(json!({"client_idle_time_max": "600ms"})).await;
    let mut stream = TcpStream::connect(("127.0.0.1", scene.proxy.port()))
        .await
        .unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
    }
    let asked = Instant::now();
    let mut read = Vec::new();
    let reading = stream.read_to_end(&mut read);
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert!(ended.is_ok(), "it stays open");
    assert!(asked.elapsed() > Duration::from_millis(400));
    let answers = String::from_utf8_lossy(&read).matches("200 OK").count();
    assert_eq!(answers, 3);
}

#[tokio::test]
async fn in_which_a_client_takes_nothing() {
    let scene = limited(json!({
        "client_progress_time_max": "1s", "client_progress_bytes_min": "4MiB",
    }))
    .await;
    let image = Image::large("large", 16 * 1024 * 1024);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let path = scene.blob_path("apps/web", &image.layer(0));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let proxy = ([127, 0, 0, 1], scene.proxy.port()).into();
    let mut stream = socket.connect(proxy).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut read = Vec::new();
    let reading = stream.read_to_end(&mut read);
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert!(ended.is_ok(), "it stays open");
    assert!(read.len() < 16 * 1024 * 1024, "{} bytes", read.len());
}
