//! Signatures as cosign makes them, by keys and in logs that exist for one test only.

use std::collections::BTreeMap;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::limits::Limits;
use crate::oci::{Descriptor, Digest, media_type};
use crate::signature::{Artifact, Blob, Candidate, Source, candidates};
use crate::verify::{PublicKey, TrustedRoot};

/// A P-256 key of a signer or of a log.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    der: Vec<u8>,
}

impl Key {
    pub(super) fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let der = der.as_ref().to_vec();
        Self { pair, der }
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey::from_pem(&self.pem()).unwrap()
    }

    pub(super) fn fingerprint(&self) -> Digest {
        Digest::sha256(&self.der)
    }

    pub(super) fn pem(&self) -> String {
        let text = base64(&self.der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }
}

/// A transparency log of the first kind, which promises entries at a time.
pub(super) struct Log {
    key: Key,
}

impl Log {
    pub(super) fn new() -> Self {
        let key = Key::generate();
        Self { key }
    }

    /// A root that trusts this log and nothing else.
    pub(super) fn trusted_root(&self) -> TrustedRoot {
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.trusted()],
            "certificateAuthorities": [], "ctlogs": [], "timestampAuthorities": [],
        });
        TrustedRoot::from_json(&root.to_string()).unwrap()
    }

    /// What a root says of a log that it trusts.
    pub(super) fn trusted(&self) -> Value {
        json!({
            "baseUrl": "https://log.example",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": base64(&self.key.der),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2020-01-01T00:00:00Z"},
            },
            "logId": {"keyId": base64(self.key.fingerprint().as_bytes())},
        })
    }

    /// The log's own public key.
    pub(super) fn pem(&self) -> String {
        self.key.pem()
    }

    /// cosign's annotation for an entry with this body.
    fn annotation(&self, body: &Value, time: Timestamp) -> String {
        let (body, time) = (base64(body.to_string().as_bytes()), time.as_second());
        let id = self.key.fingerprint().to_hex();
        let promised =
            format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":7}}"#);
        json!({
            "SignedEntryTimestamp": base64(&self.key.sign(promised.as_bytes())),
            "Payload": {"body": body, "integratedTime": time, "logIndex": 7, "logID": id},
        })
        .to_string()
    }
}

/// One layer of a signature manifest.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    pub(super) blob: Vec<u8>,
}

impl Layer {
    pub(super) fn new(
        media_type: &str,
        blob: Vec<u8>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::sha256(&blob),
            size: blob.len() as u64,
            artifact_type: None,
            annotations,
        };
        Self { descriptor, blob }
    }

    pub(super) fn candidate(&self) -> Candidate {
        let artifact = Artifact {
            source: Source::CosignTag,
            digest: Digest::sha256(b"a signature manifest"),
            layers: vec![(
                self.descriptor.clone(),
                Blob::Present(self.blob.clone().into()),
            )],
        };
        let [candidate] = <[_; 1]>::try_from(candidates(&artifact, &Limits::default())).unwrap();
        candidate
    }
}

/// A legacy signature in the making.
#[derive(Default)]
pub(super) struct Signature<'a> {
    pub(super) name: &'a str,
    pub(super) annotations: &'a [(&'a str, &'a str)],
    pub(super) logged: Option<(&'a Log, Timestamp)>,
}

impl Signature<'_> {
    pub(super) fn by(&self, key: &Key, subject: &Digest) -> Layer {
        let optional: BTreeMap<_, _> = self.annotations.iter().copied().collect();
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": self.name},
                "image": {"docker-manifest-digest": subject.to_string()},
                "type": "cosign container image signature",
            },
            "optional": optional,
        })
        .to_string()
        .into_bytes();
        let signature = key.sign(&payload);
        let entry = json!({
            "apiVersion": "0.0.1", "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": Digest::sha256(&payload).to_hex()}},
                "signature": {
                    "content": base64(&signature),
                    "publicKey": {"content": base64(key.pem().as_bytes())},
                },
            },
        });
        let mut annotations = logged(self.logged, &entry);
        annotations.insert(
            "dev.cosignproject.cosign/signature".to_owned(),
            base64(&signature),
        );
        Layer::new(media_type::SIMPLE_SIGNING, payload, annotations)
    }
}

/// A legacy attestation.
pub(super) fn attestation(
    key: &Key,
    subject: &Digest,
    predicate_type: &str,
    predicate: &Value,
    log: Option<(&Log, Timestamp)>,
) -> Layer {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": subject.to_hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
    .to_string();
    let signature = base64(&key.sign(pae(&statement).as_bytes()));
    let envelope = json!({
        "payloadType": "application/vnd.in-toto+json",
        "payload": base64(statement.as_bytes()),
        "signatures": [{"sig": signature}],
    });
    let entry = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "payloadHash": {"algorithm": "sha256", "value": Digest::sha256(statement.as_bytes()).to_hex()},
        "signatures": [{"signature": signature, "verifier": base64(key.pem().as_bytes())}],
    }});
    Layer::new(
        media_type::DSSE_ENVELOPE,
        envelope.to_string().into_bytes(),
        logged(log, &entry),
    )
}

/// A bundle that `signer` made and that names `hint` as its key.
pub(super) fn hinted(signer: &Key, hint: &Key, subject: &Digest) -> Candidate {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": subject.to_hex()}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string();
    let message = pae(&statement);
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": base64(hint.fingerprint().as_bytes())}},
        "dsseEnvelope": {
            "payloadType": "application/vnd.in-toto+json",
            "payload": base64(statement.as_bytes()),
            "signatures": [{"sig": base64(&signer.sign(message.as_bytes()))}],
        },
    });
    let layer = Layer::new(BUNDLE, bundle.to_string().into_bytes(), BTreeMap::new());
    layer.candidate()
}

/// DSSE v1, pre-authentication encoding.
fn pae(statement: &str) -> String {
    let length = statement.len();
    format!("DSSEv1 28 application/vnd.in-toto+json {length} {statement}")
}

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn logged(log: Option<(&Log, Timestamp)>, entry: &Value) -> BTreeMap<String, String> {
    log.map(|(log, time)| {
        (
            "dev.sigstore.cosign/bundle".to_owned(),
            log.annotation(entry, time),
        )
    })
    .into_iter()
    .collect()
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}
