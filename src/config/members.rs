//! `authorities:` of a policy, which may be grouped: `all`, `any`, `at_least`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::authorities::{self, Names};
use super::policies;
use super::reader::{Field, Reader, Section};
use super::trusted_roots::TrustedRoots;
use crate::policy::{Authority, Requirement, SignatureRequirement};

pub(super) const KEYS: &[&str] = &["all", "any", "at_least", "of"];

/// How deep groups may be nested. Nobody understands more.
const DEPTH_MAX: usize = 8;

/// An authority or a group of them.
#[derive(Debug, Clone)]
pub(super) enum Member {
    Authority(Arc<Authority>),
    All(Vec<Self>),
    Any(Vec<Self>),
    AtLeast(usize, Vec<Self>),
}

/// The list under `authorities`; `None` when a member is not usable, which has been reported.
pub(super) fn read(
    field: &Field<'_>,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Vec<Member>> {
    read_list(field, 0, &mut Names::default(), roots, reader)
}

fn read_list(
    field: &Field<'_>,
    depth: usize,
    names: &mut Names,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Vec<Member>> {
    let items = field.items(reader);
    if items.is_empty() {
        authorities::refuse_empty(field, reader);
        return None;
    }
    let members: Vec<_> = items
        .iter()
        .map(|item| read_member(item, depth, names, roots, reader))
        .collect();
    members.into_iter().collect()
}

fn read_member(
    field: &Field<'_>,
    depth: usize,
    names: &mut Names,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Member> {
    if !is_group(field) {
        return authorities::read_named(field, names, roots, reader).map(Member::Authority);
    }
    if depth == DEPTH_MAX {
        reader.problem(
            field,
            format!("groups are nested more than {DEPTH_MAX} deep"),
            "make several policies of it: all that cover an image must be satisfied",
        );
        return None;
    }
    let section = field.section(KEYS, reader);
    let help = "a group is {all: […]}, {any: […]} or {at_least: 2, of: […]}";
    let mut list = |key: &'static str, reader: &mut Reader| {
        let members = section.required(key, help, reader)?;
        read_list(&members, depth + 1, names, roots, reader)
    };
    match present(&section).as_slice() {
        ["all"] => list("all", reader).map(Member::All),
        ["any"] => list("any", reader).map(Member::Any),
        ["at_least", "of"] => {
            let of = list("of", reader);
            let count = read_count(&section, of.as_ref().map(Vec::len), reader);
            if let (Some(count), Some(of)) = (count, &of) {
                warn_of_too_few(&section, count, of, reader);
            }
            Some(Member::AtLeast(count?, of?))
        }
        _ => {
            reader.problem(field, "no group of a known form", help);
            None
        }
    }
}

fn present(section: &Section<'_>) -> Vec<&'static str> {
    let keys = KEYS.iter().copied();
    keys.filter(|key| section.get(key).is_some()).collect()
}

/// Whether it is a group, however it is spelt.
pub(super) fn is_group(field: &Field<'_>) -> bool {
    KEYS.iter().any(|key| field.has(key))
}

/// How many members are needed: at least one, and no more than there are.
fn read_count(section: &Section<'_>, members: Option<usize>, reader: &mut Reader) -> Option<usize> {
    let field = section.get("at_least")?;
    let help = "write how many members must have signed, at least 1 and at most all of them";
    let count: usize = field.parse(help, reader)?;
    let members = members?;
    if count == 0 || count > members {
        reader.problem(
            &field,
            format!("{count} of {members} members cannot be"),
            help,
        );
        return None;
    }
    Some(count)
}

/// A signer counts for one member only, so that two names for one key are one of them.
fn warn_of_too_few(section: &Section<'_>, count: usize, of: &[Member], reader: &mut Reader) {
    let flat: Option<Vec<_>> = of.iter().map(|it| it.authority().cloned()).collect();
    if let (Some(field), Some(flat)) = (section.get("at_least"), flat) {
        policies::warn_of_too_few(&field, count, &flat, reader);
    }
}

impl Member {
    /// The authority, if it is no group.
    pub(super) fn authority(&self) -> Option<&Arc<Authority>> {
        match self {
            Self::Authority(authority) => Some(authority),
            Self::All(_) | Self::Any(_) | Self::AtLeast(..) => None,
        }
    }

    /// All authorities in it.
    pub(super) fn authorities(&self) -> Vec<Arc<Authority>> {
        match self {
            Self::Authority(authority) => vec![Arc::clone(authority)],
            Self::All(of) | Self::Any(of) | Self::AtLeast(_, of) => {
                of.iter().flat_map(Self::authorities).collect()
            }
        }
    }

    /// What must be signed, with these annotations under every signature.
    pub(super) fn requirement(&self, annotations: &BTreeMap<String, String>) -> Requirement {
        let members = |of: &[Self]| of.iter().map(|it| it.requirement(annotations)).collect();
        match self {
            Self::Authority(authority) => Requirement::Signature(SignatureRequirement {
                authority: Arc::clone(authority),
                annotations: annotations.clone(),
            }),
            Self::All(of) => Requirement::All(members(of)),
            Self::Any(of) => Requirement::Any(members(of)),
            Self::AtLeast(count, of) => Requirement::AtLeast {
                count: *count,
                of: members(of),
            },
        }
    }
}
