//! Entries of transparency logs, with what their body says was signed, by whom and how.

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Deserializer};
use sigstore_types::bundle::{InclusionPromise, InclusionProof, LogId};
use sigstore_types::{
    CanonicalizedBody, DerCertificate, DerPublicKey, DigestBytes, HashAlgorithm, KindVersion,
    LogIndex, LogKeyId, SignatureBytes, SignedTimestamp,
};

use super::ParseFailure;

/// An entry as its carrier gives it.
#[derive(Debug, PartialEq)]
pub(crate) struct LogEntry {
    pub(crate) log_id: LogKeyId,
    pub(crate) log_index: LogIndex,
    pub(crate) kind: EntryKind,
    /// The log's claim; only a signed entry timestamp makes it more than that.
    pub(crate) integrated_time: Option<Timestamp>,
    pub(crate) promise: Option<InclusionPromise>,
    pub(crate) proof: Option<InclusionProof>,
    pub(crate) body: CanonicalizedBody,
    /// What the body says, or why it says nothing.
    pub(crate) logged: Result<Logged, String>,
}

/// The kinds of entry that bind a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    HashedRekordV1,
    HashedRekordV2,
    DsseV1,
    DsseV2,
    IntotoV2,
    Other(String),
}

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

/// An entry in a bundle (protobuf-specs `TransparencyLogEntry`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry {
    #[serde(default)]
    log_index: LogIndex,
    log_id: LogId,
    kind_version: WireKindVersion,
    #[serde(default, deserialize_with = "protobuf_seconds")]
    integrated_time: i64,
    #[serde(default)]
    inclusion_promise: Option<InclusionPromise>,
    #[serde(default)]
    inclusion_proof: Option<InclusionProof>,
    canonicalized_body: CanonicalizedBody,
}

#[derive(Deserialize)]
struct WireKindVersion {
    kind: String,
    version: String,
}

/// The annotation `dev.sigstore.cosign/bundle`.
#[derive(Deserialize)]
struct WireAnnotation {
    #[serde(rename = "SignedEntryTimestamp")]
    signed_entry_timestamp: SignedTimestamp,
    #[serde(rename = "Payload")]
    payload: WireAnnotationPayload,
}

