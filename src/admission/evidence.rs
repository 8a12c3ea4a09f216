//! Evidence: what was found for a digest, as it is gathered, stored and read back.
//!
//! Stored evidence is an index of content that lies in the store by digest. It is never a verdict: reading it back
//! hashes every artifact again and ends where a fresh discovery ends, with candidates that nobody has believed yet.

mod stored;

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::decision_log::{SourceOutcome, SourceReport};
use crate::discovery::{self, Finding, FoundArtifact};
use crate::limits::Limits;
use crate::oci::{Digest, RepositoryName};
use crate::signature::{self, Artifact, Blob, Candidate, Source};
use crate::state::{AbsentBlob, Evidence, EvidenceArtifact, EvidenceSource, EvidenceWanted};

/// What is known of the signatures of one digest, while it is being gathered or read back.
#[derive(Debug, Clone)]
pub(super) struct Gathering {
    discovered_at: Timestamp,
    attestations: bool,
    /// The material that was read first, up to the limits.
    wanted: Option<EvidenceWanted>,
    sources: Vec<Asking>,
    artifacts: Vec<EvidenceArtifact>,
    /// By artifact, newest first.
    found: Vec<Vec<Candidate>>,
    /// In the order in which they are tried.
    candidates: Vec<Candidate>,
    /// Referrers that are listed and not there.
    absent: Vec<Digest>,
    limit_exceeded: Option<String>,
    /// Whether this process saw for itself that there is no more.
    witnessed: bool,
    /// What was fetched and is to be kept: manifests and blobs.
    contents: Vec<(Digest, Bytes)>,
}

