//! Evidence: what was found for a digest, as it is gathered, stored and read back.
//!
//! Stored evidence is an index of content that lies in the store by digest. It is never a verdict: reading it back
//! hashes every artifact again and ends where a fresh discovery ends, with candidates that nobody has believed yet.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::Admission;
use super::decision::{Error, StorageError};
use crate::decision_log::{SourceOutcome, SourceReport, Subject};
use crate::discovery::{self, Finding, FoundArtifact};
use crate::limits::Limits;
use crate::oci::{Digest, Manifest, RepositoryName};
use crate::policy::Policy;
use crate::signature::{self, Artifact, Blob, Candidate, Source};
use crate::state::{AbsentBlob, Batch, Evidence, EvidenceArtifact, EvidenceSource};

/// What is known of the signatures of one digest, while it is being gathered or read back.
#[derive(Debug, Clone)]
pub(super) struct Gathering {
    discovered_at: Timestamp,
    attestations: bool,
    sources: Vec<Asking>,
    artifacts: Vec<EvidenceArtifact>,
    candidates: Vec<Candidate>,
    limit_exceeded: Option<String>,
    /// What was fetched and is to be kept: manifests and blobs.
    contents: Vec<(Digest, Bytes)>,
}

/// One source in one repository.
#[derive(Debug, Clone)]
struct Asking {
    repository: RepositoryName,
    source: Source,
    /// How it ended; nothing while it has not.
    ended: Option<Ended>,
}

#[derive(Debug, Clone)]
struct Ended {
    outcome: discovery::Outcome,
    found: usize,
}

impl Gathering {
    pub(super) fn begin(request: &discovery::Request, now: Timestamp) -> Self {
        let asked = |repository: &RepositoryName| {
            [Source::CosignTag, Source::Referrers, Source::ReferrersTag].map(|source| Asking {
                repository: repository.clone(),
                source,
                ended: None,
            })
        };
        Self {
            discovered_at: now,
            attestations: request.attestations,
            sources: request.repositories.iter().flat_map(asked).collect(),
            artifacts: Vec::new(),
            candidates: Vec::new(),
            limit_exceeded: None,
            contents: Vec::new(),
        }
    }

    /// Takes in what one source gave. An artifact that another source gave already counts once.
    pub(super) fn add(&mut self, finding: Finding, limits: &Limits) {
        let found = finding.artifacts.len();
        let asking = self.sources.iter_mut().find(|asking| {
            asking.repository == finding.repository && asking.source == finding.source
        });
        if let Some(asking) = asking {
            asking.ended = Some(Ended {
                outcome: finding.outcome,
                found,
            });
        }
        self.limit_exceeded = self.limit_exceeded.take().or(finding.limit_exceeded);
        for FoundArtifact { manifest, artifact } in finding.artifacts {
            if self
                .artifacts
                .iter()
                .any(|known| known.digest == artifact.digest)
            {
                continue;
            }
            self.artifacts
                .push(evidence_artifact(&artifact, manifest.content_type));
            self.contents.push((manifest.digest, manifest.bytes));
            self.contents.extend(present_blobs(&artifact));
            self.candidates.extend(newest_first(&artifact, limits));
        }
    }

    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub(super) fn discovered_at(&self) -> Timestamp {
        self.discovered_at
    }

    pub(super) fn limit_exceeded(&self) -> Option<&str> {
        self.limit_exceeded.as_deref()
    }

    /// Sources that have not ended.
    pub(super) fn unfinished(&self) -> usize {
        self.sources
            .iter()
            .filter(|asking| asking.ended.is_none())
            .count()
    }

