//! Making one decision: endorsement, then evidence, then discovery; recorded before anybody learns of it.

use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::time::Instant;

use super::decision::{Decision, Error, Outcome};
use super::denial::Denial;
use super::endorsement::Endorsement;
use super::evaluate::{self, Evaluation, Finding, Known};
use super::evidence::Gathering;
use super::material::Nature;
use super::recorder::Draft;
use super::{Admission, Asked, REFUSAL_MEMORY, UNAVAILABLE_MEMORY};
use crate::decision_log::{Basis, Subject};
use crate::discovery;
use crate::manifests::{self, Document, Origin};
use crate::policy::Policy;

/// The manifest, on its way while signatures are looked for.
type Arriving<'a> = Shared<BoxFuture<'a, Result<(Arc<Document>, Origin), Arc<manifests::Error>>>>;

/// What was concluded, before it is recorded.
pub(super) struct Conclusion {
    pub(super) outcome: Outcome,
    pub(super) until: Timestamp,
    pub(super) endorsement_depth: usize,
}

/// What signatures are judged by.
enum Basics {
    /// Nothing needs to be judged: the manifest is signature material, or does not arrive.
    NoneNeeded(Nature),
    /// This, and its evaluation where it is already made.
    Evidence(Gathering, Option<Evaluation>),
}

/// The time budget of one decision.
#[derive(Debug, Clone, Copy)]
struct Budget {
    now: Timestamp,
    deadline: Instant,
    started: Stopwatch,
}

impl Admission {
    pub(super) async fn judge(
        self,
        subject: Subject,
        given: Option<Arc<Document>>,
        asked: Asked,
    ) -> Result<Arc<Decision>, Arc<Error>> {
        let budget = Budget {
            now: asked.now,
            deadline: Instant::now() + self.inner.limits.decision_time_max,
            started: Stopwatch::now(),
        };
        // Somebody may have decided between the caller's look and this task.
        if let Some(decision) = self.remembered(&subject, budget.now) {
            return Ok(decision);
        }
        let mut draft = Draft::new(&self.inner, &subject, &asked, budget.now);
        let conclusion = self
            .conclude(&subject, given, &asked, budget, &mut draft)
            .await
            .map_err(Arc::new)?;
        draft.timing.total = budget.started.elapsed();
        self.record(draft, conclusion).await.map_err(Arc::new)
    }

    async fn conclude(
        &self,
        subject: &Subject,
        given: Option<Arc<Document>>,
        asked: &Asked,
        budget: Budget,
        draft: &mut Draft,
    ) -> Result<Conclusion, Error> {
        if let Some(denial) = self.refused_unseen(subject) {
            return Ok(refuse(denial, budget.now));
        }
        let arriving: Arriving<'_> = self.arriving(subject, given, budget.deadline).shared();
        // Endorsement first: it costs no look-up of signatures, and most manifests are children of an index.
        let endorsement = self.endorsement(subject, asked).await?;
        if let Some(endorsement) = endorsement {
            match self.arrived(subject, &arriving, draft).await? {
                Err(denial) => return Ok(refuse_for(denial, UNAVAILABLE_MEMORY, budget.now)),
                Ok(document) => {
                    if endorsement.covers(&document) {
                        self.look_in_background(subject, budget.now);
                        return Ok(endorsement.admit(document, draft));
                    }
                }
            }
        }
        let policies = Arc::clone(&self.inner.policies);
        let matching: Vec<_> = policies.matching(&subject.repository).cloned().collect();
        let basics = self
            .gather(subject, &matching, asked, &arriving, budget, draft)
            .await?;
        let document = match self.arrived(subject, &arriving, draft).await? {
            // What is broken now may be mended the next moment, and nothing was stored.
            Err(denial) => return Ok(refuse_for(denial, UNAVAILABLE_MEMORY, budget.now)),
            Ok(document) => document,
        };
        Ok(match basics {
            Basics::NoneNeeded(_) => self.admit_material(document, budget, draft),
            Basics::Evidence(gathering, evaluation) => {
                let evaluation = evaluation
                    .unwrap_or_else(|| self.evaluate(subject, &gathering, budget.now, draft));
                self.conclude_from(subject, document, evaluation, &gathering, budget, draft)
            }
        })
    }

    /// What is refused without asking anybody: revoked digests, and names nobody wrote a policy for.
    fn refused_unseen(&self, subject: &Subject) -> Option<Denial> {
        let policies = &self.inner.policies;
        if policies.revoked.digests.contains(&subject.digest) {
            return Some(evaluate::revoked_digest(subject));
        }
        self.covers(&subject.repository).err().map(|mut denial| {
            denial.digest = Some(subject.digest);
            denial
        })
    }

