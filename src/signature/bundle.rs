//! Sigstore bundles v0.1 to v0.3 (protobuf-specs, `sigstore_bundle.proto`).

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sigstore_types::DerCertificate;
use sigstore_types::bundle::{Rfc3161Timestamp, X509Certificate};

use super::{
    Claim, LogEntry, LogEvidence, ParseFailure, Role, Signed, SigningCertificate, Statement,
    base64, json, log_entry, statement,
};
use crate::limits::Limits;
use crate::oci::media_type;

const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Lists stay raw until they are counted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    media_type: String,
    #[serde(borrow)]
    verification_material: WireMaterial<'a>,
    #[serde(borrow, default)]
    dsse_envelope: Option<&'a RawValue>,
    #[serde(default)]
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMaterial<'a> {
    #[serde(default)]
    certificate: Option<X509Certificate>,
    #[serde(borrow, default)]
    x509_certificate_chain: Option<WireChain<'a>>,
    #[serde(default)]
    public_key: Option<WirePublicKey>,
    #[serde(borrow, default)]
    tlog_entries: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    timestamp_verification_data: Option<WireTimestamps<'a>>,
}

#[derive(Deserialize)]
struct WireChain<'a> {
    #[serde(borrow, default)]
    certificates: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct WirePublicKey {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTimestamps<'a> {
    #[serde(borrow, default)]
    rfc3161_timestamps: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V01,
    V02,
    V03,
}

/// Whose signature it says it is.
struct Signatory {
    certificate: Option<SigningCertificate>,
    key_hint: Option<String>,
}

/// Reads a bundle of an image. `layer_type` is the media type under which the manifest lists it.
pub(super) fn parse(
    layer_type: &str,
    bytes: &Bytes,
    limits: &Limits,
) -> Result<Signed, ParseFailure> {
    let wire: Wire<'_> = json::parse(bytes).map_err(broken)?;
    let version = Version::of(&wire.media_type)?;
    if Version::declared(layer_type)? != version {
        return Err(ParseFailure::malformed(format!(
            "the bundle says it is `{}`, its manifest says `{layer_type}`",
            wire.media_type
        )));
    }
    let entries = wire.verification_material.tlog_entries.unwrap_or_default();
    count("log entries", entries.len(), limits.log_entries_max)?;
    let timestamps = wire
        .verification_material
        .timestamp_verification_data
        .and_then(|data| data.rfc3161_timestamps)
        .unwrap_or_default();
    count(
        "signed timestamps",
        timestamps.len(),
        limits.signed_timestamps_max,
    )?;
    let signatory = signatory(
        version,
        wire.verification_material.certificate,
        wire.verification_material.x509_certificate_chain,
        wire.verification_material.public_key,
        limits,
    )?;
    let envelope = match (wire.dsse_envelope, wire.message_signature) {
        // No key in it occurs twice, because none does in the bundle around it.
        (Some(envelope), None) => one_signature(serde_json::from_str(envelope.get()))?,
        // cosign signs images with statements; a signature over the bytes of a manifest is another protocol.
        (None, Some(_)) => {
            return Err(ParseFailure::malformed(
                "the bundle holds a signature over bytes, not a statement about an image",
            ));
        }
        (None, None) | (Some(_), Some(_)) => {
            return Err(ParseFailure::malformed(
                "the bundle holds neither exactly one statement nor exactly one signature over bytes",
            ));
        }
    };
    Ok(Signed {
        role: Role::Either,
        claim: Claim::Statement(statement(&envelope, limits)?),
        message: Bytes::from(envelope.pae()),
        payload: Bytes::from(envelope.payload),
        signature: envelope.signature,
        certificate: signatory.certificate,
        key_hint: signatory.key_hint,
        log_entries: log_entries(&entries)?,
        log_evidence: version.log_evidence(),
        signed_timestamps: timestamps
            .iter()
            .map(|raw| serde_json::from_str::<Rfc3161Timestamp>(raw.get()))
            .map(|timestamp| timestamp.map(|timestamp| timestamp.signed_timestamp))
            .collect::<Result<_, _>>()
            .map_err(broken)?,
    })
}

/// Whether the bytes are a bundle of a known version, of images or of files.
pub(super) fn is_bundle(bytes: &[u8]) -> bool {
    json::parse::<Wire<'_>>(bytes).is_ok_and(|wire| {
        Version::of(&wire.media_type).is_ok()
            && (wire.dsse_envelope.is_some() != wire.message_signature.is_some())
    })
}

/// A DSSE envelope with exactly one signature.
pub(super) struct Envelope {
    payload_type: String,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEnvelope {
    payload_type: String,
    #[serde(deserialize_with = "base64::bytes")]
    payload: Vec<u8>,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize)]
struct WireSignature {
    #[serde(deserialize_with = "base64::bytes")]
    sig: Vec<u8>,
}

impl Envelope {
    /// The bytes under its signature (DSSE v1, pre-authentication encoding).
    pub(super) fn pae(&self) -> Vec<u8> {
        sigstore_types::pae(&self.payload_type, &self.payload)
    }
}

/// Reads a DSSE envelope with exactly one signature.
pub(super) fn envelope(json: &[u8]) -> Result<Envelope, ParseFailure> {
    one_signature(json::parse(json))
}

