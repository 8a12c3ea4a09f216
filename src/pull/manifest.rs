//! Manifests: from memory in the usual case, decided otherwise.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Caller, Missing, Pull, RETRY_AFTER, Refusal};
use crate::admission::{Admitted, Asked, Decision, UnsignedTag};
use crate::decision_log::Subject;
use crate::manifests::Document;
use crate::oci::{Reference, RepositoryName};

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
        if let Some(decision) = self.inner.admission.remembered(&subject, asked.now) {
            decision.count_reuse();
            let decision = self.for_reference(decision, reference, &asked).await?;
            return served(&decision, CacheState::Memory);
        }
        let fetched = document.is_some();
        let decided = self
            .inner
            .admission
            .decide(&subject, document, &asked)
            .await;
        match decided {
            Ok(decision) => served(
                &self.for_reference(decision, reference, &asked).await?,
                if fetched {
                    CacheState::Upstream
                } else {
                    CacheState::Disk
                },
            ),
            Err(error) => Err(self
                .refusal_for(&error, repository, Missing::Manifest, &asked)
                .await),
        }
    }
}

impl Pull {
    /// The decision by which what `reference` led to may be served, where a policy compares the tag with the one that
    /// was signed. A tag is refused for itself: the decision is about the digest, and stays.
    async fn for_reference(
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
                Err(self.refuse(name.as_str(), denial, asked).await)
            }
        }
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
