//! Signature material + trusted root + time → proof (pure: no I/O, no clock, no logging).
//!
//! [`verify`] proves *who* signed *which digest* and *when*; whether that signer suffices is for [`crate::policy`].

mod algorithm;
mod attempt;
mod authority;
mod certificate;
mod certificate_authorities;
mod certificate_transparency;
pub mod file;
mod issued;
mod issued_by;
mod issuing;
mod log_keys;
mod name;
mod path;
mod public_key;
mod root_parts;
mod signing_certificate;
mod timestamp;
mod timestamp_authority;
mod timestamp_chain;
mod timestamp_token;
mod transparency_log;
mod trusted_root;

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::oci::{Digest, Tag};
use crate::signature::{Candidate, FULCIO_EXTENSIONS};

pub use authority::NoAuthority;
pub use certificate_authorities::{CertificateAuthorities, CertificateAuthoritiesError};
pub use issued_by::{IssuedCertificate, NotIssuedError, read_issued};
pub use public_key::{KeyError, PublicKey};
pub use root_parts::RootParts;
pub use timestamp_chain::{TimestampChain, TimestampChainError, timestamp_chains};
pub use trusted_root::{TrustedAuthority, TrustedRole, TrustedRoot, TrustedRootError};

/// Whose signature is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'a> {
    /// This key's.
    Key(&'a PublicKey),
    /// That of any identity certified by the trusted root; policy decides which identity suffices.
    Certificate,
}

/// What the signature must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// A cosign image signature: simple signing, or a bundle with predicate type `https://sigstore.dev/cosign/sign/v1`.
    Signature,
    /// An attestation with this predicate type: legacy `.att` DSSE or a bundle.
    Attestation {
        /// The predicate type as it must stand in the signed statement.
        predicate_type: &'a str,
    },
}

/// Everything demanded of one signature, except who the identity must be.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// Whose signature.
    pub signer: Signer<'a>,
    /// Signature or attestation.
    pub purpose: Purpose<'a>,
    /// What is believed about certificates, logs and time.
    pub trusted_root: &'a TrustedRoot,
    /// Whether an entry in a transparency log is demanded. What is present must be right in any case.
    pub transparency_log: bool,
    /// Whether an RFC 3161 timestamp is demanded.
    pub signed_timestamp: bool,
    /// Whether a signed certificate timestamp is demanded (certificates only).
    pub sct: bool,
    /// The name that the signature must carry, if any.
    pub signed_name: Option<NameDemand<'a>>,
}

/// The name that a signature must carry.
#[derive(Debug, Clone, Copy)]
pub struct NameDemand<'a> {
    /// The canonical name of the repository in it.
    pub repository: &'a str,
    /// What must follow.
    pub version: NamedVersion<'a>,
}

/// What must follow the repository in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedVersion<'a> {
    /// Anything, or nothing.
    Any,
    /// A tag or a digest, whichever.
    Some,
    /// Exactly this tag and this digest, where they are there.
    Exactly {
        /// The tag.
        tag: Option<&'a Tag>,
        /// The digest.
        digest: Option<&'a Digest>,
    },
}

/// What a signing certificate says, once its chain is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The one subject alternative name.
    pub identity: String,
    /// Who vouched for the identity: Fulcio extension 1.3.6.1.4.1.57264.1.8, or .1.1. Empty where the certificate
    /// names nobody, which only certificate authorities of one's own may leave out.
    pub oidc_issuer: String,
    /// The serial number in hex.
    pub serial: String,
    /// SHA-256 of the certificate (DER).
    pub fingerprint: Digest,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Fulcio extensions by name (`build_signer_uri`, `source_repository_ref`, …; see Fulcio's oid-info).
    pub extensions: BTreeMap<String, String>,
}

