//! Making one decision: endorsement, then evidence, then discovery; recorded before anybody learns of it.

use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use futures::future::{BoxFuture, FutureExt, Shared};
use jiff::Timestamp;
use tokio::time::Instant;

use super::asked_tags::OwnTags;
use super::conclusion::{Conclusion, refuse, refuse_for, undecided};
use super::decision::{Decision, Error};
use super::denial::Denial;
use super::draft::Draft;
use super::endorsement::{Endorsement, Parents};
use super::evaluate::{self, Evaluation, Finding, Known, Verdicts};
use super::evidence::Gathering;
use super::material::Nature;
use super::{Admission, Asked, Reliance, UNAVAILABLE_MEMORY};
use crate::compute;
use crate::decision_log::Subject;
use crate::limits::Limits;
use crate::manifests::{self, Document, Origin};
use crate::policy::{Policies, Policy, Quantifier, Tags};

/// How long a refusal waits for a key service to say whether a key has a newer version.
const NEWER_KEYS_WAIT: Duration = Duration::from_secs(2);

/// The manifest, on its way while signatures are looked for.
pub(super) type Arriving<'a> = Shared<BoxFuture<'a, Arrived>>;

/// The manifest and where it came from, or why it does not come.
type Arrived = Result<(Arc<Document>, Origin), Arc<manifests::Error>>;

/// What signatures are judged by.
pub(super) enum Basics {
    /// Nothing: the manifest is signature material, or does not arrive.
    NoneNeeded(Nature),
    /// This, its evaluation where it is already made, and whether the manifest may be material itself.
    Evidence(Box<Gathering>, Option<Box<Evaluation>>, Nature),
}

impl Basics {
    pub(super) fn evidence(
        gathering: Gathering,
        evaluation: Option<Evaluation>,
        nature: Nature,
    ) -> Self {
        Self::Evidence(Box::new(gathering), evaluation.map(Box::new), nature)
    }
}

/// The terms of one decision: the policies it is made under, and the time it has.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) policies: Arc<Policies>,
    /// The tags through which the digest was asked for.
    pub(super) tags: Tags,
    /// The tags by which the digest is known, whether or not they count.
    pub(super) own_tags: OwnTags,
    pub(super) now: Timestamp,
    pub(super) deadline: Instant,
    pub(super) started: Stopwatch,
    /// The answers of conditions so far.
    pub(super) verdicts: Arc<Verdicts>,
}

impl Admission {
    pub(super) async fn judge(
        self,
        policies: Arc<Policies>,
        subject: Subject,
        given: Option<Arc<Document>>,
        asked: Asked,
        deadline: Instant,
    ) -> Result<Arc<Decision>, Arc<Error>> {
        // Somebody may have decided between the caller's look and this task.
        let remembered = self.remembered(&subject, asked.now);
        let holds = |it: &Arc<Decision>| {
            it.configuration == policies.hash && !(asked.anew && it.may_look_again(asked.now))
        };
        if let Some(decision) = remembered.filter(holds) {
            return Ok(decision);
        }
        let may_be_absent = given.is_none() && !asked.anew;
        if let Some(name_unknown) = self.inner.absent.get(&subject).filter(|_| may_be_absent) {
            return Err(Arc::new(Error::NotFound(subject, name_unknown)));
        }
        let mut seen = Vec::new();
        let mut tags = Tags::default();
        let mut own_tags = OwnTags::None;
        if policies.are_about_tags() {
            let known = self.own_tags(&subject, &asked).await;
            own_tags = known.map_err(|source| storage(&subject, source))?;
            let found = self.tags_that_count(&subject).await;
            let (counting, own) = found.map_err(|source| storage(&subject, source))?;
            seen.push((subject.clone(), own));
            tags = counting;
        }
        let terms = Terms {
            policies,
            tags,
            own_tags,
            now: asked.now,
            deadline,
            started: Stopwatch::now(),
            verdicts: Arc::new(Verdicts::new(&self.inner.limits)),
        };
        let mut draft = Draft::new(&self.inner, &subject, &asked, &terms);
        draft.tags = seen;
        let concluded = self
            .conclude(&subject, given, &asked, terms.clone(), &mut draft)
            .await;
        match &concluded {
            Err(Error::NotFound(absent, name_unknown)) => {
                self.inner.absent.insert(absent.clone(), *name_unknown);
            }
            Ok(_) => self.inner.absent.invalidate(&subject),
            Err(_) => {}
        }
        let conclusion = concluded.map_err(Arc::new)?;
        draft.timing.total = terms.started.elapsed();
        self.record(draft, conclusion).await.map_err(Arc::new)
    }

