//! Manifests: from memory in the usual case, decided otherwise.

use std::sync::Arc;

use jiff::Timestamp;

use super::tag::Recalled;
use super::{Caller, Missing, Pull, RETRY_AFTER, Refusal};
use crate::admission::{Admitted, Asked, Decision, Denial, Outcome, UnsignedTag};
use crate::decision_log::Subject;
use crate::manifests::Document;
use crate::oci::{Reference, RepositoryName, Tag};

/// An admitted manifest and where it came from.
#[derive(Debug)]
pub struct ServedManifest {
    /// The manifest.
    pub manifest: Admitted<Arc<Document>>,
    /// Where it came from.
    pub cache: CacheState,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheState {
    /// Memory.
    Memory,
    /// Disk, or decided from stored evidence.
    Disk,
    /// The upstream, for this request or one that ran at the same time.
    Upstream,
}

impl CacheState {
    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Upstream => "upstream",
        }
    }
}

impl Pull {
    /// The manifest from memory: asked for by digest, or by a tag looked up not long ago, and decided before. No I/O.
    #[must_use]
    pub fn remembered_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        now: Timestamp,
    ) -> Option<Result<ServedManifest, Refusal>> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => self.remembered_tag(repository, tag, now)?,
        };
        let subject = Subject {
            repository: repository.clone(),
            digest,
        };
        if let Reference::Tag(tag) = reference
            && !self.inner.admission.knows_tag(&subject, tag)
        {
            return None;
        }
        let decision = self.inner.admission.remembered(&subject, now)?;
        if let Reference::Tag(tag) = reference
            && decision.unsigned_tag(tag).is_some()
        {
            return None;
        }
        // Its tags may yet show that less is demanded of it.
        let refused = match &decision.outcome {
            Outcome::Deny(denial) => denial.depends_on_tags(),
            Outcome::Admit { .. } | Outcome::Unavailable { .. } => false,
        };
        if refused && self.forgot_tags(&subject) {
            return None;
        }
        decision.count_reuse();
        Some(served(&decision, CacheState::Memory))
    }

    /// The manifest, decided about if need be.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: Caller,
    ) -> Result<ServedManifest, Refusal> {
        let asked = caller.asking(reference.to_string());
        let (subject, document, asked) = match reference {
            Reference::Digest(digest) => {
                let subject = Subject {
                    repository: repository.clone(),
                    digest: *digest,
                };
                (subject, None, asked)
            }
            Reference::Tag(tag) => self.resolve(repository, tag, asked).await?,
        };
        let recalled = self.recalled_for(&subject, reference, &asked).await?;
        if let Some(decision) = self.inner.admission.remembered(&subject, asked.now) {
            decision.count_reuse();
            let decision = self.for_reference(decision, reference, &asked).await?;
            return served_as_far_as(&decision, CacheState::Memory, &recalled);
        }
        let fetched = document.is_some();
        let decided = self
            .inner
            .admission
            .decide(&subject, document, &asked)
            .await;
        match decided {
            Ok(decision) => served_as_far_as(
                &self.for_reference(decision, reference, &asked).await?,
                if fetched {
                    CacheState::Upstream
                } else {
                    CacheState::Disk
                },
                &recalled,
            ),
            Err(error) => Err(self
                .refusal_for(&error, repository, Missing::Manifest, &asked)
                .await),
        }
    }
}

impl Pull {
    /// Learns the tags that select the policies of a subject, as far as the upstream tells them now.
    pub(super) async fn recalled_for(
        &self,
        subject: &Subject,
        reference: &Reference,
        asked: &Asked,
    ) -> Result<Recalled, Refusal> {
        Ok(match reference {
            Reference::Digest(_) => self.recall_tags(subject, asked).await?,
            Reference::Tag(_) if asked.stale_tag && self.forgot_tags(subject) => {
                Recalled::not_answering(subject)
            }
            Reference::Tag(_) => Recalled::AllThereIs,
        })
    }

    /// The decision by which what `reference` led to may be served, where a policy compares the tag with the one that
    /// was signed. A tag is refused for itself: the decision is about the digest, and stays.
    pub(super) async fn for_reference(
        &self,
        decision: Arc<Decision>,
        reference: &Reference,
        asked: &Asked,
    ) -> Result<Arc<Decision>, Refusal> {
        let Reference::Tag(tag) = reference else {
            return Ok(decision);
        };
        if decision.unsigned_tag(tag).is_none() {
            return Ok(decision);
        }
        let name = &decision.subject.repository.clone();
        let decision = match self.inner.admission.decide_anew(decision, asked).await {
            Ok(decision) => decision,
            Err(error) => {
                let refusing = self.refusal_for(&error, name, Missing::Manifest, asked);
                return Err(refusing.await);
            }
        };
        match decision.unsigned_tag(tag) {
            None => Ok(decision),
            Some(UnsignedTag::Undecided(message)) => Err(Refusal::Unavailable {
                message,
                retry_after: RETRY_AFTER,
            }),
            Some(UnsignedTag::Refused(denial)) => {
                self.unless_excepted(&decision, tag, denial, asked).await
            }
        }
    }
}

impl Pull {
    /// The refusal of a tag that was not signed, unless an exception lets it through.
    async fn unless_excepted(
        &self,
        decision: &Arc<Decision>,
        tag: &Tag,
        denial: Denial,
        asked: &Asked,
    ) -> Result<Arc<Decision>, Refusal> {
        let admission = &self.inner.admission;
        match admission.except_tag(decision, tag, &denial, asked).await {
            Ok(Some(excepted)) => return Ok(excepted),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Could not record an exception"
                );
                return Err(Refusal::Unavailable {
                    message: format!(
                        "{}: this proxy's storage is not available",
                        decision.subject
                    ),
                    retry_after: RETRY_AFTER,
                });
            }
        }
        let name = decision.subject.repository.as_str();
        let mut refusal = self.refuse(name, denial, asked).await;
        if let Refusal::Denied(refused) = &mut refusal {
            refused.described.clone_from(&decision.described);
        }
        Err(refusal)
    }
}

/// The same, where tags that could not be asked about may have refused it.
pub(super) fn served_as_far_as(
    decision: &Arc<Decision>,
    cache: CacheState,
    recalled: &Recalled,
) -> Result<ServedManifest, Refusal> {
    match (served(decision, cache), recalled) {
        (Err(Refusal::Denied(refused)), Recalled::Unreachable(message))
            if refused.denial.depends_on_tags() =>
        {
            Err(Recalled::undecided(&decision.subject, message))
        }
        (answer, Recalled::AllThereIs | Recalled::Unreachable(_)) => answer,
    }
}

fn served(decision: &Arc<Decision>, cache: CacheState) -> Result<ServedManifest, Refusal> {
    match decision.admitted() {
        Some(manifest) => Ok(ServedManifest { manifest, cache }),
        None => {
            Err(Refusal::from_decision(decision).unwrap_or(Refusal::NotFound(Missing::Manifest)))
        }
    }
}
