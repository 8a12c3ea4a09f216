//! The decision: joins what policy requires, what discovery finds and what that proves. The only maker of
//! [`Admitted`].
//!
//! Decisions are remembered in the process and nowhere else. What is stored is evidence, and it is judged again by
//! each process, under each configuration.

mod asked_tags;
mod blob;
mod conclusion;
pub mod decision;
pub mod denial;
mod draft;
mod endorsement;
pub mod evaluate;
mod evidence;
mod excepted;
mod gather;
mod judge;
mod material;
mod recheck;
mod recorder;
mod replay;
mod validity;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::decision_log::{Entry, Subject};
use crate::discovery::Discovery;
use crate::flights::Flights;
use crate::in_force::InForce;
use crate::limits::Limits;
use crate::manifests::{Document, Manifests};
use crate::oci::{Digest, Tag};
use crate::policy::{Policies, Policy, Tags};
use crate::state::State;
use crate::store::Store;
pub use blob::BlobGrant;
pub use decision::{Admitted, Decision, Described, Error, Outcome};
pub use denial::{Denial, Kind};
pub use evaluate::UnsignedTag;
pub use excepted::EXCEPTED;

/// Decides what may be served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    in_force: InForce,
    manifests: Manifests,
    discovery: Discovery,
    state: State,
    store: Store,
    limits: Arc<Limits>,
    freshness: Freshness,
    reliance: Reliance,
    replica: String,
    sink: Arc<dyn Sink>,
    tasks: TaskTracker,
    remembered: moka::sync::Cache<Subject, Arc<Decision>>,
    witnessed: moka::sync::Cache<Subject, Digest>,
    /// Manifests that an upstream has just said do not exist, and whether it said so of the whole repository.
    absent: moka::sync::Cache<Subject, bool>,
    grants: moka::sync::Cache<Subject, Arc<BlobGrant>>,
    /// Tags through which this process saw subjects asked for, as upstreams resolved them.
    asked_tags: moka::sync::Cache<Subject, Tags>,
    /// Tags that were not signed and that an exception lets through.
    excepted_tags: moka::sync::Cache<(Subject, Tag), Arc<Decision>>,
    flights: Flights<(Subject, Digest), Result<Arc<Decision>, Arc<Error>>>,
}

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// After this a tag is looked up again; zero asks every time.
    pub tag_ttl: std::time::Duration,
    /// After this something is asked for again that the upstream said does not exist; zero asks every time.
    pub absent_ttl: std::time::Duration,
    /// After this signatures are looked for again.
    pub reverify_after: std::time::Duration,
    /// How old evidence and tags may be while the upstream cannot be asked; zero never serves stale.
    pub stale_for: std::time::Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            tag_ttl: std::time::Duration::from_secs(60),
            absent_ttl: std::time::Duration::from_secs(2),
            reverify_after: std::time::Duration::from_secs(24 * HOUR),
            stale_for: std::time::Duration::from_secs(7 * 24 * HOUR),
        }
    }
}

/// How far stored evidence is relied upon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reliance {
    #[default]
    /// While it is fresh, and for what there is: that there is no more, a process must have seen itself. For whatever is
    /// served.
    Fresh,
    /// As it was recorded, however long ago, and for all there is. For replays, which ask nobody and by which nothing is
    /// served.
    Recorded,
}

/// What an admission is made of.
#[derive(Debug)]
pub struct Parts {
    /// What is required.
    pub in_force: InForce,
    /// Where manifests come from.
    pub manifests: Manifests,
    /// Where signatures come from.
    pub discovery: Discovery,
    /// Evidence and hints.
    pub state: State,
    /// Content.
    pub store: Store,
    /// The limits in force.
    pub limits: Arc<Limits>,
    /// How long evidence holds.
    pub freshness: Freshness,
    /// How far it is relied upon.
    pub reliance: Reliance,
    /// The name of this process in the log.
    pub replica: String,
    /// Where records go besides the database.
    pub sink: Arc<dyn Sink>,
    /// Where work goes on after a client has left.
    pub tasks: TaskTracker,
}

