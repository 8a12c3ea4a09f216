//! A record in the making.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;
use ulid::Ulid;

use super::decision::Outcome;
use super::evaluate::Evaluation;
use super::evidence::Gathering;
use super::gather::Findings;
use super::judge::Terms;
use super::recorder::report;
use super::{Asked, Inner};
use crate::decision_log::{
    self, AttemptReport, Basis, DenialReport, Entry, Mode, PolicyReport, Record, SourceOutcome,
    SourceReport, Subject, Timing,
};
use crate::manifests::{Document, Origin};
use crate::oci::Digest;
use crate::policy::Tags;
use crate::state::{Batch, Evidence};

/// A record in the making, and what is stored together with it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) subject: Subject,
    pub(super) asked: Asked,
    pub(super) now: Timestamp,
    /// The moment of `now`.
    pub(super) began: Instant,
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
    /// See [`Decision`](super::decision::Decision).
    pub(super) tags: Vec<(Subject, Option<Tags>)>,
    /// See [`Decision`](super::decision::Decision).
    pub(super) judged_by: Vec<Digest>,
    pub(super) timing: Spent,
    policies: Vec<PolicyReport>,
    attempts: Vec<AttemptReport>,
    trusted_roots: Vec<Digest>,
    pub(super) document: Option<(Arc<Document>, Origin)>,
}

/// What was gathered so far, and what is still to come.
pub(super) struct Unfinished {
    pub(super) gathering: Gathering,
    pub(super) findings: Findings,
    /// True if stale evidence may have served because the sources are slow.
    pub(super) is_behind_stale: bool,
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
            began: Instant::from_std(terms.started),
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

    /// The record of the decision `id`.
    pub(super) fn record(&self, id: Ulid, outcome: &Outcome) -> Entry {
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
        Entry::new(Record {
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
                .map(|(document, _)| document.media_type.to_owned()),
            decision,
            mode,
            basis,
            stale: self.stale,
            sources: self.sources.clone(),
            denial,
            policies: self.policies.clone(),
            attempts: self.attempts.clone(),
            left_out: 0,
            endorsed_by: self.endorsed_by,
            trusted_root: trusted_root(&self.trusted_roots),
            configuration: self.configuration,
            verifier: env!("CARGO_PKG_VERSION").to_owned(),
            client: self.asked.client.clone(),
            clients: Record::first_client(decision, &self.asked.client, self.asked.now),
            timing_ms: self.timing.in_milliseconds(),
            count: 0,
        })
    }

    /// What is stored in one transaction with the record.
    pub(super) fn batch(&self, record: &Entry, outcome: &Outcome) -> Batch {
        let subject = self.subject.clone();
        let mut batch = Batch {
            records: vec![record.clone()],
            evidence: self
                .evidence
                .clone()
                .filter(|evidence| !self.replaces_complete || is_complete(evidence))
                .map(|evidence| (subject.clone(), evidence))
                .into_iter()
                .collect(),
            ..Batch::default()
        };
        if let Some((document, origin)) = &self.document
            && *origin == Origin::Upstream
        {
            batch.manifests.push(document.row(self.now));
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
}

fn is_complete(evidence: &Evidence) -> bool {
    evidence
        .sources
        .iter()
        .all(|source| source.report.outcome != SourceOutcome::Failed)
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
