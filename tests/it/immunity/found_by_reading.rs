//! Attacks without an identifier: found by reading other verifiers, each named `not_a_cve_…`.

use std::time::Duration;

use serde_json::json;

use crate::support::image::noise;
use crate::support::*;

#[tokio::test]
async fn not_a_cve_certificate_without_name() {
    let attacks = [
        ("n-kfl-zerosan", "invalid_certificate"),
        ("n-kfl-zerosan-regexp", "invalid_certificate"),
    ];
    replay("kf-hand", &attacks).await;
    let attacks = [
        ("n-kfb-zerosan", "invalid_certificate"),
        ("n-kfb-zerosan-regexp", "invalid_certificate"),
    ];
    replay("kfb-r1-control", &attacks).await;
}

#[tokio::test]
async fn not_a_cve_certificate_with_two_names() {
    let attacks = ["n-kfl-multisan", "n-kfl-multisan2", "n-kfl-multisan-mixed"];
    replay("kf-hand", &attacks.map(|id| (id, "invalid_certificate"))).await;
    let attacks = [("n-kfb-multisan", "invalid_certificate")];
    replay("kfb-r1-control", &attacks).await;
}

#[tokio::test]
async fn not_a_cve_transient_error_of_bundles_never_downgrades() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene
        .registry
        .sign_legacy("apps/web", &image, &SigningKey::generate());
    scene.registry.sign_bundle("apps/web", &image, &scene.key);
    let parts = ["/referrers/", "/blobs/"];
    for part in parts {
        for fault in [Fault::Status(503), Fault::Throttled(1), Fault::Reset] {
            scene.registry.lift_faults();
            scene.registry.fault(part, fault.clone());
            // "No signature" would be a lie that lasts; "cannot decide" is not.
            let answer = scene.manifest("apps/web", &image.digest).await;
            assert_eq!(answer.status, 503, "{fault:?} at {part}: {answer}");
        }
    }
    scene.registry.lift_faults();
    let answer = scene.manifest_soon("apps/web", &image.digest).await;
    assert_serves(&answer, &image);
}

#[tokio::test]
async fn not_a_cve_claim_that_nobody_compares() {
    let attacks = [
        ("n-kl-transplant", "wrong_subject"),
        ("n-kl-payload-otherdigest", "wrong_subject"),
        ("n-kl-type", "malformed"),
    ];
    replay("kl-k1", &attacks).await;
    let attacks = [
        ("n-kfl-transplant", "wrong_subject"),
        ("n-kfl-payload-otherdigest", "wrong_subject"),
    ];
    replay("kf-hand", &attacks).await;
}

#[tokio::test]
async fn not_a_cve_identity_that_is_anybody() {
    // A configuration that names no identity does not load, so there is no such policy to attack.
    let registry = FakeRegistry::start().await;
    for authority in [
        json!({"name": "anybody"}),
        json!({"name": "anybody", "certificate_identity_regexp": ".*"}),
        json!({"name": "anybody", "certificate_oidc_issuer": "https://issuer.example"}),
    ] {
        let policy = json!({"name": "open", "images": ["**"], "authorities": [authority]});
        let proxy = Proxy::new(Configuration::new(&[&registry]).policy(policy));
        proxy.spawn();
        assert_eq!(proxy.wait().await.code(), Some(64), "{authority}");
    }
    let attestation = json!({"predicate_type": "https://slsa.dev/provenance/v1"});
    let policy = json!({"name": "open", "images": ["**"], "attestations": [attestation]});
    let proxy = Proxy::new(Configuration::new(&[&registry]).policy(policy));
    proxy.spawn();
    assert_eq!(
        proxy.wait().await.code(),
        Some(64),
        "an attestation by nobody"
    );
}

#[tokio::test]
async fn not_a_cve_proof_of_inclusion_that_is_not_checked() {
    let attacks = [
        "n-kfb-r1-proof",
        "n-kfb-r1-checkpoint",
        "n-kfb-r1-nocheckpoint",
        "n-kfb-r1-noproof",
        "n-kfb-r1-set",
        "n-kfb-r1-logid",
    ];
    replay(
        "kfb-r1-control",
        &attacks.map(|id| (id, "transparency_log")),
    )
    .await;
    let attacks = [
        "n-kfb-r2-proof",
        "n-kfb-r2-roothash",
        "n-kfb-r2-checkpoint-root",
        "n-kfb-r2-nocheckpoint",
        "n-kfb-r2-logindex",
    ];
    replay(
        "kfb-r2-control",
        &attacks.map(|id| (id, "transparency_log")),
    )
    .await;
}

