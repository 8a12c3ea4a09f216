//! Requests that a peer makes us send, and what they carry.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::signing::{SIGN_PREDICATE, bundle_artifact, legacy_manifest};
use crate::support::*;

/// A scene whose upstream has credentials.
async fn with_credentials() -> Scene {
    Scene::with(|mut configuration, registry| {
        configuration.0["upstreams"][registry.name()]["credentials"] =
            json!({"username": "robot", "password": "sesame-open"});
        configuration
    })
    .await
}

/// Nobody was sent anything that lets them in.
#[track_caller]
fn assert_no_credentials(peer: &FakeRegistry) {
    for request in peer.requests() {
        for header in ["authorization", "cookie", "proxy-authorization"] {
            assert!(!request.headers.contains_key(header), "{request:?}");
        }
        assert!(!request.path.contains("sesame"), "{request:?}");
    }
}

fn redirect(status: u16, location: &str) -> Fault {
    Fault::Answer {
        status,
        headers: vec![("Location", location.to_owned())],
        body: Bytes::new(),
    }
}

#[tokio::test]
async fn cve_2026_33540_realm_of_somebody_else() {
    for scheme in ["Bearer", "Basic", "bearer"] {
        let scene = with_credentials().await;
        let thief = FakeRegistry::start().await;
        let image = scene.signed("apps/web", "v1");
        let realm = format!("http://{}/token", thief.name());
        scene.registry.fault(
            "/apps/web/",
            Fault::Answer {
                status: 401,
                headers: vec![(
                    "WWW-Authenticate",
                    format!("{scheme} realm=\"{realm}\",service=\"x\""),
                )],
                body: Bytes::new(),
            },
        );
        let answer = scene.manifest("apps/web", "v1").await;
        assert_withheld(&answer, &image.digest);
        assert_no_credentials(&thief);
        assert!(!scene.proxy.log().contains("sesame"));
    }
}

