//! Keys of kinds that are not supported, in a trusted root beside others.

use serde::Deserialize;
use serde_json::{Value, json};

use super::corpus::{self, Corpus, root_json};
use super::forge::{base64, decoded};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::signature::pem::blocks;
use crate::verify::log_keys::LogKey;
use crate::verify::{Attempt, Demand, Purpose, Signer, TrustedRoot, TrustedRootError, verify};

#[derive(Deserialize)]
struct Row {
    kind: String,
    algorithm: String,
    public_key: String,
    signature: String,
    counts: bool,
}

fn rows() -> Vec<Row> {
    let text = include_str!("../../../tests/fixtures/algorithms/signatures.json");
    let document: Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(document["rows"].clone()).unwrap()
}

const MESSAGE: &[u8] = b"signed with a test key";

fn root_with(list: &str, entry: Value) -> Result<TrustedRoot, TrustedRootError> {
    let mut root = root_json();
    root[list].as_array_mut().unwrap().push(entry);
    TrustedRoot::from_json(&root.to_string())
}

fn log_entry(key: &[u8], details: &str) -> Value {
    json!({
        "baseUrl": "https://new.example",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": base64(key),
            "keyDetails": details,
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        },
        "logId": {"keyId": base64(Digest::sha256(key).as_bytes())},
    })
}

/// Returns true if a signature with a certificate, in a log that the root has, is still proven.
fn proves_the_rest(root: &TrustedRoot) -> bool {
    let corpus = Corpus::load();
    let demand = Demand {
        signer: Signer::Certificate,
        purpose: Purpose::Signature,
        trusted_root: root,
        transparency_log: true,
        signed_timestamp: false,
        sct: true,
        signed_name: None,
    };
    let case = corpus.case("kf-legacy-gh");
    let candidate = corpus.candidates(case).remove(0);
    let digest = corpus.digest(case);
    let limits = Limits::default();
    let attempt = verify(&candidate, &digest, &demand, &limits, corpus::now());
    matches!(attempt, Attempt::Proven(_))
}

#[test]
fn unsupported_key_of_a_log_is_noted_and_the_rest_of_the_root_counts() {
    for list in ["tlogs", "ctlogs"] {
        for kind in ["secp256k1", "brainpool", "dsa", "rsa1024"] {
            let row = rows().into_iter().find(|row| row.kind == kind).unwrap();
            let entry = log_entry(&decoded(&row.public_key), "PKIX_NEW_KIND_OF_KEY");
            let root = root_with(list, entry).unwrap();
            let [note] = root.notes() else {
                panic!("{kind}: {:?}", root.notes());
            };
            assert!(note.contains("new.example"), "{note}");
            assert!(proves_the_rest(&root), "{list} {kind}");
        }
        let supported = rows().into_iter().find(|row| row.kind == "p521").unwrap();
        let entry = log_entry(&decoded(&supported.public_key), "PKIX_ECDSA_P521_SHA_512");
        let root = root_with(list, entry).unwrap();
        assert!(root.notes().is_empty(), "{:?}", root.notes());
    }
}

#[test]
fn certificate_logs_that_were_left_out_do_not_count() {
    let mut root = root_json();
    let read = |root: &Value| TrustedRoot::from_json(&root.to_string()).unwrap();
    assert!(read(&root).has_certificate_logs());
    let unsupported = rows().into_iter().find(|row| row.kind == "secp256k1");
    let key = decoded(&unsupported.unwrap().public_key);
    root["ctlogs"] = json!([log_entry(&key, "")]);
    assert!(!read(&root).has_certificate_logs());
    root["ctlogs"] = json!([]);
    assert!(!read(&root).has_certificate_logs());
}

#[test]
fn broken_and_contradictory_logs_keep_a_root_from_loading() {
    let row = &rows()[0];
    let key = decoded(&row.public_key);
    let refused = |entry: Value| root_with("tlogs", entry).err().map(|it| it.0.to_string());
    let details = "PKIX_ECDSA_P256_SHA_256";
    assert_eq!(refused(log_entry(&key, details)), None);
    let broken = refused(log_entry(b"no key", details)).unwrap();
    assert!(broken.contains("is broken"), "{broken}");
    let mut short = log_entry(&key, details);
    short["logId"]["keyId"] = json!(base64(b"short"));
    assert!(refused(short).unwrap().contains("32 bytes"));
    let mut again = root_json()["tlogs"][0].clone();
    again["publicKey"]["rawBytes"] = json!(base64(&key));
    assert!(refused(again).unwrap().contains("two keys"));
    let mut reversed = log_entry(&key, details);
    reversed["publicKey"]["validFor"] =
        json!({"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"});
    assert!(refused(reversed).unwrap().contains("ends before it starts"));
}