    /// Whether every source was asked to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.sources.iter().all(Asking::is_complete)
    }

    /// The sources of which it is not known what they have, in words.
    pub(super) fn failed_sources(&self) -> Vec<String> {
        let incomplete = self.sources.iter().filter(|asking| !asking.is_complete());
        incomplete
            .map(|asking| {
                let (source, repository) = (source_words(asking.source), &asking.repository);
                match asking.failure() {
                    Some(reason) => format!("{source} of {repository}: {reason}"),
                    None => format!("{source} of {repository} has not answered yet"),
                }
            })
            .collect()
    }

    /// Whether some source could not be asked at all, and none refused us.
    pub(super) fn unreachable(&self) -> bool {
        let mut failures = self
            .sources
            .iter()
            .filter_map(|asking| match &asking.ended {
                Some(Ended {
                    outcome: discovery::Outcome::Failed { unreachable, .. },
                    ..
                }) => Some(*unreachable),
                Some(Ended {
                    outcome: discovery::Outcome::Complete,
                    ..
                })
                | None => None,
            });
        let first = failures.next();
        first == Some(true) && failures.all(|unreachable| unreachable)
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.discovered_at)).unwrap_or_default()
    }

    pub(super) fn reports(&self) -> Vec<SourceReport> {
        self.sources.iter().map(Asking::report).collect()
    }

    pub(super) fn to_evidence(&self) -> Evidence {
        Evidence {
            artifacts: self.artifacts.clone(),
            sources: self
                .sources
                .iter()
                .map(|asking| EvidenceSource {
                    repository: asking.repository.clone(),
                    attestations: self.attestations,
                    report: asking.report(),
                })
                .collect(),
            discovered_at: self.discovered_at,
            limit_exceeded: self.limit_exceeded.clone(),
        }
    }

    fn covers(&self, request: &discovery::Request) -> bool {
        let asked = |repository: &RepositoryName| {
            self.sources
                .iter()
                .any(|asking| asking.repository == *repository)
        };
        (self.attestations || !request.attestations) && request.repositories.iter().all(asked)
    }
}

impl Admission {
    /// What is asked for a subject under the policies that cover it.
    pub(super) fn discovery_request(
        &self,
        subject: &Subject,
        matching: &[Arc<Policy>],
        deadline: tokio::time::Instant,
    ) -> discovery::Request {
        let mut repositories = vec![subject.repository.clone()];
        for other in matching
            .iter()
            .filter_map(|policy| policy.signature_repository.as_ref())
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
                .any(|policy| !policy.attestations.is_empty()),
            deadline,
        }
    }

    /// Whether stored evidence decides without asking the upstream: fresh, complete, and looking where the policies
    /// look. Where it holds no signature at all, the upstream is asked again, since one may have been pushed since.
    pub(super) fn suffices(
        &self,
        stored: &Gathering,
        subject: &Subject,
        matching: &[Arc<Policy>],
        now: Timestamp,
    ) -> bool {
        let request = self.discovery_request(subject, matching, tokio::time::Instant::now());
        let limit = if stored.candidates.is_empty() || self.was_refused(subject) {
            super::REFUSAL_MEMORY
        } else {
            self.inner.freshness.reverify_after
        };
        stored.is_complete() && stored.covers(&request) && stored.age(now) < limit
    }

    /// Whether this process has refused the subject under the configuration in force and remembers it.
    fn was_refused(&self, subject: &Subject) -> bool {
        self.inner.remembered.get(subject).is_some_and(|decision| {
            decision.document().is_none() && decision.configuration == self.inner.policies.hash
        })
    }

    /// The evidence stored for a subject, every artifact hashed again. Anything absent or altered makes all of it
    /// count as absent, so that the upstream is asked.
    pub(super) async fn stored_evidence(
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
        for row in &evidence.artifacts {
            let Some(artifact) = self.stored_artifact(row).await.map_err(storage)? else {
                return Ok(None);
            };
            gathering
                .candidates
                .extend(newest_first(&artifact, &self.inner.limits));
            gathering.artifacts.push(row.clone());
        }
        Ok(Some(gathering))
    }

    async fn stored_artifact(
        &self,
        row: &EvidenceArtifact,
    ) -> Result<Option<Artifact>, StorageError> {
        let limits = &self.inner.limits;
        let Some(manifest) = self
            .inner
            .store
            .get(&row.digest, limits.manifest_bytes_max)
            .await?
        else {
            return Ok(None);
        };
        let Ok(Manifest::Image(image)) = Manifest::parse(&manifest, &row.media_type) else {
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
                None => match self.inner.store.get(&layer.digest, blob_bytes_max).await? {
                    Some(bytes) => Blob::Present(bytes),
                    None => return Ok(None),
                },
            };
            layers.push((layer, blob));
        }
        Ok(Some(Artifact {
            source: row.source,
            digest: row.digest,
            layers,
        }))
    }

    /// Keeps the artifacts' bytes, off the request path: without them the evidence counts as absent, no more.
    pub(super) fn keep_artifacts(&self, gathering: &Gathering) {
        let (store, contents) = (self.inner.store.clone(), gathering.contents.clone());
        self.inner.tasks.spawn(async move {
            for (digest, bytes) in contents {
                if let Err(error) = store.put(&digest, bytes).await {
                    tracing::warn!(%digest, error = &error as &dyn std::error::Error, "Could not keep signature material");
                    return;
                }
            }
        });
    }

    /// Replaces the evidence of a subject by what was completed after its decision.
    pub(super) async fn keep_evidence(&self, subject: &Subject, gathering: &Gathering) {
        let batch = Batch {
            evidence: vec![(subject.clone(), gathering.to_evidence())],
            ..Batch::default()
        };
        if let Err(error) = self.inner.state.write(batch).await {
            tracing::warn!(%subject, error = &error as &dyn std::error::Error, "Could not keep evidence");
        }
    }
}

