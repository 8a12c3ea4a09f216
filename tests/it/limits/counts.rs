//! Counts: as many as the limit are looked at, and one more is refused.

use serde_json::{Value, json};

use super::limited;
use crate::support::image::OCI_MANIFEST;
use crate::support::signing::{SIGN_PREDICATE, bundle_artifact, legacy_manifest};
use crate::support::*;

/// Files a legacy signature whose last layer is good, after so many bad ones.
fn sign_after(scene: &Scene, image: &Image, bad: usize) {
    let mut layers = Vec::new();
    let mut payloads = Vec::new();
    for _ in 0..bad {
        let (layer, payload) = SigningKey::generate().simple_signing(&image.digest);
        layers.push(layer);
        payloads.push(payload);
    }
    let (layer, payload) = scene.key.simple_signing(&image.digest);
    layers.insert(0, layer);
    payloads.insert(0, payload);
    let signature = legacy_manifest(&layers, &payloads);
    let tag = image.cosign_tag("sig");
    scene.registry.push_tagged("apps/web", &tag, &signature);
}

#[tokio::test]
async fn of_layers_of_a_signature() {
    let scene = limited(json!({"signature_layers_max": 3})).await;
    let image = scene.unsigned("apps/web", "at");
    sign_after(&scene, &image, 2);
    assert_serves(&scene.manifest("apps/web", "at").await, &image);
    let image = scene.unsigned("apps/web", "beyond");
    sign_after(&scene, &image, 3);
    let answer = scene.manifest("apps/web", "beyond").await;
    assert_denied_by(&answer, "limit_exceeded", "apps", &image.digest);
}

#[tokio::test]
async fn of_attempts() {
    let scene = limited(json!({"attempts_max": 3})).await;
    let image = scene.unsigned("apps/web", "at");
    sign_after(&scene, &image, 2);
    assert_serves(&scene.manifest("apps/web", "at").await, &image);
    let image = scene.unsigned("apps/web", "beyond");
    sign_after(&scene, &image, 3);
    let answer = scene.manifest("apps/web", "beyond").await;
    assert_denied_by(&answer, "limit_exceeded", "apps", &image.digest);
}

/// The signatures of others claim another signer, and only their claims are read.
#[tokio::test]
async fn of_signatures_read() {
    let scene = limited(json!({"candidates_max": 3})).await;
    for (tag, others, status) in [("at", 2, 200), ("beyond", 3, 403)] {
        let image = scene.unsigned("apps/web", tag);
        sign_after(&scene, &image, others);
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, status, "{answer}");
        if status == 403 {
            let error = assert_denied_by(&answer, "limit_exceeded", "apps", &image.digest);
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("limits.candidates_max"), "{message}");
        }
    }
}

/// Referrers of this image of a type that is never opened.
fn push_unopened(scene: &Scene, image: &Image, count: usize) {
    for number in 0..count {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.cncf.notary.signature",
            "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [], "subject": image.descriptor(), "annotations": {"n": number.to_string()},
        });
        let artifact = Image::raw(OCI_MANIFEST, manifest.to_string());
        scene.registry.push("apps/web", &artifact);
    }
}

#[tokio::test]
async fn of_referrers_listed() {
    let scene = limited(json!({"referrers_listed_max": 3})).await;
    for (tag, others, status) in [("at", 2, 200), ("beyond", 3, 403)] {
        let image = scene.unsigned("apps/web", tag);
        push_unopened(&scene, &image, others);
        if status == 200 {
            scene.registry.sign_bundle("apps/web", &image, &scene.key);
        } else {
            let stranger = SigningKey::generate();
            scene.registry.sign_bundle("apps/web", &image, &stranger);
        }
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, status, "{answer}");
        if status == 403 {
            assert_denied(&answer, "limit_exceeded");
        }
    }
}

#[tokio::test]
async fn of_referrers_opened() {
    let scene = limited(json!({"referrers_opened_max": 3})).await;
    for (tag, strangers, kind) in [("at", 3, "untrusted_key"), ("beyond", 4, "limit_exceeded")] {
        let image = scene.unsigned("apps/web", tag);
        for _ in 0..strangers {
            let stranger = SigningKey::generate();
            scene.registry.sign_bundle("apps/web", &image, &stranger);
        }
        assert_denied(&scene.manifest("apps/web", tag).await, kind);
    }
}

