//! What a configuration decides about something from what is stored, without asking any registry.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::image::ImageReference;
use super::judgement::{self, Answer};
use crate::admission::{self, Denial, UnsignedTag};
use crate::app::{self, Snapshot};
use crate::config::Config;
use crate::decision_log::{Basis, Subject};
use crate::oci::{Digest, Reference, RepositoryName, Tag};
use crate::policy::{AuthoritySigner, KeySet, Policies, Policy, Root};
use crate::pull::{Refusal, Refused, ServedManifest, decision_id};
use crate::signature::Candidate;
use crate::state;

/// A configuration that decides from what is stored.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) config: Config,
    inner: app::Replay,
}

/// What is decided, and by what.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    /// `admit`, `deny` or `unavailable`.
    pub(super) decision: &'static str,
    /// Why it is admitted.
    pub(super) basis: Option<Basis>,
    /// The fixed word of what is not admitted.
    pub(super) kind: Option<&'static str>,
    /// What the client would see, or would see if the policy enforced.
    pub(super) message: Option<String>,
    /// The policy that refuses, or those that are satisfied.
    pub(super) policies: Vec<Named>,
    /// The index that vouches for it.
    pub(super) endorsed_by: Option<Digest>,
    /// What is missing where it cannot be decided.
    pub(super) lacking: Vec<String>,
}

/// A policy and where it is written.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Named {
    pub(super) name: String,
    file: Option<String>,
    line: Option<usize>,
}

