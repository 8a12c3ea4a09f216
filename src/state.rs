//! What outlives a request, in one embedded database: evidence, hints about parents, tags, and the decision log.
//!
//! Nothing in here is a verdict. Evidence is verified again by each process; "this index lists that child" is a hint
//! that is read again from the parent's verified bytes.

mod changes;
mod clients;
mod copy;
mod database;
mod decisions;
mod retention;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::decision_log::{
    Change, ChangeQuery, Entry, Page, Query, Record, RefusedClient, SourceReport, Subject,
};
use crate::disk::Fault;
use crate::oci::{Digest, RepositoryName, Tag};
use crate::signature::Source;
use crate::telemetry::LogSize;

pub use copy::copy;
use database::Database;
pub(crate) use database::FILE;
pub use retention::Retention;

/// The state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    database: Database,
}

/// The database failed. A caller cannot decide without it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused.
    #[error("state database")]
    Sqlite(#[from] rusqlite::Error),
    /// The file could not be opened as our database: damaged, something else, or not accessible.
    #[error("open state database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer program wrote it; an older one would misread it.
    #[error("state database {} has version {found}; this program knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The directory could not be used.
    #[error("state directory")]
    Io(#[from] std::io::Error),
    /// There is no database.
    #[error("there is no state in {}", .0.display())]
    Absent(PathBuf),
    /// It was opened for reading.
    #[error("the state database is only read here")]
    ReadOnly,
    /// A proxy has decided with it, so that nothing may be copied over it.
    #[error("the state in {} is a proxy's; name another folder", .0.display())]
    InUse(PathBuf),
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
    /// Referrers that were listed and not there.
    #[serde(default)]
    pub absent_referrers: Vec<Digest>,
    /// When the sources were asked.
    pub discovered_at: Timestamp,
    /// A count that exceeded a limit, in words; the decision is `limit_exceeded` if nothing else satisfies it.
    pub limit_exceeded: Option<String>,
    /// The material that was read first, up to the limits. Evidence of earlier versions does not say.
    #[serde(default)]
    pub wanted: Option<EvidenceWanted>,
}

/// The material that could satisfy the policies for which evidence was gathered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceWanted {
    /// True if a signature was required.
    pub signatures: bool,
    /// The predicate types that attestations were required of, sorted.
    pub predicate_types: Vec<String>,
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
    pub records: Vec<Entry>,
    /// Refusals that are about no decision. They have a share of the log of their own.
    pub refusals: Vec<Entry>,
    /// Changes of what decisions are made by.
    pub changes: Vec<Change>,
    /// Evidence by subject; replaces what was there.
    pub evidence: Vec<(Subject, Evidence)>,
    /// Manifests by subject; replaces what was there.
    pub manifests: Vec<(Subject, ManifestRow)>,
    /// Hints: in this repository, the parent lists these children (manifests or blobs).
    pub parents: Vec<(Subject, Vec<Digest>)>,
    /// Tags; replaces what was there.
    pub tags: Vec<(RepositoryName, Tag, TagRow)>,
    /// Whether all tags through which subjects were asked for are forgotten first.
    pub forgets_asked_tags: bool,
    /// Tags through which subjects were asked for.
    pub asked_tags: Vec<(Subject, Tag)>,
    /// Blobs that this repository's upstream confirmed to hold, after its host had delivered them once.
    pub confirmed_blobs: Vec<Subject>,
    /// Blobs that the host of this repository delivered whole.
    pub delivered_blobs: Vec<Subject>,
    /// Pulls that reused decisions: added to their `count`.
    pub counts: Vec<(Ulid, u64)>,
    /// Clients that decisions refused: added to the clients of their records, and to their `count`.
    pub refused_clients: Vec<(Ulid, RefusedClient)>,
    /// True to write something small, which shows that the database takes writes again.
    pub is_attempt: bool,
}

/// Tags that are kept for one digest in one repository.
pub const ASKED_TAGS_MAX: usize = 1024;

