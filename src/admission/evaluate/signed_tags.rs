//! For which tags a policy is satisfied that compares the tag asked for with the one that was signed.
//!
//! What is decided is about a digest and serves everybody. Which tags were signed is found with it, and a pull by a tag
//! is compared with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::attempts::Attempts;
use super::{Known, Outcome, document, requirement};
use crate::admission::denial::{Denial, Kind};
use crate::decision_log::Subject;
use crate::oci::Tag;
use crate::policy::{Policy, Tags};

/// The tags for which a policy is satisfied that compares them.
#[derive(Debug, Clone)]
pub struct SignedTags {
    policy: Arc<Policy>,
    tags: BTreeSet<Tag>,
    /// Tags that signatures name, more of which would have to be tried than may be.
    cut: BTreeSet<Tag>,
    /// What may show more tags and is not known, in words.
    missing: Option<String>,
    /// A limit that left out what may show more tags, in words.
    limit_exceeded: Option<String>,
}

/// What becomes of a tag that is not among those that were signed.
#[derive(Debug)]
pub enum UnsignedTag {
    /// It is refused.
    Refused(Denial),
    /// It cannot be told; what is missing, in words.
    Undecided(String),
}

/// The tags that a message names at most.
const NAMED_MAX: usize = 5;

/// The tags for which `policy`, which compares them, is satisfied: those which signatures name that alone satisfy it.
/// Tags of newer signatures come first; a signature that counts uses up nothing of the limit on attempts.
pub(super) fn of(
    policy: &Arc<Policy>,
    attempts: &mut Attempts<'_>,
    known: &Known<'_>,
) -> SignedTags {
    let missing = match known.failed_sources.first() {
        Some(failed) => Some(failed.clone()),
        None => known.stale.then(|| NOT_ASKED.to_owned()),
    };
    let mut signed = SignedTags {
        missing,
        limit_exceeded: known.limit_exceeded.map(str::to_owned),
        ..SignedTags::none_of(policy)
    };
    attempts.for_each_tag(
        |attempts, tag| match requirement::policy(policy, attempts, known).0 {
            Outcome::Satisfied => {
                signed.tags.insert(tag);
            }
            Outcome::Refused {
                kind: Kind::LimitExceeded,
                ..
            } => {
                signed.cut.insert(tag);
            }
            Outcome::Refused { .. } => {}
            Outcome::Undecided { missing, .. } => {
                signed.missing.get_or_insert(missing);
            }
        },
    );
    signed
}

/// What is missing where only what was stored is known.
const NOT_ASKED: &str = "the upstream could not be asked whether it has been signed since";

impl SignedTags {
    /// The policy does not let its digest go by any tag of its own.
    pub(in crate::admission) fn none_of(policy: &Arc<Policy>) -> Self {
        Self {
            policy: Arc::clone(policy),
            tags: BTreeSet::new(),
            cut: BTreeSet::new(),
            missing: None,
            limit_exceeded: None,
        }
    }

    /// Whether something may show more tags and is not known.
    pub(in crate::admission) fn is_incomplete(&self) -> bool {
        self.missing.is_some()
    }

    /// What becomes of a pull of `subject` by `tag`, where it was not signed.
    #[must_use]
    pub(in crate::admission) fn unsigned(
        &self,
        subject: &Subject,
        tag: &Tag,
    ) -> Option<UnsignedTag> {
        let Subject { repository, digest } = subject;
        if self.tags.contains(tag) {
            return None;
        }
        // It may cover the digest on account of another tag.
        let asked_for = Tags::new([tag.as_str().to_owned()]);
        if !self.policy.coverage.covers(repository, &asked_for) {
            return None;
        }
        let policy = &self.policy.name;
        let place = document(&self.policy);
        let signed_as = self.policy.signed_name.repository(repository);
        let signed_as = signed_as.unwrap_or_else(|| repository.as_str().into());
        if let Some(missing) = &self.missing {
            return Some(UnsignedTag::Undecided(format!(
                "whether {repository}@{digest} was signed as {tag} cannot be decided: {missing}"
            )));
        }
        let refused = |kind, reason: String| {
            Some(UnsignedTag::Refused(Denial {
                kind,
                message: format!(
                    "policy `{policy}`{place} refuses {repository}:{tag}, which is {digest}: {reason}"
                ).into(),
                policy: Some(policy.clone()),
                digest: Some(*digest),
            }))
        };
        if let Some(limit) = &self.limit_exceeded {
            return refused(Kind::LimitExceeded, limit.clone());
        }
        if self.cut.contains(tag) {
            return refused(
                Kind::LimitExceeded,
                "more signatures that do not count name this tag, or other tags, than are tried"
                    .to_owned(),
            );
        }
        let named: Vec<_> = self.tags.iter().take(NAMED_MAX).map(Tag::as_str).collect();
        let more = self.tags.len().saturating_sub(NAMED_MAX);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let found = if named.is_empty() {
            "no signature of it that counts names a tag".to_owned()
        } else {
            format!("its signatures name {}{more}", named.join(", "))
        };
        refused(
            Kind::WrongName,
            format!(
                "{found}, and the policy compares tags; sign it as {signed_as}:{tag}, pull it by digest, or write \
                 \"signedIdentity\": {{\"type\": \"matchRepository\"}} if it may go by any tag of its repository"
            ),
        )
    }
}
