//! The time for which a decision holds.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::conclusion::later;

/// The time for which something that was decided here holds, by two clocks.
///
/// The wall clock says when conditions end, and goes on while the machine sleeps. It may also jump. So what was decided
/// holds no longer than planned by the monotonic clock either, and not at all if it was decided in the future.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    made_at: Timestamp,
    made: Instant,
    until: Timestamp,
}

/// A decision may be this much newer than the request that finds it: each request reads the clock when it begins.
const NEWER_MAX: Duration = Duration::from_secs(60);

impl Validity {
    /// Something decided at `made_at`, which was the moment `made`, holds until `until`.
    pub(super) fn new(made_at: Timestamp, made: Instant, until: Timestamp) -> Self {
        Self {
            made_at,
            made,
            until,
        }
    }

    /// Tells if it still holds for a request of the time `now`.
    pub(super) fn holds(&self, now: Timestamp) -> bool {
        let planned = Duration::try_from(self.until.duration_since(self.made_at));
        now < self.until
            && self.made_at <= later(now, NEWER_MAX)
            && planned.is_ok_and(|planned| self.made.elapsed() < planned)
    }

    /// Returns the first time at which it no longer holds.
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, ToSpan};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000 + seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn validity_ends_by_the_wall_clock() {
        let validity = Validity::new(at(0), Instant::now(), at(30));
        for (now, holds) in [(0, true), (29, true), (30, false), (4000, false)] {
            assert_eq!(validity.holds(at(now)), holds, "{now}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn validity_ends_by_the_monotonic_clock_while_the_wall_clock_stands_still() {
        for planned in [1, 30, 86_400] {
            let validity = Validity::new(at(0), Instant::now(), at(planned));
            let planned = Duration::from_secs(planned.unsigned_abs());
            tokio::time::advance(planned - SECOND / 2).await;
            assert!(validity.holds(at(0)), "{planned:?}");
            tokio::time::advance(SECOND).await;
            assert!(!validity.holds(at(0)), "{planned:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn validity_that_began_in_the_future_is_none() {
        for ahead in [61, 7200, 315_360_000] {
            let validity = Validity::new(at(ahead), Instant::now(), at(ahead + 86_400));
            assert!(!validity.holds(at(0)), "{ahead}");
        }
        let newer_than_a_waiting_request = Validity::new(at(12), Instant::now(), at(13));
        assert!(newer_than_a_waiting_request.holds(at(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn validity_without_end_or_with_an_end_in_the_past_is_no_trouble() {
        let endless = Validity::new(at(0), Instant::now(), Timestamp::MAX);
        assert!(endless.holds(at(0) + 9000.hours()));
        let ended = Validity::new(at(0), Instant::now(), Timestamp::MIN);
        assert!(!ended.holds(at(0)));
    }
}
