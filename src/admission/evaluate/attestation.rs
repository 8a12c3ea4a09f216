//! How one attestation requirement fares.

use std::collections::HashSet;

use super::Known;
use super::attempts::{Rank, Refusal, Tried, Vouched, Voucher};
use super::requirement::{Fared, Furthest, Judged};
use crate::admission::denial::Kind;
use crate::policy::{AttestationRequirement, Quantifier};
use crate::verify::{Proof, Purpose};

pub(super) fn attestation<'p>(
    judged: &mut Judged<'p, '_, '_>,
    requirement: &'p AttestationRequirement,
) -> Fared {
    let collected = match collect(judged, requirement) {
        Ok(collected) => collected,
        Err(exhausted) => return Fared::Refused(exhausted),
    };
    let undecided = collected.unusable.map(|missing| Fared::Undecided {
        missing,
        revoked: collected.furthest.is_revoked(),
    });
    if collected.proofs.is_empty() {
        let missing = || missing(requirement, collected.furthest);
        return undecided.unwrap_or_else(|| Fared::Refused(missing()));
    }
    let about_all = requirement.quantifier != Quantifier::Any;
    if about_all
        && undecided.is_none()
        && let Some(fared) = unseen(judged.known)
    {
        return fared;
    }
    match (quantify(requirement, &collected.proofs), undecided) {
        (_, Some(undecided)) if about_all => undecided,
        (Ok(()), _) => Fared::Satisfied(collected.vouchers),
        (Err(_), Some(undecided)) => undecided,
        (Err(refusal), None) => Fared::Refused(refusal),
    }
}

#[derive(Default)]
struct Collected {
    proofs: Vec<Proof>,
    vouchers: HashSet<Voucher>,
    furthest: Furthest,
    /// A key or root that was needed and is not to be had.
    unusable: Option<String>,
}

/// The attestations of the type that an authority vouches for. For `any`, nothing after the first that holds is tried.
fn collect<'p>(
    judged: &mut Judged<'p, '_, '_>,
    requirement: &'p AttestationRequirement,
) -> Result<Collected, Refusal> {
    let purpose = Purpose::Attestation {
        predicate_type: &requirement.predicate_type,
    };
    let mut collected = Collected::default();
    for index in 0..judged.attempts.candidates.len() {
        for authority in &requirement.authorities {
            let attempts = &mut judged.attempts;
            match attempts.try_candidate(index, judged.policy, authority, purpose) {
                Tried::NotApplicable => {}
                Tried::Refused(refusal) => collected.furthest.note(refusal),
                Tried::Unusable(reason) => {
                    collected.unusable.get_or_insert(reason);
                }
                Tried::Exhausted => return Err(collected.furthest.exhausted()),
                Tried::Vouched(Vouched { voucher, proof }) => {
                    judged.names.insert(authority.name.as_str());
                    let settled = requirement.quantifier == Quantifier::Any
                        && holds(requirement, &proof).is_ok();
                    collected.vouchers.insert(voucher);
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
fn unseen(known: &Known<'_>) -> Option<Fared> {
    if let Some(missing) = known.failed_sources.first() {
        return Some(Fared::Undecided {
            missing: missing.clone(),
            revoked: false,
        });
    }
    if !known.witnessed {
        return Some(Fared::Undecided {
            missing: "stored evidence does not show that no attestation is missing from it"
                .to_owned(),
            revoked: false,
        });
    }
    known.limit_exceeded.map(|limit| {
        Fared::Refused(Refusal {
            rank: Rank::Limit,
            kind: Kind::LimitExceeded,
            reason: limit.to_owned(),
        })
    })
}

fn quantify(requirement: &AttestationRequirement, proofs: &[Proof]) -> Result<(), Refusal> {
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
    verdict.map_err(|reason| Refusal {
        rank: Rank::Condition,
        kind: Kind::AttestationRejected,
        reason: format!(
            "the {} attestation does not hold: {reason}",
            requirement.predicate_type
        ),
    })
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

fn missing(requirement: &AttestationRequirement, furthest: Furthest) -> Refusal {
    furthest.into_refusal().unwrap_or_else(|| Refusal {
        rank: Rank::Nothing,
        kind: Kind::AttestationMissing,
        reason: format!(
            "no attestation of the type {} was found",
            requirement.predicate_type
        ),
    })
}
