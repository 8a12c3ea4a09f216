//! Kyverno's `ImageValidatingPolicy` and `NamespacedImageValidatingPolicy`, whose conditions are expressions.
//!
//! What the validations demand of every image of a Pod is demanded of the one that is pulled. An expression that depends
//! on anything else than the image, who signed it and its attestations is a problem; what only says for which resources
//! the policy is asked is left out with a warning, which tightens it.

mod about;
mod attestations;
mod attestors;
mod calls;
mod cases;
mod counts;
mod demands;
mod expression;
mod identities;
mod image_references;
mod loops;
mod meaning;
mod names;
mod resources;
mod term;
mod values;
mod vouching;

#[cfg(test)]
mod tests;

use crate::config::WarningName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::entry::{Scope, note_validation};
use super::plain;
use crate::config::documents;
use crate::config::policies::Surroundings;
use crate::config::reader::{Field, Reader, Section};
use crate::oci::Digest;
use crate::policy::kyverno::ReferenceCoverage;
use crate::policy::{Coverage, ImportedCoverage as _, Mode, Policy, SignedName};
use attestors::{Attestor, read_name};
use expression::Expression;
use meaning::{Definitions, NamedAttestor};

pub(in crate::config::documents) const KINDS: [&str; 2] =
    ["ImageValidatingPolicy", "NamespacedImageValidatingPolicy"];
pub(in crate::config::documents) const VERSIONS: [&str; 3] = [
    "policies.kyverno.io/v1alpha1",
    "policies.kyverno.io/v1beta1",
    "policies.kyverno.io/v1",
];

const SPEC_KEYS: &[&str] = &[
    "matchConstraints",
    "failurePolicy",
    "auditAnnotations",
    "validationActions",
    "matchConditions",
    "variables",
    "validationConfigurations",
    "matchImageReferences",
    "credentials",
    "images",
    "attestors",
    "attestations",
    "validations",
    "webhookConfiguration",
    "evaluation",
    "autogen",
];
const VALIDATION_KEYS: &[&str] = &["mutateDigest", "verifyDigest", "required"];
const EVALUATION_KEYS: &[&str] = &["mode", "admission", "background"];
const ENABLED_KEYS: &[&str] = &["enabled"];
const NAMED_KEYS: &[&str] = &["name", "expression"];

/// The lists of images that every Pod has.
const POD_IMAGES: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The policy, or one for each group of names of which different things are demanded; none when it is not usable, which
/// has been reported.
pub(in crate::config::documents) fn read(
    document: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    read_usable(document, surroundings, reader).unwrap_or_default()
}

fn read_usable(
    document: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Vec<Arc<Policy>>> {
    let known_problems = reader.problems.len();
    let section = document.section(super::KEYS, reader);
    let help = "name the policy under metadata.name: the name is in every refusal and in the log";
    let metadata = section.required("metadata", help, reader);
    let name = metadata
        .as_ref()
        .and_then(|metadata| super::read_name(metadata, help, reader));
    let spec = section.required("spec", "a policy says what it demands under `spec`", reader)?;
    let spec = spec.section(SPEC_KEYS, reader);
    note_what_has_no_meaning(&spec, reader);
    let references = spec.get("matchImageReferences");
    let coverage = image_references::read(references.as_ref(), surroundings, reader);
    let mode = read_mode(&spec, reader);
    let only_audits = mode == Mode::Audit;
    if let Some(metadata) = &metadata {
        let kind = documents::text_under(document, "kind").unwrap_or_default();
        super::note_namespace(kind, metadata, only_audits, surroundings, reader);
    }
    for (field, note) in resources::left_out(&spec, only_audits, reader) {
        super::widen(&field, only_audits, note, surroundings, reader);
    }
    if let Some(field) = spec.get("images") {
        let note = "where a resource names its images is not known at a pull: each list stands for the image that is pulled";
        super::widen(&field, only_audits, note.to_owned(), surroundings, reader);
    }
    if let Some(field) = spec.get("evaluation") {
        note_evaluation(&field, only_audits, surroundings, reader);
    }
    let context = BTreeSet::new();
    let mut scope = Scope {
        surroundings,
        context: &context,
        annotations: BTreeMap::new(),
        is_for_bundles: false,
        repositories: Vec::new(),
    };
    let attestors = attestors::read(spec.get("attestors").as_ref(), &mut scope, reader);
    let definitions = read_definitions(&spec, &attestors, reader);
    let demands = demands::read(&spec, &attestors, &definitions, reader);
    let (name, coverage, demands) = (name?.to_owned(), coverage?, demands?);
    let field = references.as_ref().unwrap_or_else(|| spec.field());
    let is_one = demands.len() == 1;
    let mut policies = Vec::new();
    for (index, demand) in demands.into_iter().enumerate() {
        let coverage = coverage.clone().guarded(demand.guard);
        check_coverage(&coverage, mode, field, surroundings, reader);
        let policy = Policy {
            name: if is_one {
                name.clone()
            } else {
                format!("{name}#{}", index + 1)
            },
            hash: Digest::sha256(b""),
            origin: Some(document.node.position.origin()),
            coverage: Coverage::Imported(Arc::new(coverage)),
            mode,
            requirement: demand.requirement,
            signature_repositories: scope.repositories.clone(),
            signed_name: SignedName::Any,
            max_signature_age: None,
        };
        policies.push(Arc::new(policy.with_hash()));
    }
    (reader.problems.len() == known_problems).then_some(policies)
}

/// Reports what an audit would let through that its author did not mean.
fn check_coverage(
    coverage: &ReferenceCoverage,
    mode: Mode,
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let only_audits = mode == Mode::Audit;
    let waives = only_audits.then_some("only audits");
    documents::undoes_default(coverage, waives, field, surroundings, reader);
    if only_audits && coverage.is_about_tags() {
        let note =
            "which tags a digest goes by is not always known, and in doubt the policy covers it";
        super::widen(field, only_audits, note.to_owned(), surroundings, reader);
    }
}

fn read_definitions(
    spec: &Section<'_>,
    attestors: &[Attestor],
    reader: &mut Reader,
) -> Definitions {
    let named = attestors.iter().map(|attestor| NamedAttestor {
        name: attestor.name.clone(),
        has_annotations: !attestor.annotations.is_empty(),
        is_of_notary: attestor.is_of_notary,
    });
    let mut images: BTreeSet<_> = POD_IMAGES.map(ToOwned::to_owned).into();
    images.extend(read_extractors(spec, reader));
    Definitions {
        attestors: named.collect(),
        attestations: attestations::read(spec.get("attestations").as_ref(), reader),
        variables: read_variables(spec, reader),
        images,
    }
}

/// The names of further lists of images.
fn read_extractors(spec: &Section<'_>, reader: &mut Reader) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let Some(field) = spec.get("images") else {
        return names;
    };
    for item in field.items(reader) {
        let section = item.section(NAMED_KEYS, reader);
        read_name(&section, &mut names, reader);
        section.required("expression", "say where the images are", reader);
    }
    names
}

