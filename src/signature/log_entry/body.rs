//! The bodies of log entries: which signature over which bytes by whom (Rekor's types, canonicalised by the log).

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use sigstore_types::{DerCertificate, DerPublicKey, DigestBytes, HashAlgorithm, SignatureBytes};

use super::EntryKind;

/// What an entry's body says.
#[derive(Debug, PartialEq)]
pub(crate) struct Logged {
    pub(crate) part: SignedPart,
    algorithm: HashAlgorithm,
    hash: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) verifier: LoggedVerifier,
}

/// Which bytes an entry's hash is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignedPart {
    /// The bytes under the signature.
    Message,
    /// The payload of a DSSE envelope.
    DssePayload,
}

/// By what the log says the signature verifies (DER).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LoggedVerifier {
    Certificate(Vec<u8>),
    PublicKey(Vec<u8>),
}

/// Reads the body as the kind that the entry says it is.
pub(super) fn read(kind: &EntryKind, body: &[u8]) -> Result<Logged, String> {
    let header: Header = body_as(body)?;
    if *kind != EntryKind::of(&header.kind, &header.version) {
        return Err(format!(
            "the body of the log entry is of another kind, `{} {}`",
            header.kind, header.version
        ));
    }
    match kind {
        EntryKind::HashedRekordV1 => {
            let HashedRekordV1 { data, signature } = spec(body)?;
            let verifier = pem_verifier(signature.public_key.content.as_bytes())?;
            Logged::hex(SignedPart::Message, &data.hash, signature.content, verifier)
        }
        EntryKind::DsseV1 => {
            let DsseV1 {
                payload_hash,
                signatures,
            } = spec(body)?;
            let DsseV1Signature {
                signature,
                verifier,
            } = only(signatures)?;
            let verifier = pem_verifier(verifier.as_bytes())?;
            Logged::hex(SignedPart::DssePayload, &payload_hash, signature, verifier)
        }
        EntryKind::IntotoV2 => {
            let IntotoV2 { content } = spec(body)?;
            let signature = only(content.envelope.signatures)?;
            let verifier = pem_verifier(signature.public_key.as_bytes())?;
            let bytes = BASE64_STANDARD
                .decode(signature.sig.as_bytes())
                .map_err(|error| format!("the body of the log entry is broken: {error}"))?;
            Logged::hex(
                SignedPart::DssePayload,
                &content.payload_hash,
                SignatureBytes::new(bytes),
                verifier,
            )
        }
        EntryKind::HashedRekordV2 => {
            let HashedRekordV2 { inner } = spec(body)?;
            Logged::raw(SignedPart::Message, inner.data, inner.signature)
        }
        EntryKind::DsseV2 => {
            let DsseV2 { inner } = spec(body)?;
            let signature = only(inner.signatures)?;
            Logged::raw(SignedPart::DssePayload, inner.payload_hash, signature)
        }
        EntryKind::Other(other) => Err(format!(
            "log entries of the kind `{other}` are not supported"
        )),
    }
}

impl Logged {
    /// Whether `bytes` are what was logged.
    pub(crate) fn hash_matches(&self, bytes: &[u8]) -> bool {
        let algorithm = match self.algorithm {
            HashAlgorithm::Sha2256 => &digest::SHA256,
            HashAlgorithm::Sha2384 => &digest::SHA384,
            HashAlgorithm::Sha2512 => &digest::SHA512,
            _ => return false,
        };
        digest::digest(algorithm, bytes).as_ref() == self.hash
    }

    fn hex(
        part: SignedPart,
        hash: &HexHash,
        signature: SignatureBytes,
        verifier: LoggedVerifier,
    ) -> Result<Self, String> {
        Ok(Self {
            part,
            algorithm: hash.algorithm,
            hash: hex::decode(&hash.value)
                .map_err(|error| format!("the body of the log entry is broken: {error}"))?,
            signature: signature.into_bytes(),
            verifier,
        })
    }

