//! Getting what a decision is made from: stored evidence where it suffices, and what the upstream has where it does not.

use std::sync::Arc;
use std::time::Instant as Stopwatch;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::time::Instant;

use super::decision::Error;
use super::evaluate::{Evaluation, Finding};
use super::evidence::Gathering;
use super::judge::{Arriving, Basics, Budget};
use super::material::Nature;
use super::recorder::Draft;
use super::{Admission, Asked};
use crate::decision_log::Subject;
use crate::discovery;
use crate::policy::Policy;

impl Admission {
    /// What suffices for a decision: stored evidence, if it is fresh and complete; else what the upstream has now;
    /// else, if that cannot be asked, what is stored after all.
    pub(super) async fn gather(
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
                return Ok(Basics::Evidence(Box::new(stored), None));
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
                    Nature::Material | Nature::Absent => return Ok(Basics::NoneNeeded),
                },
                discovered = &mut discovering => match nature.await {
                    Nature::Ordinary => discovered,
                    Nature::Material | Nature::Absent => return Ok(Basics::NoneNeeded),
                },
            }
        };
        draft.timing.discovery += looking.elapsed();
        Ok(match (stale, discovered) {
            (Some(stored), (discovered, _)) if discovered.unreachable() => {
                draft.stale = true;
                Basics::Evidence(Box::new(stored), None)
            }
            (_, (discovered, evaluation)) => {
                Basics::Evidence(Box::new(discovered), evaluation.map(Box::new))
            }
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
        let mut findings = self.inner.discovery.findings(&request).boxed();
        while let Some(finding) = findings.next().await {
            gathering.add(finding, &self.inner.limits);
            if gathering.unfinished() == 0 {
                continue;
            }
            let evaluation = self.evaluate(subject, &gathering, budget.now, draft);
            if matches!(evaluation.finding, Finding::Satisfied) && evaluation.audit.is_none() {
                draft.evidence = Some(gathering.to_evidence());
                self.keep_artifacts(&gathering);
                let (admission, subject) = (self.clone(), subject.clone());
                let so_far = gathering.clone();
                self.inner.tasks.spawn(async move {
                    admission.finish(subject, so_far, findings).await;
                });
                return (gathering, Some(evaluation));
            }
        }
        self.keep_artifacts(&gathering);
        draft.evidence = Some(gathering.to_evidence());
        (gathering, None)
    }

    /// Takes in what the remaining sources have, and keeps all of it as evidence.
    async fn finish(
        &self,
        subject: Subject,
        mut gathering: Gathering,
        mut findings: BoxStream<'static, discovery::Finding>,
    ) {
        while let Some(finding) = findings.next().await {
            gathering.add(finding, &self.inner.limits);
        }
        self.keep_artifacts(&gathering);
        self.keep_evidence(&subject, &gathering).await;
    }

    /// Looks for an endorsed manifest's own signatures after it was admitted, so that a change of policy can decide
    /// about it without asking the upstream. Once per digest: what is stored is not looked for again.
    pub(super) fn look_in_background(&self, subject: &Subject, now: Timestamp) {
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
            let findings = admission.inner.discovery.findings(&request);
            admission.finish(subject, gathering, findings.boxed()).await;
        });
    }
}