    fn arriving<'a>(
        &'a self,
        subject: &'a Subject,
        given: Option<Arc<Document>>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(Arc<Document>, Origin), Arc<manifests::Error>>> {
        async move {
            match given {
                Some(document) => Ok((document, Origin::Upstream)),
                None => self
                    .inner
                    .manifests
                    .local_or_fetch(subject, deadline)
                    .await
                    .map_err(Arc::new),
            }
        }
        .boxed()
    }

    /// The manifest itself, or the refusal of a broken one.
    async fn arrived(
        &self,
        subject: &Subject,
        arriving: &Arriving<'_>,
        draft: &mut Draft,
    ) -> Result<Result<Arc<Document>, Denial>, Error> {
        let waiting = Stopwatch::now();
        let arrived = arriving.clone().await;
        draft.timing.upstream += waiting.elapsed();
        match arrived {
            Ok((document, origin)) => {
                draft.document(&document, origin);
                Ok(Ok(document))
            }
            Err(error) => Error::from_manifests(subject, &error).map(Err),
        }
    }

    /// What suffices for a decision: stored evidence, if it is fresh and complete; else what the upstream has now;
    /// else, if that cannot be asked, what is stored after all.
    async fn gather(
        &self,
        subject: &Subject,
        matching: &[Arc<Policy>],
        asked: &Asked,
        arriving: &Arriving<'_>,
        mut budget: Budget,
        draft: &mut Draft,
    ) -> Result<Basics, Error> {
        let stored = self.stored_evidence(subject).await?;
        let stored = match stored {
            Some(stored) if self.suffices(&stored, subject, matching, budget.now) => {
                let evaluation = self.evaluate(subject, &stored, budget.now, draft);
                if evaluation.is_satisfied() {
                    return Ok(Basics::Evidence(stored, Some(evaluation)));
                }
                // Signature material may have evidence of its own, which need not satisfy anybody.
                let nature = self.nature(subject, asked, arriving.clone(), budget.deadline);
                return Ok(match nature.await {
                    Nature::Ordinary => Basics::Evidence(stored, Some(evaluation)),
                    nature @ (Nature::Material | Nature::Absent) => Basics::NoneNeeded(nature),
                });
            }
            other => other,
        };
        let stale_for = self.inner.freshness.stale_for;
        let stale = stored.filter(|stored| stored.age(budget.now) <= stale_for);
        if stale.is_some() {
            let earlier = Instant::now() + self.inner.limits.stale_decision_time_max;
            budget.deadline = budget.deadline.min(earlier);
        }
        let looking = Stopwatch::now();
        let discovered = {
            let nature = self.nature(subject, asked, arriving.clone(), budget.deadline);
            let discovering = self.discover(subject, matching, budget, draft);
            tokio::pin!(nature, discovering);
            tokio::select! {
                biased;
                nature = &mut nature => match nature {
                    Nature::Ordinary => discovering.await,
                    Nature::Material | Nature::Absent => return Ok(Basics::NoneNeeded(nature)),
                },
                discovered = &mut discovering => match nature.await {
                    Nature::Ordinary => discovered,
                    nature @ (Nature::Material | Nature::Absent) => return Ok(Basics::NoneNeeded(nature)),
                },
            }
        };
        draft.timing.discovery += looking.elapsed();
        Ok(match (stale, discovered) {
            (Some(stored), (discovered, _)) if discovered.unreachable() => {
                draft.stale = true;
                Basics::Evidence(stored, None)
            }
            (_, (discovered, evaluation)) => Basics::Evidence(discovered, evaluation),
        })
    }

    /// Asks all sources. Ends as soon as what was found satisfies every policy; the rest is then listed in the
    /// background, so that the evidence is complete next time.
    async fn discover(
        &self,
        subject: &Subject,
        matching: &[Arc<Policy>],
        budget: Budget,
        draft: &mut Draft,
    ) -> (Gathering, Option<Evaluation>) {
        let request = self.discovery_request(subject, matching, budget.deadline);
        let mut gathering = Gathering::begin(&request, budget.now);
        let mut findings = self.inner.discovery.findings(request).boxed();
        while let Some(finding) = findings.next().await {
            gathering.add(finding, &self.inner.limits);
            if gathering.unfinished() == 0 {
                continue;
            }
            let evaluation = self.evaluate(subject, &gathering, budget.now, draft);
            if evaluation.is_satisfied() {
                draft.evidence = Some(gathering.to_evidence());
                self.keep_artifacts(&gathering);
                let (admission, subject) = (self.clone(), subject.clone());
                let so_far = gathering.clone();
                let recorded = draft.when_recorded();
                self.inner.tasks.spawn(async move {
                    let all = admission.rest(so_far, findings).await;
                    // What is recorded with the decision is incomplete, and must not replace this.
                    recorded.await;
                    admission.keep_evidence(&subject, &all).await;
                });
                return (gathering, Some(evaluation));
            }
        }
        self.keep_artifacts(&gathering);
        draft.evidence = Some(gathering.to_evidence());
        (gathering, None)
    }

