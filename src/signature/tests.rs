use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn layer(media_type: &str, blob: &[u8], annotations: &[(&str, &str)]) -> (Descriptor, Blob) {
    let descriptor = Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::sha256(blob),
        size: blob.len() as u64,
        artifact_type: None,
        annotations: annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    };
    (descriptor, Blob::Present(Bytes::copy_from_slice(blob)))
}

fn found(layers: Vec<(Descriptor, Blob)>) -> Vec<Candidate> {
    let artifact = Artifact {
        source: Source::Referrers,
        digest: Digest::sha256(b"a manifest"),
        layers,
    };
    candidates(&artifact, &Limits::default())
}

/// How the one candidate of these layers is broken; `None` if it can be tried.
fn defect(layers: Vec<(Descriptor, Blob)>) -> Option<(Defect, String)> {
    let found = found(layers);
    assert_eq!(found.len(), 1);
    match found[0].content.as_ref() {
        Content::Broken(broken) => Some((broken.defect, broken.reason.clone())),
        Content::Signed(_) => None,
    }
}

fn payload() -> Value {
    json!({
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": "sha256:00"},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
}

fn simple_signing(payload: &str) -> Vec<(Descriptor, Blob)> {
    signed_with(payload, &[])
}

fn signed_with(payload: &str, more: &[(&str, &str)]) -> Vec<(Descriptor, Blob)> {
    let annotations = [&[("dev.cosignproject.cosign/signature", "AAAA")], more].concat();
    vec![layer(
        media_type::SIMPLE_SIGNING,
        payload.as_bytes(),
        &annotations,
    )]
}

fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": "00"}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}

fn envelope(statement: &str) -> Value {
    json!({
        "payloadType": "application/vnd.in-toto+json",
        "payload": sigstore_types::PayloadBytes::from_bytes(statement.as_bytes()).to_base64(),
        "signatures": [{"sig": "AAAA"}],
    })
}

fn bundle() -> Value {
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "dsseEnvelope": envelope(&statement().to_string()),
    })
}

fn bundled(bundle: &Value) -> Vec<(Descriptor, Blob)> {
    vec![layer(BUNDLE, bundle.to_string().as_bytes(), &[])]
}

fn malformed(layers: Vec<(Descriptor, Blob)>, words: &str) {
    let (defect, reason) = defect(layers).expect(words);
    assert_eq!(defect, Defect::Malformed, "{reason}");
    assert!(reason.contains(words), "{reason} / {words}");
}

fn exceeds(layers: Vec<(Descriptor, Blob)>) {
    let (defect, reason) = defect(layers).unwrap();
    assert_eq!(defect, Defect::LimitExceeded, "{reason}");
}

#[test]
fn what_is_right_can_be_tried() {
    assert_eq!(defect(simple_signing(&payload().to_string())), None);
    assert_eq!(defect(bundled(&bundle())), None);
    let envelope = envelope(&statement().to_string()).to_string();
    assert_eq!(
        defect(vec![layer(
            media_type::DSSE_ENVELOPE,
            envelope.as_bytes(),
            &[]
        )]),
        None
    );
    for declared in [
        "application/vnd.dsse.envelope.v1+json; charset=utf-8",
        "Application/VND.DSSE.envelope.v1+json",
    ] {
        let layers = vec![layer(declared, envelope.as_bytes(), &[])];
        assert_eq!(defect(layers), None, "{declared}");
    }
    for (kind, layer_type) in [
        (
            "application/vnd.dev.sigstore.bundle+json;version=0.3",
            BUNDLE,
        ),
        (
            BUNDLE,
            "application/vnd.dev.sigstore.bundle+json;version=0.3",
        ),
        (
            "application/vnd.dev.sigstore.bundle+json;version=0.1",
            "application/vnd.dev.sigstore.bundle+json;version=0.1",
        ),
        (
            BUNDLE,
            "Application/vnd.dev.Sigstore.bundle.v0.3+JSON; charset=utf-8",
        ),
        (
            BUNDLE,
            "application/vnd.dev.sigstore.bundle+json; charset=utf-8; Version=0.3",
        ),
    ] {
        let mut bundle = bundle();
        bundle["mediaType"] = json!(kind);
        let layers = vec![layer(layer_type, bundle.to_string().as_bytes(), &[])];
        assert_eq!(defect(layers), None);
    }
}

