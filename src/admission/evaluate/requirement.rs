//! How one policy fares: its requirement, member by member.
//!
//! Members that are signatures are tried together, signature by signature and newest first, so that a good one is found
//! at the price of one attempt whichever member it satisfies.

use std::collections::{BTreeMap, HashSet};

use super::attempts::{Attempts, Rank, Refusal, Tried, Vouched, Voucher};
use super::signers::{Signers, distinct_members};
use super::{Known, Outcome, attestation, report};
use crate::admission::denial::Kind;
use crate::decision_log::AuthorityReport;
use crate::policy::{Policy, Requirement, SignatureRequirement};
use crate::verify::{FailedCheck, Proof, Purpose};

/// How a requirement fares.
#[derive(Debug)]
pub(super) enum Fared {
    /// It is met, and these vouched for it.
    Satisfied(HashSet<Voucher>),
    /// It is not, by all that is known.
    Refused(Refusal),
    /// It cannot be told.
    Undecided {
        /// What is missing, in words.
        missing: String,
        /// Whether what is known so far is revoked, which no mode waives.
        revoked: bool,
    },
}

/// A policy while it is judged.
pub(super) struct Judged<'p, 'j, 'a> {
    pub(super) policy: &'p Policy,
    pub(super) attempts: &'j mut Attempts<'a>,
    pub(super) known: &'j Known<'j>,
    /// The names of the authorities that vouched.
    pub(super) names: HashSet<&'p str>,
}

pub(super) fn policy(
    policy: &Policy,
    attempts: &mut Attempts<'_>,
    known: &Known<'_>,
) -> (Outcome, Vec<AuthorityReport>) {
    let mut judged = Judged {
        policy,
        attempts,
        known,
        names: HashSet::new(),
    };
    let fared = judged.requirement(&policy.requirement);
    let named = policy
        .requirement
        .authorities()
        .into_iter()
        .map(|authority| {
            let name = authority.name.as_str();
            (name, judged.names.contains(name))
        });
    (settle(fared, known), report::authorities(named))
}

