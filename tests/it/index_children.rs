//! An index that is admitted vouches for the manifests it lists, and for nothing else.

use serde_json::json;

use crate::support::*;

/// An index with two platforms in the registry; only the index is signed.
fn signed_index(scene: &Scene, name: &str, tag: &str) -> (Image, [Image; 2]) {
    let children = ["arm", "amd"].map(|platform| Image::new(&format!("{name} {tag} {platform}")));
    for child in &children {
        scene.registry.push(name, child);
    }
    let index = Image::index(&[&children[0], &children[1]]);
    scene.push_signed(name, tag, &index);
    (index, children)
}

#[tokio::test]
async fn are_served_after_the_index_and_not_before() {
    let scene = Scene::start().await;
    let (index, children) = signed_index(&scene, "apps/web", "v1");
    for child in &children {
        let early = scene.manifest("apps/web", &child.digest).await;
        assert_denied(&early, "unsigned");
        assert_denied(
            &scene.blob("apps/web", &child.layer(0)).await,
            "not_endorsed",
        );
    }
    assert_serves(&scene.manifest("apps/web", "v1").await, &index);
    for child in &children {
        // A refusal for want of an admitted parent is not remembered.
        assert_serves(&scene.manifest("apps/web", &child.digest).await, child);
        let head = scene
            .proxy
            .head(&scene.manifest_path("apps/web", &child.digest))
            .await;
        assert_eq!(head.status, 200, "{head}");
        for blob in &child.blobs {
            let digest = sha256(blob);
            assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
        }
    }
}

