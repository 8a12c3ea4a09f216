//! One request: resolve the reference, have it decided, and hand out what was admitted.

mod absent;
pub mod blob;
mod fill;
mod lists;
mod manifest;
mod recheck;
mod referrers;
mod refusals;
mod tag;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::admission::{
    Admission, Asked, Decision, Denial, Described, Error, Freshness, Kind, Outcome,
};
use crate::decision_log::{Client, Subject};
use crate::flights::Flights;
use crate::limits::Limits;
use crate::manifests::{self, Manifests};
use crate::oci::RepositoryName;
use crate::state::State;
use crate::store::Store;
use crate::upstream::{self, Upstream};
pub use blob::{BlobBody, ServedBlob};
pub use lists::TagsList;
pub use manifest::{CacheState, ServedManifest};
pub use recheck::decision_id;
pub use referrers::ReferrersList;
use refusals::{Place, Refusals};

/// Serves pulls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pull {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    admission: Admission,
    manifests: Manifests,
    upstream: Arc<dyn Upstream>,
    state: State,
    store: Store,
    limits: Arc<Limits>,
    freshness: Freshness,
    tasks: TaskTracker,
    tags: moka::sync::Cache<(RepositoryName, crate::oci::Tag), tag::Resolved>,
    absent: absent::Absent,
    confirmed: moka::sync::Cache<Subject, ()>,
    small_blobs: moka::sync::Cache<crate::oci::Digest, bytes::Bytes>,
    refusals: Refusals,
    recalled: moka::sync::Cache<Subject, ()>,
    listings: Flights<Subject, Result<referrers::Listing, upstream::Error>>,
    lookups: Flights<(RepositoryName, crate::oci::Tag), Result<tag::Lookup, Arc<manifests::Error>>>,
}

/// What a pull is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who decides.
    pub admission: Admission,
    /// Where manifests come from.
    pub manifests: Manifests,
    /// Where everything else comes from.
    pub upstream: Arc<dyn Upstream>,
    /// Tags and confirmations.
    pub state: State,
    /// Content.
    pub store: Store,
    /// The limits in force.
    pub limits: Arc<Limits>,
    /// How long tags hold.
    pub freshness: Freshness,
    /// Where work goes on after a client has left.
    pub tasks: TaskTracker,
}

/// Who pulls, and when: read once per request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub client: Client,
    /// When.
    pub now: jiff::Timestamp,
}

/// Why a pull is not served.
#[derive(Debug)]
pub enum Refusal {
    /// Refused on purpose: 403.
    Denied(Box<Refused>),
    /// The upstream says there is no such thing: 404.
    NotFound(Missing),
    /// It cannot be said now: 503.
    Unavailable {
        /// What is unavailable.
        message: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The upstream's answer is unusable: 502.
    BadUpstream {
        /// What is wrong with it.
        message: String,
    },
    /// Our own failure: 500, without a word about what it was.
    Internal(Arc<Error>),
}

/// A refusal on purpose.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Why.
    pub denial: Denial,
    /// The record of it, unless it could not be written.
    pub decision: Option<ulid::Ulid>,
    /// The refused manifest, where there is one.
    pub described: Option<Described>,
}

/// What does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The manifest.
    Manifest,
    /// The blob.
    Blob,
    /// The repository.
    Name,
}

/// Tags and refusals that are remembered at most.
const REMEMBERED_MAX: u64 = 100_000;
/// The beginning of the message of a record that counts many refusals.
const REST: &str = "one of several refusals that are not recorded one by one: ";
/// What is told to clients that should try again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

