//! How one attestation requirement fares.

use super::attempts::{Attempts, Refusal, Tried, Vouched};
use super::requirement::{Furthest, Names};
use super::{Known, Outcome};
use crate::admission::denial::Kind;
use crate::policy::{AttestationRequirement, Policy, Quantifier};
use crate::verify::{Proof, Purpose};

pub(super) fn attestation<'p>(
    policy: &Policy,
    requirement: &'p AttestationRequirement,
    attempts: &mut Attempts<'_>,
    known: &Known<'_>,
) -> (Outcome, Names<'p>) {
    let mut names = Names::new();
    let collected = match collect(policy, requirement, attempts, &mut names) {
        Ok(collected) => collected,
        Err(exhausted) => return (exhausted, names),
    };
    if collected.proofs.is_empty() {
        return (missing(requirement, collected.furthest), names);
    }
    if requirement.quantifier != Quantifier::Any
        && let Some(outcome) = unseen(known)
    {
        return (outcome, names);
    }
    (quantify(requirement, &collected.proofs), names)
}

struct Collected {
    proofs: Vec<Proof>,
    furthest: Furthest,
}

/// The attestations of the type that an authority vouches for. For `any`, nothing after the first that holds is tried.
fn collect<'p>(
    policy: &Policy,
    requirement: &'p AttestationRequirement,
    attempts: &mut Attempts<'_>,
    names: &mut Names<'p>,
) -> Result<Collected, Outcome> {
    let purpose = Purpose::Attestation {
        predicate_type: &requirement.predicate_type,
    };
    let mut collected = Collected {
        proofs: Vec::new(),
        furthest: Furthest::default(),
    };
    for index in 0..attempts.candidates.len() {
        for authority in &requirement.authorities {
            match attempts.try_candidate(index, policy, authority, purpose) {
                Tried::NotApplicable => {}
                Tried::Refused(refusal) => collected.furthest.note(refusal),
                Tried::Exhausted => return Err(collected.furthest.exhausted()),
                Tried::Vouched(Vouched { proof, .. }) => {
                    names.insert(authority.name.as_str());
                    let settled = requirement.quantifier == Quantifier::Any
                        && holds(requirement, &proof).is_ok();
                    collected.proofs.push(*proof);
                    if settled {
                        return Ok(collected);
                    }
                    break;
                }
            }
        }
    }
    Ok(collected)
}

/// `all` and `newest` say something about every attestation, so every one must have been seen.
fn unseen(known: &Known<'_>) -> Option<Outcome> {
    if let Some(missing) = known.failed_sources.first() {
        return Some(Outcome::Undecided {
            missing: missing.clone(),
            revoked: false,
        });
    }
    if !known.witnessed {
        return Some(Outcome::Undecided {
            missing: "stored evidence does not show that no attestation is missing from it"
                .to_owned(),
            revoked: false,
        });
    }
    known.limit_exceeded.map(|limit| Outcome::Refused {
        kind: Kind::LimitExceeded,
        reason: limit.to_owned(),
    })
}

fn quantify(requirement: &AttestationRequirement, proofs: &[Proof]) -> Outcome {
    let mut judged = proofs.iter().map(|proof| holds(requirement, proof));
    let none = || Err("there is none".to_owned());
    let verdict = match requirement.quantifier {
        // Of several false ones, the newest says why.
        Quantifier::Any => {
            let first = judged.next().unwrap_or_else(none);
            if first.is_ok() || judged.any(|one| one.is_ok()) {
                Ok(())
            } else {
                first
            }
        }
        Quantifier::All => judged.collect::<Result<(), _>>(),
        // Newest is by verified time: an attestation without one is older than every other. Which of several with the
        // same time is the newest is not proven, so that all of these must hold.
        Quantifier::Newest => {
            let newest = proofs.iter().map(|proof| proof.verified_time).max();
            proofs
                .iter()
                .filter(|proof| Some(proof.verified_time) == newest)
                .try_for_each(|proof| holds(requirement, proof))
        }
    };
    match verdict {
        Ok(()) => Outcome::Satisfied,
        Err(reason) => Outcome::Refused {
            kind: Kind::AttestationRejected,
            reason: format!(
                "the {} attestation does not hold: {reason}",
                requirement.predicate_type
            ),
        },
    }
}

/// Whether the condition is true of the signed statement. A condition that cannot be evaluated is not true.
fn holds(requirement: &AttestationRequirement, proof: &Proof) -> Result<(), String> {
    let Some(condition) = &requirement.condition else {
        return Ok(());
    };
    let Some(statement) = &proof.statement else {
        return Err("it has no statement".to_owned());
    };
    match condition.evaluate(statement) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("`{}` is false", condition.source())),
        Err(error) => Err(format!(
            "`{}` cannot be evaluated: {error}",
            condition.source()
        )),
    }
}

fn missing(requirement: &AttestationRequirement, furthest: Furthest) -> Outcome {
    match furthest.into_refusal() {
        Some(Refusal { kind, reason, .. }) => Outcome::Refused { kind, reason },
        None => Outcome::Refused {
            kind: Kind::AttestationMissing,
            reason: format!(
                "no attestation of the type {} was found",
                requirement.predicate_type
            ),
        },
    }
}
