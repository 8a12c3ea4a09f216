//! What does not exist costs the upstream one look-up in a while, however often clients ask for it.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_tag_and_digest_are_looked_up_once_in_their_time() {
    let scene = Scene::with(|configuration, _| {
        configuration.set("freshness", json!({"absent_ttl": "20s"}))
    })
    .await;
    scene.signed("apps/web", "v1");
    let digest = sha256(b"never pushed");
    for reference in ["v0", "latest", digest.as_str()] {
        scene.registry.forget_requests();
        let asked = format!("manifests/{reference}$");
        assert_not_found(
            &scene.manifest("apps/web", reference).await,
            "MANIFEST_UNKNOWN",
        );
        let first = scene.registry.count("");
        for _ in 0..6 {
            for answer in together((0..5).map(|_| scene.manifest("apps/web", reference))).await {
                assert_not_found(&answer, "MANIFEST_UNKNOWN");
            }
        }
        assert_eq!(scene.registry.count(&asked), 1, "{reference}");
        assert_eq!(scene.registry.count(""), first, "{reference}");
    }
}

#[tokio::test]
async fn absent_repository_stays_unknown_and_other_repositories_are_asked() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    for _ in 0..3 {
        assert_not_found(&scene.manifest("apps/none", "v1").await, "NAME_UNKNOWN");
    }
    assert_eq!(scene.registry.count("/v2/apps/none/"), 1);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn absent_blob_of_an_admitted_image_is_asked_for_once_in_its_time() {
    let scene = Scene::with(|configuration, _| {
        configuration.set("freshness", json!({"absent_ttl": "20s"}))
    })
    .await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let layer = image.layer(0);
    scene.registry.remove_blob("apps/web", &layer);
    for _ in 0..8 {
        assert_not_found(&scene.blob("apps/web", &layer).await, "BLOB_UNKNOWN");
    }
    assert_eq!(scene.registry.count(&format!("GET .*/blobs/{layer}$")), 1);
}

#[tokio::test]
async fn push_after_a_look_up_is_found_within_three_seconds() {
    let scene = Scene::start().await;
    scene.signed("apps/web", "other");
    assert_not_found(&scene.manifest("apps/web", "v1").await, "MANIFEST_UNKNOWN");
    let image = scene.signed("apps/web", "v1");
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}
