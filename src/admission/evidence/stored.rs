//! Stored evidence: kept off the request path, and read back with every artifact hashed again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Gathering, newest_first};
use crate::admission::decision::{Error, StorageError};
use crate::admission::{Admission, REFUSAL_MEMORY, Reliance};
use crate::compute;
use crate::decision_log::Subject;
use crate::discovery;
use crate::manifests;
use crate::oci::{Digest, Manifest};
use crate::policy::{Policy, Quantifier, Requirement};
use crate::signature::{self, Artifact, Blob};
use crate::state::{AbsentBlob, Batch, Evidence, EvidenceArtifact};

impl Admission {
    /// What is asked for a subject under the policies that cover it.
    pub(in crate::admission) fn discovery_request(
        &self,
        subject: &Subject,
        matching: &[Arc<Policy>],
        deadline: Instant,
    ) -> discovery::Request {
        let mut repositories = vec![subject.repository.clone()];
        for other in matching
            .iter()
            .flat_map(|policy| &policy.signature_repositories)
        {
            if !repositories.contains(other) {
                repositories.push(other.clone());
            }
        }
        discovery::Request {
            digest: subject.digest,
            repositories,
            attestations: matching
                .iter()
                .any(|policy| !policy.requirement.attestations().is_empty()),
            wanted: wanted(matching),
            deadline,
        }
    }

    /// Whether stored evidence decides without asking the upstream: fresh, complete, and looking where the policies
    /// look. Where it holds no signature at all, the upstream is asked again, since one may have been pushed since.
    pub(in crate::admission) fn suffices(
        &self,
        stored: &Gathering,
        subject: &Subject,
        matching: &[Arc<Policy>],
        now: Timestamp,
    ) -> bool {
        match self.inner.reliance {
            Reliance::Recorded => return stored.is_complete(),
            Reliance::Fresh => {}
        }
        // Rules about all attestations need somebody to have seen that there are no more. What was listed and not there
        // may have come meanwhile, or be listed no more.
        let about_all = matching
            .iter()
            .flat_map(|policy| policy.requirement.attestations())
            .any(|requirement| requirement.quantifier != Quantifier::Any);
        let limit = if stored.candidates.is_empty() || self.was_refused(subject) {
            REFUSAL_MEMORY
        } else {
            self.inner.freshness.reverify_after
        };
        let saw_all = stored.witnessed && stored.absent_referrer().is_none();
        stored.is_complete() && (saw_all || !about_all) && stored.age(now) < limit
    }

    /// Whether this process has refused the subject under the configuration in force and remembers it.
    fn was_refused(&self, subject: &Subject) -> bool {
        self.inner.remembered.get(subject).is_some_and(|decision| {
            decision.document().is_none()
                && decision.configuration == self.inner.in_force.policies().hash
        })
    }

    /// The evidence stored for a subject, every artifact hashed again. Anything absent or altered makes all of it
    /// count as absent, so that the upstream is asked.
    pub(in crate::admission) async fn stored_evidence(
        &self,
        subject: &Subject,
    ) -> Result<Option<Gathering>, Error> {
        let storage = |source: StorageError| Error::Storage {
            subject: subject.clone(),
            source,
        };
        let evidence = self
            .inner
            .state
            .evidence(subject)
            .await
            .map_err(|error| storage(error.into()))?;
        let Some(evidence) = evidence else {
            return Ok(None);
        };
        let mut gathering = Gathering::read_back(&evidence);
        gathering.witnessed = match self.inner.reliance {
            Reliance::Recorded => true,
            Reliance::Fresh => self.inner.witnessed.get(subject) == Some(fingerprint(&evidence)),
        };
        for row in &evidence.artifacts {
            let Some(artifact) = self.stored_artifact(subject, row).await? else {
                return Ok(None);
            };
            let candidates = newest_first(&artifact, &self.inner.limits);
            gathering.found.push(candidates);
            gathering.artifacts.push(row.clone());
        }
        gathering.take_turns();
        Ok(Some(gathering))
    }