impl Pull {
    /// A pull made of `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            admission,
            manifests,
            upstream,
            state,
            store,
            limits,
            freshness,
            tasks,
        } = parts;
        let small_blobs = moka::sync::Cache::builder()
            .max_capacity(limits.memory_bytes_max)
            .weigher(|_digest, bytes: &bytes::Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            .build();
        Self {
            inner: Arc::new(Inner {
                admission,
                manifests,
                upstream,
                state,
                store,
                limits,
                freshness,
                tasks,
                absent: absent::Absent::new(freshness.absent_ttl),
                tags: moka::sync::Cache::new(REMEMBERED_MAX),
                confirmed: moka::sync::Cache::new(REMEMBERED_MAX),
                small_blobs,
                listings: Flights::default(),
                lookups: Flights::default(),
                recalled: moka::sync::Cache::builder()
                    .max_capacity(REMEMBERED_MAX)
                    .time_to_live(refusals::RECORDED_EVERY)
                    .build(),
                refusals: Refusals::default(),
            }),
        }
    }

    /// Whether the host may be asked at all.
    #[must_use]
    pub fn is_configured(&self, host: &str) -> bool {
        self.inner.upstream.is_configured(host)
    }

    /// The refusal of a request to a host that is not configured, recorded.
    pub async fn refuse_host(&self, host: &str, caller: Caller) -> Refusal {
        let denial = Denial {
            kind: Kind::UpstreamNotAllowed,
            message: format!(
                "{host} is not a configured upstream of this proxy; hosts are allowed under `upstreams`"
            ).into(),
            policy: None,
            digest: None,
        };
        let asked = caller.asking(host.to_owned());
        self.refuse(host, denial, &asked).await
    }

    /// The refusal of a client that may not pull from the repository, recorded.
    pub async fn refuse_client(
        &self,
        repository: &RepositoryName,
        reference: String,
        caller: Caller,
    ) -> Refusal {
        let denial = Denial {
            kind: Kind::ClientDenied,
            message: format!(
                "{} may not pull from {repository}; `clients` lists who may",
                caller
                    .client
                    .identity
                    .as_deref()
                    .unwrap_or("an anonymous client")
            )
            .into(),
            policy: None,
            digest: None,
        };
        let asked = caller.asking(reference);
        self.refuse(repository.as_str(), denial, &asked).await
    }

    /// Records a refusal that no decision stands for, once in a while however often it happens.
    async fn refuse(&self, name: &str, mut denial: Denial, asked: &Asked) -> Refusal {
        let kind = denial.kind.as_str();
        let refusals = &self.inner.refusals;
        let key = match refusals.place(&asked.client, name, &asked.reference, kind) {
            Place::Recorded(id) => {
                denial.name_decision(id);
                return denied(denial, Some(id));
            }
            Place::Missing(key) => key,
        };
        let recorded = if key.is_rest() {
            let (mut rest, asked) = (denial.clone(), any_reference(asked));
            rest.message = format!("{REST}{}", denial.message).into();
            let recording = self.inner.admission.record_refusal(name, &asked, &mut rest);
            let recorded = recording.await;
            if let Ok(id) = recorded {
                denial.name_decision(id);
            }
            recorded
        } else {
            let recording = self
                .inner
                .admission
                .record_refusal(name, asked, &mut denial);
            recording.await
        };
        // The refusal holds whether or not it can be recorded.
        let decision = match recorded {
            Ok(id) => {
                refusals.note(key, id);
                Some(id)
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Could not record a refusal"
                );
                None
            }
        };
        denied(denial, decision)
    }

    /// Records that nothing could be decided about a reference of which no digest is known, once in a while however often
    /// it happens.
    async fn note_undecided(&self, name: &str, refusal: &Refusal, asked: &Asked) {
        let Refusal::Unavailable { message, .. } = refusal else {
            return;
        };
        let refusals = &self.inner.refusals;
        let place = refusals.place(&asked.client, name, &asked.reference, "unavailable");
        let Place::Missing(key) = place else {
            return;
        };
        let admission = &self.inner.admission;
        let recorded = if key.is_rest() {
            let (asked, message) = (any_reference(asked), format!("{REST}{message}"));
            admission.record_unavailable(name, &asked, &message).await
        } else {
            admission.record_unavailable(name, asked, message).await
        };
        match recorded {
            Ok(id) => refusals.note(key, id),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "Could not record that nothing could be decided"
            ),
        }
    }

    /// What the admission's lack of a decision means for the client.
    async fn refusal_for(
        &self,
        error: &Arc<Error>,
        repository: &RepositoryName,
        missing: Missing,
        asked: &Asked,
    ) -> Refusal {
        match error.as_ref() {
            Error::NotFound(_, true) => Refusal::NotFound(Missing::Name),
            Error::NotFound(_, false) => Refusal::NotFound(missing),
            Error::UpstreamDenied(error) => self.upstream_denied(error, repository, asked).await,
            Error::BadUpstream(error) => Refusal::BadUpstream {
                message: format!("{repository}: {error}"),
            },
            Error::UpstreamUnavailable(error) => unavailable(repository, error),
            Error::Undecided(decision) => {
                Refusal::from_decision(decision).unwrap_or(Refusal::Unavailable {
                    message: error.to_string(),
                    retry_after: RETRY_AFTER,
                })
            }
            Error::Storage { .. } => {
                tracing::error!(
                    error = error.as_ref() as &dyn std::error::Error,
                    "Could not decide"
                );
                Refusal::Unavailable {
                    message: format!("{repository}: this proxy's storage is not available"),
                    retry_after: RETRY_AFTER,
                }
            }
            Error::Late(_) | Error::Busy(_) => Refusal::Unavailable {
                message: error.to_string(),
                retry_after: RETRY_AFTER,
            },
            Error::Abandoned => Refusal::Internal(Arc::clone(error)),
        }
    }

    /// What an upstream's error on the content itself means for the client.
    async fn refusal_for_upstream(
        &self,
        error: upstream::Error,
        repository: &RepositoryName,
        missing: Missing,
        asked: &Asked,
    ) -> Refusal {
        match &error {
            upstream::Error::NotFound {
                name_unknown: true, ..
            } => Refusal::NotFound(Missing::Name),
            upstream::Error::NotFound { .. } => Refusal::NotFound(missing),
            upstream::Error::Denied { .. } => self.upstream_denied(&error, repository, asked).await,
            upstream::Error::TooLarge { .. }
            | upstream::Error::WrongDigest { .. }
            | upstream::Error::Truncated { .. }
            | upstream::Error::Unsupported { .. } => Refusal::BadUpstream {
                message: format!("{repository}: {error}"),
            },
            upstream::Error::Throttled { .. }
            | upstream::Error::Congested { .. }
            | upstream::Error::Failed { .. }
            | upstream::Error::Unexpected { .. }
            | upstream::Error::OtherContent { .. }
            | upstream::Error::NotConfigured { .. } => unavailable(repository, &error),
        }
    }

    async fn upstream_denied(
        &self,
        error: &upstream::Error,
        repository: &RepositoryName,
        asked: &Asked,
    ) -> Refusal {
        let own = repository.host();
        let is_own = matches!(error, upstream::Error::Denied { host, .. } if host == own);
        let advice = if is_own {
            format!("look at the credentials that this proxy has for {own}")
        } else {
            "no credentials follow a redirect, so pull under the name of that host if it needs some"
                .to_owned()
        };
        let denial = Denial {
            kind: Kind::UpstreamDenied,
            message: format!("{repository} cannot be pulled: {error}; {advice}").into(),
            policy: None,
            digest: asked.reference.parse().ok(),
        };
        self.refuse(repository.as_str(), denial, asked).await
    }
}