/// Verifying a signature takes about as long as reading this many bytes.
const SIGNATURE_BYTES: u64 = 2 * 1024;

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
        Self {
            discovered_at: now,
            attestations: request.attestations,
            wanted: Some(evidence_wanted(request)),
            sources: request.repositories.iter().flat_map(askings).collect(),
            artifacts: Vec::new(),
            found: Vec::new(),
            candidates: Vec::new(),
            absent: Vec::new(),
            limit_exceeded: None,
            witnessed: true,
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
        self.absent.extend(finding.absent);
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
            self.found.push(newest_first(&artifact, limits));
        }
        self.take_turns();
    }

    /// Puts the candidates of all artifacts in order. They are tried in turns, one of each artifact, so that nobody can
    /// use up the limits with one artifact full of junk.
    fn take_turns(&mut self) {
        let turns = self.found.iter().map(Vec::len).max().unwrap_or(0);
        let found = &self.found;
        self.candidates = (0..turns)
            .flat_map(|turn| found.iter().filter_map(move |of_one| of_one.get(turn)))
            .cloned()
            .collect();
    }

    /// What was fetched and is to be kept.
    pub(super) fn contents(&self) -> Vec<(Digest, Bytes)> {
        self.contents.clone()
    }

    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Returns the bytes that are read to evaluate it, with an amount for verifying each signature.
    pub(super) fn size(&self) -> usize {
        let candidates = self.candidates.iter();
        let bytes: u64 = candidates.map(|it| it.bytes + SIGNATURE_BYTES).sum();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    pub(super) fn discovered_at(&self) -> Timestamp {
        self.discovered_at
    }

    pub(super) fn limit_exceeded(&self) -> Option<&str> {
        self.limit_exceeded.as_deref()
    }

    /// A referrer that is listed and not there.
    pub(super) fn absent_referrer(&self) -> Option<&Digest> {
        self.absent.first()
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

    /// Whether a source was asked and did not say what it has.
    pub(super) fn has_failed(&self) -> bool {
        self.sources.iter().any(|asking| asking.failure().is_some())
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

    /// Ends the sources that have not ended, as ones that could not be asked.
    pub(super) fn end_late(mut self) -> Self {
        for asking in &mut self.sources {
            asking
                .ended
                .get_or_insert_with(|| unasked("it did not answer in time"));
        }
        self
    }

    /// How long ago it was gathered. What claims to come from the future is as old as can be.
    pub(super) fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.discovered_at)).unwrap_or(Duration::MAX)
    }

    pub(super) fn is_witnessed(&self) -> bool {
        self.witnessed
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
            absent_referrers: self.absent.clone(),
            discovered_at: self.discovered_at,
            limit_exceeded: self.limit_exceeded.clone(),
            wanted: self.wanted.clone(),
        }
    }

    /// The same, with whatever was not looked for where it is asked for as a source that did not say what it has: that
    /// some of it is known may suffice to admit, and never to refuse.
    pub(super) fn extended_to(mut self, request: &discovery::Request) -> Self {
        if request.attestations && !self.attestations {
            self.attestations = true;
            let tags = self.sources.iter_mut();
            for asking in tags.filter(|asking| asking.source == Source::CosignTag) {
                asking.ended = Some(unasked(
                    "attestation tags were not asked for when evidence was gathered",
                ));
            }
        }
        for repository in &request.repositories {
            if self.sources.iter().any(|it| it.repository == *repository) {
                continue;
            }
            self.sources
                .extend(askings(repository).map(|asking| Asking {
                    ended: Some(unasked("it was not asked when evidence was gathered")),
                    ..asking
                }));
        }
        self.doubted_for(request)
    }

    /// Returns true if a limit cut the evidence and something else was read first than what is asked for. More of what
    /// is asked for may then be found, so that the evidence may suffice to admit, and never to refuse.
    pub(super) fn was_cut_for_another(&self, request: &discovery::Request) -> bool {
        let mut absent = self.artifacts.iter().flat_map(|it| &it.absent);
        let is_cut = self.limit_exceeded.is_some()
            || absent.any(|(_, absent)| *absent == AbsentBlob::TooLarge);
        is_cut && self.wanted != Some(evidence_wanted(request))
    }

    /// Returns the evidence, with every source as one that did not say what it has if the evidence was cut for another
    /// request.
    pub(super) fn doubted_for(mut self, request: &discovery::Request) -> Self {
        if self.was_cut_for_another(request) {
            let complete = self.sources.iter_mut().filter(|it| it.is_complete());
            for asking in complete {
                let found = asking.ended.as_ref().map_or(0, |ended| ended.found);
                let cut = unasked(
                    "a limit cut what it has, and other policies were in force when evidence was gathered",
                );
                asking.ended = Some(Ended { found, ..cut });
            }
        }
        self
    }

    /// Whether it was looked for everywhere that is asked for.
    pub(super) fn covers(&self, request: &discovery::Request) -> bool {
        let asked = |repository: &RepositoryName| {
            self.sources
                .iter()
                .any(|asking| asking.repository == *repository)
        };
        (self.attestations || !request.attestations) && request.repositories.iter().all(asked)
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
            wanted: evidence.wanted.clone(),
            sources: evidence.sources.iter().map(asking).collect(),
            artifacts: Vec::new(),
            found: Vec::new(),
            candidates: Vec::new(),
            absent: evidence.absent_referrers.clone(),
            limit_exceeded: evidence.limit_exceeded.clone(),
            witnessed: false,
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

/// All sources in a repository, none of which has ended.
fn askings(repository: &RepositoryName) -> [Asking; 3] {
    [Source::CosignTag, Source::Referrers, Source::ReferrersTag].map(|source| Asking {
        repository: repository.clone(),
        source,
        ended: None,
    })
}

fn unasked(reason: &str) -> Ended {
    Ended {
        outcome: discovery::Outcome::Failed {
            reason: reason.to_owned(),
            unreachable: true,
        },
        found: 0,
    }
}

/// Legacy signatures are appended to their manifest, so the last layer is the newest.
fn newest_first(artifact: &Artifact, limits: &Limits) -> Vec<Candidate> {
    let mut candidates = signature::candidates(artifact, limits);
    candidates.reverse();
    candidates
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

fn evidence_wanted(request: &discovery::Request) -> EvidenceWanted {
    EvidenceWanted {
        signatures: request.wanted.signatures,
        predicate_types: request.wanted.predicate_types.clone(),
    }
}

fn source_words(source: Source) -> &'static str {
    match source {
        Source::CosignTag => "the cosign tag",
        Source::Referrers => "the referrers API",
        Source::ReferrersTag => "the referrers tag",
    }
}
