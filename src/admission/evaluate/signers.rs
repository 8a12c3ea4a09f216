//! Who counts as one signer.
//!
//! Two versions of one key are one signer, however they are referred to, and so are two names for one key: a threshold
//! counts distinct keys and identities, not names in a file.

use std::collections::BTreeSet;

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

    /// One voucher that stands for all of the same signer.
    pub(super) fn signer(&self, voucher: &Voucher) -> Voucher {
        let Voucher::Key(fingerprint) = voucher else {
            return voucher.clone();
        };
        let mut groups = self.keys.iter();
        let group = groups.find(|group| group.contains(fingerprint));
        let first = group.and_then(BTreeSet::first).unwrap_or(fingerprint);
        Voucher::Key(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_key_are_one_signer() {
        let key = |name: &str| Voucher::Key(Digest::sha256(name.as_bytes()));
        let digest = |name: &str| Digest::sha256(name.as_bytes());
        let signers = Signers {
            keys: vec![BTreeSet::from([digest("v1"), digest("v2")])],
        };
        assert_eq!(signers.signer(&key("v1")), signers.signer(&key("v2")));
        assert_ne!(signers.signer(&key("v1")), signers.signer(&key("other")));
        assert_eq!(signers.signer(&key("other")), key("other"));
    }
}
