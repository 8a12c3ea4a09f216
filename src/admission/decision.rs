//! Decisions, and the proof that something was admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ulid::Ulid;

use super::REFUSAL_MEMORY;
use super::denial::Denial;
use super::evaluate::{SignedTags, UnsignedTag};
use super::validity::Validity;
use crate::decision_log::{Basis, Subject};
use crate::manifests::{self, Document};
use crate::oci::{Digest, Tag};
use crate::policy::{Exception, Tags};
use crate::{state, store, upstream};

/// What was decided about a subject, under which configuration, and until when that holds.
#[derive(Debug)]
pub struct Decision {
    /// The id of its record.
    pub id: Ulid,
    /// What it is about.
    pub subject: Subject,
    /// What was decided.
    pub outcome: Outcome,
    /// The manifest it is about, once that is known.
    pub described: Option<Described>,
    /// The hash of the policies, keys and roots it was made under.
    pub(super) configuration: Digest,
    /// The tags known of it and of what it was decided by, where policies are about tags.
    pub(super) tags: Vec<(Subject, Option<Tags>)>,
    /// The hashes of the policies that judged its signatures, or those of the index at the end of its endorsements.
    pub(super) judged_by: Vec<Digest>,
    /// The exception that turned a refusal into it.
    pub(super) exception: Option<Arc<Exception>>,
    /// The time for which its conditions hold.
    pub(super) validity: Validity,
    /// The tags that were signed, for each policy that compares them.
    pub(super) signed_tags: Vec<SignedTags>,
    /// When signatures were last looked for on account of a tag, or found, in milliseconds.
    pub(super) looked_at: AtomicI64,
    /// Indexes between what it admits and the signed one.
    pub(super) endorsement_depth: usize,
    /// Pulls that reused it and are not yet written to its record.
    pub(super) reused: AtomicU64,
}

/// What a refused manifest is, without any of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub bytes: u64,
}

