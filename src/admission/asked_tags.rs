//! The tags through which digests were asked for, for policies that are about tags.
//!
//! A tag that this process asked an upstream about is known to have pointed at the digest. Those in the state are only
//! said to have been asked for. They may add policies and never take one away: whoever writes to the database could
//! else choose by which policies a digest is judged.

use super::{Admission, Asked, Decision};
use crate::decision_log::Subject;
use crate::oci::Tag;
use crate::policy::{Policies, Tags};
use crate::state::{self, ASKED_TAGS_MAX, Batch};

/// Tags that are remembered, of all subjects together. A subject whose tags were forgotten is covered by every policy for
/// its repository, until it is known again by which tags it goes.
const TAGS_MAX: u64 = 1_000_000;

/// Memory for the tags through which this process saw subjects asked for.
pub(super) fn cache() -> moka::sync::Cache<Subject, Tags> {
    moka::sync::Cache::builder()
        .max_capacity(TAGS_MAX)
        .weigher(|_subject, tags: &Tags| u32::try_from(tags.known().len()).unwrap_or(u32::MAX))
        .build()
}

/// The tags by which a digest is known at all.
#[derive(Debug, Clone, Default)]
pub(super) enum OwnTags {
    /// It was only ever asked for by digest, or no policy is about tags.
    #[default]
    None,
    /// These: seen by this process, in the state, or asked for right now.
    Known(Tags),
    /// More than are kept.
    TooMany,
}

impl Admission {
    /// The tags of a digest that an index may list, from wherever they are known. They only say what an endorsement must
    /// have been judged by, so that too many can never be good for anything.
    pub(super) async fn own_tags(
        &self,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<OwnTags, state::Error> {
        let Some(mut tags) = self.inner.state.asked_tags(subject).await? else {
            return Ok(OwnTags::TooMany);
        };
        let seen = self.inner.asked_tags.get(subject).unwrap_or_default();
        tags.extend(seen.known().iter().cloned());
        let asked = asked.reference.parse::<Tag>();
        tags.extend(asked.iter().map(|tag| tag.as_str().to_owned()));
        tags.sort_unstable();
        tags.dedup();
        Ok(match tags.len() {
            0 => OwnTags::None,
            1..=ASKED_TAGS_MAX => OwnTags::Known(Tags::new(tags)),
            _ => OwnTags::TooMany,
        })
    }

    /// Whether tags count: whether any policy in force is about tags.
    #[must_use]
    pub fn counts_tags(&self) -> bool {
        self.inner.in_force.policies().are_about_tags()
    }

    /// Whether it is known that the subject was asked for through the tag, or no policy cares. No I/O, no lock.
    #[must_use]
    pub fn knows_tag(&self, subject: &Subject, tag: &Tag) -> bool {
        if !self.counts_tags() {
            return true;
        }
        let seen = self.inner.asked_tags.get(subject);
        seen.is_some_and(|seen| contains(&seen, tag) || is_too_many(&seen))
    }

    /// Whether this process has seen the subject asked for through any tag.
    #[must_use]
    pub fn has_seen_tags(&self, subject: &Subject) -> bool {
        self.inner.asked_tags.contains_key(subject)
    }

    /// Takes note that the subject is asked for through a tag that an upstream resolved to it for this process. It is
    /// durable when this returns: a policy that it adds stays added.
    ///
    /// # Errors
    /// When the state fails.
    pub async fn asked_through(&self, subject: &Subject, tag: &Tag) -> Result<(), state::Error> {
        if self.knows_tag(subject, tag) {
            return Ok(());
        }
        let batch = Batch {
            asked_tags: vec![(subject.clone(), tag.clone())],
            ..Batch::default()
        };
        self.inner.state.write(batch).await?;
        let entry = self.inner.asked_tags.entry(subject.clone());
        entry.and_upsert_with(|seen| match seen {
            None => Tags::new([tag.as_str().to_owned()]),
            Some(seen) => {
                let seen = seen.into_value();
                if contains(&seen, tag) || is_too_many(&seen) {
                    return seen;
                }
                let tags = seen.known().iter().cloned();
                Tags::new(tags.chain([tag.as_str().to_owned()]))
            }
        });
        Ok(())
    }

    /// The tags that count for a decision about the subject, and those of them that this process has seen itself. None
    /// count where this process has seen none, or there were too many: every policy for the repository covers it then.
    pub(super) async fn tags_that_count(
        &self,
        subject: &Subject,
    ) -> Result<(Tags, Option<Tags>), state::Error> {
        let Some(seen) = self.inner.asked_tags.get(subject) else {
            return Ok((Tags::default(), None));
        };
        let counting = match self.inner.state.asked_tags(subject).await? {
            Some(mut tags) => {
                tags.extend(seen.known().iter().cloned());
                tags.sort_unstable();
                tags.dedup();
                (tags.len() <= ASKED_TAGS_MAX).then_some(tags)
            }
            None => None,
        };
        let counting = counting.map(Tags::new).unwrap_or_default();
        Ok((counting, Some(seen)))
    }

    /// Whether no tag came up since the decision was made, for it and for what it was decided by.
    pub(super) fn tags_are_current(&self, decision: &Decision, policies: &Policies) -> bool {
        !policies.are_about_tags()
            || (!decision.tags.is_empty()
                && decision
                    .tags
                    .iter()
                    .all(|(subject, seen)| self.inner.asked_tags.get(subject) == *seen))
    }
}

fn contains(tags: &Tags, tag: &Tag) -> bool {
    tags.known().iter().any(|known| known == tag.as_str())
}

/// One beyond the limit is kept, which says that there were too many.
fn is_too_many(tags: &Tags) -> bool {
    tags.known().len() > ASKED_TAGS_MAX
}
