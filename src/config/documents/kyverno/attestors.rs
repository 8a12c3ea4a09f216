//! `attestors`: sets of which all must be satisfied, each by so many of its entries.

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::super::policies;
use super::super::super::reader::{Field, Reader, Section};
use super::certificates::Certified;
use super::entry::Scope;
use super::{certificates, plain, signers};
use crate::policy::{
    AttestationRequirement, Authority, Quantifier, Requirement, Rule, SignatureRequirement,
};

const SET_KEYS: &[&str] = &["count", "entries"];
const ENTRY_KEYS: &[&str] = &[
    "keys",
    "certificates",
    "keyless",
    "attestor",
    "annotations",
    "repository",
    "signatureAlgorithm",
];

/// How deep sets may be nested. Nobody understands more.
const DEPTH_MAX: usize = 8;

/// What an attestor vouches with.
#[derive(Debug)]
pub(super) enum Target {
    Signature,
    Attestation {
        predicate_type: String,
        condition: Option<Arc<dyn Rule>>,
    },
}

impl Target {
    fn requirement(
        &self,
        authority: Authority,
        annotations: &BTreeMap<String, String>,
    ) -> Requirement {
        let authority = Arc::new(authority);
        match self {
            Self::Signature => Requirement::Signature(SignatureRequirement {
                authority,
                annotations: annotations.clone(),
            }),
            Self::Attestation {
                predicate_type,
                condition,
            } => Requirement::Attestation(AttestationRequirement {
                predicate_type: predicate_type.clone(),
                authorities: vec![authority],
                // Kyverno checks every verified statement of the type.
                quantifier: Quantifier::All,
                condition: condition.clone(),
            }),
        }
    }
}

/// What each of the sets requires; `None` when one is not usable, which has been reported.
pub(super) fn read_sets(
    field: &Field<'_>,
    target: &Target,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) -> Option<Vec<Requirement>> {
    let items = field.items(reader);
    if items.is_empty() {
        refuse_empty(field, reader);
        return None;
    }
    let sets: Vec<_> = items
        .iter()
        .map(|item| read_set(item, target, 0, scope, reader))
        .collect();
    sets.into_iter().collect()
}

/// The signer of the older spelling: `key`, or `issuer` and `subject`, of the entry itself.
pub(super) fn read_older(
    section: &Section<'_>,
    target: &Target,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Requirement> {
    refuse_annotations(section.field(), target, &scope.annotations, reader)?;
    let authorities = signers::read_older(section, scope, reader)?;
    let members = authorities.into_iter();
    let members = members.map(|authority| target.requirement(authority, &scope.annotations));
    Some(Requirement::all(members.collect()))
}

pub(super) fn read_annotations(field: &Field<'_>, reader: &mut Reader) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    for (key, value) in field.entries(reader) {
        if let Some(text) = plain::literal(&value, reader) {
            annotations.insert(key.name.clone(), text.to_owned());
        }
    }
    annotations
}

/// Kyverno looks for annotations in attestations, where cosign puts none, and so verifies none that must have some.
fn refuse_annotations(
    field: &Field<'_>,
    target: &Target,
    annotations: &BTreeMap<String, String>,
    reader: &mut Reader,
) -> Option<()> {
    if annotations.is_empty() || matches!(target, Target::Signature) {
        return Some(());
    }
    reader.problem(
        field,
        "attestations carry no `annotations`, so Kyverno would verify none",
        "remove the annotations, or demand them of signatures in a rule of its own",
    );
    None
}

