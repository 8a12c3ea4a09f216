//! Configuration text as a tree that knows where everything stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::{Position, Problem};

/// One configuration file as read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path as named; relative paths in it are relative to its directory.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A scalar keeps its text: what it means is decided by the key it stands under, so that `1.10` stays `1.10`.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// After `${…}` has been replaced.
    pub(super) text: String,
    /// As written, which is what messages show: the environment may hold secrets.
    pub(super) written: String,
    /// Whether it is written without quotes, so that documents of other projects may mean a number or a boolean.
    pub(super) plain: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) position: Position,
}

/// Deeper than any configuration, and shallow enough for recursion.
const DEPTH_MAX: usize = 32;

/// Parses YAML 1.2, of which JSON is a part. Anchors, aliases, tags and further documents are refused: nothing here
/// needs them, and each lets a text mean something else than it seems to.
///
/// # Errors
/// Every problem found.
pub(super) fn parse(source: &Source) -> Result<Node, Vec<Problem>> {
    let mut builder = build(source);
    if let Some(second) = builder.documents.get(1) {
        let position = second.position.clone();
        builder.problem(
            position,
            "a second document".to_owned(),
            "give further files with further --config options",
        );
    }
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    let empty = Node {
        position: Position {
            file: builder.file,
            line: 1,
            column: 1,
        },
        value: Value::Mapping(Vec::new()),
    };
    Ok(match builder.documents.into_iter().next() {
        None => empty,
        Some(root) if matches!(root.value, Value::Null) => empty,
        Some(root) => root,
    })
}

/// The same for a file with any number of documents; empty ones are left out.
///
/// # Errors
/// Every problem found.
pub(super) fn parse_documents(source: &Source) -> Result<Vec<Node>, Vec<Problem>> {
    let builder = build(source);
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    let documents = builder.documents.into_iter();
    Ok(documents
        .filter(|document| !matches!(document.value, Value::Null))
        .collect())
}

fn build(source: &Source) -> Builder {
    let mut builder = Builder {
        file: Arc::new(source.path.clone()),
        stack: Vec::new(),
        documents: Vec::new(),
        problems: Vec::new(),
    };
    // Event by event: the parser's own `load` recurses as deep as the text is nested.
    for event in Parser::new_from_str(&source.text) {
        match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                builder.refuse_text(&error);
                break;
            }
        }
        if builder.stack.len() > DEPTH_MAX {
            break;
        }
    }
    builder
}

/// `later` over `earlier`: mappings merge, everything else replaces.
pub(super) fn merge(earlier: Node, later: Node) -> Node {
    match (earlier.value, later.value) {
        (Value::Mapping(mut entries), Value::Mapping(later_entries)) => {
            for (key, node) in later_entries {
                match entries.iter().position(|(known, _)| known.name == key.name) {
                    Some(index) => {
                        let (_, old) = entries.remove(index);
                        entries.insert(index, (key, merge(old, node)));
                    }
                    None => entries.push((key, node)),
                }
            }
            Node {
                position: later.position,
                value: Value::Mapping(entries),
            }
        }
        (_, value) => Node {
            position: later.position,
            value,
        },
    }
}

impl Node {
    /// The directory of the file it stands in.
    pub(super) fn directory(&self) -> &Path {
        self.position.file.parent().unwrap_or_else(|| Path::new(""))
    }

    /// What it is, for messages.
    pub(super) fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

struct Builder {
    file: Arc<PathBuf>,
    stack: Vec<Open>,
    documents: Vec<Node>,
    problems: Vec<Problem>,
}

/// A collection whose end has not come yet.
struct Open {
    position: Position,
    content: OpenContent,
}

enum OpenContent {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
    },
    /// Below a key that is no scalar.
    Ignored,
}

impl Builder {
    fn position(&self, marker: Marker) -> Position {
        Position {
            file: self.file.clone(),
            line: marker.line(),
            column: marker.col() + 1,
        }
    }

    fn problem(&mut self, position: Position, message: String, help: &str) {
        self.problems.push(Problem {
            position: Some(position),
            key: String::new(),
            message,
            help: help.to_owned(),
        });
    }

    fn open(&mut self, position: Position, content: OpenContent) {
        if self.stack.len() == DEPTH_MAX {
            self.problem(
                position.clone(),
                format!("nested more than {DEPTH_MAX} levels deep"),
                "no setting is that deep",
            );
        }
        self.stack.push(Open { position, content });
    }

    fn close(&mut self) {
        let Some(open) = self.stack.pop() else {
            return;
        };
        let value = match open.content {
            OpenContent::Sequence(items) => Value::Sequence(items),
            OpenContent::Mapping { entries, .. } => Value::Mapping(entries),
            OpenContent::Ignored => Value::Null,
        };
        self.add(Node {
            position: open.position,
            value,
        });
    }

    fn add(&mut self, node: Node) {
        let Some(open) = self.stack.last_mut() else {
            self.documents.push(node);
            return;
        };
        match &mut open.content {
            OpenContent::Sequence(items) => items.push(node),
            OpenContent::Ignored => {}
            OpenContent::Mapping { entries, key } => match key.take() {
                Some(name) => entries.push((name, node)),
                None => self.add_key(node),
            },
        }
    }

    fn add_key(&mut self, node: Node) {
        let Value::Scalar(Scalar { text: name, .. }) = node.value else {
            self.problem(
                node.position.clone(),
                format!("{} where a key should be", node.describe()),
                "keys are plain words",
            );
            if let Some(open) = self.stack.last_mut() {
                open.content = OpenContent::Ignored;
            }
            return;
        };
        let Some(Open {
            content: OpenContent::Mapping { entries, key },
            ..
        }) = self.stack.last_mut()
        else {
            return;
        };
        let first = entries
            .iter()
            .find(|(known, _)| known.name == name)
            .map(|(known, _)| known.position.clone());
        *key = Some(Key {
            name: name.clone(),
            position: node.position.clone(),
        });
        if let Some(first) = first {
            self.problem(
                node.position,
                format!("`{name}` is given twice"),
                &format!("the first time is at {first}; remove one of them"),
            );
        }
    }

    fn refuse_anchor_and_tag(&mut self, position: &Position, anchor: usize, tagged: bool) {
        if anchor != 0 || tagged {
            self.problem(
                position.clone(),
                "anchors and tags are not supported".to_owned(),
                "write the value out",
            );
        }
    }

    fn refuse_text(&mut self, error: &ScanError) {
        let position = self.position(*error.marker());
        self.problem(
            position,
            format!("not YAML: {}", error.info()),
            "check indentation, quotes and brackets up to this place",
        );
    }

    fn take(&mut self, event: Event<'_>, span: Span) {
        let position = self.position(span.start);
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
            Event::Alias(_) => {
                self.problem(
                    position.clone(),
                    "aliases are not supported".to_owned(),
                    "write the value out",
                );
                self.add(Node {
                    position,
                    value: Value::Null,
                });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_anchor_and_tag(&position, anchor, tag.is_some());
                let plain = style == ScalarStyle::Plain;
                let value = match &*text {
                    "" | "~" | "null" if plain => Value::Null,
                    text => Value::Scalar(Scalar {
                        text: text.to_owned(),
                        written: text.to_owned(),
                        plain,
                    }),
                };
                self.add(Node { position, value });
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_anchor_and_tag(&position, anchor, tag.is_some());
                self.open(position, OpenContent::Sequence(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_anchor_and_tag(&position, anchor, tag.is_some());
                let content = OpenContent::Mapping {
                    entries: Vec::new(),
                    key: None,
                };
                self.open(position, content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }
}

#[cfg(test)]
mod tests;
