//! Entries of transparency logs, with what their body says was signed, by whom and how.

mod body;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use sigstore_types::bundle::{InclusionPromise, InclusionProof, LogId};
use sigstore_types::{CanonicalizedBody, LogIndex, LogKeyId, SignedTimestamp};

use super::{ParseFailure, base64, json};
use body::Header;
pub(crate) use body::{Logged, LoggedVerifier, SignedPart};

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
    #[serde(rename = "SignedEntryTimestamp", deserialize_with = "base64::bytes")]
    signed_entry_timestamp: Vec<u8>,
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
    // In protobuf JSON zero and absent are the same value.
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
        logged: body::read(&kind, wire.canonicalized_body.as_bytes()),
        kind,
        body: wire.canonicalized_body,
    })
}

/// Reads cosign's annotation: an entry with a signed entry timestamp and without a proof.
pub(super) fn from_annotation(annotation: &str) -> Result<LogEntry, ParseFailure> {
    let broken = |detail: String| {
        ParseFailure::malformed(format!(
            "the log entry of the signature is broken: {detail}"
        ))
    };
    let wire: WireAnnotation =
        json::parse(annotation.as_bytes()).map_err(|error| broken(error.to_string()))?;
    let payload = wire.payload;
    let header: Header = serde_json::from_slice(payload.body.as_bytes())
        .map_err(|error| broken(error.to_string()))?;
    let log_id = hex::decode(&payload.log_id).map_err(|error| broken(error.to_string()))?;
    let integrated_time = Timestamp::from_second(payload.integrated_time)
        .map_err(|error| broken(error.to_string()))?;
    let kind = EntryKind::of(&header.kind, &header.version);
    Ok(LogEntry {
        log_id: LogKeyId::new(log_id),
        log_index: LogIndex::new(payload.log_index).map_err(|error| broken(error.to_string()))?,
        integrated_time: Some(integrated_time),
        promise: Some(InclusionPromise::new(SignedTimestamp::new(
            wire.signed_entry_timestamp,
        ))),
        proof: None,
        logged: body::read(&kind, payload.body.as_bytes()),
        kind,
        body: payload.body,
    })
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

    /// Returns true for Rekor v1, whose signed entry timestamp covers an integrated time.
    pub(crate) fn has_time(&self) -> bool {
        match self {
            Self::HashedRekordV1 | Self::DsseV1 | Self::IntotoV2 => true,
            Self::HashedRekordV2 | Self::DsseV2 | Self::Other(_) => false,
        }
    }
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