#[tokio::test]
async fn not_a_cve_nothing_where_something_is_expected() {
    // Absent, null and of another type, at every place of a bundle: an answer, and a process that lives.
    let bench = Workbench::of("kfb-r1-control").await;
    let good = bench.bundle();
    for (count, pointer) in pointers(&good, String::new()).into_iter().enumerate() {
        let mut bundle = good.clone();
        *bundle.pointer_mut(&pointer).unwrap() = match count % 3 {
            0 => json!(null),
            1 => json!([]),
            _ => json!(-1),
        };
        bench.attach(&bundle);
    }
    let answer = bench.answer().await;
    assert_eq!(answer.status, 403, "{answer}");
    assert_eq!(bench.proxy.get("/v2/").await.status, 200);
    assert!(!bench.proxy.log().contains("panicked"));
}

/// Every place in a JSON value.
fn pointers(value: &serde_json::Value, at: String) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    let items = value.as_array().into_iter().flatten().enumerate();
    let mut found: Vec<String> = members
        .flat_map(|(key, member)| pointers(member, format!("{at}/{key}")))
        .chain(items.flat_map(|(index, item)| pointers(item, format!("{at}/{index}"))))
        .collect();
    found.push(at);
    found
}

#[tokio::test]
async fn not_a_cve_user_agent_that_is_let_through() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let path = scene.manifest_path("apps/web", "v1");
    for agent in ["cosign/v3", "notation", "containerd/2.1", "Go-http-client"] {
        let answer = scene
            .proxy
            .request("GET", &path, &[("User-Agent", agent)])
            .await;
        assert_denied_by(&answer, "unsigned", "apps", &image.digest);
    }
}

#[tokio::test]
async fn not_a_cve_manifest_that_is_a_blob() {
    let scene = Scene::start().await;
    let evil = scene.unsigned("apps/web", "evil");
    scene.registry.put_blob("apps/web", &evil.bytes);
    for _ in 0..2 {
        let answer = scene.blob("apps/web", &evil.digest).await;
        assert_denied(&answer, "not_endorsed");
        // containerd: a refusal as a manifest, then the same digest as a blob.
        assert_denied(&scene.manifest("apps/web", &evil.digest).await, "unsigned");
    }
    replay("kl-k1", &[("n-manifest-as-blob-get", "not_endorsed")]).await;
}

#[tokio::test]
async fn not_a_cve_runnable_image_under_a_signature_tag() {
    let scene = Scene::start().await;
    let signed = scene.signed("apps/web", "v1");
    for (seed, tag) in [
        ("sig", signed.cosign_tag("sig")),
        ("att", signed.cosign_tag("att")),
        ("sbom", signed.cosign_tag("sbom")),
        ("referrers", signed.referrers_tag()),
    ] {
        let evil = Image::with_layers(seed, &[noise(seed, 3000)]);
        scene.registry.push_tagged("apps/web", &tag, &evil);
        for reference in [&tag, &evil.digest] {
            let answer = scene.manifest("apps/web", reference).await;
            assert_eq!(answer.status, 403, "{answer}");
        }
        let answer = scene.blob("apps/web", &evil.layer(0)).await;
        assert_denied(&answer, "not_endorsed");
    }
    let attacks = Replay::of(&["n-sigtag-runnable", "n-sigtag-runnable-target"]).await;
    assert_eq!(attacks.answer("n-sigtag-runnable").await.status, 403);
    attacks
        .refuses("n-sigtag-runnable-target", "unsigned")
        .await;
}

