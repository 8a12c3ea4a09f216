//! How one policy fares: its requirement, member by member.
//!
//! Members that are signatures are tried together, signature by signature and newest first, so that a good one is found
//! at the price of one attempt whichever member it satisfies.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::attempts::{
    Attempts, Rank, Refusal, Tried, Vouched, Voucher, annotations, in_order_of_claims,
};
use super::shortfall::{Joined, Shortfall, settle};
use super::signers::Signers;
use super::ways::Ways;
use super::{Known, Outcome, attestation, report};
use crate::admission::denial::Kind;
use crate::decision_log::AuthorityReport;
use crate::policy::{AuthoritySigner, Policy, Requirement, SignatureRequirement};
use crate::verify::Purpose;

/// How a requirement fares.
#[derive(Debug)]
pub(super) enum Fared {
    /// It is met, in these ways: all of them only where every signer was asked for.
    Satisfied(Ways),
    /// It is not, by all that is known.
    Refused(Refusal),
    /// It cannot be told.
    Undecided {
        /// What is missing, in words.
        missing: String,
        /// What is known so far to be revoked, which no mode waives.
        revoked: Option<Refusal>,
    },
}

/// A policy while it is judged.
pub(super) struct Judged<'p, 'j, 'a> {
    pub(super) policy: &'p Policy,
    pub(super) attempts: &'j mut Attempts<'a>,
    pub(super) known: &'j Known<'j>,
    pub(super) signers: Signers,
    /// The names of the authorities that vouched.
    pub(super) names: HashSet<&'p str>,
}

