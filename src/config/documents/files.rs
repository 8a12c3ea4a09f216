//! The files that hold documents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kind::{self, Kind};
use super::kustomization;
use crate::config::reader::{Field, Reader};
use crate::config::yaml::{self, Node, Source};
use crate::config::{Position, Problem, read_file};

/// The most files that one pattern may name.
const FILES_MAX: usize = 1000;

/// Documents of a file of which nothing is of use whose kinds its problem names.
const KINDS_NAMED_MAX: usize = 8;

/// A file that a pattern names.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// None where it could not be read, which has been reported.
    documents: Option<Vec<Node>>,
}

/// The documents of the files that the patterns name. A file of which nothing is of use is reported, unless a pattern
/// with a wildcard takes it in beside others.
pub(super) fn read(patterns: &[Field<'_>], reader: &mut Reader) -> Vec<Node> {
    let files: Vec<_> = patterns
        .iter()
        .flat_map(|pattern| {
            let files = paths(pattern, reader)
                .into_iter()
                .map(|path| load(pattern, path, reader));
            let files = files.collect::<Vec<_>>();
            files.into_iter().map(move |file| (pattern, file))
        })
        .collect();
    let is_any_of_use = files.iter().any(|(_, file)| file.is_of_use());
    for (pattern, file) in &files {
        let may_be_useless = is_any_of_use && (has_wildcard(pattern) || file.is_kustomization());
        if !file.is_of_use() && !may_be_useless {
            refuse_useless(file, reader);
        }
    }
    let files = files.into_iter();
    files
        .flat_map(|(_, file)| file.documents.unwrap_or_default())
        .collect()
}

impl File {
    /// Returns true if a policy may come of it. What could not be read has been reported, and is not reported twice.
    fn is_of_use(&self) -> bool {
        let Some(documents) = &self.documents else {
            return true;
        };
        // What is wrong with a list is reported where its items are read.
        let documents = kind::flatten(documents, &mut Reader::default());
        documents.iter().any(|it| Kind::of(it).is_of_use())
    }

    fn is_kustomization(&self) -> bool {
        let documents = self.documents.iter().flatten();
        let mut documents = documents.map(|node| kustomization::is_one(&Field::root(node)));
        documents.any(|it| it)
    }
}

fn refuse_useless(file: &File, reader: &mut Reader) {
    let first = file.documents.iter().flatten().next();
    let position = first.map_or_else(
        || Position {
            file: Arc::new(file.path.clone()),
            line: 1,
            column: 1,
        },
        |node| node.position.clone(),
    );
    reader.problem_at(
        position,
        "",
        "no document of this file is a policy about images",
        format!("found: {}; known: {}", kinds_of(file), super::KINDS),
    );
}

/// The kinds of the documents in a file, so that a reader sees what was passed over.
fn kinds_of(file: &File) -> String {
    let documents = file.documents.iter().flatten();
    let kinds: BTreeSet<_> = documents
        .map(|node| super::text_under(&Field::root(node), "kind").unwrap_or("no `kind`"))
        .take(KINDS_NAMED_MAX)
        .collect();
    if kinds.is_empty() {
        return "no document".to_owned();
    }
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether a pattern may name files that its author did not name one by one. `[*]` stands for the character itself.
fn has_wildcard(pattern: &Field<'_>) -> bool {
    let text = pattern.scalar().map_or("", |it| it.text.as_str());
    let plain = ["[*]", "[?]", "[[]", "[]]"]
        .iter()
        .fold(text.to_owned(), |text, escaped| text.replace(escaped, ""));
    plain.contains(['*', '?', '['])
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

fn load(pattern: &Field<'_>, path: PathBuf, reader: &mut Reader) -> File {
    let documents = parse(pattern, &path, reader);
    File { path, documents }
}

fn parse(pattern: &Field<'_>, path: &Path, reader: &mut Reader) -> Option<Vec<Node>> {
    let text = match read_file(path) {
        Ok(text) => text,
        Err(problem) => {
            let position: Position = pattern.node.position.clone();
            reader.problems.push(Problem {
                position: Some(position),
                key: pattern.key.clone(),
                ..*problem
            });
            return None;
        }
    };
    let source = Source {
        path: path.to_owned(),
        text,
    };
    match yaml::parse_documents(&source) {
        Ok(documents) => Some(documents),
        Err(problems) => {
            reader.problems.extend(problems);
            None
        }
    }
}