    async fn conclude(
        &self,
        subject: &Subject,
        given: Option<Arc<Document>>,
        asked: &Asked,
        mut terms: Terms,
        draft: &mut Draft,
    ) -> Result<Conclusion, Error> {
        if let Some(denial) = self.refused_unseen(subject, &terms.policies) {
            return Ok(refuse(denial, terms.now));
        }
        let arriving: Arriving<'_> = self.arriving(subject, given, terms.deadline).shared();
        // Endorsement first: it costs no look-up of signatures, and most manifests are children of an index.
        let parents = self.parents(subject, asked, &arriving, &terms).await?;
        draft.hints.clone_from(&parents.hints);
        if !parents.endorsements.is_empty() {
            match self.arrived(subject, &arriving, draft).await? {
                Err(denial) => return Ok(refuse_for(denial, UNAVAILABLE_MEMORY, terms.now)),
                Ok(document) => {
                    let mut endorsements = parents.endorsements.iter();
                    if let Some(endorsement) = endorsements.find(|one| one.covers(&document)) {
                        if asked.anew {
                            let endorsed = (endorsement, document);
                            return self
                                .conclude_by_own(subject, endorsed, &arriving, terms, draft)
                                .await;
                        }
                        self.look_in_background(subject, terms.now);
                        return Ok(endorsement.admit(document, &terms, draft));
                    }
                }
            }
        }
        let mut until_max = Timestamp::MAX;
        let has_no_tags = matches!(terms.own_tags, OwnTags::None);
        if terms.policies.are_about_tags() && has_no_tags && !parents.audited.is_empty() {
            let document = match self.arrived(subject, &arriving, draft).await? {
                Err(denial) => return Ok(refuse_for(denial, UNAVAILABLE_MEMORY, terms.now)),
                Ok(document) => document,
            };
            if let Some(audited) = parents.audited.iter().find(|one| one.covers(&document)) {
                until_max = self.take_tags_of(audited, &mut terms, draft).await?;
            }
        }
        let matching: Vec<_> = terms.matching(subject);
        let basics = self
            .gather(subject, &matching, &arriving, terms.clone(), draft)
            .await?;
        let document = match self.arrived(subject, &arriving, draft).await? {
            // What is broken now may be mended the next moment, and nothing was stored.
            Err(denial) => return Ok(refuse_for(denial, UNAVAILABLE_MEMORY, terms.now)),
            Ok(document) => document,
        };
        let mut conclusion = self
            .conclude_by(subject, document, basics, parents, terms, draft)
            .await?;
        conclusion.until = conclusion.until.min(until_max);
        Ok(conclusion)
    }

    /// What has no tags of its own is decided under the tags of the index that lists it, or no platform of an image could
    /// be pulled whose tags are only audited. Until when that holds.
    async fn take_tags_of(
        &self,
        audited: &Endorsement,
        terms: &mut Terms,
        draft: &mut Draft,
    ) -> Result<Timestamp, Error> {
        let parent = audited.parent();
        let found = self.tags_that_count(&parent.subject).await;
        let (counting, _own) = found.map_err(|source| Error::Storage {
            subject: parent.subject.clone(),
            source: source.into(),
        })?;
        terms.tags = counting;
        draft.tags.extend(parent.tags.iter().cloned());
        Ok(parent.validity.until())
    }