/// Of several keys for an attestation Kyverno looks at the first alone.
fn read_keys(
    field: &Field<'_>,
    target: &Target,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Vec<Authority>> {
    let authorities = signers::read_keys(field, scope, reader)?;
    if authorities.len() > 1 && matches!(target, Target::Attestation { .. }) {
        reader.problem(
            field,
            "several keys in one entry: for attestations Kyverno looks at the first alone",
            "write an entry for each key, and `count: 1` where one of them is enough",
        );
        return None;
    }
    Some(authorities)
}

fn refuse_empty(field: &Field<'_>, reader: &mut Reader) {
    reader.problem(
        field,
        "an empty list of attestors lets nobody vouch, or anybody",
        "add keys, or an identity with its issuer",
    );
}

fn read_set(
    field: &Field<'_>,
    target: &Target,
    depth: usize,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) -> Option<Requirement> {
    if depth == DEPTH_MAX {
        reader.problem(
            field,
            format!("attestors are nested more than {DEPTH_MAX} deep"),
            "make several rules of it: all that cover an image must be satisfied",
        );
        return None;
    }
    let section = field.section(SET_KEYS, reader);
    let entries = section.required("entries", "list who may vouch", reader)?;
    let items = entries.items(reader);
    if items.is_empty() {
        refuse_empty(&entries, reader);
        return None;
    }
    let members: Vec<_> = items
        .iter()
        .map(|item| read_entry(item, target, depth, scope, reader))
        .collect();
    let members: Option<Vec<_>> = members.into_iter().collect();
    let count = match section.get("count") {
        Some(field) => {
            let help = "write how many of the entries are needed; 0, or no `count`, means all";
            Some((field.parse::<usize>(help, reader)?, field))
        }
        None => None,
    };
    // Each of several PEM blocks counts as an entry of its own.
    let members: Vec<_> = members?.into_iter().flatten().collect();
    match count {
        None | Some((0, _)) => Some(Requirement::all(members)),
        Some((count, field)) if count > members.len() => {
            reader.problem(
                &field,
                format!("{count} of {} entries cannot be", members.len()),
                "write at most the number of entries",
            );
            None
        }
        Some((1, _)) if members.len() == 1 => Some(Requirement::all(members)),
        Some((1, _)) => Some(Requirement::Any(members)),
        // Not `all` where all are needed: who is listed twice would be counted twice.
        Some((count, field)) => {
            note_repeated(&field, count, &members, reader);
            Some(Requirement::AtLeast { count, of: members })
        }
    }
}

/// Warns of a signer who is listed more than once.
fn note_repeated(field: &Field<'_>, count: usize, members: &[Requirement], reader: &mut Reader) {
    let authorities = members.iter().map(Requirement::authorities);
    let Ok(authorities) = authorities
        .map(|of| <[&Arc<Authority>; 1]>::try_from(of).map(|[only]| Arc::clone(only)))
        .collect::<Result<Vec<_>, _>>()
    else {
        // A nested set is satisfied in more than one way.
        return;
    };
    if policies::warn_of_too_few(field, count, &authorities, reader) {
        return;
    }
    if policies::count_distinct(&authorities).is_some_and(|it| it < authorities.len()) {
        reader.warn(
            field, WarningName::ListedTwice,
            "a signer who is listed more than once counts once here, and in Kyverno as often as listed",
        );
    }
}

fn read_entry(
    field: &Field<'_>,
    target: &Target,
    depth: usize,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) -> Option<Vec<Requirement>> {
    let section = field.section(ENTRY_KEYS, reader);
    let kinds = ["keys", "certificates", "keyless", "attestor"];
    let kinds = kinds
        .into_iter()
        .filter_map(|key| section.get(key).map(|field| (key, field)));
    let kinds: Vec<_> = kinds.collect();
    if let Some(field) = section.get("repository") {
        scope.add_repository(&field, reader);
    }
    signers::check_algorithm(&section, "signatureAlgorithm", reader);
    // As in Kyverno, an entry's own annotations replace those of the rule.
    let annotations = match section.get("annotations") {
        Some(field) => read_annotations(&field, reader),
        None => scope.annotations.clone(),
    };
    let is_nested = matches!(kinds.as_slice(), [("attestor", _)]);
    if !is_nested {
        refuse_annotations(field, target, &annotations, reader)?;
    }
    let authorities = match kinds.as_slice() {
        [("keys", keys)] => read_keys(keys, target, scope, reader)?,
        [("keyless", keyless)] => vec![signers::read_keyless(keyless, scope, reader)?],
        [("certificates", certificates)] => {
            match certificates::read(certificates, scope, reader)? {
                Certified::Signer(authority) => vec![*authority],
                Certified::Nobody(reason) => {
                    let message = format!("nobody can vouch as the policy demands: {reason}");
                    return Some(vec![Requirement::Refusal { message }]);
                }
            }
        }
        [("attestor", nested)] => {
            return read_set(nested, target, depth + 1, scope, reader).map(|set| vec![set]);
        }
        _ => {
            reader.problem(
                field,
                "an entry is one of `keys`, `keyless`, `certificates` and `attestor`: without one of them it lets \
                 anybody vouch",
                "keep one of them in each entry",
            );
            return None;
        }
    };
    let members = authorities.into_iter();
    Some(
        members
            .map(|it| target.requirement(it, &annotations))
            .collect(),
    )
}
