//! What the key signed comes out: bytes, digest, type, by tag and by digest, cold and warm.

use std::time::Duration;

use serde_json::json;

use crate::support::image::OCI_MANIFEST;
use crate::support::signing::{bundle_artifact, legacy_manifest};
use crate::support::*;

/// Asks by digest and by tag, GET and HEAD, twice each.
async fn assert_admitted(scene: &Scene, name: &str, tag: &str, image: &Image) {
    for pass in ["cold", "warm"] {
        for reference in [&image.digest, tag] {
            let answer = scene.manifest(name, reference).await;
            assert_serves(&answer, image);
            let head = scene
                .proxy
                .head(&scene.manifest_path(name, reference))
                .await;
            assert_eq!(head.status, 200, "{pass} {reference}: {head}");
            assert!(head.body.is_empty());
            for header in [
                "docker-content-digest",
                "content-type",
                "content-length",
                "etag",
            ] {
                assert_eq!(head.header(header), answer.header(header), "{header}");
            }
        }
    }
    for blob in &image.blobs {
        assert_serves_blob(&scene.blob(name, &sha256(blob)).await, &sha256(blob));
    }
}

#[tokio::test]
async fn by_a_legacy_signature() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_admitted(&scene, "apps/web", "v1", &image).await;
}

#[tokio::test]
async fn by_a_bundle_that_the_referrers_api_lists() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    assert_admitted(&scene, "apps/web", "v1", &image).await;
}

#[tokio::test]
async fn by_a_bundle_under_the_referrers_tag() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene
        .registry
        .sign_bundle_by_tag("apps/web", &image, &scene.key);
    assert_admitted(&scene, "apps/web", "v1", &image).await;
}

#[tokio::test]
async fn although_other_signatures_are_there() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let stranger = SigningKey::generate();
    let (foreign, foreign_payload) = stranger.simple_signing(&image.digest);
    let (own, own_payload) = scene.key.simple_signing(&image.digest);
    let signature = legacy_manifest(&[foreign, own], &[foreign_payload, own_payload]);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &signature);
    let broken = bundle_artifact(&image, b"{ not a bundle".to_vec(), "");
    scene.registry.push("apps/web", &broken);
    assert_admitted(&scene, "apps/web", "v1", &image).await;
}

#[tokio::test]
async fn with_any_depth_of_name() {
    let scene = Scene::start().await;
    for name in ["apps/a", "apps/a/b/c/d/e/f/g/h", "apps/a-b/c_d/e.f/g__h"] {
        let image = scene.signed(name, "v1");
        assert_serves(&scene.manifest(name, "v1").await, &image);
    }
}

#[tokio::test]
async fn a_docker_manifest_under_its_own_type() {
    let scene = Scene::start().await;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let plain = Image::new("docker");
    let text = String::from_utf8(plain.bytes.to_vec()).unwrap();
    let mut image = Image::raw(docker, text.replace(OCI_MANIFEST, docker));
    image.blobs = plain.blobs;
    scene.push_signed("apps/web", "v1", &image);
    assert_admitted(&scene, "apps/web", "v1", &image).await;
}

#[tokio::test]
async fn with_one_request_for_the_manifest_and_one_for_each_source() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
    let manifest = format!("^(GET|HEAD) /v2/apps/web/manifests/{}$", image.digest);
    assert_eq!(scene.registry.count(&manifest), 1);
    let tag = regex::escape(&image.cosign_tag("sig"));
    assert_eq!(scene.registry.count(&format!("manifests/{tag}$")), 1);
    assert_eq!(scene.registry.count("/referrers/"), 1);
    scene.registry.forget_requests();
    assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
    assert_eq!(scene.registry.requests().len(), 0, "warm by digest");
}

#[tokio::test]
async fn asking_every_source_at_once() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let latency = Duration::from_millis(400);
    scene.registry.set_latency(latency);
    assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
    let requests = scene.registry.requests();
    let first = requests.iter().map(|request| request.at).min().unwrap();
    for source in [&image.digest, &image.cosign_tag("sig"), "referrers"] {
        let asked = requests
            .iter()
            .find(|request| request.path.contains(source));
        let asked = asked.unwrap_or_else(|| panic!("{source} was not asked for"));
        let waited = asked.at.duration_since(first);
        assert!(
            waited < latency / 2,
            "{source} was asked for {waited:?} late"
        );
    }
}

#[tokio::test]
async fn a_tag_that_moved_gives_the_new_image_after_its_time() {
    let scene =
        Scene::with(|configuration, _| configuration.set("freshness", json!({"tag_ttl": "1s"})))
            .await;
    let first = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &first);
    let second = Image::new("second");
    scene.push_signed("apps/web", "v1", &second);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &second);
    let moved = format!(
        "repository={}&digest={}",
        scene.repository("apps/web"),
        second.digest
    );
    let records = scene.proxy.decisions(&moved).await;
    assert_eq!(records[0]["previous_digest"], first.digest, "{records:?}");
}