fn one_signature(wire: Result<WireEnvelope, serde_json::Error>) -> Result<Envelope, ParseFailure> {
    let unreadable =
        |error| ParseFailure::malformed(format!("the DSSE envelope is not readable: {error}"));
    let wire = wire.map_err(|error| unreadable(error.to_string()))?;
    let found = wire.signatures.len();
    let [signature] = <[WireSignature; 1]>::try_from(wire.signatures).map_err(|_signatures| {
        unreadable(format!(
            "it must hold exactly one signature, and holds {found}"
        ))
    })?;
    if signature.sig.is_empty() {
        return Err(ParseFailure::malformed(
            "the signature in the DSSE envelope is empty",
        ));
    }
    Ok(Envelope {
        payload_type: wire.payload_type,
        payload: wire.payload,
        signature: signature.sig,
    })
}

/// Reads the statement in an envelope.
pub(super) fn statement(envelope: &Envelope, limits: &Limits) -> Result<Statement, ParseFailure> {
    if envelope.payload_type != IN_TOTO {
        return Err(ParseFailure::malformed(format!(
            "the DSSE envelope holds a `{}`, not an in-toto statement",
            envelope.payload_type
        )));
    }
    statement::parse(&envelope.payload, limits)
}

pub(super) fn chain_too_long(limits: &Limits) -> ParseFailure {
    ParseFailure::limit(format!(
        "the certificate chain of the signature has more than {} certificates",
        limits.chain_certificates_max
    ))
}

impl Version {
    /// Both spellings of each version.
    fn of(media_type: &str) -> Result<Self, ParseFailure> {
        match media_type {
            "application/vnd.dev.sigstore.bundle+json;version=0.1"
            | "application/vnd.dev.sigstore.bundle.v0.1+json" => Ok(Self::V01),
            "application/vnd.dev.sigstore.bundle+json;version=0.2"
            | "application/vnd.dev.sigstore.bundle.v0.2+json" => Ok(Self::V02),
            "application/vnd.dev.sigstore.bundle+json;version=0.3"
            | "application/vnd.dev.sigstore.bundle.v0.3+json" => Ok(Self::V03),
            other => Err(ParseFailure::malformed(format!(
                "`{other}` is not a known version of the Sigstore bundle"
            ))),
        }
    }

    /// Reads the type that a manifest declares for the bundle. Case and parameters are ignored.
    fn declared(layer_type: &str) -> Result<Self, ParseFailure> {
        let folded = layer_type.to_ascii_lowercase();
        let mut parameters = folded.split(';').skip(1).map(str::trim);
        let version = parameters.find(|parameter| parameter.starts_with("version="));
        match (media_type::essence(&folded), version) {
            (essence, None) => Self::of(essence),
            (essence, Some(version)) => Self::of(&format!("{essence};{version}")),
        }
    }

    fn log_evidence(self) -> LogEvidence {
        match self {
            Self::V01 => LogEvidence::Promise,
            Self::V02 | Self::V03 => LogEvidence::Proof,
        }
    }
}

fn signatory(
    version: Version,
    certificate: Option<X509Certificate>,
    chain: Option<WireChain<'_>>,
    key: Option<WirePublicKey>,
    limits: &Limits,
) -> Result<Signatory, ParseFailure> {
    let chain = match (certificate, chain, key) {
        (Some(certificate), None, None) => vec![certificate.raw_bytes],
        (None, Some(_), None) if version == Version::V03 => {
            return Err(ParseFailure::malformed(
                "a bundle v0.3 holds a certificate chain, it may hold only the signing certificate",
            ));
        }
        (None, Some(chain), None) => raw_chain(&chain.certificates, limits)?,
        (None, None, Some(key)) => {
            return Ok(Signatory {
                certificate: None,
                key_hint: Some(key.hint),
            });
        }
        _ => {
            return Err(ParseFailure::malformed(
                "the bundle names neither exactly one certificate, chain nor key",
            ));
        }
    };
    let Some((leaf, chain)) = chain.split_first() else {
        return Err(ParseFailure::malformed(
            "the certificate chain of the bundle is empty",
        ));
    };
    Ok(Signatory {
        certificate: Some(SigningCertificate::parse(leaf, chain)?),
        key_hint: None,
    })
}

fn raw_chain(
    certificates: &[&RawValue],
    limits: &Limits,
) -> Result<Vec<DerCertificate>, ParseFailure> {
    if certificates.len() > limits.chain_certificates_max {
        return Err(chain_too_long(limits));
    }
    certificates
        .iter()
        .map(|raw| serde_json::from_str::<X509Certificate>(raw.get()))
        .map(|certificate| certificate.map(|certificate| certificate.raw_bytes))
        .collect::<Result<_, _>>()
        .map_err(broken)
}

/// The same entry twice would count twice where entries are counted (CVE-2026-49834).
fn log_entries(raw: &[&RawValue]) -> Result<Vec<LogEntry>, ParseFailure> {
    let mut entries: Vec<LogEntry> = Vec::with_capacity(raw.len());
    for raw in raw {
        let entry = log_entry::from_bundle(raw.get())?;
        let again = |known: &LogEntry| {
            known.log_id == entry.log_id
                && (known.log_index == entry.log_index || known.body == entry.body)
        };
        if entries.iter().any(again) {
            return Err(ParseFailure::malformed(
                "the bundle holds a log entry twice",
            ));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn count(what: &str, found: usize, max: usize) -> Result<(), ParseFailure> {
    if found > max {
        return Err(ParseFailure::limit(format!(
            "the bundle holds {found} {what}, at most {max} are read"
        )));
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` calls it")]
fn broken(error: serde_json::Error) -> ParseFailure {
    ParseFailure::malformed(format!("the Sigstore bundle is not readable: {error}"))
}
