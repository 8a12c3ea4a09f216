//! What policy asks of a proven signature: whose it is, how old, what it carries, and that nobody revoked it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::{Attempts, Rank, Refusal, refusal};
use crate::admission::denial::Kind;
use crate::oci::Digest;
use crate::policy::{
    Authority, AuthoritySigner, IdentityRequirement, Matcher, Policy, serial_number,
};
use crate::signature::Candidate;
use crate::verify::{
    self, Certificate, CertificateNames, ClaimedSigner, FailedCheck, Proof, ProvenSigner,
};

/// Who vouched: two signatures count once if these are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::admission::evaluate) enum Voucher {
    Key(Digest),
    Identity {
        identity: String,
        oidc_issuer: String,
    },
}

impl Attempts<'_> {
    /// What policy asks of a proven signature: identity, issuer, extensions, age, and that nothing is revoked.
    pub(super) fn judge(
        &mut self,
        policy: &Policy,
        authority: &Authority,
        proof: &Proof,
    ) -> Result<Voucher, Refusal> {
        let voucher = match (&proof.signer, &authority.signer) {
            (ProvenSigner::Key(fingerprint), AuthoritySigner::Key { keys, .. })
                if keys
                    .versions()
                    .iter()
                    .any(|version| version.key.fingerprint == *fingerprint) =>
            {
                Voucher::Key(*fingerprint)
            }
            (ProvenSigner::Certificate(certificate), AuthoritySigner::Identity(requirement)) => {
                judge_identity(requirement, certificate.names())?
            }
            (ProvenSigner::Key(_), _) | (_, AuthoritySigner::Key { .. }) => {
                return Err(refusal(
                    FailedCheck::UntrustedKey,
                    "it was not made with the authority's key".to_owned(),
                ));
            }
        };
        let revoked = |reason| Refusal {
            rank: Rank::Revoked,
            kind: Kind::Revoked,
            reason,
        };
        if self.is_revoked(&voucher) {
            let reason = format!("it was made by {voucher}, which is revoked");
            return Err(revoked(reason));
        }
        if let ProvenSigner::Certificate(certificate) = &proof.signer
            && self.is_certificate_revoked(certificate)
        {
            let serial = &certificate.serial;
            let reason =
                format!("it was made by {voucher} with the certificate {serial}, which is revoked");
            return Err(revoked(reason));
        }
        self.judge_age(policy, proof)?;
        Ok(voucher)
    }

    fn is_revoked(&self, voucher: &Voucher) -> bool {
        let revoked = &self.policies.revoked;
        match voucher {
            Voucher::Key(fingerprint) => revoked.keys.contains(fingerprint),
            Voucher::Identity { identity, .. } => revoked
                .identities
                .iter()
                .any(|matcher| matcher.matches(identity)),
        }
    }

    fn is_certificate_revoked(&self, certificate: &Certificate) -> bool {
        let revoked = &self.policies.revoked;
        revoked.certificates.contains(&certificate.fingerprint)
            || serial_number(&certificate.serial)
                .is_some_and(|serial| revoked.serial_numbers.contains(&serial))
    }

    fn judge_age(&mut self, policy: &Policy, proof: &Proof) -> Result<(), Refusal> {
        let Some(age_max) = policy.max_signature_age else {
            return Ok(());
        };
        let too_old = |reason| Refusal {
            rank: Rank::Age,
            kind: Kind::SignatureTooOld,
            reason,
        };
        let Some(signed) = proof.verified_time else {
            return Err(too_old(
                "its age is limited and no time of signing is proven".to_owned(),
            ));
        };
        let until = signed.checked_add(age_max).unwrap_or(Timestamp::MAX);
        if until <= self.now {
            return Err(too_old(format!(
                "it was made at {signed}, longer ago than `max_signature_age` allows"
            )));
        }
        self.note_until(until);
        Ok(())
    }
}