#[tokio::test]
async fn of_pages_that_lead_to_themselves() {
    let scene = limited(json!({"list_pages_max": 4})).await;
    let image = scene.unsigned("apps/web", "v1");
    let link = format!("</v2/apps/web/referrers/{}>; rel=\"next\"", image.digest);
    let link: &'static str = link.leak();
    let fault = Fault::Header("Link", link);
    scene.registry.fault("/referrers/", fault);
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied(&answer, "limit_exceeded");
    assert!(scene.registry.count("/referrers/") <= 4);
    // Pages that differ are followed up to the limit.
    scene.registry.lift_faults();
    scene.registry.forget_requests();
    let paging = Paging::new(PagingBy::NextPage, 1);
    scene.registry.set_paging("apps/web", paging);
    let other = scene.unsigned("apps/web", "v2");
    for _ in 0..5 {
        let stranger = SigningKey::generate();
        scene.registry.sign_bundle("apps/web", &other, &stranger);
    }
    assert_denied(&scene.manifest("apps/web", "v2").await, "limit_exceeded");
    assert_eq!(scene.registry.count("/referrers/"), 4);
    scene
        .registry
        .fault("/referrers/", Fault::Header("Link", link));
    let path = format!(
        "/v2/{}/referrers/{}",
        scene.repository("apps/web"),
        image.digest
    );
    scene.registry.forget_requests();
    let answer = scene.proxy.get(&path).await;
    assert_ne!(answer.status, 200, "{answer}");
    assert!(scene.registry.count("/referrers/") <= 4);
}

#[tokio::test]
async fn of_log_entries_timestamps_and_certificates() {
    let entries = "/verificationMaterial/tlogEntries";
    let timestamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
    for (id, limit, list) in [
        ("kfb-r1-control", "log_entries_max", entries),
        ("kfb-r2-control", "signed_timestamps_max", timestamps),
    ] {
        for (count, is_admitted) in [(1, true), (2, false)] {
            let limits = json!({limit: 1});
            let bench = Workbench::with(
                id,
                |_| (),
                |configuration| configuration.set("limits", limits),
            )
            .await;
            let mut bundle = bench.bundle();
            let list = bundle.pointer_mut(list).unwrap().as_array_mut().unwrap();
            *list = vec![list[0].clone(); count];
            bench.attach(&bundle);
            if is_admitted {
                bench.admits().await;
            } else {
                bench.refuses("limit_exceeded").await;
            }
        }
    }
    for (limit, is_admitted) in [(2, true), (1, false)] {
        let limits = json!({"chain_certificates_max": limit});
        let bench = Workbench::with(
            "kf-hand",
            |_| (),
            |configuration| configuration.set("limits", limits),
        )
        .await;
        let (layer, payload) = bench.layer();
        bench.file(&[layer], &[payload]);
        if is_admitted {
            bench.admits().await;
        } else {
            bench.refuses("limit_exceeded").await;
        }
    }
}

#[tokio::test]
async fn of_subjects() {
    let scene = limited(json!({"subjects_max": 2})).await;
    for (tag, others, status) in [("at", 1, 200), ("beyond", 2, 403)] {
        let image = scene.unsigned("apps/web", tag);
        let mut subjects = vec![json!({"digest": {"sha256": "00"}}); others];
        subjects.push(json!({"digest": {"sha256": image.hex()}}));
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": subjects,
            "predicateType": SIGN_PREDICATE, "predicate": {},
        });
        let bundle = scene.key.dsse_bundle(&statement.to_string());
        let artifact = bundle_artifact(&image, bundle, SIGN_PREDICATE);
        scene.registry.push("apps/web", &artifact);
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, status, "{answer}");
    }
}

#[tokio::test]
async fn of_manifests_of_an_index() {
    let scene = limited(json!({"index_manifests_max": 2})).await;
    for (tag, count, status) in [("at", 2, 200), ("beyond", 3, 403)] {
        let entries: Vec<Value> = (0..count)
            .map(|number| descriptor(OCI_MANIFEST, format!("{tag} {number}").as_bytes()))
            .collect();
        scene.push_signed("apps/web", tag, &Image::index_of(&entries));
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, status, "{answer}");
    }
}

#[tokio::test]
async fn of_indexes_above_a_manifest() {
    for (depth, status) in [(2, 200), (1, 403)] {
        let scene = limited(json!({"endorsement_depth_max": depth})).await;
        let child = Image::new("child");
        let inner = Image::index(&[&child]);
        let outer = Image::index(&[&inner]);
        scene.registry.push("apps/web", &child);
        scene.registry.push("apps/web", &inner);
        scene.push_signed("apps/web", "v1", &outer);
        for index in [&outer, &inner] {
            let answer = scene.manifest("apps/web", &index.digest).await;
            assert_serves(&answer, index);
        }
        let answer = scene.manifest("apps/web", &child.digest).await;
        assert_eq!(answer.status, status, "{depth}: {answer}");
    }
}

