//! What is revoked is refused, whatever vouches for it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::corpus;
use crate::support::signing::legacy_manifest;
use crate::support::*;

/// Pulls once, then starts again with this under `revoked`.
async fn revoke(scene: &Scene, revoked: Value) {
    scene.proxy.stop().await;
    scene
        .proxy
        .reconfigure(|configuration| configuration["revoked"] = revoked);
    scene.proxy.run().await;
}

/// Puts this under `revoked` while the process runs.
async fn revoke_meanwhile(scene: &Scene, revoked: Value) {
    let hash = async || scene.proxy.admin("/readyz").await.json()["configuration"]["hash"].clone();
    let before = hash().await;
    scene
        .proxy
        .rewrite(|configuration| configuration["revoked"] = revoked);
    scene.proxy.signal_hangup();
    let changed = async {
        while hash().await == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), changed).await;
    in_time.unwrap();
}

#[tokio::test]
async fn a_manifest_by_digest() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let other = scene.signed("apps/web", "v2");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_serves_blob(
        &scene.blob("apps/web", &image.layer(0)).await,
        &image.layer(0),
    );
    revoke(&scene, json!({"digests": [image.digest]})).await;
    for reference in ["v1", &image.digest] {
        assert_denied(&scene.manifest("apps/web", reference).await, "revoked");
        let head = scene
            .proxy
            .head(&scene.manifest_path("apps/web", reference))
            .await;
        assert_eq!(head.status, 403);
    }
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert_eq!(answer.status, 403, "{answer}");
    assert_serves(&scene.manifest("apps/web", "v2").await, &other);
}

/// Another manifest lists a blob that is here with a size that it does not have.
#[tokio::test]
async fn blob_in_memory_is_not_served_with_another_size() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let layer = image.layer(0);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
    for (wrong, tag) in [(-1, "v2"), (1, "v3")] {
        let mut manifest: Value = serde_json::from_slice(&image.bytes).unwrap();
        let size = manifest["layers"][0]["size"].as_i64().unwrap();
        manifest["layers"][0]["size"] = json!(size + wrong);
        let liar = Image::raw(image::OCI_MANIFEST, manifest.to_string());
        scene.push_signed("apps/web", tag, &liar);
        revoke(&scene, json!({"digests": []})).await;
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
        assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
        // The same process, in which the blob stays in memory.
        revoke_meanwhile(&scene, json!({"digests": [image.digest]})).await;
        assert_serves(&scene.manifest("apps/web", tag).await, &liar);
        let answer = scene.blob("apps/web", &layer).await;
        assert!(!answer.is_whole_success(), "{wrong}: {answer}");
    }
}

#[tokio::test]
async fn a_blob_and_a_child_by_digest() {
    let scene = Scene::start().await;
    let (child, sibling) = (Image::new("child"), Image::new("sibling"));
    let index = Image::index(&[&child, &sibling]);
    for image in [&child, &sibling] {
        scene.registry.push("apps/web", image);
    }
    scene.push_signed("apps/web", "v1", &index);
    for image in [&index, &child, &sibling] {
        assert_serves(&scene.manifest("apps/web", &image.digest).await, image);
    }
    revoke(&scene, json!({"digests": [child.digest, sibling.layer(0)]})).await;
    assert_denied(&scene.manifest("apps/web", &child.digest).await, "revoked");
    assert_eq!(scene.blob("apps/web", &child.layer(0)).await.status, 403);
    assert_serves(&scene.manifest("apps/web", &sibling.digest).await, &sibling);
    assert_denied(&scene.blob("apps/web", &sibling.layer(0)).await, "revoked");
    let fine = sibling.layer(1);
    assert_serves_blob(&scene.blob("apps/web", &fine).await, &fine);
}

#[tokio::test]
async fn an_index_by_digest_takes_its_children_along() {
    let scene = Scene::start().await;
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    scene.registry.push("apps/web", &child);
    scene.push_signed("apps/web", "v1", &index);
    for image in [&index, &child] {
        assert_serves(&scene.manifest("apps/web", &image.digest).await, image);
    }
    revoke(&scene, json!({"digests": [index.digest]})).await;
    for image in [&child, &index] {
        let answer = scene.manifest("apps/web", &image.digest).await;
        assert_eq!(answer.status, 403, "{answer}");
    }
}

#[tokio::test]
async fn a_key_while_another_still_vouches() {
    let second = SigningKey::generate();
    let scene = Scene::with(|mut configuration, registry| {
        configuration.0["policies"] = json!([]);
        let images = format!("{}/apps/**", registry.name());
        let lost = SigningKey::generate();
        configuration.policy(key_policy("apps", &images, &[&second, &lost]))
    })
    .await;
    scene.proxy.reconfigure(|configuration| {
        configuration["policies"][0]["authorities"][1]["key"] = json!(scene.key.public_pem());
    });
    scene.proxy.restart().await;
    let one = scene.signed("apps/web", "one");
    let both = scene.unsigned("apps/web", "both");
    let (first_layer, first) = scene.key.simple_signing(&both.digest);
    let (second_layer, other) = second.simple_signing(&both.digest);
    let signature = legacy_manifest(&[first_layer, second_layer], &[first, other]);
    scene
        .registry
        .push_tagged("apps/web", &both.cosign_tag("sig"), &signature);
    assert_serves(&scene.manifest("apps/web", "one").await, &one);
    revoke(&scene, json!({"keys": [scene.key.fingerprint()]})).await;
    assert_denied(&scene.manifest("apps/web", "one").await, "revoked");
    assert_serves(&scene.manifest("apps/web", "both").await, &both);
}

#[tokio::test]
async fn an_identity() {
    let registry = corpus::registry().await;
    let cases = corpus::cases();
    let case = cases
        .iter()
        .find(|case| {
            let authorities = &case.policy["authorities"];
            let is_one = authorities.as_array().is_some_and(|all| all.len() == 1);
            let is_keyless = authorities[0]["certificate_identity"].is_string();
            is_one
                && is_keyless
                && case.expect == "admit"
                && case.steps.len() == 1
                && case.or.is_empty()
        })
        .expect("a keyless case");
    let identity = case.policy["authorities"][0]["certificate_identity"].clone();
    let configuration = corpus::configuration(std::slice::from_ref(case), &registry);
    let proxy = Proxy::start(configuration).await;
    let path = format!(
        "/v2/{}/c/{}/{}/manifests/{}",
        registry.name(),
        case.id,
        case.repository,
        case.reference
    );
    let answer = proxy.get(&path).await;
    assert_eq!(answer.status, 200, "{answer}");
    proxy.stop().await;
    proxy.reconfigure(|configuration| {
        configuration["revoked"] = json!({"identities": [identity]});
    });
    proxy.run().await;
    assert_denied(&proxy.get(&path).await, "revoked");
}

/// The answer had not begun when it was revoked: the grant from before does not count any more.
#[tokio::test]
async fn a_blob_that_is_waited_for() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let blob = image.layer(0);
    let asking = format!("GET .*/blobs/{blob}");
    scene
        .registry
        .fault(&asking, Fault::Delay(Duration::from_secs(3)));
    let hash = async || scene.proxy.admin("/readyz").await.json()["configuration"]["hash"].clone();
    let revoking = async {
        let before = hash().await;
        while scene.registry.count(&asking) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scene
            .proxy
            .rewrite(|configuration| configuration["revoked"] = json!({"digests": [blob]}));
        scene.proxy.signal_hangup();
        while hash().await == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (answer, ()) = tokio::join!(scene.blob("apps/web", &blob), revoking);
    assert_denied(&answer, "revoked");
}