fn read_variables(spec: &Section<'_>, reader: &mut Reader) -> Vec<(String, Expression)> {
    let field = spec.get("variables");
    let items = field.map(|it| it.items(reader)).unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut variables = Vec::new();
    for item in &items {
        let section = item.section(NAMED_KEYS, reader);
        let name = read_name(&section, &mut names, reader);
        let expression = section
            .required("expression", "say what the variable is", reader)
            .and_then(|field| Expression::read(&field, reader));
        variables.extend(name.zip(expression));
    }
    variables
}

/// Refusals count with `Deny`, which is also what Kyverno does where nothing is said.
fn read_mode(spec: &Section<'_>, reader: &mut Reader) -> Mode {
    let Some(field) = spec.get("validationActions") else {
        return Mode::Enforce;
    };
    let items = field.items(reader);
    let words = [
        ("Deny", Mode::Enforce),
        ("Audit", Mode::Audit),
        ("Warn", Mode::Audit),
    ];
    let modes: Vec<_> = items
        .iter()
        .map(|item| item.choice(&words, reader))
        .collect();
    let audits = !modes.is_empty() && modes.iter().all(|mode| *mode == Some(Mode::Audit));
    if audits { Mode::Audit } else { Mode::Enforce }
}

fn note_what_has_no_meaning(spec: &Section<'_>, reader: &mut Reader) {
    for key in ["webhookConfiguration", "autogen", "auditAnnotations"] {
        if let Some(field) = spec.get(key) {
            super::note_own_work(key, &field, reader);
        }
    }
    super::note_failure_policy(spec, reader);
    if let Some(field) = spec.get("validationConfigurations") {
        note_validation(&field.section(VALIDATION_KEYS, reader), reader);
    }
    if let Some(field) = spec.get("credentials") {
        reader.warn(
            &field,
            WarningName::CredentialsElsewhere,
            "credentials, and whether a registry is reached without TLS, are set under `upstreams`",
        );
    }
}

/// Says of which resources Kyverno would ask the policy, and when.
fn note_evaluation(
    field: &Field<'_>,
    only_audits: bool,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let section = field.section(EVALUATION_KEYS, reader);
    if let Some(mode) = section.get("mode")
        && mode.text(reader).is_some_and(|text| text != "Kubernetes")
    {
        let note = "what names the image is not known at a pull: the policy covers every pull of its images";
        super::widen(&mode, only_audits, note.to_owned(), surroundings, reader);
    }
    for key in ["admission", "background"] {
        let Some(field) = section.get(key) else {
            continue;
        };
        let enabled = field.section(ENABLED_KEYS, reader).get("enabled");
        let enabled = enabled.and_then(|field| plain::boolean(&field, reader));
        if key == "admission" && enabled == Some(false) {
            super::note_background(&field, only_audits, surroundings, reader);
        }
    }
}
