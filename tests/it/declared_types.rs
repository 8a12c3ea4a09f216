//! The content decides, and not the type that a registry declares for it.

use serde_json::{Value, json};

use crate::support::image::{OCI_INDEX, OCI_MANIFEST};
use crate::support::signing::{SIMPLE_SIGNING, legacy_manifest};
use crate::support::*;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Types that say nothing of a manifest: static files, object stores, old registries (moby#31318, containerd/cri#787,
/// containers/image#417, moby#19526).
const GENERIC: [Option<&str>; 6] = [
    None,
    Some("application/json"),
    Some("Application/JSON; charset=utf-8"),
    Some("text/plain; charset=utf-8"),
    Some("application/octet-stream"),
    Some("text/html"),
];

/// Answers with status 200 of a captive portal, a login page and a broken cache.
fn other_content() -> Vec<Fault> {
    let error = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
    let compressed = Fault::Answer {
        status: 200,
        headers: vec![
            ("Content-Type", OCI_MANIFEST.to_owned()),
            ("Content-Encoding", "gzip".to_owned()),
        ],
        body: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].into(),
    };
    vec![
        Fault::page(
            Some("text/html; charset=utf-8"),
            "<!DOCTYPE html><html>Sign in</html>",
        ),
        Fault::page(Some(OCI_MANIFEST), "<html>Sign in</html>"),
        Fault::page(Some("application/json"), error.to_string()),
        Fault::page(None, "please sign in"),
        Fault::page(Some(OCI_MANIFEST), ""),
        compressed,
    ]
}

/// The same image without its own `mediaType`.
fn without_media_type(image: &Image) -> Image {
    let mut manifest: Value = serde_json::from_slice(&image.bytes).unwrap();
    manifest.as_object_mut().unwrap().remove("mediaType");
    let mut bare = Image::raw(&image.media_type, manifest.to_string());
    bare.blobs.clone_from(&image.blobs);
    bare
}

#[tokio::test]
async fn manifest_of_a_generic_type_is_served_as_what_it_says_it_is() {
    for content_type in GENERIC {
        let scene = Scene::start().await;
        let image = scene.signed("apps/web", "v1");
        let bare = without_media_type(&Image::new("bare"));
        scene.push_signed("apps/web", "bare", &bare);
        let child = Image::new("child");
        scene.registry.push("apps/web", &child);
        let index = Image::index(&[&child]);
        scene.push_signed("apps/web", "index", &index);
        let docker = {
            let mut manifest: Value = serde_json::from_slice(&Image::new("docker").bytes).unwrap();
            manifest["mediaType"] = json!(DOCKER_MANIFEST);
            Image::raw(DOCKER_MANIFEST, manifest.to_string())
        };
        scene.push_signed("apps/web", "docker", &docker);
        scene
            .registry
            .fault("/manifests/", Fault::typed(content_type));
        for (tag, image) in [
            ("v1", &image),
            ("bare", &bare),
            ("index", &index),
            ("docker", &docker),
        ] {
            assert_serves(&scene.manifest("apps/web", tag).await, image);
            assert_serves(&scene.manifest("apps/web", &image.digest).await, image);
        }
        assert_serves(&scene.manifest("apps/web", &child.digest).await, &child);
    }
}

#[tokio::test]
async fn types_are_compared_without_case_and_parameters() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let (mut layer, payload) = scene.key.simple_signing(&image.digest);
    layer["mediaType"] = json!(format!("{}; charset=utf-8", SIMPLE_SIGNING.to_uppercase()));
    let signature = legacy_manifest(&[layer], &[payload]);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &signature);
    let declared = "Application/VND.oci.image.Manifest.v1+json; charset=utf-8";
    scene
        .registry
        .fault("/manifests/", Fault::ContentType(declared));
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn signature_of_a_generic_type_counts_and_passes_to_verifiers() {
    for content_type in GENERIC {
        let scene = Scene::start().await;
        let legacy = scene.signed("apps/web", "legacy");
        let bundled = scene.unsigned("apps/web", "bundled");
        let bundle = scene.registry.sign_bundle("apps/web", &bundled, &scene.key);
        let other = scene.unsigned("apps/other", "by-tag");
        scene
            .registry
            .sign_bundle_by_tag("apps/other", &other, &scene.key);
        let fault = Fault::typed(content_type);
        scene.registry.fault("/manifests/sha256", fault);
        assert_serves(&scene.manifest("apps/web", "legacy").await, &legacy);
        assert_serves(&scene.manifest("apps/web", "bundled").await, &bundled);
        assert_serves(&scene.manifest("apps/other", "by-tag").await, &other);
        for reference in [legacy.cosign_tag("sig"), bundle.digest.clone()] {
            let passed = scene.manifest("apps/web", &reference).await;
            assert_eq!(passed.status, 200, "{passed}");
            assert_eq!(passed.header("content-type"), OCI_MANIFEST);
        }
    }
}

