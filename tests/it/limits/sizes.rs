//! Bytes: what is as large as its limit is read, and one byte more is not.

use std::time::Duration;

use serde_json::{Value, json};

use super::limited;
use crate::support::image::{OCI_MANIFEST, noise};
use crate::support::signing::{SIGN_PREDICATE, bundle_artifact, legacy_manifest};
use crate::support::*;

/// A manifest of exactly this many bytes.
fn padded(seed: &str, size: usize) -> Image {
    let image = Image::new(seed);
    let mut manifest: Value = serde_json::from_slice(&image.bytes).unwrap();
    manifest["annotations"] = json!({"padding": ""});
    let padding = size - manifest.to_string().len();
    manifest["annotations"]["padding"] = json!("x".repeat(padding));
    Image::raw(OCI_MANIFEST, manifest.to_string())
}

#[tokio::test]
async fn of_a_manifest() {
    let scene = limited(json!({"manifest_bytes_max": "5000"})).await;
    for chunked in [false, true] {
        for (size, status) in [(5000, 200), (5001, 502)] {
            let tag = format!("v{size}-{chunked}");
            let image = padded(&tag, size);
            scene.push_signed("apps/web", &tag, &image);
            scene.registry.lift_faults();
            if chunked {
                // Without a length it is what arrives that counts.
                scene.registry.fault(&tag, Fault::Chunked);
            }
            let answer = scene.manifest("apps/web", &tag).await;
            assert_eq!(answer.status, status, "{tag}: {answer}");
        }
    }
}

#[tokio::test]
async fn of_a_payload() {
    let (_, payload) = SigningKey::generate().simple_signing(&sha256(b"any"));
    for (limit, status) in [(payload.len(), 200), (payload.len() - 1, 403)] {
        let scene = limited(json!({"payload_bytes_max": limit.to_string()})).await;
        scene.signed("apps/web", "v1");
        let answer = scene.manifest("apps/web", "v1").await;
        assert_eq!(answer.status, status, "{limit}: {answer}");
    }
}

#[tokio::test]
async fn of_a_bundle() {
    let scene = limited(json!({"bundle_bytes_max": "5000"})).await;
    for (tag, padding, status) in [("small", 10, 200), ("large", 5000, 403)] {
        let image = scene.unsigned("apps/web", tag);
        let predicate = json!({"padding": "x".repeat(padding)});
        let bundle = scene.key.bundle(&image, SIGN_PREDICATE, &predicate);
        let artifact = bundle_artifact(&image, bundle, SIGN_PREDICATE);
        scene.registry.push("apps/web", &artifact);
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, status, "{tag}: {answer}");
    }
}

#[tokio::test]
async fn of_all_signatures_of_an_image() {
    let (_, payload) = SigningKey::generate().simple_signing(&sha256(b"any"));
    for (limit, status) in [(2 * payload.len() + 1, 200), (2 * payload.len(), 403)] {
        let scene = limited(json!({"discovery_bytes_max": limit.to_string()})).await;
        let image = scene.unsigned("apps/web", "v1");
        // The good one is longer by a byte, and read last, because the newest is read first.
        let (mut good, _) = scene.key.simple_signing(&image.digest);
        let (bad, first) = SigningKey::generate().simple_signing(&image.digest);
        let last = [first.as_slice(), b"\n"].concat();
        good["digest"] = json!(sha256(&last));
        good["size"] = json!(last.len());
        good["annotations"]["dev.cosignproject.cosign/signature"] = json!(scene.key.sign(&last));
        let signature = legacy_manifest(&[good, bad], &[first, last]);
        let tag = image.cosign_tag("sig");
        scene.registry.push_tagged("apps/web", &tag, &signature);
        let answer = scene.manifest("apps/web", "v1").await;
        assert_eq!(answer.status, status, "{limit}: {answer}");
    }
}

#[tokio::test]
async fn of_a_list() {
    let scene = limited(json!({"list_bytes_max": "600"})).await;
    let image = scene.signed("apps/web", "v1");
    let path = format!("/v2/{}/tags/list", scene.repository("apps/web"));
    assert_eq!(scene.proxy.get(&path).await.status, 200);
    assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
    for number in 0..50 {
        let tag = format!("a-tag-with-a-long-name-{number}");
        scene.registry.tag("apps/web", &tag, &image.digest);
    }
    let answer = scene.proxy.get(&path).await;
    assert!(matches!(answer.status, 502 | 503), "{answer}");
    // A list of referrers that is too long hides nothing: it is refused, and says so.
    let other = scene.unsigned("apps/web", "v2");
    for _ in 0..4 {
        let stranger = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &other, &stranger);
    }
    assert_denied(&scene.manifest("apps/web", "v2").await, "limit_exceeded");
}

