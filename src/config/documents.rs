//! `policy_files:` policies as other projects write them, unchanged.
//!
//! Each kind of document becomes the same [`Policy`] that the native configuration makes. What a document says and a pull
//! cannot honour is reported: with what it means here, or, where leaving it out would admit more than its author meant,
//! as a problem. Nothing is left out silently.

mod cluster_image_policy;
mod containers_policy;
mod files;
mod kind;
mod kustomization;
mod kyverno;
mod root_document;
mod trust_root;

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Position;
use super::policies::Surroundings;
use super::reader::{Field, Reader, Section};
use super::yaml::{Node, Value};
use crate::policy::{DefaultAction, Doubt, ImportedCoverage, Mode, Policy, Requirement};
use crate::trust::Source;
use kind::Kind;
pub(super) use kustomization::is_in_kustomization_file;
use kyverno::image_validating_policy;
use trust_root::TrustRoots;

/// The kinds of documents that are policies: API group, kind, and the words for messages.
const KINDS: &str = "Kyverno's ClusterPolicy, Policy and ImageValidatingPolicy, policy-controller's \
                     ClusterImagePolicy and TrustRoot, and containers' policy.json";

/// What documents give.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) policies: Vec<Arc<Policy>>,
    /// Where the trusted roots come from that documents name, by name.
    pub(super) root_sources: BTreeMap<String, Source>,
}

/// What is in the files that the patterns name. Every document that is not usable has been reported.
pub(super) fn read(
    field: Option<&Field<'_>>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Documents {
    let patterns = field.map(|field| field.items(reader)).unwrap_or_default();
    let documents = files::read(&patterns, reader);
    read_documents(&documents, surroundings, reader)
}

/// What is in documents that are already parsed.
pub(super) fn read_documents(
    documents: &[Node],
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Documents {
    let documents = kind::flatten(documents, reader);
    let roots = TrustRoots::read(&documents, surroundings.roots, reader);
    let policies: Vec<_> = documents
        .iter()
        .flat_map(|document| read_document(document, &roots, surroundings, reader))
        .collect();
    refuse_same_names(&policies, reader);
    Documents {
        policies,
        root_sources: roots.into_sources(),
    }
}

fn read_document(
    document: &Field<'_>,
    roots: &TrustRoots<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    match Kind::of(document) {
        Kind::ContainersPolicy => containers_policy::read(document, surroundings, reader),
        Kind::ClusterImagePolicy => {
            let policy = cluster_image_policy::read(document, roots, surroundings, reader);
            policy.into_iter().collect()
        }
        // Read beforehand, for the policies that name it.
        Kind::TrustRoot => Vec::new(),
        Kind::KyvernoPolicy => kyverno::read(document, surroundings, reader),
        Kind::ImageValidatingPolicy => {
            image_validating_policy::read(document, surroundings, reader)
        }
        Kind::Exception => {
            reader.warn(
                document, WarningName::ExceptionNotRead,
                "a `PolicyException` is not read: what it excepts in the cluster is refused here like everything else",
            );
            Vec::new()
        }
        Kind::Irrelevant => {
            let name = name_of(document);
            let changes = kustomization::changes(document);
            if changes.is_empty() {
                let message = format!("{name} decides nothing about images, so it is passed over");
                reader.note(document, message);
            } else {
                let message = format!(
                    "{name} is not applied, and it changes what the cluster gets ({}): the policies are read as they \
                     stand in their files; name the output of `kustomize build` instead",
                    changes.join(", ")
                );
                reader.warn(document, WarningName::KustomizationNotApplied, message);
            }
            Vec::new()
        }
        Kind::Unknown => {
            let name = name_of(document);
            reader.problem(
                document,
                format!("{name} is no policy that is understood here"),
                format!("known: {KINDS}"),
            );
            Vec::new()
        }
    }
}

/// Version and kind of a document, for messages.
fn name_of(document: &Field<'_>) -> String {
    let kind = text_under(document, "kind").unwrap_or_default();
    let version = text_under(document, "apiVersion").unwrap_or_default();
    match (version, kind) {
        ("", "") => "a document without `kind`".to_owned(),
        ("", kind) => format!("`{kind}`"),
        (version, kind) => format!("`{version}` `{kind}`"),
    }
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
        reader.warn(field, WarningName::CoversNothing, message);
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
                WarningName::OnlyUnderDefaultAudit,
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

/// Returns true if a selector or a list restricts nothing, as `{}`, `[]` and `{matchLabels: {}}`.
fn selects_everything(field: &Field<'_>) -> bool {
    match &field.node.value {
        Value::Null => true,
        Value::Scalar(scalar) => scalar.text.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(entries) => entries.iter().all(|(key, node)| {
            let part = match &node.value {
                Value::Null => true,
                Value::Scalar(_) => false,
                Value::Sequence(items) => items.is_empty(),
                Value::Mapping(entries) => entries.is_empty(),
            };
            part && ["matchLabels", "matchExpressions"].contains(&key.name.as_str())
        }),
    }
}

/// The text of each PEM block, whatever its label.
fn pem_blocks(text: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN ";
    let blocks = text.split(BEGIN).skip(1);
    blocks.map(|rest| format!("{BEGIN}{rest}")).collect()
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
