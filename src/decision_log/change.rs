//! The record of every change of what decisions are made by: policies, trusted roots, keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;

use crate::oci::Digest;

/// One change, in the one spelling used in files, the admin API and the command line. Every key is always present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Sorts by time.
    pub id: Ulid,
    /// When it was noticed, which is at once.
    pub time: Timestamp,
    /// Which process noticed.
    pub replica: String,
    /// What sort of thing changed.
    pub kind: ChangeKind,
    /// Which of them: the name of a trusted root, the reference of a key; absent for the configuration.
    pub name: Option<String>,
    /// What it was before: absent when it is new.
    pub from: Option<Value>,
    /// What it is now: absent when it is gone.
    pub to: Option<Value>,
    /// Hash of the policies, keys and roots in force from then on: the `configuration` of decisions.
    pub configuration: Digest,
}

/// What sort of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The policies and limits, as configured.
    Configuration,
    /// A trusted root.
    TrustedRoot,
    /// A key of a key service.
    Key,
}

/// Which changes are asked for. Absent filters do not filter.
#[derive(Debug, Clone, Default)]
pub struct ChangeQuery {
    /// Exactly this kind.
    pub kind: Option<ChangeKind>,
    /// Exactly this name.
    pub name: Option<String>,
    /// At most so many, newest first.
    pub limit: usize,
    /// Older than this one.
    pub after: Option<Ulid>,
}

impl ChangeKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::TrustedRoot => "trusted_root",
            Self::Key => "key",
        }
    }
}