#[tokio::test]
async fn of_all_pages_of_referrers() {
    for (limit, status) in [("10KiB", 200), ("500", 502)] {
        let scene = limited(json!({"referrers_bytes_max": limit})).await;
        let image = scene.signed("apps/web", "v1");
        for _ in 0..3 {
            let stranger = SigningKey::generate();
            scene.registry.sign_bundle("apps/web", &image, &stranger);
        }
        let repository = scene.repository("apps/web");
        let path = format!("/v2/{repository}/referrers/{}", image.digest);
        let answer = scene.proxy.get(&path).await;
        assert_eq!(answer.status, status, "{limit}: {answer}");
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    }
}

/// While one large manifest is read for a client, there is no room for another. This is no outage: the answer is 503, and
/// small manifests are served.
#[tokio::test]
async fn of_all_that_is_read_at_a_time() {
    let limits = json!({"reading_bytes_max": "1MiB", "discovery_bytes_max": "1MiB", "decision_time_max": "6s"});
    let scene = limited(limits).await;
    let [first, second] = ["first", "second"].map(|tag| {
        let image = padded(tag, 200_000);
        scene.push_signed("apps/web", tag, &image);
        image
    });
    let small = scene.signed("apps/web", "small");
    let slowly = Fault::Trickle(50_000, Duration::from_millis(1200));
    scene.registry.fault("manifests/first", slowly);
    let slow = scene.manifest("apps/web", "first");
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_serves(&scene.manifest("apps/web", "small").await, &small);
        let answer = scene.manifest("apps/web", "second").await;
        assert_error(&answer, 503, "UNAVAILABLE");
        assert!(!answer.header("retry-after").is_empty());
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_serves(&slow, &first);
    // Remembered content counts there.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_serves(&scene.manifest("apps/web", "second").await, &second);
}

#[tokio::test]
async fn of_a_token() {
    for (limit, status) in [(1000, 200), (20, 502)] {
        let (registry, service) = FakeRegistry::start_with_tokens().await;
        let key = SigningKey::generate();
        let image = Image::new("private");
        registry.push_tagged("apps/web", "v1", &image);
        registry.sign_legacy("apps/web", &image, &key);
        let images = format!("{}/apps/**", registry.name());
        let configuration = Configuration::new(&[&registry])
            .policy(key_policy("apps", &images, &[&key]))
            .set("limits", json!({"token_bytes_max": limit.to_string()}));
        let proxy = Proxy::start(configuration).await;
        let path = format!("/v2/{}/apps/web/manifests/v1", registry.name());
        let answer = proxy.get(&path).await;
        assert_eq!(answer.status, status, "{limit}: {answer}");
        assert!(service.count("/token") > 0);
    }
}

