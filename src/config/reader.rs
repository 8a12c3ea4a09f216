//! Turns the tree into values and remembers everything that is wrong on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::environment::replace_variables;
use super::permissions;
use super::quantity::{parse_duration, parse_size};
use super::suggestion::did_you_mean;
use super::yaml::{Key, Node, Scalar, Value};
use super::{Position, Problem, Warning, WarningName};
use crate::secret::Secret;
use crate::trust;

/// What went wrong and what looks wrong, so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
    /// What is left out and changes nothing.
    pub(super) notes: Vec<Warning>,
    /// Paths that values refer to.
    pub(super) files: BTreeSet<PathBuf>,
}

/// A value and the key it stands under.
#[derive(Debug, Clone)]
pub(super) struct Field<'n> {
    pub(super) key: String,
    pub(super) node: &'n Node,
}

/// A mapping whose keys are known.
#[derive(Debug)]
pub(super) struct Section<'n> {
    field: Field<'n>,
    keys: &'static [&'static str],
}

impl Reader {
    pub(super) fn problem(
        &mut self,
        field: &Field<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problem_at(field.node.position.clone(), &field.key, message, help);
    }

    pub(super) fn problem_at(
        &mut self,
        position: Position,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem {
            position: Some(position),
            key: key.to_owned(),
            message: message.into(),
            help: help.into(),
        });
    }

    pub(super) fn warn(
        &mut self,
        field: &Field<'_>,
        name: WarningName,
        message: impl Into<String>,
    ) {
        let warning = Warning::at(&field.node.position, &field.key, message);
        self.warnings.push(warning.named(name));
    }

    /// Marks the warnings from the one with this index on that have one of these names: their author knows of them.
    pub(super) fn acknowledge(&mut self, from: usize, names: &[WarningName]) {
        for warning in self.warnings.iter_mut().skip(from) {
            warning.is_acknowledged |= warning.name.is_some_and(|name| names.contains(&name));
        }
    }

    /// Says that something is left out and changes nothing: nobody needs to do anything about it.
    pub(super) fn note(&mut self, field: &Field<'_>, message: impl Into<String>) {
        self.notes
            .push(Warning::at(&field.node.position, &field.key, message));
    }

    /// Replaces `${NAME}` in every scalar; `$${` stands for `${`.
    pub(super) fn substitute(
        &mut self,
        key: &str,
        node: &mut Node,
        environment: &dyn Fn(&str) -> Option<String>,
    ) {
        let position = node.position.clone();
        match &mut node.value {
            Value::Null => {}
            Value::Scalar(scalar) => match replace_variables(&scalar.written, environment) {
                Ok(text) => scalar.text = text,
                Err(message) => self.problem_at(
                    position,
                    key,
                    message,
                    "set the variable, or write `$${` for a literal `${`",
                ),
            },
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.substitute(&format!("{key}[{index}]"), item, environment);
                }
            }
            Value::Mapping(entries) => {
                for (name, value) in entries {
                    self.substitute(&child_key(key, &name.name), value, environment);
                }
            }
        }
    }
}

fn child_key(parent: &str, name: &str) -> String {
    // A name with dots, such as a host, would read like a path.
    let name = if name.contains('.') {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    };
    if parent.is_empty() {
        name
    } else {
        format!("{parent}.{name}")
    }
}

