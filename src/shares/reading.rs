//! The budget of bytes for what is read and held while requests are worked on.
//!
//! Limits for single documents do not add up to a limit. So bytes are taken here before they are read, and go back when
//! what was read is dropped, wherever it went meanwhile.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Bounds, Full, Ledger, Resource, Share, Shares};
use crate::limits::Limits;

/// The budget. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// For small amounts, such as those of ordinary signatures, which so never wait behind large ones.
    small: Shares,
    large: Shares,
}

/// Bytes of the budget that were taken for one thing that is read. Clones share them. They go back with the last clone.
#[derive(Clone, Default)]
pub struct Hold(Arc<Mutex<Vec<Share>>>);

/// Amounts up to this one are small.
const SMALL_BYTES_MAX: u64 = 256 * 1024;
/// The part of the budget for small amounts.
const SMALL_PART: u64 = 8;
/// The part of a budget that one party may hold.
const PARTY_PART: u64 = 4;
/// The most requests that wait, of one party and of all.
const WAITING_PARTY: usize = 256;
const WAITING: usize = 4096;

impl Reading {
    /// Opens the budget. A party may hold a quarter of it, or what the largest decision needs if that is more.
    #[must_use]
    pub fn open(ledger: &Ledger, limits: &Limits) -> Self {
        let total = limits.reading_bytes_max;
        let small = total / SMALL_PART;
        let decision = limits
            .discovery_bytes_max
            .saturating_add(limits.manifest_bytes_max);
        let open = |total: u64, party: u64| {
            let bounds = Bounds {
                total,
                party: party.max(total / PARTY_PART).clamp(1, total.max(1)),
                waiting_party: WAITING_PARTY,
                waiting: WAITING,
            };
            ledger.open(Resource::ReadingBytes, bounds)
        };
        Self {
            small: open(small, 0),
            large: open(total.saturating_sub(small), decision),
        }
    }

    /// Returns a budget without a bound.
    #[must_use]
    pub fn unbounded() -> Self {
        let limits = Limits {
            reading_bytes_max: u64::MAX,
            ..Limits::default()
        };
        Self::open(&Ledger::default(), &limits)
    }

    /// Takes bytes for something that is to be read, on behalf of the current party or work.
    ///
    /// # Errors
    /// [`Full`] when they cannot be had until `deadline`.
    pub async fn begin(&self, bytes: u64, deadline: Instant) -> Result<Hold, Full> {
        let hold = Hold::default();
        self.grow(&hold, bytes, deadline).await?;
        Ok(hold)
    }

    /// Takes more bytes for the same thing.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn grow(&self, hold: &Hold, bytes: u64, deadline: Instant) -> Result<(), Full> {
        if bytes == 0 {
            return Ok(());
        }
        let is_small = hold.bytes().saturating_add(bytes) <= SMALL_BYTES_MAX;
        let shares = if is_small { &self.small } else { &self.large };
        let share = shares.take(bytes, deadline).await?;
        hold.shares().push(share);
        Ok(())
    }
}

impl Hold {
    /// Returns the number of bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shares().iter().map(Share::amount).sum()
    }

    /// Gives back all but `bytes`.
    pub fn shrink(&self, bytes: u64) {
        let mut left = bytes;
        self.shares().retain_mut(|share| {
            share.shrink(left);
            left -= share.amount();
            share.amount() > 0
        });
    }

    /// Gives everything back, for what from now on counts elsewhere, such as in a cache.
    pub fn release(&self) {
        self.shares().clear();
    }

    /// Returns bytes that keep the hold for as long as any part of them lives.
    #[must_use]
    pub fn keep_for(&self, bytes: Bytes) -> Bytes {
        let hold = self.clone();
        Bytes::from_owner(Held { bytes, hold })
    }

    fn shares(&self) -> MutexGuard<'_, Vec<Share>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes and the hold for them.
struct Held {
    bytes: Bytes,
    #[expect(dead_code, reason = "it is held until the bytes are dropped")]
    hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Hold").field(&self.bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Party;
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn reading(decision: u64) -> (Reading, Ledger) {
        let ledger = Ledger::default();
        let limits = Limits {
            reading_bytes_max: 80 * MIB,
            discovery_bytes_max: decision,
            manifest_bytes_max: 1,
            ..Limits::default()
        };
        (Reading::open(&ledger, &limits), ledger)
    }

    fn used(ledger: &Ledger) -> u64 {
        ledger.usage()[&Resource::ReadingBytes].used
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    async fn begin(reading: &Reading, party: &str, bytes: u64) -> Result<Hold, Full> {
        let party = Party::Identity(party.into());
        party.scope(reading.begin(bytes, soon())).await
    }

    #[tokio::test]
    async fn bytes_go_back_with_the_last_part_of_what_was_read() {
        let (reading, ledger) = reading(1);
        let hold = reading.begin(MIB, soon()).await.unwrap();
        let whole = hold.keep_for(Bytes::from(vec![0; 1000]));
        hold.shrink(1000);
        drop(hold);
        let part = whole.slice(10..20);
        drop(whole);
        assert_eq!(used(&ledger), 1000);
        drop(part);
        assert_eq!(used(&ledger), 0);
    }

    #[tokio::test]
    async fn what_counts_elsewhere_counts_no_more() {
        let (reading, ledger) = reading(1);
        let hold = reading.begin(MIB, soon()).await.unwrap();
        reading.grow(&hold, MIB, soon()).await.unwrap();
        let bytes = hold.keep_for(Bytes::from_static(b"x"));
        assert_eq!((hold.bytes(), used(&ledger)), (2 * MIB, 2 * MIB));
        hold.release();
        assert_eq!((bytes.len(), used(&ledger)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn party_holds_a_quarter_and_others_go_on() {
        let (reading, _ledger) = reading(1);
        let mut held = Vec::new();
        while let Ok(hold) = begin(&reading, "greedy", MIB).await {
            held.push(hold);
        }
        assert_eq!(held.len(), 17);
        assert!(begin(&reading, "stranger", 17 * MIB).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn party_can_make_the_largest_decision() {
        let (reading, _ledger) = reading(60 * MIB);
        assert_eq!(
            begin(&reading, "one", 60 * MIB).await.unwrap().bytes(),
            60 * MIB
        );
    }

    #[tokio::test(start_paused = true)]
    async fn small_amounts_do_not_wait_for_large_ones() {
        let (reading, _ledger) = reading(70 * MIB);
        let _all = begin(&reading, "one", 70 * MIB).await.unwrap();
        assert_eq!(
            begin(&reading, "one", MIB).await.err(),
            Some(Full::Deadline)
        );
        assert!(begin(&reading, "one", 20_000).await.is_ok());
        // Small amounts of one party cannot add up to all.
        let mut held = Vec::new();
        while let Ok(hold) = begin(&reading, "one", 200_000).await {
            held.push(hold);
        }
        assert_eq!(held.len(), 13);
        assert!(begin(&reading, "stranger", 200_000).await.is_ok());
    }
}
