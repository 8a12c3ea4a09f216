//! The registries we pull from.

pub mod config;
pub mod credentials;
pub mod http;
pub mod observer;

mod address;
mod authorization;
mod body;
mod challenge;
mod clients;
mod declared;
mod docker_config;
mod exchange;
mod host;
mod lane;
mod link;
mod neighbours;
mod offline;
mod pauses;
mod peer;
mod probe;
mod proxies;
mod pulse;
mod scope;
mod status;
mod tls_fault;
mod token;
mod token_answer;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::time::Instant;

use crate::oci::{Digest, PageQuery, Reference, RepositoryName};
use crate::shares::Hold;

pub(crate) use clients::{add_certificates, platform_roots, tls};
pub use config::Config;
pub use http::HttpUpstream;
pub use observer::{NoObserver, Observer};
pub use offline::Offline;
pub use probe::Probe;
pub(crate) use proxies::behind_system_proxies;

/// Why a request is made. Back-pressure on one purpose delays no other, and each counts for itself in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Manifests that clients ask for.
    Manifest,
    /// Blobs that clients ask for.
    Blob,
    /// Tag lists.
    Tags,
    /// The referrers API, and manifests and blobs found through it.
    Referrers,
    /// The referrers tag, and manifests and blobs found through it.
    ReferrersTag,
    /// Legacy cosign tags, and blobs found through them.
    CosignTag,
}

/// A manifest as the upstream sent it, complete.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    /// The bytes.
    pub bytes: Bytes,
    /// Their digest, computed here (by the algorithm of the digest asked for; SHA-256 for a tag).
    pub digest: Digest,
    /// The `Content-Type` without parameters; empty when the upstream sent none.
    pub content_type: String,
    /// The bytes of the budget for reading that were taken for it.
    pub hold: Hold,
}

/// What a `HEAD` of a manifest says. Nothing here is verified.
#[derive(Debug, Clone)]
pub struct ManifestHead {
    /// `Docker-Content-Digest`, if present and valid.
    pub digest: Option<Digest>,
}

/// A blob on its way.
pub struct FetchedBlob {
    /// The offset of the first byte in the stream. 0 when the upstream ignored the range.
    pub offset: u64,
    /// The size of the whole blob, when the upstream says it.
    pub size: Option<u64>,
    /// The error that the answer is unless its size is that of the blob: its headers declare a web page, or an encoding
    /// that was not asked for. Storage may declare so of a blob, too.
    pub doubt: Option<Error>,
    /// The bytes. Ends with an error when the body ends early, stalls or breaks.
    pub body: BoxStream<'static, Result<Bytes, Error>>,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The body, complete.
    pub bytes: Bytes,
    /// The `Content-Type` without parameters; empty when the upstream sent none.
    pub content_type: String,
    /// The page after this one, as the upstream's `Link` says.
    pub next: NextPage,
    /// The bytes of the budget for reading that were taken for it.
    pub hold: Hold,
}

/// The page after another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextPage {
    /// The list ends here.
    None,
    /// The same list with this query.
    At(PageQuery),
    /// The first page again: the link has no query and the path of the list itself.
    First,
    /// There is one, and its `Link` has no query that could be sent: none, one that is too long, or one with control
    /// characters.
    Unusable,
}

/// The pages of one list that were asked for, so that a list whose links lead in a circle ends.
#[derive(Debug, Default)]
pub struct Paging {
    asked: Vec<PageQuery>,
}

/// Why the pages of a list cannot all be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PagingError {
    /// A page links to one that was asked for before.
    #[error("the pages lead in a circle")]
    Circle,
    /// A page is followed by one that cannot be asked for.
    #[error("the link to the next page is not usable")]
    UnusableLink,
}