pub(super) fn policy(
    policy: &Policy,
    attempts: &mut Attempts<'_>,
    known: &Known<'_>,
) -> (Outcome, Vec<AuthorityReport>) {
    attempts.count_for(policy.mode);
    let mut judged = Judged {
        policy,
        attempts,
        known,
        signers: Signers::of(policy),
        names: HashSet::new(),
    };
    let fared = judged.requirement(&policy.requirement, Tries::UntilSatisfied);
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

impl<'p> Judged<'p, '_, '_> {
    fn requirement(&mut self, requirement: &'p Requirement, tries: Tries) -> Fared {
        if demands_nothing(requirement) {
            return Fared::Refused(Refusal {
                rank: Rank::Nothing,
                kind: Kind::Unsigned,
                reason: "the policy names nothing that would suffice".to_owned(),
            });
        }
        match requirement {
            Requirement::Signature(signature) => self.any_of(&[signature], [], tries),
            Requirement::Attestation(requirement) => {
                attestation::attestation(self, requirement, tries)
            }
            Requirement::Any(of) => {
                let (signatures, others) = split(of);
                self.any_of(&signatures, others, tries)
            }
            Requirement::All(of) => {
                let (signatures, others) = split(of);
                self.all_of(&signatures, others, tries)
            }
            Requirement::AtLeast { count, of } => {
                let (signatures, others) = split(of);
                self.at_least(*count, &signatures, others, tries)
            }
            Requirement::Signers { count, of } => {
                let signatures: Vec<_> = of.iter().collect();
                self.signers(*count, &signatures, tries)
            }
            Requirement::Nothing => Fared::Satisfied(Ways::by_nobody()),
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
        tries: Tries,
    ) -> Fared {
        let one_suffices = tries == Tries::UntilSatisfied;
        let tried = self.signatures(signatures, tries, |by| {
            one_suffices && by.iter().any(|by| !by.is_empty())
        });
        let mut shortfall = tried.shortfall;
        let mut ways = Ways::by_each(tried.by.into_iter().flatten());
        for other in others {
            if one_suffices && !ways.is_empty() {
                break;
            }
            match self.requirement(other, tries) {
                Fared::Satisfied(satisfied) => ways.or(satisfied),
                Fared::Refused(refusal) => shortfall.furthest.note(refusal),
                Fared::Undecided { missing, revoked } => shortfall.note_undecided(missing, revoked),
            }
        }
        if ways.is_empty() {
            return shortfall.into_fared(signatures);
        }
        ways.note_open(shortfall.unusable);
        Fared::Satisfied(ways)
    }

    fn all_of(
        &mut self,
        signatures: &[&'p SignatureRequirement],
        others: impl IntoIterator<Item = &'p Requirement>,
        tries: Tries,
    ) -> Fared {
        let one_suffices = tries == Tries::UntilSatisfied;
        let tried = self.signatures(signatures, tries, |by| {
            one_suffices && by.iter().all(|by| !by.is_empty())
        });
        let satisfied = tried.by.iter().filter(|by| !by.is_empty()).count();
        let mut shortfall = tried.shortfall;
        let open = shortfall.unusable.clone();
        // One that is certainly missing cannot be made up for by what a key would show that is not to be had.
        let is_certain = tried.by.iter().zip(&tried.unusable);
        if is_certain
            .into_iter()
            .any(|(by, unusable)| by.is_empty() && !unusable)
        {
            shortfall.unusable = None;
        }
        let mut ways = Ways::by_nobody();
        for by in tried.by {
            ways.and(Ways::by_each(by));
        }
        ways.note_open(open);
        let mut joined = Joined::default();
        if satisfied < signatures.len() {
            let shortfall = shortfall.of(satisfied, signatures.len());
            joined.note(shortfall.into_fared(signatures));
        }
        for other in others {
            // After a refusal only to see whether something is revoked, which outranks it.
            match self.requirement(other, tries) {
                Fared::Satisfied(satisfied) => ways.and(satisfied),
                unsatisfied @ (Fared::Refused(_) | Fared::Undecided { .. }) => {
                    joined.note(unsatisfied);
                }
            }
        }
        joined.into_fared().unwrap_or(Fared::Satisfied(ways))
    }

    fn at_least(
        &mut self,
        count: usize,
        signatures: &[&'p SignatureRequirement],
        others: impl IntoIterator<Item = &'p Requirement>,
        tries: Tries,
    ) -> Fared {
        let every = tries == Tries::EverySigner;
        let tried = self.signatures(signatures, Tries::EverySigner, |by| {
            !every && Ways::distinct(&each(by)) >= count
        });
        let mut members = each(&tried.by);
        let mut shortfall = tried.shortfall;
        let unknown = tried.by.iter().zip(&tried.unusable);
        let mut unknown = unknown
            .filter(|(by, unusable)| by.is_empty() && **unusable)
            .count();
        for other in others {
            if !every && Ways::distinct(&members) >= count {
                break;
            }
            match self.requirement(other, Tries::EverySigner) {
                Fared::Satisfied(mut ways) => {
                    if let Some(open) = ways.open.take() {
                        shortfall.note_undecided(open, None);
                    }
                    members.push(ways);
                }
                Fared::Refused(refusal) => shortfall.furthest.note(refusal),
                Fared::Undecided { missing, revoked } => {
                    unknown += 1;
                    shortfall.note_undecided(missing, revoked);
                }
            }
        }
        let mut ways = Ways::of_distinct(&members, count, every);
        if !ways.is_empty() {
            ways.note_open(shortfall.unusable);
            return Fared::Satisfied(ways);
        }
        let satisfied = members.iter().filter(|ways| !ways.is_empty()).count();
        if satisfied + unknown < count {
            shortfall.unusable = None;
        }
        let distinct = Ways::distinct(&members);
        shortfall.of(distinct, count).into_fared(signatures)
    }

    fn signers(
        &mut self,
        count: usize,
        signatures: &[&'p SignatureRequirement],
        tries: Tries,
    ) -> Fared {
        let every = tries == Tries::EverySigner;
        let distinct = |by: &[BTreeSet<Voucher>]| {
            let signers: BTreeSet<_> = by.iter().flatten().cloned().collect();
            signers
        };
        let tried = self.signatures(signatures, Tries::EverySigner, |by| {
            !every && distinct(by).len() >= count
        });
        let signers = distinct(&tried.by);
        let satisfied = signers.len();
        let members: Vec<_> = signers.into_iter().map(|it| Ways::by_each([it])).collect();
        let mut ways = Ways::of_distinct(&members, count, every);
        let mut shortfall = tried.shortfall;
        if !ways.is_empty() {
            ways.note_open(shortfall.unusable);
            return Fared::Satisfied(ways);
        }
        // A key is one signer whatever its versions; a root could certify any number of them.
        let unknown = signatures.iter().zip(&tried.unusable);
        let unknown =
            unknown
                .filter(|(_, unusable)| **unusable)
                .map(|(it, _)| match &it.authority.signer {
                    AuthoritySigner::Key { .. } => 1,
                    AuthoritySigner::Identity(_) => count,
                });
        if satisfied.saturating_add(unknown.sum()) < count {
            shortfall.unusable = None;
        }
        shortfall.of(satisfied, count).into_fared(signatures)
    }

    /// Tries every signature found, newest first, for every member, until `enough` of them are satisfied.
    fn signatures(
        &mut self,
        members: &[&'p SignatureRequirement],
        tries: Tries,
        enough: impl Fn(&[BTreeSet<Voucher>]) -> bool,
    ) -> Signed {
        let mut signed = Signed {
            by: vec![BTreeSet::new(); members.len()],
            unusable: vec![false; members.len()],
            shortfall: Shortfall::default(),
        };
        if members.is_empty() {
            return signed;
        }
        let authorities: Vec<_> = members.iter().map(|it| it.authority.as_ref()).collect();
        let (candidates, tried) = (self.attempts.candidates, Arc::clone(&self.attempts.tried));
        in_order_of_claims(candidates, &tried, &authorities, |index, position| {
            let (Some(required), Some(by)) = (members.get(position), signed.by.get_mut(position))
            else {
                return ControlFlow::Continue(());
            };
            if tries == Tries::UntilSatisfied && !by.is_empty() {
                return ControlFlow::Continue(());
            }
            match self.signature(index, required) {
                Tried::NotApplicable => {}
                Tried::Refused(refusal) | Tried::Cut(refusal) | Tried::Absent(refusal) => {
                    signed.shortfall.furthest.note(refusal);
                }
                Tried::Unusable(reason) => signed.note_unusable(position, reason),
                Tried::Exhausted => {
                    signed.shortfall.exhausted = true;
                    return ControlFlow::Break(());
                }
                Tried::Vouched(Vouched { voucher, .. }) => {
                    self.names.insert(required.authority.name.as_str());
                    by.insert(self.signers.signer(&voucher));
                    if enough(&signed.by) {
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        });
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

/// Whether nothing would have to be shown for it. No configuration says so by mistake: letting everything through has a
/// word of its own.
fn demands_nothing(requirement: &Requirement) -> bool {
    match requirement {
        Requirement::All(of) | Requirement::Any(of) => of.is_empty(),
        Requirement::AtLeast { count, .. } | Requirement::Signers { count, .. } => *count == 0,
        Requirement::Signature(_)
        | Requirement::Attestation(_)
        | Requirement::Nothing
        | Requirement::Refusal { .. } => false,
    }
}

/// Whether a member that is satisfied is tried further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tries {
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

/// The ways in which each member is satisfied.
fn each(by: &[BTreeSet<Voucher>]) -> Vec<Ways> {
    by.iter().cloned().map(Ways::by_each).collect()
}

/// What trying the signatures for several members gave.
#[derive(Debug)]
struct Signed {
    /// Who vouched, member by member.
    by: Vec<BTreeSet<Voucher>>,
    /// For which members a key or root was needed and not to be had.
    unusable: Vec<bool>,
    shortfall: Shortfall,
}

impl Signed {
    fn note_unusable(&mut self, position: usize, reason: String) {
        self.shortfall.note_undecided(reason, None);
        if let Some(unusable) = self.unusable.get_mut(position) {
            *unusable = true;
        }
    }
}
