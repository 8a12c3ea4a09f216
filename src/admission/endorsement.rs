//! Endorsement: an admitted index vouches for the manifests it lists, within its repository.
//!
//! The state only hints at parents. That a parent lists the child is read from the parent's own bytes, which are hashed
//! on the way, and that the parent is admitted is decided under the configuration in force.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

use super::asked_tags::OwnTags;
use super::decision::{Decision, Error, Outcome};
use super::denial::{Denial, Kind};
use super::judge::{Arriving, Terms};
use super::{Admission, Asked};
use crate::decision_log::{Basis, Subject};
use crate::manifests::{self, Document};
use crate::oci::{Descriptor, Digest, media_type};
use crate::policy::Tags;
use crate::upstream;

/// An admitted parent and what it says of the child.
#[derive(Debug)]
pub(super) struct Endorsement {
    parent: Arc<Decision>,
    descriptor: Descriptor,
}

impl Endorsement {
    pub(super) fn parent(&self) -> &Arc<Decision> {
        &self.parent
    }

    /// Whether the child is exactly what the parent says: its digest is given, its type and size must agree.
    pub(super) fn covers(&self, child: &Document) -> bool {
        self.descriptor.digest == child.subject.digest && self.difference(child).is_none()
    }

    /// Returns in which way the child is not what the parent says, in words.
    pub(super) fn difference(&self, child: &Document) -> Option<String> {
        let index = self.parent.subject.digest;
        let Descriptor {
            media_type, size, ..
        } = &self.descriptor;
        if !media_type::same(media_type, child.media_type) {
            return Some(format!(
                "the index {index} lists it as `{media_type}`, but it is `{}`",
                child.media_type
            ));
        }
        let bytes = child.bytes.len();
        (usize::try_from(*size) != Ok(bytes))
            .then(|| format!("the index {index} lists it with {size} bytes, but it has {bytes}"))
    }
}

/// What the parents of a manifest say of it.
#[derive(Debug, Default)]
pub(super) struct Parents {
    /// The parents that state hinted at when this was asked, and one more if the limit leaves some out.
    pub(super) hints: Vec<Digest>,
    /// Those that are admitted and list the manifest, with what they say of it.
    pub(super) endorsements: Vec<Endorsement>,
    /// Those that an exception admits and that list the manifest: they endorse nothing, but what lets an index through
    /// lets through what it lists.
    pub(super) excepted: Vec<Endorsement>,
    /// Those that are served only because policies audit, and that list the manifest: they endorse nothing. What has no
    /// tags of its own is held against the policies for theirs.
    pub(super) audited: Vec<Endorsement>,
    /// A parent that lists it and could not be decided about, in words: without it nothing definite is known.
    pub(super) undecided: Option<String>,
}

impl Parents {
    /// Says of a manifest that is refused for its signatures that parents beyond the limit were not asked, because one of
    /// them may vouch for it.
    pub(super) fn name_limit(&self, denial: &mut Denial, subject: &Subject, limit: usize) {
        if self.hints.len() <= limit || !denial.kind.is_waivable() {
            return;
        }
        denial.kind = Kind::LimitExceeded;
        denial.message = format!(
            "{}; more than {limit} manifests list or refer to {subject}, and those beyond the limit were not asked \
             (`limits.endorsement_parents_max`)",
            denial.message
        ).into();
    }

    /// Says of a manifest without signatures of its own that an admitted index lists it as something else, because that is
    /// why it is refused.
    pub(super) fn explain(&self, denial: &mut Denial, child: &Document) {
        if !matches!(denial.kind, Kind::Unsigned | Kind::AttestationMissing) {
            return;
        }
        let mut endorsements = self.endorsements.iter();
        let Some(difference) = endorsements.find_map(|it| it.difference(child)) else {
            return;
        };
        let Subject { repository, digest } = &child.subject;
        let policy = denial.policy.as_deref().unwrap_or_default();
        denial.kind = Kind::Malformed;
        denial.message = format!(
            "policy `{policy}` refuses {repository}@{digest}: {difference}; an index endorses exactly what it lists, and the \
             manifest has no signature of its own that suffices"
        ).into();
    }
}

impl Admission {
    /// Returns the admitted parents of `child` and what they say of it, under the terms on which the child is decided
    /// about. Parents are asked until one lists the child as it is: with the same media type and size.
    pub(super) async fn parents(
        &self,
        child: &Subject,
        asked: &Asked,
        arriving: &Arriving<'_>,
        terms: &Terms,
    ) -> Result<Parents, Error> {
        let hints = self.hints(child).await?;
        let mut parents = Parents {
            hints,
            ..Parents::default()
        };
        let asking = self.ask_parents(child, asked, arriving, &mut parents, terms);
        if tokio::time::timeout_at(terms.deadline, asking)
            .await
            .is_err()
        {
            parents.undecided = Some("its parents could not be decided about in time".to_owned());
        }
        Ok(parents)
    }