#[derive(Deserialize)]
struct WireAnnotationPayload {
    body: CanonicalizedBody,
    #[serde(rename = "integratedTime")]
    integrated_time: i64,
    #[serde(rename = "logIndex")]
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// Reads an entry of a bundle.
pub(super) fn from_bundle(json: &str) -> Result<LogEntry, ParseFailure> {
    let broken = |detail: String| {
        ParseFailure::malformed(format!("a log entry of the bundle is broken: {detail}"))
    };
    let wire: WireEntry = serde_json::from_str(json).map_err(|error| broken(error.to_string()))?;
    let kind = EntryKind::of(&wire.kind_version.kind, &wire.kind_version.version);
    // The first protobuf value is the same as no value.
    let integrated_time = match wire.integrated_time {
        0 => None,
        seconds => {
            Some(Timestamp::from_second(seconds).map_err(|error| broken(error.to_string()))?)
        }
    };
    Ok(LogEntry {
        log_id: wire.log_id.key_id,
        log_index: wire.log_index,
        integrated_time,
        promise: wire.inclusion_promise,
        proof: wire.inclusion_proof,
        logged: logged(&kind, wire.canonicalized_body.as_bytes()),
        kind,
        body: wire.canonicalized_body,
    })
}

/// Reads cosign's annotation: an entry with a signed entry timestamp and without a proof.
pub(super) fn from_annotation(json: &str) -> Result<LogEntry, ParseFailure> {
    let broken = |detail: String| {
        ParseFailure::malformed(format!(
            "the log entry of the signature is broken: {detail}"
        ))
    };
    let wire: WireAnnotation =
        serde_json::from_str(json).map_err(|error| broken(error.to_string()))?;
    let payload = wire.payload;
    let header: BodyHeader = serde_json::from_slice(payload.body.as_bytes())
        .map_err(|error| broken(error.to_string()))?;
    let log_id = hex::decode(&payload.log_id).map_err(|error| broken(error.to_string()))?;
    let integrated_time = Timestamp::from_second(payload.integrated_time)
        .map_err(|error| broken(error.to_string()))?;
    let kind = EntryKind::of(&header.kind, &header.version);
    Ok(LogEntry {
        log_id: LogKeyId::new(log_id),
        log_index: LogIndex::new(payload.log_index).map_err(|error| broken(error.to_string()))?,
        integrated_time: Some(integrated_time),
        promise: Some(InclusionPromise::new(wire.signed_entry_timestamp)),
        proof: None,
        logged: logged(&kind, payload.body.as_bytes()),
        kind,
        body: payload.body,
    })
}

impl LogEntry {
    /// The entry for the verifier of certificates, which takes only the time from it: what the log's own signature
    /// covers, without the proof. Rekor v2 and unknown kinds carry no time.
    pub(super) fn time_source(&self) -> Option<sigstore_types::TransparencyLogEntry> {
        let entry = sigstore_types::TransparencyLogEntry::new(
            self.log_index,
            LogId::new(self.log_id.clone()),
            self.kind.with_time()?,
            self.body.clone(),
        );
        Some(
            entry
                .with_integrated_time(self.integrated_time?)
                .with_inclusion_promise(self.promise.clone()?),
        )
    }
}

impl EntryKind {
    fn of(kind: &str, version: &str) -> Self {
        match (kind, version) {
            ("hashedrekord", "0.0.1") => Self::HashedRekordV1,
            ("hashedrekord", "0.0.2") => Self::HashedRekordV2,
            ("dsse", "0.0.1") => Self::DsseV1,
            ("dsse", "0.0.2") => Self::DsseV2,
            ("intoto", "0.0.2") => Self::IntotoV2,
            _ => Self::Other(format!("{kind} {version}")),
        }
    }

    /// The kinds of Rekor v1, whose signed entry timestamp covers an integrated time.
    pub(crate) fn with_time(&self) -> Option<KindVersion> {
        match self {
            Self::HashedRekordV1 => Some(KindVersion::HashedRekordV001),
            Self::DsseV1 => Some(KindVersion::DsseV001),
            Self::IntotoV2 => Some(KindVersion::IntotoV002),
            Self::HashedRekordV2 | Self::DsseV2 | Self::Other(_) => None,
        }
    }

    fn name(&self) -> (&str, &str) {
        match self {
            Self::HashedRekordV1 => ("hashedrekord", "0.0.1"),
            Self::HashedRekordV2 => ("hashedrekord", "0.0.2"),
            Self::DsseV1 => ("dsse", "0.0.1"),
            Self::DsseV2 => ("dsse", "0.0.2"),
            Self::IntotoV2 => ("intoto", "0.0.2"),
            Self::Other(_) => ("", ""),
        }
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
}

#[derive(Deserialize)]
struct BodyHeader {
    kind: String,
    #[serde(rename = "apiVersion")]
    version: String,
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

/// Reads the body as the kind that the entry says it is.
fn logged(kind: &EntryKind, body: &[u8]) -> Result<Logged, String> {
    let header: BodyHeader = body_as(body)?;
    if let EntryKind::Other(other) = kind {
        return Err(format!("entries of the kind `{other}` are not supported"));
    }
    if kind.name() != (header.kind.as_str(), header.version.as_str()) {
        return Err(format!(
            "the log entry says it is a `{} {}`, its body is a `{} {}`",
            kind.name().0,
            kind.name().1,
            header.kind,
            header.version
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
        EntryKind::Other(other) => Err(other.clone()),
    }
}

impl Logged {
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

/// A protobuf `int64` in JSON: text or a number.
fn protobuf_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seconds {
        Text(String),
        Number(i64),
    }

    match Option::<Seconds>::deserialize(deserializer)? {
        None => Ok(0),
        Some(Seconds::Number(seconds)) => Ok(seconds),
        Some(Seconds::Text(text)) => text.parse().map_err(serde::de::Error::custom),
    }
}
