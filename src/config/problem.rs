//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::WarningName;
use crate::policy::Origin;

/// Everything that keeps a configuration from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// One thing that is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; absent when no place in a file is to blame.
    pub position: Option<Position>,
    /// The key, such as `policies[0].authorities[1].key`; empty for the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// A way out.
    pub help: String,
}

/// Something that is allowed and probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its name, by which it is acknowledged; absent for what only changes nothing.
    pub name: Option<WarningName>,
    /// True if the configuration says that it is meant.
    pub is_acknowledged: bool,
    /// Where; absent when no place in a file is to blame.
    pub position: Option<Position>,
    /// The key.
    pub key: String,
    /// What is suspicious about it.
    pub message: String,
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file as it was named.
    pub file: Arc<PathBuf>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    /// The same for a policy, which remembers where it is written.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            file: self.file.display().to_string(),
            line: self.line,
        }
    }
}

impl Warning {
    pub(super) fn at(position: &Position, key: &str, message: impl Into<String>) -> Self {
        Self {
            name: None,
            is_acknowledged: false,
            position: Some(position.clone()),
            key: key.to_owned(),
            message: message.into(),
        }
    }

    /// The same under a name.
    pub(super) fn named(self, name: WarningName) -> Self {
        Self {
            name: Some(name),
            ..self
        }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problems) = self;
        match problems.len() {
            1 => write!(formatter, "the configuration has a problem:")?,
            count => write!(formatter, "the configuration has {count} problems:")?,
        }
        for problem in problems {
            write!(formatter, "\n{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(formatter, self.position.as_ref(), &self.key)?;
        formatter.write_str(&self.message)?;
        if self.help.is_empty() {
            return Ok(());
        }
        write!(formatter, "\n    {}", self.help)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(formatter, self.position.as_ref(), &self.key)?;
        formatter.write_str(&self.message)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}:{}",
            self.file.display(),
            self.line,
            self.column
        )
    }
}

fn write_place(
    formatter: &mut fmt::Formatter<'_>,
    position: Option<&Position>,
    key: &str,
) -> fmt::Result {
    if let Some(position) = position {
        write!(formatter, "{position}: ")?;
    }
    if key.is_empty() {
        return Ok(());
    }
    write!(formatter, "{key}: ")
}