impl<'n> Field<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self {
            key: String::new(),
            node,
        }
    }

    /// As a mapping with these keys and no others; nothing at all is an empty one.
    pub(super) fn section(
        &self,
        keys: &'static [&'static str],
        reader: &mut Reader,
    ) -> Section<'n> {
        for (name, field) in self.entries(reader) {
            if !keys.contains(&name.name.as_str()) {
                reader.problem_at(
                    name.position.clone(),
                    &field.key,
                    "unknown key",
                    format!(
                        "{}known here: {}",
                        did_you_mean(&name.name, keys.iter().copied()),
                        keys.join(", ")
                    ),
                );
            }
        }
        Section {
            field: self.clone(),
            keys,
        }
    }

    /// As a mapping with free keys.
    pub(super) fn entries(&self, reader: &mut Reader) -> Vec<(&'n Key, Self)> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::Mapping(entries) => entries
                .iter()
                .map(|(key, node)| {
                    let field = Self {
                        key: child_key(&self.key, &key.name),
                        node,
                    };
                    (key, field)
                })
                .collect(),
            Value::Scalar(_) | Value::Sequence(_) => {
                self.expected("a mapping (`key: value`)", reader);
                Vec::new()
            }
        }
    }

    /// Whether it is a mapping with this key.
    pub(super) fn has(&self, key: &str) -> bool {
        match &self.node.value {
            Value::Mapping(entries) => entries.iter().any(|(name, _)| name.name == key),
            Value::Null | Value::Scalar(_) | Value::Sequence(_) => false,
        }
    }

    /// As a list.
    pub(super) fn items(&self, reader: &mut Reader) -> Vec<Self> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Self {
                    key: format!("{}[{index}]", self.key),
                    node,
                })
                .collect(),
            Value::Scalar(_) | Value::Mapping(_) => {
                self.expected("a list (`[a, b]`)", reader);
                Vec::new()
            }
        }
    }

    pub(super) fn text(&self, reader: &mut Reader) -> Option<&'n str> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => {
                self.expected("a single value", reader);
                None
            }
        }
    }

    /// The text as written, for messages.
    pub(super) fn written(&self) -> &'n str {
        self.scalar().map_or("", |scalar| &scalar.written)
    }

    /// The value with an error about it, unless the error may repeat what came from the environment.
    pub(super) fn explain(&self, error: &dyn Display) -> String {
        let substituted = self
            .scalar()
            .is_some_and(|scalar| scalar.text != scalar.written);
        if substituted {
            format!("the value of `{}` is not usable here", self.written())
        } else {
            format!("`{}`: {error}", self.written())
        }
    }

    pub(super) fn scalar(&self) -> Option<&'n Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    pub(super) fn parse<T>(&self, help: &str, reader: &mut Reader) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.text(reader)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let error: T::Err = error;
                reader.problem(self, self.explain(&error), help);
                None
            }
        }
    }

    pub(super) fn boolean(&self, reader: &mut Reader) -> Option<bool> {
        self.choice(&[("true", true), ("false", false)], reader)
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)], reader: &mut Reader) -> Option<T> {
        let text = self.text(reader)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let near = did_you_mean(self.written(), words.iter().copied());
        reader.problem(
            self,
            format!("`{}` is not known here", self.written()),
            format!("{near}write {}", words.join(" or ")),
        );
        None
    }

    pub(super) fn duration(&self, reader: &mut Reader) -> Option<Duration> {
        let parsed = parse_duration(self.text(reader)?);
        if parsed.is_none() {
            reader.problem(
                self,
                format!("`{}` is not a duration", self.written()),
                "write a number and a unit, such as 500ms, 60s, 5m, 24h or 7d",
            );
        }
        parsed
    }

    pub(super) fn size(&self, reader: &mut Reader) -> Option<u64> {
        let parsed = parse_size(self.text(reader)?);
        if parsed.is_none() {
            reader.problem(
                self,
                format!("`{}` is not a size", self.written()),
                "write bytes, or a number with KiB, MiB, GiB or TiB, such as 10MiB",
            );
        }
        parsed
    }

    /// A path, relative to the directory of the file it stands in.
    pub(super) fn path(&self, reader: &mut Reader) -> Option<PathBuf> {
        let text = self.text(reader)?;
        if text.is_empty() {
            reader.problem(self, "an empty path", "name a file");
            return None;
        }
        let path = self.resolve(text);
        reader.files.insert(path.clone());
        Some(path)
    }

    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.node.directory().join(Path::new(path))
    }

    /// A secret: the text itself, or `file:PATH` for the content of a file without its last line break.
    pub(super) fn secret(&self, reader: &mut Reader) -> Option<Secret> {
        let text = self.text(reader)?;
        let secret = match text.strip_prefix("file:") {
            None => text.to_owned(),
            Some(path) => {
                let path = self.resolve(path);
                reader.files.insert(path.clone());
                match trust::read_text(&path) {
                    Ok(content) => {
                        let content = content.strip_suffix('\n').unwrap_or(&content);
                        content.strip_suffix('\r').unwrap_or(content).to_owned()
                    }
                    Err(error) => {
                        reader.problem(self, describe(&error), "name a readable file");
                        return None;
                    }
                }
            }
        };
        if secret.is_empty() {
            reader.problem(
                self,
                "an empty secret",
                "write the secret, ${VARIABLE} or file:PATH",
            );
            return None;
        }
        Some(Secret::new(secret))
    }

    pub(super) fn texts(&self, reader: &mut Reader) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (key, field) in self.entries(reader) {
            if let Some(text) = field.text(reader) {
                texts.insert(key.name.clone(), text.to_owned());
            }
        }
        texts
    }

    fn expected(&self, what: &str, reader: &mut Reader) {
        reader.problem(
            self,
            format!("{} where {what} is expected", self.node.describe()),
            "see config/reference.yaml for the form",
        );
    }
}

impl<'n> Section<'n> {
    pub(super) fn field(&self) -> &Field<'n> {
        &self.field
    }

    /// The value under one of the section's keys; absent and empty are the same.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'n>> {
        debug_assert!(self.keys.contains(&key), "`{key}` is not declared");
        let Value::Mapping(entries) = &self.field.node.value else {
            return None;
        };
        let (_, node) = entries.iter().find(|(name, _)| name.name == key)?;
        if matches!(node.value, Value::Null) {
            return None;
        }
        Some(Field {
            key: child_key(&self.field.key, key),
            node,
        })
    }

    /// The value under a key that must be there.
    pub(super) fn required(
        &self,
        key: &'static str,
        help: &str,
        reader: &mut Reader,
    ) -> Option<Field<'n>> {
        let field = self.get(key);
        if field.is_none() && matches!(self.field.node.value, Value::Mapping(_) | Value::Null) {
            reader.problem(&self.field, format!("`{key}` is missing"), help);
        }
        field
    }
}

/// An error with its causes on one line, and the way out if access was denied.
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if let Some(hint) = permissions::hint(error) {
        text.push_str("; ");
        text.push_str(&hint);
    }
    text
}