impl Gathering {
    fn read_back(evidence: &Evidence) -> Self {
        let asking = |source: &EvidenceSource| Asking {
            repository: source.repository.clone(),
            source: source.report.source,
            ended: Some(Ended {
                outcome: match source.report.outcome {
                    SourceOutcome::Found | SourceOutcome::None => discovery::Outcome::Complete,
                    SourceOutcome::Failed => discovery::Outcome::Failed {
                        reason: source.report.reason.clone().unwrap_or_default(),
                        unreachable: true,
                    },
                },
                found: source.report.found,
            }),
        };
        Self {
            discovered_at: evidence.discovered_at,
            attestations: evidence.sources.iter().all(|source| source.attestations),
            sources: evidence.sources.iter().map(asking).collect(),
            artifacts: Vec::new(),
            candidates: Vec::new(),
            limit_exceeded: evidence.limit_exceeded.clone(),
            contents: Vec::new(),
        }
    }
}

impl Asking {
    fn is_complete(&self) -> bool {
        matches!(
            self.ended,
            Some(Ended {
                outcome: discovery::Outcome::Complete,
                ..
            })
        )
    }

    fn failure(&self) -> Option<&str> {
        match &self.ended {
            Some(Ended {
                outcome: discovery::Outcome::Failed { reason, .. },
                ..
            }) => Some(reason),
            Some(Ended {
                outcome: discovery::Outcome::Complete,
                ..
            })
            | None => None,
        }
    }

    fn report(&self) -> SourceReport {
        let found = self.ended.as_ref().map_or(0, |ended| ended.found);
        let (outcome, reason) = match (&self.ended, self.failure()) {
            (None, _) => (
                SourceOutcome::Failed,
                Some("the decision did not wait for it".to_owned()),
            ),
            (Some(_), Some(reason)) => (SourceOutcome::Failed, Some(reason.to_owned())),
            (Some(_), None) if found == 0 => (SourceOutcome::None, None),
            (Some(_), None) => (SourceOutcome::Found, None),
        };
        SourceReport {
            source: self.source,
            outcome,
            found,
            reason,
        }
    }
}

/// Legacy signatures are appended to their manifest, so the last layer is the newest.
fn newest_first(artifact: &Artifact, limits: &Limits) -> impl Iterator<Item = Candidate> + use<> {
    signature::candidates(artifact, limits).into_iter().rev()
}

fn present_blobs(artifact: &Artifact) -> impl Iterator<Item = (Digest, Bytes)> {
    artifact
        .layers
        .iter()
        .filter_map(|(layer, blob)| match blob {
            Blob::Present(bytes) => Some((layer.digest, bytes.clone())),
            Blob::Missing | Blob::TooLarge | Blob::OtherType => None,
        })
}

fn evidence_artifact(artifact: &Artifact, media_type: String) -> EvidenceArtifact {
    let absent = artifact
        .layers
        .iter()
        .filter_map(|(layer, blob)| match blob {
            Blob::Missing => Some((layer.digest, AbsentBlob::Missing)),
            Blob::TooLarge => Some((layer.digest, AbsentBlob::TooLarge)),
            Blob::Present(_) | Blob::OtherType => None,
        });
    EvidenceArtifact {
        source: artifact.source,
        digest: artifact.digest,
        media_type,
        absent: absent.collect(),
    }
}

fn source_words(source: Source) -> &'static str {
    match source {
        Source::CosignTag => "the cosign tag",
        Source::Referrers => "the referrers API",
        Source::ReferrersTag => "the referrers tag",
    }
}
