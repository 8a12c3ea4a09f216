//! Blobs are served only through an admitted manifest of the same repository that refers to them.

use std::sync::Arc;

use jiff::Timestamp;

use super::decision::{Admitted, Decision, Error, StorageError};
use super::denial::{Denial, Kind};
use super::endorsement::is_audited;
use super::{Admission, Asked};
use crate::decision_log::Subject;
use crate::oci::Descriptor;

/// A remembered way from a blob to the manifest that vouches for it.
#[derive(Debug)]
pub struct BlobGrant {
    manifest: Subject,
    descriptor: Descriptor,
    /// True if an index lists the blob. Such a grant needs an index that is only audited.
    is_listed: bool,
}

impl Admission {
    /// The grant of a blob from memory: its manifest is remembered as admitted and that still holds. No I/O, no lock.
    #[must_use]
    pub fn remembered_blob(
        &self,
        blob: &Subject,
        now: Timestamp,
    ) -> Option<Admitted<Arc<BlobGrant>>> {
        let grant = self.inner.grants.get(blob)?;
        let decision = self.remembered(&grant.manifest, now)?;
        // The manifest may be admitted for another reason than when the grant was made.
        let still_vouches = !grant.is_listed || vouches_for_listed_blobs(&decision);
        if self.is_revoked(blob) || !still_vouches {
            return None;
        }
        decision.grant(grant)
    }

    /// The grant of a blob by a manifest that state hints at, decided anew where necessary.
    ///
    /// # Errors
    /// When the hints cannot be read, or a parent could not be decided about (and no other one grants it).
    pub async fn grant_blob(
        &self,
        blob: &Subject,
        asked: &Asked,
    ) -> Result<Result<Admitted<Arc<BlobGrant>>, Denial>, Arc<Error>> {
        if self.is_revoked(blob) {
            return Ok(Err(super::evaluate::revoked_digest(blob)));
        }
        if let Err(mut denial) = self.covers(&blob.repository) {
            denial.digest = Some(blob.digest);
            return Ok(Err(denial));
        }
        let limit = self.inner.limits.endorsement_parents_max;
        let mut hints = self
            .inner
            .state
            .parents(blob, limit.saturating_add(1))
            .await
            .map_err(|error| {
                Arc::new(Error::Storage {
                    subject: blob.clone(),
                    source: StorageError::State(error),
                })
            })?;
        let is_cut = hints.len() > limit;
        hints.truncate(limit);
        let mut failure = None;
        let deadline = tokio::time::Instant::now() + self.inner.limits.decision_time_max;
        for digest in hints {
            let manifest = Subject {
                repository: blob.repository.clone(),
                digest,
            };
            let deciding = self.decide_parent(manifest.clone(), asked);
            let decided = tokio::time::timeout_at(deadline, deciding).await;
            match decided.unwrap_or_else(|_late| Err(Arc::new(Error::Late(manifest)))) {
                Ok(decision) => {
                    if let Some(granted) = self.granted_by(&decision, blob) {
                        return Ok(Ok(granted));
                    }
                    if let super::Outcome::Unavailable { .. } = &decision.outcome {
                        failure.get_or_insert_with(|| Arc::new(Error::Undecided(decision)));
                    }
                }
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None if is_cut => Ok(Err(beyond_limit(blob, limit))),
            None => Ok(Err(not_endorsed(blob))),
        }
    }

    /// Whether nothing that a grant rests on has changed since it was made.
    #[must_use]
    pub fn still_grants(&self, grant: &Admitted<Arc<BlobGrant>>, blob: &Subject) -> bool {
        let policies = self.inner.in_force.policies();
        grant.decision().configuration == policies.hash
            && self.tags_are_current(grant.decision(), &policies)
            && !policies.revoked.digests.contains(&blob.digest)
    }

    fn is_revoked(&self, blob: &Subject) -> bool {
        let policies = self.inner.in_force.policies();
        policies.revoked.digests.contains(&blob.digest)
    }

    /// The grant by one admitted manifest, remembered for the warm path.
    fn granted_by(
        &self,
        decision: &Arc<Decision>,
        blob: &Subject,
    ) -> Option<Admitted<Arc<BlobGrant>>> {
        let manifest = &decision.document()?.manifest;
        let vouches_for_listed = vouches_for_listed_blobs(decision);
        let listed = manifest.listed_blobs().filter(|_| vouches_for_listed);
        let (descriptor, is_listed) = manifest
            .blobs()
            .map(|referred_to| (referred_to, false))
            .chain(listed.map(|listed| (listed, true)))
            .find(|(descriptor, _)| descriptor.digest == blob.digest)?;
        let grant = Arc::new(BlobGrant {
            manifest: decision.subject.clone(),
            descriptor: descriptor.clone(),
            is_listed,
        });
        self.inner.grants.insert(blob.clone(), Arc::clone(&grant));
        decision.grant(grant)
    }
}

impl BlobGrant {
    /// What the admitted manifest says of the blob.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }
}

/// Returns true if an index vouches for the blobs that it lists. `BuildKit`'s registry cache is an index of blobs. It
/// works where its index is only audited, because an enforced index endorses manifests only.
fn vouches_for_listed_blobs(decision: &Decision) -> bool {
    is_audited(decision) && decision.exception.is_none()
}

/// Refuses a blob that a manifest beyond the limit may refer to.
fn beyond_limit(blob: &Subject, limit: usize) -> Denial {
    Denial {
        kind: Kind::LimitExceeded,
        message: format!(
            "more than {limit} manifests refer to the blob {blob}, and none of the {limit} that were pulled last is admitted; \
             those beyond the limit were not asked (`limits.endorsement_parents_max`); pull the image by its tag or digest first"
        ).into(),
        policy: None,
        digest: Some(blob.digest),
    }
}

fn not_endorsed(blob: &Subject) -> Denial {
    Denial {
        kind: Kind::NotEndorsed,
        message: format!(
            "no admitted manifest of {} refers to the blob {}; pull the image by its tag or digest first",
            blob.repository, blob.digest
        ).into(),
        policy: None,
        digest: Some(blob.digest),
    }
}
