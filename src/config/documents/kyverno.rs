//! Kyverno's `ClusterPolicy` and `Policy`, as far as they verify images.
//!
//! Each entry of `verifyImages` becomes one policy. A pull knows names, tags and digests, and nothing of Pods,
//! namespaces and users: what a policy says of those is left out where that tightens it, with a warning, and is a
//! problem where it would admit more.

mod attestations;
mod attestors;
mod certificates;
mod entry;
mod identity;
pub(super) mod image_validating_policy;
mod lookalike;
mod matching;
mod operations;
mod plain;
mod proofs;
mod rule;
mod signers;

#[cfg(test)]
mod tests;

use crate::config::WarningName;
use std::sync::Arc;

use super::super::policies::Surroundings;
use super::super::reader::{Field, Reader, Section};
use crate::policy::{DefaultAction, Mode, Policy};

pub(super) const VERSIONS: [&str; 2] = ["kyverno.io/v1", "kyverno.io/v2beta1"];

const KEYS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

const SPEC_KEYS: &[&str] = &[
    "rules",
    "applyRules",
    "failurePolicy",
    "validationFailureAction",
    "validationFailureActionOverrides",
    "emitWarning",
    "admission",
    "background",
    "schemaValidation",
    "webhookTimeoutSeconds",
    "webhookConfiguration",
    "mutateExistingOnPolicyUpdate",
    "generateExisting",
    "generateExistingOnPolicyUpdate",
    "useServerSideApply",
];

const NAMESPACED_KINDS: [&str; 2] = ["Policy", "NamespacedImageValidatingPolicy"];

const OVERRIDE_KEYS: &[&str] = &["action", "namespaces", "namespaceSelector"];

/// What is about Kyverno's webhook and controllers, and decides nothing.
const WITHOUT_MEANING: [(&str, Kind); 9] = [
    ("emitWarning", Kind::Boolean),
    ("background", Kind::Boolean),
    ("schemaValidation", Kind::Boolean),
    ("webhookTimeoutSeconds", Kind::Number),
    ("webhookConfiguration", Kind::Mapping),
    ("mutateExistingOnPolicyUpdate", Kind::Boolean),
    ("generateExisting", Kind::Boolean),
    ("generateExistingOnPolicyUpdate", Kind::Boolean),
    ("useServerSideApply", Kind::Boolean),
];

/// What must stand there, although it decides nothing: Kyverno takes nothing else.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Boolean,
    Number,
    Mapping,
}

/// What a rule takes from its policy.
#[derive(Debug)]
struct Document<'a> {
    name: &'a str,
    surroundings: &'a Surroundings<'a>,
    /// The action of entries that have none; absent where the policy has none either.
    action: Option<Mode>,
    /// Whether it is enforced in some namespace.
    enforced_somewhere: bool,
}

/// Says that a policy is for all pulls where its author has named some. Where it only audits it would let through, of
/// names that no other policy covers, what it was not written for.
fn widen(
    field: &Field<'_>,
    only_audits: bool,
    note: String,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let name = WarningName::ClusterScope;
    widen_as(name, field, only_audits, note, surroundings, reader);
}

/// The same with a warning of this name.
fn widen_as(
    name: WarningName,
    field: &Field<'_>,
    only_audits: bool,
    note: String,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    match surroundings.default {
        DefaultAction::Deny if only_audits => reader.problem(
            field,
            format!("{note}; it only audits, and would let through what it was not written for"),
            "remove it if that is meant, enforce the policy, or say `default: audit` in the configuration",
        ),
        DefaultAction::Deny | DefaultAction::Audit => reader.warn(field, name, note),
    }
}

/// The policies of one document; what keeps one from being used has been reported.
pub(super) fn read(
    document: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let section = document.section(KEYS, reader);
    let help = "name the policy under metadata.name: the name is in every refusal and in the log";
    let Some(metadata) = section.required("metadata", help, reader) else {
        return Vec::new();
    };
    let Some(name) = read_name(&metadata, help, reader) else {
        return Vec::new();
    };
    let Some(spec) = section.required("spec", "a policy has its rules under `spec`", reader) else {
        return Vec::new();
    };
    let spec = spec.section(SPEC_KEYS, reader);
    let kind = super::text_under(document, "kind").unwrap_or_default();
    note_what_has_no_meaning(&spec, reader);
    let document = Document {
        name,
        surroundings,
        action: spec
            .get("validationFailureAction")
            .and_then(|field| read_action(&field, reader)),
        enforced_somewhere: read_overrides(&spec, reader),
    };
    let Some(field) = spec.required("rules", "a policy has rules", reader) else {
        return Vec::new();
    };
    let rules = field.items(reader);
    if rules.is_empty() {
        reader.problem(
            &field,
            "an empty list of rules verifies no images",
            "write a rule with `verifyImages`, or remove the policy",
        );
    } else if !rules.iter().any(|rule| rule.has("verifyImages")) {
        reader.warn(
            &field,
            WarningName::VerifiesNothing,
            "the policy verifies no images: nothing comes of it",
        );
    }
    let known_problems = reader.problems.len();
    let only_audits = rules.iter().any(|rule| rule::only_audits(rule, &document));
    note_namespace(kind, &metadata, only_audits, surroundings, reader);
    note_webhook_conditions(&spec, only_audits, surroundings, reader);
    if let Some(field) = spec.get("admission")
        && plain::boolean(&field, reader) == Some(false)
    {
        note_background(&field, only_audits, surroundings, reader);
    }
    let is_usable = reader.problems.len() == known_problems;
    rules
        .iter()
        .flat_map(|field| rule::read(field, &document, reader))
        .filter(|_| is_usable)
        .map(|policy| Arc::new(policy.with_hash()))
        .collect()
}

