//! Recording a decision: durable first, then remembered, then told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use ulid::Ulid;

use super::conclusion::Conclusion;
use super::decision::{Decision, Described, Error, Outcome, StorageError};
use super::denial::Denial;
use super::evaluate::{Evaluation, SignedTags};
use super::evidence::Gathering;
use super::gather::Findings;
use super::judge::Terms;
use super::{Admission, Asked, Inner};
use crate::decision_log::{
    self, AttemptReport, Basis, DenialReport, Mode, PolicyReport, Record, SourceOutcome,
    SourceReport, Subject, Timing,
};
use crate::manifests::{Document, Origin};
use crate::oci::Digest;
use crate::policy::Tags;
use crate::state::{Batch, Evidence};

/// A record in the making, and what is stored together with it.
#[derive(Debug)]
pub(super) struct Draft {
    subject: Subject,
    asked: Asked,
    now: Timestamp,
    /// The hash of the policies it is made under.
    pub(super) configuration: Digest,
    replica: String,
    pub(super) stale: bool,
    pub(super) sources: Vec<SourceReport>,
    pub(super) endorsed_by: Option<Digest>,
    pub(super) evidence: Option<Evidence>,
    /// Whether complete evidence is stored already, which incomplete evidence must not replace.
    pub(super) replaces_complete: bool,
    /// Signature material to keep, once the record is durable: its disk writes must not hold up the record's.
    pub(super) contents: Vec<(Digest, Bytes)>,
    /// Sources that go on after the decision.
    pub(super) unfinished: Option<Unfinished>,
    /// The parents that state hinted at.
    pub(super) hints: Vec<Digest>,
    /// See [`Decision`].
    pub(super) tags: Vec<(Subject, Option<Tags>)>,
    /// See [`Decision`].
    pub(super) judged_by: Vec<Digest>,
    pub(super) timing: Spent,
    policies: Vec<PolicyReport>,
    attempts: Vec<AttemptReport>,
    trusted_roots: Vec<Digest>,
    document: Option<(Arc<Document>, Origin)>,
}

/// What was gathered so far, and what is still to come.
pub(super) struct Unfinished {
    pub(super) gathering: Gathering,
    pub(super) findings: Findings,
}

impl std::fmt::Debug for Unfinished {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Unfinished")
            .field("gathering", &self.gathering)
            .finish_non_exhaustive()
    }
}

/// Where the time went.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) upstream: Duration,
    pub(super) discovery: Duration,
    pub(super) keys: Duration,
    pub(super) verification: Duration,
    pub(super) total: Duration,
}

impl Draft {
    pub(super) fn new(inner: &Inner, subject: &Subject, asked: &Asked, terms: &Terms) -> Self {
        Self {
            subject: subject.clone(),
            asked: asked.clone(),
            now: terms.now,
            configuration: terms.policies.hash,
            replica: inner.replica.clone(),
            stale: asked.stale_tag,
            sources: Vec::new(),
            endorsed_by: None,
            evidence: None,
            replaces_complete: false,
            contents: Vec::new(),
            unfinished: None,
            hints: Vec::new(),
            tags: Vec::new(),
            judged_by: Vec::new(),
            timing: Spent::default(),
            policies: Vec::new(),
            attempts: Vec::new(),
            trusted_roots: Vec::new(),
            document: None,
        }
    }

    /// Whether signatures are to be looked for although enough may be stored.
    pub(super) fn is_anew(&self) -> bool {
        self.asked.anew
    }

    pub(super) fn document(&mut self, document: &Arc<Document>, origin: Origin) {
        self.document
            .get_or_insert_with(|| (Arc::clone(document), origin));
    }

    pub(super) fn take_evaluation(&mut self, evaluation: &mut Evaluation) {
        self.policies = std::mem::take(&mut evaluation.policies);
        self.judged_by = self.policies.iter().map(|policy| policy.hash).collect();
        self.attempts = std::mem::take(&mut evaluation.attempts);
        self.trusted_roots = std::mem::take(&mut evaluation.trusted_roots);
    }

    /// For what is admitted without signatures: the policies that cover the name, none of which was asked.
    pub(super) fn policies_unasked(&mut self, terms: &Terms) {
        self.policies = terms
            .matching(&self.subject)
            .iter()
            .map(|policy| PolicyReport {
                name: policy.name.clone(),
                hash: policy.hash,
                satisfied: false,
                authorities: Vec::new(),
            })
            .collect();
    }

