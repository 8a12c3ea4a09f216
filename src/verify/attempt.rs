//! One attempt: the steps in their order.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use jiff::Timestamp;

use super::{
    Attempt, Certificate, ClaimedSigner, Demand, Examined, FailedCheck, Failure, Proof,
    ProvenSigner, PublicKey, Purpose, Signer, certificate, name, timestamp, transparency_log,
};
use crate::foreign::clip;
use crate::oci::Digest;
use crate::signature::{
    Broken, Claim, Content, Defect, LogEntry, LoggedVerifier, Role, Signed, SigningCertificate,
};

/// The predicate type under which cosign v3 signs images.
const COSIGN_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// A check that failed, and why in one sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) check: FailedCheck,
    pub(super) reason: String,
}

/// Tries what a candidate holds.
pub(super) fn run(
    content: &Content,
    subject: &Digest,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Attempt {
    match content {
        Content::Broken(broken) if !concerns(broken.role, demand.purpose) => Attempt::NotApplicable,
        Content::Broken(broken) => Attempt::Failed(Box::new(broken_failure(broken))),
        Content::Signed(signed) if !applies(signed, demand.purpose) => Attempt::NotApplicable,
        Content::Signed(signed) => match prove(signed, subject, demand, now) {
            Ok(proof) => Attempt::Proven(Box::new(proof)),
            Err(refusal) => Attempt::Failed(Box::new(failure(&refusal, signed))),
        },
    }
}

/// Whether what a candidate holds is of the right purpose and shape.
pub(super) fn may_prove(content: &Content, purpose: Purpose<'_>) -> bool {
    match content {
        Content::Broken(_) => false,
        Content::Signed(signed) => applies(signed, purpose),
    }
}

/// What an attestation claims to be; cosign's signatures are statements, too.
pub(super) fn claimed_predicate_type(content: &Content) -> Option<String> {
    match content {
        Content::Broken(_) => None,
        Content::Signed(signed) => predicate_type(signed)
            .filter(|predicate_type| predicate_type != COSIGN_SIGNATURE)
            .map(|predicate_type| clip(&predicate_type)),
    }
}

fn concerns(role: Role, purpose: Purpose<'_>) -> bool {
    match (role, purpose) {
        (Role::Either, _)
        | (Role::Signature, Purpose::Signature)
        | (Role::Attestation, Purpose::Attestation { .. }) => true,
        (Role::Signature, Purpose::Attestation { .. })
        | (Role::Attestation, Purpose::Signature) => false,
    }
}

/// An SBOM or provenance by the same signer is no signature (cosign takes any), and neither is it another attestation
/// (CVE-2022-35929).
fn applies(signed: &Signed, purpose: Purpose<'_>) -> bool {
    let demanded = match purpose {
        Purpose::Signature => COSIGN_SIGNATURE,
        Purpose::Attestation { predicate_type } => predicate_type,
    };
    concerns(signed.role, purpose)
        && match &signed.claim {
            Claim::SimpleSigning(_) => true,
            Claim::Statement(statement) => statement.predicate_type == demanded,
        }
}

fn prove(
    signed: &Signed,
    subject: &Digest,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let public_key = check_signature(signed, demand)?;
    check_subject(signed, subject)?;
    if let Some(name) = demand.signed_name {
        name::check(signed, subject, name)?;
    }
    let logged = transparency_log::check(signed, public_key.der, demand, now)?;
    if demand.transparency_log && logged.entry.is_none() {
        return Err(Refusal {
            check: FailedCheck::TransparencyLog,
            reason: "the signature has no log entry; the authority requires one".to_owned(),
        });
    }
    if demand.signed_timestamp && signed.signed_timestamps.is_empty() {
        return Err(Refusal {
            check: FailedCheck::Timestamp,
            reason: "the signature has no signed timestamp; the authority requires one".to_owned(),
        });
    }
    let (signer, timestamps) = match &public_key.signer {
        SignedBy::Key(fingerprint) => (
            ProvenSigner::Key(*fingerprint),
            timestamp::check(signed, demand, now)?,
        ),
        SignedBy::Certificate(certificate) => {
            let certified = certificate::check(signed, certificate, &logged, demand, now)?;
            (
                ProvenSigner::Certificate(Box::new(certified.certificate)),
                certified.timestamps,
            )
        }
    };
    transparency_log::check_validity(&logged, &timestamps, demand.trusted_root)?;
    let signed_timestamp = timestamps.iter().min().copied();
    Ok(Proof {
        signer,
        verified_time: logged.times.iter().copied().chain(signed_timestamp).min(),
        transparency_log: logged.entry,
        signed_timestamp,
        annotations: annotations(signed, subject),
        predicate_type: predicate_type(signed),
        statement: statement(signed, demand.purpose),
    })
}

/// Whose signature it is, once it verifies.
struct Verified<'a> {
    der: &'a [u8],
    signer: SignedBy<'a>,
}

