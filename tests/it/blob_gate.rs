//! A blob comes out only where an admitted manifest of the same repository refers to it.

use serde_json::json;

use crate::support::image::OCI_MANIFEST;
use crate::support::*;

#[tokio::test]
async fn nothing_comes_out_before_the_manifest() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    for digest in [image.config(), image.layer(0)] {
        let answer = scene.blob("apps/web", &digest).await;
        assert_denied(&answer, "not_endorsed");
        assert_withheld(&answer, &digest);
    }
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    for digest in [image.config(), image.layer(0), image.layer(1)] {
        assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
        let head = scene
            .proxy
            .head(&scene.blob_path("apps/web", &digest))
            .await;
        assert_eq!(head.status, 200, "{head}");
        assert_eq!(head.header("docker-content-digest"), digest);
    }
}

#[tokio::test]
async fn a_manifest_is_no_blob() {
    let scene = Scene::start().await;
    let unsigned = scene.unsigned("apps/web", "bad");
    let signed = scene.signed("apps/web", "good");
    assert_serves(&scene.manifest("apps/web", "good").await, &signed);
    assert_denied(&scene.manifest("apps/web", "bad").await, "unsigned");
    // What containerd asks for after it was refused.
    let answer = scene.blob("apps/web", &unsigned.digest).await;
    assert_denied(&answer, "not_endorsed");
    assert_withheld(&answer, &unsigned.digest);
    let head = scene
        .proxy
        .head(&scene.blob_path("apps/web", &unsigned.digest))
        .await;
    assert_eq!(head.status, 403, "{head}");
}

#[tokio::test]
async fn what_no_manifest_refers_to_stays_in() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let stray = image::noise("stray", 5000);
    scene.registry.put_blob("apps/web", &stray);
    let answer = scene.blob("apps/web", &sha256(&stray)).await;
    assert_denied(&answer, "not_endorsed");
    let absent = scene.blob("apps/web", &sha256(b"nowhere")).await;
    assert_denied(&absent, "not_endorsed");
}

#[tokio::test]
async fn annotations_and_other_fields_refer_to_nothing() {
    let scene = Scene::start().await;
    let secret = image::noise("secret", 5000);
    scene.registry.put_blob("apps/web", &secret);
    let plain = Image::new("decoy");
    let mut manifest: serde_json::Value = serde_json::from_slice(&plain.bytes).unwrap();
    let reference = descriptor("application/octet-stream", &secret);
    manifest["annotations"] = json!({"layer": sha256(&secret)});
    manifest["blobs"] = json!([reference]);
    manifest["config"]["layers"] = json!([reference]);
    let mut decoy = Image::raw(OCI_MANIFEST, manifest.to_string());
    decoy.blobs = plain.blobs;
    scene.push_signed("apps/web", "v1", &decoy);
    drop(scene.manifest("apps/web", "v1").await);
    let answer = scene.blob("apps/web", &sha256(&secret)).await;
    assert_denied(&answer, "not_endorsed");
}

#[tokio::test]
async fn blobs_of_another_repository_stay_there() {
    let scene = Scene::start().await;
    let ours = scene.signed("apps/web", "v1");
    let theirs = scene.signed("apps/other", "v1");
    for name in ["apps/web", "apps/other"] {
        assert_eq!(scene.manifest(name, "v1").await.status, 200);
    }
    assert_serves_blob(
        &scene.blob("apps/web", &ours.layer(0)).await,
        &ours.layer(0),
    );
    let answer = scene.blob("apps/other", &ours.layer(0)).await;
    assert_denied(&answer, "not_endorsed");
    let answer = scene.blob("apps/web", &theirs.layer(0)).await;
    assert_denied(&answer, "not_endorsed");
}

#[tokio::test]
async fn stored_bytes_wait_for_this_repository_s_upstream() {
    let scene =
        Scene::with(|configuration, _| configuration.set("freshness", json!({"absent_ttl": 0})))
            .await;
    let shared = image::noise("shared", 20_000);
    let first = Image::with_layers("first", std::slice::from_ref(&shared));
    let second = Image::with_layers("second", std::slice::from_ref(&shared));
    scene.push_signed("apps/first", "v1", &first);
    scene.push_signed("apps/second", "v1", &second);
    let digest = sha256(&shared);
    scene.registry.remove_blob("apps/second", &digest);
    assert_serves(&scene.manifest("apps/first", "v1").await, &first);
    assert_serves_blob(&scene.blob("apps/first", &digest).await, &digest);
    assert_serves(&scene.manifest("apps/second", "v1").await, &second);

    let answer = scene.blob("apps/second", &digest).await;
    assert_not_found(&answer, "BLOB_UNKNOWN");
    scene.registry.put_blob("apps/second", &shared);
    scene.registry.forget_requests();
    assert_serves_blob(&scene.blob("apps/second", &digest).await, &digest);
    assert!(
        scene
            .registry
            .count(&format!("/v2/apps/second/blobs/{digest}$"))
            > 0,
        "served without asking"
    );
    scene.registry.forget_requests();
    assert_serves_blob(&scene.blob("apps/second", &digest).await, &digest);
    assert_eq!(scene.registry.requests().len(), 0, "asked again");
}

#[tokio::test]
async fn missing_at_the_upstream_is_404() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.remove_blob("apps/web", &image.layer(0));
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert_not_found(&answer, "BLOB_UNKNOWN");
}
