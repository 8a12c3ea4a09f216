//! What outlives a request, in one embedded database: evidence, hints about parents, tags, and the decision log.
//!
//! Nothing in here is a verdict. Evidence is verified again by each process; "this index lists that child" is a hint
//! that is read again from the parent's verified bytes.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::decision_log::{Query, Record, SourceReport, Subject};
use crate::oci::{Digest, RepositoryName, Tag};
use crate::signature::Source;

/// The state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    // OWNER `state`
    _private: Arc<()>,
}

/// The database failed. A caller cannot decide without it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused.
    #[error("state database")]
    Sqlite(#[from] rusqlite::Error),
    /// The directory could not be used.
    #[error("state directory")]
    Io(#[from] std::io::Error),
    /// The writer ended: the process is shutting down.
    #[error("the state database is closed")]
    Closed,
}

/// What was found for a digest in a repository, as the index of content that is stored like any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The artifacts found, newest first.
    pub artifacts: Vec<EvidenceArtifact>,
    /// What each source gave, and where it was asked.
    pub sources: Vec<EvidenceSource>,
    /// When the sources were asked.
    pub discovered_at: Timestamp,
    /// A count that exceeded a limit, in words; the decision is `limit_exceeded` if nothing else satisfies it.
    pub limit_exceeded: Option<String>,
}

/// One artifact found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceArtifact {
    /// Where.
    pub source: Source,
    /// The digest of its manifest, which is in the store.
    pub digest: Digest,
    /// The media type its manifest was served with.
    pub media_type: String,
    /// Why the manifest or its blobs are not in the store although they were listed: `missing` or `too_large` by blob digest.
    pub absent: Vec<(Digest, AbsentBlob)>,
}

/// Why a listed blob is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsentBlob {
    /// The registry does not have it.
    Missing,
    /// It is larger than the limit or than its descriptor says.
    TooLarge,
}

/// A source as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceSource {
    /// The repository it was asked in.
    pub repository: RepositoryName,
    /// Whether legacy attestation tags (`.att`) were asked for as well.
    pub attestations: bool,
    /// How it ended.
    pub report: SourceReport,
}

/// What a tag pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow {
    /// The digest.
    pub digest: Digest,
    /// When the upstream said so.
    pub resolved_at: Timestamp,
}

/// A manifest known to be at an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    /// The type it was served with.
    pub media_type: String,
    /// When this repository's upstream last confirmed that it holds it.
    pub confirmed_at: Timestamp,
}

/// Rows to write in one transaction; see [`State::write`].
#[derive(Debug, Default)]
pub struct Batch {
    /// Decisions.
    pub records: Vec<Record>,
    /// Evidence by subject; replaces what was there.
    pub evidence: Vec<(Subject, Evidence)>,
    /// Manifests by subject; replaces what was there.
    pub manifests: Vec<(Subject, ManifestRow)>,
    /// Hints: in this repository, the parent lists these children (manifests or blobs).
    pub parents: Vec<(Subject, Vec<Digest>)>,
    /// Tags; replaces what was there.
    pub tags: Vec<(RepositoryName, Tag, TagRow)>,
    /// Blobs that this repository's upstream confirmed to hold.
    pub confirmed_blobs: Vec<Subject>,
    /// Pulls that reused decisions: added to their `count`.
    pub counts: Vec<(Ulid, u64)>,
}

impl State {
    /// Opens the database under `data_dir`, creating it if absent. Reads and writes run on threads of their own.
    ///
    /// # Errors
    /// When the directory or the database cannot be used, or is of a newer version.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let _ = data_dir;
        todo!("owner: state")
    }

    /// Writes all rows in one transaction, together with what other callers write at the time (group commit), and
    /// returns when it is durable (`synchronous=FULL`).
    ///
    /// # Errors
    /// When the database refuses (disk full, for instance); then none of the rows is written.
    pub async fn write(&self, batch: Batch) -> Result<(), Error> {
        let _ = batch;
        todo!("owner: state")
    }

    /// What was found for a subject.
    ///
    /// # Errors
    /// When the database fails. A row that cannot be read as evidence counts as absent.
    pub async fn evidence(&self, subject: &Subject) -> Result<Option<Evidence>, Error> {
        let _ = subject;
        todo!("owner: state")
    }

    /// The manifest row of a subject.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn manifest(&self, subject: &Subject) -> Result<Option<ManifestRow>, Error> {
        let _ = subject;
        todo!("owner: state")
    }

    /// Manifests of the repository that are said to list `child`, latest hint first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn parents(&self, child: &Subject, limit: usize) -> Result<Vec<Digest>, Error> {
        let _ = (child, limit);
        todo!("owner: state")
    }

    /// What a tag last pointed at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<TagRow>, Error> {
        let _ = (repository, tag);
        todo!("owner: state")
    }

    /// Whether this repository's upstream has confirmed that it holds the blob.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_blob_confirmed(&self, subject: &Subject) -> Result<bool, Error> {
        let _ = subject;
        todo!("owner: state")
    }

    /// Decisions that match, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn records(&self, query: Query) -> Result<Vec<Record>, Error> {
        let _ = query;
        todo!("owner: state")
    }

    /// One decision.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record(&self, id: Ulid) -> Result<Option<Record>, Error> {
        let _ = id;
        todo!("owner: state")
    }
}