/// Why an upstream gave no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// 404 or 410: there is no such thing.
    #[error("{host} says that it does not exist")]
    NotFound {
        /// The upstream.
        host: String,
        /// Whether the upstream said `NAME_UNKNOWN`.
        name_unknown: bool,
    },
    /// 401 or 403 after authenticating as configured.
    #[error("{host} refused us with status {status}")]
    Denied {
        /// The upstream.
        host: String,
        /// 401 or 403.
        status: u16,
    },
    /// The endpoint does not exist there: 400, 405, 406, 501 (only told apart for the referrers API and lists).
    #[error("{host} does not support the request (status {status})")]
    Unsupported {
        /// The upstream.
        host: String,
        /// The status.
        status: u16,
    },
    /// 429 or 503 with `Retry-After`: the upstream wants to be left alone.
    #[error("{host} asked us to slow down")]
    Throttled {
        /// The upstream.
        host: String,
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
    /// Our own queue to the upstream is full, or our own memory for what it sends. This says nothing about the upstream, so
    /// nothing older serves in its place.
    #[error("this proxy has too many requests to {host} under way")]
    Congested {
        /// The upstream.
        host: String,
    },
    /// No answer in time, no connection, a 5xx, a broken body: it may work later.
    #[error("{host} is not answering: {reason}")]
    Failed {
        /// The upstream.
        host: String,
        /// What happened, in a few words, without secrets.
        reason: String,
    },
    /// An answer that neither carries the content nor denies that it exists nor promises it for later: another status
    /// (304, 409, 418), or a redirect that leads nowhere. The upstream was asked, so nothing older serves in its place,
    /// and nothing is known.
    #[error("{host} gave an answer that cannot be used: {reason}")]
    Unexpected {
        /// The upstream.
        host: String,
        /// The fault of the answer, in a few words, without secrets.
        reason: String,
    },
    /// The body is larger than the limit for it.
    #[error("{host} sent more than {limit_bytes} bytes")]
    TooLarge {
        /// The upstream.
        host: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The bytes do not have the digest asked for.
    #[error("{host} sent bytes that do not have the digest asked for")]
    WrongDigest {
        /// The upstream.
        host: String,
    },
    /// 200 with a body that is not the content: a web page, an error in JSON, nothing, compressed bytes. Something stands
    /// between us and the registry, so nothing is known of the content.
    #[error("{host} answered with {found}, which is not the content asked for")]
    OtherContent {
        /// The upstream.
        host: String,
        /// The body that it sent, in a few words.
        found: String,
    },
    /// The body ended before the length that was announced.
    #[error("{host} ended the body early")]
    Truncated {
        /// The upstream.
        host: String,
    },
    /// The host is not among the configured upstreams.
    #[error("{host} is not a configured upstream")]
    NotConfigured {
        /// The host.
        host: String,
    },
}

/// What we ask of registries. Every call ends by `deadline`, retries, redirects, tokens and waiting included.
#[async_trait]
pub trait Upstream: Debug + Send + Sync {
    /// Whether requests to this host may be made at all.
    fn is_configured(&self, host: &str) -> bool;

    /// The manifest, read whole and bounded. By digest, the bytes have that digest.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<FetchedManifest, Error>;

    /// What the upstream says a manifest's digest is now, by one `HEAD`. An error is no statement about the manifest,
    /// because many registries cannot do `HEAD`: [`Upstream::manifest`] is.
    async fn head_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<ManifestHead, Error>;

    /// A blob from `offset` on. `deadline` covers the time to the headers, which for a blob may take up to
    /// `blob_header_time_max`; the body has an idle limit of its own.
    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        offset: u64,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<FetchedBlob, Error>;

    /// A small blob, read whole, at most `limit_bytes`; the bytes have the digest.
    async fn small_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit_bytes: u64,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Bytes, Error>;

    /// Asks whether the upstream holds a blob of this size: by `HEAD`, and by a `GET` of its first byte unless `HEAD`
    /// answers 200 for a blob. Registries that refuse or cannot do `HEAD` serve the blob all the same (moby#50065,
    /// watchtower#667).
    ///
    /// # Errors
    /// As the `GET` ended; `OtherContent` if it brought a web page or encoded bytes, `WrongDigest` if it announced another
    /// size; `Throttled` as soon as the upstream asks for a pause.
    async fn confirm_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        deadline: Instant,
    ) -> Result<(), Error>;

    /// A page of the referrers of `digest`: the first one, or the one that the page before it links to.
    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        query: Option<&PageQuery>,
        deadline: Instant,
    ) -> Result<Page, Error>;

    /// A page of the tags. `query` is passed on as it is; no other part of the URL depends on it.
    async fn tags(
        &self,
        repository: &RepositoryName,
        query: Option<&PageQuery>,
        deadline: Instant,
    ) -> Result<Page, Error>;
}

impl Paging {
    /// Goes on to `next`. Returns its query, or `None` if the list has ended.
    ///
    /// # Errors
    /// When the next page was asked for before, or cannot be asked for. The list is then incomplete.
    pub fn follow(&mut self, next: NextPage) -> Result<Option<&PageQuery>, PagingError> {
        let query = match next {
            NextPage::None => return Ok(None),
            NextPage::First => return Err(PagingError::Circle),
            NextPage::Unusable => return Err(PagingError::UnusableLink),
            NextPage::At(query) => query,
        };
        if self
            .asked
            .iter()
            .any(|asked| asked.selects_same_page(&query))
        {
            return Err(PagingError::Circle);
        }
        self.asked.push(query);
        Ok(self.asked.last())
    }
}

impl Debug for FetchedBlob {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FetchedBlob")
            .field("offset", &self.offset)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Error {
    /// Tells whether the upstream could not be asked (no connection, no answer in time, 408, 425, 429, 5xx), so that
    /// asking again later may help and an older answer may serve. Everything else is an answer (design §3.9), or no
    /// statement about the upstream at all (`Congested`).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. } | Self::Failed { .. } => true,
            Self::NotFound { .. }
            | Self::Congested { .. }
            | Self::Denied { .. }
            | Self::Unsupported { .. }
            | Self::Unexpected { .. }
            | Self::TooLarge { .. }
            | Self::WrongDigest { .. }
            | Self::OtherContent { .. }
            | Self::Truncated { .. }
            | Self::NotConfigured { .. } => false,
        }
    }
}