#[tokio::test]
async fn of_redirects() {
    for (limit, is_served) in [(2, true), (1, false)] {
        let scene = limited(json!({"redirects_max": limit})).await;
        let image = scene.signed("apps/web", "v1");
        let layer = image.layer(0);
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
        let to = |path: String| Fault::Answer {
            status: 307,
            headers: vec![("Location", path)],
            body: bytes::Bytes::new(),
        };
        let first = format!("/v2/apps/first/blobs/{layer}");
        let second = format!("/v2/apps/second/blobs/{layer}");
        scene.registry.push("apps/second", &image);
        let asked = format!("/apps/web/blobs/{layer}");
        scene.registry.fault(&asked, to(first));
        scene.registry.fault("/apps/first/", to(second));
        let answer = scene.blob("apps/web", &layer).await;
        assert_eq!(answer.digest() == layer, is_served, "{limit}: {answer}");
    }
}

#[tokio::test]
async fn of_attempts_at_an_upstream() {
    let scene = limited(json!({"upstream_attempts_max": 2, "transfer_attempts_max": 2})).await;
    let image = scene.signed("apps/web", "v1");
    let manifest = format!("/manifests/{}", image.digest);
    scene.registry.fault(&manifest, Fault::Status(500));
    assert_unavailable(&scene.manifest("apps/web", &image.digest).await);
    assert_eq!(scene.registry.count(&manifest), 2);
    scene.registry.lift_faults();
    let answer = scene.manifest_soon("apps/web", &image.digest).await;
    assert_serves(&answer, &image);
    scene.registry.fault("GET .*/blobs/", Fault::Truncate(0));
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert!(!answer.is_whole_success(), "{answer}");
    let asked = scene
        .registry
        .count(&format!("GET .*/blobs/{}", image.layer(0)));
    assert_eq!(asked, 2);
}

const SCAN: &str = "https://scanner.example/findings/v1";

/// A scene whose policy demands an attestation of which each finding is among the known ones.
async fn scanned(limits: Value) -> Scene {
    Scene::with(|mut configuration, _| {
        let policy = &mut configuration.0["policies"][0];
        let authorities = policy["authorities"].take();
        policy.as_object_mut().unwrap().remove("authorities");
        policy["attestations"] = json!([{
            "predicate_type": SCAN,
            "condition": "predicate.findings.all(f, f in predicate.known)",
            "authorities": authorities,
        }]);
        configuration.set("limits", limits)
    })
    .await
}

fn findings(count: usize) -> Value {
    let findings: Vec<_> = (0..count).map(|it| format!("finding-{it}")).collect();
    json!({ "findings": findings, "known": findings })
}

fn attest(scene: &Scene, image: &Image, predicate: &Value, padding: usize) {
    let mut bundle = scene.key.bundle(image, SCAN, predicate);
    bundle.resize(bundle.len() + padding, b' ');
    let artifact = bundle_artifact(image, bundle, SCAN);
    scene.registry.push("apps/web", &artifact);
}

#[tokio::test]
async fn of_the_work_of_conditions() {
    let scene = scanned(json!({"condition_cpu_time_max": "20ms"})).await;
    let image = scene.unsigned("apps/web", "at");
    attest(&scene, &image, &findings(200), 0);
    assert_serves(&scene.manifest("apps/web", "at").await, &image);
    let image = scene.unsigned("apps/web", "beyond");
    attest(&scene, &image, &findings(4000), 0);
    let answer = scene.manifest("apps/web", "beyond").await;
    assert_denied_by(&answer, "limit_exceeded", "apps", &image.digest);
    let told = answer.json().to_string();
    for part in ["condition_cpu_time_max", "predicate.findings.all", SCAN] {
        assert!(told.contains(part), "no {part} in {told}");
    }
}

/// Each copy is another bundle around the same statement. Forty times the work of one would exceed the limit.
#[tokio::test]
async fn of_the_work_for_copies_of_a_statement() {
    let scene = scanned(json!({"condition_cpu_time_max": "20ms"})).await;
    let image = scene.unsigned("apps/web", "v1");
    let mut predicate = findings(300);
    // False, so that every copy is looked at.
    predicate["findings"][299] = json!("unknown");
    for copy in 0..40 {
        attest(&scene, &image, &predicate, copy);
    }
    let answer = scene.manifest("apps/web", "v1").await;
    assert_denied_by(&answer, "attestation_rejected", "apps", &image.digest);
}