    /// The conclusion about an endorsed manifest that is asked for by a tag of its own: an endorsement is for no tag, its
    /// own signatures may be.
    async fn conclude_by_own(
        &self,
        subject: &Subject,
        (endorsement, document): (&Endorsement, Arc<Document>),
        arriving: &Arriving<'_>,
        terms: Terms,
        draft: &mut Draft,
    ) -> Result<Conclusion, Error> {
        let matching: Vec<_> = terms.matching(subject);
        let basics = self
            .gather(subject, &matching, arriving, terms.clone(), draft)
            .await?;
        if let Basics::Evidence(gathering, evaluation, _) = basics {
            let evaluation = match evaluation {
                Some(evaluation) => *evaluation,
                None => self.evaluate(subject, &gathering, &terms, draft).await?,
            };
            if evaluation.is_satisfied() {
                return Ok(
                    self.conclude_from(subject, document, evaluation, &gathering, &terms, draft)
                );
            }
        }
        let mut conclusion = endorsement.admit(document, &terms, draft);
        conclusion.looked_at = terms.now;
        Ok(conclusion)
    }

    /// The conclusion about a manifest that nobody endorses.
    async fn conclude_by(
        &self,
        subject: &Subject,
        document: Arc<Document>,
        basics: Basics,
        parents: Parents,
        mut terms: Terms,
        draft: &mut Draft,
    ) -> Result<Conclusion, Error> {
        let (gathering, evaluation, nature) = match basics {
            Basics::NoneNeeded(Nature::Material) => {
                return Ok(self.admit_material(document, &terms, draft));
            }
            Basics::NoneNeeded(_) => {
                return Ok(undecided(subject, "the manifest did not arrive", terms.now));
            }
            Basics::Evidence(gathering, evaluation, nature) => (gathering, evaluation, nature),
        };
        let mut evaluation = match evaluation {
            Some(evaluation) => *evaluation,
            None => self.evaluate(subject, &gathering, &terms, draft).await?,
        };
        if let Finding::Refused(_) = &evaluation.finding {
            // Before anything is refused it is known not to be signature material, and not to lack a parent that
            // could not be asked.
            match self
                .nature(subject, &document, nature, terms.deadline)
                .await
            {
                Nature::Material => return Ok(self.admit_material(document, &terms, draft)),
                Nature::Ordinary => {}
                Nature::Absent | Nature::Unchecked | Nature::Unknown => {
                    let missing = "whether it is signature material cannot be read now";
                    return Ok(undecided(subject, missing, terms.now));
                }
            }
        }
        if self
            .has_newer_keys(subject, &evaluation, &mut terms, draft)
            .await
        {
            evaluation = self.evaluate(subject, &gathering, &terms, draft).await?;
        }
        if let (Finding::Refused(_), Some(missing)) = (&evaluation.finding, &parents.undecided) {
            return Ok(undecided(subject, missing, terms.now));
        }
        if let Finding::Refused(denial) = &mut evaluation.finding {
            parents.explain(denial, &document);
        }
        let excepted = self.excepted(subject, &document, &evaluation, &parents.excepted, &terms);
        if let (Finding::Refused(denial), None) = (&mut evaluation.finding, &excepted) {
            let limit = self.inner.limits.endorsement_parents_max;
            parents.name_limit(denial, subject, limit);
        }
        let judged = Arc::clone(&document);
        let conclusion = self.conclude_from(subject, judged, evaluation, &gathering, &terms, draft);
        Ok(match excepted {
            Some(excepted) => excepted.waive(conclusion, document, &terms, draft),
            None => conclusion,
        })
    }

    /// Before anything is refused because a signature is by no known version of a key, the key is asked for again: it
    /// may have got a new version. Whether there is something new to judge by, which is then in `terms`.
    async fn has_newer_keys(
        &self,
        subject: &Subject,
        evaluation: &Evaluation,
        terms: &mut Terms,
        draft: &mut Draft,
    ) -> bool {
        match self.inner.reliance {
            // What is replayed is judged by what is known, and asks nobody.
            Reliance::Recorded => return false,
            Reliance::Fresh => {}
        }
        let unmatched = &evaluation.unmatched_keys;
        // Where all attestations matter, what was satisfied may not be by one that only a new version vouches for.
        let is_settled =
            matches!(evaluation.finding, Finding::Satisfied) && !terms.demand_every(subject);
        if unmatched.is_empty() || is_settled {
            return false;
        }
        let asking = Stopwatch::now();
        let in_force = &self.inner.in_force;
        // Off the path of whoever is refused as soon as the service is slow: the refusal is soon looked at again.
        let deadline = terms.deadline.min(Instant::now() + NEWER_KEYS_WAIT);
        in_force.refresh_keys(unmatched, deadline).await;
        draft.timing.keys += asking.elapsed();
        // Others may have taken in what was found: what counts is whether it is something else than we judged by. Under
        // another configuration everything is gathered anew, by whoever asked for this decision.
        let policies = in_force.snapshot();
        let changed = policies.hash != terms.policies.hash
            && policies.configured == terms.policies.configured;
        if changed {
            draft.configuration = policies.hash;
            terms.policies = policies;
        }
        changed
    }