#[tokio::test]
async fn cve_2019_10214_realms_that_are_not_what_they_seem() {
    let scene = with_credentials().await;
    let thief = FakeRegistry::start().await;
    let (own, theirs) = (scene.registry.name(), thief.name());
    scene.signed("apps/web", "v1");
    for realm in [
        format!("http://{own}@{theirs}/token"),
        format!("http://{theirs}#{own}"),
        format!("http://{theirs}\\@{own}/token"),
        format!("//{theirs}/token"),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[::ffff:169.254.169.254]/".to_owned(),
        "http://2852039166/".to_owned(),
        "http://metadata.google.internal/".to_owned(),
    ] {
        scene.registry.lift_faults();
        scene.registry.fault(
            "/apps/web/",
            Fault::Answer {
                status: 401,
                headers: vec![("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))],
                body: Bytes::new(),
            },
        );
        let answer = scene.manifest("apps/web", "v1").await;
        assert_ne!(answer.status, 200, "{realm}: {answer}");
        assert!(answer.elapsed.as_secs() < 11, "{realm}: {answer}");
        assert_no_credentials(&thief);
    }
}

#[tokio::test]
async fn cve_2025_27403_token_for_another_registry() {
    // The token of one upstream is never shown to another, nor where it redirects to.
    let (registry, service) = FakeRegistry::start_with_tokens().await;
    let storage = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let image = Image::new("private");
    registry.push_tagged("apps/web", "v1", &image);
    registry.sign_legacy("apps/web", &image, &key);
    let layer = image.layer(0);
    storage.push("apps/web", &image);
    let images = format!("{}/apps/**", registry.name());
    let mut configuration =
        Configuration::new(&[&registry]).policy(key_policy("apps", &images, &[&key]));
    let upstream = &mut configuration.0["upstreams"][registry.name()];
    upstream["credentials"] = json!({"username": "robot", "password": "sesame-open"});
    upstream["token_hosts"] = json!([service.name()]);
    let proxy = Proxy::start(configuration).await;
    let path = format!("/v2/{}/apps/web", registry.name());
    assert_serves(&proxy.get(&format!("{path}/manifests/v1")).await, &image);
    let location = format!("http://{}/v2/apps/web/blobs/{layer}", storage.name());
    registry.fault(&format!("/blobs/{layer}"), redirect(307, &location));
    let answer = proxy.get(&format!("{path}/blobs/{layer}")).await;
    assert_serves_blob(&answer, &layer);
    assert_eq!(storage.count("/blobs/"), 1, "it was fetched there");
    assert_no_credentials(&storage);
}

#[tokio::test]
async fn cve_2026_24845_redirect_that_comes_back() {
    // Away and back again: whoever sent us back chose the path, so the credentials do not come along.
    let (registry, service) = FakeRegistry::start_with_tokens().await;
    let between = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let image = Image::new("private");
    registry.push_tagged("apps/web", "v1", &image);
    registry.sign_legacy("apps/web", &image, &key);
    let images = format!("{}/apps/**", registry.name());
    let mut configuration =
        Configuration::new(&[&registry]).policy(key_policy("apps", &images, &[&key]));
    let upstream = &mut configuration.0["upstreams"][registry.name()];
    upstream["credentials"] = json!({"username": "robot", "password": "sesame-open"});
    upstream["token_hosts"] = json!([service.name()]);
    let proxy = Proxy::start(configuration).await;
    let path = format!("/v2/{}/apps/web", registry.name());
    assert_serves(&proxy.get(&format!("{path}/manifests/v1")).await, &image);
    let layer = image.layer(0);
    let away = format!("http://{}/v2/away/blobs/x", between.name());
    let back = format!("http://{}/v2/secrets/blobs/{layer}", registry.name());
    registry.fault(&format!("/web/blobs/{layer}"), redirect(307, &away));
    between.fault("/away/", redirect(307, &back));
    let answer = proxy.get(&format!("{path}/blobs/{layer}")).await;
    assert_ne!(answer.status, 200, "{answer}");
    for request in registry.requests() {
        let is_secret = request.path.contains("/secrets/");
        assert!(
            !is_secret || !request.headers.contains_key("authorization"),
            "{request:?}"
        );
    }
    assert_no_credentials(&between);
}

#[tokio::test]
async fn cve_2020_15157_layer_from_another_place() {
    let canary = Canary::listen().await;
    let scene = with_credentials().await;
    let image = Image::new("foreign");
    let mut manifest: Value = serde_json::from_slice(&image.bytes).unwrap();
    for at in ["config", "layers"] {
        let is_list = manifest[at].is_array();
        let descriptor = if is_list {
            &mut manifest[at][0]
        } else {
            &mut manifest[at]
        };
        descriptor["urls"] = json!([canary.url()]);
    }
    manifest["layers"][0]["mediaType"] =
        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    let mut foreign = Image::raw(&image.media_type, manifest.to_string());
    foreign.blobs.clone_from(&image.blobs);
    scene.push_signed("apps/web", "v1", &foreign);
    scene.registry.remove_blob("apps/web", &image.layer(0));
    assert_serves(&scene.manifest("apps/web", "v1").await, &foreign);
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert_not_found(&answer, "BLOB_UNKNOWN");
    assert_serves_blob(
        &scene.blob("apps/web", &image.layer(1)).await,
        &image.layer(1),
    );
    canary.assert_untouched();
}

/// Redirects into the network around the proxy. The upstream is at a loopback address, so others of that kind are its
/// own network; everything else that is not public is not.
#[tokio::test]
async fn cve_2020_15157_redirect_into_the_network() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.0.1/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0/",
        "http://[::]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://",
    ] {
        scene.registry.lift_faults();
        scene.registry.fault("/blobs/", redirect(302, target));
        let answer = scene.blob("apps/web", &image.layer(0)).await;
        assert!(matches!(answer.status, 502 | 503), "{target}: {answer}");
        assert!(answer.elapsed.as_secs() < 2, "{target}: it was tried");
    }
}

