//! Limits count the material that a decision needs, because it is opened first.

use serde_json::{Value, json};

use super::limited;
use crate::support::signing::{SIGN_PREDICATE, bundle_artifact};
use crate::support::*;

const SCAN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// Attaches attestations of a type to the image, each of another scan.
fn attach(scene: &Scene, image: &Image, predicate_type: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let predicate = json!({"n": number});
        let bundle = scene.key.bundle(image, predicate_type, &predicate);
        let artifact = bundle_artifact(image, bundle, predicate_type);
        scene.registry.push("apps/web", &artifact);
    }
}

/// The same without the annotations that say what it is.
fn attach_unannotated(scene: &Scene, image: &Image, predicate_type: &str) {
    let bundle = scene.key.bundle(image, predicate_type, &json!({}));
    let artifact = bundle_artifact(image, bundle, predicate_type);
    let mut manifest: Value = serde_json::from_slice(&artifact.bytes).unwrap();
    manifest.as_object_mut().unwrap().remove("annotations");
    let mut bare = Image::raw(&artifact.media_type, manifest.to_string());
    bare.blobs.clone_from(&artifact.blobs);
    scene.registry.push("apps/web", &bare);
}

/// A policy that requires an attestation of each type and no signature.
async fn attesting(limits: Value, predicate_types: &[&str], quantifier: &str) -> Scene {
    let attestations: Vec<Value> = predicate_types
        .iter()
        .map(|it| json!({"predicate_type": it, "match": quantifier}))
        .collect();
    Scene::with(|mut configuration, _| {
        let policy = &mut configuration.0["policies"][0];
        let authorities = policy["authorities"].take();
        let mut attestations = json!(attestations);
        for attestation in attestations.as_array_mut().unwrap() {
            attestation["authorities"] = authorities.clone();
        }
        policy.as_object_mut().unwrap().remove("authorities");
        policy["attestations"] = attestations;
        configuration.set("limits", limits)
    })
    .await
}

#[tokio::test]
async fn signature_before_a_hundred_and_one_scans_is_found() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    attach(&scene, &image, SCAN, 0..101);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn signature_without_annotations_is_opened_before_what_claims_to_be_something_else() {
    for by_tag in [false, true] {
        let scene = limited(json!({"referrers_opened_max": 3})).await;
        let image = scene.unsigned("apps/web", "v1");
        attach(&scene, &image, SCAN, 0..5);
        if by_tag {
            scene
                .registry
                .sign_bundle_by_tag("apps/web", &image, &scene.key);
        } else {
            attach_unannotated(&scene, &image, SIGN_PREDICATE);
        }
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    }
}

#[tokio::test]
async fn signature_is_found_in_a_list_beyond_its_limit() {
    let limits = json!({"referrers_listed_max": 4, "referrers_opened_max": 2});
    let scene = limited(limits).await;
    let image = scene.unsigned("apps/web", "v1");
    attach(&scene, &image, SCAN, 0..8);
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let unsigned = scene.unsigned("apps/web", "v2");
    attach(&scene, &unsigned, SCAN, 10..15);
    let error = assert_denied(&scene.manifest("apps/web", "v2").await, "limit_exceeded");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("limits.referrers_"), "{message}");
}

#[tokio::test]
async fn attestation_that_a_policy_requires_is_opened_before_others() {
    let limits = || json!({"referrers_opened_max": 2});
    for quantifier in ["any", "all"] {
        let scene = attesting(limits(), &[PROVENANCE], quantifier).await;
        let image = scene.unsigned("apps/web", "v1");
        attach(&scene, &image, PROVENANCE, 0..1);
        attach(&scene, &image, SCAN, 0..10);
        let answer = scene.manifest("apps/web", "v1").await;
        match quantifier {
            "any" => assert_serves(&answer, &image),
            // A claim excludes nothing: one of those that were not opened may be of the type.
            _ => assert_eq!(
                answer.json()["errors"][0]["detail"]["kind"],
                "limit_exceeded"
            ),
        }
    }
    // Required types take turns.
    let scene = attesting(limits(), &[PROVENANCE, SCAN], "any").await;
    let image = scene.unsigned("apps/web", "v1");
    attach(&scene, &image, PROVENANCE, 0..1);
    attach(&scene, &image, SCAN, 0..10);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn claims_exclude_nothing_from_the_limit() {
    let scene = limited(json!({"referrers_opened_max": 3})).await;
    // Scans only: one of those that were not opened may be a signature.
    let scanned = scene.unsigned("apps/web", "scanned");
    attach(&scene, &scanned, SCAN, 0..4);
    let answer = scene.manifest("apps/web", "scanned").await;
    let error = assert_denied_by(&answer, "limit_exceeded", "apps", &scanned.digest);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("`limits.referrers_opened_max`"),
        "{message}"
    );
    // A scan that claims to be a signature does not count as one.
    let disguised = scene.unsigned("apps/web", "disguised");
    let bundle = scene.key.bundle(&disguised, SCAN, &json!({}));
    let artifact = bundle_artifact(&disguised, bundle, SIGN_PREDICATE);
    scene.registry.push("apps/web", &artifact);
    assert_denied(&scene.manifest("apps/web", "disguised").await, "unsigned");
}

#[tokio::test]
async fn bytes_of_large_scans_leave_enough_for_a_signature() {
    let scene = limited(json!({"discovery_bytes_max": "40KiB"})).await;
    let image = scene.unsigned("apps/web", "v1");
    for number in 0..8 {
        let predicate = json!({"n": number, "findings": "x".repeat(6 * 1024)});
        let bundle = scene.key.bundle(&image, SCAN, &predicate);
        scene
            .registry
            .push("apps/web", &bundle_artifact(&image, bundle, SCAN));
    }
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn signatures_by_others_do_not_use_up_the_attempts() {
    let scene = limited(json!({"attempts_max": 2})).await;
    let image = scene.unsigned("apps/web", "v1");
    for _ in 0..4 {
        let stranger = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &image, &stranger);
    }
    let answer = scene.manifest("apps/web", "v1").await;
    let error = assert_denied(&answer, "limit_exceeded");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`limits.attempts_max`"), "{message}");
    let image = scene.unsigned("apps/web", "v2");
    for _ in 0..4 {
        let stranger = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &image, &stranger);
    }
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    assert_serves(&scene.manifest("apps/web", "v2").await, &image);
}
