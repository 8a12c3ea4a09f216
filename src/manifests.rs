//! Manifests of repositories: from disk or from their upstream, hashed and parsed whenever they enter memory.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::compute;
use crate::decision_log::Subject;
use crate::limits::Limits;
use crate::oci::manifest::MEMORY_PER_BYTE;
use crate::oci::{Digest, Manifest, Reference, RepositoryName, manifest};
use crate::shares::{Full, Hold, Reading};
use crate::state::{self, ManifestRow, State};
use crate::store::{self, Store};
use crate::upstream::{self, FetchedManifest, Purpose, Upstream};

/// A manifest whose bytes have the digest of its subject and can be read in one way only.
#[derive(Debug)]
pub struct Document {
    /// Where it belongs and what its bytes hash to.
    pub subject: Subject,
    /// The bytes, as they are judged and served.
    pub bytes: Bytes,
    /// The manifest type that it was parsed as and is served with ([`manifest::media_type`]).
    pub media_type: &'static str,
    /// What it says.
    pub manifest: Manifest,
    /// What answers say of it, made once.
    pub headers: Headers,
    /// The bytes of the budget for reading that it holds until it is remembered, and so counts there.
    pub hold: Hold,
}

/// What answers say of a document. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Headers {
    /// The digest.
    pub digest: HeaderValue,
    /// The digest in quotes.
    pub etag: HeaderValue,
    /// The media type.
    pub media_type: HeaderValue,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream gave no usable answer.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// The bytes are right and no manifest that could be served. Nothing was stored, so that a mended upstream is
    /// believed at once.
    #[error("malformed manifest")]
    Malformed {
        /// The digest of the bytes.
        digest: Digest,
        /// What is wrong with them.
        #[source]
        source: manifest::ParseError,
    },
    /// An index with more manifests than the limit.
    #[error("the index lists {listed} manifests, more than {limit}")]
    TooManyChildren {
        /// The digest of the bytes.
        digest: Digest,
        /// How many it lists.
        listed: usize,
        /// How many it may list.
        limit: usize,
    },
    /// Too much large work waits, or none of it ended in time.
    #[error("this proxy is busy")]
    Busy(#[from] Full),
    /// The state failed.
    #[error("reading state")]
    State(#[from] state::Error),
    /// The content store failed.
    #[error("reading content")]
    Store(#[from] store::Error),
}

/// Where manifests come from.
#[derive(Debug, Clone)]
pub struct Manifests {
    store: Store,
    state: State,
    upstream: Arc<dyn Upstream>,
    limits: Arc<Limits>,
    reading: Reading,
}

/// The size of stored content that is assumed where it is not known.
const SIZE_ASSUMED: u64 = 64 * 1024;

impl Manifests {
    /// Manifests out of `store`, or else from `upstream`.
    #[must_use]
    pub fn new(
        store: Store,
        state: State,
        upstream: Arc<dyn Upstream>,
        limits: Arc<Limits>,
        reading: Reading,
    ) -> Self {
        Self {
            store,
            state,
            upstream,
            limits,
            reading,
        }
    }

    /// Reads small content from disk within the budget for reading. The bytes keep what was taken of it, `weight` bytes for
    /// each.
    ///
    /// # Errors
    /// [`Error::Busy`] when the budget has no room in time, or when the store fails.
    pub async fn stored(
        &self,
        digest: &Digest,
        limit_bytes: u64,
        weight: u64,
    ) -> Result<Option<(Bytes, Hold)>, Error> {
        let wait_until = Instant::now() + self.limits.decision_time_max / 2;
        let size = self.store.size(digest).unwrap_or(SIZE_ASSUMED);
        let taken = size.min(limit_bytes).saturating_mul(weight);
        let hold = self.reading.begin(taken, wait_until).await?;
        let Some(bytes) = self.store.get(digest, limit_bytes).await? else {
            return Ok(None);
        };
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let needed = size.saturating_mul(weight);
        hold.shrink(needed);
        let lacking = needed.saturating_sub(hold.bytes());
        if lacking > 0 && hold.bytes() == taken {
            self.reading.grow(&hold, lacking, wait_until).await?;
        }
        Ok(Some((hold.keep_for(bytes), hold)))
    }

    /// The manifest as it lies on disk, if this repository's upstream has once confirmed that it holds it.
    ///
    /// # Errors
    /// When state or store fail. What does not hash or parse counts as absent.
    pub async fn local(&self, subject: &Subject) -> Result<Option<Arc<Document>>, Error> {
        let Some(row) = self.state.manifest(subject).await? else {
            return Ok(None);
        };
        let limit_bytes = self.limits.manifest_bytes_max;
        let stored = self.stored(&subject.digest, limit_bytes, MEMORY_PER_BYTE);
        let Some((bytes, hold)) = stored.await? else {
            return Ok(None);
        };
        let deadline = Instant::now() + self.limits.decision_time_max;
        let document = self.document(subject.clone(), bytes, row.media_type, deadline);
        match document.await {
            Ok(document) => Ok(Some(Arc::new(Document { hold, ..document }))),
            Err(error @ Error::Busy(_)) => Err(error),
            Err(_absent) => Ok(None),
        }
    }

    /// The manifest as the upstream sends it now.
    ///
    /// # Errors
    /// When the upstream gives none, or one that may not be served.
    pub async fn fetch(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<Arc<Document>, Error> {
        let FetchedManifest {
            bytes,
            digest,
            content_type,
            hold,
        } = self
            .upstream
            .manifest(repository, reference, Purpose::Manifest, deadline)
            .await?;
        let subject = Subject {
            repository: repository.clone(),
            digest,
        };
        let document = self.document(subject, bytes, content_type, deadline);
        let document = document.await?;
        Ok(Arc::new(Document { hold, ..document }))
    }

    /// From disk, or else from the upstream.
    ///
    /// # Errors
    /// As [`Self::local`] and [`Self::fetch`].
    pub async fn local_or_fetch(
        &self,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<(Arc<Document>, Origin), Error> {
        if let Some(document) = self.local(subject).await? {
            return Ok((document, Origin::Disk));
        }
        let document = self
            .fetch(&subject.repository, &subject.digest.into(), deadline)
            .await?;
        Ok((document, Origin::Upstream))
    }

    /// Keeps the bytes on disk.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep(&self, document: &Document) -> Result<(), Error> {
        Ok(self
            .store
            .put(&document.subject.digest, document.bytes.clone())
            .await?)
    }

    async fn document(
        &self,
        subject: Subject,
        bytes: Bytes,
        declared: String,
        deadline: Instant,
    ) -> Result<Document, Error> {
        let limit = self.limits.index_manifests_max;
        let size = bytes.len();
        let read = move || Document::read(subject, bytes, &declared, limit);
        compute::run(size, deadline, read).await?
    }
}

impl Document {
    /// Reads a document of at most `limit` manifests.
    fn read(subject: Subject, bytes: Bytes, declared: &str, limit: usize) -> Result<Self, Error> {
        let digest = subject.digest;
        let malformed = |source| Error::Malformed { digest, source };
        let media_type = manifest::media_type(&bytes, declared).map_err(malformed)?;
        let manifest = Manifest::parse(&bytes, media_type).map_err(malformed)?;
        let listed = manifest.children().len();
        if listed > limit {
            return Err(Error::TooManyChildren {
                digest,
                listed,
                limit,
            });
        }
        let headers = Headers::new(&digest, media_type);
        Ok(Self {
            subject,
            bytes,
            media_type,
            manifest,
            headers,
            hold: Hold::default(),
        })
    }
}

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The content store.
    Disk,
    /// The upstream, just now.
    Upstream,
}

impl Headers {
    /// The headers of content with this digest and type.
    #[must_use]
    pub fn new(digest: &Digest, media_type: &str) -> Self {
        // Digests are hex, and media types were parsed: neither has a byte that a header cannot have.
        let value = |text: &str| {
            HeaderValue::try_from(text).unwrap_or_else(|_not_text| HeaderValue::from_static(""))
        };
        Self {
            digest: value(&digest.to_string()),
            etag: value(&format!("\"{digest}\"")),
            media_type: value(media_type),
        }
    }
}

impl Document {
    /// What state remembers of it.
    #[must_use]
    pub fn row(&self, confirmed_at: Timestamp) -> (Subject, ManifestRow) {
        let row = ManifestRow {
            media_type: self.media_type.to_owned(),
            confirmed_at,
        };
        (self.subject.clone(), row)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shares::{Ledger, Resource};
    use crate::upstream::Offline;

    #[tokio::test]
    async fn stored_content_is_charged_while_it_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let tasks = tokio_util::task::TaskTracker::new();
        let store = Store::open(directory.path(), u64::MAX, &tasks).await;
        let store = store.unwrap();
        let limits = Limits {
            reading_bytes_max: 1_000_000,
            decision_time_max: Duration::from_millis(100),
            ..Limits::default()
        };
        let ledger = Ledger::default();
        let manifests = Manifests::new(
            store.clone(),
            State::open(directory.path()).unwrap(),
            Arc::new(Offline::new(std::iter::empty().collect())),
            Arc::new(limits.clone()),
            Reading::open(&ledger, &limits),
        );
        let bytes = Bytes::from(vec![7; 300_000]);
        let digest = Digest::sha256(&bytes);
        store.put(&digest, bytes.clone()).await.unwrap();
        let (held, _hold) = manifests
            .stored(&digest, 300_000, 2)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(held, bytes);
        assert_eq!(ledger.usage()[&Resource::ReadingBytes].used, 600_000);
        let refused = manifests.stored(&digest, 300_000, 2).await;
        assert!(matches!(refused, Err(Error::Busy(_))));
    }
}
