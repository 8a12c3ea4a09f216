//! What auditing policies would have refused, counted from the records of decisions.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::admission::{EXCEPTED, Kind};
use crate::decision_log::{Basis, Outcome, Record};
use crate::oci::Digest;

/// What would break.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// How many decisions were looked at.
    pub(super) decisions: usize,
    /// Whether those are all there are.
    pub(super) complete: bool,
    /// Policies that would have refused something, most pulls first.
    pub(super) policies: Vec<PolicySummary>,
}

/// What one policy would have done.
#[derive(Debug, Serialize)]
pub(super) struct PolicySummary {
    /// Its name; absent for names that no policy covers, which `default: audit` lets through.
    pub(super) policy: Option<String>,
    /// Images that it would refuse, as last decided, and all pulls that it would have refused.
    pub(super) would_refuse: Count,
    /// Images that it would have refused and no longer would.
    pub(super) mended: usize,
    /// Images and pulls that satisfy it.
    pub(super) admits: Count,
    /// The refusals by kind. Of several policies that would refuse the same, the log has the kind of the first:
    /// `not_recorded` stands for the others.
    pub(super) kinds: BTreeMap<String, Count>,
    /// Where most pulls would have been refused.
    pub(super) repositories: Vec<RepositorySummary>,
    /// When the first of the refusals would have been.
    pub(super) first_seen: Timestamp,
    /// And the last.
    pub(super) last_seen: Timestamp,
    /// The last of them.
    pub(super) example: Example,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    pub(super) images: usize,
    pub(super) pulls: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct RepositorySummary {
    pub(super) repository: String,
    #[serde(flatten)]
    pub(super) count: Count,
}

#[derive(Debug, Serialize)]
pub(super) struct Example {
    /// The decision.
    pub(super) id: Ulid,
    pub(super) repository: String,
    pub(super) digest: Option<Digest>,
    /// What its clients would have seen.
    pub(super) message: String,
}

const NOT_RECORDED: &str = "not_recorded";
/// Stands for the policy of an index whose own decision is not among the records.
const UNKNOWN: &str = "(policy of an index)";

/// An image in a repository.
type Image = (String, Option<Digest>);

/// How a policy fared with one record.
struct Fared<'a> {
    policy: Option<&'a str>,
    /// The kind of the refusal; nothing where the policy is satisfied.
    refused: Option<&'a str>,
}

/// A policy's counts in the making. Records come newest first.
#[derive(Default)]
struct Tally {
    /// Whether each image was refused when it was last decided about, and whether it ever was.
    images: HashMap<Image, (bool, bool)>,
    refused_pulls: u64,
    satisfied_pulls: u64,
    kinds: BTreeMap<String, HashMap<Image, u64>>,
    repositories: HashMap<String, HashMap<Image, u64>>,
    seen: Option<(Timestamp, Timestamp)>,
    example: Option<Example>,
}

/// What the records say, newest first, with `top` repositories for each policy.
pub(super) fn summarise(records: &[Record], complete: bool, top: usize) -> Summary {
    let indexes: HashMap<Image, &Record> = records
        .iter()
        .filter(|record| record.basis != Some(Basis::Endorsement))
        .rev()
        .map(|record| (image(record), record))
        .collect();
    let mut tallies: BTreeMap<Option<String>, Tally> = BTreeMap::new();
    for record in records {
        for fared in fared(record, &indexes) {
            let policy = fared.policy.map(str::to_owned);
            tallies
                .entry(policy)
                .or_default()
                .add(record, fared.refused);
        }
    }
    let mut policies: Vec<_> = tallies
        .into_iter()
        .filter_map(|(policy, tally)| tally.finish(policy, top))
        .collect();
    policies.sort_by_key(|policy| std::cmp::Reverse(policy.would_refuse.pulls));
    Summary {
        decisions: records.len(),
        complete,
        policies,
    }
}