    /// Returns the parents that state hints at now, up to one more than the limit on those that are asked.
    pub(super) async fn hints(&self, child: &Subject) -> Result<Vec<Digest>, Error> {
        let limit = self.inner.limits.endorsement_parents_max.saturating_add(1);
        let hints = self.inner.state.parents(child, limit).await;
        hints.map_err(|error| Error::Storage {
            subject: child.clone(),
            source: error.into(),
        })
    }

    async fn ask_parents(
        &self,
        child: &Subject,
        asked: &Asked,
        arriving: &Arriving<'_>,
        parents: &mut Parents,
        terms: &Terms,
    ) {
        let asked_max = self.inner.limits.endorsement_parents_max;
        let hints: Vec<_> = parents.hints.iter().copied().take(asked_max).collect();
        for digest in hints {
            let subject = Subject {
                repository: child.repository.clone(),
                digest,
            };
            let said = match self.said_of(child, &subject, asked, terms.deadline).await {
                Ok(said) if said.is_empty() => continue,
                Ok(said) => said,
                Err(unread) => {
                    parents.undecided = Some(unread);
                    continue;
                }
            };
            let decision = match self.decide_parent_on(terms, subject, asked).await {
                Ok(decision) => decision,
                Err(error) => {
                    parents.undecided = Some(format!("the parent {digest}: {error}"));
                    continue;
                }
            };
            // What vouches under other policies than the child is decided under vouches for nothing here. A parent may
            // be, if a key turned out to have a newer version.
            if decision.configuration != terms.policies.hash {
                parents.undecided = Some("the policies have just changed".to_owned());
                continue;
            }
            if let Outcome::Unavailable { missing, .. } = &decision.outcome {
                parents.undecided = Some(missing.clone());
            }
            if !terms.are_those_of(&decision, child) {
                continue;
            }
            let shallow = decision.endorsement_depth < self.inner.limits.endorsement_depth_max;
            let is_excepted = decision.exception.is_some();
            let is_audited = !is_excepted && is_audited(&decision);
            let endorses = endorses(&decision);
            let said = said.into_iter().map(|descriptor| Endorsement {
                parent: Arc::clone(&decision),
                descriptor,
            });
            if shallow && endorses {
                let before = parents.endorsements.len();
                parents.endorsements.extend(said);
                // A parent that lists the child as something else must not hide one that lists it as it is.
                let Ok((child, _origin)) = arriving.clone().await else {
                    return;
                };
                let mut new = parents.endorsements.iter().skip(before);
                if new.any(|endorsement| endorsement.covers(&child)) {
                    return;
                }
            } else if shallow && is_excepted {
                parents.excepted.extend(said);
            } else if shallow && is_audited {
                parents.audited.extend(said);
            }
        }
    }

    /// What a parent's own bytes say of the child, as a manifest; or that they cannot be had now, in words. Reading that
    /// first also rules out going in circles: no document can contain the digest of one that contains its own.
    async fn said_of(
        &self,
        child: &Subject,
        parent: &Subject,
        asked: &Asked,
        deadline: Instant,
    ) -> Result<Vec<Descriptor>, String> {
        let Some(document) = self.parent_document(parent, asked, deadline).await? else {
            return Ok(Vec::new());
        };
        let listed = document.manifest.children().iter();
        Ok(listed
            .filter(|descriptor| descriptor.digest == child.digest)
            .cloned()
            .collect())
    }

    /// The parent's bytes: from memory, disk, or, if they were evicted or altered, the upstream. Nothing if there is no
    /// such manifest ([`Self::is_gone`]). After every other failure nothing is known of the child.
    async fn parent_document(
        &self,
        subject: &Subject,
        asked: &Asked,
        deadline: Instant,
    ) -> Result<Option<Arc<Document>>, String> {
        // A parent that is refused now may be admitted by the policies that the child is decided under.
        let remembered = self.remembered(subject, asked.now);
        if let Some(document) = remembered.and_then(|decision| decision.document().cloned()) {
            return Ok(Some(document));
        }
        let error = match self.inner.manifests.local_or_fetch(subject, deadline).await {
            Ok((document, _origin)) => return Ok(Some(document)),
            Err(error) => error,
        };
        if self.is_gone(subject, &error, asked.now).await {
            tracing::debug!(%subject, error = &error as &dyn std::error::Error, "A parent that was hinted at does not exist");
            return Ok(None);
        }
        Err(format!(
            "the index {}, which may vouch for it, cannot be read: {error}; sign the manifest itself if the index was deleted",
            subject.digest
        ))
    }