#[tokio::test]
async fn type_that_contradicts_the_document_stays_refused() {
    for declared in [OCI_INDEX, DOCKER_MANIFEST] {
        let scene = Scene::start().await;
        scene.signed("apps/web", "v1");
        scene
            .registry
            .fault("/manifests/v1", Fault::ContentType(declared));
        assert_denied(&scene.manifest("apps/web", "v1").await, "malformed");
    }
    // The shape contradicts, too, where the document names no type.
    let scene = Scene::start().await;
    let bare = without_media_type(&Image::new("bare"));
    scene.push_signed("apps/web", "v1", &bare);
    scene
        .registry
        .fault("/manifests/v1", Fault::ContentType(OCI_INDEX));
    assert_denied(&scene.manifest("apps/web", "v1").await, "malformed");
}

#[tokio::test]
async fn other_content_than_a_manifest_cannot_be_decided_about() {
    for fault in other_content() {
        let scene = Scene::start().await;
        let image = scene.signed("apps/web", "v1");
        for reference in [image.digest.as_str(), "v1"] {
            let path = format!("/manifests/{reference}$");
            scene.registry.fault(&path, fault.clone());
            let answer = scene.manifest("apps/web", reference).await;
            assert_unavailable(&answer);
            scene.registry.lift_faults();
            // The proxy remembers nothing of it.
            assert_serves(&scene.manifest_soon("apps/web", reference).await, &image);
        }
    }
}

#[tokio::test]
async fn other_content_than_a_signature_hides_no_signature() {
    for fault in other_content() {
        let scene = Scene::start().await;
        let image = scene.signed("apps/web", "v1");
        scene.registry.fault("/manifests/sha256-", fault.clone());
        assert_unavailable(&scene.manifest("apps/web", "v1").await);
        scene.registry.lift_faults();
        assert_serves(&scene.manifest_soon("apps/web", "v1").await, &image);
    }
}

#[tokio::test]
async fn captive_portal_hides_no_signature_that_only_the_referrers_api_lists() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    let page = Fault::page(Some("text/html"), "<html>Sign in</html>");
    scene
        .registry
        .fault("/manifests/sha256-|/referrers/|/blobs/", page);
    assert_unavailable(&scene.manifest("apps/web", "v1").await);
    scene.registry.lift_faults();
    assert_serves(&scene.manifest_soon("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn other_content_than_the_payload_of_a_signature_cannot_be_decided_about() {
    let payload_size = 400;
    for fault in [
        Fault::page(Some("text/html"), "<html>".repeat(payload_size)),
        Fault::page(Some("text/html"), "<html>".repeat(100 * payload_size)),
        Fault::page(
            Some("application/json"),
            r#"{"errors": []}"#.repeat(payload_size),
        ),
        Fault::page(Some("application/octet-stream"), "short"),
        Fault::page(None, ""),
    ] {
        let scene = Scene::start().await;
        let image = scene.signed("apps/web", "v1");
        scene.registry.fault("GET .*/blobs/", fault);
        assert_unavailable(&scene.manifest("apps/web", "v1").await);
        scene.registry.lift_faults();
        assert_serves(&scene.manifest_soon("apps/web", "v1").await, &image);
    }
}

#[tokio::test]
async fn payload_larger_than_its_descriptor_says_is_malformed() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let (mut layer, payload) = scene.key.simple_signing(&image.digest);
    layer["size"] = json!(payload.len() - 1);
    let signature = legacy_manifest(&[layer], &[payload]);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &signature);
    assert_denied(&scene.manifest("apps/web", "v1").await, "malformed");
}

#[tokio::test]
async fn page_in_place_of_a_blob_cannot_be_decided_about_and_is_not_kept() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let page = Fault::page(Some("text/html"), "<html>Sign in</html>");
    scene.registry.fault("GET .*/blobs/", page);
    assert_unavailable(&scene.blob("apps/web", &image.layer(0)).await);
    scene.registry.lift_faults();
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert_serves_blob(&answer, &image.layer(0));
}

#[tokio::test]
async fn page_in_place_of_a_list_of_tags_is_no_empty_list() {
    let scene = Scene::start().await;
    scene.signed("apps/web", "v1");
    let path = format!("/v2/{}/tags/list", scene.repository("apps/web"));
    for fault in other_content() {
        scene.registry.fault("/tags/list", fault);
        assert_unavailable(&scene.proxy.get(&path).await);
        scene.registry.lift_faults();
    }
    let null = r#"{"name": "apps/web", "tags": null}"#;
    scene.registry.fault("/tags/list", Fault::page(None, null));
    assert_eq!(scene.proxy.get(&path).await.status, 200);
}
