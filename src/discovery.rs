//! Finds signature material for a digest: the union of the legacy cosign tags, the referrers API and the referrers tag.
//!
//! Each source is asked to its end and ends as *found*, *none* or *failed*; a failure of one is no statement about the
//! others. Nothing found here is believed: it is material for [`crate::verify`].

mod artifact;
mod budget;
mod cosign_tag;
mod referrers;
mod relevance;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use tokio::time::Instant;

use crate::compute;
use crate::limits::Limits;
use crate::oci::manifest::ParseError;
use crate::oci::{Descriptor, Digest, Manifest, RepositoryName};
use crate::shares::{Behalf, Full, Patience};
use crate::signature::{Artifact, Source};
use crate::upstream::{self, FetchedManifest, Purpose, Upstream};
use budget::Budget;
pub use relevance::Wanted;

/// Where and for what signatures are looked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The digest that should be signed.
    pub digest: Digest,
    /// The repository of the image, and any `signature_repository` of its policies.
    pub repositories: Vec<RepositoryName>,
    /// Whether legacy attestation tags (`.att`) are asked for too.
    pub attestations: bool,
    /// The material that could satisfy the policies. It is opened first.
    pub wanted: Wanted,
    /// When all of it must have ended.
    pub deadline: Instant,
}

/// The place, purpose and budget of one source that is asked.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    repository: &'a RepositoryName,
    source: Source,
    purpose: Purpose,
    deadline: Instant,
    wanted: &'a Wanted,
    budget: &'a Budget,
}

/// How one source in one repository ended.
#[derive(Debug)]
pub struct Finding {
    /// The repository asked in.
    pub repository: RepositoryName,
    /// The source asked.
    pub source: Source,
    /// Whether `.att` was asked for.
    pub attestations: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found, newest first; may be some of it when the source failed.
    pub artifacts: Vec<FoundArtifact>,
    /// Referrers that are listed and not there. What they were is not known.
    pub absent: Vec<Digest>,
    /// A count or size beyond its limit, in words.
    pub limit_exceeded: Option<String>,
}

/// How asking a source ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to its end.
    Complete,
    /// It was not, so that what it has is not known.
    Failed {
        /// Why, in words for an operator.
        reason: String,
        /// Whether the upstream could not be asked (connection, time, 5xx, 429), so that older evidence may serve.
        unreachable: bool,
    },
}

/// A signature artifact with the manifest it came from.
#[derive(Debug)]
pub struct FoundArtifact {
    /// The manifest, for keeping.
    pub manifest: FetchedManifest,
    /// The material.
    pub artifact: Artifact,
}

/// Looks for signatures at upstreams.
#[derive(Debug, Clone)]
pub struct Discovery {
    upstream: Arc<dyn Upstream>,
    limits: Arc<Limits>,
}

/// What a source gave before it is labelled with where it was asked.
#[derive(Debug, Default)]
struct Gathered {
    artifacts: Vec<FoundArtifact>,
    absent: Vec<Digest>,
    limit_exceeded: Option<String>,
    failure: Option<Failure>,
}

/// Why a source was not asked to its end.
#[derive(Debug)]
struct Failure {
    reason: String,
    unreachable: bool,
}

/// The number of bytes of a blob that are always read. A body that is larger than its descriptor says may be the blob,
/// whose size is then wrong, or the page of a captive portal, which says nothing. The digest tells them apart.
const READ_BYTES_MIN: u64 = 64 * 1024;

/// Parses a manifest; a large one away from the threads that serve.
async fn read_manifest(
    bytes: Bytes,
    media_type: String,
    place: Place<'_>,
) -> Result<Result<Manifest, ParseError>, Full> {
    let size = bytes.len();
    let read = move || Manifest::parse(&bytes, &media_type);
    compute::run(size, place.deadline, read).await
}

/// Nothing is known of a source whose answer this process had no time to read. The upstream is not to blame.
fn busy(place: Place<'_>) -> Gathered {
    let host = place.repository.host();
    Gathered::failed(Failure {
        reason: format!("this proxy is busy, and did not read what {host} answered"),
        unreachable: false,
    })
}

impl Discovery {
    /// A discovery that asks `upstream` within `limits`.
    #[must_use]
    pub fn new(upstream: Arc<dyn Upstream>, limits: Arc<Limits>) -> Self {
        Self { upstream, limits }
    }

