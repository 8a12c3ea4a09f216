//! Wrong passwords, counted by address and by user of an address, so that guessing becomes slow.
//!
//! A user is counted for each address apart: who guesses at a name cannot lock out the user, who comes from elsewhere.

use std::hash::Hash;
use std::time::Duration;

use moka::ops::compute::{CompResult, Op};
use moka::sync::Cache;
use tokio::time::Instant;

use crate::shares::Party;

/// An address may fail so much more often than one user at it, because several users may share an address.
const ADDRESS_FACTOR: u32 = 4;
/// The time in which all failures are forgotten, one after the other.
const FORGOTTEN_IN: Duration = Duration::from_secs(60);
/// Addresses, and users of addresses, that are counted at a time.
const COUNTED_MAX: u64 = 10_000;

/// The failures of the last minute.
pub(super) struct Failures {
    by_address: Rate<Party>,
    by_user: Rate<(Party, UserProof)>,
}

/// Stands for a user name of any length.
pub(super) type UserProof = [u8; 32];

/// A check that counts as failed until it was right or did not take place.
#[must_use = "the check counts as failed"]
pub(super) struct Attempt<'f> {
    failures: &'f Failures,
    address: Party,
    user: UserProof,
}

/// Too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany {
    /// The time until another attempt is possible.
    pub(super) retry_after: Duration,
}

impl Failures {
    /// Lets a user at one address fail `failures_max` times in a minute.
    pub(super) fn new(failures_max: u32) -> Self {
        Self {
            by_address: Rate::new(failures_max.saturating_mul(ADDRESS_FACTOR)),
            by_user: Rate::new(failures_max),
        }
    }

    /// Counts a check before it begins, so that many at a time do not slip through.
    ///
    /// # Errors
    /// When the user at this address, or the address, has failed too often.
    pub(super) fn begin(&self, address: Party, user: UserProof) -> Result<Attempt<'_>, TooMany> {
        self.by_user.count(&(address.clone(), user))?;
        let attempt = Attempt {
            failures: self,
            address,
            user,
        };
        match self.by_address.count(&attempt.address) {
            Ok(()) => Ok(attempt),
            Err(too_many) => {
                self.by_user.forgive(&attempt.key());
                Err(too_many)
            }
        }
    }
}

impl Attempt<'_> {
    /// Takes the count back.
    pub(super) fn forgive(self) {
        self.failures.by_address.forgive(&self.address);
        self.failures.by_user.forgive(&self.key());
    }

    fn key(&self) -> (Party, UserProof) {
        (self.address.clone(), self.user)
    }
}

/// A number of failures for each key, of which one is forgotten in every interval.
///
/// The time is kept at which all of them will be forgotten, one interval for each.
struct Rate<K> {
    forgotten_at: Cache<K, Instant>,
    interval: Duration,
    /// The intervals of all failures that are possible.
    full: Duration,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Rate<K> {
    fn new(failures_max: u32) -> Self {
        let failures_max = failures_max.max(1);
        let interval = FORGOTTEN_IN / failures_max;
        Self {
            forgotten_at: Cache::builder()
                .max_capacity(COUNTED_MAX)
                .time_to_live(FORGOTTEN_IN)
                .build(),
            interval,
            full: interval * failures_max,
        }
    }

    fn count(&self, key: &K) -> Result<(), TooMany> {
        let now = Instant::now();
        let mut counted = Ok(());
        let counting = self
            .forgotten_at
            .entry_by_ref(key)
            .and_compute_with(|entry| {
                let known = entry.map_or(now, |entry| entry.into_value().max(now));
                let after = known + self.interval;
                let excess = after.saturating_duration_since(now + self.full);
                if excess.is_zero() {
                    Op::Put(after)
                } else {
                    counted = Err(TooMany {
                        retry_after: excess,
                    });
                    Op::Nop
                }
            });
        drop::<CompResult<K, Instant>>(counting);
        counted
    }

    fn forgive(&self, key: &K) {
        let forgiving = self
            .forgotten_at
            .entry_by_ref(key)
            .and_compute_with(|entry| match entry {
                Some(entry) => entry
                    .into_value()
                    .checked_sub(self.interval)
                    .map_or(Op::Remove, Op::Put),
                None => Op::Nop,
            });
        drop::<CompResult<K, Instant>>(forgiving);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const MAX: u32 = 3;

    fn address(last: u8) -> Party {
        Party::network(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn user(number: u8) -> UserProof {
        [number; 32]
    }

    /// Returns true if a check could begin. It fails.
    fn fails(failures: &Failures, from: u8, name: u8) -> bool {
        failures.begin(address(from), user(name)).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn user_is_held_up_at_one_address_only() {
        let failures = Failures::new(MAX);
        let began = (0..9).filter(|_| fails(&failures, 1, 1)).count();
        assert_eq!(began, 3);
        assert!(fails(&failures, 2, 1), "the user from another address");
        assert!(fails(&failures, 1, 2), "another user of the address");
    }

    #[tokio::test(start_paused = true)]
    async fn address_is_held_up_whatever_names_it_tries() {
        let failures = Failures::new(MAX);
        let began = (0..200).filter(|name| fails(&failures, 1, *name)).count();
        assert_eq!(began, 12);
        assert!(fails(&failures, 2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_one_after_the_other() {
        let failures = Failures::new(MAX);
        while fails(&failures, 1, 1) {}
        let too_many = failures.begin(address(1), user(1)).err().unwrap();
        assert_eq!(too_many.retry_after.as_secs(), 20);
        tokio::time::advance(too_many.retry_after).await;
        assert!(fails(&failures, 1, 1));
        assert!(!fails(&failures, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_do_not_count() {
        let failures = Failures::new(MAX);
        for _ in 0..100 {
            failures.begin(address(1), user(1)).ok().unwrap().forgive();
        }
        // A refusal by the address does not count for the user.
        while fails(&failures, 1, 1) {}
        for name in 2..9 {
            while fails(&failures, 1, name) {}
        }
        tokio::time::advance(FORGOTTEN_IN).await;
        assert!(fails(&failures, 1, 9));
    }
}
