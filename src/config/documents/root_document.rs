//! Trusted roots put together from the certificates and keys that a document holds or names.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};

use crate::oci::Digest;
use crate::verify::{RootParts, TrustedRoot, TrustedRootError};

/// Whom to believe, in the form of a `trusted_root.json`.
#[derive(Debug, Default)]
pub(super) struct RootDocument {
    pub(super) certificate_authorities: Vec<Value>,
    pub(super) transparency_logs: Vec<Value>,
    pub(super) certificate_transparency_logs: Vec<Value>,
    pub(super) timestamp_authorities: Vec<Value>,
}

/// Who an authority with certificates is.
#[derive(Debug, Default)]
pub(super) struct Operator {
    pub(super) organization: String,
    pub(super) common_name: String,
    pub(super) uri: String,
}

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";

impl RootDocument {
    pub(super) fn to_root(&self) -> Result<TrustedRoot, TrustedRootError> {
        TrustedRoot::from_json(&self.to_json())
    }

    /// What of it is there, in place of what another root has.
    pub(super) fn to_parts(&self) -> Result<RootParts, TrustedRootError> {
        // By itself it must be usable, too. Whatever is left out of it would be believed by nobody.
        let root = self.to_root()?;
        match root.notes().first() {
            Some(note) => Err(TrustedRootError(note.as_str().into())),
            None => RootParts::from_json(&self.to_json()),
        }
    }

    fn to_json(&self) -> String {
        let document = json!({
            "mediaType": MEDIA_TYPE,
            "certificateAuthorities": self.certificate_authorities,
            "tlogs": self.transparency_logs,
            "ctlogs": self.certificate_transparency_logs,
            "timestampAuthorities": self.timestamp_authorities,
        });
        document.to_string()
    }
}

/// An authority whose certificates, in PEM, end with its root; nothing if there is none or one is broken.
pub(super) fn authority(operator: &Operator, pem: &[u8]) -> Option<Value> {
    Some(authority_of(operator, &certificates(pem)?))
}

/// An authority for each of the certificates in PEM, every one of which is a root; nothing if there is none or one is
/// broken.
pub(super) fn roots(pem: &[u8]) -> Option<Vec<Value>> {
    let certificates = certificates(pem)?;
    let chains = certificates.chunks(1);
    let operator = Operator::default();
    Some(chains.map(|root| authority_of(&operator, root)).collect())
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    certificates.ok().filter(|found| !found.is_empty())
}

/// An authority whose certificates end with its root.
pub(super) fn authority_of(operator: &Operator, chain: &[CertificateDer<'_>]) -> Value {
    let certificates: Vec<_> = chain
        .iter()
        .map(|certificate| json!({ "rawBytes": BASE64_STANDARD.encode(certificate) }))
        .collect();
    json!({
        "subject": {
            "organization": operator.organization,
            "commonName": operator.common_name,
        },
        "uri": operator.uri,
        "certChain": { "certificates": certificates },
    })
}

/// A log with its public key in PEM; nothing if that is not exactly one.
pub(super) fn log(address: &str, pem: &[u8]) -> Option<Value> {
    let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
    let key = keys.next()?.ok()?;
    if keys.next().is_some() {
        return None;
    }
    Some(json!({
        "baseUrl": address,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": BASE64_STANDARD.encode(&key),
            // A key in PEM comes without the name of its algorithm: it may sign with each that it can.
            "keyDetails": "PUBLIC_KEY_DETAILS_UNSPECIFIED",
        },
        // RFC 6962, section 3.2, and Rekor: a log's id is the hash of its key.
        "logId": { "keyId": BASE64_STANDARD.encode(Digest::sha256(&key).as_bytes()) },
    }))
}