impl Certificate {
    /// Returns the names by which policies choose signers.
    #[must_use]
    pub fn names(&self) -> CertificateNames<'_> {
        CertificateNames {
            identity: &self.identity,
            oidc_issuer: &self.oidc_issuer,
            extensions: &self.extensions,
        }
    }
}

/// The log entry of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransparencyLog {
    /// The log's key id, in hex.
    pub log_id: String,
    /// The index of the entry in the log.
    pub log_index: u64,
    /// The log's claim of when the entry was made; Rekor v2 makes none.
    pub integrated_time: Option<Timestamp>,
}

/// Who signed, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProvenSigner {
    /// The key with this fingerprint.
    Key(Digest),
    /// The identity in this certificate.
    Certificate(Box<Certificate>),
}

/// The proof that a signer signed exactly the digest asked about.
///
/// Its fields are readable and it can only be made by [`verify`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Proof {
    /// Who signed.
    pub signer: ProvenSigner,
    /// The log entry, if one was present and right.
    pub transparency_log: Option<TransparencyLog>,
    /// The time in the RFC 3161 timestamp, if one was present and right.
    pub signed_timestamp: Option<Timestamp>,
    /// The earliest verified time of signing, by timestamp or log; a key signature may have none.
    pub verified_time: Option<Timestamp>,
    /// Annotations under the signature (`optional` of the payload; `annotations` of the matching subject).
    pub annotations: BTreeMap<String, String>,
    /// The predicate type, for DSSE content.
    pub predicate_type: Option<String>,
    /// The whole signed in-toto statement, for attestations. It is large and may be anybody's: read it when it counts.
    pub statement: Option<Bytes>,
}

/// The check that failed first, in the order in which the checks of one attempt run.
///
/// A later variant got further than an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailedCheck {
    /// A bundle or layer of the right shape that is broken.
    Malformed,
    /// More entries, timestamps, certificates or subjects than the limits allow.
    LimitExceeded,
    /// No key of the authority verifies it and nothing says whose it claims to be.
    UntrustedKey,
    /// It claims to be the authority's (key hint, certificate, log entry) and does not verify.
    InvalidSignature,
    /// It is for another digest.
    WrongSubject,
    /// The name inside is another one.
    WrongName,
    /// The log entry is missing, wrong, or for something else.
    TransparencyLog,
    /// The signed timestamp is missing or wrong, or no time is proven.
    Timestamp,
    /// The certificate, its chain, its usage, its SCT or its number of names.
    InvalidCertificate,
    /// The identity is not the one demanded (raised by policy).
    WrongIdentity,
    /// The issuer is not the one demanded (raised by policy), or is missing or contradictory.
    WrongIssuer,
    /// A demanded annotation is missing or different (raised by policy).
    AnnotationMismatch,
}

/// How much of a candidate that failed was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examined {
    /// Nothing: the registry lists it and does not have it.
    Absent,
    /// Nothing or its beginning: it exceeds a limit, and what it says is not known.
    Cut,
    /// Its shape, which is broken.
    Shape,
    /// Its content: signatures were or may have been verified, whatever check failed.
    Content,
}

/// Why a candidate does not prove what was demanded.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The check that failed first.
    pub check: FailedCheck,
    /// One sentence, without the final stop, in the terms of the policy: what was expected and what was found.
    pub reason: String,
    /// How much of it there was to look at.
    pub examined: Examined,
    /// What the certificate says, if there is a readable one; nothing in it is proven.
    pub certificate: Option<Box<Certificate>>,
    /// What the log entry says, if there is one; nothing in it is proven.
    pub transparency_log: Option<TransparencyLog>,
    /// The predicate type it claims, if it has one.
    pub predicate_type: Option<String>,
}

/// The outcome of one attempt.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// The candidate is of another purpose (an attestation where a signature is asked for, another predicate type):
    /// no attempt at all.
    NotApplicable,
    /// It proves what was demanded.
    Proven(Box<Proof>),
    /// It does not.
    Failed(Box<Failure>),
}

