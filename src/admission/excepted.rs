//! Exceptions: a refusal that a person has waived for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use tokio::time::Instant;

use super::conclusion::{Conclusion, later};
use super::decision::{Decision, Outcome};
use super::denial::{Denial, Kind};
use super::draft::Draft;
use super::endorsement::Endorsement;
use super::evaluate::{Evaluation, Finding};
use super::judge::Terms;
use super::validity::Validity;
use super::{Admission, Asked, REFUSAL_MEMORY};
use crate::decision_log::{Basis, Subject};
use crate::manifests::Document;
use crate::oci::Tag;
use crate::policy::Exception;
use crate::state;

/// How the message begins of a refusal that an exception has waived.
pub const EXCEPTED: &str = "served by ";

/// An exception that waives the refusal of a manifest.
pub(super) struct Excepted {
    exception: Arc<Exception>,
    /// The excepted index that lists the manifest.
    listed_by: Option<Arc<Decision>>,
}

impl Admission {
    /// The exception that waives what `evaluation` refuses: one about the manifest itself, or about an index that lists
    /// it and is served by an exception.
    pub(super) fn excepted(
        &self,
        subject: &Subject,
        document: &Document,
        evaluation: &Evaluation,
        parents: &[Endorsement],
        terms: &Terms,
    ) -> Option<Excepted> {
        let Finding::Refused(_) = &evaluation.finding else {
            return None;
        };
        if !evaluation.waivable {
            return None;
        }
        let Subject { repository, digest } = subject;
        if let Some(exception) = terms.policies.exception(repository, digest, terms.now) {
            return Some(Excepted {
                exception: Arc::clone(exception),
                listed_by: None,
            });
        }
        let parent = parents.iter().find(|one| one.covers(document))?.parent();
        let exception = parent.exception.as_ref();
        let exception = exception.filter(|exception| exception.runs(terms.now))?;
        Some(Excepted {
            exception: Arc::clone(exception),
            listed_by: Some(Arc::clone(parent)),
        })
    }
}

impl Admission {
    /// The decision by which a pull by `tag` of what `decision` admits is served, where `denial` refuses that tag and an
    /// exception is about the digest. It is for this tag, and recorded once in a while.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn except_tag(
        &self,
        decision: &Decision,
        tag: &Tag,
        denial: &Denial,
        asked: &Asked,
    ) -> Result<Option<Arc<Decision>>, state::Error> {
        let Subject { repository, digest } = &decision.subject;
        let policies = self.inner.in_force.snapshot();
        let Some(exception) = policies.exception(repository, digest, asked.now) else {
            return Ok(None);
        };
        let Some(document) = decision.document() else {
            return Ok(None);
        };
        if !decision.is_waivable_for(tag) {
            return Ok(None);
        }
        let key = (decision.subject.clone(), tag.clone());
        let kept = self.inner.excepted_tags.get(&key);
        if let Some(kept) = kept.filter(|kept| kept.holds(policies.hash, asked.now)) {
            return Ok(Some(kept));
        }
        let mut denial = denial.clone();
        denial.message = format!("{EXCEPTED}{exception}; without it {}", denial.message).into();
        let id = self
            .record_exception(repository.as_str(), asked, &mut denial)
            .await?;
        let excepted = Arc::new(Decision {
            id,
            subject: decision.subject.clone(),
            outcome: Outcome::Admit {
                basis: Basis::Audit,
                document: Arc::clone(document),
                warning: Some(denial),
            },
            described: decision.described.clone(),
            configuration: policies.hash,
            tags: decision.tags.clone(),
            judged_by: decision.judged_by.clone(),
            exception: Some(Arc::clone(exception)),
            signed_tags: Vec::new(),
            looked_at: AtomicI64::new(asked.now.as_millisecond()),
            validity: Validity::new(
                asked.now,
                Instant::now(),
                exception.until.min(later(asked.now, REFUSAL_MEMORY)),
            ),
            endorsement_depth: decision.endorsement_depth,
            reused: AtomicU64::new(0),
        });
        self.inner.excepted_tags.insert(key, Arc::clone(&excepted));
        Ok(Some(excepted))
    }
}

impl Excepted {
    /// Serves what `conclusion` refuses, with a warning, until the exception ends.
    pub(super) fn waive(
        self,
        conclusion: Conclusion,
        document: Arc<Document>,
        terms: &Terms,
        draft: &mut Draft,
    ) -> Conclusion {
        let Outcome::Deny(mut denial) = conclusion.outcome else {
            return conclusion;
        };
        let Self {
            exception,
            listed_by,
        } = self;
        denial.message = format!("{EXCEPTED}{exception}; without it {}", denial.message).into();
        draft.endorsed_by = listed_by.as_ref().map(|index| index.subject.digest);
        if let Some(index) = &listed_by {
            draft.tags.extend(index.tags.iter().cloned());
        }
        Conclusion {
            outcome: Outcome::Admit {
                basis: Basis::Audit,
                document,
                warning: Some(denial),
            },
            until: exception.until.min(later(terms.now, REFUSAL_MEMORY)),
            endorsement_depth: listed_by.map_or(0, |index| index.endorsement_depth + 1),
            exception: Some(exception),
            // What may be served although it is not signed may go by any tag.
            signed_tags: Vec::new(),
            looked_at: terms.now,
        }
    }
}

impl Kind {
    /// Whether a person may waive it for a while: what a policy finds missing or wrong about signatures. Not what is
    /// revoked, broken or too much, and not what no policy has been asked about.
    pub(super) fn is_waivable(self) -> bool {
        match self {
            Self::Unsigned
            | Self::UntrustedKey
            | Self::WrongIdentity
            | Self::WrongIssuer
            | Self::InvalidSignature
            | Self::WrongSubject
            | Self::InvalidCertificate
            | Self::TransparencyLog
            | Self::Timestamp
            | Self::AnnotationMismatch
            | Self::ThresholdNotMet
            | Self::AttestationMissing
            | Self::AttestationRejected
            | Self::SignatureTooOld
            | Self::WrongName => true,
            Self::NoPolicy
            | Self::NotEndorsed
            | Self::Malformed
            | Self::LimitExceeded
            | Self::Revoked
            | Self::ClientDenied
            | Self::UpstreamNotAllowed
            | Self::UpstreamDenied => false,
        }
    }
}