/// Sees every decision record once it is durable: log files and metrics.
#[async_trait::async_trait]
pub trait Sink: std::fmt::Debug + Send + Sync {
    /// A decision was recorded.
    async fn recorded(&self, record: &Entry);
}

/// On whose behalf and how a decision is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Tag or digest as the client wrote it.
    pub reference: String,
    /// What the tag pointed at before, if it moved.
    pub previous_digest: Option<Digest>,
    /// Whether the tag could not be looked up and an older answer is used.
    pub stale_tag: bool,
    /// True to resolve the tag and look for signatures again, even if the answers are known.
    pub anew: bool,
    /// Who.
    pub client: crate::decision_log::Client,
    /// When.
    pub now: Timestamp,
}

/// A refusal for lack of a signature looks at the upstream again after this.
const REFUSAL_MEMORY: std::time::Duration = std::time::Duration::from_secs(30);
/// A decision for which a condition was asked that depends on the time is made again after this.
const TIMED_MEMORY: std::time::Duration = std::time::Duration::from_secs(60);
/// A failure to decide is tried again after this.
const UNAVAILABLE_MEMORY: std::time::Duration = std::time::Duration::from_secs(1);
/// So often a decision is made again because the policies changed meanwhile.
const DECISIONS_MAX: usize = 8;
/// Rows of evidence that this process remembers to have gathered.
const WITNESSED_MAX: u64 = 100_000;
/// Manifests that are remembered as absent.
const ABSENT_MAX: u64 = 10_000;
/// Tags that an exception lets through and that are remembered.
const EXCEPTED_TAGS_MAX: u64 = 1000;
/// What a remembered decision weighs besides its bytes.
const DECISION_BYTES: u32 = 1024;