#[test]
fn unsupported_key_of_a_timestamp_authority_is_noted() {
    let pem = include_str!("../../../tests/fixtures/timestamps/rsa1024.pem");
    let certificates = blocks(pem, "CERTIFICATE").unwrap();
    let certificates = certificates
        .iter()
        .map(|der| json!({"rawBytes": base64(der)}));
    let authority = json!({
        "uri": "https://weak.example",
        "certChain": {"certificates": certificates.collect::<Vec<_>>()},
        "validFor": {"start": "2020-01-01T00:00:00Z"},
    });
    let root = root_with("timestampAuthorities", authority).unwrap();
    assert!(
        root.notes()[0].contains("weak.example"),
        "{:?}",
        root.notes()
    );
    assert!(proves_the_rest(&root));
}

#[test]
fn unsupported_key_of_a_certificate_authority_is_noted() {
    let text = include_str!("../../../tests/fixtures/algorithms/certificates.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let rows = document["rows"].as_array().unwrap();
    for (name, notes) in [
        ("secp256k1", 1),
        ("dsa", 1),
        ("rsa1024-sha256", 1),
        ("p521-sha512", 0),
    ] {
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        let authority = json!({
            "uri": "https://weak.example",
            "certChain": {"certificates": [{"rawBytes": row["root"]}]},
        });
        let root = root_with("certificateAuthorities", authority).unwrap();
        assert_eq!(root.notes().len(), notes, "{name}: {:?}", root.notes());
        assert!(proves_the_rest(&root));
    }
}

#[test]
fn log_signs_as_its_key_details_say() {
    let names = [
        ("PKIX_ECDSA_P256_SHA_256", "p256", vec!["ecdsa-sha256"]),
        ("PKIX_ECDSA_P384_SHA_384", "p384", vec!["ecdsa-sha384"]),
        ("PKIX_ECDSA_P384_SHA_256", "p384", vec!["ecdsa-sha256"]),
        ("PKIX_ECDSA_P521_SHA_512", "p521", vec!["ecdsa-sha512"]),
        ("PKIX_ECDSA_P521_SHA_256", "p521", vec!["ecdsa-sha256"]),
        ("PKIX_ED25519", "ed25519", vec!["ed25519"]),
        ("PKIX_RSA_PKCS1V15_2048_SHA256", "rsa", vec!["pkcs1-sha256"]),
        ("PKIX_RSA_PSS_4096_SHA256", "rsa", vec!["pss-sha256"]),
        (
            "PKIX_RSA_PKCS1V5",
            "rsa",
            vec!["pkcs1-sha256", "pkcs1-sha384", "pkcs1-sha512"],
        ),
        (
            "PKIX_RSA_PSS",
            "rsa",
            vec!["pss-sha256", "pss-sha384", "pss-sha512"],
        ),
    ];
    for row in rows().iter().filter(|row| row.counts) {
        let what = format!("{} {}", row.kind, row.algorithm);
        let (key, signature) = (decoded(&row.public_key), decoded(&row.signature));
        for (details, kind, algorithms) in &names {
            match LogKey::read(&key, details, None) {
                Ok(log) => {
                    assert!(row.kind.starts_with(kind), "{what} as {details}");
                    let expected = algorithms.contains(&row.algorithm.as_str());
                    let verifies = log.verifies(MESSAGE, &signature);
                    assert_eq!(verifies, expected, "{what} as {details}");
                    // As cosign does for Rekor v1.
                    let promised = log.verifies_rekor_v1(MESSAGE, &signature);
                    let by_sha256 = row.algorithm == "ecdsa-sha256";
                    assert_eq!(promised, expected || by_sha256, "{what} as {details}");
                }
                Err(_other_kind) => assert!(!row.kind.starts_with(kind), "{what} as {details}"),
            }
        }
        // Without a name that is known, the key says which algorithms there are.
        for details in ["", "PUBLIC_KEY_DETAILS_UNSPECIFIED", "PKIX_OF_TOMORROW"] {
            let log = LogKey::read(&key, details, None).unwrap();
            assert!(log.verifies(MESSAGE, &signature), "{what}");
            assert!(!log.verifies(b"another message", &signature), "{what}");
        }
    }
}