/// How the policies fared that were asked. What nothing was served of counts for none of them: it is refused already.
fn fared<'a>(record: &'a Record, indexes: &HashMap<Image, &'a Record>) -> Vec<Fared<'a>> {
    if record.decision != Outcome::Admit {
        return Vec::new();
    }
    let denial = record.denial.as_ref();
    // A person let it through, whatever the policy's mode is.
    if denial.is_some_and(|denial| denial.message.starts_with(EXCEPTED)) {
        return Vec::new();
    }
    // What an index lists goes by what was said of the index.
    let asked = match (record.basis, record.endorsed_by) {
        (Some(Basis::Endorsement), Some(index)) => {
            indexes.get(&(record.repository.clone(), Some(index)))
        }
        (Some(_) | None, _) => None,
    };
    let policies = &asked.map_or(record, |index| index).policies;
    let Some(denial) = denial else {
        let satisfied = policies.iter().filter(|policy| policy.satisfied);
        return satisfied
            .map(|policy| Fared {
                policy: Some(&policy.name),
                refused: None,
            })
            .collect();
    };
    if denial.kind == Kind::NoPolicy.as_str() {
        return vec![Fared {
            policy: None,
            refused: Some(&denial.kind),
        }];
    }
    if policies.is_empty() {
        // The record of the index is no longer there, or was not looked at.
        return vec![Fared {
            policy: Some(UNKNOWN),
            refused: Some(&denial.kind),
        }];
    }
    let mut kind = Some(denial.kind.as_str());
    policies
        .iter()
        .map(|policy| Fared {
            policy: Some(&policy.name),
            refused: (!policy.satisfied).then(|| kind.take().unwrap_or(NOT_RECORDED)),
        })
        .collect()
}

fn image(record: &Record) -> Image {
    (record.repository.clone(), record.digest)
}

impl Tally {
    fn add(&mut self, record: &Record, refused: Option<&str>) {
        let image = image(record);
        let pulls = record.pulls();
        let (_, ever) = self
            .images
            .entry(image.clone())
            .or_insert_with(|| (refused.is_some(), false));
        let Some(kind) = refused else {
            self.satisfied_pulls = self.satisfied_pulls.saturating_add(pulls);
            return;
        };
        *ever = true;
        self.refused_pulls = self.refused_pulls.saturating_add(pulls);
        *self
            .kinds
            .entry(kind.to_owned())
            .or_default()
            .entry(image.clone())
            .or_default() += pulls;
        *self
            .repositories
            .entry(record.repository.clone())
            .or_default()
            .entry(image)
            .or_default() += pulls;
        let (first, last) = self.seen.unwrap_or((record.time, record.time));
        self.seen = Some((first.min(record.time), last.max(record.time)));
        self.example.get_or_insert_with(|| Example {
            id: record.id,
            repository: record.repository.clone(),
            digest: record.digest,
            message: record
                .denial
                .as_ref()
                .map(|denial| denial.message.clone())
                .unwrap_or_default(),
        });
    }

    /// Nothing where nothing would have been refused.
    fn finish(self, policy: Option<String>, top: usize) -> Option<PolicySummary> {
        let (first_seen, last_seen) = self.seen?;
        let count = |wanted: (bool, bool)| self.images.values().filter(|it| **it == wanted).count();
        let mended = count((false, true));
        let mut repositories: Vec<_> = self
            .repositories
            .into_iter()
            .map(|(repository, images)| RepositorySummary {
                repository,
                count: Count::of(&images),
            })
            .collect();
        repositories.sort_by(|one, other| {
            let pulls = other.count.pulls.cmp(&one.count.pulls);
            pulls.then_with(|| one.repository.cmp(&other.repository))
        });
        repositories.truncate(top);
        Some(PolicySummary {
            policy,
            would_refuse: Count {
                images: count((true, true)),
                pulls: self.refused_pulls,
            },
            mended,
            admits: Count {
                images: mended + count((false, false)),
                pulls: self.satisfied_pulls,
            },
            kinds: self
                .kinds
                .iter()
                .map(|(kind, images)| (kind.clone(), Count::of(images)))
                .collect(),
            repositories,
            first_seen,
            last_seen,
            example: self.example?,
        })
    }
}

impl Count {
    fn of(images: &HashMap<Image, u64>) -> Self {
        Self {
            images: images.len(),
            pulls: images.values().sum(),
        }
    }
}

#[cfg(test)]
mod tests;
