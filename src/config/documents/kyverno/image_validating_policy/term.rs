//! What the parts of an expression stand for at a pull.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::{Context, IdedExpr, Value};

use super::about::Item;
use crate::policy::kyverno::reference::Part;

/// What a part of an expression stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    /// The image that is pulled.
    Image,
    /// A part of its name.
    Name(Part),
    /// What `parseImageReference` makes of its name.
    ParsedName,
    /// One of the policy's attestors.
    Attestor(usize),
    /// One of the policy's attestations.
    Attestation(usize),
    /// `images`, `attestors`, `attestations` or `variables`.
    Names(Names),
    /// A list that is written out.
    List(Vec<Item>),
    /// What images of a Pod give: each of these, and nobody knows how many of them.
    Several(Vec<Self>),
    /// How many of these vouch.
    Count(Vec<Vouching>),
    /// True or false.
    Truth(Formula),
    /// What is computed from what was signed, or is a constant.
    Value(Computed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Images,
    Attestors,
    Attestations,
    Variables,
}

/// An attestor who may vouch, with a signature or with an attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouching {
    Signature { attestor: usize },
    Attestation { attestation: usize, attestor: usize },
}

impl Term {
    /// What is computed from what was signed, or is a constant, if the term is that.
    pub(super) fn value(&self) -> Option<&Computed> {
        if let Self::Value(computed) = self {
            Some(computed)
        } else {
            None
        }
    }

    /// Returns true if it is the same whatever was signed.
    pub(super) fn is_constant(&self) -> bool {
        let is_constant = |formula: &Formula| matches!(formula, Formula::Constant(_));
        self.value().is_some_and(|it| it.attested.is_none())
            || matches!(self, Self::Truth(formula) if is_constant(formula))
    }
}

impl Vouching {
    /// The attestor who may vouch.
    pub(super) fn attestor(self) -> usize {
        match self {
            Self::Signature { attestor } | Self::Attestation { attestor, .. } => attestor,
        }
    }
}

/// Something that is true or false.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Formula {
    Constant(bool),
    /// So many of these vouch; at least one of at least so many.
    AtLeast(usize, Vec<Vouching>),
    /// True of the statement of an attestation.
    Condition(Computed),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// An expression over `statement`, what an attestation signs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Computed {
    pub(super) expression: IdedExpr,
    /// The index of the attestation; absent for constants.
    pub(super) attested: Option<usize>,
    /// How many parts the expression has.
    pub(super) size: usize,
    /// How deep they are within each other.
    pub(super) depth: usize,
}

/// Two different attestations in one computation.
#[derive(Debug)]
pub(super) struct TwoAttestations;

/// What the statement is called in what is computed from it.
pub(super) const STATEMENT: &str = "statement";

impl Computed {
    /// How deep an expression may be: it is evaluated by recursion.
    pub(super) const DEPTH_MAX: usize = 64;

    /// What an attestation signs.
    pub(super) fn statement(attestation: usize) -> Self {
        Self::named(STATEMENT, Some(attestation))
    }

    /// What a name stands for inside `all`, `map` and the like.
    pub(super) fn named(name: &str, attested: Option<usize>) -> Self {
        Self {
            expression: part(Expr::Ident(name.to_owned())),
            attested,
            size: 1,
            depth: 1,
        }
    }

    pub(super) fn literal(literal: LiteralValue) -> Self {
        Self {
            expression: part(Expr::Literal(literal)),
            attested: None,
            size: 1,
            depth: 1,
        }
    }

    /// An expression made of the expressions of several.
    pub(super) fn of(
        parts: Vec<Self>,
        make: impl FnOnce(Vec<IdedExpr>) -> Expr,
    ) -> Result<Self, TwoAttestations> {
        let attested: BTreeSet<_> = parts.iter().filter_map(|it| it.attested).collect();
        if attested.len() > 1 {
            return Err(TwoAttestations);
        }
        let size = parts.iter().map(|it| it.size).sum::<usize>() + 1;
        let depth = parts.iter().map(|it| it.depth).max().unwrap_or_default() + 1;
        let parts = parts.into_iter().map(|it| it.expression).collect();
        Ok(Self {
            expression: part(make(parts)),
            attested: attested.first().copied(),
            size,
            depth,
        })
    }

    pub(super) fn call(function: &str, arguments: Vec<Self>) -> Result<Self, TwoAttestations> {
        Self::of(arguments, |args| {
            Expr::Call(CallExpr {
                func_name: function.to_owned(),
                target: None,
                args,
            })
        })
    }

    /// The value, if it does not depend on an attestation and has one.
    pub(super) fn constant(&self) -> Option<Value> {
        if self.attested.is_some() {
            return None;
        }
        Value::resolve(&self.expression, &Context::default()).ok()
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self.constant() {
            Some(Value::Bool(value)) => Some(value),
            Some(_) | None => None,
        }
    }