/// The names of the extensions that Fulcio puts into certificates (Fulcio, "oid-info"), as
/// [`Certificate::extensions`] has them.
pub fn extension_names() -> impl Iterator<Item = &'static str> {
    let of_certificates = FULCIO_EXTENSIONS.iter();
    let mut names: Vec<_> = of_certificates.map(|(_, name)| *name).collect();
    // The issuer has two identifiers.
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

/// The name of the extension that `text` names or is the object identifier of (`1.3.6.1.4.1.57264.1.14`).
#[must_use]
pub fn extension_name(text: &str) -> Option<&'static str> {
    let arc = text.strip_prefix("1.3.6.1.4.1.57264.1.");
    let of_certificates = FULCIO_EXTENSIONS.iter();
    of_certificates
        .filter(|(known, name)| match arc {
            Some(arc) => known.to_string() == arc,
            None => *name == text,
        })
        .map(|(_, name)| *name)
        .next()
}

/// Tries `candidate` as a signature of exactly `subject`.
///
/// Steps, in this order: shape and limits, signature, subject, name, log, time, certificate. The first that fails is
/// the outcome. `limits` were applied when the candidate was parsed. `now` only bounds times from above.
#[must_use]
pub fn verify(
    candidate: &Candidate,
    subject: &Digest,
    demand: &Demand<'_>,
    _limits: &Limits,
    now: Timestamp,
) -> Attempt {
    attempt::run(candidate.content.as_ref(), subject, demand, now)
}

/// Whether `candidate` is of the right purpose and shape to prove anything, given the right key and trusted root.
#[must_use]
pub fn may_prove(candidate: &Candidate, purpose: Purpose<'_>) -> bool {
    attempt::may_prove(candidate.content.as_ref(), purpose)
}

/// The signer of a candidate by its own claim.
#[derive(Debug, Clone, Copy)]
pub enum ClaimedSigner<'a> {
    /// It does not say.
    Nobody,
    /// The holder of a key that it or a log entry names. [`claims_key`] tells which.
    Key,
    /// The owner of a certificate.
    Certificate(CertificateNames<'a>),
}

/// The names in a certificate by which policies choose signers. A name that it does not have is empty.
#[derive(Debug, Clone, Copy)]
pub struct CertificateNames<'a> {
    /// The subject alternative name.
    pub identity: &'a str,
    /// The issuer of the identity.
    pub oidc_issuer: &'a str,
    /// Fulcio extensions by name.
    pub extensions: &'a BTreeMap<String, String>,
}

/// Whether `candidate` or one of its log entries says that it was made with `key`; nothing in it is proven.
#[must_use]
pub fn claims_key(candidate: &Candidate, key: &PublicKey) -> bool {
    attempt::claims(candidate.content.as_ref(), key)
}

/// Returns true if `candidate` was signed with `key`. Nothing else about it is checked.
#[must_use]
pub fn is_signed_with(candidate: &Candidate, key: &PublicKey) -> bool {
    attempt::is_signed_with(candidate.content.as_ref(), key)
}

/// Returns who made `candidate` by its own claim; nothing in it is proven.
#[must_use]
pub fn claimed_signer(candidate: &Candidate) -> ClaimedSigner<'_> {
    attempt::claimed_signer(candidate.content.as_ref())
}

/// The predicate type that an attestation claims, in short and on one line; nothing for signatures.
#[must_use]
pub fn claimed_predicate_type(candidate: &Candidate) -> Option<String> {
    attempt::claimed_predicate_type(candidate.content.as_ref())
}

/// The tag in the name that `candidate` carries for `subject`, where there is one and no digest beside it; proven once
/// the candidate is.
#[must_use]
pub fn claimed_tag(candidate: &Candidate, subject: &Digest) -> Option<Tag> {
    name::claimed_tag(candidate.content.as_ref(), subject)
}

#[cfg(test)]
mod tests;
