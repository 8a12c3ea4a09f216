//! Getting what a decision is made from: stored evidence where it suffices, and what the upstream has where it does not.

use std::sync::Arc;
use std::time::Instant as Stopwatch;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::time::Instant;

use super::decision::Error;
use super::draft::{Draft, Unfinished};
use super::evaluate::Evaluation;
use super::evidence::Gathering;
use super::judge::{Arriving, Basics, Terms};
use super::material::Nature;
use super::{Admission, Reliance};
use crate::decision_log::Subject;
use crate::policy::Policy;
use crate::shares::{Behalf, Late, Party, Patience};

impl Admission {
    /// What suffices for a decision: stored evidence, if it is fresh and complete; else what the upstream has now;
    /// else, if that cannot be asked, what is stored after all.
    pub(super) async fn gather(
        &self,
        subject: &Subject,
        matching: &[Arc<Policy>],
        arriving: &Arriving<'_>,
        terms: Terms,
        draft: &mut Draft,
    ) -> Result<Basics, Error> {
        let request = self.discovery_request(subject, matching, terms.deadline);
        let stored = self.stored_evidence(subject).await?;
        let stored = match self.inner.reliance {
            Reliance::Recorded => stored.map(|stored| stored.extended_to(&request)),
            Reliance::Fresh => stored.filter(|stored| stored.covers(&request)),
        };
        let stored = match stored {
            Some(stored)
                if !draft.is_anew() && self.suffices(&stored, subject, matching, terms.now) =>
            {
                if !stored.was_cut_for_another(&request) {
                    return Ok(Basics::evidence(stored, None, Nature::Unchecked));
                }
                let evaluation = self.evaluate(subject, &stored, &terms, draft).await?;
                if evaluation.is_satisfied() && evaluation.signed_tags.is_empty() {
                    let nature = Nature::Unchecked;
                    return Ok(Basics::evidence(stored, Some(evaluation), nature));
                }
                Some(stored)
            }
            other => other,
        };
        draft.replaces_complete = stored.as_ref().is_some_and(Gathering::is_complete);
        let stored = stored.map(|stored| stored.doubted_for(&request));
        let stale_for = self.inner.freshness.stale_for;
        let stale = stored.filter(|stored| stored.age(terms.now) <= stale_for);
        let time_max = self.inner.limits.stale_decision_time_max;
        let patience = stale
            .as_ref()
            .map(|_| Patience::new(Behalf::current(), time_max));
        let looking = Stopwatch::now();
        let (nature, discovered) = {
            let nature_by = match &patience {
                Some(_) => terms.deadline.min(Instant::now() + time_max),
                None => terms.deadline,
            };
            let nature = self.image_nature(subject, arriving.clone(), nature_by);
            let discovering = self.discover(subject, matching, &terms, patience.as_ref(), draft);
            tokio::pin!(nature, discovering);
            tokio::select! {
                biased;
                nature = &mut nature => match nature {
                    Nature::Material | Nature::Absent => return Ok(Basics::NoneNeeded(nature)),
                    nature @ (Nature::Ordinary | Nature::Unchecked | Nature::Unknown) => (nature, discovering.await?),
                },
                discovered = &mut discovering => match nature.await {
                    nature @ (Nature::Material | Nature::Absent) => return Ok(Basics::NoneNeeded(nature)),
                    nature @ (Nature::Ordinary | Nature::Unchecked | Nature::Unknown) => (nature, discovered?),
                },
            }
        };
        draft.timing.discovery += looking.elapsed();
        match self.inner.reliance {
            // Nobody was asked, so nothing was learnt.
            Reliance::Recorded => draft.evidence = None,
            Reliance::Fresh => {}
        }
        Ok(match (stale, discovered) {
            (Some(stored), (discovered, _)) if discovered.unreachable() => {
                draft.stale = true;
                // What was not found while nobody answered must not replace what was found before.
                draft.evidence = None;
                Basics::evidence(stored, None, nature)
            }
            (_, (discovered, evaluation)) => Basics::evidence(discovered, evaluation, nature),
        })
    }