fn read_name<'n>(metadata: &Field<'n>, help: &str, reader: &mut Reader) -> Option<&'n str> {
    let entries = metadata.entries(reader);
    let name = entries.iter().find(|(key, _)| key.name == "name");
    let name = name.and_then(|(_, field)| field.text(reader));
    if name.is_none_or(str::is_empty) {
        reader.problem(metadata, "`name` is missing", help);
        return None;
    }
    name
}

/// The policy is for one namespace if its kind is, or where one is written.
fn note_namespace(
    kind: &str,
    metadata: &Field<'_>,
    only_audits: bool,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let entries = metadata.entries(reader);
    let written = entries.iter().find(|(key, _)| key.name == "namespace");
    let field = match written {
        Some((_, field)) => field,
        None if NAMESPACED_KINDS.contains(&kind) => metadata,
        None => return,
    };
    let note = "namespaces are not known at a pull: the policy covers the pulls of all";
    widen(field, only_audits, note.to_owned(), surroundings, reader);
}

/// Kyverno's webhook is asked about some requests only, and then the policy is for those only.
fn note_webhook_conditions(
    spec: &Section<'_>,
    only_audits: bool,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let webhook = spec.get("webhookConfiguration");
    let Some(webhook) = webhook.filter(|it| it.has("matchConditions")) else {
        return;
    };
    let entries = webhook.entries(reader);
    let conditions = entries
        .iter()
        .find(|(key, _)| key.name == "matchConditions");
    if let Some((_, field)) = conditions
        && !operations::expressions_hold_for_pulls(field, reader)
    {
        let note = "`matchConditions` is about requests to a cluster: the policy covers every pull of its images";
        widen(field, only_audits, note.to_owned(), surroundings, reader);
    }
}

fn note_what_has_no_meaning(spec: &Section<'_>, reader: &mut Reader) {
    for (key, kind) in WITHOUT_MEANING {
        if let Some(field) = spec.get(key) {
            note_own_work(key, &field, reader);
            match kind {
                Kind::Boolean => drop(plain::boolean(&field, reader)),
                Kind::Number => drop(field.parse::<u32>("write a number of seconds", reader)),
                Kind::Mapping => drop(field.entries(reader)),
            }
        }
    }
    note_failure_policy(spec, reader);
    if let Some(field) = spec.get("applyRules") {
        let words = [("All", false), ("One", true)];
        if field.choice(&words, reader) == Some(true) {
            reader.warn(
                &field,
                WarningName::EveryRuleCounts,
                "here every rule that covers an image must be satisfied, not only the first",
            );
        }
    }
}

/// Says that Kyverno does not ask the policy about requests.
fn note_background(
    field: &Field<'_>,
    only_audits: bool,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let note = "Kyverno would only report in the background; here the policy decides about pulls";
    let name = WarningName::BackgroundOnly;
    widen_as(
        name,
        field,
        only_audits,
        note.to_owned(),
        surroundings,
        reader,
    );
}

/// Says that it decides nothing, with or without a pull.
fn note_own_work(key: &str, field: &Field<'_>, reader: &mut Reader) {
    reader.note(
        field,
        format!("`{key}` is about Kyverno's own work and changes nothing at a pull"),
    );
}

fn note_failure_policy(spec: &Section<'_>, reader: &mut Reader) {
    if let Some(field) = spec.get("failurePolicy") {
        let words = [("Fail", false), ("Ignore", true)];
        if field.choice(&words, reader) == Some(true) {
            reader.warn(
                &field,
                WarningName::FailurePolicy,
                "an image that cannot be verified is refused here whatever `failurePolicy` says",
            );
        }
    }
}

/// `Enforce` or `Audit`, in either case.
fn read_action(field: &Field<'_>, reader: &mut Reader) -> Option<Mode> {
    let words = [
        ("Enforce", Mode::Enforce),
        ("enforce", Mode::Enforce),
        ("Audit", Mode::Audit),
        ("audit", Mode::Audit),
    ];
    field.choice(&words, reader)
}

/// Whether the policy is enforced in some namespace. Which one a pull is for is not known.
fn read_overrides(spec: &Section<'_>, reader: &mut Reader) -> bool {
    let Some(field) = spec.get("validationFailureActionOverrides") else {
        return false;
    };
    let mut enforced = false;
    for item in field.items(reader) {
        let section = item.section(OVERRIDE_KEYS, reader);
        let help = "write Enforce or Audit";
        let action = section
            .required("action", help, reader)
            .and_then(|field| read_action(&field, reader));
        match action {
            Some(Mode::Enforce) => {
                enforced = true;
                reader.warn(
                    &item, WarningName::ClusterScope,
                    "namespaces are not known at a pull: what is enforced in one is enforced for all pulls",
                );
            }
            Some(Mode::Audit) => reader.warn(
                &item,
                WarningName::ClusterScope,
                "namespaces are not known at a pull: an exception for some is ignored",
            ),
            None => {}
        }
    }
    enforced
}
