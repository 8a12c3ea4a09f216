//! Tags: resolved once per request, looked up again when they are older than `tag_ttl`, and served older than that only
//! while the upstream cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Missing, Pull, RETRY_AFTER, Refusal};
use crate::admission::{Asked, Error};
use crate::decision_log::Subject;
use crate::manifests::{self, Document};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::shares::{Behalf, Late, Patience};
use crate::state::{Batch, TagRow};
use crate::upstream::{self, Purpose};

/// What a tag points at, and when the upstream said so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved {
    digest: Digest,
    resolved_at: Timestamp,
    /// The moment at which an upstream told this process; nothing if the state says so.
    witnessed: Option<Instant>,
}

impl Resolved {
    /// Returns how long ago the upstream said so, by the clock that says more. An answer from the future is as old as
    /// can be.
    fn age(&self, now: Timestamp) -> Duration {
        let by_wall_clock = Duration::try_from(now.duration_since(self.resolved_at));
        let witnessed = self.witnessed.map(|moment| moment.elapsed());
        by_wall_clock
            .unwrap_or(Duration::MAX)
            .max(witnessed.unwrap_or_default())
    }
}

/// What asking the upstream about a tag gave.
#[derive(Debug, Clone)]
pub(super) enum Lookup {
    /// It still points at what is known.
    Unchanged(Digest),
    /// It points at this manifest.
    Document(Arc<Document>),
}

impl Lookup {
    fn digest(&self) -> Digest {
        match self {
            Self::Unchanged(digest) => *digest,
            Self::Document(document) => document.subject.digest,
        }
    }
}

/// What a `HEAD` says of a tag.
enum Head {
    /// It still leads to what is known.
    Confirms,
    /// The upstream wants no more requests now, or our own queue is full, so no `GET` follows.
    Later(upstream::Error),
    /// It moved, or the upstream does not say.
    Nothing,
}

/// What came of asking about the tags again by which a digest went.
#[derive(Debug)]
pub(super) enum Recalled {
    /// What there is to know is known.
    AllThereIs,
    /// The upstream could not be asked; why, in words.
    Unreachable(String),
}

impl Recalled {
    pub(super) fn not_answering(subject: &Subject) -> Self {
        Self::Unreachable(format!("{} is not answering", subject.repository.host()))
    }

    /// What a refusal becomes that tags may have made.
    pub(super) fn undecided(subject: &Subject, message: &str) -> Refusal {
        Refusal::Unavailable {
            message: format!(
                "{subject} cannot be decided: by which tags it goes is not known: {message}"
            ),
            retry_after: RETRY_AFTER,
        }
    }
}

/// The tags of one digest that are asked about again after a start.
const TAGS_RECALLED_MAX: usize = 8;

