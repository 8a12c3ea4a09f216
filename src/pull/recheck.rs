//! An image that is looked at again at once.

use ulid::Ulid;

use super::manifest::served_as_far_as;
use super::{CacheState, Caller, Missing, Pull, Refusal, ServedManifest};
use crate::admission::Asked;
use crate::decision_log::Subject;
use crate::oci::{Reference, RepositoryName};

impl Pull {
    /// Resolves the tag and looks for its signatures again, whatever is remembered. Returns the outcome of a
    /// pull that follows. Nothing is sent to a client.
    ///
    /// # Errors
    /// The refusal that a client would get.
    pub async fn recheck(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        caller: Caller,
    ) -> Result<ServedManifest, Refusal> {
        if !self.is_configured(repository.host()) {
            return Err(self.refuse_host(repository.host(), caller).await);
        }
        let asked = Asked {
            anew: true,
            ..caller.asking(reference.to_string())
        };
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
        let admission = &self.inner.admission;
        match admission.recheck(&subject, document, &asked).await {
            Ok(decision) => served_as_far_as(
                &self.for_reference(decision, reference, &asked).await?,
                CacheState::Upstream,
                &recalled,
            ),
            Err(error) => Err(self
                .refusal_for(&error, repository, Missing::Manifest, &asked)
                .await),
        }
    }
}

/// Returns the id of the decision behind an outcome, where one was made and recorded.
#[must_use]
pub fn decision_id(outcome: &Result<ServedManifest, Refusal>) -> Option<Ulid> {
    match outcome {
        Ok(served) => Some(served.manifest.decision().id),
        Err(Refusal::Denied(refused)) => refused.decision,
        Err(
            Refusal::NotFound(_)
            | Refusal::Unavailable { .. }
            | Refusal::BadUpstream { .. }
            | Refusal::Internal(_),
        ) => None,
    }
}