#[tokio::test]
async fn cve_2026_24117_urls_in_signatures_are_not_followed() {
    let canary = Canary::listen().await;
    let url = canary.url();
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    // In every annotation cosign knows, in the payload, in the statement, in the bundle and in the manifests.
    let (mut layer, payload) = scene.key.simple_signing(&image.digest);
    let annotations = layer["annotations"].as_object_mut().unwrap();
    for name in [
        "dev.sigstore.cosign/rekor-url",
        "org.opencontainers.image.url",
        "org.opencontainers.image.source",
    ] {
        annotations.insert(name.to_owned(), json!(url));
    }
    layer["urls"] = json!([url]);
    let mut broken = layer.clone();
    for name in ["certificate", "chain", "bundle", "rfc3161timestamp"] {
        let value = json!({"publicKey": {"url": url}, "url": url, "Payload": {"body": url}});
        broken["annotations"][format!("dev.sigstore.cosign/{name}")] = json!(value.to_string());
        let signature = legacy_manifest(&[broken.clone()], std::slice::from_ref(&payload));
        let tag = image.cosign_tag("sig");
        scene.registry.push_tagged("apps/web", &tag, &signature);
        let answer = scene.manifest("apps/web", &image.digest).await;
        assert_eq!(answer.status, 403, "{name}: {answer}");
    }
    let image = scene.unsigned("apps/web", "v2");
    let (mut good, payload) = scene.key.simple_signing(&image.digest);
    good["annotations"]["org.opencontainers.image.url"] = json!(url);
    good["urls"] = json!([url]);
    let signature = legacy_manifest(&[good], &[payload]);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &signature);
    let predicate = json!({"builder": {"id": url}, "materials": [{"uri": url}], "jku": url});
    let bundle = scene.key.bundle(&image, SIGN_PREDICATE, &predicate);
    let mut bundle: Value = serde_json::from_slice(&bundle).unwrap();
    bundle["verificationMaterial"]["publicKey"]["hint"] = json!(url);
    let artifact = bundle_artifact(&image, bundle.to_string().into_bytes(), SIGN_PREDICATE);
    scene.registry.push("apps/web", &artifact);
    assert_serves(&scene.manifest("apps/web", "v2").await, &image);
    canary.assert_untouched();
}

#[tokio::test]
async fn cve_2026_24117_links_to_another_host_are_not_followed() {
    let scene = with_credentials().await;
    let thief = FakeRegistry::start().await;
    let image = scene.signed("apps/web", "v1");
    let path = format!("/v2/{}/tags/list", scene.repository("apps/web"));
    for query in ["", "?last=x"] {
        let link = format!("<http://{}/v2/x/y{query}>; rel=\"next\"", thief.name());
        let link: &'static str = link.leak();
        scene.registry.lift_faults();
        scene
            .registry
            .fault("/(referrers|tags)/", Fault::Header("Link", link));
        let answer = scene.manifest("apps/web", &image.digest).await;
        assert_serves(&answer, &image);
        let answer = scene.proxy.get(&path).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert!(!answer.header("link").contains(&thief.name()), "{answer}");
        if let Some(next) = answer.next_page() {
            let answer = scene.proxy.get(&next).await;
            assert_eq!(answer.status, 200, "{answer}");
        }
        let digest = &image.digest;
        let referrers = format!("/v2/{}/referrers/{digest}", scene.repository("apps/web"));
        let answer = scene.proxy.get(&referrers).await;
        assert_ne!(answer.status, 200, "{answer}");
    }
    assert_eq!(thief.requests().len(), 0, "{:?}", thief.requests());
}

#[tokio::test]
async fn cve_2026_35172_private_content_that_is_warm() {
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let name = registry.name();
    let configuration = Configuration::new(&[&registry])
        .policy(key_policy("all", &format!("{name}/**"), &[&key]))
        .set(
            "clients",
            json!([
                {"anonymous": true, "images": [format!("{name}/open/**")]},
                {"basic": {"htpasswd": "users.htpasswd"}, "images": [format!("{name}/**")]},
            ]),
        );
    let proxy = Proxy::new(configuration);
    let hash = bcrypt::hash("wonderland", 4).unwrap();
    proxy.write_file("users.htpasswd", &format!("alice:{hash}\n"));
    proxy.run().await;
    let image = Image::new("private");
    registry.push_tagged("apps/web", "v1", &image);
    registry.sign_legacy("apps/web", &image, &key);
    // `YWxpY2U6d29uZGVybGFuZA==` is `alice:wonderland`.
    let alice = [("Authorization", "Basic YWxpY2U6d29uZGVybGFuZA==")];
    let manifest = format!("manifests/{}", image.digest);
    let blob = format!("blobs/{}", image.layer(0));
    for rest in [&manifest, &blob] {
        let path = format!("/v2/{name}/apps/web/{rest}");
        assert_eq!(proxy.request("GET", &path, &alice).await.status, 200);
        let answer = proxy.get(&path).await;
        assert_eq!(answer.status, 401, "{answer}");
        // The bytes are here; the repository that everybody may read does not have them.
        let answer = proxy.get(&format!("/v2/{name}/open/web/{rest}")).await;
        assert!(matches!(answer.status, 403 | 404), "{answer}");
    }
}