    fn record(&self, id: Ulid, outcome: &Outcome) -> Record {
        let (decision, basis, denial) = match outcome {
            Outcome::Admit { basis, warning, .. } => {
                (decision_log::Outcome::Admit, Some(*basis), warning.as_ref())
            }
            Outcome::Deny(denial) => (decision_log::Outcome::Deny, None, Some(denial)),
            Outcome::Unavailable { .. } => (decision_log::Outcome::Unavailable, None, None),
        };
        let mut denial = denial.map(report);
        if let Outcome::Unavailable { missing, .. } = outcome {
            denial = Some(DenialReport {
                kind: "unavailable".to_owned(),
                message: missing.clone(),
            });
        }
        let mode = if basis == Some(Basis::Audit) {
            Mode::Audit
        } else {
            Mode::Enforce
        };
        Record {
            id,
            time: self.now,
            replica: self.replica.clone(),
            repository: self.subject.repository.to_string(),
            reference: self.asked.reference.clone(),
            digest: Some(self.subject.digest),
            previous_digest: self.asked.previous_digest,
            media_type: self
                .document
                .as_ref()
                .map(|(document, _)| document.media_type.clone()),
            decision,
            mode,
            basis,
            stale: self.stale,
            sources: self.sources.clone(),
            denial,
            policies: self.policies.clone(),
            attempts: self.attempts.clone(),
            endorsed_by: self.endorsed_by,
            trusted_root: trusted_root(&self.trusted_roots),
            configuration: self.configuration,
            verifier: env!("CARGO_PKG_VERSION").to_owned(),
            client: self.asked.client.clone(),
            timing_ms: self.timing.in_milliseconds(),
            count: 0,
        }
    }
}

impl Admission {
    /// Makes the decision durable, remembers it, and tells the log. An admission that could not be made durable is not
    /// made.
    pub(super) async fn record(
        &self,
        draft: Draft,
        mut conclusion: Conclusion,
    ) -> Result<Arc<Decision>, Error> {
        let id = Ulid::generate();
        if let Outcome::Deny(denial) = &mut conclusion.outcome {
            denial.name_decision(id);
        }
        let record = draft.record(id, &conclusion.outcome);
        let subject = draft.subject.clone();
        let batch = batch(&draft, &record, &conclusion.outcome);
        for (subject, evidence) in &batch.evidence {
            self.witness(subject, evidence);
        }
        if let Err(error) = self.inner.state.write(batch).await {
            return Err(Error::Storage {
                subject,
                source: StorageError::State(error),
            });
        }
        let described = draft.document.as_ref().map(|(document, _)| Described {
            digest: document.subject.digest,
            media_type: document.media_type.clone(),
            bytes: u64::try_from(document.bytes.len()).unwrap_or(u64::MAX),
        });
        if let Some((document, Origin::Upstream)) = draft.document {
            self.keep_document(document);
        }
        let decision = Arc::new(Decision {
            id,
            subject: subject.clone(),
            outcome: conclusion.outcome,
            described,
            configuration: draft.configuration,
            tags: draft.tags,
            judged_by: draft.judged_by,
            exception: conclusion.exception,
            signed_tags: conclusion.signed_tags,
            looked_at: AtomicI64::new(conclusion.looked_at.as_millisecond()),
            until: conclusion.until,
            endorsement_depth: conclusion.endorsement_depth,
            reused: AtomicU64::new(0),
        });
        if !draft.contents.is_empty() {
            self.keep_contents(draft.contents);
        }
        if let Some(unfinished) = draft.unfinished {
            self.finish_in_background(subject, unfinished);
        }
        self.remember(&decision, &draft.hints, draft.asked.anew)
            .await?;
        self.inner.sink.recorded(&record).await;
        Ok(decision)
    }

    /// Remembers the decision. A refusal is remembered only if no parent came up while it was being made: a refusal for
    /// want of an admitted parent must not outlast that want.
    async fn remember(
        &self,
        decision: &Arc<Decision>,
        hints: &[Digest],
        anew: bool,
    ) -> Result<(), Error> {
        self.forget_refused_children(decision);
        if decision.document().is_none() && self.hints(&decision.subject).await? != hints {
            return Ok(());
        }
        // What was looked for on account of one tag takes nothing from those who ask by another, or for the digest.
        let lacks = |decision: &Decision| {
            let mut signed = decision.signed_tags.iter();
            decision.document().is_none() || signed.any(SignedTags::is_incomplete)
        };
        if anew && lacks(decision) {
            return Ok(());
        }
        if let Some(previous) = self.inner.remembered.get(&decision.subject) {
            self.flush_reuse(&previous);
        }
        self.inner
            .remembered
            .insert(decision.subject.clone(), Arc::clone(decision));
        Ok(())
    }

    /// A refusal for want of an admitted parent must not outlast that want.
    fn forget_refused_children(&self, decision: &Decision) {
        let Some(document) = decision.document() else {
            return;
        };
        for child in document.manifest.children() {
            let subject = Subject {
                repository: decision.subject.repository.clone(),
                digest: child.digest,
            };
            let refused = self
                .inner
                .remembered
                .get(&subject)
                .is_some_and(|decision| decision.document().is_none());
            if refused {
                self.inner.remembered.invalidate(&subject);
            }
        }
    }

