//! Just enough of a policy to judge the corpus: any authority, exact and anchored matching.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use crate::verify::{Certificate, FailedCheck, Proof, ProvenSigner};

#[derive(Deserialize)]
pub(super) struct Policy {
    #[serde(default)]
    pub(super) authorities: Vec<Authority>,
    #[serde(default)]
    pub(super) attestations: Vec<Attestation>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) threshold: Option<usize>,
    pub(super) signature_repository: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Attestation {
    pub(super) predicate_type: String,
    pub(super) authorities: Vec<Authority>,
}

#[derive(Deserialize)]
pub(super) struct Authority {
    pub(super) key: Option<String>,
    pub(super) trusted_root: Option<String>,
    certificate_identity: Option<String>,
    certificate_identity_regexp: Option<String>,
    certificate_oidc_issuer: Option<String>,
    certificate_oidc_issuer_regexp: Option<String>,
    pub(super) require_tlog: bool,
    #[serde(default = "yes")]
    pub(super) require_sct: bool,
    #[serde(default)]
    pub(super) require_signed_timestamp: bool,
}

fn yes() -> bool {
    true
}

/// Whether the proof is by whom the policy wants.
pub(super) fn suffices(
    proof: &Proof,
    policy: &Policy,
    authority: &Authority,
) -> Result<(), (FailedCheck, String)> {
    match &proof.signer {
        ProvenSigner::Key(_) => assert!(authority.key.is_some()),
        ProvenSigner::Certificate(certificate) => {
            assert!(proof.verified_time.is_some());
            who(certificate, authority).map_err(|check| (check, format!("{certificate:?}")))?;
        }
    }
    let annotated = policy
        .annotations
        .iter()
        .all(|(key, value)| proof.annotations.get(key) == Some(value));
    if !annotated {
        let found = format!("{:?}", proof.annotations);
        return Err((FailedCheck::AnnotationMismatch, found));
    }
    Ok(())
}

fn who(certificate: &Certificate, authority: &Authority) -> Result<(), FailedCheck> {
    let matches = |exact: &Option<String>, expression: &Option<String>, value: &str| match (
        exact, expression,
    ) {
        (Some(exact), _) => exact == value,
        (None, Some(source)) => Regex::new(&format!("^(?:{source})$"))
            .unwrap()
            .is_match(value),
        (None, None) => panic!("an identity without a matcher"),
    };
    if !matches(
        &authority.certificate_identity,
        &authority.certificate_identity_regexp,
        &certificate.identity,
    ) {
        return Err(FailedCheck::WrongIdentity);
    }
    if !matches(
        &authority.certificate_oidc_issuer,
        &authority.certificate_oidc_issuer_regexp,
        &certificate.oidc_issuer,
    ) {
        return Err(FailedCheck::WrongIssuer);
    }
    Ok(())
}

pub(super) fn kind(check: FailedCheck) -> &'static str {
    match check {
        FailedCheck::Malformed => "malformed",
        FailedCheck::LimitExceeded => "limit_exceeded",
        FailedCheck::UntrustedKey => "untrusted_key",
        FailedCheck::InvalidSignature => "invalid_signature",
        FailedCheck::WrongSubject => "wrong_subject",
        FailedCheck::WrongName => "wrong_name",
        FailedCheck::TransparencyLog => "transparency_log",
        FailedCheck::Timestamp => "timestamp",
        FailedCheck::InvalidCertificate => "invalid_certificate",
        FailedCheck::WrongIdentity => "wrong_identity",
        FailedCheck::WrongIssuer => "wrong_issuer",
        FailedCheck::AnnotationMismatch => "annotation_mismatch",
    }
}
