//! Validations under each of the answers that matter about the name of an image.

use crate::config::WarningName;
use std::collections::BTreeSet;

use super::expression::{Expression, Refusal};
use super::meaning::{Definitions, Meaning};
use super::names::{self, Assumption, QUESTIONS_MAX};
use super::term::Formula;
use crate::config::reader::{Field, Reader};
use crate::policy::kyverno::reference::ReferenceRule;

/// The most cases of one policy.
const CASES_MAX: usize = 64;

/// What the validations demand where these answers apply.
#[derive(Debug)]
pub(super) struct Case<'a> {
    assumed: Vec<Assumption>,
    /// By each of the validations.
    pub(super) demanded: Vec<Formula>,
    pub(super) meaning: Meaning<'a>,
    /// The lists of images that the validations looked at.
    lists: BTreeSet<BTreeSet<String>>,
}

/// The cases in which the same is demanded.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// To which names they apply; nothing where that is every name.
    pub(super) guard: Option<ReferenceRule>,
    pub(super) case: Case<'a>,
}

impl Case<'_> {
    /// What all validations demand together.
    pub(super) fn formula(&self) -> Formula {
        let demanded = self.demanded.iter().cloned();
        demanded.fold(Formula::Constant(true), Formula::all)
    }

    /// Returns true if different things are demanded of different lists of images.
    pub(super) fn lists_differ(&self) -> bool {
        self.lists.len() > 1 || self.meaning.lists_differ
    }

    fn demands_the_same_as(&self, other: &Self) -> bool {
        self.formula() == other.formula() && self.meaning.vouching == other.meaning.vouching
    }
}

/// Every case; nothing where a validation has no meaning in one of them. Those are told once each, by the index of the
/// validation.
pub(super) fn explore<'a>(
    definitions: &'a Definitions,
    validations: &[&Expression],
) -> (Option<Vec<Case<'a>>>, Vec<(usize, Refusal)>) {
    let mut cases = Vec::new();
    let mut refusals: Vec<(usize, Refusal)> = Vec::new();
    let mut to_do = vec![Vec::new()];
    while let Some(assumed) = to_do.pop() {
        match evaluate(definitions, validations, assumed) {
            Outcome::Case(case) => cases.push(*case),
            Outcome::Refused(found) => {
                for (index, refusal) in found {
                    let is_known = |(at, it): &(usize, Refusal)| *at == index && it.is(&refusal);
                    if !refusals.iter().any(is_known) {
                        refusals.push((index, refusal));
                    }
                }
            }
            Outcome::Undecided { assumed, rule, at } => {
                let is_too_much =
                    assumed.len() >= QUESTIONS_MAX || cases.len() + to_do.len() >= CASES_MAX;
                if is_too_much {
                    refusals.push(at);
                    break;
                }
                for value in [false, true] {
                    let mut assumed = assumed.clone();
                    assumed.push((rule.clone(), value));
                    to_do.push(assumed);
                }
            }
        }
    }
    (refusals.is_empty().then_some(cases), refusals)
}

enum Outcome<'a> {
    Case(Box<Case<'a>>),
    Refused(Vec<(usize, Refusal)>),
    /// A question was asked that the assumptions do not answer.
    Undecided {
        assumed: Vec<Assumption>,
        rule: ReferenceRule,
        /// Where, if it cannot be answered at all.
        at: (usize, Refusal),
    },
}

fn evaluate<'a>(
    definitions: &'a Definitions,
    validations: &[&Expression],
    assumed: Vec<Assumption>,
) -> Outcome<'a> {
    let mut meaning = Meaning::new(definitions, assumed.clone());
    let mut demanded = Vec::new();
    let mut refusals = Vec::new();
    let mut lists = BTreeSet::new();
    for (index, expression) in validations.iter().enumerate() {
        match meaning.demand(expression) {
            Ok(formula) => {
                demanded.push(formula);
                lists.insert(std::mem::take(&mut meaning.used_images));
            }
            Err(refusal) => match meaning.undecided.take() {
                Some(rule) => {
                    let at = (index, refusal);
                    return Outcome::Undecided { assumed, rule, at };
                }
                None => refusals.push((index, refusal)),
            },
        }
    }
    if !refusals.is_empty() {
        return Outcome::Refused(refusals);
    }
    lists.retain(|it| !it.is_empty());
    Outcome::Case(Box::new(Case {
        assumed,
        demanded,
        meaning,
        lists,
    }))
}

