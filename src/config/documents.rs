//! `policy_files:` policies as other projects write them, unchanged.
//!
//! Each kind of document becomes the same [`Policy`] that the native configuration makes. What a document says and a pull
//! cannot honour is reported: with what it means here, or, where leaving it out would admit more than its author meant,
//! as a problem. Nothing is left out silently.

mod kyverno;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::policies::Surroundings;
use super::reader::{Field, Reader};
use super::yaml::{self, Node, Source, Value};
use super::{Position, Problem};
use crate::policy::Policy;

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
    documents
        .iter()
        .flat_map(|node| read_document(&Field::root(node), surroundings, reader))
        .collect()
}

fn read_document(
    document: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let kind = text_under(document, "kind").unwrap_or_default();
    let version = text_under(document, "apiVersion").unwrap_or_default();
    match (version, kind) {
        ("kyverno.io/v1" | "kyverno.io/v2beta1", "ClusterPolicy" | "Policy") => {
            kyverno::read(document, surroundings, reader)
        }
        _ => {
            reader.problem(
                document,
                format!("`{version}` `{kind}` is no policy that is understood here"),
                format!("known: {KINDS}"),
            );
            Vec::new()
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