    pub(super) fn whole_number(&self) -> Option<i64> {
        match self.constant() {
            Some(Value::Int(value)) => Some(value),
            Some(Value::UInt(value)) => i64::try_from(value).ok(),
            Some(_) | None => None,
        }
    }

    pub(super) fn text(&self) -> Option<String> {
        match self.constant() {
            Some(Value::String(value)) => Some(value.to_string()),
            Some(_) | None => None,
        }
    }

    fn negated(self) -> Self {
        Self {
            attested: self.attested,
            size: self.size + 1,
            depth: self.depth + 1,
            expression: part(Expr::Call(CallExpr {
                func_name: operators::LOGICAL_NOT.to_owned(),
                target: None,
                args: vec![self.expression],
            })),
        }
    }
}

/// Parts that are put together have no place in a source.
fn part(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

impl Formula {
    pub(super) fn all(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(true), it) | (it, Self::Constant(true)) => it,
            (Self::Constant(false), _) | (_, Self::Constant(false)) => Self::Constant(false),
            (left, right) => {
                let mut members = left.into_all();
                for member in right.into_all() {
                    join(&mut members, member, operators::LOGICAL_AND);
                }
                one_or(members, Self::All)
            }
        }
    }

    pub(super) fn any(self, other: Self) -> Self {
        match (self, other) {
            (Self::Constant(false), it) | (it, Self::Constant(false)) => it,
            (Self::Constant(true), _) | (_, Self::Constant(true)) => Self::Constant(true),
            (left, right) => {
                let mut members = left.into_any();
                for member in right.into_any() {
                    join(&mut members, member, operators::LOGICAL_OR);
                }
                one_or(members, Self::Any)
            }
        }
    }

    /// The opposite; nothing where that would be that somebody has not signed.
    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Constant(value) => Some(Self::Constant(!value)),
            Self::AtLeast(..) => None,
            Self::Condition(computed) => Some(Self::Condition(computed.negated())),
            Self::All(members) => {
                let members = members.into_iter().map(Self::negated);
                let members = members.collect::<Option<Vec<_>>>()?;
                Some(members.into_iter().fold(Self::Constant(false), Self::any))
            }
            Self::Any(members) => {
                let members = members.into_iter().map(Self::negated);
                let members = members.collect::<Option<Vec<_>>>()?;
                Some(members.into_iter().fold(Self::Constant(true), Self::all))
            }
        }
    }

    /// What must be true for it to be.
    pub(super) fn into_all(self) -> Vec<Self> {
        match self {
            Self::All(members) => members,
            Self::Constant(_) | Self::AtLeast(..) | Self::Condition(_) | Self::Any(_) => vec![self],
        }
    }

    fn into_any(self) -> Vec<Self> {
        match self {
            Self::Any(members) => members,
            Self::Constant(_) | Self::AtLeast(..) | Self::Condition(_) | Self::All(_) => vec![self],
        }
    }

    /// The attestations that somebody has vouched for where it is true, by index.
    pub(super) fn established(&self) -> BTreeSet<usize> {
        match self {
            Self::Constant(_) | Self::Condition(_) => BTreeSet::new(),
            Self::AtLeast(_, of) => {
                let attested = of.iter().map(|vouching| match vouching {
                    Vouching::Signature { .. } => None,
                    Vouching::Attestation { attestation, .. } => Some(*attestation),
                });
                let attested: BTreeSet<_> = attested.collect();
                match attested.first() {
                    Some(Some(only)) if attested.len() == 1 => BTreeSet::from([*only]),
                    Some(_) | None => BTreeSet::new(),
                }
            }
            Self::All(members) => members.iter().flat_map(Self::established).collect(),
            Self::Any(members) => {
                let mut established = members.iter().map(Self::established);
                let first = established.next().unwrap_or_default();
                established.fold(first, |all, it| all.intersection(&it).copied().collect())
            }
        }
    }
}

/// Adds a member. What is asked of one statement twice is asked of it once: both are about the same statement.
fn join(members: &mut Vec<Formula>, member: Formula, operator: &str) {
    if members.contains(&member) {
        return;
    }
    if let Formula::Condition(computed) = &member {
        let same = members.iter_mut().find_map(|it| match it {
            Formula::Condition(other) if other.attested == computed.attested => Some(other),
            Formula::Constant(_)
            | Formula::AtLeast(..)
            | Formula::Condition(_)
            | Formula::All(_)
            | Formula::Any(_) => None,
        });
        if let Some(other) = same
            && let Ok(joined) = Computed::call(operator, vec![other.clone(), computed.clone()])
            && joined.depth <= Computed::DEPTH_MAX
        {
            *other = joined;
            return;
        }
    }
    members.push(member);
}

fn one_or(mut members: Vec<Formula>, of: fn(Vec<Formula>) -> Formula) -> Formula {
    match members.pop() {
        Some(only) if members.is_empty() => only,
        last => of(members.into_iter().chain(last).collect()),
    }
}