    /// Returns true if no document will come of a parent. An absence, unusable content and a size beyond the limit are
    /// definite. Some registries refuse what was deleted. So a refusal, or bytes of another digest, becomes definite once
    /// the upstream has not given the parent for `stale_for`.
    async fn is_gone(&self, parent: &Subject, error: &manifests::Error, now: Timestamp) -> bool {
        match error {
            manifests::Error::Malformed { .. }
            | manifests::Error::TooManyChildren { .. }
            | manifests::Error::Upstream(
                upstream::Error::NotFound { .. } | upstream::Error::TooLarge { .. },
            ) => true,
            manifests::Error::Upstream(
                upstream::Error::Denied { .. } | upstream::Error::WrongDigest { .. },
            ) => match self.inner.state.manifest(parent).await {
                Ok(Some(row)) => {
                    let age = now.duration_since(row.confirmed_at);
                    Duration::try_from(age).is_ok_and(|age| age >= self.inner.freshness.stale_for)
                }
                Ok(None) => true,
                Err(_state_failed) => false,
            },
            manifests::Error::Upstream(
                upstream::Error::Unsupported { .. }
                | upstream::Error::Throttled { .. }
                | upstream::Error::Congested { .. }
                | upstream::Error::Failed { .. }
                | upstream::Error::Unexpected { .. }
                | upstream::Error::OtherContent { .. }
                | upstream::Error::Truncated { .. }
                | upstream::Error::NotConfigured { .. },
            )
            | manifests::Error::Busy(_)
            | manifests::Error::State(_)
            | manifests::Error::Store(_) => false,
        }
    }

    /// Boxed, since deciding about a child may decide about its parent.
    pub(super) fn decide_parent<'a>(
        &'a self,
        subject: Subject,
        asked: &'a Asked,
    ) -> BoxFuture<'a, Result<Arc<Decision>, Arc<Error>>> {
        async move {
            if let Some(decision) = self.remembered(&subject, asked.now) {
                return Ok(decision);
            }
            let asked = asked.about(&subject);
            self.decide(&subject, None, &asked).await
        }
        .boxed()
    }

    /// The same under the policies that the child is decided under, which may no longer be in force.
    fn decide_parent_on<'a>(
        &'a self,
        terms: &'a Terms,
        subject: Subject,
        asked: &'a Asked,
    ) -> BoxFuture<'a, Result<Arc<Decision>, Arc<Error>>> {
        async move {
            let remembered = self.remembered(&subject, asked.now);
            if let Some(decision) = remembered.filter(|it| it.configuration == terms.policies.hash)
            {
                return Ok(decision);
            }
            let asked = asked.about(&subject);
            let policies = Arc::clone(&terms.policies);
            self.decide_under(policies, &subject, None, &asked, terms.deadline)
                .await
        }
        .boxed()
    }
}

impl Terms {
    /// Whether every policy that covers the child has judged what vouches for it. The tags through which the child was
    /// asked for may add policies that say nothing about the tags of the parent: those must be satisfied by the child
    /// itself. Without known tags a child is what its parent is, or no platform of an image could be pulled.
    fn are_those_of(&self, parent: &Decision, child: &Subject) -> bool {
        let tags = match &self.own_tags {
            OwnTags::None => return true,
            OwnTags::Known(tags) => tags.clone(),
            OwnTags::TooMany => Tags::default(),
        };
        let mut policies = self.policies.matching(&child.repository, &tags);
        policies.all(|policy| parent.judged_by.contains(&policy.hash))
    }
}

impl Asked {
    /// The same client asking about another digest on the way.
    pub(super) fn about(&self, subject: &Subject) -> Self {
        Self {
            reference: subject.digest.to_string(),
            previous_digest: None,
            stale_tag: false,
            anew: false,
            client: self.client.clone(),
            now: self.now,
        }
    }
}

/// Whether it is served only because policies audit.
pub(super) fn is_audited(decision: &Decision) -> bool {
    match &decision.outcome {
        Outcome::Admit { basis, .. } => *basis == Basis::Audit,
        Outcome::Deny(_) | Outcome::Unavailable { .. } => false,
    }
}

/// Whether an admitted manifest vouches for what it lists: what is signature material, or served only because a policy
/// audits, does not.
fn endorses(decision: &Decision) -> bool {
    match &decision.outcome {
        Outcome::Admit { basis, .. } => match basis {
            Basis::Signature | Basis::Endorsement => true,
            Basis::SignatureArtifact | Basis::Audit => false,
        },
        Outcome::Deny(_) | Outcome::Unavailable { .. } => false,
    }
}
