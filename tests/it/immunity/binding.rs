//! A valid thing accepted for the wrong thing.

use serde_json::json;

use crate::support::signing::{SIGN_PREDICATE, bundle_artifact, legacy_manifest};
use crate::support::*;

#[tokio::test]
async fn cve_2022_23649_log_entry_of_another_signature() {
    let attacks = [
        ("n-kfl-bundle-swap", "transparency_log"),
        ("n-kfl-bundle-swap-same-cert", "transparency_log"),
    ];
    replay("kf-hand", &attacks).await;
    let attacks = [
        ("n-ktl-foreign", "transparency_log"),
        ("n-ktl-foreign-keyless", "transparency_log"),
    ];
    replay("kt-legacy", &attacks).await;
}

#[tokio::test]
async fn cve_2026_22703_valid_log_entry_of_another_signature_in_a_bundle() {
    let attacks = [
        "n-ktb-r1-foreign",
        "n-ktb-r1-foreign-samekey",
        "n-ktb-r1-extra-foreign-first",
    ];
    replay("kt-bundle-r1", &attacks.map(|id| (id, "transparency_log"))).await;
    let attacks = [
        "n-ktb-r2-foreign",
        "n-ktb-r2-extra-foreign",
        "n-ktb-r2-extra-foreign-first",
    ];
    replay("kt-bundle-r2", &attacks.map(|id| (id, "transparency_log"))).await;
}

#[tokio::test]
async fn cve_2024_53267_certificate_of_another_signature() {
    replay("kf-hand", &[("n-kfl-certswap", "invalid_signature")]).await;
    let attacks = [("n-kfb-r2-certswap", "invalid_signature")];
    replay("kfb-r2-control", &attacks).await;
    replay("kfb-r1-control", &[("n-kfb-r1-body", "transparency_log")]).await;
}

#[tokio::test]
async fn cve_2022_35929_attestation_of_another_type() {
    let attacks = [("n-att-legacy-wrongtype", "attestation_missing")];
    replay("att-legacy-slsaprovenance1", &attacks).await;
    let attacks = [("n-att-bundle-wrongtype", "attestation_missing")];
    replay("att-bundle-slsaprovenance1", &attacks).await;
    let attacks = [("n-att-keyless-wrongtype", "attestation_missing")];
    replay("att-keyless-bundle-slsaprovenance1", &attacks).await;
}