    /// Takes in what the remaining sources have, and keeps its bytes.
    async fn rest(
        &self,
        mut gathering: Gathering,
        mut findings: BoxStream<'static, discovery::Finding>,
    ) -> Gathering {
        while let Some(finding) = findings.next().await {
            gathering.add(finding, &self.inner.limits);
        }
        self.keep_artifacts(&gathering);
        gathering
    }

    /// Looks for an endorsed manifest's own signatures after it was admitted, so that a change of policy can decide
    /// about it without asking the upstream. Once per digest: what is stored is not looked for again.
    fn look_in_background(&self, subject: &Subject, now: Timestamp) {
        let (admission, subject) = (self.clone(), subject.clone());
        self.inner.tasks.spawn(async move {
            if !matches!(admission.stored_evidence(&subject).await, Ok(None)) {
                return;
            }
            let policies = Arc::clone(&admission.inner.policies);
            let matching: Vec<_> = policies.matching(&subject.repository).cloned().collect();
            let deadline = Instant::now() + admission.inner.limits.decision_time_max;
            let request = admission.discovery_request(&subject, &matching, deadline);
            let gathering = Gathering::begin(&request, now);
            let findings = admission.inner.discovery.findings(request);
            let all = admission.rest(gathering, findings.boxed()).await;
            admission.keep_evidence(&subject, &all).await;
        });
    }

    fn evaluate(
        &self,
        subject: &Subject,
        gathering: &Gathering,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Evaluation {
        let verifying = Stopwatch::now();
        let failed_sources = gathering.failed_sources();
        let known = Known {
            candidates: gathering.candidates(),
            failed_sources: &failed_sources,
            limit_exceeded: gathering.limit_exceeded(),
        };
        let evaluation = evaluate::evaluate(
            subject,
            &self.inner.policies,
            &known,
            &self.inner.limits,
            now,
        );
        draft.timing.verification += verifying.elapsed();
        evaluation
    }

    fn conclude_from(
        &self,
        subject: &Subject,
        document: Arc<Document>,
        mut evaluation: Evaluation,
        gathering: &Gathering,
        budget: Budget,
        draft: &mut Draft,
    ) -> Conclusion {
        draft.sources = gathering.reports();
        draft.take_evaluation(&mut evaluation);
        let Evaluation {
            finding,
            audit,
            valid_until,
            ..
        } = evaluation;
        let outcome = match finding {
            Finding::Satisfied => Outcome::Admit {
                basis: audit.as_ref().map_or(Basis::Signature, |_| Basis::Audit),
                document,
                warning: audit,
            },
            Finding::Refused(denial) => return refuse(denial, budget.now),
            Finding::Undecided { missing } => return undecided(subject, &missing, budget.now),
        };
        let audited = matches!(
            &outcome,
            Outcome::Admit {
                warning: Some(_),
                ..
            }
        );
        let fresh_until = if draft.stale || audited || !gathering.is_complete() {
            later(budget.now, REFUSAL_MEMORY)
        } else {
            later(
                gathering.discovered_at(),
                self.inner.freshness.reverify_after,
            )
        };
        Conclusion {
            outcome,
            until: valid_until.map_or(fresh_until, |until| until.min(fresh_until)),
            endorsement_depth: 0,
        }
    }

    fn admit_material(
        &self,
        document: Arc<Document>,
        budget: Budget,
        draft: &mut Draft,
    ) -> Conclusion {
        draft.policies_unasked(&self.inner.policies);
        Conclusion {
            outcome: Outcome::Admit {
                basis: Basis::SignatureArtifact,
                document,
                warning: None,
            },
            until: later(budget.now, self.inner.freshness.reverify_after),
            endorsement_depth: 0,
        }
    }
}

impl Endorsement {
    fn admit(self, document: Arc<Document>, draft: &mut Draft) -> Conclusion {
        draft.endorsed_by = Some(self.parent().subject.digest);
        Conclusion {
            until: self.parent().until,
            endorsement_depth: self.parent().endorsement_depth + 1,
            outcome: Outcome::Admit {
                basis: Basis::Endorsement,
                document,
                warning: None,
            },
        }
    }
}

fn refuse(denial: Denial, now: Timestamp) -> Conclusion {
    refuse_for(denial, REFUSAL_MEMORY, now)
}

fn refuse_for(denial: Denial, memory: Duration, now: Timestamp) -> Conclusion {
    Conclusion {
        outcome: Outcome::Deny(denial),
        until: later(now, memory),
        endorsement_depth: 0,
    }
}

fn undecided(subject: &Subject, missing: &str, now: Timestamp) -> Conclusion {
    Conclusion {
        outcome: Outcome::Unavailable {
            missing: format!("{subject} cannot be decided: {missing}"),
            retry_after: UNAVAILABLE_MEMORY,
        },
        until: later(now, UNAVAILABLE_MEMORY),
        endorsement_depth: 0,
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