enum SignedBy<'a> {
    Key(Digest),
    Certificate(&'a SigningCertificate),
}

fn check_signature<'a>(signed: &'a Signed, demand: &Demand<'a>) -> Result<Verified<'a>, Refusal> {
    match demand.signer {
        Signer::Key(key) => {
            if !key.verifies(&signed.message, &signed.signature) {
                return Err(not_by_key(signed, key));
            }
            Ok(Verified {
                der: key.der(),
                signer: SignedBy::Key(key.fingerprint),
            })
        }
        Signer::Certificate => {
            let Some(certificate) = &signed.certificate else {
                return Err(Refusal {
                    check: FailedCheck::UntrustedKey,
                    reason: "the signature was made with a key and has no certificate that says whose it is"
                        .to_owned(),
                });
            };
            let verifies = PublicKey::from_der(&certificate.public_key)
                .map_err(|error| Refusal {
                    check: FailedCheck::InvalidCertificate,
                    reason: format!("the key in the certificate is not usable: {error}"),
                })?
                .verifies(&signed.message, &signed.signature);
            if !verifies {
                return Err(Refusal {
                    check: FailedCheck::InvalidSignature,
                    reason: format!(
                        "the signature does not verify with its certificate{}",
                        of_identity(certificate)
                    ),
                });
            }
            Ok(Verified {
                der: &certificate.public_key,
                signer: SignedBy::Certificate(certificate),
            })
        }
    }
}

/// Another's signature, unless a hint or a log entry says that it should have been this key's.
fn not_by_key(signed: &Signed, key: &PublicKey) -> Refusal {
    if claims_key(signed, key) {
        return Refusal {
            check: FailedCheck::InvalidSignature,
            reason: format!(
                "the signature says it is by the key {} and does not verify with it",
                key.fingerprint
            ),
        };
    }
    let found = match (&signed.certificate, signed.key_hint.as_deref()) {
        (Some(certificate), _) => format!("signed with a certificate{}", of_identity(certificate)),
        (None, Some(hint)) if !hint.is_empty() => {
            format!("signed with the key {}", describe_hint(hint))
        }
        (None, _) => "signed with another key".to_owned(),
    };
    Refusal {
        check: FailedCheck::UntrustedKey,
        reason: format!("{found}, not with the key {}", key.fingerprint),
    }
}

/// In the words that keys are shown in elsewhere, where it is the hint that cosign writes.
fn describe_hint(hint: &str) -> String {
    let bytes = BASE64_STANDARD.decode(hint).unwrap_or_default();
    <[u8; 32]>::try_from(bytes).map_or_else(
        |_not_a_fingerprint| format!("`{hint}`"),
        |fingerprint| format!("sha256:{}", hex::encode(fingerprint)),
    )
}

fn of_identity(certificate: &SigningCertificate) -> String {
    certificate.identity.as_ref().map_or_else(
        |_unreadable| String::new(),
        |identity| format!(" of {identity}"),
    )
}

/// The digest asked for, byte for byte: a signature of another image of the same signer is a good signature.
fn check_subject(signed: &Signed, subject: &Digest) -> Result<(), Refusal> {
    let found = match &signed.claim {
        Claim::SimpleSigning(payload) if payload.digest == subject.to_string() => return Ok(()),
        Claim::Statement(statement) if statement.subject(subject).is_some() => return Ok(()),
        Claim::SimpleSigning(payload) => payload.digest.clone(),
        Claim::Statement(statement) => statement.first_digest(),
    };
    Err(Refusal {
        check: FailedCheck::WrongSubject,
        reason: format!("the signature is for {found}, not {subject}"),
    })
}

