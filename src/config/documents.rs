//! `policy_files:` policies as other projects write them, unchanged.
//!
//! Each kind of document becomes the same [`Policy`] that the native configuration makes. What a document says and a pull
//! cannot honour is reported: with what it means here, or, where leaving it out would admit more than its author meant,
//! as a problem. Nothing is left out silently.

mod cluster_image_policy;
mod containers_policy;
mod kyverno;
mod root_document;
mod trust_root;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::policies::Surroundings;
use super::reader::{Field, Reader, Section};
use super::yaml::{self, Node, Source, Value};
use super::{Position, Problem};
use crate::policy::{DefaultAction, Doubt, ImportedCoverage, Mode, Policy, Requirement};
use kyverno::image_validating_policy;
use trust_root::TrustRoots;

/// The most files that one pattern may name.
const FILES_MAX: usize = 1000;

/// The kinds of documents that are policies: API group, kind, and the words for messages.
const KINDS: &str = "Kyverno's ClusterPolicy, Policy and ImageValidatingPolicy, policy-controller's \
                     ClusterImagePolicy and TrustRoot, and containers' policy.json";

/// The policies in the files that the patterns name. Every document that is not usable has been reported.
pub(super) fn read(
    field: Option<&Field<'_>>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let patterns = field.map(|field| field.items(reader)).unwrap_or_default();
    let mut documents = Vec::new();
    for pattern in &patterns {
        for path in paths(pattern, reader) {
            documents.extend(load(pattern, &path, reader));
        }
    }
    read_documents(&documents, surroundings, reader)
}

/// The policies in documents that are already parsed.
pub(super) fn read_documents(
    documents: &[Node],
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let roots = TrustRoots::read(documents, surroundings.roots, reader);
    let policies: Vec<_> = documents
        .iter()
        .flat_map(|node| read_document(&Field::root(node), &roots, surroundings, reader))
        .collect();
    refuse_same_names(&policies, reader);
    policies
}

fn read_document(
    document: &Field<'_>,
    roots: &TrustRoots<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let kind = text_under(document, "kind").unwrap_or_default();
    let version = text_under(document, "apiVersion").unwrap_or_default();
    if containers_policy::is_one(document) {
        return containers_policy::read(document, surroundings, reader);
    }
    if kind == cluster_image_policy::KIND && cluster_image_policy::VERSIONS.contains(&version) {
        let policy = cluster_image_policy::read(document, roots, surroundings, reader);
        return policy.into_iter().collect();
    }
    if kind == trust_root::KIND && trust_root::VERSIONS.contains(&version) {
        // Read beforehand, for the policies that name it.
        return Vec::new();
    }
    if matches!(version, "kyverno.io/v1" | "kyverno.io/v2beta1")
        && matches!(kind, "ClusterPolicy" | "Policy")
    {
        return kyverno::read(document, surroundings, reader);
    }
    if image_validating_policy::KINDS.contains(&kind)
        && image_validating_policy::VERSIONS.contains(&version)
    {
        let policy = image_validating_policy::read(document, surroundings, reader);
        return policy.into_iter().collect();
    }
    reader.problem(
        document,
        format!("`{version}` `{kind}` is no policy that is understood here"),
        format!("known: {KINDS}"),
    );
    Vec::new()
}

/// `metadata.name`.
pub(super) fn read_name(document: &Section<'_>, reader: &mut Reader) -> Option<String> {
    let help = "name it: {name: …}";
    let metadata = document.required("metadata", help, reader)?;
    match text_under(&metadata, "name") {
        Some(name) if !name.is_empty() => Some(name.to_owned()),
        Some(_) | None => {
            reader.problem(&metadata, "`name` is missing", help);
            None
        }
    }
}

/// Whether a pattern has a scheme, which no name of an image has; it has been reported then. `matches` is what it does
/// not do.
fn has_scheme(pattern: &str, matches: &str, field: &Field<'_>, reader: &mut Reader) -> bool {
    let has_scheme = pattern.contains("://");
    if has_scheme {
        let message = format!(
            "`{pattern}` {matches} nothing: names of images have no scheme such as `https://`"
        );
        reader.warn(field, message);
    }
    has_scheme
}

