//! Documents as `kubectl`, Helm and Docker Compose write them: YAML with anchors, aliases and merge keys.
//!
//! Our own configuration allows none of these; see `config::yaml`.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Deeper than any manifest, and shallow enough for recursion.
const DEPTH_MAX: usize = 128;
/// The most values of one text, aliases counted as often as they are used.
const VALUES_MAX: usize = 4_000_000;

/// The key that merges other mappings into one (YAML 1.1, "Merge Key").
const MERGE: &str = "<<";

/// The documents of `text`, empty ones left out. Every scalar is a string, because an image named `1.10` is one.
///
/// # Errors
/// One sentence: where the text is no YAML, or what is too large.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, _span) = event.map_err(|error| {
            let line = error.marker().line();
            format!("line {line} is not YAML: {}", error.info())
        })?;
        builder.take(event)?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    values: usize,
    documents: Vec<Value>,
}

/// A collection whose end has not come yet.
struct Open {
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Value>),
    Mapping {
        entries: Map<String, Value>,
        /// The key whose value comes next.
        key: Option<String>,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => {
                // Counted before it is copied.
                let values = self.anchors.get(&anchor).map_or(0, count);
                self.grow(values)?;
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                self.add(value, 0)
            }
            Event::Scalar(text, style, anchor, _tag) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                let value = match is_null {
                    true => Value::Null,
                    false => Value::String(text.into_owned()),
                };
                self.add(value, anchor)
            }
            Event::SequenceStart(anchor, _tag) => self.open(anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(anchor, _tag) => {
                let entries = Map::new();
                self.open(anchor, Content::Mapping { entries, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn open(&mut self, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() == DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} levels deep"));
        }
        self.open.push(Open { anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(Open { anchor, content }) = self.open.pop() else {
            return Ok(());
        };
        let value = match content {
            Content::Sequence(items) => Value::Array(items),
            Content::Mapping { entries, .. } => Value::Object(merged(entries)),
        };
        self.add(value, anchor)
    }

    fn grow(&mut self, by: usize) -> Result<(), String> {
        self.values = self.values.saturating_add(by);
        match self.values > VALUES_MAX {
            true => Err(format!("more than {VALUES_MAX} values")),
            false => Ok(()),
        }
    }

    fn add(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        self.grow(1)?;
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if value.is_null() => {}
            None => self.documents.push(value),
            Some(Content::Sequence(items)) => items.push(value),
            Some(Content::Mapping { entries, key }) => match key.take() {
                // A key that is no scalar names no image.
                None => *key = Some(value.as_str().unwrap_or_default().to_owned()),
                Some(key) => {
                    entries.insert(key, value);
                }
            },
        }
        Ok(())
    }
}

/// The mapping with what it merges; its own entries win, then those of earlier mappings.
fn merged(mut entries: Map<String, Value>) -> Map<String, Value> {
    let others = match entries.remove(MERGE) {
        None => return entries,
        Some(Value::Array(others)) => others,
        Some(other) => vec![other],
    };
    for other in others {
        if let Value::Object(other) = other {
            for (key, value) in other {
                entries.entry(key).or_insert(value);
            }
        }
    }
    entries
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let text =
            "base: &base {image: 'a:1', tty: true}\nweb:\n  <<: *base\n  tty: no\nlist: [*base]\n";
        let base = json!({"image": "a:1", "tty": "true"});
        assert_eq!(
            documents(text).unwrap(),
            [json!({"base": base, "web": {"image": "a:1", "tty": "no"}, "list": [base]})]
        );
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert_eq!(
            documents("---\n# nothing\n---\na: 1.10\n---\n").unwrap(),
            [json!({"a": "1.10"})]
        );
    }

    #[test]
    fn a_text_that_grows_without_bound_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = level - 1;
            let aliases = vec![format!("*a{before}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(documents(&text).unwrap_err().contains("values"));
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert!(documents(&deep).unwrap_err().contains("deep"));
    }
}