impl Admission {
    /// An admission made of `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let remembered = moka::sync::Cache::builder()
            .max_capacity(parts.limits.memory_bytes_max)
            .weigher(|_subject: &Subject, decision: &Arc<Decision>| weight(decision))
            .build();
        let grants = moka::sync::Cache::builder()
            .max_capacity(parts.limits.memory_bytes_max / u64::from(DECISION_BYTES))
            .build();
        let Parts {
            in_force,
            manifests,
            discovery,
            state,
            store,
            limits,
            freshness,
            reliance,
            replica,
            sink,
            tasks,
        } = parts;
        Self {
            inner: Arc::new(Inner {
                in_force,
                manifests,
                discovery,
                state,
                store,
                limits,
                freshness,
                reliance,
                replica,
                sink,
                tasks,
                remembered,
                witnessed: moka::sync::Cache::new(WITNESSED_MAX),
                absent: moka::sync::Cache::builder()
                    .max_capacity(ABSENT_MAX)
                    .time_to_live(freshness.absent_ttl)
                    .build(),
                grants,
                asked_tags: asked_tags::cache(),
                excepted_tags: moka::sync::Cache::builder()
                    .max_capacity(EXCEPTED_TAGS_MAX)
                    .time_to_live(REFUSAL_MEMORY)
                    .build(),
                flights: Flights::default(),
            }),
        }
    }

    /// The decision about `subject`, from memory if there is one that still holds. The warm path: no I/O and no lock.
    #[must_use]
    pub fn remembered(&self, subject: &Subject, now: Timestamp) -> Option<Arc<Decision>> {
        match self.inner.reliance {
            // Replays go back and forth in time, and a decision holds from when it was made.
            Reliance::Recorded => return None,
            Reliance::Fresh => {}
        }
        let decision = self.inner.remembered.get(subject)?;
        let holds = {
            let policies = self.inner.in_force.policies();
            decision.holds(policies.hash, now) && self.tags_are_current(&decision, &policies)
        };
        holds.then_some(decision)
    }

    /// The decision about `subject`, made now if none is remembered. Whoever asks while it is being made shares it; it
    /// is finished even if all of them leave. If the policies, or the tags that count, change
    /// meanwhile, it is made again.
    ///
    /// `document` is given by a caller that just got it from the upstream.
    ///
    /// # Errors
    /// When there is nothing to decide about, or the upstream gives nothing usable.
    pub async fn decide(
        &self,
        subject: &Subject,
        document: Option<Arc<Document>>,
        asked: &Asked,
    ) -> Result<Arc<Decision>, Arc<Error>> {
        let deadline = Instant::now() + self.inner.limits.decision_time_max;
        let mut attempt = 1;
        loop {
            self.keys_settled(subject, deadline).await;
            let policies = self.inner.in_force.snapshot();
            let decision = self.decide_under(policies, subject, document.clone(), asked, deadline);
            let decision = decision.await?;
            let is_current = {
                let policies = self.inner.in_force.policies();
                decision.configuration == policies.hash
                    && self.tags_are_current(&decision, &policies)
            };
            // The policies of the last attempt were in force when it began, and so after this was asked.
            if is_current || attempt == DECISIONS_MAX {
                return Ok(decision);
            }
            attempt += 1;
        }
    }

    /// The same after signatures were looked for again, if that was not done a moment ago: somebody asks for it by a tag
    /// that was not signed when the decision was made. What comes of it replaces the decision only where it admits.
    ///
    /// # Errors
    /// As [`Admission::decide`].
    pub async fn decide_anew(
        &self,
        decision: Arc<Decision>,
        asked: &Asked,
    ) -> Result<Arc<Decision>, Arc<Error>> {
        if !decision.may_look_again(asked.now) {
            return Ok(decision);
        }
        let asked = Asked {
            anew: true,
            ..asked.clone()
        };
        let found = self.decide(&decision.subject, None, &asked).await;
        decision.looked(asked.now);
        let found = found?;
        found.looked(asked.now);
        match found.outcome {
            Outcome::Admit { .. } => Ok(found),
            Outcome::Deny(_) => Ok(decision),
            // Whether it was signed since is not known, and that is no reason to refuse it.
            Outcome::Unavailable { .. } => Err(Arc::new(Error::Undecided(found))),
        }
    }

    /// Right after the start, keys may not have been asked for yet.
    async fn keys_settled(&self, subject: &Subject, deadline: Instant) {
        let matching = self.covering(&subject.repository);
        // The rest of the time is for looking for signatures: what is missing is then the key, and nothing else.
        let deadline = deadline.min(Instant::now() + self.inner.limits.decision_time_max / 2);
        self.inner.in_force.settled(&matching, deadline).await;
    }

    /// The policies in force that cover a repository, whatever the tag.
    fn covering(&self, repository: &crate::oci::RepositoryName) -> Vec<Arc<Policy>> {
        let policies = self.inner.in_force.snapshot();
        policies.concerning(repository).cloned().collect()
    }

    async fn decide_under(
        &self,
        policies: Arc<Policies>,
        subject: &Subject,
        document: Option<Arc<Document>>,
        asked: &Asked,
        deadline: Instant,
    ) -> Result<Arc<Decision>, Arc<Error>> {
        let (admission, asked) = (self.clone(), asked.clone());
        let key = (subject.clone(), policies.hash);
        let flight = self.inner.flights.join(&key, &self.inner.tasks, || {
            let subject = subject.clone();
            Box::pin(async move {
                let judging = admission.judge(policies, subject, document, asked, deadline);
                judging.await
            })
        });
        flight
            .await
            .unwrap_or_else(|| Err(Arc::new(Error::Abandoned)))
    }

    /// Whether anything may be read from the repository at all: some policy covers it, or the default only audits.
    ///
    /// # Errors
    /// The refusal, when nothing may.
    pub fn covers(&self, repository: &crate::oci::RepositoryName) -> Result<(), Denial> {
        evaluate::refuse_uncovered(&self.inner.in_force.policies(), repository)
    }
}

fn weight(decision: &Decision) -> u32 {
    let bytes = decision.document().map_or(0, |document| {
        let bytes = document.bytes.len() + document.manifest.weight();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    });
    bytes.saturating_add(DECISION_BYTES)
}

#[cfg(test)]
mod tests;