/// Returns true if `candidate` claims another signer than the authority. The claim only decides about the order of
/// attempts: the candidate is tried anyway, while the limit on attempts allows it.
pub(super) fn claims_another(candidate: &Candidate, authority: &Authority) -> bool {
    match (&authority.signer, verify::claimed_signer(candidate)) {
        (_, ClaimedSigner::Nobody) => false,
        (AuthoritySigner::Key { keys, .. }, ClaimedSigner::Key) => {
            let mut versions = keys.versions().iter();
            !versions.any(|version| verify::claims_key(candidate, &version.key))
        }
        (AuthoritySigner::Identity(requirement), ClaimedSigner::Certificate(names)) => {
            judge_identity(requirement, names).is_err()
        }
        (AuthoritySigner::Key { .. }, ClaimedSigner::Certificate(_))
        | (AuthoritySigner::Identity(_), ClaimedSigner::Key) => true,
    }
}

fn judge_identity(
    requirement: &IdentityRequirement,
    names: CertificateNames<'_>,
) -> Result<Voucher, Refusal> {
    let signer = named(names.identity, names.oidc_issuer);
    if !requirement.identity.matches(names.identity) {
        return Err(refusal(
            FailedCheck::WrongIdentity,
            format!(
                "signed by {signer}, expected {}",
                words(&requirement.identity)
            ),
        ));
    }
    judge_issuer(requirement, names.oidc_issuer, &signer)?;
    for (name, expected) in &requirement.extensions {
        let actual = names.extensions.get(name);
        if !actual.is_some_and(|actual| expected.matches(actual)) {
            let actual = actual.map_or("(absent)", String::as_str);
            let expected = words(expected);
            return Err(refusal(
                FailedCheck::WrongIdentity,
                format!(
                    "signed by {signer} with the extension {name} = {actual}, expected {expected}"
                ),
            ));
        }
    }
    Ok(Voucher::Identity {
        identity: names.identity.to_owned(),
        oidc_issuer: names.oidc_issuer.to_owned(),
    })
}

/// Where an issuer is demanded, the certificate must name one. None need be demanded only of one's own authorities.
fn judge_issuer(
    requirement: &IdentityRequirement,
    oidc_issuer: &str,
    signer: &str,
) -> Result<(), Refusal> {
    let wrong = |expected: String| {
        let reason = format!("signed by {signer}, expected {expected}");
        Err(refusal(FailedCheck::WrongIssuer, reason))
    };
    match &requirement.oidc_issuer {
        Some(expected) if oidc_issuer.is_empty() || !expected.matches(oidc_issuer) => {
            wrong(format!("the issuer {}", words(expected)))
        }
        None if requirement.certificate_authorities.is_none() => {
            wrong("an issuer and no policy names one".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

fn named(identity: &str, oidc_issuer: &str) -> String {
    if oidc_issuer.is_empty() {
        return format!("{identity} (no issuer)");
    }
    format!("{identity} (issuer {oidc_issuer})")
}

fn words(expected: &Matcher) -> String {
    match expected {
        Matcher::Exact(value) => value.clone(),
        Matcher::Expression { .. }
        | Matcher::Search { .. }
        | Matcher::Wildcard { .. }
        | Matcher::Any(_)
        | Matcher::All(_) => format!("a match of {}", expected.source()),
    }
}

/// Every demanded annotation must stand under the counted signature itself, with exactly that value.
pub(in crate::admission::evaluate) fn annotations(
    demanded: &BTreeMap<String, String>,
    proof: &Proof,
) -> Result<(), Refusal> {
    for (name, expected) in demanded {
        let actual = proof.annotations.get(name);
        if actual != Some(expected) {
            return Err(Refusal {
                rank: Rank::Check(FailedCheck::AnnotationMismatch),
                kind: Kind::AnnotationMismatch,
                reason: format!(
                    "the signature's annotation {name} is {}, expected {expected}",
                    actual.map_or("absent", String::as_str)
                ),
            });
        }
    }
    Ok(())
}

impl fmt::Display for Voucher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => write!(formatter, "the key {fingerprint}"),
            Self::Identity {
                identity,
                oidc_issuer,
            } => formatter.write_str(&named(identity, oidc_issuer)),
        }
    }
}