fn annotations(signed: &Signed, subject: &Digest) -> BTreeMap<String, String> {
    match &signed.claim {
        Claim::SimpleSigning(payload) => payload.annotations.clone(),
        Claim::Statement(statement) => statement
            .subject(subject)
            .map(|subject| subject.annotations.clone())
            .unwrap_or_default(),
    }
}

fn statement(signed: &Signed, purpose: Purpose<'_>) -> Option<Bytes> {
    match (&signed.claim, purpose) {
        (Claim::Statement(_), Purpose::Attestation { .. }) => Some(signed.payload.clone()),
        (Claim::Statement(_) | Claim::SimpleSigning(_), Purpose::Signature)
        | (Claim::SimpleSigning(_), Purpose::Attestation { .. }) => None,
    }
}

/// Whether it says itself, or a log entry does, that it was made with `key`.
pub(super) fn claims(content: &Content, key: &PublicKey) -> bool {
    match content {
        Content::Broken(_) => false,
        Content::Signed(signed) => claims_key(signed, key),
    }
}

/// Returns true if the signature verifies with `key`, over whatever it is for.
pub(super) fn is_signed_with(content: &Content, key: &PublicKey) -> bool {
    match content {
        Content::Broken(_) => false,
        Content::Signed(signed) => key.verifies(&signed.message, &signed.signature),
    }
}

/// Returns the signer by the candidate's own claim.
pub(super) fn claimed_signer(content: &Content) -> ClaimedSigner<'_> {
    let Content::Signed(signed) = content else {
        return ClaimedSigner::Nobody;
    };
    if let Some(certificate) = &signed.certificate {
        return ClaimedSigner::Certificate(certificate::claimed_names(certificate));
    }
    let names_key = |entry: &LogEntry| {
        let logged = entry.logged.as_ref();
        logged.is_ok_and(|logged| matches!(logged.verifier, LoggedVerifier::PublicKey(_)))
    };
    if signed.key_hint.is_some() || signed.log_entries.iter().any(names_key) {
        ClaimedSigner::Key
    } else {
        ClaimedSigner::Nobody
    }
}

fn claims_key(signed: &Signed, key: &PublicKey) -> bool {
    signed.key_hint.as_deref() == Some(key.hint().as_str())
        || signed.log_entries.iter().any(|entry| {
            entry.logged.as_ref().is_ok_and(
                |logged| matches!(&logged.verifier, LoggedVerifier::PublicKey(der) if der == key.der()),
            )
        })
}

fn predicate_type(signed: &Signed) -> Option<String> {
    match &signed.claim {
        Claim::SimpleSigning(_) => None,
        Claim::Statement(statement) => Some(statement.predicate_type.clone()),
    }
}

fn broken_failure(broken: &Broken) -> Failure {
    Failure {
        check: match broken.defect {
            Defect::Absent | Defect::Malformed => FailedCheck::Malformed,
            Defect::LimitExceeded => FailedCheck::LimitExceeded,
        },
        examined: match broken.defect {
            Defect::Absent => Examined::Absent,
            Defect::LimitExceeded => Examined::Cut,
            Defect::Malformed => Examined::Shape,
        },
        reason: clip(&broken.reason),
        certificate: None,
        transparency_log: None,
        predicate_type: None,
    }
}

fn failure(refusal: &Refusal, signed: &Signed) -> Failure {
    Failure {
        check: refusal.check,
        examined: Examined::Content,
        reason: clip(&refusal.reason),
        certificate: signed
            .certificate
            .as_ref()
            .map(|certificate| Box::new(clipped_certificate(certificate::claimed(certificate)))),
        transparency_log: signed.log_entries.first().map(transparency_log::claimed),
        predicate_type: predicate_type(signed).map(|predicate_type| clip(&predicate_type)),
    }
}

fn clipped_certificate(certificate: Certificate) -> Certificate {
    Certificate {
        identity: clip(&certificate.identity),
        oidc_issuer: clip(&certificate.oidc_issuer),
        serial: clip(&certificate.serial),
        extensions: certificate
            .extensions
            .into_iter()
            .map(|(name, value)| (name, clip(&value)))
            .collect(),
        ..certificate
    }
}
