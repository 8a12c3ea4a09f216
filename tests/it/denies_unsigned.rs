//! What nobody trusted has signed stays in, on every path, and the refusal says why.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::signing::legacy_manifest;
use crate::support::*;

/// Every way to the content of `image` is closed.
async fn assert_closed(scene: &Scene, name: &str, tag: &str, image: &Image, kind: &str) {
    for pass in ["cold", "warm"] {
        for reference in [&image.digest, tag] {
            let path = scene.manifest_path(name, reference);
            let answer = scene.proxy.get(&path).await;
            assert_denied_by(&answer, kind, "apps", &image.digest);
            assert_withheld(&answer, &image.digest);
            let head = scene.proxy.head(&path).await;
            assert_eq!(head.status, 403, "{pass} {reference}: {head}");
            assert!(head.body.is_empty());
        }
        let as_blob = scene.blob(name, &image.digest).await;
        assert_denied(&as_blob, "not_endorsed");
        for blob in &image.blobs {
            let answer = scene.blob(name, &sha256(blob)).await;
            assert_denied(&answer, "not_endorsed");
            let head = scene
                .proxy
                .head(&scene.blob_path(name, &sha256(blob)))
                .await;
            assert_eq!(head.status, 403, "{head}");
        }
    }
}

#[tokio::test]
async fn without_any_signature() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    assert_closed(&scene, "apps/web", "v1", &image, "unsigned").await;
}

#[tokio::test]
async fn signed_by_a_stranger() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let stranger = SigningKey::generate();
    scene.registry.sign_legacy("apps/web", &image, &stranger);
    assert_closed(&scene, "apps/web", "v1", &image, "untrusted_key").await;
}

#[tokio::test]
async fn with_the_signature_of_another_image() {
    let scene = Scene::start().await;
    let signed = scene.signed("apps/web", "v1");
    let image = scene.unsigned("apps/web", "v2");
    let transplanted = scene.key.legacy_signature(&signed.digest);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &transplanted);
    assert_closed(&scene, "apps/web", "v2", &image, "wrong_subject").await;
}

#[tokio::test]
async fn with_a_signature_over_another_payload() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let (mut layer, payload) = scene.key.simple_signing(&image.digest);
    let other = scene.key.sign(b"something else");
    layer["annotations"] = json!({"dev.cosignproject.cosign/signature": other});
    let signature = legacy_manifest(&[layer], &[payload]);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &signature);
    assert_closed(&scene, "apps/web", "v1", &image, "untrusted_key").await;
}

#[tokio::test]
async fn with_the_same_bytes_signed_in_another_repository() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    scene.registry.push_tagged("apps/other", "v1", &image);
    assert_closed(&scene, "apps/other", "v1", &image, "unsigned").await;
}

#[tokio::test]
async fn a_tag_that_alternates_never_gives_the_unsigned_image() {
    let scene =
        Scene::with(|configuration, _| configuration.set("freshness", json!({"tag_ttl": "0s"})))
            .await;
    let signed = scene.signed("apps/web", "v1");
    let unsigned = Image::new("unsigned");
    scene.registry.push("apps/web", &unsigned);
    for round in 0..40 {
        let target = if round % 2 == 0 { &unsigned } else { &signed };
        scene.registry.tag("apps/web", "v1", &target.digest);
        let answer = scene.manifest("apps/web", "v1").await;
        assert_withheld(&answer, &unsigned.digest);
        assert!(matches!(answer.status, 200 | 403), "{answer}");
    }
}

#[tokio::test]
async fn a_repository_that_no_policy_covers() {
    let scene = Scene::start().await;
    let image = scene.unsigned("elsewhere/web", "v1");
    scene
        .registry
        .sign_legacy("elsewhere/web", &image, &scene.key);
    for reference in ["v1", &image.digest] {
        assert_denied(
            &scene.manifest("elsewhere/web", reference).await,
            "no_policy",
        );
    }
    let blob = scene.blob("elsewhere/web", &image.layer(0)).await;
    assert_eq!(blob.status, 403, "{blob}");
    let head = scene
        .proxy
        .head(&scene.manifest_path("elsewhere/web", "v1"))
        .await;
    assert_eq!(head.status, 403);
}

#[tokio::test]
async fn every_policy_that_covers_the_name_must_hold() {
    let second = SigningKey::generate();
    let scene = Scene::with(|configuration, registry| {
        let images = format!("{}/apps/secret/*", registry.name());
        configuration.policy(key_policy("secret", &images, &[&second]))
    })
    .await;
    let image = scene.signed("apps/secret/web", "v1");
    let answer = scene.manifest("apps/secret/web", "v1").await;
    assert_denied_by(&answer, "untrusted_key", "secret", &image.digest);
    let both = Image::new("both");
    let (own, own_payload) = scene.key.simple_signing(&both.digest);
    let (other, other_payload) = second.simple_signing(&both.digest);
    let signature = legacy_manifest(&[own, other], &[own_payload, other_payload]);
    scene.registry.push_tagged("apps/secret/web", "both", &both);
    scene
        .registry
        .push_tagged("apps/secret/web", &both.cosign_tag("sig"), &signature);
    assert_serves(&scene.manifest("apps/secret/web", "both").await, &both);
}

#[tokio::test]
async fn head_is_allowed_where_the_configuration_says_so() {
    let scene =
        Scene::with(|configuration, _| configuration.set("compat", json!({"head_allows": true})))
            .await;
    let image = scene.unsigned("apps/web", "v1");
    for reference in ["v1", &image.digest] {
        let path = scene.manifest_path("apps/web", reference);
        let head = scene.proxy.head(&path).await;
        assert_eq!(head.status, 200, "{head}");
        assert_eq!(head.header("docker-content-digest"), image.digest);
        assert_eq!(head.header("content-type"), image.media_type);
        let answer = scene.proxy.get(&path).await;
        assert_denied_by(&answer, "unsigned", "apps", &image.digest);
    }
    assert_denied(
        &scene.blob("apps/web", &image.layer(0)).await,
        "not_endorsed",
    );
}

#[tokio::test]
async fn an_image_signed_late_comes_out_after_half_a_minute() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied(&answer, "unsigned");
    let refused = Instant::now();
    scene.registry.forget_requests();
    scene.registry.sign_legacy("apps/web", &image, &scene.key);
    let early = scene.manifest("apps/web", &image.digest).await;
    assert_denied(&early, "unsigned");
    assert_eq!(
        scene.registry.count("sha256-"),
        0,
        "the refusal is remembered"
    );
    loop {
        let answer = scene.manifest("apps/web", "v1").await;
        if answer.status == 200 {
            break assert_serves(&answer, &image);
        }
        assert!(refused.elapsed() < Duration::from_secs(35), "{answer}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(refused.elapsed() > Duration::from_secs(20), "too eager");
}
