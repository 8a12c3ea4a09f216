//! Killed at any point, it starts again, and what it then serves is whole and right.

use std::time::Duration;

use crate::support::*;

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_cold_blob() {
    let scene = Scene::start().await;
    let image = Image::large("large", 4 * MIB);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let digest = image.layer(0);
    scene
        .registry
        .fault(&digest, Fault::Trickle(MIB / 8, Duration::from_millis(50)));
    for pieces in [1, 9, 30] {
        let path = scene.blob_path("apps/web", &digest);
        let mut opened = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
        opened.read_at_least(pieces * MIB / 8).await;
        scene.proxy.kill();
        let (_, broken) = opened.rest().await;
        assert!(broken.is_some(), "the client sees that it is not whole");
        assert!(
            scene.proxy.content_file(&digest).is_none(),
            "half a blob under its final name"
        );
        scene.proxy.assert_content_is_right();
        scene.proxy.run().await;
    }
    scene.registry.lift_faults();
    assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
    scene.proxy.assert_content_is_right();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_any_time_during_cold_pulls_of_manifests() {
    let scene = Scene::start().await;
    let images: Vec<Image> = (0..20)
        .map(|number| scene.signed("apps/web", &format!("v{number}")))
        .collect();
    for delay_ms in [0, 3, 10, 30] {
        let pulls = together(
            images
                .iter()
                .map(|image| scene.manifest("apps/web", &image.digest)),
        );
        let kill = async {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            scene.proxy.kill();
        };
        let (answers, ()) = tokio::join!(pulls, kill);
        for (answer, image) in answers.iter().zip(&images) {
            assert!(answer.status != 200 || answer.broken.is_some() || answer.body == image.bytes);
        }
        scene.proxy.assert_content_is_right();
        scene.proxy.run().await;
    }
    for (number, image) in images.iter().enumerate() {
        assert_serves(
            &scene.manifest("apps/web", &format!("v{number}")).await,
            image,
        );
        assert_serves_blob(
            &scene.blob("apps/web", &image.layer(0)).await,
            &image.layer(0),
        );
    }
    // Manifests are stored in the background.
    for image in &images {
        scene.proxy.wait_until_stored(&image.digest).await;
    }
    scene.proxy.kill();
    scene.registry.stop();
    scene.proxy.run().await;
    for image in &images {
        assert_serves(&scene.manifest("apps/web", &image.digest).await, image);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_no_litter() {
    let scene = Scene::start().await;
    let image = Image::large("large", 2 * MIB);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let digest = image.layer(0);
    scene
        .registry
        .fault_times(&digest, 1, Fault::StallAfter(MIB));
    let path = scene.blob_path("apps/web", &digest);
    let mut opened = open(scene.proxy.port(), "GET", &path, &[]).await.unwrap();
    opened.read_at_least(MIB / 2).await;
    scene.proxy.kill();
    scene.proxy.run().await;
    let incoming = scene.proxy.data_dir().join("incoming");
    if incoming.exists() {
        let left = std::fs::read_dir(incoming).unwrap().count();
        assert_eq!(left, 0, "half-written files stay after a restart");
    }
    assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
}
