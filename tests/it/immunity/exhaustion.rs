//! Signature objects that cost more than they may.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::image::OCI_MANIFEST;
use crate::support::signing::{
    BUNDLE, SIGN_PREDICATE, SIMPLE_SIGNING, bundle_artifact, legacy_manifest,
};
use crate::support::*;

const MIB: usize = 1024 * 1024;

/// The answer came in time and the process has not grown.
#[track_caller]
fn assert_cheap(scene: &Scene, answer: &Answer) {
    assert!(answer.elapsed < Duration::from_secs(11), "{answer}");
    let peak = scene.proxy.peak_kib();
    assert!(peak < 250 * 1024, "{peak} KiB resident at the peak");
}

#[tokio::test]
async fn cve_2023_46737_endless_list_of_signatures() {
    let scene = Scene::start().await;
    // A million and one layers: the manifest is larger than any that is read.
    let image = scene.unsigned("apps/web", "many");
    let layer = format!(
        r#"{{"mediaType":"{SIMPLE_SIGNING}","digest":"{}","size":2}}"#,
        sha256(b"{}")
    );
    let layers = vec![layer; 1_000_001].join(",");
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    let signature = Image::raw(OCI_MANIFEST, manifest);
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
    let answer = scene.manifest("apps/web", "many").await;
    assert_denied(&answer, "limit_exceeded");
    assert_cheap(&scene, &answer);
    // A manifest without an end or an announced length.
    let image = scene.unsigned("apps/web", "endless");
    scene.registry.push_tagged(
        "apps/web",
        &image.cosign_tag("sig"),
        &Image::new("a signature"),
    );
    scene
        .registry
        .fault(&regex::escape(&image.cosign_tag("sig")), Fault::Endless);
    let answer = scene.manifest("apps/web", "endless").await;
    assert_denied(&answer, "limit_exceeded");
    assert_cheap(&scene, &answer);
    assert!(scene.registry.count("/blobs/") < 10);
}

#[tokio::test]
async fn cve_2024_29902_huge_attachment() {
    let scene = Scene::start().await;
    for (tag, declared) in [("declared", 200 * MIB), ("hidden", 10 * MIB)] {
        let image = scene.unsigned("apps/web", tag);
        let (mut layer, payload) = scene.key.simple_signing(&image.digest);
        layer["size"] = json!(declared);
        let signature = legacy_manifest(&[layer], std::slice::from_ref(&payload));
        scene
            .registry
            .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
        scene.registry.fault(&sha256(&payload), Fault::Endless);
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, 403, "{answer}");
        assert_cheap(&scene, &answer);
    }
    let attacks = [("n-kl-oversize-claimed", "limit_exceeded")];
    replay("kl-k1", &attacks).await;
    replay("kb-hand", &[("n-kb-oversize", "limit_exceeded")]).await;
}

#[tokio::test]
async fn cve_2024_29903_too_many_signatures() {
    replay("kl-k1", &[("n-kl-1001layers", "limit_exceeded")]).await;
    // A thousand are listed, and no more than a hundred tried.
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let stranger = SigningKey::generate();
    let (good, payload) = scene.key.simple_signing(&image.digest);
    let (bad, _) = stranger.simple_signing(&image.digest);
    let layers = [vec![good], vec![bad; 999]].concat();
    let signature = legacy_manifest(&layers, &[payload]);
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied(&answer, "limit_exceeded");
    let records = scene.proxy.decisions("decision=deny&limit=1").await;
    let attempts = records[0]["attempts"].as_array().unwrap().len();
    assert!(attempts <= 101, "{attempts} attempts");
    assert_cheap(&scene, &answer);
}

#[tokio::test]
async fn cve_2024_45395_loops_over_lists_of_a_bundle() {
    const MANY: usize = 100_000;
    let listed = |id: &'static str, at: &'static str| async move {
        let bench = Workbench::of(id).await;
        let mut bundle = bench.bundle();
        let list = bundle.pointer_mut(at).unwrap().as_array_mut().unwrap();
        // Small, so that only their number is too large.
        *list = vec![json!({}); MANY];
        bench.attach(&bundle);
        let answer = bench.refuses("limit_exceeded").await;
        assert!(answer.elapsed < Duration::from_secs(5), "{answer}");
    };
    listed("kfb-r1-control", "/verificationMaterial/tlogEntries").await;
    listed(
        "kfb-r2-control",
        "/verificationMaterial/timestampVerificationData/rfc3161Timestamps",
    )
    .await;
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    for (subjects, digests) in [(MANY, 1), (1, MANY)] {
        let digests: serde_json::Map<String, Value> = (0..digests)
            .map(|number| (format!("h{number}"), json!("00")))
            .collect();
        let mut list = vec![json!({"digest": digests}); subjects];
        list.push(json!({"digest": {"sha256": image.hex()}}));
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": list,
            "predicateType": SIGN_PREDICATE, "predicate": {},
        });
        let bundle = scene.key.dsse_bundle(&statement.to_string());
        let artifact = bundle_artifact(&image, bundle, SIGN_PREDICATE);
        scene.registry.push("apps/web", &artifact);
    }
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied(&answer, "limit_exceeded");
    assert_cheap(&scene, &answer);
}