    async fn stored_artifact(
        &self,
        subject: &Subject,
        row: &EvidenceArtifact,
    ) -> Result<Option<Artifact>, Error> {
        let limits = &self.inner.limits;
        let read = self.stored_bytes(subject, &row.digest, limits.manifest_bytes_max);
        let Some(manifest) = read.await? else {
            return Ok(None);
        };
        let (size, media_type) = (manifest.len(), row.media_type.clone());
        let read = move || Manifest::parse(&manifest, &media_type);
        let deadline = Instant::now() + limits.decision_time_max;
        // A full queue says nothing about what is stored.
        let busy = |_full| Error::Busy(subject.clone());
        let parsed = compute::run(size, deadline, read).await.map_err(busy)?;
        let Ok(Manifest::Image(image)) = parsed else {
            return Ok(None);
        };
        let blob_bytes_max = limits.bundle_bytes_max.max(limits.payload_bytes_max);
        let mut layers = Vec::with_capacity(image.layers.len());
        for layer in image.layers {
            let absent = row
                .absent
                .iter()
                .find(|(digest, _)| *digest == layer.digest);
            let blob = match absent {
                _ if !signature::is_worth_reading(&layer) => Blob::OtherType,
                Some((_, AbsentBlob::Missing)) => Blob::Missing,
                Some((_, AbsentBlob::TooLarge)) => Blob::TooLarge,
                None => {
                    let read = self.stored_bytes(subject, &layer.digest, blob_bytes_max);
                    match read.await? {
                        Some(bytes) => Blob::Present(bytes),
                        None => return Ok(None),
                    }
                }
            };
            layers.push((layer, blob));
        }
        Ok(Some(Artifact {
            source: row.source,
            digest: row.digest,
            layers,
        }))
    }

    /// Reads stored content of a subject within the budget for reading.
    async fn stored_bytes(
        &self,
        subject: &Subject,
        digest: &Digest,
        limit_bytes: u64,
    ) -> Result<Option<Bytes>, Error> {
        let read = self.inner.manifests.stored(digest, limit_bytes, 1).await;
        match read {
            Ok(stored) => Ok(stored.map(|(bytes, _hold)| bytes)),
            Err(manifests::Error::Busy(_)) => Err(Error::Busy(subject.clone())),
            Err(manifests::Error::Store(error)) => Err(Error::Storage {
                subject: subject.clone(),
                source: error.into(),
            }),
            // A read from disk does not end so.
            Err(
                manifests::Error::Upstream(_)
                | manifests::Error::Malformed { .. }
                | manifests::Error::TooManyChildren { .. }
                | manifests::Error::State(_),
            ) => Ok(None),
        }
    }

    /// Keeps the artifacts' bytes, off the request path: without them the evidence counts as absent, no more.
    pub(in crate::admission) fn keep_contents(&self, contents: Vec<(Digest, Bytes)>) {
        let store = self.inner.store.clone();
        self.inner.tasks.spawn(async move {
            for (digest, bytes) in contents {
                if let Err(error) = store.put(&digest, bytes).await {
                    tracing::warn!(%digest, error = &error as &dyn std::error::Error, "Could not keep signature material");
                    return;
                }
            }
        });
    }

    /// Replaces the evidence of a subject by what was completed after its decision, unless complete evidence would be
    /// replaced by less.
    pub(in crate::admission) async fn keep_evidence(
        &self,
        subject: &Subject,
        gathering: &Gathering,
    ) {
        if !gathering.is_complete() {
            match self.stored_evidence(subject).await {
                Ok(Some(stored)) if stored.is_complete() => return,
                Ok(_) => {}
                // Evidence that cannot be read now may be complete.
                Err(_) => return,
            }
        }
        let evidence = gathering.to_evidence();
        self.witness(subject, &evidence);
        let batch = Batch {
            evidence: vec![(subject.clone(), evidence)],
            ..Batch::default()
        };
        if let Err(error) = self.inner.state.write(batch).await {
            tracing::warn!(
                %subject,
                error = &error as &dyn std::error::Error,
                "Could not keep evidence"
            );
        }
    }

    /// Remembers that this process gathered exactly this evidence.
    pub(in crate::admission) fn witness(&self, subject: &Subject, evidence: &Evidence) {
        self.inner
            .witnessed
            .insert(subject.clone(), fingerprint(evidence));
    }
}

/// Returns what could satisfy the policies.
fn wanted(matching: &[Arc<Policy>]) -> discovery::Wanted {
    let requirements = || matching.iter().map(|policy| &policy.requirement);
    let predicate_types: BTreeSet<_> = requirements()
        .flat_map(Requirement::attestations)
        .map(|attestation| attestation.predicate_type.clone())
        .collect();
    discovery::Wanted {
        signatures: requirements().any(Requirement::demands_signatures),
        predicate_types: predicate_types.into_iter().collect(),
    }
}

/// What tells one row of evidence from another. Evidence is plain data, so it always has a text.
fn fingerprint(evidence: &Evidence) -> Digest {
    let text = serde_json::to_vec(evidence).unwrap_or_default();
    Digest::sha256(&text)
}
