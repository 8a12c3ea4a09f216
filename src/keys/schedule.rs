//! When a key is fetched again, and for how long it serves when it cannot be.

use std::time::Duration;

use super::limits::{
    FETCH_TIME_MAX, REFRESH_INTERVAL, REFRESH_INTERVAL_MIN, RETRY_DELAY_MIN, STALE_MAX,
};

/// The times that decide when a key is fetched. See [`super::limits`] for what each means and is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Between two fetches that go well.
    pub interval: Duration,
    /// Between the beginnings of two fetches of a key that was read before.
    pub interval_min: Duration,
    /// From the first failure to the next attempt.
    pub retry_delay_min: Duration,
    /// How long the last known versions vouch.
    pub stale_max: Duration,
    /// For one fetch.
    pub fetch_time_max: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            interval: REFRESH_INTERVAL,
            interval_min: REFRESH_INTERVAL_MIN,
            retry_delay_min: RETRY_DELAY_MIN,
            stale_max: STALE_MAX,
            fetch_time_max: FETCH_TIME_MAX,
        }
    }
}

impl Schedule {
    /// Time from the end of one fetch to the next, after so many failures in a row. `was_read` is whether it has
    /// ever been read: then nothing is urgent, because the last known versions serve. `jitter` in 0..1 spreads
    /// replicas that began together.
    pub(super) fn delay(&self, failures: u32, was_read: bool, jitter: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            // 90 to 110 %.
            return self.interval.mul_f64(0.9 + 0.2 * jitter);
        };
        let factor = 2_u32.saturating_pow(doublings);
        let delay = self.retry_delay_min.saturating_mul(factor);
        let (least, most) = if was_read {
            // Never later than a fetch that goes well would be repeated.
            (self.interval_min, self.interval)
        } else {
            // Nothing can be admitted until it is read: that must be soon after the service is back.
            (self.retry_delay_min, self.interval_min)
        };
        // 100 to 150 %.
        let delay = delay.min(most).mul_f64(1.0 + 0.5 * jitter);
        delay.min(most).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: fn() -> Schedule = Schedule::default;

    #[test]
    fn success_is_followed_after_the_interval() {
        let seconds = [0.0, 0.5, 1.0].map(|jitter| SCHEDULE().delay(0, true, jitter).as_secs());
        assert_eq!(seconds, [270, 300, 330]);
    }

    #[test]
    fn failures_of_a_key_never_read_back_off_from_five_seconds() {
        let seconds: Vec<u64> = (1..=9)
            .map(|failures| SCHEDULE().delay(failures, false, 0.0).as_secs())
            .collect();
        assert_eq!(seconds, [5, 10, 20, 30, 30, 30, 30, 30, 30]);
        assert_eq!(SCHEDULE().delay(2, false, 1.0).as_secs(), 15);
        assert_eq!(SCHEDULE().delay(u32::MAX, false, 1.0).as_secs(), 30);
    }

    #[test]
    fn failures_of_a_key_once_read_keep_the_least_interval() {
        let seconds: Vec<u64> = (1..=5)
            .map(|failures| SCHEDULE().delay(failures, true, 0.0).as_secs())
            .collect();
        assert_eq!(seconds, [30, 30, 30, 40, 80]);
    }
}
