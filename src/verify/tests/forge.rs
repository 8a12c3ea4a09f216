//! Signatures, log entries and trusted roots made at run time, right in everything that a test does not change.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::limits::Limits;
use crate::oci::{Descriptor, Digest, media_type};
use crate::signature::{Artifact, Blob, Candidate, Source, candidates};
use crate::verify::{PublicKey, TrustedRoot};

pub(super) const SIGN_V1: &str = "https://sigstore.dev/cosign/sign/v1";
const BUNDLE_V3: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A P-256 key of a signer or of a log.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(super) fn der(&self) -> Vec<u8> {
        // The fixed head of the SubjectPublicKeyInfo of an uncompressed P-256 point.
        let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        der.extend_from_slice(self.0.public_key().as_ref());
        der
    }

    pub(super) fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.der())
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey::from_pem(&self.pem()).unwrap()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64(der)
    )
}

pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(super) fn decoded(base64: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(base64).unwrap()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// A transparency log with one entry in each of its trees.
pub(super) struct Log {
    pub(super) key: Key,
    pub(super) id: Vec<u8>,
}

impl Log {
    pub(super) fn new() -> Self {
        let key = Key::generate();
        let id = sha256(&key.der());
        Self { key, id }
    }

    /// What a trusted root says of it.
    pub(super) fn entry_in_root(&self, valid_for: &Value) -> Value {
        json!({
            "baseUrl": "https://log.example",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": base64(&self.key.der()),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": valid_for,
            },
            "logId": {"keyId": base64(&self.id)},
        })
    }

    /// A root that trusts this log and nothing else.
    pub(super) fn trusted_root(&self, valid_for: &Value) -> TrustedRoot {
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.entry_in_root(valid_for)],
            "certificateAuthorities": [], "ctlogs": [], "timestampAuthorities": [],
        });
        TrustedRoot::from_json(&root.to_string()).unwrap()
    }

    pub(super) fn promise(&self, body: &[u8], time: i64, index: u64) -> Vec<u8> {
        let canonical = format!(
            r#"{{"body":"{}","integratedTime":{time},"logID":"{}","logIndex":{index}}}"#,
            base64(body),
            hex::encode(&self.id)
        );
        self.key.sign(canonical.as_bytes())
    }

    /// The proof that `body` is the only entry of a tree.
    pub(super) fn proof(&self, body: &[u8]) -> Value {
        let root = sha256(&[&[0], body].concat());
        let note = format!("log.example\n1\n{}\n", base64(&root));
        let signature = [&self.id[..4], &self.key.sign(note.as_bytes())].concat();
        json!({
            "logIndex": "0", "rootHash": base64(&root), "treeSize": "1", "hashes": [],
            "checkpoint": {"envelope": format!("{note}\n\u{2014} log.example {}\n", base64(&signature))},
        })
    }
}

/// The seconds of a time within the validity of every log here.
pub(super) const LOG_TIME: i64 = 1_790_000_000;

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(LOG_TIME + 60).unwrap()
}

pub(super) fn subject() -> Digest {
    Digest::sha256(b"an image")
}

pub(super) fn payload(digest: &str, name: &str) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": {"env": "prod", "count": 3, "final": true, "nothing": null},
    })
    .to_string()
    .into_bytes()
}

pub(super) fn hashed_rekord(payload: &[u8], signature: &[u8], verifier: &str) -> Value {
    json!({
        "apiVersion": "0.0.1", "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hex::encode(sha256(payload))}},
            "signature": {
                "content": base64(signature),
                "publicKey": {"content": base64(verifier.as_bytes())},
            },
        },
    })
}

/// cosign's annotation for `body` in `log`.
pub(super) fn annotation(log: &Log, body: &Value, time: i64) -> Value {
    let body = body.to_string().into_bytes();
    json!({
        "SignedEntryTimestamp": base64(&log.promise(&body, time, 7)),
        "Payload": {
            "body": base64(&body), "integratedTime": time, "logIndex": 7,
            "logID": hex::encode(&log.id),
        },
    })
}

pub(super) fn statement(predicate_type: &str, digest: &Digest) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.to_hex()}, "annotations": {"env": "prod"}}],
        "predicateType": predicate_type,
        "predicate": {},
    })
}

pub(super) fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    [head.as_bytes(), payload].concat()
}

pub(super) fn envelope(key: &Key, payload: &[u8]) -> Value {
    json!({
        "payloadType": "application/vnd.in-toto+json",
        "payload": base64(payload),
        "signatures": [{"sig": base64(&key.sign(&pae(payload)))}],
    })
}

/// A bundle v0.3 signed by `key`, hinting at it.
pub(super) fn bundle(key: &Key, envelope: &Value) -> Value {
    json!({
        "mediaType": BUNDLE_V3,
        "verificationMaterial": {"publicKey": {"hint": base64(&sha256(&key.der()))}},
        "dsseEnvelope": envelope,
    })
}

/// The entry of an envelope in Rekor v2, with its proof.
pub(super) fn entry(log: &Log, key: &Key, envelope: &Value) -> Value {
    let payload = decoded(envelope["payload"].as_str().unwrap());
    let body = json!({
        "apiVersion": "0.0.2", "kind": "hashedrekord",
        "spec": {"hashedRekordV002": {
            "data": {"algorithm": "SHA2_256", "digest": base64(&sha256(&pae(&payload)))},
            "signature": {
                "content": envelope["signatures"][0]["sig"],
                "verifier": {
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "publicKey": {"rawBytes": base64(&key.der())},
                },
            },
        }},
    });
    entry_of(log, &body)
}

/// The entry with this body, with its proof.
pub(super) fn entry_of(log: &Log, body: &Value) -> Value {
    let bytes = body.to_string().into_bytes();
    json!({
        "logIndex": "0",
        "logId": {"keyId": base64(&log.id)},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "inclusionProof": log.proof(&bytes),
        "canonicalizedBody": base64(&bytes),
    })
}

/// The one candidate of a layer.
pub(super) fn candidate(
    media_type: &str,
    blob: &[u8],
    annotations: &[(&str, String)],
) -> Candidate {
    let descriptor = Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::sha256(blob),
        size: blob.len() as u64,
        artifact_type: None,
        annotations: annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    };
    let artifact = Artifact {
        source: Source::CosignTag,
        digest: Digest::sha256(b"a manifest"),
        layers: vec![(descriptor, Blob::Present(blob.to_vec().into()))],
    };
    let [candidate] = <[_; 1]>::try_from(candidates(&artifact, &Limits::default())).unwrap();
    candidate
}

pub(super) fn bundle_candidate(bundle: &Value) -> Candidate {
    candidate(BUNDLE_V3, bundle.to_string().as_bytes(), &[])
}

/// A legacy signature of `payload` by `key`, with cosign's log annotation if given.
pub(super) fn legacy_candidate(payload: &[u8], signature: &[u8], log: Option<&Value>) -> Candidate {
    let mut annotations = vec![("dev.cosignproject.cosign/signature", base64(signature))];
    if let Some(log) = log {
        annotations.push(("dev.sigstore.cosign/bundle", log.to_string()));
    }
    candidate(media_type::SIMPLE_SIGNING, payload, &annotations)
}