#[tokio::test]
async fn cve_2023_42813_too_many_referrers() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let listed: Vec<Value> = (0..10_000)
        .map(|number: u32| {
            let mut listed = descriptor(OCI_MANIFEST, &number.to_be_bytes());
            listed["artifactType"] = json!(BUNDLE);
            listed
        })
        .collect();
    let index = Image::index_of(&listed);
    scene
        .registry
        .push_tagged("apps/web", &image.referrers_tag(), &index);
    scene.registry.set_referrers_api("apps/web", false);
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied(&answer, "limit_exceeded");
    assert_cheap(&scene, &answer);
    assert!(scene.registry.requests().len() < 150, "all were opened");
}

#[tokio::test]
async fn cve_2023_25656_referrers_that_are_no_signatures() {
    // As many as may be opened, each a bundle of another's key and larger than it needs to be.
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let stranger = SigningKey::generate();
    for number in 0..100 {
        let predicate = json!({"n": number, "padding": "x".repeat(10_000)});
        let bundle = stranger.bundle(&image, SIGN_PREDICATE, &predicate);
        let artifact = bundle_artifact(&image, bundle, SIGN_PREDICATE);
        scene.registry.push("apps/web", &artifact);
    }
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied(&answer, "untrusted_key");
    assert_cheap(&scene, &answer);
}

#[tokio::test]
async fn cve_2023_30551_entries_of_odd_shapes() {
    // What log servers fell over: entries that are nothing, bodies that are nothing, and texts without an end.
    let bench = Workbench::of("kfb-r1-control").await;
    for entries in [
        json!([null]),
        json!([{}]),
        json!([[]]),
        json!("x".repeat(2 * MIB)),
        json!([{"canonicalizedBody": "x".repeat(2 * MIB)}]),
        json!([{"logIndex": "9".repeat(MIB)}]),
        json!({"0": {}}),
    ] {
        let mut bundle = bench.bundle();
        bundle["verificationMaterial"]["tlogEntries"] = entries;
        bench.attach(&bundle);
    }
    let answer = bench.refuses("malformed").await;
    assert!(answer.elapsed < Duration::from_secs(5), "{answer}");
    assert!(!bench.proxy.log().contains("panicked"));
}

#[tokio::test]
async fn cve_2025_66506_token_and_challenge_of_any_size() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let challenge = |more: &str| Fault::Answer {
        status: 401,
        headers: vec![(
            "WWW-Authenticate",
            format!(
                "Bearer realm=\"http://{}/token\"{more}",
                scene.registry.name()
            ),
        )],
        body: Bytes::new(),
    };
    // A challenge of many parts leads nowhere.
    scene
        .registry
        .fault("/apps/web/", challenge(&",a=b".repeat(5_000)));
    let answer = scene.manifest("apps/web", "v1").await;
    assert!(matches!(answer.status, 403 | 502 | 503), "{answer}");
    assert_cheap(&scene, &answer);
    assert_eq!(scene.registry.count("/token"), 0);
    // A token that is longer than a header may be, and one without an end, which is left at its limit.
    let long = Fault::Answer {
        status: 200,
        headers: vec![],
        body: json!({"token": "t".repeat(900_000)}).to_string().into(),
    };
    for (name, token) in [("apps/long", long), ("apps/endless", Fault::Endless)] {
        scene.registry.lift_faults();
        scene.signed(name, "v1");
        scene.registry.fault(&format!("/{name}/"), challenge(""));
        scene.registry.fault("/token", token);
        let answer = scene.manifest(name, "v1").await;
        assert!(matches!(answer.status, 403 | 502 | 503), "{answer}");
        assert_cheap(&scene, &answer);
        assert!(answer.elapsed < Duration::from_secs(5), "{answer}");
    }
    assert_eq!(scene.registry.count("/token"), 2);
    scene.registry.lift_faults();
    let answer = scene.manifest_soon("apps/web", "v1").await;
    assert_serves(&answer, &image);
}

#[tokio::test]
async fn cve_2023_7279_name_that_is_expensive_to_match() {
    // Expressions take time in proportion to what they are matched against.
    let scene = Scene::with(|configuration, registry| {
        let mut policy = key_policy(
            "costly",
            &format!("{}/**/x*x*x*x*x*x*x*x*y", registry.name()),
            &[&SigningKey::generate()],
        );
        policy["authorities"] = json!([{
            "name": "costly",
            "certificate_identity_regexp": "(x+x+)+y",
            "certificate_oidc_issuer_regexp": "(x*)*y",
        }]);
        configuration.policy(policy)
    })
    .await;
    let name = format!("apps/{}", "x".repeat(200));
    let image = scene.unsigned(&name, "v1");
    let answer = scene.manifest(&name, "v1").await;
    assert_denied_by(&answer, "unsigned", "apps", &image.digest);
    assert!(answer.elapsed < Duration::from_secs(2), "{answer}");
}