/// What becomes of what it covers, if nothing of that is refused: it audits, or requires nothing.
fn waives(mode: Mode, requirement: &Requirement) -> Option<&'static str> {
    match mode {
        Mode::Audit => Some("only audits"),
        Mode::Enforce if cluster_image_policy::needs_nothing(requirement) => {
            Some("lets it through unsigned")
        }
        Mode::Enforce => None,
    }
}

/// What lets images through covers only what it certainly means.
fn doubt(waives: Option<&str>) -> Doubt {
    match waives {
        Some(_) => Doubt::DoesNotCover,
        None => Doubt::Covers,
    }
}

/// A name without any policy is refused: a policy that refuses nothing and covers every name would undo `default: deny`
/// without saying so. Whether it is one, which has been reported.
///
/// Documents that are read without a configuration stand under no default.
fn undoes_default(
    coverage: &dyn ImportedCoverage,
    waives: Option<&str>,
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> bool {
    let Some(waives) = waives.filter(|_| coverage.covers_everything()) else {
        return false;
    };
    match surroundings.default {
        DefaultAction::Audit => false,
        DefaultAction::Deny if surroundings.are_of_documents() => {
            reader.warn(
                field,
                format!(
                    "the policy covers every image and {waives}: usable only under `default: audit`"
                ),
            );
            false
        }
        DefaultAction::Deny => {
            reader.problem(
                field,
                format!(
                    "the policy covers every image and {waives}: nothing would be refused any more"
                ),
                "name the repositories, or say `default: audit` in the configuration as well",
            );
            true
        }
    }
}

/// In a cluster the later one would have replaced the earlier.
fn refuse_same_names(policies: &[Arc<Policy>], reader: &mut Reader) {
    let mut names = BTreeMap::new();
    for policy in policies {
        let Some(origin) = &policy.origin else {
            continue;
        };
        if let Some(first) = names.insert(&policy.name, origin) {
            let position = Position {
                file: Arc::new(PathBuf::from(&origin.file)),
                line: origin.line,
                column: 1,
            };
            reader.problem_at(
                position,
                "",
                format!("`{}` is the name of two policies", policy.name),
                format!("the other one is at {first}; rename one of them"),
            );
        }
    }
}

/// The text under a key of a document whose keys are not known yet.
pub(super) fn text_under<'n>(document: &Field<'n>, key: &str) -> Option<&'n str> {
    let Value::Mapping(entries) = &document.node.value else {
        return None;
    };
    let (_, node) = entries.iter().find(|(name, _)| name.name == key)?;
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// The files that a pattern names, in order.
fn paths(pattern: &Field<'_>, reader: &mut Reader) -> Vec<PathBuf> {
    let Some(path) = pattern.path(reader) else {
        return Vec::new();
    };
    let found: Vec<_> = match glob::glob(&path.to_string_lossy()) {
        Ok(found) => found.filter_map(Result::ok).take(FILES_MAX + 1).collect(),
        Err(error) => {
            let message = format!("`{}`: {error}", pattern.written());
            reader.problem(pattern, message, "write a path such as policies/*.yaml");
            return Vec::new();
        }
    };
    if found.is_empty() {
        let message = format!("`{}` names no file", pattern.written());
        reader.problem(
            pattern,
            message,
            "name files that exist, or remove the entry",
        );
    }
    if found.len() > FILES_MAX {
        let message = format!("`{}` names more than {FILES_MAX} files", pattern.written());
        reader.problem(pattern, message, "name fewer files");
    }
    found
}

fn load(pattern: &Field<'_>, path: &Path, reader: &mut Reader) -> Vec<Node> {
    let text = match super::read_file(path) {
        Ok(text) => text,
        Err(problem) => {
            let position: Position = pattern.node.position.clone();
            reader.problems.push(Problem {
                position: Some(position),
                key: pattern.key.clone(),
                ..*problem
            });
            return Vec::new();
        }
    };
    let source = Source {
        path: path.to_owned(),
        text,
    };
    match yaml::parse_documents(&source) {
        Ok(documents) => documents,
        Err(problems) => {
            reader.problems.extend(problems);
            Vec::new()
        }
    }
}