/// The cases by what they demand. A case that demands nothing is for no image; nothing where that is all there are, or
/// where what is refused depends on what a pull does not know, which has been reported.
pub(super) fn group<'a>(
    mut cases: Vec<Case<'a>>,
    field: &Field<'_>,
    reader: &mut Reader,
) -> Option<Vec<Group<'a>>> {
    leave_out_digests(&mut cases, field, reader);
    let is = |value: bool| move |case: &Case<'_>| case.formula() == Formula::Constant(value);
    if cases.iter().all(is(true)) {
        reader.problem(
            field,
            "the validations demand no signature: every image would be let through",
            "demand one: images.containers.all(image, verifyImageSignatures(image, [attestors.…]) > 0)",
        );
        return None;
    }
    if cases.iter().all(is(false)) {
        reader.problem(
            field,
            "the validations can never be true together: every image would be refused",
            "remove what contradicts",
        );
        return None;
    }
    let is_about_tags = |case: &&Case<'_>| case.assumed.iter().any(|(it, _)| it.is_about_tags());
    if cases
        .iter()
        .filter(|it| is(false)(it))
        .any(|it| is_about_tags(&it))
    {
        reader.problem(
            field,
            "which tag or digest a Pod names is not known at a pull, so that no image is refused for it",
            "compare the registry and repository alone: image.startsWith('ghcr.io/org/')",
        );
        return None;
    }
    let count = cases.len();
    cases.retain(|case| !is(true)(case));
    if cases.len() < count {
        reader.note(
            field,
            "the policy is for the names alone of which a validation demands something",
        );
    }
    Some(merge(cases, count))
}

/// Puts those together that demand the same.
fn merge(cases: Vec<Case<'_>>, count: usize) -> Vec<Group<'_>> {
    let mut groups: Vec<(Vec<ReferenceRule>, usize, Case<'_>)> = Vec::new();
    for case in cases {
        let guard = names::all_of(&case.assumed);
        let same = groups
            .iter_mut()
            .find(|(_, _, it)| it.demands_the_same_as(&case));
        match same {
            Some((guards, merged, _)) => {
                guards.extend(guard);
                *merged += 1;
            }
            None => groups.push((guard.into_iter().collect(), 1, case)),
        }
    }
    let groups = groups.into_iter().map(|(mut guards, merged, case)| {
        let guard = match guards.pop() {
            _ if merged == count => None,
            Some(only) if guards.is_empty() => Some(only),
            last => Some(ReferenceRule::Any(guards.into_iter().chain(last).collect())),
        };
        Group { guard, case }
    });
    groups.collect()
}

/// That a Pod must name a digest is not asked for: what a tag stands for is verified and served by its digest.
fn leave_out_digests(cases: &mut Vec<Case<'_>>, field: &Field<'_>, reader: &mut Reader) {
    let without = |case: &Case<'_>| {
        let mut assumed = case.assumed.iter();
        assumed.any(|(rule, value)| names::asks_for_digest(rule) && !value)
    };
    let is_refused = |case: &Case<'_>| case.formula() == Formula::Constant(false);
    if !cases.iter().any(&without) || !cases.iter().filter(|it| without(it)).all(is_refused) {
        return;
    }
    reader.warn(
        field,
        WarningName::DigestsNotRewritten,
        "pulls by tag are not refused: the digest that a tag stands for is verified and served",
    );
    cases.retain(|case| !without(case));
    for case in cases {
        case.assumed
            .retain(|(rule, _)| !names::asks_for_digest(rule));
    }
}
