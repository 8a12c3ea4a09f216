//! How one policy fares: its signature requirement and its attestation requirements, all of which must hold.

use std::collections::{BTreeMap, HashSet};

use super::attempts::{Attempts, Rank, Refusal, Tried, Vouched, Voucher};
use super::{Known, Outcome, attestation, report};
use crate::admission::denial::Kind;
use crate::decision_log::AuthorityReport;
use crate::policy::{Authority, Policy, SignatureRequirement};
use crate::verify::{FailedCheck, Proof, Purpose};
use std::sync::Arc;

/// The names of the authorities that vouched.
pub(super) type Names<'p> = HashSet<&'p str>;

pub(super) fn policy(
    policy: &Policy,
    attempts: &mut Attempts<'_>,
    known: &Known<'_>,
) -> (Outcome, Vec<AuthorityReport>) {
    let mut vouched: Vec<(&str, bool)> = Vec::new();
    let mut outcome = Outcome::Satisfied;
    if let Some(requirement) = &policy.signature {
        let (signed, names) = signature(policy, requirement, attempts);
        vouched.extend(flagged(&requirement.authorities, &names));
        outcome = signed;
    }
    for requirement in &policy.attestations {
        if !matches!(outcome, Outcome::Satisfied) {
            break;
        }
        let (attested, names) = attestation::attestation(policy, requirement, attempts, known);
        vouched.extend(flagged(&requirement.authorities, &names));
        outcome = attested;
    }
    (
        settle(outcome, known),
        report::authorities(vouched.into_iter()),
    )
}

fn flagged<'p>(
    authorities: &'p [Arc<Authority>],
    names: &Names<'p>,
) -> impl Iterator<Item = (&'p str, bool)> {
    authorities.iter().map(|authority| {
        (
            authority.name.as_str(),
            names.contains(authority.name.as_str()),
        )
    })
}

/// A refusal stands only if everything was seen: otherwise it is not decided, or a limit.
fn settle(outcome: Outcome, known: &Known<'_>) -> Outcome {
    let Outcome::Refused { kind, reason } = outcome else {
        return outcome;
    };
    if let Some(missing) = known.failed_sources.first() {
        return Outcome::Undecided {
            missing: missing.clone(),
            revoked: kind == Kind::Revoked,
        };
    }
    match known.limit_exceeded {
        // A limit must not turn what is revoked into something that an auditing policy waives.
        Some(limit) if kind != Kind::Revoked => Outcome::Refused {
            kind: Kind::LimitExceeded,
            reason: limit.to_owned(),
        },
        Some(_) | None => Outcome::Refused { kind, reason },
    }
}

fn signature<'p>(
    policy: &Policy,
    requirement: &'p SignatureRequirement,
    attempts: &mut Attempts<'_>,
) -> (Outcome, Names<'p>) {
    let mut vouchers: HashSet<Voucher> = HashSet::new();
    let mut names = Names::new();
    let mut furthest = Furthest::default();
    for index in 0..attempts.candidates.len() {
        for authority in &requirement.authorities {
            match attempts.try_candidate(index, policy, authority, Purpose::Signature) {
                Tried::NotApplicable => {}
                Tried::Refused(refusal) => furthest.note(refusal),
                Tried::Exhausted => return (furthest.exhausted(), names),
                Tried::Vouched(Vouched { voucher, proof }) => {
                    if let Err(refusal) = annotations(&requirement.annotations, &proof) {
                        furthest.note(refusal);
                        continue;
                    }
                    names.insert(authority.name.as_str());
                    vouchers.insert(voucher);
                    if vouchers.len() >= requirement.threshold {
                        return (Outcome::Satisfied, names);
                    }
                }
            }
        }
    }
    if vouchers.is_empty() {
        return (furthest.into_outcome(requirement), names);
    }
    let outcome = Outcome::Refused {
        kind: Kind::ThresholdNotMet,
        reason: format!(
            "{} of the required {} distinct signers signed it",
            vouchers.len(),
            requirement.threshold
        ),
    };
    (outcome, names)
}

/// Every demanded annotation must stand under the counted signature itself, with exactly that value.
fn annotations(demanded: &BTreeMap<String, String>, proof: &Proof) -> Result<(), Refusal> {
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

/// The refusal of the attempt that got furthest; of several equal ones the first, which is the newest signature.
#[derive(Debug, Default)]
pub(super) struct Furthest(Option<Refusal>);

impl Furthest {
    pub(super) fn note(&mut self, refusal: Refusal) {
        if self
            .0
            .as_ref()
            .is_none_or(|noted| noted.rank < refusal.rank)
        {
            self.0 = Some(refusal);
        }
    }

    pub(super) fn into_refusal(self) -> Option<Refusal> {
        self.0
    }

    /// The limit, unless something is revoked: no mode waives that.
    pub(super) fn exhausted(self) -> Outcome {
        let best = match self.0 {
            Some(Refusal {
                kind: kind @ Kind::Revoked,
                reason,
                ..
            }) => return Outcome::Refused { kind, reason },
            Some(best) => format!("; the best one: {}", best.reason),
            None => String::new(),
        };
        Outcome::Refused {
            kind: Kind::LimitExceeded,
            reason: format!("the limit on attempts at signatures is used up{best}"),
        }
    }

    fn into_outcome(self, requirement: &SignatureRequirement) -> Outcome {
        match self.0 {
            Some(Refusal { kind, reason, .. }) => Outcome::Refused { kind, reason },
            None => Outcome::Refused {
                kind: Kind::Unsigned,
                reason: format!(
                    "no cosign signature of it was found; expected one by {}",
                    expected(requirement)
                ),
            },
        }
    }
}

fn expected(requirement: &SignatureRequirement) -> String {
    let names: Vec<_> = requirement
        .authorities
        .iter()
        .map(|authority| format!("`{}`", authority.name))
        .collect();
    names.join(" or ")
}