impl Refusal {
    /// The refusal in a decision, or nothing when it admits.
    #[must_use]
    pub fn from_decision(decision: &Decision) -> Option<Self> {
        match &decision.outcome {
            Outcome::Admit { .. } => None,
            Outcome::Deny(denial) => Some(Self::Denied(Box::new(Refused {
                denial: denial.clone(),
                decision: Some(decision.id),
                described: decision.described.clone(),
            }))),
            Outcome::Unavailable {
                missing,
                retry_after,
            } => Some(Self::Unavailable {
                message: missing.clone(),
                retry_after: *retry_after,
            }),
        }
    }
}

/// Makes one record stand for requests of any reference.
fn any_reference(asked: &Asked) -> Asked {
    Asked {
        reference: "*".to_owned(),
        ..asked.clone()
    }
}

fn denied(denial: Denial, decision: Option<ulid::Ulid>) -> Refusal {
    Refusal::Denied(Box::new(Refused {
        denial,
        decision,
        described: None,
    }))
}

fn unavailable(repository: &RepositoryName, error: &upstream::Error) -> Refusal {
    let retry_after = match error {
        upstream::Error::Throttled { retry_after, .. } => retry_after.unwrap_or(RETRY_AFTER),
        upstream::Error::NotFound { .. }
        | upstream::Error::Congested { .. }
        | upstream::Error::Denied { .. }
        | upstream::Error::Unsupported { .. }
        | upstream::Error::Failed { .. }
        | upstream::Error::Unexpected { .. }
        | upstream::Error::TooLarge { .. }
        | upstream::Error::WrongDigest { .. }
        | upstream::Error::OtherContent { .. }
        | upstream::Error::Truncated { .. }
        | upstream::Error::NotConfigured { .. } => RETRY_AFTER,
    };
    Refusal::Unavailable {
        message: format!("{repository}: {error}"),
        retry_after,
    }
}

impl Caller {
    /// What this caller asks for by `reference`.
    pub(crate) fn asking(self, reference: String) -> Asked {
        Asked {
            reference,
            previous_digest: None,
            stale_tag: false,
            anew: false,
            client: self.client,
            now: self.now,
        }
    }
}
