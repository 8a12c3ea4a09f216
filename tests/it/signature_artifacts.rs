//! Signature material comes out unsigned, so that verifiers behind us work; nothing else does under its name.

use serde_json::json;

use crate::support::image::{OCI_INDEX, OCI_MANIFEST};
use crate::support::signing::{BUNDLE, SIMPLE_SIGNING, legacy_manifest};
use crate::support::*;

#[tokio::test]
async fn a_legacy_signature_and_its_payload_are_served() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let stranger = SigningKey::generate();
    // Whose signature it is does not matter: another verifier may know.
    let signature = scene.registry.sign_legacy("apps/web", &image, &stranger);
    let tag = image.cosign_tag("sig");
    for reference in [&tag, &signature.digest] {
        assert_serves(&scene.manifest("apps/web", reference).await, &signature);
        let head = scene
            .proxy
            .head(&scene.manifest_path("apps/web", reference))
            .await;
        assert_eq!(head.status, 200);
    }
    let payload = sha256(&signature.blobs[1]);
    assert_serves_blob(&scene.blob("apps/web", &payload).await, &payload);
    assert_denied(&scene.manifest("apps/web", "v1").await, "untrusted_key");
    let records = scene
        .proxy
        .decisions(&format!("digest={}", signature.digest))
        .await;
    assert_eq!(records[0]["basis"], "signature_artifact", "{records:?}");
}

#[tokio::test]
async fn a_bundle_and_its_blob_are_served() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let bundle = scene.registry.sign_bundle("apps/web", &image, &scene.key);
    assert_serves(&scene.manifest("apps/web", &bundle.digest).await, &bundle);
    let blob = sha256(&bundle.blobs[1]);
    assert_serves_blob(&scene.blob("apps/web", &blob).await, &blob);
}

#[tokio::test]
async fn an_sbom_document_is_served() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let document = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "web",
        "dataLicense": "CC0-1.0", "documentNamespace": "https://example.com/web",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: test"]}, "packages": []});
    let document = document.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "text/spdx+json",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("text/spdx+json", &document)],
        "subject": image.descriptor(),
    });
    let mut sbom = Image::raw(OCI_MANIFEST, manifest.to_string());
    sbom.blobs = vec![b"{}".to_vec().into(), document.into()];
    scene.registry.push("apps/web", &sbom);
    assert_serves(&scene.manifest("apps/web", &sbom.digest).await, &sbom);
}

/// An image under a signature tag may be large, and its layers may not be there.
#[tokio::test]
async fn file_systems_in_their_place_are_not_fetched() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let evil = Image::new("evil");
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &evil);
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
    let blob = |digest: &str| format!("/blobs/{digest}");
    assert_eq!(scene.registry.count(&blob(&evil.layer(0))), 0);
    // Beside a signature.
    let image = scene.unsigned("apps/web", "v2");
    let (layer, payload) = scene.key.simple_signing(&image.digest);
    let files = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", b"files");
    let signature = legacy_manifest(&[layer, files], &[payload]);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &signature);
    assert_serves(&scene.manifest("apps/web", "v2").await, &image);
    assert_eq!(scene.registry.count(&blob(&sha256(b"files"))), 0);
}

#[tokio::test]
async fn a_runnable_image_in_their_place_is_refused() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let evil = Image::new("evil");
    for suffix in ["sig", "att", "sbom"] {
        let tag = image.cosign_tag(suffix);
        scene.registry.push_tagged("apps/web", &tag, &evil);
        let answer = scene.manifest("apps/web", &tag).await;
        assert_denied(&answer, "unsigned");
        assert_withheld(&answer, &evil.digest);
    }
    let tag = image.referrers_tag();
    scene.registry.push_tagged("apps/web", &tag, &evil);
    let answer = scene.manifest("apps/web", &tag).await;
    assert_eq!(answer.status, 403, "{answer}");
    assert_denied(
        &scene.blob("apps/web", &evil.layer(0)).await,
        "not_endorsed",
    );
}

