//! Signatures as cosign makes them, with a key that exists for one test only.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::image::{Image, OCI_MANIFEST, descriptor, sha256};

pub(crate) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(crate) const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A P-256 key.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    der: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let der = der.as_ref().to_vec();
        Self { pair, der }
    }

    /// The public half.
    pub(crate) fn public_pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub(crate) fn fingerprint(&self) -> String {
        sha256(&self.der)
    }

    /// The signature in base64.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(&SystemRandom::new(), message).unwrap())
    }

    /// One layer of a legacy signature of `digest`, and its payload.
    pub(crate) fn simple_signing(&self, digest: &str) -> (Value, Vec<u8>) {
        self.simple_signing_as("", digest)
    }

    /// The same under a name for the image.
    pub(crate) fn simple_signing_as(&self, name: &str, digest: &str) -> (Value, Vec<u8>) {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string()
        .into_bytes();
        let mut layer = descriptor(SIMPLE_SIGNING, &payload);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": self.sign(&payload)});
        (layer, payload)
    }

    /// What cosign files under `sha256-<hex>.sig` for `digest`.
    pub(crate) fn legacy_signature(&self, digest: &str) -> Image {
        let (layer, payload) = self.simple_signing(digest);
        legacy_manifest(&[layer], &[payload])
    }

    /// A bundle that says `subject` has this predicate.
    pub(crate) fn bundle(
        &self,
        subject: &Image,
        predicate_type: &str,
        predicate: &Value,
    ) -> Vec<u8> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": subject.hex()}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        })
        .to_string();
        self.dsse_bundle(&statement)
    }

    /// A bundle whose DSSE envelope holds this payload, whatever it is.
    pub(crate) fn dsse_bundle(&self, payload: &str) -> Vec<u8> {
        // DSSE v1, pre-authentication encoding.
        let signed = format!(
            "DSSEv1 {} {IN_TOTO} {} {payload}",
            IN_TOTO.len(),
            payload.len()
        );
        let hint = STANDARD.encode(hex::decode(&self.fingerprint()["sha256:".len()..]).unwrap());
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": self.sign(signed.as_bytes())}],
            },
        })
        .to_string()
        .into_bytes()
    }

    /// A bundle signature of `subject` as the artifact that refers to it.
    pub(crate) fn bundle_signature(&self, subject: &Image) -> Image {
        let bundle = self.bundle(subject, SIGN_PREDICATE, &json!({}));
        bundle_artifact(subject, bundle, SIGN_PREDICATE)
    }
}

/// A legacy signature manifest with these layers.
pub(crate) fn legacy_manifest(layers: &[Value], payloads: &[Vec<u8>]) -> Image {
    let config = b"{\"architecture\":\"\",\"os\":\"\",\"config\":{}}".to_vec();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers,
    });
    let mut artifact = Image::raw(OCI_MANIFEST, manifest.to_string());
    artifact.blobs.push(config.into());
    artifact
        .blobs
        .extend(payloads.iter().map(|payload| payload.clone().into()));
    artifact
}

/// The manifest under which a bundle is attached to `subject`.
pub(crate) fn bundle_artifact(subject: &Image, bundle: Vec<u8>, predicate_type: &str) -> Image {
    let mut config = descriptor(EMPTY, b"{}");
    config["artifactType"] = json!(BUNDLE);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": BUNDLE,
        "config": config,
        "layers": [descriptor(BUNDLE, &bundle)],
        "subject": subject.descriptor(),
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": predicate_type,
        },
    });
    let mut artifact = Image::raw(OCI_MANIFEST, manifest.to_string());
    artifact.blobs.push(b"{}".to_vec().into());
    artifact.blobs.push(bundle.into());
    artifact
}
