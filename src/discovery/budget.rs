//! The bytes of signature material that all sources together may read for one digest.

use std::sync::atomic::{AtomicU64, Ordering};

use super::relevance::Relevance;

/// The rest of `discovery_bytes_max`. A quarter of the limit is kept for material that the policies require, so that
/// other large attestations cannot keep a signature from being read.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
    reserved: u64,
}

impl Budget {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            left: AtomicU64::new(bytes_max),
            reserved: bytes_max / 4,
        }
    }

    /// Sets `bytes` aside for something that is to be read. Returns false if too few are left for it. Nothing is always
    /// left, because bytes that were set aside before stay so whatever was taken meanwhile.
    pub(super) fn take(&self, bytes: u64, relevance: Relevance) -> bool {
        if bytes == 0 {
            return true;
        }
        let reserved = match relevance {
            Relevance::Wanted => 0,
            Relevance::Unsaid | Relevance::Other => self.reserved,
        };
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes).filter(|left| *left >= reserved)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_leaves_a_quarter() {
        let budget = Budget::new(100);
        assert!(budget.take(70, Relevance::Other));
        assert!(!budget.take(6, Relevance::Unsaid));
        assert!(budget.take(5, Relevance::Unsaid));
        assert!(!budget.take(1, Relevance::Other));
        assert!(!budget.take(26, Relevance::Wanted));
        assert!(budget.take(25, Relevance::Wanted));
        assert!(!budget.take(1, Relevance::Wanted));
    }

    /// A blob as large as announced takes no more bytes once it is read.
    #[test]
    fn bytes_that_were_set_aside_stay_so_when_the_reserve_is_used() {
        for relevance in [Relevance::Unsaid, Relevance::Other] {
            let budget = Budget::new(100);
            assert!(budget.take(70, relevance));
            assert!(budget.take(20, Relevance::Wanted));
            assert!(budget.take(0, relevance), "{relevance:?}");
            assert!(!budget.take(1, relevance), "{relevance:?}");
        }
    }
}