#[tokio::test]
async fn a_runnable_image_under_declared_signature_types_is_refused() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let layer = image::noise("root file system", 5000);
    for (declared, config) in [(SIMPLE_SIGNING, false), (BUNDLE, true)] {
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", b"{\"os\":\"linux\"}"),
            "layers": [descriptor(declared, &layer)],
        });
        if config {
            manifest["artifactType"] = json!(declared);
            manifest["subject"] = image.descriptor();
        }
        let mut decoy = Image::raw(OCI_MANIFEST, manifest.to_string());
        decoy.blobs = vec![b"{\"os\":\"linux\"}".to_vec().into(), layer.clone()];
        let tag = image.cosign_tag("sig");
        scene.registry.push_tagged("apps/web", &tag, &decoy);
        for reference in [&tag, &decoy.digest] {
            let answer = scene.manifest("apps/web", reference).await;
            assert_eq!(answer.status, 403, "{declared}: {answer}");
        }
        assert_denied(
            &scene.blob("apps/web", &sha256(&layer)).await,
            "not_endorsed",
        );
    }
}

#[tokio::test]
async fn a_layer_beside_the_signature_makes_it_no_signature() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let (signed, payload) = scene.key.simple_signing(&image.digest);
    let hidden = image::noise("hidden", 5000);
    let mut mixed = legacy_manifest(
        &[
            signed,
            descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &hidden),
        ],
        &[payload],
    );
    mixed.blobs.push(hidden.clone());
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &mixed);
    let answer = scene.manifest("apps/web", &tag).await;
    assert_eq!(answer.status, 403, "{answer}");
    assert_denied(
        &scene.blob("apps/web", &sha256(&hidden)).await,
        "not_endorsed",
    );
}

#[tokio::test]
async fn missing_ones_are_404_where_a_policy_covers_the_name() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.unsigned("elsewhere/web", "v1");
    let mut tags: Vec<String> = ["sig", "att", "sbom"]
        .map(|suffix| image.cosign_tag(suffix))
        .into();
    tags.push(image.referrers_tag());
    for tag in &tags {
        for _ in 0..2 {
            let answer = scene.manifest("apps/web", tag).await;
            assert_not_found(&answer, "MANIFEST_UNKNOWN");
        }
        let head = scene
            .proxy
            .head(&scene.manifest_path("apps/web", tag))
            .await;
        assert_eq!(head.status, 404);
        assert_denied(&scene.manifest("elsewhere/web", tag).await, "no_policy");
    }
}

#[tokio::test]
async fn referrers_are_listed() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let bundle = scene.registry.sign_bundle("apps/web", &image, &scene.key);
    let lonely = scene.unsigned("apps/web", "v2");
    let path = |digest: &str| format!("/v2/{}/referrers/{digest}", scene.repository("apps/web"));

    let answer = scene.proxy.get(&path(&image.digest)).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("content-type"), OCI_INDEX);
    let listed = answer.json();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(listed["manifests"][0]["digest"], bundle.digest);
    let none = scene.proxy.get(&path(&lonely.digest)).await;
    assert_eq!((none.status, none.header("content-type")), (200, OCI_INDEX));
    assert_eq!(none.json()["manifests"], json!([]));
    for bad in ["sha256:abc", "v1", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        assert_eq!(scene.proxy.get(&path(bad)).await.status, 400, "{bad}");
    }
    scene.unsigned("elsewhere/web", "v1");
    let other = format!(
        "/v2/{}/referrers/{}",
        scene.repository("elsewhere/web"),
        image.digest
    );
    assert_denied(&scene.proxy.get(&other).await, "no_policy");
}

#[tokio::test]
async fn referrers_are_listed_from_the_tag_where_there_is_no_api() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let bundle = scene
        .registry
        .sign_bundle_by_tag("apps/web", &image, &scene.key);
    let path = format!(
        "/v2/{}/referrers/{}",
        scene.repository("apps/web"),
        image.digest
    );
    let answer = scene.proxy.get(&path).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.header("content-type"), OCI_INDEX);
    assert_eq!(answer.json()["manifests"][0]["digest"], bundle.digest);
    let lonely = scene.unsigned("apps/web", "v2");
    let path = format!(
        "/v2/{}/referrers/{}",
        scene.repository("apps/web"),
        lonely.digest
    );
    let none = scene.proxy.get(&path).await;
    assert_eq!(none.status, 200, "{none}");
    assert_eq!(none.json()["manifests"], json!([]));
}

#[tokio::test]
async fn referrers_are_unavailable_while_the_upstream_is() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    scene.registry.fault("/referrers/", Fault::Status(500));
    let path = format!(
        "/v2/{}/referrers/{}",
        scene.repository("apps/web"),
        image.digest
    );
    assert_unavailable(&scene.proxy.get(&path).await);
}