#[tokio::test]
async fn cve_2026_39395_broken_payload_under_a_good_signature() {
    let scene = Scene::start().await;
    for (tag, payload) in [
        ("nothing", ""),
        ("text", "not json"),
        ("null", "null"),
        ("list", "[]"),
        ("other", r#"{"_type":"https://in-toto.io/Statement/v1"}"#),
    ] {
        let image = scene.unsigned("apps/web", tag);
        let bundle = scene.key.dsse_bundle(payload);
        let artifact = bundle_artifact(&image, bundle, SIGN_PREDICATE);
        scene.registry.push("apps/web", &artifact);
        let answer = scene.manifest("apps/web", tag).await;
        assert_denied_by(&answer, "malformed", "apps", &image.digest);
    }
    replay("kl-k1", &[("n-kl-payload-notjson", "malformed")]).await;
}

#[tokio::test]
async fn cve_2022_35930_attestation_that_nobody_signed() {
    let replay = Replay::of(&["n-att-bundle-wrongkey", "n-att-legacy-wrongkey"]).await;
    replay
        .refuses("n-att-bundle-wrongkey", "untrusted_key")
        .await;
    replay
        .refuses("n-att-legacy-wrongkey", "untrusted_key")
        .await;
    let bench = Workbench::of("att-bundle-slsaprovenance1").await;
    let mut bundle = bench.bundle();
    bundle["dsseEnvelope"]["signatures"] = json!([]);
    bench.attach(&bundle);
    bench.refuses("malformed").await;
}

#[tokio::test]
async fn kyverno_2739_attestation_whose_signature_is_not_checked() {
    let bench = Workbench::of("att-bundle-slsaprovenance1").await;
    bench.attach(&bench.bundle());
    bench.admits().await;
    let bench = Workbench::of("att-bundle-slsaprovenance1").await;
    let mut bundle = bench.bundle();
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!("MEUCIQ==");
    bench.attach(&bundle);
    let answer = bench.answer().await;
    assert_eq!(answer.status, 403, "{answer}");
}

#[tokio::test]
async fn cve_2025_29778_identity_given_only_as_an_expression() {
    let attacks = [
        ("n-kf-evil-org-regexp", "wrong_identity"),
        ("n-kfb-zerosan-regexp", "invalid_certificate"),
        ("n-kfl-noissuer-regexp", "wrong_issuer"),
    ];
    replay("kf-legacy-gh", &attacks).await;
}

#[tokio::test]
async fn cve_2026_22772_expression_that_is_not_anchored() {
    let attacks = [
        ("n-kf-embedded-regexp", "wrong_identity"),
        ("kf-legacy-prefixid", "wrong_identity"),
        ("kf-legacy-issuer-slash", "wrong_issuer"),
    ];
    replay("kf-legacy-gh", &attacks).await;
}

#[tokio::test]
async fn ghsa_r2xv_vpr2_42m9_envelope_about_another_artifact() {
    let attacks = [
        ("n-kb-transplant", "wrong_subject"),
        ("n-kb-transplant-fallback", "wrong_subject"),
        ("n-kb-nosubject", "malformed"),
    ];
    replay("kb-hand", &attacks).await;
    replay(
        "kfb-r1-control",
        &[("n-kfb-r1-transplant", "wrong_subject")],
    )
    .await;
}

#[tokio::test]
async fn cve_2023_33959_tag_that_moved_to_another_artifact() {
    replay("tag-moved-old-digest", &[("n-tag-moved", "unsigned")]).await;
}

#[tokio::test]
async fn cve_2024_51746_no_log_is_asked_online() {
    // The logs that the trusted root names are a name that resolves nowhere; an entry is demanded and not there.
    let attacks = [("n-kt-legacy-missing", "transparency_log")];
    replay("kt-legacy", &attacks).await;
    let attacks = [("n-kt-bundle-missing", "transparency_log")];
    replay("kt-bundle-r1", &attacks).await;
    // What came along is all that counts: a log that would answer is never asked.
    let canary = Canary::listen().await;
    let bench = Workbench::with_root("kt-legacy", |root| {
        for log in root["tlogs"].as_array_mut().unwrap() {
            log["baseUrl"] = json!(canary.url());
        }
        for authority in root["certificateAuthorities"].as_array_mut().unwrap() {
            authority["uri"] = json!(canary.url());
        }
    })
    .await;
    let (mut layer, payload) = bench.layer();
    let annotations = layer["annotations"].as_object_mut().unwrap();
    annotations.remove("dev.sigstore.cosign/bundle").unwrap();
    bench.file(&[layer], &[payload]);
    bench.refuses("transparency_log").await;
    canary.assert_untouched();
}

#[tokio::test]
async fn cve_2026_44309_bytes_that_mean_the_same_are_not_the_same() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let text = String::from_utf8(image.bytes.to_vec()).unwrap();
    let spaced = Image::raw(&image.media_type, text.replacen('{', "{ ", 1));
    scene.registry.push_tagged("apps/web", "spaced", &spaced);
    assert_denied(&scene.manifest("apps/web", "spaced").await, "unsigned");
    // The registry may even send them for the signed digest.
    let lying = Image {
        digest: image.digest.clone(),
        ..spaced
    };
    scene.registry.push("apps/web", &lying);
    let answer = scene.manifest("apps/web", &image.digest).await;
    assert_eq!(answer.status, 502, "{answer}");
    // The payload as well: signed bytes, not what they mean.
    let image = scene.unsigned("apps/web", "v2");
    let (mut layer, payload) = scene.key.simple_signing(&image.digest);
    let payload = [payload.as_slice(), b"\n"].concat();
    layer["digest"] = json!(sha256(&payload));
    layer["size"] = json!(payload.len());
    let signature = legacy_manifest(&[layer], &[payload]);
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
    let answer = scene.manifest("apps/web", "v2").await;
    assert_denied(&answer, "untrusted_key");
}

#[tokio::test]
async fn ghsa_3hfq_cx9j_923w_registry_that_sends_another_image() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let evil = Image {
        digest: image.digest.clone(),
        ..Image::new("evil")
    };
    scene.registry.push("apps/web", &evil);
    for reference in ["v1", &image.digest] {
        let answer = scene.manifest("apps/web", reference).await;
        assert!(matches!(answer.status, 403 | 502 | 503), "{answer}");
        assert_withheld(&answer, &sha256(&evil.bytes));
    }
}

/// An upstream that gives A (signed) and B (not) in turn under one tag.
async fn alternating(repository: &str) {
    let scene = Scene::start().await;
    let signed = scene.signed(repository, "signed");
    let evil = scene.unsigned(repository, "evil");
    for round in 0..20 {
        let (now, then) = if round % 2 == 0 {
            (&evil, &signed)
        } else {
            (&signed, &evil)
        };
        let tag = format!("v{round}");
        scene.registry.tag(repository, &tag, &now.digest);
        let first = scene.manifest(repository, &tag).await;
        scene.registry.tag(repository, &tag, &then.digest);
        let second = scene.manifest(repository, &tag).await;
        for answer in [&first, &second] {
            assert_ne!(answer.digest(), evil.digest, "{answer}");
        }
    }
    for blob in &evil.blobs {
        assert_denied(&scene.blob(repository, &sha256(blob)).await, "not_endorsed");
    }
}

#[tokio::test]
async fn cve_2022_47633_tag_resolved_twice() {
    alternating("apps/web").await;
}

