//! What was pulled, as the log has it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::admission::Kind;
use crate::decision_log::{Outcome, Record, Subject};
use crate::oci::{Digest, RepositoryName, Tag};

/// One image in one repository, with all that the log says of its pulls.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Pulled {
    pub(super) repository: RepositoryName,
    /// Absent where a tag was refused before it was looked up.
    pub(super) digest: Option<Digest>,
    /// The tags that it was asked for through.
    pub(super) tags: BTreeSet<String>,
    /// Whether it was asked for by its digest as well.
    #[serde(skip)]
    by_digest: bool,
    /// How often it was asked for. The log does not say of each pull by which tag.
    pub(super) pulls: u64,
    /// When it was last decided about.
    pub(super) last_asked: Timestamp,
    /// What was last decided.
    pub(super) logged: Outcome,
}

impl Pulled {
    pub(super) fn subject(&self) -> Option<Subject> {
        let digest = self.digest?;
        Some(Subject {
            repository: self.repository.clone(),
            digest,
        })
    }

    /// What it was asked for by: its digest, the tags in the log, and those that are `stored`.
    pub(super) fn references(&self, stored: Vec<Tag>) -> Vec<Option<Tag>> {
        let mut tags = self.tags();
        tags.extend(stored);
        tags.sort_unstable();
        tags.dedup();
        let digest = (self.by_digest || tags.is_empty()).then_some(None);
        digest
            .into_iter()
            .chain(tags.into_iter().map(Some))
            .collect()
    }

    /// The same, asked for by this tag or by its digest alone.
    pub(super) fn by(&self, tag: Option<&Tag>) -> Self {
        let tags = tag.map(|tag| tag.as_str().to_owned());
        Self {
            tags: tags.into_iter().collect(),
            by_digest: tag.is_none(),
            ..self.clone()
        }
    }

    pub(super) fn tags(&self) -> Vec<Tag> {
        self.tags
            .iter()
            .filter_map(|tag| tag.parse().ok())
            .collect()
    }
}

/// What was pulled, most often first. Records are newest first.
pub(super) fn pulled(records: &[Record]) -> Vec<Pulled> {
    let mut found: BTreeMap<(RepositoryName, Option<Digest>, Option<String>), Pulled> =
        BTreeMap::new();
    for record in records {
        let Some(repository) = about_image(record) else {
            continue;
        };
        let tag = record.reference.parse::<Tag>().ok();
        let tag = tag.map(|tag| tag.as_str().to_owned());
        let unresolved = tag.clone().filter(|_| record.digest.is_none());
        let pulls = record.pulls();
        let key = (repository.clone(), record.digest, unresolved);
        let pulled = found.entry(key).or_insert_with(|| Pulled {
            repository,
            digest: record.digest,
            tags: BTreeSet::new(),
            by_digest: false,
            pulls: 0,
            last_asked: record.time,
            logged: record.decision,
        });
        pulled.pulls = pulled.pulls.saturating_add(pulls);
        pulled.by_digest |= tag.is_none();
        pulled.tags.extend(tag);
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|pulled| std::cmp::Reverse(pulled.pulls));
    found
}

/// The repository, where the record is about an image: not about who asked, a host, a blob, or what cannot be had.
fn about_image(record: &Record) -> Option<RepositoryName> {
    let kind = record.denial.as_ref().map(|denial| denial.kind.as_str());
    let others = [
        Kind::ClientDenied,
        Kind::UpstreamNotAllowed,
        Kind::UpstreamDenied,
        Kind::NotEndorsed,
    ];
    if others.iter().any(|other| kind == Some(other.as_str())) {
        return None;
    }
    // A tag that was looked up in vain was refused by no policy.
    if record.digest.is_none() && kind != Some(Kind::NoPolicy.as_str()) {
        return None;
    }
    record.repository.parse().ok()
}
