//! Many at once cost the upstream as much as one, and nobody's leaving changes anything for the others.

use std::time::Duration;

use crate::support::*;

const CLIENTS: usize = 50;
const MIB: usize = 1024 * 1024;

/// Pulls the whole image: the manifest by tag, then every blob.
async fn pull(scene: &Scene, image: &Image) {
    assert_serves(&scene.manifest("apps/web", "v1").await, image);
    for blob in &image.blobs {
        let digest = sha256(blob);
        assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_cold_pulls_are_one_verification_and_one_transfer() {
    let scene = Scene::start().await;
    let image = Image::large("large", 8 * MIB);
    scene.push_signed("apps/web", "v1", &image);
    scene.registry.set_latency(Duration::from_millis(30));
    together((0..CLIENTS).map(|_| pull(&scene, &image))).await;

    let gets = |rest: &str| scene.registry.count(&format!("^GET /v2/apps/web/{rest}$"));
    for blob in &image.blobs {
        assert_eq!(gets(&format!("blobs/{}", sha256(blob))), 1);
    }
    assert_eq!(gets(&format!("manifests/(v1|{})", image.digest)), 1);
    assert_eq!(
        gets(&format!(
            "manifests/{}",
            regex::escape(&image.cosign_tag("sig"))
        )),
        1
    );
    assert_eq!(gets(&format!("referrers/{}.*", image.digest)), 1);
    let query = format!("digest={}", image.digest);
    let records = scene.proxy.decisions(&query).await;
    assert_eq!(records.len(), 1, "one decision: {records:?}");
    scene.proxy.assert_content_is_right();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_cold_pulls_of_an_unsigned_image_are_one_refusal() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.set_latency(Duration::from_millis(50));
    let answers = together((0..CLIENTS).map(|_| scene.manifest("apps/web", &image.digest))).await;
    for answer in &answers {
        assert_denied(answer, "unsigned");
    }
    let manifest = format!("^GET /v2/apps/web/manifests/{}$", image.digest);
    assert_eq!(scene.registry.count(&manifest), 1);
    assert_eq!(scene.registry.count("/referrers/"), 1);
}

/// A scene whose one layer is on its way for about two seconds, with the manifest admitted.
async fn slow_layer() -> (Scene, Image) {
    let scene = Scene::start().await;
    let image = Image::large("slow", 4 * MIB);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let fault = Fault::Trickle(MIB / 8, Duration::from_millis(60));
    scene.registry.fault(&image.layer(0), fault);
    (scene, image)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_client_leaving_changes_nothing() {
    let (scene, image) = slow_layer().await;
    let (digest, path) = (image.layer(0), scene.blob_path("apps/web", &image.layer(0)));
    let mut first = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
    assert_eq!(first.status, 200);
    first.read_at_least(MIB / 8).await;
    let others = together((0..5).map(|_| scene.blob("apps/web", &digest)));
    let leave = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(first);
    };
    let (answers, ()) = tokio::join!(others, leave);
    for answer in &answers {
        assert_serves_blob(answer, &digest);
    }
    assert_eq!(scene.registry.count(&format!("GET .*/blobs/{digest}$")), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_leaving_changes_nothing() {
    let (scene, image) = slow_layer().await;
    let (digest, path) = (image.layer(0), scene.blob_path("apps/web", &image.layer(0)));
    let others = together((0..3).map(|_| scene.blob("apps/web", &digest)));
    let follower = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut follower = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
        follower.read_at_least(1000).await;
    };
    let (answers, ()) = tokio::join!(others, follower);
    for answer in &answers {
        assert_serves_blob(answer, &digest);
    }
    assert_eq!(scene.registry.count(&format!("GET .*/blobs/{digest}$")), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_finished_although_everybody_left() {
    let (scene, image) = slow_layer().await;
    let (digest, path) = (image.layer(0), scene.blob_path("apps/web", &image.layer(0)));
    let mut only = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
    only.read_at_least(MIB / 8).await;
    drop(only);
    tokio::time::sleep(Duration::from_secs(4)).await;
    scene.registry.stop();
    assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_read_while_it_arrives() {
    let (scene, image) = slow_layer().await;
    let path = scene.blob_path("apps/web", &image.layer(0));
    let mut first = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
    first.read_at_least(MIB).await;
    let asked = std::time::Instant::now();
    let mut second = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
    assert_eq!(second.status, 200);
    second.read_at_least(MIB / 2).await;
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    for opened in [&mut first, &mut second] {
        let (_, broken) = opened.rest().await;
        assert_eq!(broken, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_client_of_a_manifest_leaving_changes_nothing() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.set_latency(Duration::from_millis(400));
    let path = scene.manifest_path("apps/web", &image.digest);
    let leader = tokio::time::timeout(
        Duration::from_millis(200),
        open(scene.proxy.port(), "GET", &path, &[]),
    );
    let followers = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        together((0..5).map(|_| scene.manifest("apps/web", &image.digest))).await
    };
    let (left, answers) = tokio::join!(leader, followers);
    assert!(left.is_err(), "it left before the answer");
    for answer in &answers {
        assert_serves(answer, &image);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hung_request_blocks_no_other() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let hung = scene.signed("apps/hung", "v1");
    let fault = format!("/v2/apps/hung/manifests/{}", hung.digest);
    scene.registry.fault(&fault, Fault::Hang);
    let stuck = scene.manifest("apps/hung", &hung.digest);
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        scene.manifest("apps/web", "v1").await
    };
    let (stuck, other) = tokio::join!(stuck, others);
    assert_serves(&other, &image);
    assert!(
        other.elapsed < Duration::from_secs(2),
        "{:?}",
        other.elapsed
    );
    assert_unavailable(&stuck);
}
