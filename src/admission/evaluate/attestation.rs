//! How one attestation requirement fares.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use super::Known;
use super::attempts::{Rank, Refusal, Tried, Unmet, Vouched, Voucher, in_order_of_claims};
use super::requirement::{Fared, Judged, Tries};
use super::shortfall::Furthest;
use super::ways::Ways;
use crate::admission::denial::Kind;
use crate::oci::Digest;
use crate::policy::{AttestationRequirement, ConditionError, Quantifier};
use crate::verify::{self, Proof, Purpose};

pub(super) fn attestation<'p>(
    judged: &mut Judged<'p, '_, '_>,
    requirement: &'p AttestationRequirement,
    tries: Tries,
) -> Fared {
    let mut collected = collect(judged, requirement, tries);
    let about_all = requirement.quantifier != Quantifier::Any;
    if collected.exhausted && (about_all || !collected.any_holds) {
        return Fared::Refused(collected.furthest.exhausted());
    }
    let undecided = |collected: Collected, missing| Fared::Undecided {
        missing,
        revoked: collected.furthest.into_revoked(),
    };
    if about_all && let Some(fared) = collected.unread(judged.known) {
        return fared;
    }
    let open = collected.unusable.clone();
    if collected.found.is_empty() {
        return match open {
            Some(missing) => undecided(collected, missing),
            None => Fared::Refused(missing(judged, requirement, collected.furthest)),
        };
    }
    if about_all {
        if let Some(missing) = open {
            return undecided(collected, missing);
        }
        if let Some(fared) = unseen(judged.known) {
            return fared;
        }
    }
    match (quantify(requirement, &collected.found), open) {
        (Ok(vouchers), open) => {
            let mut ways = Ways::by_each(vouchers.iter().map(|it| judged.signers.signer(it)));
            ways.note_open(open);
            Fared::Satisfied(ways)
        }
        (Err(_), Some(missing)) => undecided(collected, missing),
        (Err(refusal), None) => Fared::Refused(refusal),
    }
}

#[derive(Default)]
struct Collected {
    found: Vec<Found>,
    /// Whether the condition is true of one of them.
    any_holds: bool,
    furthest: Furthest,
    /// A key or root that was needed and is not to be had.
    unusable: Option<String>,
    /// One that exceeds a limit, and what it would have said is not known.
    cut: Option<Refusal>,
    /// One that is listed and not to be had.
    absent: Option<Refusal>,
    exhausted: bool,
}

/// An attestation of the type by an authority. Of its statement only the verdict is kept.
struct Found {
    voucher: Voucher,
    verified_time: Option<Timestamp>,
    verdict: Result<(), Refusal>,
}

/// The attestations of the type that an authority vouches for, first those that may be by it. For `any`, nothing after the first that holds is tried
/// unless every signer is asked for.
fn collect<'p>(
    judged: &mut Judged<'p, '_, '_>,
    requirement: &'p AttestationRequirement,
    tries: Tries,
) -> Collected {
    let purpose = Purpose::Attestation {
        predicate_type: &requirement.predicate_type,
    };
    let one_suffices = requirement.quantifier == Quantifier::Any && tries == Tries::UntilSatisfied;
    let mut collected = Collected::default();
    let mut counted = HashSet::new();
    let authorities: Vec<_> = requirement.authorities.iter().map(Arc::as_ref).collect();
    let attempts = &judged.attempts;
    let (candidates, tried) = (attempts.candidates, Arc::clone(&attempts.tried));
    in_order_of_claims(candidates, &tried, &authorities, |index, position| {
        let Some(authority) = requirement.authorities.get(position) else {
            return ControlFlow::Continue(());
        };
        // An attestation counts once, whoever else vouches for it.
        if counted.contains(&index) {
            return ControlFlow::Continue(());
        }
        let attempts = &mut judged.attempts;
        match attempts.try_candidate(index, judged.policy, authority, purpose) {
            Tried::NotApplicable => {}
            Tried::Refused(refusal) => collected.furthest.note(refusal),
            Tried::Cut(refusal) => {
                collected.cut.get_or_insert_with(|| refusal.clone());
                collected.furthest.note(refusal);
            }
            Tried::Absent(refusal) => {
                collected.absent.get_or_insert_with(|| refusal.clone());
                collected.furthest.note(refusal);
            }
            Tried::Unusable(reason) => {
                collected.unusable.get_or_insert(reason);
            }
            Tried::Exhausted => {
                collected.exhausted = true;
                return ControlFlow::Break(());
            }
            Tried::Vouched(Vouched {
                undated: Some(reason),
                ..
            }) if requirement.quantifier == Quantifier::Newest => {
                collected.unusable.get_or_insert(reason);
            }
            Tried::Vouched(Vouched { voucher, proof, .. }) => {
                judged.names.insert(authority.name.as_str());
                let verdict = judged.holds(requirement, &proof);
                collected.any_holds |= verdict.is_ok();
                collected.found.push(Found {
                    voucher,
                    verified_time: proof.verified_time,
                    verdict,
                });
                if one_suffices && collected.any_holds {
                    return ControlFlow::Break(());
                }
                counted.insert(index);
            }
        }
        ControlFlow::Continue(())
    });
    collected
}

impl Collected {
    /// What may be an attestation of the type and could not be read: where all of them matter, nobody knows whether it
    /// is the one that does not hold. What is revoked is refused as that.
    fn unread(&mut self, known: &Known<'_>) -> Option<Fared> {
        let absent = self.absent.take().map(|absent| absent.reason);
        let absent = absent.or_else(|| known.absent_referrer.map(absent_referrer));
        if let Some(missing) = absent {
            return Some(Fared::Undecided {
                missing,
                revoked: std::mem::take(&mut self.furthest).into_revoked(),
            });
        }
        self.cut.take().map(|cut| {
            let revoked = std::mem::take(&mut self.furthest).into_revoked();
            Fared::Refused(revoked.unwrap_or(Refusal {
                rank: Rank::Limit,
                ..cut
            }))
        })
    }
}