#[tokio::test]
async fn ghsa_wfqx_gjrf_g28r_tag_resolved_for_verifying_and_for_installing() {
    // HEAD by tag, then GET by tag, and the tag moves in between: what a runtime does.
    let scene = Scene::start().await;
    let signed = scene.signed("apps/web", "v1");
    let evil = scene.unsigned("apps/web", "evil");
    let path = scene.manifest_path("apps/web", "v1");
    let head = scene.proxy.head(&path).await;
    assert_eq!(head.header("docker-content-digest"), signed.digest);
    scene.registry.tag("apps/web", "v1", &evil.digest);
    assert_ne!(scene.proxy.get(&path).await.digest(), evil.digest);
    let answer = scene
        .manifest("apps/web", head.header("docker-content-digest"))
        .await;
    assert_serves(&answer, &signed);
}

#[tokio::test]
async fn bpfman_1695_warm_image_after_the_policy_was_tightened() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let other = SigningKey::generate();
    let images = format!("{}/apps/**", scene.registry.name());
    scene.proxy.reconfigure(|configuration| {
        configuration["policies"] = json!([key_policy("apps", &images, &[&other])]);
    });
    scene.proxy.restart().await;
    for reference in ["v1", &image.digest] {
        let answer = scene.manifest("apps/web", reference).await;
        assert_denied(&answer, "untrusted_key");
    }
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert_denied(&answer, "not_endorsed");
}

#[tokio::test]
async fn cve_2024_3727_digests_that_are_none() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let hex = image.hex();
    let upper = hex.to_uppercase();
    for reference in [
        "sha256:../../x".to_owned(),
        "sha256:..%2F..%2Fx".to_owned(),
        format!("sha256:{}", &hex[..63]),
        format!("sha256:{hex}0"),
        format!("sha256:{upper}"),
        format!("SHA256:{hex}"),
        format!("sha256:{hex}%00"),
        format!("sha256:{hex}%20"),
        format!("sha512:{hex}"),
        format!("md5:{}", &hex[..32]),
        "sha256:".to_owned(),
        format!(":{hex}"),
    ] {
        for endpoint in ["manifests", "blobs", "referrers"] {
            let path = format!(
                "/v2/{}/{endpoint}/{reference}",
                scene.repository("apps/web")
            );
            let answer = scene.proxy.get(&path).await;
            assert!(matches!(answer.status, 400 | 404), "{path}: {answer}");
            assert_withheld(&answer, &image.digest);
            let is_text = !reference.contains('/');
            assert!(answer.status == 400 || !is_text, "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn cve_2024_3727_digests_that_are_none_in_a_manifest() {
    let scene = Scene::start().await;
    for (tag, digest) in [
        ("dots", "sha256:../../../../etc/passwd".to_owned()),
        ("short", "sha256:abcd".to_owned()),
        ("upper", format!("sha256:{}", "A".repeat(64))),
        ("empty", String::new()),
        ("unknown", format!("md5:{}", "0".repeat(32))),
    ] {
        let mut manifest = Image::new(tag);
        let mut json: serde_json::Value = serde_json::from_slice(&manifest.bytes).unwrap();
        json["layers"][0]["digest"] = json!(digest);
        manifest = Image::raw(&manifest.media_type, json.to_string());
        scene.push_signed("apps/web", tag, &manifest);
        assert_denied(&scene.manifest("apps/web", tag).await, "malformed");
    }
}

#[tokio::test]
async fn cve_2021_41190_manifest_that_is_also_an_index() {
    let attacks = [
        "n-ambiguous-as-image",
        "n-ambiguous-as-index",
        "n-mediatype-mismatch",
        "n-mediatype-mismatch2",
    ];
    replay("kl-k1", &attacks.map(|id| (id, "malformed"))).await;
}

#[tokio::test]
async fn cve_2025_46342_error_that_is_taken_for_a_pass() {
    let faults = [
        Fault::Status(500),
        Fault::Status(401),
        Fault::Status(418),
        Fault::Reset,
        Fault::Truncate(20),
        Fault::WrongBytes,
        Fault::ContentType("text/html"),
    ];
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let (layer, payload) = SigningKey::generate().simple_signing(&image.digest);
    let signature = legacy_manifest(&[layer], &[payload]);
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
    for fault in faults {
        for part in [
            "\\.sig",
            "/referrers/",
            "/blobs/",
            "/manifests/sha256-[0-9a-f]*$",
        ] {
            scene.registry.lift_faults();
            scene.registry.fault(part, fault.clone());
            for reference in ["v1", &image.digest] {
                let answer = scene.manifest("apps/web", reference).await;
                assert_withheld(&answer, &image.digest);
                assert!(
                    matches!(answer.status, 403 | 502 | 503),
                    "{fault:?} at {part}: {answer}"
                );
            }
        }
    }
}
