//! Tags and blobs that an upstream has just said it does not have.
//!
//! The memory is short, so that a pull soon finds what was pushed. It bounds how often something absent is asked for:
//! registries count such requests against their limits, too. There is one set of credentials for an upstream, so the
//! answer does not depend on the client.

use std::time::Duration;

use crate::decision_log::Subject;
use crate::oci::{RepositoryName, Tag};
use crate::upstream;

/// The tags and blobs that are remembered as absent, with what the upstream said.
#[derive(Debug)]
pub(super) struct Absent {
    tags: moka::sync::Cache<(RepositoryName, Tag), upstream::Error>,
    blobs: moka::sync::Cache<Subject, upstream::Error>,
}

/// Absent tags, and absent blobs, that are remembered at most.
const REMEMBERED_MAX: u64 = 10_000;

impl Absent {
    /// Remembers for `time`, by the monotonic clock.
    pub(super) fn new(time: Duration) -> Self {
        Self {
            tags: cache(time),
            blobs: cache(time),
        }
    }

    /// Returns what the upstream said of the tag a moment ago, if it said that there is none.
    pub(super) fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Option<upstream::Error> {
        self.tags.get(&(repository.clone(), tag.clone()))
    }

    /// Remembers the answer to a look-up of a tag, if it says that there is no such tag.
    pub(super) fn note_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        answer: &upstream::Error,
    ) {
        if let upstream::Error::NotFound { .. } = answer {
            let key = (repository.clone(), tag.clone());
            self.tags.insert(key, answer.clone());
        }
    }

    /// Returns what the upstream said of the blob a moment ago, if it said that there is none.
    pub(super) fn blob(&self, blob: &Subject) -> Option<upstream::Error> {
        self.blobs.get(blob)
    }

    /// Remembers the answer to a request for a blob, if it says that there is no such blob.
    pub(super) fn note_blob(&self, blob: &Subject, answer: &upstream::Error) {
        if let upstream::Error::NotFound { .. } = answer {
            self.blobs.insert(blob.clone(), answer.clone());
        }
    }
}

fn cache<K, V>(time: Duration) -> moka::sync::Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    moka::sync::Cache::builder()
        .max_capacity(REMEMBERED_MAX)
        .time_to_live(time)
        .build()
}