/// What is kept in memory does not change with the file; what is too large for it does.
#[tokio::test]
async fn of_what_is_kept_in_memory() {
    for (limits, is_kept) in [
        (json!({}), true),
        (json!({"memory_blob_bytes_max": "100"}), false),
        (json!({"memory_bytes_max": "100"}), false),
    ] {
        let scene = limited(limits.clone()).await;
        let image = scene.signed("apps/web", "v1");
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
        let layer = image.layer(0);
        for _ in 0..2 {
            assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
        }
        let file = loop {
            // It is put in its place after it was served.
            if let Some(file) = scene.proxy.content_file(&layer) {
                break file;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        // And it may come into memory a little later than that.
        for _ in 0..10 {
            assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let other = noise("other", image.blobs[1].len());
        std::fs::write(file, &other).unwrap();
        // What is too much for the memory leaves it a little later.
        let mut from_memory = true;
        for _ in 0..50 {
            from_memory &= scene.blob("apps/web", &layer).await.digest() == layer;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        // What is found altered on the disk is fetched once more.
        let fetched = format!("^GET .*/blobs/{layer}$");
        from_memory &= scene.registry.count(&fetched) == 1;
        assert_eq!(from_memory, is_kept, "{limits}");
    }
}

/// What the descriptor or the registry declares is never more than a promise.
#[tokio::test]
async fn that_are_declared_and_not_sent() {
    let scene = limited(json!({"header_time_max": "1s", "body_idle_time_max": "1s"})).await;
    for (tag, fault) in [
        ("larger", Fault::Announce(1_000_000)),
        ("smaller", Fault::Announce(10)),
    ] {
        let image = scene.signed("apps/web", tag);
        let manifest = format!("/manifests/{}", image.digest);
        scene.registry.fault(&manifest, fault);
        let answer = scene.manifest("apps/web", &image.digest).await;
        assert_withheld(&answer, &image.digest);
        assert!(matches!(answer.status, 502 | 503), "{tag}: {answer}");
    }
}

/// Nothing that arrives is inflated: the bytes are what is hashed and served.
#[tokio::test]
async fn that_say_they_are_compressed() {
    let scene = limited(json!({})).await;
    let image = scene.signed("apps/web", "v1");
    for encoding in ["gzip", "br", "zstd", "deflate", "gzip, gzip, gzip"] {
        scene.registry.lift_faults();
        let fault = Fault::Header("Content-Encoding", encoding);
        scene.registry.fault("/", fault);
        let tag = format!("v-{}", encoding.len());
        scene.registry.tag("apps/web", &tag, &image.digest);
        let answer = scene.manifest("apps/web", &tag).await;
        assert_serves(&answer, &image);
    }
    let asked = scene.registry.requests();
    for request in asked {
        assert_eq!(request.headers["accept-encoding"], "identity");
    }
}

#[tokio::test]
async fn of_headers() {
    let scene = limited(json!({})).await;
    let image = scene.signed("apps/web", "v1");
    let long: &'static str = "x".repeat(4_000_000).leak();
    let fault = Fault::Header("X-Padding", long);
    scene.registry.fault("/apps/web/manifests/v1", fault);
    let answer = scene.manifest("apps/web", "v1").await;
    assert_unavailable(&answer);
    assert!(scene.proxy.peak_kib() < 250 * 1024);
    scene.registry.lift_faults();
    assert_serves(&scene.manifest_soon("apps/web", "v1").await, &image);
    // And those of a client.
    let path = scene.manifest_path("apps/web", "v1");
    let answer = scene
        .proxy
        .request("GET", &path, &[("X-Padding", long)])
        .await;
    assert!(matches!(answer.status, 0 | 400 | 431), "{answer}");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn of_annotations_and_numbers() {
    let scene = limited(json!({})).await;
    let image = scene.unsigned("apps/web", "v1");
    let (layer, payload) = scene.key.simple_signing(&image.digest);
    for (tag, value) in [
        ("value", json!({"k": "x".repeat(3_000_000)})),
        (
            "many",
            (0..100_000)
                .map(|number| (number.to_string(), json!("x")))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        ),
    ] {
        let image = scene.unsigned("apps/web", tag);
        let (mut layer, payload) = scene.key.simple_signing(&image.digest);
        let signature = layer["annotations"].clone();
        layer["annotations"] = value;
        for (key, value) in signature.as_object().unwrap() {
            layer["annotations"][key] = value.clone();
        }
        let signature = legacy_manifest(&[layer], &[payload]);
        let sig = image.cosign_tag("sig");
        scene.registry.push_tagged("apps/web", &sig, &signature);
        let answer = scene.manifest("apps/web", tag).await;
        assert_serves(&answer, &image);
    }
    for size in [
        "-1",
        "1e400",
        "18446744073709551616",
        "9223372036854775808",
        "0.5",
        "null",
    ] {
        let mut text =
            legacy_manifest(std::slice::from_ref(&layer), std::slice::from_ref(&payload));
        let written = format!("\"size\":{}", payload.len());
        let bytes = String::from_utf8(text.bytes.to_vec()).unwrap();
        assert!(bytes.contains(&written));
        let bytes = bytes.replace(&written, &format!("\"size\":{size}"));
        let blobs = std::mem::take(&mut text.blobs);
        let mut signature = Image::raw(OCI_MANIFEST, bytes);
        signature.blobs = blobs;
        let sig = image.cosign_tag("sig");
        scene.registry.push_tagged("apps/web", &sig, &signature);
        let answer = scene.manifest("apps/web", &image.digest).await;
        assert_eq!(answer.status, 403, "{size}: {answer}");
    }
}