impl Pull {
    /// The digest of a tag that was looked up within `tag_ttl`, from memory.
    pub(super) fn remembered_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        now: Timestamp,
    ) -> Option<Digest> {
        let resolved = self.inner.tags.get(&(repository.clone(), tag.clone()))?;
        (resolved.age(now) < self.inner.freshness.tag_ttl).then_some(resolved.digest)
    }

    /// The subject of a tag, with its manifest when that was just got.
    ///
    /// A tag costs one upstream request: a `HEAD` where its manifest is already held (registries count manifest `GET`s
    /// against their limits, and not `HEAD`s), a `GET` otherwise. Only a `HEAD` that confirms what is known is believed;
    /// after any other a `GET` decides.
    pub(super) async fn resolve(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        mut asked: Asked,
    ) -> Result<(Subject, Option<Arc<Document>>, Asked), Refusal> {
        if let Err(denial) = self.inner.admission.covers(repository) {
            return Err(self.refuse(repository.as_str(), denial, &asked).await);
        }
        let now = asked.now;
        let known = self.known_tag(repository, tag, &asked).await?;
        let subject = |digest| Subject {
            repository: repository.clone(),
            digest,
        };
        // By which policies a digest is judged must not be for the state to say: where tags count, it is asked about.
        let believed =
            |known: &Resolved| known.witnessed.is_some() || !self.inner.admission.counts_tags();
        if let Some(known) = known.filter(believed)
            && !asked.anew
            && known.age(now) < self.inner.freshness.tag_ttl
        {
            let subject = subject(known.digest);
            self.note_tag(&subject, tag, &asked).await?;
            return Ok((subject, None, asked));
        }
        let may_serve_stale =
            known.filter(|known| known.age(now) <= self.inner.freshness.stale_for);
        let absent = self.inner.absent.tag(repository, tag);
        let found = match absent.filter(|_| !asked.anew) {
            Some(absent) => Some(Err(Arc::new(absent.into()))),
            None => {
                self.joined(repository, tag, known, may_serve_stale.is_some(), now)
                    .await
            }
        };
        let Some(found) = found else {
            return Err(Refusal::Internal(Arc::new(Error::Abandoned)));
        };
        match found {
            Ok(Lookup::Unchanged(digest)) => {
                let subject = subject(digest);
                self.note_tag(&subject, tag, &asked).await?;
                Ok((subject, None, asked))
            }
            Ok(Lookup::Document(document)) => {
                let digest = document.subject.digest;
                asked.previous_digest = known
                    .map(|known| known.digest)
                    .filter(|previous| *previous != digest);
                let subject = subject(digest);
                self.note_tag(&subject, tag, &asked).await?;
                Ok((subject, Some(document), asked))
            }
            Err(error) if unreachable(&error) => match may_serve_stale {
                Some(known) => {
                    asked.stale_tag = true;
                    let subject = subject(known.digest);
                    // What only the state says of it may add policies and take none away: where no tag of it was seen,
                    // all policies for its repository count.
                    if known.witnessed.is_some() || self.inner.admission.has_seen_tags(&subject) {
                        self.note_tag(&subject, tag, &asked).await?;
                    }
                    Ok((subject, None, asked))
                }
                None => Err(self.unusable(repository, &error, asked).await),
            },
            Err(error) => Err(self.unusable(repository, &error, asked).await),
        }
    }

    /// Joins the look-up of a tag that is under way, or begins it. Returns nothing if it ended without an outcome.
    async fn joined(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        known: Option<Resolved>,
        may_serve_stale: bool,
        now: Timestamp,
    ) -> Option<Result<Lookup, Arc<manifests::Error>>> {
        let (pull, flown) = (self.clone(), (repository.clone(), tag.clone()));
        let flight = self
            .inner
            .lookups
            .join(&flown.clone(), &self.inner.tasks, || {
                async move {
                    pull.look_up(&flown.0, &flown.1, known, may_serve_stale, now)
                        .await
                }
                .boxed()
            });
        if !may_serve_stale {
            return flight.await;
        }
        // The look-up goes on and keeps its result, so a tag at a slow upstream moves at the next pull. The time that it
        // spends in our own queue is not the upstream's.
        let patience = Patience::new(flight.behalf(), self.inner.limits.stale_decision_time_max);
        patience
            .wait_for(flight)
            .await
            .unwrap_or_else(|Late| Some(Err(Arc::new(late(repository)))))
    }

    /// Whether tags of the subject may be known to the state that this process has not seen, where tags count.
    pub(super) fn forgot_tags(&self, subject: &Subject) -> bool {
        let admission = &self.inner.admission;
        admission.counts_tags()
            && !admission.has_seen_tags(subject)
            && !self.inner.recalled.contains_key(subject)
    }

    /// Asks about the tags again by which a digest, and what may vouch for it, went before this process started: until one
    /// of them is known to lead to it still, every policy for its repository counts, and an image that was admitted would
    /// be refused. From then on all that the state has of it count, which can only add policies. What came of it holds for
    /// a while.
    pub(super) async fn recall_tags(
        &self,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<Recalled, Refusal> {
        if !self.forgot_tags(subject) {
            return Ok(Recalled::AllThereIs);
        }
        // The rest of the time is for deciding.
        let time_max = self.inner.limits.decision_time_max / 2;
        let recalling = tokio::time::timeout(time_max, self.recall_with_parents(subject, asked));
        let recalled = recalling
            .await
            .unwrap_or_else(|_late| Ok(Recalled::not_answering(subject)))?;
        if let Recalled::AllThereIs = recalled {
            self.inner.recalled.insert(subject.clone(), ());
        }
        Ok(recalled)
    }

    /// A blob is listed by a manifest, and that by an index, which has the tags.
    async fn recall_with_parents(
        &self,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<Recalled, Refusal> {
        let limits = &self.inner.limits;
        let mut level = vec![subject.clone()];
        for _ in 0..=limits.endorsement_depth_max {
            let mut parents = Vec::new();
            for subject in &level {
                if let unreachable @ Recalled::Unreachable(_) =
                    self.recall_own_tags(subject, asked).await?
                {
                    return Ok(unreachable);
                }
                let listing = self
                    .inner
                    .state
                    .parents(subject, limits.endorsement_parents_max);
                match listing.await {
                    Ok(digests) => parents.extend(digests.into_iter().map(|digest| Subject {
                        repository: subject.repository.clone(),
                        digest,
                    })),
                    Err(error) => return Err(self.unreadable(subject, error, asked).await),
                }
            }
            parents.retain(|parent| self.forgot_tags(parent));
            parents.truncate(limits.endorsement_parents_max);
            if parents.is_empty() {
                break;
            }
            level = parents;
        }
        Ok(Recalled::AllThereIs)
    }

    async fn recall_own_tags(&self, subject: &Subject, asked: &Asked) -> Result<Recalled, Refusal> {
        let tags = match self.inner.state.asked_tags(subject).await {
            Ok(tags) => tags.unwrap_or_default(),
            Err(error) => return Err(self.unreadable(subject, error, asked).await),
        };
        // From the end of the alphabet: `latest` is the first to lead somewhere else.
        let tags = tags.iter().rev().filter_map(|tag| tag.parse::<Tag>().ok());
        for tag in tags.take(TAGS_RECALLED_MAX) {
            match self.resolve(&subject.repository, &tag, asked.clone()).await {
                Ok((_, _, asked)) if asked.stale_tag => {
                    return Ok(Recalled::not_answering(subject));
                }
                Ok((found, _, _)) if found == *subject => break,
                Err(Refusal::Unavailable { message, .. }) => {
                    return Ok(Recalled::Unreachable(message));
                }
                Err(Refusal::BadUpstream { message }) => {
                    return Ok(Recalled::Unreachable(message));
                }
                Err(internal @ Refusal::Internal(_)) => return Err(internal),
                // It leads to something else now, or nowhere, or to what we may not see.
                Ok(_) | Err(Refusal::NotFound(_) | Refusal::Denied(_)) => {}
            }
        }
        Ok(Recalled::AllThereIs)
    }

    async fn unreadable(
        &self,
        subject: &Subject,
        error: crate::state::Error,
        asked: &Asked,
    ) -> Refusal {
        let error = Arc::new(manifests::Error::State(error));
        self.unusable(&subject.repository, &error, asked.clone())
            .await
    }

    /// Asks the upstream about a tag, and remembers the answer as one of the time `now`.
    async fn look_up(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        known: Option<Resolved>,
        may_serve_stale: bool,
        now: Timestamp,
    ) -> Result<Lookup, Arc<manifests::Error>> {
        let looked_up = self.ask(repository, tag, known, may_serve_stale).await;
        match &looked_up {
            Ok(found) => self.keep_tag(repository, tag, found.digest(), now),
            Err(error) => {
                if let manifests::Error::Upstream(error) = error.as_ref() {
                    self.inner.absent.note_tag(repository, tag, error);
                }
            }
        }
        looked_up
    }

    async fn ask(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        known: Option<Resolved>,
        may_serve_stale: bool,
    ) -> Result<Lookup, Arc<manifests::Error>> {
        let limits = &self.inner.limits;
        let deadline = Instant::now() + limits.decision_time_max;
        let answer_time_max = if may_serve_stale {
            limits.stale_decision_time_max.min(limits.decision_time_max)
        } else {
            limits.decision_time_max
        };
        let reference = Reference::Tag(tag.clone());
        let getting = async {
            let fetched = self.inner.manifests.fetch(repository, &reference, deadline);
            fetched.await.map(Lookup::Document).map_err(Arc::new)
        };
        let Some(known) = known else {
            return getting.await;
        };
        let heading = self.head(repository, &reference, known.digest, deadline);
        tokio::pin!(heading);
        // An upstream that leaves `HEAD` unanswered may answer `GET`, and a slow one may still answer `HEAD`.
        let patience = Patience::new(Behalf::current(), answer_time_max / 2);
        match patience.wait_for(&mut heading).await {
            Ok(Head::Confirms) => Ok(Lookup::Unchanged(known.digest)),
            Ok(Head::Later(error)) => Err(Arc::new(error.into())),
            Ok(Head::Nothing) => getting.await,
            Err(Late) => tokio::select! {
                biased;
                Head::Confirms = heading => Ok(Lookup::Unchanged(known.digest)),
                looked_up = getting => looked_up,
            },
        }
    }

    /// Asks by `HEAD` whether a tag still leads to `known`. Registries answer `HEAD` with 403, 404, 405 or 501, or with a
    /// redirect to storage whose URL is signed for `GET` only, for manifests that they serve (moby#50065, imgpkg#131,
    /// watchtower#667). So nothing but a 200 with that digest says anything.
    async fn head(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        known: Digest,
        deadline: Instant,
    ) -> Head {
        let head = self
            .inner
            .upstream
            .head_manifest(repository, reference, Purpose::Manifest, deadline)
            .await;
        match head {
            Ok(head) if head.digest == Some(known) => Head::Confirms,
            Err(
                later @ (upstream::Error::Throttled { .. } | upstream::Error::Congested { .. }),
            ) => Head::Later(later),
            Ok(_) | Err(_) => Head::Nothing,
        }
    }

    async fn known_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        asked: &Asked,
    ) -> Result<Option<Resolved>, Refusal> {
        if let Some(resolved) = self.inner.tags.get(&(repository.clone(), tag.clone())) {
            return Ok(Some(resolved));
        }
        match self.inner.state.tag(repository, tag).await {
            Ok(row) => Ok(row.map(|row| Resolved {
                digest: row.digest,
                resolved_at: row.resolved_at,
                witnessed: None,
            })),
            Err(error) => Err(self
                .unusable(
                    repository,
                    &Arc::new(manifests::Error::State(error)),
                    asked.clone(),
                )
                .await),
        }
    }

    /// Remembers where a tag points. That it cannot be stored only costs a look-up after a restart.
    fn keep_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        digest: Digest,
        resolved_at: Timestamp,
    ) {
        let resolved = Resolved {
            digest,
            resolved_at,
            witnessed: Some(Instant::now()),
        };
        self.inner
            .tags
            .insert((repository.clone(), tag.clone()), resolved);
        let row = TagRow {
            digest,
            resolved_at,
        };
        let subject = Subject {
            repository: repository.clone(),
            digest,
        };
        let batch = Batch {
            tags: vec![(repository.clone(), tag.clone(), row)],
            // Also while no policy is about tags: the next configuration may have one that is.
            asked_tags: vec![(subject, tag.clone())],
            ..Batch::default()
        };
        let state = self.inner.state.clone();
        self.inner.tasks.spawn(async move {
            if let Err(error) = state.write(batch).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not store a tag"
                );
            }
        });
    }

    /// Takes note of the tag where tags count.
    async fn note_tag(&self, subject: &Subject, tag: &Tag, asked: &Asked) -> Result<(), Refusal> {
        let noted = self.inner.admission.asked_through(subject, tag).await;
        match noted.map_err(manifests::Error::State) {
            Ok(()) => Ok(()),
            Err(error) => {
                let (name, error) = (&subject.repository, Arc::new(error));
                Err(self.unusable(name, &error, asked.clone()).await)
            }
        }
    }

    /// The answer to a tag whose manifest is broken or could not be read or had.
    async fn unusable(
        &self,
        repository: &RepositoryName,
        error: &Arc<manifests::Error>,
        asked: Asked,
    ) -> Refusal {
        let subject = Subject {
            repository: repository.clone(),
            digest: Digest::sha256(asked.reference.as_bytes()),
        };
        // Our own full queue says nothing about the image, and a flood must not fill the log.
        let is_congested = matches!(
            **error,
            manifests::Error::Upstream(upstream::Error::Congested { .. })
        );
        match Error::from_manifests(&subject, error) {
            Ok(denial) => self.refuse(repository.as_str(), denial, &asked).await,
            Err(error) => {
                let refusal = self
                    .refusal_for(&Arc::new(error), repository, Missing::Manifest, &asked)
                    .await;
                if !is_congested {
                    self.note_undecided(repository.as_str(), &refusal, &asked)
                        .await;
                }
                refusal
            }
        }
    }
}

/// Whether the upstream could not be asked, so that an older answer may serve. A refusal or an absence is an answer.
fn unreachable(error: &manifests::Error) -> bool {
    match error {
        manifests::Error::Upstream(error) => error.is_transient(),
        manifests::Error::Malformed { .. }
        | manifests::Error::TooManyChildren { .. }
        | manifests::Error::Busy(_)
        | manifests::Error::State(_)
        | manifests::Error::Store(_) => false,
    }
}

/// The upstream does not answer as long as a client waits that a stale answer may serve.
fn late(repository: &RepositoryName) -> manifests::Error {
    manifests::Error::Upstream(upstream::Error::Failed {
        host: repository.host().to_owned(),
        reason: "no answer in time".to_owned(),
    })
}
