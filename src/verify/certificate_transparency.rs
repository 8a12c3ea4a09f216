//! Promises of certificate-transparency logs within certificates (RFC 6962, 3.2 and 3.3).

use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{Decode as _, Encode as _};

use super::algorithm::{Algorithm, Hash};
use super::log_keys::{LogId, LogKeys};
use crate::signature::read_certificate;

const PROMISES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// A certificate is in no trusted log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SctError {
    /// It carries no promise.
    #[error("the certificate has no signed certificate timestamp")]
    Missing,
    /// It carries several; Fulcio embeds one.
    #[error("the certificate has {0} signed certificate timestamps, not exactly one")]
    Several(usize),
    /// The promise cannot be read.
    #[error("the signed certificate timestamp is not readable")]
    Malformed,
    /// No key for the log counts at the time.
    #[error("the log {log} is not trusted for a promise of {time}")]
    UnknownLog {
        /// In hex.
        log: String,
        /// When it promised.
        time: Timestamp,
    },
    /// The log did not sign it.
    #[error("the signed certificate timestamp is not by the log {0}")]
    Signature(String),
}

/// A promise as it stands in a certificate.
struct Promise<'a> {
    log: LogId,
    /// In milliseconds since 1970.
    milliseconds: u64,
    extensions: &'a [u8],
    /// Hash and kind of signature (RFC 5246, 7.4.1.4.1).
    algorithm: [u8; 2],
    signature: &'a [u8],
}

/// Proves that a trusted log promised to publish the certificate. `issuer` is the key of who issued it, from its path (DER
/// SubjectPublicKeyInfo): two authorities may have one name.
pub(super) fn check(certificate: &[u8], issuer: &[u8], logs: &LogKeys) -> Result<(), SctError> {
    let certificate = read_certificate(certificate).map_err(|_broken| SctError::Malformed)?;
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut lists = extensions.filter(|extension| extension.extn_id == PROMISES);
    let list = match (lists.next(), lists.next()) {
        (Some(list), None) => list.extn_value.as_bytes(),
        (None, _) => return Err(SctError::Missing),
        (Some(_), Some(_)) => return Err(SctError::Malformed),
    };
    let list = OctetStringRef::from_der(list).map_err(|_broken| SctError::Malformed)?;
    let promise = only_promise(list.as_bytes())?;
    let time = i64::try_from(promise.milliseconds)
        .ok()
        .and_then(|time| Timestamp::from_millisecond(time).ok())
        .ok_or(SctError::Malformed)?;
    let log = || hex::encode(promise.log);
    let key = logs
        .at(&promise.log, time)
        .ok_or_else(|| SctError::UnknownLog { log: log(), time })?;
    let algorithm = algorithm(promise.algorithm).ok_or(SctError::Malformed)?;
    let signed = signed_part(&certificate, issuer, &promise).ok_or(SctError::Malformed)?;
    if key.verifies_by(algorithm, &signed, promise.signature) {
        Ok(())
    } else {
        Err(SctError::Signature(log()))
    }
}

fn only_promise(list: &[u8]) -> Result<Promise<'_>, SctError> {
    let mut reader = Reader(list);
    let mut promises = Reader(reader.vector().ok_or(SctError::Malformed)?);
    let mut found = Vec::new();
    while !promises.0.is_empty() {
        found.push(promises.vector().ok_or(SctError::Malformed)?);
    }
    if !reader.0.is_empty() {
        return Err(SctError::Malformed);
    }
    match found.as_slice() {
        [promise] => Promise::read(promise).ok_or(SctError::Malformed),
        [] => Err(SctError::Missing),
        promises => Err(SctError::Several(promises.len())),
    }
}

impl<'a> Promise<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [VERSION_1] = reader.array()? else {
            return None;
        };
        let promise = Self {
            log: reader.array()?,
            milliseconds: u64::from_be_bytes(reader.array()?),
            extensions: reader.vector()?,
            algorithm: reader.array()?,
            signature: reader.vector()?,
        };
        reader.0.is_empty().then_some(promise)
    }
}

const VERSION_1: u8 = 0;

/// Reads the bytes of TLS structures (RFC 5246, 4).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Bytes after their length in two bytes.
    fn vector(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }
}

fn algorithm([hash, signature]: [u8; 2]) -> Option<Algorithm> {
    let hash = match hash {
        4 => Hash::Sha256,
        5 => Hash::Sha384,
        6 => Hash::Sha512,
        // RFC 8446, 4.2.3: Ed25519 hashes by itself.
        8 if signature == 7 => return Some(Algorithm::Ed25519),
        _ => return None,
    };
    match signature {
        1 => Some(Algorithm::RsaPkcs1(hash)),
        3 => Some(Algorithm::Ecdsa(hash)),
        _ => None,
    }
}

/// Returns the bytes under a log's signature: the certificate without its promises, with the hash of its issuer's key.
fn signed_part(certificate: &Certificate, issuer: &[u8], promise: &Promise<'_>) -> Option<Vec<u8>> {
    const CERTIFICATE_TIMESTAMP: u8 = 0;
    const PRECERTIFICATE: [u8; 2] = [0, 1];
    let mut body = certificate.tbs_certificate.clone();
    if let Some(extensions) = &mut body.extensions {
        extensions.retain(|extension| extension.extn_id != PROMISES);
    }
    let body = body.to_der().ok()?;
    let [0, length @ ..] = u32::try_from(body.len()).ok()?.to_be_bytes() else {
        return None;
    };
    let mut signed = vec![VERSION_1, CERTIFICATE_TIMESTAMP];
    signed.extend_from_slice(&promise.milliseconds.to_be_bytes());
    signed.extend_from_slice(&PRECERTIFICATE);
    signed.extend_from_slice(Hash::Sha256.digest(issuer).as_ref());
    signed.extend_from_slice(&length);
    signed.extend_from_slice(&body);
    signed.extend_from_slice(&u16::try_from(promise.extensions.len()).ok()?.to_be_bytes());
    signed.extend_from_slice(promise.extensions);
    Some(signed)
}
