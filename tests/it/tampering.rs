//! Rows and files altered behind the proxy's back never admit anything that is not signed.

use std::fs;

use crate::support::*;

/// A signed image pulled whole and an unsigned one refused; the proxy is stopped.
async fn pulled_and_stopped() -> (Scene, Image, Image) {
    let scene = Scene::start().await;
    let good = scene.signed("apps/web", "good");
    let evil = scene.unsigned("apps/web", "evil");
    assert_serves(&scene.manifest("apps/web", "good").await, &good);
    for blob in &good.blobs {
        assert_serves_blob(&scene.blob("apps/web", &sha256(blob)).await, &sha256(blob));
    }
    assert_denied(&scene.manifest("apps/web", "evil").await, "unsigned");
    scene.proxy.stop().await;
    (scene, good, evil)
}

async fn assert_evil_stays_in(scene: &Scene, evil: &Image) {
    for reference in [&evil.digest, "evil"] {
        let answer = scene.manifest("apps/web", reference).await;
        assert!(
            matches!(answer.status, 403 | 502 | 503),
            "{reference}: {answer}"
        );
        assert_withheld(&answer, &evil.digest);
        let head = scene
            .proxy
            .head(&scene.manifest_path("apps/web", reference))
            .await;
        assert_ne!(head.status, 200, "{reference}: {head}");
    }
    for blob in &evil.blobs {
        let answer = scene.blob("apps/web", &sha256(blob)).await;
        assert_withheld(&answer, &sha256(blob));
    }
}

#[tokio::test]
async fn rows_about_the_signed_image_copied_for_another() {
    let (scene, good, evil) = pulled_and_stopped().await;
    assert!(scene.proxy.forge_copies(&good.digest, &evil.digest) > 0);
    scene.proxy.run().await;
    assert_evil_stays_in(&scene, &evil).await;
    let answer = scene.manifest("apps/web", &good.digest).await;
    assert_serves(&answer, &good);
}

#[tokio::test]
async fn rows_about_the_signed_image_made_those_of_another() {
    let (scene, good, evil) = pulled_and_stopped().await;
    assert!(scene.proxy.forge(&good.digest, &evil.digest) > 0);
    scene.proxy.run().await;
    assert_evil_stays_in(&scene, &evil).await;
    let answer = scene.manifest("apps/web", &good.digest).await;
    assert_serves(&answer, &good);
}

#[tokio::test]
async fn the_same_with_the_upstream_off() {
    let (scene, good, evil) = pulled_and_stopped().await;
    assert!(scene.proxy.forge_copies(&good.digest, &evil.digest) > 0);
    scene.registry.stop();
    scene.proxy.run().await;
    assert_evil_stays_in(&scene, &evil).await;
}

#[tokio::test]
async fn a_forged_endorsement_of_a_manifest() {
    let scene = Scene::start().await;
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    let evil = scene.unsigned("apps/web", "evil");
    scene.registry.push("apps/web", &child);
    scene.push_signed("apps/web", "index", &index);
    assert_serves(&scene.manifest("apps/web", "index").await, &index);
    assert_serves(&scene.manifest("apps/web", &child.digest).await, &child);
    scene.proxy.stop().await;
    assert!(scene.proxy.forge_copies(&child.digest, &evil.digest) > 0);
    scene.proxy.run().await;
    assert_evil_stays_in(&scene, &evil).await;
    assert_serves(&scene.manifest("apps/web", &child.digest).await, &child);
}

#[tokio::test]
async fn a_forged_endorsement_of_a_blob() {
    let (scene, good, evil) = pulled_and_stopped().await;
    let (ours, theirs) = (good.layer(0), evil.layer(0));
    assert!(scene.proxy.forge_copies(&ours, &theirs) > 0);
    scene.proxy.run().await;
    let answer = scene.blob("apps/web", &theirs).await;
    assert_denied(&answer, "not_endorsed");
    assert_serves_blob(&scene.blob("apps/web", &ours).await, &ours);
}

#[tokio::test]
async fn a_manifest_file_with_other_bytes() {
    let (scene, good, evil) = pulled_and_stopped().await;
    let file = scene
        .proxy
        .content_file(&good.digest)
        .expect("it is stored");
    fs::write(&file, &evil.bytes).unwrap();
    scene.proxy.run().await;
    // Read again from the upstream.
    assert_serves(&scene.manifest("apps/web", &good.digest).await, &good);
    for blob in &evil.blobs {
        assert_denied(&scene.blob("apps/web", &sha256(blob)).await, "not_endorsed");
    }
    scene.proxy.assert_content_is_right();
}

