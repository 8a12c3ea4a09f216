//! Recording a decision: durable first, then remembered, then told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use ulid::Ulid;

use super::conclusion::Conclusion;
use super::decision::{Decision, Described, Error, Outcome, StorageError};
use super::denial::Denial;
use super::draft::Draft;
use super::evaluate::SignedTags;
use super::validity::Validity;
use super::{Admission, Asked};
use crate::decision_log::{self, Basis, DenialReport, Entry, Mode, Record, Subject, Timing};
use crate::manifests::{Document, Origin};
use crate::oci::Digest;
use crate::state::Batch;

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
        let batch = draft.batch(&record, &conclusion.outcome);
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
            media_type: document.media_type.to_owned(),
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
            validity: Validity::new(draft.now, draft.began, conclusion.until),
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
        if let Some(document) = decision.document() {
            document.hold.release();
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

    pub(super) fn flush_reuse(&self, decision: &Decision) {
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

    /// Records a refusal that is about no decision of a digest: a client, a host, a tag or a blob.
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
        let refused = (decision_log::Outcome::Deny, Mode::Enforce, None);
        self.record_denial(
            id,
            repository,
            asked,
            denial.digest,
            report(denial),
            refused,
        )
        .await?;
        Ok(id)
    }

    /// Records that a tag is served which `denial` refuses, by an exception.
    ///
    /// # Errors
    /// When the state fails.
    pub(super) async fn record_exception(
        &self,
        repository: &str,
        asked: &Asked,
        denial: &mut Denial,
    ) -> Result<Ulid, crate::state::Error> {
        let served = (
            decision_log::Outcome::Admit,
            Mode::Audit,
            Some(Basis::Audit),
        );
        let id = Ulid::generate();
        denial.name_decision(id);
        self.record_denial(id, repository, asked, denial.digest, report(denial), served)
            .await?;
        Ok(id)
    }

    /// Records that nothing could be decided about a reference of which no digest is known.
    ///
    /// # Errors
    /// When the state fails.
    pub async fn record_unavailable(
        &self,
        repository: &str,
        asked: &Asked,
        missing: &str,
    ) -> Result<Ulid, crate::state::Error> {
        let id = Ulid::generate();
        let report = DenialReport {
            kind: "unavailable".to_owned(),
            message: missing.to_owned(),
        };
        let undecided = (decision_log::Outcome::Unavailable, Mode::Enforce, None);
        self.record_denial(id, repository, asked, None, report, undecided)
            .await?;
        Ok(id)
    }

    async fn record_denial(
        &self,
        id: Ulid,
        repository: &str,
        asked: &Asked,
        digest: Option<Digest>,
        denial: DenialReport,
        (decision, mode, basis): (decision_log::Outcome, Mode, Option<Basis>),
    ) -> Result<(), crate::state::Error> {
        let record = Entry::new(Record {
            id,
            time: asked.now,
            replica: self.inner.replica.clone(),
            repository: repository.to_owned(),
            reference: asked.reference.clone(),
            digest,
            previous_digest: None,
            media_type: None,
            decision,
            mode,
            basis,
            stale: false,
            sources: Vec::new(),
            denial: Some(denial),
            policies: Vec::new(),
            attempts: Vec::new(),
            left_out: 0,
            endorsed_by: None,
            trusted_root: None,
            configuration: self.inner.in_force.policies().hash,
            verifier: env!("CARGO_PKG_VERSION").to_owned(),
            client: asked.client.clone(),
            clients: Record::first_client(decision, &asked.client, asked.now),
            timing_ms: Timing::default(),
            count: 0,
        });
        let mut batch = Batch::default();
        // Content that an exception serves is recorded as a decision.
        match decision {
            decision_log::Outcome::Admit => batch.records.push(record.clone()),
            decision_log::Outcome::Deny | decision_log::Outcome::Unavailable => {
                batch.refusals.push(record.clone());
            }
        }
        self.inner.state.write(batch).await?;
        self.inner.sink.recorded(&record).await;
        Ok(())
    }
}

pub(super) fn report(denial: &Denial) -> DenialReport {
    DenialReport {
        kind: denial.kind.as_str().to_owned(),
        message: denial.message.to_string(),
    }
}
