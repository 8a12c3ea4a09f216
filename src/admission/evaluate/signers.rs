//! Who counts as one signer.
//!
//! Two versions of one key are one signer, however they are referred to, and so are two names for one key: a threshold
//! counts distinct keys and identities, not names in a file.

use std::collections::{BTreeSet, HashSet};

use super::attempts::Voucher;
use crate::oci::Digest;
use crate::policy::{AuthoritySigner, Policy};

/// The signers among a policy's authorities that several keys stand for.
#[derive(Debug)]
pub(super) struct Signers {
    /// Fingerprints that belong together, in disjoint groups.
    keys: Vec<BTreeSet<Digest>>,
}

impl Signers {
    pub(super) fn of(policy: &Policy) -> Self {
        let mut keys: Vec<BTreeSet<Digest>> = Vec::new();
        for authority in policy.requirement.authorities() {
            let AuthoritySigner::Key { keys: set, .. } = &authority.signer else {
                continue;
            };
            let mut group: BTreeSet<_> =
                set.versions().iter().map(|it| it.key.fingerprint).collect();
            keys.retain(|other| {
                let apart = other.is_disjoint(&group);
                if !apart {
                    group.extend(other);
                }
                apart
            });
            keys.push(group);
        }
        Self { keys }
    }

    /// How many distinct signers these are.
    pub(super) fn count<'v>(&self, vouchers: impl Iterator<Item = &'v Voucher>) -> usize {
        let signers: HashSet<_> = vouchers.map(|voucher| self.signer(voucher)).collect();
        signers.len()
    }

    /// One voucher that stands for all of the same signer.
    fn signer(&self, voucher: &Voucher) -> Voucher {
        let Voucher::Key(fingerprint) = voucher else {
            return voucher.clone();
        };
        let mut groups = self.keys.iter();
        let group = groups.find(|group| group.contains(fingerprint));
        let first = group.and_then(BTreeSet::first).unwrap_or(fingerprint);
        Voucher::Key(*first)
    }
}

/// How many members are satisfied if each signer counts for one member only: the size of the largest matching of
/// members with those who vouched for them.
pub(super) fn distinct_members<'v>(
    by: impl Iterator<Item = &'v HashSet<Voucher>>,
    signers: &Signers,
) -> usize {
    let members: Vec<HashSet<Voucher>> = by
        .map(|by| by.iter().map(|voucher| signers.signer(voucher)).collect())
        .collect();
    let mut taken: Vec<(Voucher, usize)> = Vec::new();
    (0..members.len())
        .filter(|member| assign(*member, &members, &mut taken, &mut HashSet::new()))
        .count()
}

/// Finds a signer for `member`, moving others to another of theirs where that helps.
fn assign(
    member: usize,
    members: &[HashSet<Voucher>],
    taken: &mut Vec<(Voucher, usize)>,
    asked: &mut HashSet<Voucher>,
) -> bool {
    for signer in members.get(member).into_iter().flatten() {
        if !asked.insert(signer.clone()) {
            continue;
        }
        let holder = taken.iter().position(|(other, _)| other == signer);
        let Some(holder) = holder else {
            taken.push((signer.clone(), member));
            return true;
        };
        let other = taken.get(holder).map(|(_, other)| *other);
        if other.is_some_and(|other| assign(other, members, taken, asked)) {
            taken.retain(|(other, _)| other != signer);
            taken.push((signer.clone(), member));
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> HashSet<Voucher> {
        let vouchers = names.iter();
        vouchers
            .map(|name| Voucher::Key(Digest::sha256(name.as_bytes())))
            .collect()
    }

    fn members(of: &[&[&str]]) -> usize {
        let of: Vec<_> = of.iter().map(|names| set(names)).collect();
        distinct_members(of.iter(), &Signers { keys: Vec::new() })
    }

    #[test]
    fn a_signer_counts_for_one_member() {
        assert_eq!(members(&[]), 0);
        assert_eq!(members(&[&[], &[]]), 0);
        assert_eq!(members(&[&["a"], &["a"]]), 1);
        assert_eq!(members(&[&["a"], &["b"]]), 2);
        // The first one must give way to the second.
        assert_eq!(members(&[&["a", "b"], &["a"]]), 2);
        assert_eq!(members(&[&["a", "b"], &["a"], &["b"]]), 2);
        assert_eq!(members(&[&["a", "b"], &["b", "c"], &["a"]]), 3);
    }

    #[test]
    fn versions_of_one_key_are_one_signer() {
        let digest = |name: &str| Digest::sha256(name.as_bytes());
        let signers = Signers {
            keys: vec![BTreeSet::from([digest("v1"), digest("v2")])],
        };
        assert_eq!(signers.count(set(&["v1", "v2"]).iter()), 1);
        assert_eq!(signers.count(set(&["v1", "v2", "other"]).iter()), 2);
        let of = [set(&["v1"]), set(&["v2"])];
        assert_eq!(distinct_members(of.iter(), &signers), 1);
    }
}
