//! What a decision concludes, and until when it holds.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::decision::Outcome;
use super::denial::Denial;
use super::draft::Draft;
use super::endorsement::Endorsement;
use super::evaluate::{Evaluation, Finding, SignedTags};
use super::evidence::Gathering;
use super::judge::Terms;
use super::{Admission, REFUSAL_MEMORY, UNAVAILABLE_MEMORY};
use crate::decision_log::{Basis, Subject};
use crate::manifests::Document;
use crate::policy::Exception;

/// What was concluded, before it is recorded.
pub(super) struct Conclusion {
    pub(super) outcome: Outcome,
    pub(super) until: Timestamp,
    pub(super) endorsement_depth: usize,
    /// The exception that made a refusal into it.
    pub(super) exception: Option<Arc<Exception>>,
    /// The tags that were signed, for each policy that compares them.
    pub(super) signed_tags: Vec<SignedTags>,
    /// When signatures were looked for.
    pub(super) looked_at: Timestamp,
}

impl Admission {
    /// The conclusion from what signatures say.
    pub(super) fn conclude_from(
        &self,
        subject: &Subject,
        document: Arc<Document>,
        mut evaluation: Evaluation,
        gathering: &Gathering,
        terms: &Terms,
        draft: &mut Draft,
    ) -> Conclusion {
        draft.sources = gathering.reports();
        draft.take_evaluation(&mut evaluation);
        let Evaluation {
            finding,
            audit,
            enforced,
            valid_until,
            signed_tags,
            ..
        } = evaluation;
        let basis = if audit.is_none() || enforced {
            Basis::Signature
        } else {
            Basis::Audit
        };
        let outcome = match finding {
            Finding::Satisfied => Outcome::Admit {
                basis,
                document,
                warning: audit,
            },
            Finding::Refused(denial) => return refuse(denial, terms.now),
            Finding::Undecided { missing } => return undecided(subject, &missing, terms.now),
        };
        // Sources that are still being asked go on in the background; one that failed is asked again soon.
        let fresh_until = if draft.stale || basis == Basis::Audit || gathering.has_failed() {
            later(terms.now, REFUSAL_MEMORY)
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
            exception: None,
            signed_tags,
            looked_at: gathering.discovered_at(),
        }
    }

    /// Signature material is admitted as what it is.
    pub(super) fn admit_material(
        &self,
        document: Arc<Document>,
        terms: &Terms,
        draft: &mut Draft,
    ) -> Conclusion {
        draft.policies_unasked(terms);
        Conclusion {
            outcome: Outcome::Admit {
                basis: Basis::SignatureArtifact,
                document,
                warning: None,
            },
            until: later(terms.now, self.inner.freshness.reverify_after),
            endorsement_depth: 0,
            exception: None,
            signed_tags: Vec::new(),
            looked_at: terms.now,
        }
    }
}

impl Endorsement {
    /// The conclusion about what is endorsed.
    pub(super) fn admit(
        &self,
        document: Arc<Document>,
        terms: &Terms,
        draft: &mut Draft,
    ) -> Conclusion {
        let parent = self.parent();
        let matching = terms.matching(&document.subject);
        let comparing = matching.iter().filter(|policy| policy.compares_tags());
        draft.endorsed_by = Some(parent.subject.digest);
        draft.tags.extend(parent.tags.iter().cloned());
        draft.judged_by.clone_from(&parent.judged_by);
        Conclusion {
            until: parent.validity.until(),
            endorsement_depth: parent.endorsement_depth + 1,
            exception: None,
            // The index was signed under its tags and says nothing of those of what it lists.
            signed_tags: comparing.map(SignedTags::none_of).collect(),
            looked_at: Timestamp::MIN,
            outcome: Outcome::Admit {
                basis: Basis::Endorsement,
                document,
                // What an auditing policy holds against the parent, it holds against the child.
                warning: parent.warning().cloned(),
            },
        }
    }
}

pub(super) fn refuse(denial: Denial, now: Timestamp) -> Conclusion {
    refuse_for(denial, REFUSAL_MEMORY, now)
}

pub(super) fn refuse_for(denial: Denial, memory: Duration, now: Timestamp) -> Conclusion {
    Conclusion {
        outcome: Outcome::Deny(denial),
        until: later(now, memory),
        endorsement_depth: 0,
        exception: None,
        signed_tags: Vec::new(),
        looked_at: now,
    }
}

pub(super) fn undecided(subject: &Subject, missing: &str, now: Timestamp) -> Conclusion {
    Conclusion {
        outcome: Outcome::Unavailable {
            missing: format!("{subject} cannot be decided: {missing}"),
            retry_after: UNAVAILABLE_MEMORY,
        },
        until: later(now, UNAVAILABLE_MEMORY),
        endorsement_depth: 0,
        exception: None,
        signed_tags: Vec::new(),
        looked_at: now,
    }
}

pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