fn absent_referrer(digest: &Digest) -> String {
    format!(
        "the referrer {digest} is listed and not there, and whether it is an attestation that counts is not known"
    )
}

/// `all` and `newest` say something about every attestation, so every one must have been seen.
fn unseen(known: &Known<'_>) -> Option<Fared> {
    if let Some(missing) = known.failed_sources.first() {
        return Some(Fared::Undecided {
            missing: missing.clone(),
            revoked: None,
        });
    }
    if !known.witnessed {
        return Some(Fared::Undecided {
            missing: "stored evidence does not show that no attestation is missing from it"
                .to_owned(),
            revoked: None,
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

/// Who vouched for what must hold.
fn quantify<'f>(
    requirement: &AttestationRequirement,
    found: &'f [Found],
) -> Result<Vec<&'f Voucher>, Refusal> {
    let judge = |one: &'f Found| match &one.verdict {
        Ok(()) => Ok(&one.voucher),
        Err(refusal) => Err(refusal.clone()),
    };
    match requirement.quantifier {
        Quantifier::Any => {
            let judged: Vec<_> = found.iter().map(judge).collect();
            let holding: Vec<_> = judged.iter().flatten().copied().collect();
            if !holding.is_empty() {
                return Ok(holding);
            }
            // The newest says why, unless a limit left out one that might be true.
            let mut refusals = judged.into_iter().filter_map(Result::err);
            match refusals.next() {
                Some(newest) if newest.kind == Kind::LimitExceeded => Err(newest),
                Some(newest) => Err(refusals
                    .find(|other| other.kind == Kind::LimitExceeded)
                    .unwrap_or(newest)),
                None => Ok(holding),
            }
        }
        Quantifier::All => found.iter().map(judge).collect(),
        // Newest is by verified time: an attestation without one is older than every other. Which of several with the
        // same time is the newest is not proven, so that all of these must hold.
        Quantifier::Newest => {
            let newest = found.iter().map(|one| one.verified_time).max();
            found
                .iter()
                .filter(|one| Some(one.verified_time) == newest)
                .map(judge)
                .collect()
        }
    }
}

impl Judged<'_, '_, '_> {
    /// Whether the condition is true of the signed statement, which is read here and not kept: only what an authority
    /// vouches for may cost that much. A condition that cannot be evaluated is not true.
    fn holds(
        &mut self,
        requirement: &AttestationRequirement,
        proof: &Proof,
    ) -> Result<(), Refusal> {
        let Some(condition) = &requirement.condition else {
            return Ok(());
        };
        let predicate_type = &requirement.predicate_type;
        let Some(statement) = &proof.statement else {
            return Err(rejected(predicate_type, "it has no statement"));
        };
        let source = || shortened(condition.source());
        self.attempts
            .ask(condition, statement, |unmet| match unmet {
                Unmet::False => rejected(predicate_type, &format!("{} is false", source())),
                Unmet::Unanswered(ConditionError::OutOfFuel(error)) => Refusal {
                    rank: Rank::Limit,
                    kind: Kind::LimitExceeded,
                    reason: format!(
                        "the {predicate_type} attestation was not judged by {}: {error}",
                        source()
                    ),
                },
                Unmet::Unanswered(error) => rejected(
                    predicate_type,
                    &format!("{} cannot be evaluated: {error}", source()),
                ),
                Unmet::Unreadable(error) => Refusal {
                    rank: Rank::Condition,
                    kind: Kind::Malformed,
                    reason: format!("the in-toto statement is not readable: {error}"),
                },
            })
    }
}

fn rejected(predicate_type: &str, reason: &str) -> Refusal {
    Refusal {
        rank: Rank::Condition,
        kind: Kind::AttestationRejected,
        reason: format!("the {predicate_type} attestation does not hold: {reason}"),
    }
}

/// The most characters of a condition that a message repeats.
const CONDITION_MAX: usize = 300;

/// A condition in a message: its first line, if there are more.
fn shortened(source: &str) -> String {
    let source = source.trim();
    let first = source.lines().next().unwrap_or_default().trim_end();
    let shown: String = first.chars().take(CONDITION_MAX).collect();
    if shown == source {
        format!("`{shown}`")
    } else {
        format!("the condition `{shown}…`")
    }
}

/// The types that a message names at most.
const FOUND_MAX: usize = 5;

fn missing(
    judged: &Judged<'_, '_, '_>,
    requirement: &AttestationRequirement,
    furthest: Furthest,
) -> Refusal {
    furthest.into_refusal().unwrap_or_else(|| Refusal {
        rank: Rank::Nothing,
        kind: Kind::AttestationMissing,
        reason: format!(
            "no attestation of the type {} was found{}",
            requirement.predicate_type,
            other_types(judged)
        ),
    })
}

/// What there is instead: most often the type was misspelt, or is that of another version.
fn other_types(judged: &Judged<'_, '_, '_>) -> String {
    let candidates = judged.attempts.candidates;
    let read = judged.attempts.tried.iter();
    let types: BTreeSet<_> = read
        .filter_map(|&index| candidates.get(index))
        .filter_map(verify::claimed_predicate_type)
        .collect();
    if types.is_empty() {
        return String::new();
    }
    let more = types.len().saturating_sub(FOUND_MAX);
    let mut named: Vec<_> = types.into_iter().take(FOUND_MAX).collect();
    if more > 0 {
        named.push(format!("and {more} more types"));
    }
    format!(", only of {}", named.join(", "))
}