/// What was decided.
#[derive(Debug)]
pub enum Outcome {
    /// It may be served.
    Admit {
        /// Why.
        basis: Basis,
        /// The bytes that were judged.
        document: Arc<Document>,
        /// What an auditing policy, or one that an exception waives, would have refused, for the `Warning` header.
        warning: Option<Denial>,
    },
    /// It may not.
    Deny(Denial),
    /// It cannot be decided now.
    Unavailable {
        /// What is missing, in words.
        missing: String,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Proof that `T` may be served: made by this module alone, from a decision to admit it.
#[derive(Debug, Clone)]
pub struct Admitted<T> {
    content: T,
    decision: Arc<Decision>,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream says there is no such manifest.
    #[error("{0} does not exist")]
    NotFound(
        /// What was asked for.
        Subject,
        /// Whether the whole repository is unknown.
        bool,
    ),
    /// The upstream refuses us the content itself.
    #[error(transparent)]
    UpstreamDenied(upstream::Error),
    /// The upstream's answer cannot be served: wrong bytes, an early end, too much.
    #[error(transparent)]
    BadUpstream(upstream::Error),
    /// The upstream is not answering.
    #[error(transparent)]
    UpstreamUnavailable(upstream::Error),
    /// State or store failed, so that a decision could not be made durable.
    #[error("deciding about {subject}")]
    Storage {
        /// What was to be decided.
        subject: Subject,
        /// Why it could not.
        #[source]
        source: StorageError,
    },
    /// What it depends on could not be decided.
    #[error("a manifest it depends on cannot be decided about")]
    Undecided(
        /// The decision that could not be made.
        Arc<Decision>,
    ),
    /// This process has too much other work.
    #[error("{0} cannot be decided about now, because this proxy is busy")]
    Busy(
        /// The subject of the decision.
        Subject,
    ),
    /// It could not be decided in time.
    #[error("{0} could not be decided about in time")]
    Late(
        /// What was to be decided.
        Subject,
    ),
    /// The task that decided ended without an answer: a bug, or the process is stopping.
    #[error("the decision was given up")]
    Abandoned,
}

/// State or store failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The state database.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The content store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Either, while a manifest was read.
    #[error("reading the manifest")]
    Manifest(#[source] Arc<manifests::Error>),
}

impl Decision {
    /// Whether it may still be acted upon.
    pub(super) fn holds(&self, configuration: Digest, now: Timestamp) -> bool {
        self.configuration == configuration && self.validity.holds(now)
    }

    /// The admitted manifest, or nothing.
    #[must_use]
    pub fn admitted(self: &Arc<Self>) -> Option<Admitted<Arc<Document>>> {
        let document = Arc::clone(self.document()?);
        Some(Admitted {
            content: document,
            decision: Arc::clone(self),
        })
    }

    /// The document, when it was admitted.
    pub(super) fn document(&self) -> Option<&Arc<Document>> {
        match &self.outcome {
            Outcome::Admit { document, .. } => Some(document),
            Outcome::Deny(_) | Outcome::Unavailable { .. } => None,
        }
    }

    /// What an auditing policy would have refused.
    pub(super) fn warning(&self) -> Option<&Denial> {
        match &self.outcome {
            Outcome::Admit { warning, .. } => warning.as_ref(),
            Outcome::Deny(_) | Outcome::Unavailable { .. } => None,
        }
    }

    /// What becomes of a pull by `tag` of what this admits, where some policy demands that the tag is signed and it is
    /// not.
    #[must_use]
    pub fn unsigned_tag(&self, tag: &Tag) -> Option<UnsignedTag> {
        let mut policies = self.signed_tags.iter();
        policies.find_map(|signed| signed.unsigned(&self.subject, tag))
    }

    /// Whether an exception may let through what becomes of a pull by `tag`, whichever policy refuses it.
    pub(super) fn is_waivable_for(&self, tag: &Tag) -> bool {
        let policies = self.signed_tags.iter();
        let mut unsigned = policies.filter_map(|signed| signed.unsigned(&self.subject, tag));
        unsigned.all(|unsigned| match unsigned {
            UnsignedTag::Refused(denial) => denial.kind.is_waivable(),
            UnsignedTag::Undecided(_) => false,
        })
    }

    /// Returns true if it is time to look whether a tag has been signed since. A look in the future does not count.
    pub(super) fn may_look_again(&self, now: Timestamp) -> bool {
        let memory = i64::try_from(REFUSAL_MEMORY.as_millis()).unwrap_or(i64::MAX);
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        let age = now.as_millisecond().saturating_sub(looked_at);
        !(-memory..memory).contains(&age)
    }

    /// Tells if signatures were looked for at `time` or later.
    pub(super) fn looked_since(&self, time: Timestamp) -> bool {
        self.looked_at.load(Ordering::Relaxed) >= time.as_millisecond()
    }

    /// Takes note that it was looked for signatures.
    pub(super) fn looked(&self, now: Timestamp) {
        self.looked_at
            .store(now.as_millisecond(), Ordering::Relaxed);
    }

    /// Counts a pull that reused this decision.
    pub fn count_reuse(&self) {
        self.reused.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the pulls counted since the last call.
    pub(super) fn take_reuse(&self) -> u64 {
        self.reused.swap(0, Ordering::Relaxed)
    }

    /// Grants something that the admitted document vouches for.
    pub(super) fn grant<T>(self: &Arc<Self>, content: T) -> Option<Admitted<T>> {
        self.document()?;
        Some(Admitted {
            content,
            decision: Arc::clone(self),
        })
    }
}

impl<T> Admitted<T> {
    /// What was admitted.
    pub fn content(&self) -> &T {
        &self.content
    }

    /// The decision that admitted it.
    pub fn decision(&self) -> &Arc<Decision> {
        &self.decision
    }

    /// What an auditing policy would have refused.
    #[must_use]
    pub fn warning(&self) -> Option<&Denial> {
        self.decision.warning()
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}@{}", self.repository, self.digest)
    }
}

impl Error {
    /// Sorts what went wrong while getting the manifest of `subject`.
    ///
    /// # Errors
    /// With itself, when there is nothing to refuse: the manifest is absent, or cannot be had.
    #[expect(clippy::result_large_err, reason = "made once for a pull that fails")]
    pub(crate) fn from_manifests(
        subject: &Subject,
        error: &Arc<manifests::Error>,
    ) -> Result<Denial, Self> {
        use super::denial::Kind;
        let malformed = |kind, reason: String, digest: Digest| Denial {
            kind,
            message: format!("{}@{digest} is refused: {reason}", subject.repository).into(),
            policy: None,
            digest: Some(digest),
        };
        match error.as_ref() {
            manifests::Error::Malformed { digest, source } => {
                Ok(malformed(Kind::Malformed, source.to_string(), *digest))
            }
            manifests::Error::TooManyChildren {
                digest,
                listed,
                limit,
            } => Ok(malformed(
                Kind::LimitExceeded,
                format!("the index lists {listed} manifests, more than {limit}"),
                *digest,
            )),
            manifests::Error::Upstream(error) => Err(Self::from_upstream(subject, error.clone())),
            manifests::Error::Busy(_) => Err(Self::Busy(subject.clone())),
            manifests::Error::State(_) | manifests::Error::Store(_) => Err(Self::Storage {
                subject: subject.clone(),
                source: StorageError::Manifest(Arc::clone(error)),
            }),
        }
    }

    fn from_upstream(subject: &Subject, error: upstream::Error) -> Self {
        match error {
            upstream::Error::NotFound { name_unknown, .. } => {
                Self::NotFound(subject.clone(), name_unknown)
            }
            upstream::Error::Denied { .. } => Self::UpstreamDenied(error),
            upstream::Error::TooLarge { .. }
            | upstream::Error::WrongDigest { .. }
            | upstream::Error::Truncated { .. }
            | upstream::Error::Unsupported { .. } => Self::BadUpstream(error),
            upstream::Error::Throttled { .. }
            | upstream::Error::Congested { .. }
            | upstream::Error::Failed { .. }
            | upstream::Error::Unexpected { .. }
            | upstream::Error::OtherContent { .. }
            | upstream::Error::NotConfigured { .. } => Self::UpstreamUnavailable(error),
        }
    }
}