#[tokio::test]
async fn are_logged_with_the_index_that_vouched() {
    let scene = Scene::start().await;
    let (index, children) = signed_index(&scene, "apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &index);
    assert_serves(
        &scene.manifest("apps/web", &children[0].digest).await,
        &children[0],
    );
    let query = format!("digest={}&decision=admit", children[0].digest);
    let records = scene.proxy.decisions(&query).await;
    assert_eq!(records[0]["basis"], "endorsement", "{records:?}");
    assert_eq!(records[0]["endorsed_by"], index.digest);
    let records = scene
        .proxy
        .decisions(&format!("digest={}", index.digest))
        .await;
    assert_eq!(records[0]["basis"], "signature", "{records:?}");
}

#[tokio::test]
async fn of_an_unsigned_index_are_refused() {
    let scene = Scene::start().await;
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    scene.registry.push("apps/web", &child);
    scene.registry.push_tagged("apps/web", "v1", &index);
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
    assert_denied(&scene.manifest("apps/web", &child.digest).await, "unsigned");
    assert_denied(
        &scene.blob("apps/web", &child.layer(0)).await,
        "not_endorsed",
    );
}

#[tokio::test]
async fn must_have_the_size_and_type_that_the_index_says() {
    let scene = Scene::start().await;
    let child = Image::new("child");
    let mut longer = child.descriptor();
    longer["size"] = json!(child.bytes.len() + 1);
    let mut other_type = child.descriptor();
    other_type["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json");
    for (tag, descriptor) in [("size", longer), ("type", other_type)] {
        let name = format!("apps/{tag}");
        scene.registry.push(&name, &child);
        let index = Image::index_of(&[descriptor]);
        scene.push_signed(&name, tag, &index);
        assert_serves(&scene.manifest(&name, tag).await, &index);
        let answer = scene.manifest(&name, &child.digest).await;
        assert_eq!(answer.status, 403, "{tag}: {answer}");
        let answer = scene.blob(&name, &child.layer(0)).await;
        assert_eq!(answer.status, 403, "{tag}: {answer}");
    }
}

#[tokio::test]
async fn are_not_vouched_for_in_another_repository() {
    let scene = Scene::start().await;
    let (index, children) = signed_index(&scene, "apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &index);
    assert_serves(
        &scene.manifest("apps/web", &children[0].digest).await,
        &children[0],
    );
    scene.registry.push("apps/other", &children[0]);
    let answer = scene.manifest("apps/other", &children[0].digest).await;
    assert_denied(&answer, "unsigned");
    let answer = scene.blob("apps/other", &children[0].layer(0)).await;
    assert_denied(&answer, "not_endorsed");
}

#[tokio::test]
async fn of_an_index_within_an_index_are_served() {
    let scene = Scene::start().await;
    let leaf = Image::new("leaf");
    let inner = Image::index(&[&leaf]);
    let outer = Image::index(&[&inner]);
    scene.registry.push("apps/web", &leaf);
    scene.registry.push("apps/web", &inner);
    scene.push_signed("apps/web", "v1", &outer);
    for image in [&outer, &inner, &leaf] {
        assert_serves(&scene.manifest("apps/web", &image.digest).await, image);
    }
    assert_serves_blob(
        &scene.blob("apps/web", &leaf.layer(1)).await,
        &leaf.layer(1),
    );
}

#[tokio::test]
async fn nested_too_deep_are_refused() {
    let scene = Scene::start().await;
    let leaf = Image::new("leaf");
    let mut chain = vec![leaf.clone()];
    for _ in 0..6 {
        let next = Image::index(&[chain.last().unwrap()]);
        chain.push(next);
    }
    for image in &chain {
        scene.registry.push("apps/web", image);
    }
    scene
        .registry
        .sign_legacy("apps/web", chain.last().unwrap(), &scene.key);
    for image in chain.iter().rev() {
        drop(scene.manifest("apps/web", &image.digest).await);
    }
    let answer = scene.manifest("apps/web", &leaf.digest).await;
    assert_eq!(answer.status, 403, "{answer}");
}

#[tokio::test]
async fn are_served_first_after_a_restart() {
    let scene = Scene::start().await;
    let (index, children) = signed_index(&scene, "apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &index);
    assert_serves(
        &scene.manifest("apps/web", &children[0].digest).await,
        &children[0],
    );
    scene.proxy.restart().await;
    let answer = scene.manifest("apps/web", &children[0].digest).await;
    assert_serves(&answer, &children[0]);
}

#[tokio::test]
async fn a_subject_is_not_vouched_for_by_what_refers_to_it() {
    let scene = Scene::start().await;
    let subject = scene.unsigned("apps/web", "v1");
    let plain = Image::new("referrer");
    let mut manifest: serde_json::Value = serde_json::from_slice(&plain.bytes).unwrap();
    manifest["subject"] = subject.descriptor();
    let mut referrer = Image::raw(&plain.media_type, manifest.to_string());
    referrer.blobs = plain.blobs;
    scene.push_signed("apps/web", "referrer", &referrer);
    assert_serves(&scene.manifest("apps/web", "referrer").await, &referrer);
    assert_denied(
        &scene.manifest("apps/web", &subject.digest).await,
        "unsigned",
    );
    assert_denied(
        &scene.blob("apps/web", &subject.layer(0)).await,
        "not_endorsed",
    );
}

#[tokio::test]
async fn child_that_differs_from_its_entry_is_reported_as_that() {
    let scene = Scene::start().await;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    for (tag, key, value, said) in [
        (
            "type",
            "mediaType",
            json!(docker),
            "lists it as `application/vnd.docker",
        ),
        ("size", "size", json!(7), "with 7 bytes"),
    ] {
        let child = Image::new(tag);
        scene.registry.push("apps/web", &child);
        let mut entry = child.descriptor();
        entry[key] = value;
        let index = Image::index_of(&[entry]);
        scene.push_signed("apps/web", tag, &index);
        assert_serves(&scene.manifest("apps/web", tag).await, &index);
        let answer = scene.manifest("apps/web", &child.digest).await;
        let error = assert_denied_by(&answer, "malformed", "apps", &child.digest);
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(said) && message.contains(&index.digest),
            "{message}"
        );
    }
}

#[tokio::test]
async fn entry_with_parameters_and_upper_case_is_the_same_type() {
    let scene = Scene::start().await;
    let child = Image::new("child");
    scene.registry.push("apps/web", &child);
    let mut entry = child.descriptor();
    entry["mediaType"] = json!("Application/vnd.OCI.image.manifest.v1+json; charset=utf-8");
    let index = Image::index_of(&[entry]);
    scene.push_signed("apps/web", "v1", &index);
    assert_serves(&scene.manifest("apps/web", "v1").await, &index);
    assert_serves(&scene.manifest("apps/web", &child.digest).await, &child);
}