/// The program was not able to decide; the text says why.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The engine does not start, or nothing is stored.
    #[error(transparent)]
    Engine(#[from] app::Error),
    /// What is stored cannot be read.
    #[error("cannot read what is stored")]
    Stored(#[from] admission::Error),
    /// The record of a decision is not to be had.
    #[error("cannot read the record of the decision")]
    Record(#[from] state::Error),
}

const UNAVAILABLE: &str = "unavailable";

impl Replay {
    pub(super) async fn open(config: Config, snapshot: &Snapshot) -> Result<Self, Error> {
        let inner = app::Replay::open(&config, snapshot).await?;
        Ok(Self { config, inner })
    }

    /// The signatures and attestations that are stored for a subject, parsed and not believed.
    pub(super) async fn candidates(&self, subject: &Subject) -> Result<Vec<Candidate>, Error> {
        let admission = &self.inner.engine.admission;
        Ok(admission.stored_candidates(subject).await?)
    }

    /// The trusted root of this name, fetched if it is not there yet.
    pub(super) async fn refreshed_root(&self, name: &str, now: Timestamp) -> Option<Root> {
        let roots = self.inner.engine.in_force.configured().roots?;
        if !matches!(roots.current(name)?, Root::Usable { .. }) {
            // The reason is in the root that stays unusable.
            drop(roots.refresh(name, now).await);
        }
        roots.current(name)
    }

    /// Takes note of a subject and the tags it was asked for through. All must be noted before any is decided about.
    pub(super) async fn note(&self, subject: &Subject, tags: &[Tag]) -> Result<(), Error> {
        let admission = &self.inner.engine.admission;
        Ok(admission.note_for_replay(subject, tags).await?)
    }

    /// Takes note that nothing is asked for through any tag but this one, whatever was noted or is stored.
    pub(super) async fn ask_only_through(
        &self,
        subject: &Subject,
        tag: Option<&Tag>,
    ) -> Result<(), Error> {
        let tags: Vec<_> = tag.cloned().into_iter().collect();
        let admission = &self.inner.engine.admission;
        Ok(admission.ask_only_through(subject, &tags).await?)
    }

    /// The tags through which the subject was once asked for, as far as they are stored.
    pub(super) async fn asked_tags(&self, subject: &Subject) -> Result<Vec<Tag>, Error> {
        let tags = self.inner.engine.state.asked_tags(subject).await?;
        let tags = tags.unwrap_or_default();
        Ok(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
    }

    /// Whether what is decided about an image may depend on the tag that it is asked for by.
    pub(super) fn compares_tags(&self, repository: &RepositoryName) -> bool {
        let policies = self.policies();
        policies.concerning(repository).any(|it| it.compares_tags())
    }

    /// What an image stood for when it was recorded.
    pub(super) async fn resolve(&self, image: &ImageReference) -> Result<Option<Subject>, Error> {
        let repository = image.repository.clone();
        let digest = match &image.reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => {
                let row = self.inner.engine.state.tag(&repository, tag).await?;
                row.map(|row| row.digest)
            }
        };
        Ok(digest.map(|digest| Subject { repository, digest }))
    }

    /// When what is stored of a subject was last confirmed or looked for.
    pub(super) async fn recorded_at(&self, subject: &Subject) -> Result<Option<Timestamp>, Error> {
        let state = &self.inner.engine.state;
        let manifest = state.manifest(subject).await?;
        let evidence = state.evidence(subject).await?;
        let confirmed = manifest.map(|row| row.confirmed_at);
        let looked = evidence.map(|evidence| evidence.discovered_at);
        Ok(confirmed.into_iter().chain(looked).max())
    }

    /// Fetches the trusted roots that a decision needs and that are not there yet.
    pub(super) async fn fetch_roots(&self, image: &ImageReference) {
        judgement::fetch_roots(&self.inner.engine, image).await;
    }

    /// What is decided at `now` about a subject that is asked for by `tag`, or by its digest.
    pub(super) async fn decide(
        &self,
        subject: &Subject,
        tag: Option<&Tag>,
        now: Timestamp,
    ) -> Result<Verdict, Error> {
        let engine = &self.inner.engine;
        let image = ImageReference {
            repository: subject.repository.clone(),
            reference: Reference::Digest(subject.digest),
        };
        let served = judgement::pull(engine, &image, now).await;
        let served = match (tag, served) {
            (Some(tag), Ok(served)) => self.by_tag(served, tag, now).await,
            (_, served) => served,
        };
        let record = match decision_id(&served) {
            Some(id) => engine.state.record(id).await?,
            None => None,
        };
        let mut verdict = Verdict::new(&Answer::new(&image, &served), &self.config);
        if let Some(record) = record {
            verdict.basis = record.basis;
            verdict.endorsed_by = record.endorsed_by;
            if verdict.decision == "admit" {
                let satisfied = record.policies.iter().filter(|policy| policy.satisfied);
                verdict.policies = satisfied
                    .map(|policy| Named::new(&policy.name, &self.config))
                    .collect();
            }
        }
        if verdict.decision == UNAVAILABLE {
            let lacking = engine.admission.lacking(subject).await?;
            verdict.lacking = match lacking.is_empty() {
                true => verdict.message.clone().into_iter().collect(),
                false => lacking,
            };
        }
        Ok(verdict)
    }

    /// What becomes of a pull by `tag` of what is served by its digest, as the proxy has it.
    async fn by_tag(
        &self,
        served: ServedManifest,
        tag: &Tag,
        now: Timestamp,
    ) -> Result<ServedManifest, Refusal> {
        let unavailable = |message| Refusal::Unavailable {
            message,
            retry_after: Duration::ZERO,
        };
        let admission = &self.inner.engine.admission;
        let asked = judgement::caller(now).asking(tag.to_string());
        let mut decision = Arc::clone(served.manifest.decision());
        if decision.unsigned_tag(tag).is_some() {
            let anew = admission.decide_anew(decision, &asked).await;
            decision = anew.map_err(|error| unavailable(error.to_string()))?;
        }
        if let Some(unsigned) = decision.unsigned_tag(tag) {
            let denial = match unsigned {
                UnsignedTag::Undecided(message) => return Err(unavailable(message)),
                UnsignedTag::Refused(denial) => denial,
            };
            let excepting = admission.except_tag(&decision, tag, &denial, &asked).await;
            decision = match excepting.map_err(|error| unavailable(error.to_string()))? {
                Some(excepted) => excepted,
                None => {
                    return Err(Refusal::Denied(Box::new(Refused {
                        denial,
                        decision: None,
                        described: None,
                    })));
                }
            };
        }
        Ok(ServedManifest {
            manifest: decision.admitted().unwrap_or(served.manifest),
            cache: served.cache,
        })
    }

    /// What is decided about a name of which no digest is known, which is something only where no digest matters.
    pub(super) fn decide_name(&self, repository: &RepositoryName) -> Verdict {
        if !self.is_configured(repository) {
            let message = format!("{} is not a configured upstream", repository.host());
            return Verdict {
                kind: Some(admission::Kind::UpstreamNotAllowed.as_str()),
                message: Some(message),
                ..Verdict::of("deny")
            };
        }
        match self.inner.engine.admission.covers(repository) {
            Err(Denial { kind, message, .. }) => Verdict {
                kind: Some(kind.as_str()),
                message: Some(message.into()),
                ..Verdict::of("deny")
            },
            Ok(()) => Verdict {
                lacking: vec![
                    "its digest is not known, since the tag was not looked up".to_owned(),
                ],
                ..Verdict::of(UNAVAILABLE)
            },
        }
    }

    fn is_configured(&self, repository: &RepositoryName) -> bool {
        self.inner.engine.pull.is_configured(repository.host())
    }

    /// Whether both decide about everything in a repository by the very same, so that what they decide is the same,
    /// whatever is stored.
    pub(super) fn decides_alike(&self, other: &Self, repository: &RepositoryName) -> bool {
        let (ours, theirs) = (self.policies(), other.policies());
        let here = by_what(&ours, repository);
        self.is_configured(repository) == other.is_configured(repository)
            && here.is_some()
            && here == by_what(&theirs, repository)
            && self.apart_from_policies(&ours) == other.apart_from_policies(&theirs)
    }

    fn policies(&self) -> Arc<Policies> {
        self.inner.engine.in_force.snapshot()
    }

    /// One hash over everything but the policies that decides.
    fn apart_from_policies(&self, policies: &Policies) -> Digest {
        let revoked = policies.revoked.clone();
        Policies::new(Vec::new(), policies.default, revoked, &self.config.limits)
            .excepting(policies.exceptions.clone())
            .hash
    }

    pub(super) async fn close(self) {
        self.inner.engine.settle().await;
    }
}

/// The policies of a repository, whatever the tag, by their hashes. Nothing while a key or root of them is not to be had:
/// then the hash does not say which.
fn by_what(policies: &Policies, repository: &RepositoryName) -> Option<Vec<Digest>> {
    let concerning = policies.concerning(repository);
    concerning
        .map(|policy| has_all(policy).then_some(policy.hash))
        .collect()
}

fn has_all(policy: &Policy) -> bool {
    policy.requirement.authorities().iter().all(|authority| {
        let has_root = matches!(authority.trusted_root, Root::Usable { .. });
        has_root
            && match &authority.signer {
                AuthoritySigner::Key { keys, .. } => matches!(**keys, KeySet::Known(_)),
                AuthoritySigner::Identity(_) => true,
            }
    })
}

impl Verdict {
    fn of(decision: &'static str) -> Self {
        Self {
            decision,
            basis: None,
            kind: None,
            message: None,
            policies: Vec::new(),
            endorsed_by: None,
            lacking: Vec::new(),
        }
    }

    fn new(answer: &Answer, config: &Config) -> Self {
        match answer {
            Answer::Admit { warning, .. } => Self {
                message: warning.clone(),
                ..Self::of("admit")
            },
            Answer::Deny {
                kind,
                policy,
                message,
            } => Self {
                kind: Some(kind.as_str()),
                message: Some(message.clone()),
                policies: policy.iter().map(|name| Named::new(name, config)).collect(),
                ..Self::of("deny")
            },
            Answer::Undecided { kind, message } => Self {
                kind: Some(kind),
                message: Some(message.clone()),
                ..Self::of(UNAVAILABLE)
            },
        }
    }

    /// Whether it is known to be admitted or refused.
    pub(super) fn is_known(&self) -> bool {
        self.decision != UNAVAILABLE
    }
}

impl Named {
    fn new(name: &str, config: &Config) -> Self {
        let policies = &config.policies.policies;
        let policy = policies.iter().find(|policy| policy.name == name);
        let origin = policy.and_then(|policy| policy.origin.as_ref());
        Self {
            name: name.to_owned(),
            file: origin.map(|origin| origin.file.clone()),
            line: origin.map(|origin| origin.line),
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(formatter, "{} ({file}:{line})", self.name),
            (Some(_) | None, _) => formatter.write_str(&self.name),
        }
    }
}