    /// The findings of all sources, each as soon as it has ended. All sources are asked at once.
    pub fn findings(&self, request: &Request) -> impl Stream<Item = Finding> + Send + use<> {
        let sources = [Source::CosignTag, Source::Referrers, Source::ReferrersTag];
        let budget = Arc::new(Budget::new(self.limits.discovery_bytes_max));
        let asked: FuturesUnordered<_> = request
            .repositories
            .iter()
            .flat_map(|repository| sources.map(|source| (repository.clone(), source)))
            .map(|(repository, source)| {
                let (discovery, request) = (self.clone(), request.clone());
                let budget = Arc::clone(&budget);
                async move {
                    discovery
                        .finding(repository, source, &request, &budget)
                        .await
                }
            })
            .collect();
        asked.boxed()
    }

    /// Fetches a blob that may be signature material. It may be larger than its descriptor says, up to
    /// `READ_BYTES_MIN`, because only its digest shows that it is the blob.
    ///
    /// # Errors
    /// Returns an error if the upstream does not give it.
    pub async fn material(
        &self,
        repository: &RepositoryName,
        layer: &Descriptor,
        deadline: Instant,
    ) -> Result<Bytes, upstream::Error> {
        self.upstream
            .small_blob(
                repository,
                &layer.digest,
                layer.size.max(READ_BYTES_MIN),
                Purpose::Blob,
                deadline,
            )
            .await
    }

    async fn finding(
        &self,
        repository: RepositoryName,
        source: Source,
        request: &Request,
        budget: &Budget,
    ) -> Finding {
        let place = Place {
            repository: &repository,
            source,
            purpose: match source {
                Source::CosignTag => Purpose::CosignTag,
                Source::Referrers => Purpose::Referrers,
                Source::ReferrersTag => Purpose::ReferrersTag,
            },
            deadline: request.deadline,
            wanted: &request.wanted,
            budget,
        };
        let asking = async {
            match source {
                Source::CosignTag => self.cosign_tags(place, request).await,
                Source::Referrers => self.referrers_api(place, request).await,
                Source::ReferrersTag => self.referrers_tag(place, request).await,
            }
        };
        // The upstream is not to blame for the time that requests spend in our own queue.
        let patience = Patience::new(Behalf::current(), self.limits.stale_decision_time_max);
        // Every request below ends by the deadline by itself; this is the belt to those braces.
        let gathered = tokio::time::timeout_at(request.deadline, asking)
            .await
            .unwrap_or_else(|_elapsed| {
                Gathered::failed(Failure {
                    reason: format!("{} did not answer in time", repository.host()),
                    unreachable: !patience.excuses_others(),
                })
            });
        Finding {
            repository,
            source,
            attestations: request.attestations,
            outcome: match gathered.failure {
                None => Outcome::Complete,
                Some(Failure {
                    reason,
                    unreachable,
                }) => Outcome::Failed {
                    reason,
                    unreachable,
                },
            },
            artifacts: gathered.artifacts,
            absent: gathered.absent,
            limit_exceeded: gathered.limit_exceeded,
        }
    }
}

impl Gathered {
    fn failed(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..Self::default()
        }
    }

    fn limited(what: String) -> Self {
        Self {
            limit_exceeded: Some(what),
            ..Self::default()
        }
    }

    /// What an upstream error means for a source as a whole: a definite absence, a limit, or that nothing is known.
    fn from_error(error: &upstream::Error) -> Self {
        match error {
            upstream::Error::NotFound { .. } => Self::default(),
            upstream::Error::TooLarge { limit_bytes, .. } => Self::limited(format!(
                "a list of signatures is larger than {limit_bytes} bytes (`limits.list_bytes_max`, \
                 `limits.manifest_bytes_max`)"
            )),
            upstream::Error::Denied { .. }
            | upstream::Error::Unsupported { .. }
            | upstream::Error::Throttled { .. }
            | upstream::Error::Congested { .. }
            | upstream::Error::Failed { .. }
            | upstream::Error::Unexpected { .. }
            | upstream::Error::WrongDigest { .. }
            | upstream::Error::OtherContent { .. }
            | upstream::Error::Truncated { .. }
            | upstream::Error::NotConfigured { .. } => Self::failed(error.into()),
        }
    }

    fn absorb(&mut self, other: Self) {
        self.artifacts.extend(other.artifacts);
        self.absent.extend(other.absent);
        self.limit_exceeded = self.limit_exceeded.take().or(other.limit_exceeded);
        self.failure = self.failure.take().or(other.failure);
    }
}

impl From<&upstream::Error> for Failure {
    fn from(error: &upstream::Error) -> Self {
        Self {
            reason: error.to_string(),
            unreachable: error.is_transient(),
        }
    }
}
