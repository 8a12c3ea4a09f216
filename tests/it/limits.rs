//! What exceeds a limit is refused, in bounded time and memory, and never cut down to size.

use std::time::Duration;

use serde_json::json;

use crate::support::image::OCI_MANIFEST;
use crate::support::signing::{SIGN_PREDICATE, bundle_artifact, legacy_manifest};
use crate::support::*;

mod counts;
mod needed;
mod sizes;
mod table;
mod times;

const MIB: usize = 1024 * 1024;

/// The usual scene with these limits.
async fn limited(limits: serde_json::Value) -> Scene {
    Scene::with(|configuration, _| configuration.set("limits", limits)).await
}

#[tokio::test]
async fn a_thousand_and_one_layers_of_signatures() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let (layer, payload) = SigningKey::generate().simple_signing(&image.digest);
    let signature = legacy_manifest(&vec![layer; 1001], &[payload]);
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied_by(&answer, "limit_exceeded", "apps", &image.digest);
    assert!(
        answer.elapsed < Duration::from_secs(5),
        "{:?}",
        answer.elapsed
    );
    assert!(scene.registry.count("/blobs/") < 10, "layers were fetched");
}

#[tokio::test]
async fn a_hundred_and_one_referrers() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let stranger = SigningKey::generate();
    for number in 0..101 {
        let bundle = stranger.bundle(&image, SIGN_PREDICATE, &json!({"n": number}));
        let artifact = bundle_artifact(&image, bundle, SIGN_PREDICATE);
        scene.registry.push("apps/web", &artifact);
    }
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied_by(&answer, "limit_exceeded", "apps", &image.digest);
}

#[tokio::test]
async fn a_manifest_larger_than_four_mebibytes() {
    let scene = Scene::start().await;
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&Image::new("huge").bytes).unwrap();
    manifest["annotations"] = json!({"padding": "x".repeat(4 * MIB)});
    let image = Image::raw(OCI_MANIFEST, manifest.to_string());
    scene.push_signed("apps/web", "v1", &image);
    for reference in ["v1", &image.digest] {
        let answer = scene.manifest("apps/web", reference).await;
        assert_eq!(answer.status, 502, "{answer}");
        assert_withheld(&answer, &image.digest);
    }
    assert!(scene.proxy.content_file(&image.digest).is_none());
}

#[tokio::test]
async fn a_manifest_just_below_it_is_served() {
    let scene = Scene::start().await;
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&Image::new("large").bytes).unwrap();
    manifest["annotations"] = json!({"padding": "x".repeat(4 * MIB - 4096)});
    let image = Image::raw(OCI_MANIFEST, manifest.to_string());
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn an_index_of_more_than_a_thousand_manifests() {
    let scene = Scene::start().await;
    let entries: Vec<serde_json::Value> = (0..1001)
        .map(|number| descriptor(OCI_MANIFEST, format!("manifest {number}").as_bytes()))
        .collect();
    let index = Image::index_of(&entries);
    scene.push_signed("apps/web", "v1", &index);
    assert_denied(&scene.manifest("apps/web", "v1").await, "limit_exceeded");
}

#[tokio::test]
async fn endless_bodies_take_neither_memory_nor_time() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.fault(".*", Fault::Endless);
    let paths = [
        scene.manifest_path("apps/web", &image.digest),
        scene.manifest_path("apps/web", "v1"),
        scene.manifest_path("apps/web", &image.cosign_tag("sig")),
        format!(
            "/v2/{}/referrers/{}",
            scene.repository("apps/web"),
            image.digest
        ),
        format!("/v2/{}/tags/list", scene.repository("apps/web")),
    ];
    for answer in together(paths.iter().map(|path| scene.proxy.get(path))).await {
        assert!(matches!(answer.status, 403 | 502 | 503), "{answer}");
        assert!(
            answer.elapsed < Duration::from_secs(11),
            "{:?}",
            answer.elapsed
        );
    }
    let peak = scene.proxy.peak_kib();
    assert!(peak < 250 * 1024, "{peak} KiB resident at the peak");
}

#[tokio::test]
async fn a_signature_larger_than_its_limit_or_its_descriptor() {
    let scene = Scene::start().await;
    for (tag, declared, size) in [
        ("declared", 11 * MIB, 11 * MIB),
        ("undeclared", 200, 11 * MIB),
    ] {
        let image = scene.unsigned("apps/web", tag);
        let (mut layer, _) = scene.key.simple_signing(&image.digest);
        let payload = image::noise(tag, size).to_vec();
        layer["digest"] = json!(sha256(&payload));
        layer["size"] = json!(declared);
        let signature = legacy_manifest(&[layer], &[payload]);
        scene
            .registry
            .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, 403, "{tag}: {answer}");
        let kind = answer.json()["errors"][0]["detail"]["kind"].clone();
        assert!(
            kind == "limit_exceeded" || kind == "malformed",
            "{tag}: {kind}"
        );
    }
}

#[tokio::test]
async fn json_nested_a_hundred_thousand_deep() {
    let scene = Scene::start().await;
    let depth = 100_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    // In a part of a manifest that nobody reads, and in the parts of signatures that are kept as they are.
    let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","deep":{deep}}}"#);
    scene.push_signed("apps/web", "manifest", &Image::raw(OCI_MANIFEST, manifest));
    let image = scene.unsigned("apps/web", "payload");
    let (mut layer, payload) = scene.key.simple_signing(&image.digest);
    let payload = String::from_utf8(payload).unwrap();
    let payload = payload.replace(":null", &format!(":{{\"deep\":{deep}}}"));
    layer["annotations"]["dev.cosignproject.cosign/signature"] =
        json!(scene.key.sign(payload.as_bytes()));
    layer["digest"] = json!(sha256(payload.as_bytes()));
    layer["size"] = json!(payload.len());
    let signature = legacy_manifest(&[layer], &[payload.into_bytes()]);
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
    let image = scene.unsigned("apps/web", "statement");
    let digest = image.digest.strip_prefix("sha256:").unwrap();
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{digest}"}}}}],"predicateType":"{SIGN_PREDICATE}","predicate":{deep}}}"#
    );
    let bundle = scene.key.dsse_bundle(&statement);
    let artifact = bundle_artifact(&image, bundle, SIGN_PREDICATE);
    scene.registry.push("apps/web", &artifact);
    for tag in ["manifest", "payload", "statement"] {
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, 403, "{tag}: {answer}");
    }
    assert_eq!(scene.proxy.get("/v2/").await.status, 200, "still alive");
}