impl State {
    /// Opens the database under `data_dir`, creating it if absent. Reads and writes run on threads of their own.
    /// Keeps the [`Retention`] by default.
    ///
    /// # Errors
    /// When the directory or the database cannot be used, or is of a newer version.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        Self::open_keeping(data_dir, Retention::default())
    }

    /// As [`State::open`], with bounds on the log.
    ///
    /// # Errors
    /// As [`State::open`].
    pub fn open_keeping(data_dir: &Path, retention: Retention) -> Result<Self, Error> {
        let database = Database::open(data_dir, retention)?;
        Ok(Self { database })
    }

    /// Opens the database that is under `data_dir`, which another process may be using, for reading: no row is written or
    /// migrated, and [`State::write`] fails.
    ///
    /// # Errors
    /// As [`State::open`], and when there is none.
    pub fn open_read_only(data_dir: &Path) -> Result<Self, Error> {
        let database = Database::open_read_only(data_dir)?;
        Ok(Self { database })
    }

    /// Writes all rows in one transaction, together with what other callers write at the time (group commit), and
    /// returns when it is durable (`synchronous=FULL`).
    ///
    /// # Errors
    /// When the database refuses (disk full, a decision with an id that exists); then none of the rows is written.
    pub async fn write(&self, batch: Batch) -> Result<(), Error> {
        self.database.write(batch).await
    }

    /// What was found for a subject.
    ///
    /// # Errors
    /// When the database fails. A row that cannot be read as evidence counts as absent.
    pub async fn evidence(&self, subject: &Subject) -> Result<Option<Evidence>, Error> {
        let row = self.row(
            "SELECT body FROM evidence WHERE repository = ?1 AND digest = ?2",
            subject,
        );
        Ok(row.await?.and_then(|[body]| {
            let body = body?;
            serde_json::from_str(&body)
                .inspect_err(|error| {
                    tracing::warn!(%error, repository = %subject.repository, digest = %subject.digest, "Unreadable evidence counts as absent");
                })
                .ok()
        }))
    }

    /// The manifest row of a subject.
    ///
    /// # Errors
    /// When the database fails. An unreadable row counts as absent.
    pub async fn manifest(&self, subject: &Subject) -> Result<Option<ManifestRow>, Error> {
        let row = self.row(
            "SELECT media_type, confirmed_at FROM manifests WHERE repository = ?1 AND digest = ?2",
            subject,
        );
        Ok(row.await?.and_then(|[media_type, confirmed_at]| {
            Some(ManifestRow {
                media_type: media_type?,
                confirmed_at: confirmed_at?.parse().ok()?,
            })
        }))
    }

    /// Manifests of the repository that are said to list `child`, latest hint first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn parents(&self, child: &Subject, limit: usize) -> Result<Vec<Digest>, Error> {
        let (repository, child) = keys(child);
        let read = move |connection: &Connection| {
            let mut select = connection.prepare_cached(
                "SELECT parent FROM parents WHERE repository = ?1 AND child = ?2 ORDER BY hint DESC",
            )?;
            let parents = select.query_map((repository, child), |row| Ok(text(row, 0)))?;
            parents
                .filter_map(|parent| match parent {
                    Ok(parent) => Some(Ok(parent?.parse().ok()?)),
                    Err(error) => Some(Err(error)),
                })
                .take(limit)
                .collect()
        };
        self.database.read(read).await
    }

    /// What a tag last pointed at.
    ///
    /// # Errors
    /// When the database fails. An unreadable row counts as absent.
    pub async fn tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<TagRow>, Error> {
        let keys = (repository.as_str().to_owned(), tag.as_str().to_owned());
        let row = self.row_by(
            "SELECT digest, resolved_at FROM tags WHERE repository = ?1 AND tag = ?2",
            keys,
        );
        Ok(row.await?.and_then(|[digest, resolved_at]| {
            Some(TagRow {
                digest: digest?.parse().ok()?,
                resolved_at: resolved_at?.parse().ok()?,
            })
        }))
    }

    /// The tags through which a subject was asked for; `None` when they are more than [`ASKED_TAGS_MAX`], so that not all
    /// are known. An unreadable row counts as one too many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn asked_tags(&self, subject: &Subject) -> Result<Option<Vec<String>>, Error> {
        let keys = keys(subject);
        let read = move |connection: &Connection| {
            let mut select = connection.prepare_cached(
                "SELECT tag FROM asked_tags WHERE repository = ?1 AND digest = ?2",
            )?;
            let tags = select.query_map(keys, |row| Ok(text(row, 0)))?;
            tags.take(ASKED_TAGS_MAX + 1)
                .collect::<rusqlite::Result<Option<Vec<_>>>>()
        };
        let tags = self.database.read(read).await?;
        Ok(tags.filter(|tags| tags.len() <= ASKED_TAGS_MAX))
    }

    /// Whether this repository's upstream has confirmed that it holds the blob.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_blob_confirmed(&self, subject: &Subject) -> Result<bool, Error> {
        let row = self.row(
            "SELECT digest FROM confirmed_blobs WHERE repository = ?1 AND digest = ?2",
            subject,
        );
        let row: Option<[Option<String>; 1]> = row.await?;
        Ok(row.is_some())
    }

    /// Tells whether this host has once delivered the blob whole, for any of its repositories. The word of a host alone
    /// never counts, because everybody who knows a digest can claim to hold the content.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_blob_delivered(&self, host: &str, digest: &Digest) -> Result<bool, Error> {
        let keys = (host.to_owned(), digest.to_string());
        let row = self.row_by(
            "SELECT digest FROM delivered_blobs WHERE host = ?1 AND digest = ?2",
            keys,
        );
        let row: Option<[Option<String>; 1]> = row.await?;
        Ok(row.is_some())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn answers(&self) -> Result<(), Error> {
        self.database
            .read(|connection| connection.query_row("SELECT 1", [], |_row| Ok(())))
            .await
    }

    /// Returns the fault that the last write or read showed. While there is one, a write is tried now and then.
    pub async fn check(&self) -> Option<Fault> {
        self.database.check().await
    }

    /// As [`State::check`], without trying.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.database.fault()
    }

    /// A page of decisions that match, newest first. Rows that cannot be read as decisions are passed over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn records(&self, query: Query) -> Result<Page, Error> {
        let read = move |connection: &Connection| decisions::select(connection, &query);
        self.database.query(read).await
    }

    /// Returns the number of records in the log, and their bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_size(&self) -> Result<LogSize, Error> {
        self.database.read(retention::size).await
    }

    /// One decision.
    ///
    /// # Errors
    /// When the database fails. An unreadable row counts as absent.
    pub async fn record(&self, id: Ulid) -> Result<Option<Record>, Error> {
        let read = move |connection: &Connection| decisions::select_one(connection, id);
        self.database.query(read).await
    }

    /// Changes that match, newest first. Rows that cannot be read are passed over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changes(&self, query: ChangeQuery) -> Result<Vec<Change>, Error> {
        let read = move |connection: &Connection| changes::select(connection, &query);
        self.database.query(read).await
    }

    /// The last change of each thing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_changes(&self) -> Result<Vec<Change>, Error> {
        self.database.query(changes::select_latest).await
    }

    async fn row<const COLUMNS: usize>(
        &self,
        sql: &'static str,
        subject: &Subject,
    ) -> Result<Option<[Option<String>; COLUMNS]>, Error> {
        self.row_by(sql, keys(subject)).await
    }

    async fn row_by<const COLUMNS: usize>(
        &self,
        sql: &'static str,
        keys: (String, String),
    ) -> Result<Option<[Option<String>; COLUMNS]>, Error> {
        let read = move |connection: &Connection| {
            let mut select = connection.prepare_cached(sql)?;
            select
                .query_row(keys, |row| {
                    Ok(std::array::from_fn(|column| text(row, column)))
                })
                .optional()
        };
        self.database.read(read).await
    }
}

fn keys(subject: &Subject) -> (String, String) {
    (
        subject.repository.as_str().to_owned(),
        subject.digest.to_string(),
    )
}

/// A column as text; `None` when somebody has put something else there.
fn text(row: &Row<'_>, column: usize) -> Option<String> {
    row.get(column).ok()
}