    /// What is refused without asking anybody: revoked digests, and names nobody wrote a policy for.
    fn refused_unseen(&self, subject: &Subject, policies: &Policies) -> Option<Denial> {
        if policies.revoked.digests.contains(&subject.digest) {
            return Some(evaluate::revoked_digest(subject));
        }
        evaluate::refuse_uncovered(policies, &subject.repository)
            .err()
            .map(|_of_the_name| evaluate::no_policy(&subject.repository, Some(subject.digest)))
    }

    fn arriving<'a>(
        &'a self,
        subject: &'a Subject,
        given: Option<Arc<Document>>,
        deadline: Instant,
    ) -> BoxFuture<'a, Arrived> {
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

    /// Evaluates what was gathered; what is large or meets a condition, away from the threads that serve. A small
    /// statement can make a condition take all the time that a decision has.
    pub(super) async fn evaluate(
        &self,
        subject: &Subject,
        gathering: &Gathering,
        terms: &Terms,
        draft: &mut Draft,
    ) -> Result<Evaluation, Error> {
        let verifying = Stopwatch::now();
        let stale = draft.stale && self.inner.reliance == Reliance::Fresh;
        let meets_condition = !gathering.candidates().is_empty() && terms.have_conditions(subject);
        let evaluation = if gathering.size() < compute::LARGE_BYTES && !meets_condition {
            evaluate_gathered(subject, gathering, terms, &self.inner.limits, stale)
        } else {
            let (subject, gathering) = (subject.clone(), gathering.clone());
            let (terms, limits) = (terms.clone(), Arc::clone(&self.inner.limits));
            let deadline = terms.deadline;
            let busy = Error::Busy(subject.clone());
            let work = move || evaluate_gathered(&subject, &gathering, &terms, &limits, stale);
            compute::run_apart(deadline, work)
                .await
                .map_err(|_full| busy)?
        };
        draft.timing.verification += verifying.elapsed();
        Ok(evaluation)
    }
}

fn evaluate_gathered(
    subject: &Subject,
    gathering: &Gathering,
    terms: &Terms,
    limits: &Limits,
    stale: bool,
) -> Evaluation {
    let failed_sources = gathering.failed_sources();
    let known = Known {
        candidates: gathering.candidates(),
        failed_sources: &failed_sources,
        tags: &terms.tags,
        absent_referrer: gathering.absent_referrer(),
        stale,
        limit_exceeded: gathering.limit_exceeded(),
        witnessed: gathering.is_witnessed(),
    };
    evaluate::evaluate_anew(
        subject,
        &terms.policies,
        &known,
        limits,
        terms.now,
        &terms.verdicts,
    )
}

impl Terms {
    /// The policies that cover the subject.
    pub(super) fn matching(&self, subject: &Subject) -> Vec<Arc<Policy>> {
        self.policies
            .matching(&subject.repository, &self.tags)
            .cloned()
            .collect()
    }

    /// Returns true if a policy that covers the subject has a condition over attestations, in any language.
    fn have_conditions(&self, subject: &Subject) -> bool {
        self.policies
            .matching(&subject.repository, &self.tags)
            .flat_map(|policy| policy.requirement.attestations())
            .any(|attestation| attestation.condition.is_some())
    }

    /// Whether a policy that covers the subject speaks of attestations that nobody has vouched for yet.
    fn demand_every(&self, subject: &Subject) -> bool {
        self.policies
            .matching(&subject.repository, &self.tags)
            .flat_map(|policy| policy.requirement.attestations())
            .any(|attestation| attestation.quantifier != Quantifier::Any)
    }
}

fn storage(subject: &Subject, source: crate::state::Error) -> Arc<Error> {
    Arc::new(Error::Storage {
        subject: subject.clone(),
        source: source.into(),
    })
}