    fn raw(part: SignedPart, hash: RawHash, signature: SignatureV2) -> Result<Self, String> {
        let SignatureV2 { content, verifier } = signature;
        let verifier = match (verifier.x509_certificate, verifier.public_key) {
            (Some(certificate), None) => {
                LoggedVerifier::Certificate(certificate.raw_bytes.into_bytes())
            }
            (None, Some(key)) => LoggedVerifier::PublicKey(key.raw_bytes.into_bytes()),
            (None, None) | (Some(_), Some(_)) => {
                return Err(
                    "the log entry names neither exactly one certificate nor exactly one key"
                        .to_owned(),
                );
            }
        };
        Ok(Self {
            part,
            algorithm: hash.algorithm,
            hash: hash.digest.into_bytes(),
            signature: content.into_bytes(),
            verifier,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) kind: String,
    #[serde(rename = "apiVersion")]
    pub(super) version: String,
}

#[derive(Deserialize)]
struct Body<S> {
    spec: S,
}

#[derive(Deserialize)]
struct HexHash {
    algorithm: HashAlgorithm,
    value: String,
}

#[derive(Deserialize)]
struct RawHash {
    algorithm: HashAlgorithm,
    digest: DigestBytes,
}

#[derive(Deserialize)]
struct HashedRekordV1 {
    data: HashedRekordV1Data,
    signature: HashedRekordV1Signature,
}

#[derive(Deserialize)]
struct HashedRekordV1Data {
    hash: HexHash,
}

#[derive(Deserialize)]
struct HashedRekordV1Signature {
    content: SignatureBytes,
    #[serde(rename = "publicKey")]
    public_key: PemContent,
}

#[derive(Deserialize)]
struct PemContent {
    content: sigstore_types::PemContent,
}

#[derive(Deserialize)]
struct HashedRekordV2 {
    #[serde(rename = "hashedRekordV002")]
    inner: HashedRekordV2Inner,
}

#[derive(Deserialize)]
struct HashedRekordV2Inner {
    data: RawHash,
    signature: SignatureV2,
}

#[derive(Deserialize)]
struct SignatureV2 {
    content: SignatureBytes,
    verifier: VerifierV2,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifierV2 {
    #[serde(default)]
    x509_certificate: Option<RawBytes<DerCertificate>>,
    #[serde(default)]
    public_key: Option<RawBytes<DerPublicKey>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBytes<T> {
    raw_bytes: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DsseV1 {
    payload_hash: HexHash,
    signatures: Vec<DsseV1Signature>,
}

#[derive(Deserialize)]
struct DsseV1Signature {
    signature: SignatureBytes,
    verifier: sigstore_types::PemContent,
}

#[derive(Deserialize)]
struct DsseV2 {
    #[serde(rename = "dsseV002")]
    inner: DsseV2Inner,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DsseV2Inner {
    payload_hash: RawHash,
    signatures: Vec<SignatureV2>,
}

#[derive(Deserialize)]
struct IntotoV2 {
    content: IntotoV2Content,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntotoV2Content {
    envelope: IntotoV2Envelope,
    payload_hash: HexHash,
}

#[derive(Deserialize)]
struct IntotoV2Envelope {
    signatures: Vec<IntotoV2Signature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntotoV2Signature {
    /// The base64 of base64: Rekor stores the field of the envelope as it stands.
    sig: SignatureBytes,
    public_key: sigstore_types::PemContent,
}

fn body_as<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("the body of the log entry is broken: {error}"))
}

fn spec<'a, S: Deserialize<'a>>(body: &'a [u8]) -> Result<S, String> {
    body_as::<Body<S>>(body).map(|body| body.spec)
}

fn only<T>(signatures: Vec<T>) -> Result<T, String> {
    <[T; 1]>::try_from(signatures)
        .map(|[signature]| signature)
        .map_err(|signatures| format!("the log entry has {} signatures, not one", signatures.len()))
}

fn pem_verifier(pem: &[u8]) -> Result<LoggedVerifier, String> {
    if let Ok(certificate) = CertificateDer::from_pem_slice(pem) {
        return Ok(LoggedVerifier::Certificate(certificate.to_vec()));
    }
    SubjectPublicKeyInfoDer::from_pem_slice(pem)
        .map(|key| LoggedVerifier::PublicKey(key.to_vec()))
        .map_err(|error| format!("the log entry names neither a certificate nor a key: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hash_that_logs_use_is_compared() {
        for (algorithm, computed) in [
            (HashAlgorithm::Sha2256, &digest::SHA256),
            (HashAlgorithm::Sha2384, &digest::SHA384),
            (HashAlgorithm::Sha2512, &digest::SHA512),
        ] {
            let logged = Logged {
                part: SignedPart::Message,
                algorithm,
                hash: digest::digest(computed, b"signed").as_ref().to_vec(),
                signature: Vec::new(),
                verifier: LoggedVerifier::PublicKey(Vec::new()),
            };
            assert!(logged.hash_matches(b"signed"), "{algorithm:?}");
            assert!(!logged.hash_matches(b"another"), "{algorithm:?}");
        }
    }
}
