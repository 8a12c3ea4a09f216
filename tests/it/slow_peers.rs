//! Peers that hold what they do not use: connections, places and streams end in time, and others are served meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::*;

const MIB: usize = 1024 * 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Empty SETTINGS.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Longer than any limit here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy whose clocks are short, with these limits besides.
async fn hasty(limits: &Value) -> Scene {
    let mut all = json!({
        "client_header_time_max": "700ms", "client_idle_time_max": "900ms",
        "client_progress_time_max": "1200ms",
    });
    for (name, value) in limits.as_object().unwrap() {
        all[name] = value.clone();
    }
    Scene::with(|configuration, _| configuration.set("limits", all)).await
}

/// A connection from this address of loopback.
async fn connect_from(last: u8, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    let proxy = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(proxy).await.unwrap()
}

/// Reads until the proxy ends the connection, and returns the time since `started`.
async fn ended(mut stream: TcpStream, started: Instant) -> Duration {
    let mut read = Vec::new();
    let reading = stream.read_to_end(&mut read);
    let ended = tokio::time::timeout(PATIENCE, reading).await;
    assert!(ended.is_ok(), "the connection stays open");
    started.elapsed()
}

async fn connections(proxy: &Proxy, name: &str) -> f64 {
    let text = proxy.admin("/metrics").await;
    let text = String::from_utf8_lossy(&text.body).into_owned();
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn connection_that_does_not_begin_ends_on_both_listeners() {
    let scene = hasty(&json!({})).await;
    let beginnings: &[&[u8]] = &[
        b"",
        b"P",
        b"PRI",
        &PREFACE[..11],
        &PREFACE[..23],
        PREFACE,
        &[PREFACE, SETTINGS].concat(),
        b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ",
        b"POST",
    ];
    for port in [scene.proxy.port(), scene.proxy.admin_port()] {
        let mut waiting = JoinSet::new();
        for beginning in beginnings {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(beginning).await.unwrap();
            waiting.spawn(ended(stream, Instant::now()));
        }
        for elapsed in waiting.join_all().await {
            let expected = Duration::from_millis(500)..Duration::from_secs(8);
            assert!(expected.contains(&elapsed), "{elapsed:?}");
        }
    }
}

#[tokio::test]
async fn preface_that_arrives_byte_by_byte_is_one() {
    let scene = Scene::start().await;
    let port = scene.proxy.port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in PREFACE.iter().chain(SETTINGS) {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(header[3], 4, "no SETTINGS in reply");
}

/// SETTINGS, PING and `WINDOW_UPDATE` are no requests.
#[tokio::test]
async fn http_2_connection_that_asks_nothing_ends_however_busy_it_looks() {
    let scene = hasty(&json!({})).await;
    let ping: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let window: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let port = scene.proxy.port();
    for frame in [SETTINGS, ping, window] {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let started = Instant::now();
        let (reading, mut writing) = stream.into_split();
        writing.write_all(PREFACE).await.unwrap();
        writing.write_all(SETTINGS).await.unwrap();
        let mut busy = JoinSet::new();
        busy.spawn(async move {
            while writing.write_all(frame).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut reading = reading;
        let mut read = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut read)).await;
        assert!(ended.is_ok(), "{frame:?}: the connection stays open");
        assert!(started.elapsed() < Duration::from_secs(9));
    }
}

/// A peer that does not read what it asked for, with one request or with many in one go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peer_that_never_reads_is_cut_and_a_slow_one_is_served() {
    let scene = hasty(&json!({"connections_max": 8})).await;
    let image = Image::large("large", 24 * MIB);
    scene.push_signed("apps/web", "v1", &image);
    let digest = image.layer(0);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert!(scene.blob("apps/web", &digest).await.is_whole_success());
    let path = scene.blob_path("apps/web", &digest);
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let port = scene.proxy.port();
    let mut held = Vec::new();
    for last in 2..=9 {
        let mut stream = connect_from(last, port).await;
        let requests = request.repeat(if last % 2 == 0 { 1 } else { 40 });
        stream.write_all(requests.as_bytes()).await.unwrap();
        held.push(stream);
    }
    // A reader that is slow, and quicker than the floor.
    let slow = async {
        let mut stream = connect_from(20, port).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 2 * MIB];
        let mut read = 0;
        while read < 24 * MIB {
            let bytes = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
            let bytes = bytes.unwrap().unwrap();
            assert!(bytes > 0, "cut after {read} bytes");
            read += bytes;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, slow).await.unwrap();
    let freed = async {
        while connections(&scene.proxy, "countersign_connections").await > 1.0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.unwrap();
    drop(held);
}

#[tokio::test]
async fn idle_connections_make_room_for_newcomers() {
    let scene = limited_connections(12).await;
    let port = scene.proxy.port();
    let mut held = Vec::new();
    for number in 0..40 {
        held.push(connect_from(2 + number % 5, port).await);
    }
    // Those of the same party included.
    for last in [2, 3, 77] {
        let started = Instant::now();
        let mut stream = connect_from(last, port).await;
        stream
            .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
        read.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    assert!(connections(&scene.proxy, "countersign_connections").await <= 13.0);
}

async fn limited_connections(max: usize) -> Scene {
    let limits = json!({"connections_max": max});
    Scene::with(|configuration, _| configuration.set("limits", limits)).await
}

/// The requests of one address wait for the upstream, so none of its connections is idle.
#[tokio::test]
async fn address_with_busy_connections_leaves_a_quarter_to_others() {
    let scene = limited_connections(16).await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    scene.registry.fault("/manifests/hung", Fault::Hang);
    let hung = scene.manifest_path("apps/web", "hung");
    let port = scene.proxy.port();
    let mut held = Vec::new();
    for _ in 0..30 {
        let mut stream = connect_from(5, port).await;
        let request = format!("GET {hung} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let answer = scene.manifest("apps/web", "v1").await;
    assert_serves(&answer, &image);
    assert!(answer.elapsed < Duration::from_secs(1), "{answer}");
}

/// 2,100 half-sent requests, fewer here: the admin listener has places of its own.
#[tokio::test]
async fn half_sent_requests_to_the_admin_listener_stop_nobody() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let mut held = Vec::new();
    for _ in 0..600 {
        let port = scene.proxy.admin_port();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // Those that were given up refuse bytes.
        drop(stream.write_all(b"GET /livez HTTP/1.1\r\nHost: 12").await);
        held.push(stream);
    }
    assert_eq!(scene.proxy.admin("/livez").await.status, 200);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let open = connections(&scene.proxy, "countersign_admin_connections").await;
    assert!(open <= 257.0, "{open}");
}

#[tokio::test]
async fn body_that_trickles_in_ends_in_time() {
    let scene = hasty(&json!({})).await;
    let ports = [scene.proxy.port(), scene.proxy.admin_port()];
    for (port, path) in ports.into_iter().zip(["/v2/token", "/api/v1/recheck"]) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let started = Instant::now();
        let mut trickle = JoinSet::new();
        trickle.spawn(async move {
            while writing.write_all(b"{").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut read = Vec::new();
        let answered = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut read)).await;
        assert!(answered.is_ok(), "{path}: the connection stays open");
        assert!(started.elapsed() < Duration::from_secs(8), "{path}");
    }
}

/// The status line and the headers of the answer to a `GET` from this address.
async fn head_of(last: u8, port: u16, path: &str) -> String {
    let mut stream = connect_from(last, port).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let reading = stream.read_to_end(&mut read);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8_lossy(&read).into_owned();
    text.split("\r\n\r\n").next().unwrap().to_lowercase()
}

#[tokio::test]
async fn requests_beyond_the_share_of_a_client_are_answered_with_503() {
    let limits = json!({"client_requests_max": 10, "decision_time_max": "6s"});
    let scene = Scene::with(|configuration, _| configuration.set("limits", limits)).await;
    let image = scene.signed("apps/web", "v1");
    scene.signed("apps/web", "v2");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let port = scene.proxy.port();
    scene.registry.fault("/manifests/hung", Fault::Hang);
    let hung = scene.manifest_path("apps/web", "hung");
    let mut waiting = JoinSet::new();
    for _ in 0..5 {
        let hung = hung.clone();
        waiting.spawn(async move { head_of(30, port, &hung).await });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The share is used up: no more at once, and nothing waits.
    let started = Instant::now();
    let refused = head_of(30, port, &hung).await;
    assert!(refused.starts_with("http/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    assert!(started.elapsed() < Duration::from_secs(1));
    // Memory needs no place, and others have places.
    let warm = head_of(30, port, &scene.manifest_path("apps/web", "v1")).await;
    assert!(warm.starts_with("http/1.1 200"), "{warm}");
    let cold = head_of(31, port, &scene.manifest_path("apps/web", "v2")).await;
    assert!(cold.starts_with("http/1.1 200"), "{cold}");
    drop(waiting.join_all().await);
    // The places are free again.
    let after = head_of(30, port, &scene.manifest_path("apps/web", "v2")).await;
    assert!(after.starts_with("http/1.1 200"), "{after}");
}
