//! A full disk: what is warm is served, what is new waits, and everything recovers by itself.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::*;

/// Time for recovery on a machine that is busy with other tests.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(30);

/// A file that takes all room there is.
fn fill(proxy: &Proxy) -> PathBuf {
    let path = proxy.own_data_dir().join("filler");
    let mut file = File::create(&path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    path
}

async fn ready_again(proxy: &Proxy) {
    let started = Instant::now();
    while proxy.admin("/readyz").await.status != 200 {
        assert!(started.elapsed() < RECOVERY_TIME_MAX, "{}", proxy.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn readiness_tells_of_it_and_comes_back_without_traffic() {
    let scene = Scene::start().await;
    scene.proxy.stop().await;
    if !scene.proxy.set_small_disk(16) {
        eprintln!("skipped: no disk of its own without root and `unshare`");
        return;
    }
    scene.proxy.run().await;
    let warm = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &warm);
    let layer = scene.blob("apps/web", &warm.layer(0)).await;
    assert_eq!(layer.status, 200, "{layer}");
    let filler = fill(&scene.proxy);

    let cold = scene.signed("apps/web", "v2");
    let refused = scene.manifest("apps/web", "v2").await;
    assert_eq!(refused.status, 503, "{refused}");
    assert!(!refused.header("retry-after").is_empty(), "{refused}");
    let probe = scene.proxy.admin("/readyz").await;
    assert_eq!(probe.status, 503, "{probe}");
    assert!(
        probe.json()["missing"]
            .to_string()
            .contains("the disk is full"),
        "{probe}"
    );
    let metrics = String::from_utf8_lossy(&scene.proxy.admin("/metrics").await.body).into_owned();
    assert!(metrics.contains("_failing 1"), "{metrics}");
    let digest = scene.manifest_path("apps/web", &warm.digest);
    assert_serves(&scene.proxy.get(&digest).await, &warm);
    let layer = scene.blob("apps/web", &warm.layer(0)).await;
    assert_eq!(layer.status, 200, "{layer}");

    std::fs::remove_file(filler).unwrap();
    ready_again(&scene.proxy).await;
    assert_serves(&scene.manifest_soon("apps/web", "v2").await, &cold);
    let layer = scene.blob("apps/web", &cold.layer(0)).await;
    assert_eq!(layer.status, 200, "{layer}");
}