/// A refusal stands only if everything was seen: otherwise it is not decided, or a limit.
fn settle(fared: Fared, known: &Known<'_>) -> Outcome {
    let Refusal { kind, reason, .. } = match fared {
        Fared::Satisfied(_) => return Outcome::Satisfied,
        Fared::Undecided { missing, revoked } => return Outcome::Undecided { missing, revoked },
        Fared::Refused(refusal) => refusal,
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

impl<'p> Judged<'p, '_, '_> {
    fn requirement(&mut self, requirement: &'p Requirement) -> Fared {
        match requirement {
            Requirement::Signature(signature) => self.any_of(&[signature], []),
            Requirement::Attestation(requirement) => attestation::attestation(self, requirement),
            Requirement::Any(of) => {
                let (signatures, others) = split(of);
                self.any_of(&signatures, others)
            }
            Requirement::All(of) => {
                let (signatures, others) = split(of);
                self.all_of(&signatures, others)
            }
            Requirement::AtLeast { count, of } => {
                let (signatures, others) = split(of);
                self.at_least(*count, &signatures, others)
            }
            Requirement::Signers { count, of } => {
                let signatures: Vec<_> = of.iter().collect();
                self.signers(*count, &signatures)
            }
            Requirement::Nothing => Fared::Satisfied(HashSet::new()),
            Requirement::Refusal { message } => Fared::Refused(Refusal {
                rank: Rank::Nothing,
                kind: Kind::Unsigned,
                reason: message.clone(),
            }),
        }
    }

    fn any_of(
        &mut self,
        signatures: &[&'p SignatureRequirement],
        others: impl IntoIterator<Item = &'p Requirement>,
    ) -> Fared {
        let mut tried = self.signatures(signatures, Tries::UntilSatisfied, |by| {
            by.iter().any(|by| !by.is_empty())
        });
        if let Some(by) = tried.by.iter_mut().find(|by| !by.is_empty()) {
            return Fared::Satisfied(std::mem::take(by));
        }
        let mut shortfall = tried.shortfall;
        for other in others {
            match self.requirement(other) {
                satisfied @ Fared::Satisfied(_) => return satisfied,
                Fared::Refused(refusal) => shortfall.furthest.note(refusal),
                Fared::Undecided { missing, .. } => shortfall.note_unusable(missing),
            }
        }
        shortfall.into_fared(signatures)
    }

    fn all_of(
        &mut self,
        signatures: &[&'p SignatureRequirement],
        others: impl IntoIterator<Item = &'p Requirement>,
    ) -> Fared {
        let tried = self.signatures(signatures, Tries::UntilSatisfied, |by| {
            by.iter().all(|by| !by.is_empty())
        });
        let satisfied = tried.by.iter().filter(|by| !by.is_empty()).count();
        let mut vouchers: HashSet<_> = tried.by.into_iter().flatten().collect();
        let mut undecided = None;
        if satisfied < signatures.len() {
            let shortfall = tried.shortfall.of(satisfied, signatures.len());
            match shortfall.into_fared(signatures) {
                fared @ Fared::Undecided { .. } => undecided = Some(fared),
                refused => return refused,
            }
        }
        for other in others {
            match self.requirement(other) {
                Fared::Satisfied(by) => vouchers.extend(by),
                // Nothing that is not known yet can make up for it.
                refused @ Fared::Refused(_) => return refused,
                fared @ Fared::Undecided { .. } => {
                    undecided.get_or_insert(fared);
                }
            }
        }
        undecided.unwrap_or(Fared::Satisfied(vouchers))
    }

    fn at_least(
        &mut self,
        count: usize,
        signatures: &[&'p SignatureRequirement],
        others: impl IntoIterator<Item = &'p Requirement>,
    ) -> Fared {
        let signers = Signers::of(self.policy);
        let tried = self.signatures(signatures, Tries::EverySigner, |by| {
            distinct_members(by.iter(), &signers) >= count
        });
        let mut by = tried.by;
        let mut shortfall = tried.shortfall;
        for other in others {
            if distinct_members(by.iter(), &signers) >= count {
                break;
            }
            match self.requirement(other) {
                Fared::Satisfied(vouchers) => by.push(vouchers),
                Fared::Refused(refusal) => shortfall.furthest.note(refusal),
                Fared::Undecided { missing, .. } => shortfall.note_unusable(missing),
            }
        }
        let satisfied = distinct_members(by.iter(), &signers);
        if satisfied >= count {
            return Fared::Satisfied(by.into_iter().flatten().collect());
        }
        shortfall.of(satisfied, count).into_fared(signatures)
    }

    fn signers(&mut self, count: usize, signatures: &[&'p SignatureRequirement]) -> Fared {
        let signers = Signers::of(self.policy);
        let tried = self.signatures(signatures, Tries::EverySigner, |by| {
            signers.count(by.iter().flatten()) >= count
        });
        let satisfied = signers.count(tried.by.iter().flatten());
        if satisfied >= count {
            return Fared::Satisfied(tried.by.into_iter().flatten().collect());
        }
        tried.shortfall.of(satisfied, count).into_fared(signatures)
    }

    /// Tries every signature found, newest first, for every member, until `enough` of them are satisfied.
    fn signatures(
        &mut self,
        members: &[&'p SignatureRequirement],
        tries: Tries,
        enough: impl Fn(&[HashSet<Voucher>]) -> bool,
    ) -> Signed {
        let mut signed = Signed {
            by: vec![HashSet::new(); members.len()],
            shortfall: Shortfall::default(),
        };
        if members.is_empty() {
            return signed;
        }
        for index in 0..self.attempts.candidates.len() {
            for (required, by) in members.iter().zip(0..) {
                let satisfied = signed.by.get(by).is_some_and(|by| !by.is_empty());
                if satisfied && tries == Tries::UntilSatisfied {
                    continue;
                }
                match self.signature(index, required) {
                    Tried::NotApplicable => continue,
                    Tried::Refused(refusal) => signed.shortfall.furthest.note(refusal),
                    Tried::Unusable(reason) => signed.shortfall.note_unusable(reason),
                    Tried::Exhausted => {
                        signed.shortfall.exhausted = true;
                        return signed;
                    }
                    Tried::Vouched(Vouched { voucher, .. }) => {
                        self.names.insert(required.authority.name.as_str());
                        if let Some(by) = signed.by.get_mut(by) {
                            by.insert(voucher);
                        }
                    }
                }
                if enough(&signed.by) {
                    return signed;
                }
            }
        }
        signed
    }

    fn signature(&mut self, index: usize, by: &SignatureRequirement) -> Tried {
        let tried =
            self.attempts
                .try_candidate(index, self.policy, &by.authority, Purpose::Signature);
        if let Tried::Vouched(vouched) = &tried
            && let Err(refusal) = annotations(&by.annotations, &vouched.proof)
        {
            return Tried::Refused(refusal);
        }
        tried
    }
}

/// Whether a member that is satisfied is tried further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tries {
    /// One signer is as good as several.
    UntilSatisfied,
    /// Further signers may count.
    EverySigner,
}

/// The members that are signatures, and the others.
fn split(
    members: &[Requirement],
) -> (
    Vec<&SignatureRequirement>,
    impl Iterator<Item = &Requirement>,
) {
    let signatures = members.iter().filter_map(|member| match member {
        Requirement::Signature(signature) => Some(signature),
        Requirement::Attestation(_)
        | Requirement::All(_)
        | Requirement::Any(_)
        | Requirement::AtLeast { .. }
        | Requirement::Signers { .. }
        | Requirement::Nothing
        | Requirement::Refusal { .. } => None,
    });
    let others = members
        .iter()
        .filter(|member| !matches!(member, Requirement::Signature(_)));
    (signatures.collect(), others)
}

/// What trying the signatures for several members gave.
#[derive(Debug)]
struct Signed {
    /// Who vouched, member by member.
    by: Vec<HashSet<Voucher>>,
    shortfall: Shortfall,
}

/// Why something is not satisfied.
#[derive(Debug, Default)]
pub(super) struct Shortfall {
    pub(super) furthest: Furthest,
    /// Keys and roots that were needed and not to be had.
    unusable: Option<String>,
    exhausted: bool,
    /// How many of how many there are.
    counted: Option<(usize, usize)>,
}

impl Shortfall {
    pub(super) fn note_unusable(&mut self, reason: String) {
        self.unusable.get_or_insert(reason);
    }

    /// So many are there, of so many that must be.
    fn of(mut self, satisfied: usize, count: usize) -> Self {
        self.counted = Some((satisfied, count));
        self
    }

    fn into_fared(self, expected: &[&SignatureRequirement]) -> Fared {
        let is_revoked = self.furthest.is_revoked();
        if let Some(missing) = self.unusable {
            return Fared::Undecided {
                missing,
                revoked: is_revoked,
            };
        }
        if self.exhausted {
            return Fared::Refused(self.furthest.exhausted());
        }
        if let Some((satisfied @ 1.., count)) = self.counted {
            let mut reason =
                format!("{satisfied} of the required {count} distinct signers signed it");
            if let Some(best) = self.furthest.0 {
                reason.push_str("; of the others, the best one: ");
                reason.push_str(&best.reason);
            }
            return Fared::Refused(Refusal {
                rank: Rank::Threshold,
                kind: Kind::ThresholdNotMet,
                reason,
            });
        }
        Fared::Refused(self.furthest.0.unwrap_or_else(|| Refusal {
            rank: Rank::Nothing,
            kind: Kind::Unsigned,
            reason: format!(
                "no cosign signature of it was found; expected one by {}",
                names(expected)
            ),
        }))
    }
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
    pub(super) fn exhausted(self) -> Refusal {
        let best = match self.0 {
            Some(revoked) if revoked.kind == Kind::Revoked => return revoked,
            Some(best) => format!("; the best one: {}", best.reason),
            None => String::new(),
        };
        Refusal {
            rank: Rank::Limit,
            kind: Kind::LimitExceeded,
            reason: format!("the limit on attempts at signatures is used up{best}"),
        }
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|refusal| refusal.kind == Kind::Revoked)
    }
}

fn names(expected: &[&SignatureRequirement]) -> String {
    let names: Vec<_> = expected
        .iter()
        .map(|signature| format!("`{}`", signature.authority.name))
        .collect();
    names.join(" or ")
}