#[test]
fn layers_of_other_shapes_are_no_candidates() {
    let other = layer("application/vnd.oci.image.layer.v1.tar+gzip", b"x", &[]);
    assert!(found(vec![other.clone()]).is_empty());
    assert!(found(Vec::new()).is_empty());
    let signature = simple_signing(&payload().to_string()).remove(0);
    let found = found(vec![other, signature.clone(), signature]);
    assert_eq!(
        found.iter().map(|found| found.layer).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn blobs_that_are_not_as_described() {
    let right = simple_signing(&payload().to_string()).remove(0);
    let mut larger = right.0.clone();
    larger.size += 1;
    malformed(vec![(larger, right.1)], "its descriptor says");
    let (kind, reason) = defect(vec![(right.0.clone(), Blob::Missing)]).unwrap();
    assert_eq!(kind, Defect::Absent);
    assert!(reason.contains("does not have the blob"), "{reason}");
    exceeds(vec![(right.0, Blob::TooLarge)]);
}

#[test]
fn payloads_that_could_be_read_in_two_ways() {
    let text = payload().to_string();
    let digest = r#""docker-manifest-digest":"sha256:00""#;
    let twice = text.replace(digest, &format!("{digest},{digest}"));
    malformed(simple_signing(&twice), "occurs twice");
    let deep = text.replace("null", r#"{"a":[{"b":1,"b":2}]}"#);
    malformed(simple_signing(&deep), "`b` occurs twice");
    malformed(simple_signing(&format!("{text}{text}")), "trailing");
    malformed(simple_signing("[]"), "not a simple-signing payload");
    let other = text.replace("cosign container", "atomic container");
    malformed(simple_signing(&other), "`atomic container image signature`");
}

#[test]
fn annotations_that_are_broken() {
    let text = payload().to_string();
    let unsigned = vec![layer(media_type::SIMPLE_SIGNING, text.as_bytes(), &[])];
    malformed(unsigned, "missing or empty");
    let not_base64 = [("dev.cosignproject.cosign/signature", "?")];
    malformed(
        vec![layer(
            media_type::SIMPLE_SIGNING,
            text.as_bytes(),
            &not_base64,
        )],
        "not base64",
    );
    for (annotation, words) in [
        ("dev.sigstore.cosign/bundle", "log entry"),
        ("dev.sigstore.cosign/rfc3161timestamp", "timestamp"),
        ("dev.sigstore.cosign/certificate", "certificate"),
    ] {
        malformed(signed_with(&text, &[(annotation, "{")]), words);
    }
    // Also where nobody reads the member: another reader may.
    for annotation in [
        "dev.sigstore.cosign/bundle",
        "dev.sigstore.cosign/rfc3161timestamp",
    ] {
        let twice = r#"{"unread": 1, "unread": 2}"#;
        malformed(signed_with(&text, &[(annotation, twice)]), "twice");
    }
}

#[test]
fn statements_that_are_broken() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut statement = statement();
        change(&mut statement);
        let mut bundle = bundle();
        bundle["dsseEnvelope"] = envelope(&statement.to_string());
        bundled(&bundle)
    };
    malformed(
        with(&|statement| statement["subject"] = json!([])),
        "no subject",
    );
    malformed(
        with(&|statement| statement["subject"] = json!([null])),
        "in-toto",
    );
    malformed(
        with(&|statement| statement["_type"] = json!("x")),
        "not a known type",
    );
    malformed(
        with(&|statement| statement["predicateType"] = json!(1)),
        "in-toto",
    );
    let digests: serde_json::Map<_, _> = (0..33).map(|n| (n.to_string(), json!("0"))).collect();
    exceeds(with(&|statement| {
        statement["subject"][0]["digest"] = json!(digests)
    }));
    let text = statement().to_string();
    let twice = text.replace(r#""predicate":{}"#, r#""predicate":{},"predicate":{}"#);
    let mut bundle = bundle();
    bundle["dsseEnvelope"] = envelope(&twice);
    malformed(bundled(&bundle), "occurs twice");
}

#[test]
fn bundles_that_are_broken() {
    let with = |pointer: &str, key: &str, value: Value| {
        let mut bundle = bundle();
        bundle.pointer_mut(pointer).unwrap()[key] = value;
        bundled(&bundle)
    };
    let certificate = json!({"rawBytes": "AAAA"});
    malformed(
        with("", "mediaType", json!("application/json")),
        "not a known version",
    );
    let old = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
    malformed(with("", "mediaType", old), "its manifest says");
    malformed(
        with("", "messageSignature", json!({})),
        "exactly one statement",
    );
    malformed(
        with("/verificationMaterial", "certificate", certificate.clone()),
        "exactly one certificate",
    );
    malformed(
        with("/dsseEnvelope", "payloadType", json!("text/plain")),
        "text/plain",
    );
    malformed(
        with("/dsseEnvelope", "signatures", json!([])),
        "exactly one signature",
    );
    let two = json!([{"sig": "AAAA"}, {"sig": "AAAA"}]);
    malformed(
        with("/dsseEnvelope", "signatures", two),
        "exactly one signature",
    );
    malformed(
        with("/dsseEnvelope", "signatures", json!([{"sig": ""}])),
        "empty",
    );
    malformed(
        with("/verificationMaterial", "tlogEntries", json!([{}])),
        "log entry",
    );
    let chain = json!({"mediaType": BUNDLE, "dsseEnvelope": bundle()["dsseEnvelope"],
        "verificationMaterial": {"x509CertificateChain": {"certificates": [certificate]}}});
    malformed(bundled(&chain), "v0.3");
    let twice = bundle()
        .to_string()
        .replacen('{', r#"{"mediaType":"x","#, 1);
    malformed(vec![layer(BUNDLE, twice.as_bytes(), &[])], "occurs twice");
    let both = found([bundled(&bundle()), bundled(&bundle())].concat());
    assert!(
        both.iter()
            .all(|found| matches!(found.content.as_ref(), Content::Broken(_)))
    );
}

#[test]
fn counts_above_the_limits() {
    let many = |count: usize, item: Value| Value::Array(vec![item; count]);
    let material = |key: &str, value: Value| {
        let mut bundle = bundle();
        bundle["verificationMaterial"][key] = value;
        bundled(&bundle)
    };
    for count in [33, 100_000] {
        exceeds(material("tlogEntries", many(count, json!({}))));
        let timestamps = json!({"rfc3161Timestamps": many(count, json!({}))});
        exceeds(material("timestampVerificationData", timestamps));
    }
    for count in [1025, 100_000] {
        let mut statement = statement();
        statement["subject"] = many(count, statement["subject"][0].clone());
        let mut bundle = bundle();
        bundle["dsseEnvelope"] = envelope(&statement.to_string());
        exceeds(bundled(&bundle));
    }
    for count in [11, 100_000] {
        let old = "application/vnd.dev.sigstore.bundle+json;version=0.2";
        let mut bundle = bundle();
        bundle["mediaType"] = json!(old);
        let certificates = many(count, json!({"rawBytes": "AAAA"}));
        bundle["verificationMaterial"] =
            json!({"x509CertificateChain": {"certificates": certificates}});
        exceeds(vec![layer(old, bundle.to_string().as_bytes(), &[])]);
    }
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    exceeds(signed_with(
        &payload().to_string(),
        &[("dev.sigstore.cosign/certificate", &pem.repeat(11))],
    ));
    let signature = simple_signing(&payload().to_string()).remove(0);
    exceeds(vec![signature.clone(); 1001]);
    assert_eq!(found(vec![signature; 1000]).len(), 1000);
}

#[test]
fn counts_at_the_limits() {
    let is_within = |layers: Vec<(Descriptor, Blob)>| {
        defect(layers).is_none_or(|(defect, _)| defect != Defect::LimitExceeded)
    };
    let entries = |count: usize| Value::Array(vec![json!({}); count]);
    let material = |key: &str, value: Value| {
        let mut bundle = bundle();
        bundle["verificationMaterial"][key] = value;
        bundled(&bundle)
    };
    assert!(is_within(material("tlogEntries", entries(32))));
    let old = "application/vnd.dev.sigstore.bundle+json;version=0.2";
    let mut chained = bundle();
    chained["mediaType"] = json!(old);
    let certificates = vec![json!({"rawBytes": "AAAA"}); 10];
    chained["verificationMaterial"] =
        json!({"x509CertificateChain": {"certificates": certificates}});
    assert!(is_within(vec![layer(
        old,
        chained.to_string().as_bytes(),
        &[]
    )]));
    let digests: serde_json::Map<_, _> = (0..32).map(|n| (n.to_string(), json!("0"))).collect();
    let subject = json!({ "digest": digests });
    for subjects in [vec![subject.clone()], vec![subject; 1024]] {
        let mut statement = statement();
        statement["subject"] = json!(subjects);
        let mut bundle = bundle();
        bundle["dsseEnvelope"] = envelope(&statement.to_string());
        assert_eq!(defect(bundled(&bundle)), None);
    }
}

#[test]
fn signature_material_is_told_by_content() {
    for right in [
        payload(),
        envelope("anything"),
        bundle(),
        json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "x"}),
        json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []}),
        json!({"bomFormat": "CycloneDX", "specVersion": "1.6"}),
    ] {
        assert!(
            is_signature_material(right.to_string().as_bytes()),
            "{right}"
        );
    }
    for wrong in [
        json!({}),
        json!([payload()]),
        json!({"schemaVersion": 2, "config": {}, "layers": []}),
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}),
        json!({"payloadType": "x", "payload": "AAAA", "signatures": []}),
        json!({"mediaType": "application/vnd.dev.sigstore.bundle.v9.9+json",
            "verificationMaterial": {}, "dsseEnvelope": {}}),
        json!({"spdxVersion": "SPDX-2.3"}),
        json!({"SPDXID": "SPDXRef-DOCUMENT"}),
        json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}),
        json!({"@graph": []}),
        json!({"bomFormat": "other", "specVersion": "1.6"}),
    ] {
        assert!(
            !is_signature_material(wrong.to_string().as_bytes()),
            "{wrong}"
        );
    }
    for wrong in [&b""[..], b"{", b"\x1f\x8b", b"{}{}"] {
        assert!(!is_signature_material(wrong));
    }
    let twice = payload().to_string().replacen('{', r#"{"critical":1,"#, 1);
    assert!(!is_signature_material(twice.as_bytes()));
}

#[test]
fn everything_cosign_stored_is_signature_material() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus/blobs/sha256");
    let (mut bundles, mut others) = (0, 0);
    for file in fs::read_dir(corpus).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let Ok(json) = serde_json::from_slice::<Value>(&bytes) else {
            assert!(!is_signature_material(&bytes));
            continue;
        };
        if json["schemaVersion"] == 2 || json["rootfs"].is_object() {
            others += 1;
            assert!(!is_signature_material(&bytes), "{json}");
        }
        if sigstore_types::Bundle::from_json(&json.to_string()).is_ok() {
            bundles += 1;
            assert!(is_signature_material(&bytes), "{json}");
        }
    }
    assert!(bundles > 50 && others > 100, "{bundles} {others}");
}