    /// Asks all sources. Ends as soon as what was found satisfies every policy; the rest is then listed in the
    /// background, once the decision is recorded, so that the evidence is complete next time. The same happens to sources
    /// that have not ended when `patience` does, where stale evidence may serve instead.
    async fn discover(
        &self,
        subject: &Subject,
        matching: &[Arc<Policy>],
        terms: &Terms,
        patience: Option<&Patience>,
        draft: &mut Draft,
    ) -> Result<(Gathering, Option<Evaluation>), Error> {
        let request = self.discovery_request(subject, matching, terms.deadline);
        let mut gathering = Gathering::begin(&request, terms.now);
        let mut findings = self.inner.discovery.findings(&request).boxed();
        loop {
            let finding = match patience {
                Some(patience) => patience.wait_for(findings.next()).await,
                None => Ok(findings.next().await),
            };
            let finding = match finding {
                Ok(Some(finding)) => finding,
                Ok(None) => break,
                Err(Late) => {
                    let late = gathering.clone().end_late();
                    draft.evidence = Some(late.to_evidence());
                    draft.unfinished = Some(Unfinished {
                        gathering,
                        findings,
                        is_behind_stale: true,
                    });
                    return Ok((late, None));
                }
            };
            gathering.add(finding, &self.inner.limits);
            if gathering.unfinished() == 0 {
                continue;
            }
            let evaluation = self.evaluate(subject, &gathering, terms, draft).await?;
            // Which tags were signed is known when all signatures are.
            if evaluation.is_satisfied() && evaluation.signed_tags.is_empty() {
                draft.unfinished = Some(Unfinished {
                    gathering: gathering.clone(),
                    findings,
                    is_behind_stale: false,
                });
                draft.evidence = Some(gathering.to_evidence());
                return Ok((gathering, Some(evaluation)));
            }
        }
        draft.contents = gathering.contents();
        draft.evidence = Some(gathering.to_evidence());
        Ok((gathering, None))
    }

    /// Takes in what the remaining sources have, and keeps all of it as evidence.
    pub(super) fn finish_in_background(&self, subject: Subject, unfinished: Unfinished) {
        let Unfinished {
            mut gathering,
            mut findings,
            is_behind_stale,
        } = unfinished;
        let admission = self.clone();
        self.inner.tasks.spawn(Party::current().scope(async move {
            while let Some(finding) = findings.next().await {
                gathering.add(finding, &admission.inner.limits);
            }
            if is_behind_stale && gathering.unreachable() {
                // The absence of an answer must not replace the evidence that was found before.
                return;
            }
            admission.keep_contents(gathering.contents());
            admission.keep_evidence(&subject, &gathering).await;
        }));
    }

    /// Looks for an endorsed manifest's own signatures after it was admitted, so that a change of policy can decide
    /// about it without asking the upstream. Complete evidence is not looked for again, and in a replay none is.
    pub(super) fn look_in_background(&self, subject: &Subject, now: Timestamp) {
        match self.inner.reliance {
            Reliance::Recorded => return,
            Reliance::Fresh => {}
        }
        let (admission, subject) = (self.clone(), subject.clone());
        self.inner.tasks.spawn(Party::current().scope(async move {
            match admission.stored_evidence(&subject).await {
                Ok(Some(stored)) if stored.is_complete() => return,
                Ok(_) => {}
                Err(_storage_failed) => return,
            }
            let matching = admission.covering(&subject.repository);
            let deadline = Instant::now() + admission.inner.limits.decision_time_max;
            let request = admission.discovery_request(&subject, &matching, deadline);
            let unfinished = Unfinished {
                gathering: Gathering::begin(&request, now),
                findings: admission.inner.discovery.findings(&request).boxed(),
                is_behind_stale: false,
            };
            admission.finish_in_background(subject, unfinished);
        }));
    }
}

/// Findings as they come.
pub(super) type Findings = BoxStream<'static, crate::discovery::Finding>;
