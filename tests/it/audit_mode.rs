//! What `audit` waives, what it does not, and how it shows.

use serde_json::json;

use crate::support::image::OCI_MANIFEST;
use crate::support::*;

/// The policy `apps` only audits.
async fn auditing() -> Scene {
    Scene::with(|mut configuration, _| {
        configuration.0["policies"][0]["mode"] = json!("audit");
        configuration
    })
    .await
}

#[tokio::test]
async fn an_unsigned_image_is_served_with_a_warning() {
    let scene = auditing().await;
    let image = scene.unsigned("apps/web", "v1");
    for reference in ["v1", &image.digest] {
        let answer = scene.manifest("apps/web", reference).await;
        assert_serves(&answer, &image);
        let warning = answer.header("warning");
        assert!(
            warning.starts_with("299 - \"") && warning.ends_with('"'),
            "{warning}"
        );
        assert!(warning.len() <= 4096);
        let head = scene
            .proxy
            .head(&scene.manifest_path("apps/web", reference))
            .await;
        assert_eq!(head.status, 200);
    }
    for blob in &image.blobs {
        assert_serves_blob(&scene.blob("apps/web", &sha256(blob)).await, &sha256(blob));
    }
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    let record = &records[0];
    assert_eq!(
        (&record["decision"], &record["mode"]),
        (&json!("admit"), &json!("audit"))
    );
    assert_eq!(record["basis"], "audit");
    assert_eq!(
        record["denial"]["kind"], "unsigned",
        "the refusal it would have been"
    );
}

#[tokio::test]
async fn a_signed_image_is_served_without_one() {
    let scene = auditing().await;
    let image = scene.signed("apps/web", "v1");
    let answer = scene.manifest("apps/web", "v1").await;
    assert_serves(&answer, &image);
    assert_eq!(answer.header("warning"), "");
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    assert_eq!(records[0]["basis"], "signature");
}

#[tokio::test]
async fn it_vouches_for_nothing_once_the_policy_enforces() {
    let scene = auditing().await;
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    scene.registry.push("apps/web", &child);
    scene.registry.push_tagged("apps/web", "v1", &index);
    assert_serves(&scene.manifest("apps/web", "v1").await, &index);
    assert_serves(&scene.manifest("apps/web", &child.digest).await, &child);
    assert_serves_blob(
        &scene.blob("apps/web", &child.layer(0)).await,
        &child.layer(0),
    );
    scene.proxy.stop().await;
    scene.proxy.reconfigure(|configuration| {
        configuration["policies"][0]["mode"] = json!("enforce");
    });
    scene.proxy.run().await;
    for image in [&child, &index] {
        let answer = scene.manifest("apps/web", &image.digest).await;
        assert_denied(&answer, "unsigned");
    }
    assert_denied(
        &scene.blob("apps/web", &child.layer(0)).await,
        "not_endorsed",
    );
}

#[tokio::test]
async fn it_waives_no_other_policy() {
    let second = SigningKey::generate();
    let scene = Scene::with(|mut configuration, registry| {
        configuration.0["policies"][0]["mode"] = json!("audit");
        let images = format!("{}/apps/**", registry.name());
        configuration.policy(key_policy("strict", &images, &[&second]))
    })
    .await;
    let image = scene.unsigned("apps/web", "v1");
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied_by(&answer, "unsigned", "strict", &image.digest);
}

#[tokio::test]
async fn it_waives_neither_revocation_nor_malformed_content() {
    let ambiguous = Image::new("ambiguous");
    let mut manifest: serde_json::Value = serde_json::from_slice(&ambiguous.bytes).unwrap();
    manifest["manifests"] = json!([]);
    let ambiguous = Image::raw(OCI_MANIFEST, manifest.to_string());
    let revoked = Image::new("revoked");
    let scene = Scene::with(|mut configuration, _| {
        configuration.0["policies"][0]["mode"] = json!("audit");
        configuration.set("revoked", json!({"digests": [revoked.digest]}))
    })
    .await;
    scene
        .registry
        .push_tagged("apps/web", "ambiguous", &ambiguous);
    scene.registry.push_tagged("apps/web", "revoked", &revoked);
    assert_denied(&scene.manifest("apps/web", "ambiguous").await, "malformed");
    assert_denied(&scene.manifest("apps/web", "revoked").await, "revoked");
}

#[tokio::test]
async fn default_audit_serves_what_no_policy_covers() {
    let scene = Scene::with(|configuration, _| configuration.set("default", json!("audit"))).await;
    let image = scene.unsigned("elsewhere/web", "v1");
    let answer = scene.manifest("elsewhere/web", "v1").await;
    assert_serves(&answer, &image);
    assert!(answer.header("warning").starts_with("299 "), "{answer}");
    assert_serves_blob(
        &scene.blob("elsewhere/web", &image.layer(0)).await,
        &image.layer(0),
    );
    let refused = scene.unsigned("apps/web", "v1");
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied_by(&answer, "unsigned", "apps", &refused.digest);
}

/// The registry cache of `BuildKit` (`--cache-to type=registry`): an index whose entries are layers and a cache configuration.
fn build_cache(seed: &str) -> Image {
    let layers = ["first", "second"].map(|layer| {
        let bytes = format!("{layer} layer of the cache {seed}\n").repeat(100);
        bytes::Bytes::from(bytes.into_bytes())
    });
    let config = bytes::Bytes::from_static(br#"{"layers": [], "records": []}"#);
    let mut entries: Vec<_> = layers
        .iter()
        .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer))
        .collect();
    entries.push(descriptor(
        "application/vnd.buildkit.cacheconfig.v0",
        &config,
    ));
    let mut cache = Image::index_of(&entries);
    cache.blobs.extend(layers);
    cache.blobs.push(config);
    cache
}

#[tokio::test]
async fn build_cache_works_under_default_audit() {
    let scene = Scene::with(|mut configuration, _| {
        configuration.0["default"] = json!("audit");
        configuration
    })
    .await;
    let cache = build_cache("web");
    scene.registry.push_tagged("cache/web", "main", &cache);
    let blob = sha256(&cache.blobs[0]);
    assert_denied(&scene.blob("cache/web", &blob).await, "not_endorsed");
    assert_serves(&scene.manifest("cache/web", "main").await, &cache);
    for blob in &cache.blobs {
        let digest = sha256(blob);
        assert_serves_blob(&scene.blob("cache/web", &digest).await, &digest);
        let head = scene
            .proxy
            .head(&scene.blob_path("cache/web", &digest))
            .await;
        assert_eq!(head.status, 200, "{head}");
    }
}

#[tokio::test]
async fn entries_of_an_enforced_index_are_no_blobs() {
    let scene = Scene::with(|mut configuration, _| {
        configuration.0["default"] = json!("audit");
        configuration
    })
    .await;
    let cache = build_cache("web");
    scene.push_signed("apps/web", "main", &cache);
    assert_serves(&scene.manifest("apps/web", "main").await, &cache);
    for blob in &cache.blobs {
        let answer = scene.blob("apps/web", &sha256(blob)).await;
        assert_denied(&answer, "not_endorsed");
    }
    // A manifest that an audited index lists is no blob either.
    let child = Image::new("child");
    scene.registry.push("cache/web", &child);
    let index = Image::index(&[&child]);
    scene.registry.push_tagged("cache/web", "v1", &index);
    assert_serves(&scene.manifest("cache/web", "v1").await, &index);
    let answer = scene.blob("cache/web", &child.digest).await;
    assert_denied(&answer, "not_endorsed");
}
