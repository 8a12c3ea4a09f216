//! For which tags a policy is satisfied that compares the tag asked for with the one that was signed.
//!
//! What is decided is about a digest and serves everybody. Which tags were signed is found with it, and a pull by a tag
//! is compared with them.

use std::collections::BTreeSet;

use super::attempts::Attempts;
use super::{Known, Outcome, document, requirement};
use crate::admission::denial::{Denial, Kind};
use crate::decision_log::Subject;
use crate::oci::{RepositoryName, Tag};
use crate::policy::Policy;
use crate::verify;

/// The tags for which a policy is satisfied that compares them.
#[derive(Debug, Clone)]
pub struct SignedTags {
    /// The policy.
    policy: String,
    /// Where it is written, as messages have it.
    place: String,
    /// The repository that a signature must name.
    signed_as: String,
    tags: BTreeSet<Tag>,
    /// What may show more tags and is not known, in words.
    missing: Option<String>,
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
pub(super) fn of(policy: &Policy, attempts: &mut Attempts<'_>, known: &Known<'_>) -> SignedTags {
    let digest = attempts.subject.digest;
    let named: BTreeSet<_> = known
        .candidates
        .iter()
        .filter_map(|candidate| verify::claimed_tag(candidate, &digest))
        .collect();
    let mut signed = SignedTags {
        missing: known.failed_sources.first().cloned(),
        ..SignedTags::none_of(policy, &attempts.subject.repository)
    };
    for tag in named {
        attempts.only_tag = Some(tag.clone());
        match requirement::policy(policy, attempts, known).0 {
            Outcome::Satisfied => {
                signed.tags.insert(tag);
            }
            Outcome::Refused { .. } => {}
            Outcome::Undecided { missing, .. } => {
                signed.missing.get_or_insert(missing);
            }
        }
    }
    attempts.only_tag = None;
    signed
}

impl SignedTags {
    /// The policy does not let its digest go by any tag of its own.
    pub(in crate::admission) fn none_of(policy: &Policy, repository: &RepositoryName) -> Self {
        let signed_as = policy.signed_name.repository(repository);
        Self {
            policy: policy.name.clone(),
            place: document(policy),
            signed_as: signed_as.unwrap_or_default().into_owned(),
            tags: BTreeSet::new(),
            missing: None,
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
        if self.tags.contains(tag) {
            return None;
        }
        let Subject { repository, digest } = subject;
        let Self {
            policy,
            place,
            signed_as,
            ..
        } = self;
        if let Some(missing) = &self.missing {
            return Some(UnsignedTag::Undecided(format!(
                "whether {repository}@{digest} was signed as {tag} cannot be decided: {missing}"
            )));
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
        Some(UnsignedTag::Refused(Denial {
            kind: Kind::WrongName,
            message: format!(
                "policy `{policy}`{place} refuses {repository}:{tag}, which is {digest}: {found}, and the policy \
                 compares tags; sign it as {signed_as}:{tag}, pull it by digest, or write \"signedIdentity\": \
                 {{\"type\": \"matchRepository\"}} if it may go by any tag of its repository"
            ),
            policy: Some(policy.clone()),
            digest: Some(*digest),
        }))
    }
}
