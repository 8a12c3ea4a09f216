//! Configuration and documents of policies as they are, right or wrong, for who wants to know before using them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::documents;
use super::reader::{Field, Reader};
use super::yaml::{self, Key, Node, Scalar, Source, Value};
use super::{Position, Problem, RepositoryPrefix, Warning, read, read_file};
use crate::policy::{DefaultAction, Exception, Policy, Revoked};

/// What there is to say about a set of files.
#[derive(Debug)]
pub struct Checked {
    /// The policies that are usable, in order.
    pub policies: Vec<Arc<Policy>>,
    /// The hosts of the upstreams.
    pub upstreams: BTreeSet<String>,
    /// First path components that stand for a part of an upstream.
    pub routes: BTreeMap<String, RepositoryPrefix>,
    /// The address of the registry API.
    pub listen: SocketAddr,
    /// What happens to a name that no policy covers.
    pub default: DefaultAction,
    /// What is let through although a policy refuses it.
    pub exceptions: Vec<Arc<Exception>>,
    /// What is refused whatever vouches for it.
    pub revoked: Revoked,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
    /// What is left out and changes nothing.
    pub notes: Vec<Warning>,
}

/// Reads configuration files and documents of policies, in whatever order, and goes on after every problem.
///
/// Configuration files are merged as by [`super::Config::load`]. Documents alone are read as they stand, with the
/// built-in trusted root.
pub fn check(paths: &[PathBuf], environment: &dyn Fn(&str) -> Option<String>) -> Checked {
    let mut reader = Reader::default();
    let mut native: Option<Node> = None;
    let mut documents = Vec::new();
    for path in paths {
        let Some(source) = load(path, &mut reader) else {
            continue;
        };
        match parse(&source, &mut reader) {
            Some(Content::Native(node)) => {
                native = Some(match native {
                    Some(earlier) => yaml::merge(earlier, node),
                    None => node,
                });
            }
            Some(Content::Documents) => documents.push(path.clone()),
            None => {}
        }
    }
    let only_documents = native.is_none();
    let mut root = native.unwrap_or_else(|| nowhere(Value::Mapping(Vec::new())));
    reader.substitute("", &mut root, environment);
    add_documents(&mut root, &documents);
    let config = read(&Field::root(&root), &mut reader);
    if only_documents {
        // Upstreams and the like are not theirs to say.
        let has_file = |position: &Option<Position>| {
            let position = position.as_ref();
            position.is_some_and(|it| it.file.as_path() != Path::new(""))
        };
        reader.warnings.retain(|it| has_file(&it.position));
    }
    reader
        .problems
        .sort_by_key(|it| place(it.position.as_ref()));
    reader
        .warnings
        .sort_by_key(|it| place(it.position.as_ref()));
    reader.notes.sort_by_key(|it| place(it.position.as_ref()));
    Checked {
        policies: config.policies.policies.clone(),
        upstreams: config.upstreams.into_keys().collect(),
        routes: config.routes,
        listen: config.server.listen,
        default: config.policies.default,
        exceptions: config.policies.exceptions.clone(),
        revoked: config.policies.revoked.clone(),
        problems: reader.problems,
        warnings: reader.warnings,
        notes: reader.notes,
    }
}

/// What is found is told in the order in which it stands in the files, however they were read.
fn place(position: Option<&Position>) -> Option<(PathBuf, usize, usize)> {
    position.map(|it| (it.file.to_path_buf(), it.line, it.column))
}

enum Content {
    Native(Node),
    Documents,
}

fn load(path: &Path, reader: &mut Reader) -> Option<Source> {
    match read_file(path) {
        Ok(text) => Some(Source {
            path: path.to_owned(),
            text,
        }),
        Err(problem) => {
            reader.problems.push(*problem);
            None
        }
    }
}

/// What a file is; nothing when it is no YAML, which has been reported.
fn parse(source: &Source, reader: &mut Reader) -> Option<Content> {
    let documents = match yaml::parse_documents(source) {
        Ok(documents) => documents,
        Err(problems) => {
            reader.problems.extend(problems);
            return None;
        }
    };
    if documents.iter().any(is_document) {
        return Some(Content::Documents);
    }
    match yaml::parse(source) {
        Ok(node) => Some(Content::Native(node)),
        Err(problems) => {
            reader.problems.extend(problems);
            None
        }
    }
}

/// Documents of Kubernetes have a kind, and the default of containers' policies is a list. kustomize knows its file by
/// its name.
fn is_document(node: &Node) -> bool {
    let Value::Mapping(entries) = &node.value else {
        return false;
    };
    if documents::is_in_kustomization_file(node) {
        return true;
    }
    entries.iter().any(|(key, node)| match key.name.as_str() {
        "kind" | "apiVersion" | "transports" => true,
        "default" => matches!(node.value, Value::Sequence(_)),
        _ => false,
    })
}

/// The documents as if the configuration named them under `policy_files`.
fn add_documents(root: &mut Node, documents: &[PathBuf]) {
    let Value::Mapping(entries) = &mut root.value else {
        return;
    };
    if documents.is_empty() {
        return;
    }
    let named = documents.iter().map(|path| {
        let text = glob::Pattern::escape(&path.to_string_lossy());
        nowhere(Value::Scalar(Scalar {
            written: text.clone(),
            text,
            plain: false,
        }))
    });
    let existing = entries
        .iter_mut()
        .find(|(key, _)| key.name == "policy_files");
    match existing {
        Some((_, node)) => {
            if let Value::Sequence(items) = &mut node.value {
                items.extend(named);
            }
        }
        None => {
            let node = nowhere(Value::Sequence(named.collect()));
            let key = Key {
                name: "policy_files".to_owned(),
                position: node.position.clone(),
            };
            entries.push((key, node));
        }
    }
}

/// A node that stands in no file: paths in it are relative to the working directory.
pub(super) fn nowhere(value: Value) -> Node {
    Node {
        position: Position {
            file: Arc::new(PathBuf::new()),
            line: 1,
            column: 1,
        },
        value,
    }
}
