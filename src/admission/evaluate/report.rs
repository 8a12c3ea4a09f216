//! What the decision log keeps of each attempt.

use super::attempts::Refusal;
use crate::decision_log::{
    AttemptOutcome, AttemptReport, AuthorityReport, CertificateReport, KeyReport,
};
use crate::policy::{Authority, AuthoritySigner, KeyVersion};
use crate::signature::Candidate;
use crate::verify::{Attempt, Certificate, Failure, Proof, ProvenSigner};

pub(super) fn attempt(
    candidate: &Candidate,
    authority: &Authority,
    version: Option<&KeyVersion>,
    attempt: &Attempt,
    refusal: Option<&Refusal>,
) -> AttemptReport {
    let key = match (&authority.signer, version) {
        (AuthoritySigner::Key { reference, .. }, Some(version)) => Some(KeyReport {
            reference: reference.clone(),
            version: version.version.clone(),
            fingerprint: version.key.fingerprint,
        }),
        (AuthoritySigner::Key { .. }, None) | (AuthoritySigner::Identity(_), _) => None,
    };
    let mut report = AttemptReport {
        source: candidate.source,
        artifact: candidate.artifact,
        format: candidate.format,
        authority: authority.name.clone(),
        outcome: match refusal {
            None => AttemptOutcome::Verified,
            Some(_) => AttemptOutcome::Failed,
        },
        kind: refusal.map(|refusal| refusal.kind.as_str().to_owned()),
        reason: refusal.map(|refusal| refusal.reason.clone()),
        predicate_type: None,
        certificate: None,
        key,
        transparency_log: None,
        signed_timestamp: None,
    };
    match attempt {
        Attempt::NotApplicable => {}
        Attempt::Proven(proof) => fill_from_proof(&mut report, proof),
        Attempt::Failed(failure) => fill_from_failure(&mut report, failure),
    }
    report
}

/// Each authority once, satisfied if it vouched anywhere in the policy.
pub(super) fn authorities<'a>(
    vouched: impl Iterator<Item = (&'a str, bool)>,
) -> Vec<AuthorityReport> {
    let mut reports: Vec<AuthorityReport> = Vec::new();
    for (name, satisfied) in vouched {
        match reports.iter_mut().find(|report| report.name == name) {
            Some(report) => report.satisfied |= satisfied,
            None => reports.push(AuthorityReport {
                name: name.to_owned(),
                satisfied,
            }),
        }
    }
    reports
}

fn fill_from_proof(report: &mut AttemptReport, proof: &Proof) {
    report.predicate_type.clone_from(&proof.predicate_type);
    report.transparency_log.clone_from(&proof.transparency_log);
    report.signed_timestamp = proof.signed_timestamp;
    if let ProvenSigner::Certificate(certificate) = &proof.signer {
        report.certificate = Some(certificate.as_ref().into());
    }
}

fn fill_from_failure(report: &mut AttemptReport, failure: &Failure) {
    report.predicate_type.clone_from(&failure.predicate_type);
    report
        .transparency_log
        .clone_from(&failure.transparency_log);
    report.certificate = failure.certificate.as_deref().map(Into::into);
}

impl From<&Certificate> for CertificateReport {
    fn from(certificate: &Certificate) -> Self {
        Self {
            identity: certificate.identity.clone(),
            oidc_issuer: certificate.oidc_issuer.clone(),
            serial: certificate.serial.clone(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            extensions: certificate.extensions.clone(),
        }
    }
}
