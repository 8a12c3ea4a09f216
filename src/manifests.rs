//! Manifests of repositories: from disk or from their upstream, hashed and parsed whenever they enter memory.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::compute;
use crate::decision_log::Subject;
use crate::limits::Limits;
use crate::oci::{Digest, Manifest, Reference, RepositoryName, manifest};
use crate::shares::Full;
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
}

impl Manifests {
    /// Manifests out of `store`, or else from `upstream`.
    #[must_use]
    pub fn new(
        store: Store,
        state: State,
        upstream: Arc<dyn Upstream>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            store,
            state,
            upstream,
            limits,
        }
    }

    /// The manifest as it lies on disk, if this repository's upstream has once confirmed that it holds it.
    ///
    /// # Errors
    /// When state or store fail. What does not hash or parse counts as absent.
    pub async fn local(&self, subject: &Subject) -> Result<Option<Arc<Document>>, Error> {
        let Some(row) = self.state.manifest(subject).await? else {
            return Ok(None);
        };
        let bytes = self
            .store
            .get(&subject.digest, self.limits.manifest_bytes_max)
            .await?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let deadline = Instant::now() + self.limits.decision_time_max;
        let document = self.document(subject.clone(), bytes, row.media_type, deadline);
        match document.await {
            Ok(document) => Ok(Some(Arc::new(document))),
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
        } = self
            .upstream
            .manifest(repository, reference, Purpose::Manifest, deadline)
            .await?;
        let subject = Subject {
            repository: repository.clone(),
            digest,
        };
        let document = self.document(subject, bytes, content_type, deadline);
        document.await.map(Arc::new)
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
