//! SIGTERM: no new work, the work under way to its end.

use std::time::{Duration, Instant};

use crate::support::*;

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_under_way_is_finished() {
    let scene = Scene::start().await;
    let image = Image::large("large", 2 * MIB);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let digest = image.layer(0);
    scene
        .registry
        .fault(&digest, Fault::Trickle(MIB / 8, Duration::from_millis(120)));
    let path = scene.blob_path("apps/web", &digest);
    let mut opened = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
    let start = opened.read_at_least(MIB / 8).await;
    scene.proxy.signal_term();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = open(scene.proxy.port(), "GET", "/v2/", &[]).await;
    assert!(late.is_err(), "a new connection was taken");
    let (rest, broken) = opened.rest().await;
    assert_eq!(broken, None);
    assert_eq!(sha256(&[&start[..], &rest[..]].concat()), digest);
    let status = scene.proxy.wait().await;
    assert_eq!(status.code(), Some(0), "{}", scene.proxy.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_under_way_ends_at_once() {
    let scene = Scene::start().await;
    let asked = Instant::now();
    let status = scene.proxy.stop().await;
    assert_eq!(status.code(), Some(0), "{}", scene.proxy.log());
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_upstream_does_not_keep_it() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.fault(&image.digest, Fault::Hang);
    let path = scene.manifest_path("apps/web", &image.digest);
    let waiting = open(scene.proxy.port(), "GET", &path, &[]);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        scene.proxy.stop().await
    };
    let (_, status) = tokio::join!(waiting, stop);
    assert_eq!(status.code(), Some(0), "{}", scene.proxy.log());
}