#[tokio::test]
async fn a_manifest_file_with_other_bytes_and_the_upstream_off() {
    let (scene, good, evil) = pulled_and_stopped().await;
    let file = scene
        .proxy
        .content_file(&good.digest)
        .expect("it is stored");
    fs::write(&file, &evil.bytes).unwrap();
    scene.registry.stop();
    scene.proxy.run().await;
    for reference in [&good.digest, "good"] {
        let answer = scene.manifest("apps/web", reference).await;
        assert_unavailable(&answer);
    }
    for image in [&good, &evil] {
        let answer = scene.blob("apps/web", &image.layer(0)).await;
        assert!(matches!(answer.status, 403 | 503), "{answer}");
    }
}

#[tokio::test]
async fn a_signature_file_with_other_bytes() {
    for part in ["manifest", "payload"] {
        let (scene, good, evil) = pulled_and_stopped().await;
        let listed = scene.registry_signature(&good).await;
        let digest = match part {
            "manifest" => listed.digest.clone(),
            _ => payload_of(&listed),
        };
        let file = scene.proxy.content_file(&digest).expect("it is stored");
        fs::write(&file, &evil.bytes).unwrap();
        scene.proxy.run().await;
        assert_serves(&scene.manifest_soon("apps/web", &good.digest).await, &good);
        scene.proxy.assert_content_is_right();
        assert_evil_stays_in(&scene, &evil).await;
    }
}

#[tokio::test]
async fn a_signature_file_with_other_bytes_and_the_upstream_off() {
    for part in ["manifest", "payload"] {
        let (scene, good, _) = pulled_and_stopped().await;
        let listed = scene.registry_signature(&good).await;
        let digest = match part {
            "manifest" => listed.digest.clone(),
            _ => payload_of(&listed),
        };
        let file = scene.proxy.content_file(&digest).expect("it is stored");
        fs::write(&file, b"{}").unwrap();
        scene.registry.stop();
        scene.proxy.run().await;
        let answer = scene.manifest("apps/web", &good.digest).await;
        assert_unavailable(&answer);
    }
}

#[tokio::test]
async fn a_signature_of_the_signed_image_written_into_the_files_of_another() {
    let scene = Scene::start().await;
    let good = scene.signed("apps/web", "good");
    let evil = scene.unsigned("apps/web", "evil");
    let stranger = SigningKey::generate();
    let foreign = scene.registry.sign_legacy("apps/web", &evil, &stranger);
    assert_serves(&scene.manifest("apps/web", "good").await, &good);
    assert_denied(&scene.manifest("apps/web", "evil").await, "untrusted_key");
    scene.proxy.stop().await;
    let genuine = scene.registry_signature(&good).await;
    let (from, to) = (
        scene
            .proxy
            .content_file(&genuine.digest)
            .expect("it is stored"),
        scene
            .proxy
            .content_file(&foreign.digest)
            .expect("it is stored"),
    );
    fs::copy(from, to).unwrap();
    scene.proxy.forge(&foreign.digest, &genuine.digest);
    scene.registry.stop();
    scene.proxy.run().await;
    assert_evil_stays_in(&scene, &evil).await;
}

#[tokio::test]
async fn a_database_that_is_none_does_not_open_anything() {
    let (scene, good, evil) = pulled_and_stopped().await;
    {
        let database = scene.proxy.database();
        let path = database.path().unwrap().to_owned();
        drop(database);
        fs::write(path, b"this is no database, whatever it once was").unwrap();
    }
    scene.proxy.spawn();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    // Whether it starts anew or refuses to start, the unsigned image does not come out.
    let answer = scene.manifest("apps/web", &evil.digest).await;
    assert_withheld(&answer, &evil.digest);
    let answer = scene.manifest("apps/web", &good.digest).await;
    assert!(
        answer.status != 200 || answer.body == good.bytes,
        "{answer}"
    );
}

impl Scene {
    /// The signature that the registry holds for `image`.
    async fn registry_signature(&self, image: &Image) -> Image {
        let path = format!("/v2/apps/web/manifests/{}", image.cosign_tag("sig"));
        let answer = send(self.registry.port(), "GET", &path, &[]).await;
        Image::raw(&image.media_type, answer.body)
    }
}

/// The digest of the first payload that a legacy signature lists.
fn payload_of(signature: &Image) -> String {
    let manifest: serde_json::Value = serde_json::from_slice(&signature.bytes).unwrap();
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}
