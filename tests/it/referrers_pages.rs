//! Referrers in pages: all are read before anything is concluded.

use serde_json::Value;

use crate::support::image::{OCI_INDEX, OCI_MANIFEST};
use crate::support::*;

/// A scene with an image that has a signature and two signatures by a key that no policy names, in pages of one.
async fn scene(by: PagingBy, origin: &str) -> (Scene, Image) {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    for _ in 0..2 {
        let other = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &image, &other);
    }
    let paging = Paging::new(by, 1).at(origin);
    scene.registry.set_paging("apps/web", paging);
    (scene, image)
}

fn path(scene: &Scene, image: &Image) -> String {
    let name = scene.repository("apps/web");
    format!("/v2/{name}/referrers/{}", image.digest)
}

#[tokio::test]
async fn signature_is_found_on_every_page_and_in_every_way_to_page() {
    for by in [
        PagingBy::LastEntry,
        PagingBy::NextPage,
        PagingBy::OpaqueLast,
    ] {
        for origin in ["", "http://registry.internal:5000", "https://127.0.0.1:1"] {
            let (scene, image) = scene(by, origin).await;
            assert_serves(&scene.manifest("apps/web", "v1").await, &image);
            let listed = scene.proxy.get(&path(&scene, &image)).await;
            let listed: Vec<Value> =
                serde_json::from_value(listed.json()["manifests"].clone()).unwrap();
            assert_eq!(listed.len(), 3, "{by:?} {origin}");
        }
    }
}

#[tokio::test]
async fn image_without_signature_is_refused_after_the_last_page() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    for _ in 0..3 {
        let other = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &image, &other);
    }
    let paging = Paging::new(PagingBy::NextPage, 1).at("http://registry.internal:5000");
    scene.registry.set_paging("apps/web", paging);
    let answer = scene.manifest("apps/web", "v1").await;
    assert_eq!(answer.status, 403, "{answer}");
    assert_eq!(scene.registry.count("/referrers/"), 3);
}

#[tokio::test]
async fn pages_in_a_circle_are_too_many() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    for _ in 0..2 {
        let other = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &image, &other);
    }
    let paging = Paging::new(PagingBy::Nothing, 1);
    scene.registry.set_paging("apps/web", paging);
    let error = assert_denied(&scene.manifest("apps/web", "v1").await, "limit_exceeded");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("circle"), "{message}");
    assert!(scene.registry.count("/referrers/") <= 2);
    let listed = scene.proxy.get(&path(&scene, &image)).await;
    assert_ne!(listed.status, 200, "{listed}");
}

#[tokio::test]
async fn signature_on_a_page_that_arrived_suffices_though_another_page_fails() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    // Not usable, missing, and the same again.
    for link in [
        "</inner/path>; rel=next",
        "<?page=2>; rel=next",
        "<?page=1>; rel=next",
    ] {
        scene.registry.lift_faults();
        scene
            .registry
            .fault("/referrers/.*page=2", Fault::Status(404));
        scene
            .registry
            .fault("/referrers/", Fault::Header("Link", link));
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    }
}

#[tokio::test]
async fn page_that_is_missing_decides_nothing() {
    let page_of_something_else = Fault::Answer {
        status: 200,
        headers: Vec::new(),
        body: "<html>".into(),
    };
    for fault in [
        Fault::Status(404),
        Fault::Status(500),
        page_of_something_else,
    ] {
        let scene = Scene::start().await;
        let image = scene.unsigned("apps/web", "v1");
        let other = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &image, &other);
        scene.registry.fault("/referrers/.*page=2", fault);
        scene
            .registry
            .fault("/referrers/", Fault::Header("Link", "<?page=2>; rel=next"));
        assert_unavailable(&scene.manifest("apps/web", "v1").await);
        assert_unavailable(&scene.proxy.get(&path(&scene, &image)).await);
    }
}

#[tokio::test]
async fn artifact_itself_under_the_referrers_tag_is_listed() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.set_referrers_api("apps/web", false);
    let listed = scene.proxy.get(&path(&scene, &image)).await;
    assert_eq!(listed.json()["manifests"], Value::Array(Vec::new()));
    let signature = scene.key.bundle_signature(&image);
    let tag = image.referrers_tag();
    scene.registry.push_tagged("apps/web", &tag, &signature);
    let listed = scene.proxy.get(&path(&scene, &image)).await;
    let manifest: Value = serde_json::from_slice(&signature.bytes).unwrap();
    let entry = &listed.json()["manifests"][0];
    assert_eq!(entry["digest"], signature.digest.as_str(), "{listed}");
    assert_eq!(entry["size"], signature.bytes.len());
    assert_eq!(entry["mediaType"], signature.media_type.as_str());
    assert_eq!(entry["artifactType"], manifest["artifactType"]);
}

#[tokio::test]
async fn referrers_tag_that_cannot_be_read_is_no_empty_list() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.set_referrers_api("apps/web", false);
    let tag = image.referrers_tag();
    for body in [
        r#"{"errors": []}"#,
        r#"{"schemaVersion": 2, "manifests": 7}"#,
    ] {
        let broken = Image::raw(OCI_INDEX, body.to_owned());
        scene.registry.push_tagged("apps/web", &tag, &broken);
        assert_unavailable(&scene.proxy.get(&path(&scene, &image)).await);
    }
}

#[tokio::test]
async fn broken_list_under_the_referrers_tag_leaves_an_image_undecided() {
    let entry = |digest: &str| {
        format!(r#"{{"mediaType": "{OCI_MANIFEST}", "digest": "{digest}", "size": 7}}"#)
    };
    let known = entry(&format!("sha256:{}", "0".repeat(64)));
    let unknown = entry(&format!("blake3:{}", "0".repeat(64)));
    for body in [
        r#"{"schemaVersion": 2, "manifests": 7}"#.to_owned(),
        format!(r#"{{"schemaVersion": 2, "manifests": [{unknown}]}}"#),
        format!(r#"{{"schemaVersion": 2, "manifests": [{known}], "manifests": []}}"#),
        format!(r#"{{"schemaVersion": 2, "manifests": [{known}], "layers": []}}"#),
        r#"{"schemaVersion": 2, "manifests": ["#.to_owned(),
    ] {
        let scene = Scene::start().await;
        scene.registry.set_referrers_api("apps/web", false);
        let broken = Image::raw(OCI_INDEX, body.clone());
        let unsigned = scene.unsigned("apps/web", "v1");
        let tag = unsigned.referrers_tag();
        scene.registry.push_tagged("apps/web", &tag, &broken);
        assert_unavailable(&scene.manifest("apps/web", "v1").await);
        // A signature elsewhere suffices.
        let signed = scene.signed("apps/web", "v2");
        let tag = signed.referrers_tag();
        scene.registry.push_tagged("apps/web", &tag, &broken);
        assert_serves(&scene.manifest("apps/web", "v2").await, &signed);
    }
}

#[tokio::test]
async fn document_of_another_type_under_the_referrers_tag_lists_nothing() {
    let scene = Scene::start().await;
    scene.registry.set_referrers_api("apps/web", false);
    let image = scene.unsigned("apps/web", "v1");
    let body = r#"{"schemaVersion": 2, "mediaType": "application/vnd.example.note+json"}"#;
    let other = Image::raw("application/vnd.example.note+json", body.to_owned());
    let tag = image.referrers_tag();
    scene.registry.push_tagged("apps/web", &tag, &other);
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
}