    fn keep_document(&self, document: Arc<Document>) {
        let manifests = self.inner.manifests.clone();
        self.inner.tasks.spawn(async move {
            if let Err(error) = manifests.keep(&document).await {
                tracing::warn!(subject = %document.subject, error = &error as &dyn std::error::Error, "Could not keep the manifest");
            }
        });
    }

    /// Writes the pulls that reused remembered decisions to their records.
    ///
    /// # Errors
    /// When the state fails; the pulls are then lost from the counts, never a decision.
    pub async fn flush_counts(&self) -> Result<(), crate::state::Error> {
        let counts: Vec<_> = self
            .inner
            .remembered
            .iter()
            .filter_map(|(_subject, decision)| match decision.take_reuse() {
                0 => None,
                count => Some((decision.id, count)),
            })
            .collect();
        if counts.is_empty() {
            return Ok(());
        }
        self.inner
            .state
            .write(Batch {
                counts,
                ..Batch::default()
            })
            .await
    }

    fn flush_reuse(&self, decision: &Decision) {
        let count = decision.take_reuse();
        if count == 0 {
            return;
        }
        let (state, id) = (self.inner.state.clone(), decision.id);
        self.inner.tasks.spawn(async move {
            let batch = Batch {
                counts: vec![(id, count)],
                ..Batch::default()
            };
            if let Err(error) = state.write(batch).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not write the count of a decision"
                );
            }
        });
    }

    /// Records a refusal that is about no decision of a digest: a client, a host or a blob.
    ///
    /// # Errors
    /// When the state fails.
    pub async fn record_refusal(
        &self,
        repository: &str,
        asked: &Asked,
        denial: &mut Denial,
    ) -> Result<Ulid, crate::state::Error> {
        let id = Ulid::generate();
        denial.name_decision(id);
        let record = Record {
            id,
            time: asked.now,
            replica: self.inner.replica.clone(),
            repository: repository.to_owned(),
            reference: asked.reference.clone(),
            digest: denial.digest,
            previous_digest: None,
            media_type: None,
            decision: decision_log::Outcome::Deny,
            mode: Mode::Enforce,
            basis: None,
            stale: false,
            sources: Vec::new(),
            denial: Some(report(denial)),
            policies: Vec::new(),
            attempts: Vec::new(),
            endorsed_by: None,
            trusted_root: None,
            configuration: self.inner.in_force.policies().hash,
            verifier: env!("CARGO_PKG_VERSION").to_owned(),
            client: asked.client.clone(),
            timing_ms: Timing::default(),
            count: 0,
        };
        self.inner
            .state
            .write(Batch {
                records: vec![record.clone()],
                ..Batch::default()
            })
            .await?;
        self.inner.sink.recorded(&record).await;
        Ok(id)
    }
}

/// What is stored in one transaction with the record.
fn batch(draft: &Draft, record: &Record, outcome: &Outcome) -> Batch {
    let subject = draft.subject.clone();
    let mut batch = Batch {
        records: vec![record.clone()],
        evidence: draft
            .evidence
            .clone()
            .filter(|evidence| !draft.replaces_complete || is_complete(evidence))
            .map(|evidence| (subject.clone(), evidence))
            .into_iter()
            .collect(),
        ..Batch::default()
    };
    if let Some((document, origin)) = &draft.document
        && *origin == Origin::Upstream
    {
        batch.manifests.push(document.row(draft.now));
    }
    if let Outcome::Admit { document, .. } = outcome {
        let children = document.manifest.children().iter();
        let listed = children
            .chain(document.manifest.blobs())
            .map(|listed| listed.digest);
        batch.parents.push((subject, listed.collect()));
    }
    batch
}

fn is_complete(evidence: &Evidence) -> bool {
    evidence
        .sources
        .iter()
        .all(|source| source.report.outcome != SourceOutcome::Failed)
}

fn report(denial: &Denial) -> DenialReport {
    DenialReport {
        kind: denial.kind.as_str().to_owned(),
        message: denial.message.clone(),
    }
}

fn trusted_root(roots: &[Digest]) -> Option<String> {
    let digests: Vec<_> = roots.iter().map(ToString::to_string).collect();
    (!digests.is_empty()).then(|| digests.join(","))
}

impl Spent {
    fn in_milliseconds(&self) -> Timing {
        let milliseconds = |spent: Duration| (spent.as_secs_f64() * 1e6).round() / 1e3;
        Timing {
            upstream: milliseconds(self.upstream),
            discovery: milliseconds(self.discovery),
            keys: milliseconds(self.keys),
            verification: milliseconds(self.verification),
            total: milliseconds(self.total),
        }
    }
}