#[tokio::test]
async fn not_a_cve_name_with_two_interpretations() {
    // `apps/**` demands a signature, `open/**` is only audited; no spelling leads from one into the other.
    let scene = Scene::with(|configuration, registry| {
        let mut open = key_policy(
            "open",
            &format!("{}/open/**", registry.name()),
            &[&SigningKey::generate()],
        );
        open["mode"] = json!("audit");
        configuration.policy(open)
    })
    .await;
    let evil = scene.unsigned("apps/web", "v1");
    scene
        .registry
        .push_tagged("open/web", "v1", &Image::new("other"));
    let host = scene.registry.name();
    let other = FakeRegistry::start().await;
    for path in [
        format!("/v2/{host}/open/../apps/web/manifests/v1"),
        format!("/v2/{host}/open/..%2Fapps/web/manifests/v1"),
        format!("/v2/{host}/open/%2e%2e/apps/web/manifests/v1"),
        format!("/v2/{host}/open/.%2e/apps/web/manifests/v1"),
        format!("/v2/{host}//apps/web/manifests/v1"),
        format!("/v2//{host}/apps/web/manifests/v1"),
        format!("/v2/{host}/apps//web/manifests/v1"),
        format!("/v2/{host}/apps%2Fweb/manifests/v1"),
        format!("/v2/{host}/APPS/web/manifests/v1"),
        format!("/v2/{host}/%61pps/web/manifests/v1"),
        format!("/v2/{host}/apps/./web/manifests/v1"),
        format!("/v2/{host}/open/web/../../apps/web/manifests/v1"),
        format!("/v2/{host}/apps/web/manifests/v1/"),
        format!("/v2/{host}/apps/web/manifests/v1?ns={}", other.name()),
        format!("/v2/apps/web/manifests/v1?ns={host}%2Fopen"),
        format!("/v2/apps/web/manifests/v1?ns={host}&ns={}", other.name()),
        format!("/v2/open/web/../../apps/web/manifests/v1?ns={host}"),
        format!("/v2/{host}/apps/web/manifests/v1?ns="),
        format!("/v2/apps/web/manifests/v1?ns={host}"),
        format!("/v2/apps/web/manifests/v1?ns={host}%00"),
        format!("/v2/{host}/apps/web\\manifests/v1"),
    ] {
        let answer = scene.proxy.get(&path).await;
        assert_withheld(&answer, &evil.digest);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {answer}");
        let opened = format!("{host}/open/web");
        let recorded = scene.proxy.decisions("decision=admit").await;
        let admits = recorded
            .iter()
            .filter(|record| record["repository"] != *opened);
        assert_eq!(admits.count(), 0, "{path}");
    }
    assert_eq!(other.requests().len(), 0, "another upstream was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_a_cve_stampede_of_five_hundred() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.set_latency(Duration::from_millis(100));
    let answers = together((0..500).map(|_| scene.manifest("apps/web", &image.digest))).await;
    for answer in &answers {
        assert_serves(answer, &image);
    }
    let asked = |what: &str| scene.registry.count(what);
    assert_eq!(asked(&format!("^GET .*/manifests/{}$", image.digest)), 1);
    assert_eq!(asked(&regex::escape(&image.cosign_tag("sig"))), 1);
    assert_eq!(asked("/referrers/"), 1);
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    assert_eq!(records.len(), 1, "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_a_cve_stampede_whose_leader_fails() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.set_latency(Duration::from_millis(100));
    // The first to come leaves before there is an answer.
    let path = scene.manifest_path("apps/web", &image.digest);
    let leader = tokio::time::timeout(
        Duration::from_millis(50),
        open(scene.proxy.port(), "GET", &path, &[]),
    );
    assert!(leader.await.is_err(), "it left");
    let answers = together((0..500).map(|_| scene.manifest("apps/web", &image.digest))).await;
    for answer in &answers {
        assert_serves(answer, &image);
    }
    // Who waited for it took its place together.
    let asked = |what: &str| scene.registry.count(what);
    assert!(asked(&format!("^GET .*/manifests/{}$", image.digest)) <= 2);
    assert!(asked(&regex::escape(&image.cosign_tag("sig"))) <= 2);
    // The upstream fails the first discovery of another: cannot decide, and nobody remembers it for long.
    let image = scene.signed("apps/web", "v2");
    scene.registry.fault_times(
        &regex::escape(&image.cosign_tag("sig")),
        3,
        Fault::Status(500),
    );
    let answers = together((0..500).map(|_| scene.manifest("apps/web", &image.digest))).await;
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 503), "{answer}");
    }
    let answer = scene.manifest_soon("apps/web", &image.digest).await;
    assert_serves(&answer, &image);
}
