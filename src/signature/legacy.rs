//! Layers of cosign's `.sig` and `.att` manifests: the signed bytes are the blob, the rest stands in annotations.

use bytes::Bytes;
use serde::Deserialize;
use sigstore_types::{DerCertificate, TimestampToken};

use super::{
    Claim, LogEvidence, ParseFailure, Role, Signed, SigningCertificate, base64, bundle, json,
    log_entry, pem, simple_signing,
};
use crate::limits::Limits;
use crate::oci::Descriptor;
use crate::oci::annotation::{CERTIFICATE, CHAIN, LOG_ENTRY, SIGNATURE, SIGNED_TIMESTAMP};

/// The annotation `dev.sigstore.cosign/rfc3161timestamp`.
#[derive(Deserialize)]
struct WireTimestamp {
    #[serde(rename = "SignedRFC3161Timestamp", deserialize_with = "base64::bytes")]
    token: Vec<u8>,
}

/// A layer of a `.sig` manifest.
pub(super) fn simple_signing(
    descriptor: &Descriptor,
    payload: &Bytes,
    limits: &Limits,
) -> Result<Signed, ParseFailure> {
    let claim = Claim::SimpleSigning(simple_signing::parse(payload)?);
    let signature = annotation(descriptor, SIGNATURE)
        .ok_or_else(|| ParseFailure::malformed("the signature annotation is missing or empty"))?;
    let signature = base64::decode(signature).map_err(|error| {
        ParseFailure::malformed(format!("the signature annotation is not base64: {error}"))
    })?;
    signed(
        descriptor,
        claim,
        (payload.clone(), payload.clone()),
        signature,
        limits,
    )
}

/// A layer of an `.att` manifest; its signature stands in the envelope.
pub(super) fn attestation(
    descriptor: &Descriptor,
    blob: &Bytes,
    limits: &Limits,
) -> Result<Signed, ParseFailure> {
    let envelope = bundle::envelope(blob)?;
    let statement = bundle::statement(&envelope, limits)?;
    let message = Bytes::from(envelope.pae());
    let (signature, bytes) = (envelope.signature, (Bytes::from(envelope.payload), message));
    signed(
        descriptor,
        Claim::Statement(statement),
        bytes,
        signature,
        limits,
    )
}

fn signed(
    descriptor: &Descriptor,
    claim: Claim,
    (payload, message): (Bytes, Bytes),
    signature: Vec<u8>,
    limits: &Limits,
) -> Result<Signed, ParseFailure> {
    let log_entries = annotation(descriptor, LOG_ENTRY)
        .map(log_entry::from_annotation)
        .transpose()?
        .into_iter()
        .collect();
    let signed_timestamps = annotation(descriptor, SIGNED_TIMESTAMP)
        .map(|text| {
            json::parse::<WireTimestamp>(text.as_bytes()).map_err(|error| {
                ParseFailure::malformed(format!("the signed timestamp is not readable: {error}"))
            })
        })
        .transpose()?
        .map(|wire| TimestampToken::new(wire.token))
        .into_iter()
        .collect();
    let role = match &claim {
        Claim::SimpleSigning(_) => Role::Signature,
        Claim::Statement(_) => Role::Attestation,
    };
    Ok(Signed {
        role,
        claim,
        payload,
        message,
        signature,
        certificate: certificate(descriptor, limits)?,
        key_hint: None,
        log_entries,
        log_evidence: LogEvidence::Promise,
        signed_timestamps,
    })
}

/// The leaf and its chain. Nothing in the chain annotation is trusted; it only helps to find the way to a root.
fn certificate(
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<Option<SigningCertificate>, ParseFailure> {
    let Some(leaf) = annotation(descriptor, CERTIFICATE) else {
        return Ok(None);
    };
    let leaf = certificates(leaf, limits)?;
    let [leaf] = leaf.as_slice() else {
        return Err(ParseFailure::malformed(format!(
            "the certificate annotation holds {} certificates, not one",
            leaf.len()
        )));
    };
    let chain = annotation(descriptor, CHAIN)
        .map(|chain| certificates(chain, limits))
        .transpose()?
        .unwrap_or_default();
    SigningCertificate::parse(leaf, &chain).map(Some)
}

fn certificates(text: &str, limits: &Limits) -> Result<Vec<DerCertificate>, ParseFailure> {
    let certificates = pem::blocks(text, "CERTIFICATE").map_err(|error| {
        ParseFailure::malformed(format!("a certificate annotation is not PEM: {error}"))
    })?;
    if certificates.len() > limits.chain_certificates_max {
        return Err(bundle::chain_too_long(limits));
    }
    let certificates = certificates.iter();
    Ok(certificates
        .map(|der| DerCertificate::from_bytes(der))
        .collect())
}

fn annotation<'a>(descriptor: &'a Descriptor, key: &str) -> Option<&'a str> {
    descriptor
        .annotations
        .get(key)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}
