//! A proxy under a policy that is written for Kyverno, with conditions in its expressions.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::signing::bundle_artifact;
use crate::support::*;

const SCAN: &str = "https://scan.example/v1";

/// A proxy whose only policies are those of one document, which names the key of the scene `key`. The directory holds
/// the document.
async fn scene(validations: &str) -> (Scene, TempDir) {
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let directory = TempDir::with_prefix("countersign-it-").unwrap();
    let path = directory.path().join("policy.yaml");
    let document = format!(
        "apiVersion: policies.kyverno.io/v1
kind: ImageValidatingPolicy
metadata: {{name: from-kyverno}}
spec:
  validationActions: [Deny]
  matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]}}
  matchImageReferences: [{{glob: '{}/apps/*'}}]
  attestors:
    - name: key
      cosign: {{key: {{data: {}}}, ctlog: {{insecureIgnoreTlog: true}}}}
  attestations: [{{name: scan, intoto: {{type: '{SCAN}'}}}}]
  validations:
{validations}",
        registry.name(),
        Value::String(key.public_pem()),
    );
    std::fs::write(&path, document).unwrap();
    let configuration = Configuration::new(&[&registry]).set("policy_files", json!([path]));
    let proxy = Proxy::start(configuration).await;
    let scene = Scene {
        registry,
        key,
        proxy,
    };
    (scene, directory)
}

#[tokio::test]
async fn a_signature_by_the_attestor_admits_and_nothing_else_does() {
    let (scene, _directory) = scene(
        "    - expression: images.containers.map(image, verifyImageSignatures(image, [attestors.key])).all(e, e > 0)",
    )
    .await;
    let signed = scene.signed("apps/web", "v1");
    scene.unsigned("apps/bare", "v1");
    let other = scene.unsigned("apps/other", "v1");
    let stranger = SigningKey::generate();
    scene.registry.sign_legacy("apps/other", &other, &stranger);
    scene.signed("elsewhere", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &signed);
    assert_serves(&scene.manifest("apps/web", &signed.digest).await, &signed);
    assert_denied(&scene.manifest("apps/bare", "v1").await, "unsigned");
    assert_denied(&scene.manifest("apps/other", "v1").await, "untrusted_key");
    assert_denied(&scene.manifest("elsewhere", "v1").await, "no_policy");
    let refusal = scene.manifest("apps/bare", "v1").await.json().to_string();
    assert!(refusal.contains("from-kyverno"), "{refusal}");
}

#[tokio::test]
async fn an_attestation_by_the_attestor_must_meet_the_condition() {
    let (scene, _directory) = scene(
        "    - expression: images.containers.map(image, verifyAttestationSignatures(image, attestations.scan, [attestors.key])).all(e, e > 0)
    - expression: images.containers.map(image, extractPayload(image, attestations.scan).predicate.findings.all(f, f.severity < 7)).all(e, e)",
    )
    .await;
    let findings = |severities: &[u32]| {
        let findings: Vec<_> = severities
            .iter()
            .map(|it| json!({"severity": it}))
            .collect();
        json!({ "findings": findings })
    };
    let attest = |image: &Image, name: &str, key: &SigningKey, predicate: &Value| {
        let bundle = key.bundle(image, SCAN, predicate);
        scene
            .registry
            .push(name, &bundle_artifact(image, bundle, SCAN));
    };
    let stranger = SigningKey::generate();
    let scanned = scene.unsigned("apps/scanned", "v1");
    attest(&scanned, "apps/scanned", &scene.key, &findings(&[1, 6]));
    // What a stranger says changes nothing.
    attest(&scanned, "apps/scanned", &stranger, &findings(&[10]));
    let severe = scene.unsigned("apps/severe", "v1");
    attest(&severe, "apps/severe", &scene.key, &findings(&[1, 7]));
    // One that is true does not make up for one that is not.
    let both = scene.unsigned("apps/both", "v1");
    attest(&both, "apps/both", &scene.key, &findings(&[1]));
    attest(&both, "apps/both", &scene.key, &findings(&[9]));
    let foreign = scene.unsigned("apps/foreign", "v1");
    attest(&foreign, "apps/foreign", &stranger, &findings(&[1]));
    let shapeless = scene.unsigned("apps/shapeless", "v1");
    attest(&shapeless, "apps/shapeless", &scene.key, &json!({}));
    // A signature is no attestation.
    scene.signed("apps/signed", "v1");
    assert_serves(&scene.manifest("apps/scanned", "v1").await, &scanned);
    for (name, kind) in [
        ("apps/severe", "attestation_rejected"),
        ("apps/both", "attestation_rejected"),
        ("apps/foreign", "untrusted_key"),
        ("apps/shapeless", "attestation_rejected"),
        ("apps/signed", "attestation_missing"),
    ] {
        assert_denied(&scene.manifest(name, "v1").await, kind);
    }
}
