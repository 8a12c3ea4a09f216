//! One rule.

use crate::config::WarningName;
use std::collections::BTreeSet;

use super::super::super::reader::{Field, Reader, Section};
use super::{Document, entry, matching, operations};
use crate::policy::{Mode, Policy};

const KEYS: &[&str] = &[
    "name",
    "context",
    "reportProperties",
    "match",
    "exclude",
    "imageExtractors",
    "preconditions",
    "celPreconditions",
    "mutate",
    "validate",
    "generate",
    "verifyImages",
    "skipBackgroundRequests",
];

/// The policies of one rule.
pub(super) fn read(field: &Field<'_>, document: &Document<'_>, reader: &mut Reader) -> Vec<Policy> {
    let section = field.section(KEYS, reader);
    let help = "name the rule: the name is in every refusal and in the log";
    let name = section
        .required("name", help, reader)
        .and_then(|field| field.text(reader));
    let Some(entries) = section.get("verifyImages") else {
        reader.warn(
            field,
            WarningName::VerifiesNothing,
            "the rule verifies no images and is ignored",
        );
        return Vec::new();
    };
    let known_problems = reader.problems.len();
    let help = "Kyverno takes no rule without it: write {any: [{resources: {kinds: [Pod]}}]}";
    section.required("match", help, reader);
    note_conditions(&section, document, reader);
    let is_usable = reader.problems.len() == known_problems;
    let context = read_context(&section, reader);
    let list = entries;
    let entries = list.items(reader);
    if entries.is_empty() {
        reader.problem(
            &list,
            "an empty list verifies no images",
            "say which images must be signed, and by whom, or remove the rule",
        );
    }
    let Some(name) = name else {
        return Vec::new();
    };
    let rule = entry::Rule {
        context: &context,
        enforced: entries.iter().any(is_enforced),
    };
    let policies = entries.iter().enumerate().filter_map(|(index, field)| {
        let name = if entries.len() == 1 {
            format!("{}/{name}", document.name)
        } else {
            format!("{}/{name}#{}", document.name, index + 1)
        };
        entry::read(name, field, &rule, document, reader).filter(|_| is_usable)
    });
    policies.collect()
}

/// Whether it says so itself. What else stands there is read, and reported, with the entry.
fn is_enforced(entry: &Field<'_>) -> bool {
    let action = super::super::text_under(entry, "failureAction");
    action.is_some_and(|action| action.eq_ignore_ascii_case("enforce"))
}

/// Whether one of its entries only audits. What else stands there is read, and reported, with the entry.
pub(super) fn only_audits(rule: &Field<'_>, document: &Document<'_>) -> bool {
    // Unknown keys are reported once, by `read`.
    let reader = &mut Reader::default();
    let entries = rule.section(KEYS, reader).get("verifyImages");
    let entries = entries.map(|it| it.items(reader)).unwrap_or_default();
    let audits = |entry: &Field<'_>| match super::super::text_under(entry, "failureAction") {
        Some(action) => action.eq_ignore_ascii_case("audit"),
        None => document.action != Some(Mode::Enforce),
    };
    !document.enforced_somewhere && !entries.iter().any(is_enforced) && entries.iter().any(audits)
}

type Restricts = fn(&Field<'_>, &mut Reader) -> bool;

/// What may leave some pulls out, and whether it does.
const RESTRICTIONS: [(&str, Restricts); 3] = [
    ("exclude", matching::excludes),
    ("preconditions", |field, reader| {
        !operations::hold_for_pulls(field, reader)
    }),
    ("celPreconditions", |field, reader| {
        !operations::expressions_hold_for_pulls(field, reader)
    }),
];

/// What would leave some pulls out, and cannot at a pull.
fn note_conditions(section: &Section<'_>, document: &Document<'_>, reader: &mut Reader) {
    let only_audits = only_audits(section.field(), document);
    if let Some(field) = section.get("match") {
        for (field, note) in matching::left_out(&field, reader) {
            super::widen(&field, only_audits, note, document.surroundings, reader);
        }
    }
    for (key, restricts) in RESTRICTIONS {
        if let Some(field) = section.get(key)
            && restricts(&field, reader)
        {
            let note = format!(
                "`{key}` is about requests to a cluster: the rule covers every pull of its images"
            );
            super::widen(&field, only_audits, note, document.surroundings, reader);
        }
    }
    if let Some(field) = section.get("imageExtractors") {
        let note = "where a resource names its images is not known at a pull: the rule covers every pull of its images";
        super::widen(
            &field,
            only_audits,
            note.to_owned(),
            document.surroundings,
            reader,
        );
    }
    for key in ["mutate", "validate", "generate"] {
        if let Some(field) = section.get(key) {
            reader.warn(
                &field,
                WarningName::NoMeaningAtPull,
                format!("`{key}` has no meaning at a pull and is ignored"),
            );
        }
    }
}

/// The names of the variables that the rule defines; using one is a problem where it is used.
fn read_context(section: &Section<'_>, reader: &mut Reader) -> BTreeSet<String> {
    let Some(field) = section.get("context") else {
        return BTreeSet::new();
    };
    reader.warn(
        &field,
        WarningName::NoMeaningAtPull,
        "variables are not known at a pull: `context` is not read",
    );
    let items = field.items(reader);
    let names = items.iter().filter_map(|item| {
        let entries = item.entries(reader);
        let (_, name) = entries.iter().find(|(key, _)| key.name == "name")?;
        name.text(reader).map(ToOwned::to_owned)
    });
    names.collect()
}
