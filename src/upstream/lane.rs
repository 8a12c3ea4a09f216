//! How much we ask of an upstream at once, and when we pause: one lane per purpose, so that trouble with one purpose
//! delays no other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Purpose;

/// The lanes of one upstream.
///
/// A twelfth of the budget is kept for each of the six purposes, at least one request; the rest is for whoever comes
/// first. So however many requests of one purpose hang, the others go on.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: [Lane; PURPOSES],
    shared: Arc<Semaphore>,
}

/// What belongs to one purpose.
#[derive(Debug)]
struct Lane {
    kept: Arc<Semaphore>,
    paused_until: Mutex<Option<Instant>>,
}

/// The right to one request. Goes back when dropped.
#[derive(Debug)]
pub(super) struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// There is no asking before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy {
    /// How long the upstream wants to be left alone; `None` when our own budget is used up.
    pub(super) retry_after: Option<Duration>,
}

const PURPOSES: usize = 6;

/// No upstream stops us for longer, whatever it says: an absurd `Retry-After` must not outlive the incident.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

impl Lanes {
    /// Lanes for at most `requests_max` requests at once; at least one per purpose.
    pub(super) fn new(requests_max: usize) -> Self {
        let kept = (requests_max / (2 * PURPOSES)).max(1);
        let shared = requests_max.saturating_sub(kept * PURPOSES);
        Self {
            lanes: std::array::from_fn(|_| Lane {
                kept: Arc::new(Semaphore::new(kept)),
                paused_until: Mutex::new(None),
            }),
            shared: Arc::new(Semaphore::new(shared)),
        }
    }

    /// Waits until a request may be made.
    ///
    /// # Errors
    /// At once when a pause lasts beyond `deadline`; at `deadline` when the budget is still used up.
    pub(super) async fn enter(&self, purpose: Purpose, deadline: Instant) -> Result<Permit, Busy> {
        let lane = self.lane(purpose);
        let acquire = async {
            tokio::select! {
                biased;
                permit = Arc::clone(&lane.kept).acquire_owned() => permit,
                permit = Arc::clone(&self.shared).acquire_owned() => permit,
            }
        };
        lane.wait(deadline).await?;
        let permit = tokio::time::timeout_at(deadline, acquire).await;
        match permit {
            Ok(Ok(permit)) => Ok(Permit(permit)),
            Ok(Err(_)) | Err(_) => Err(Busy { retry_after: None }),
        }
    }

    /// The upstream wants no requests of this purpose for `duration`.
    pub(super) fn pause(&self, purpose: Purpose, duration: Duration) {
        let until = Instant::now() + duration.min(PAUSE_MAX);
        let mut paused_until = self.lane(purpose).lock();
        *paused_until = Some(paused_until.map_or(until, |earlier| earlier.max(until)));
    }

    fn lane(&self, purpose: Purpose) -> &Lane {
        let [manifest, blob, tags, referrers, referrers_tag, cosign_tag] = &self.lanes;
        match purpose {
            Purpose::Manifest => manifest,
            Purpose::Blob => blob,
            Purpose::Tags => tags,
            Purpose::Referrers => referrers,
            Purpose::ReferrersTag => referrers_tag,
            Purpose::CosignTag => cosign_tag,
        }
    }
}

impl Lane {
    async fn wait(&self, deadline: Instant) -> Result<(), Busy> {
        loop {
            let now = Instant::now();
            let Some(until) = self.lock().filter(|until| *until > now) else {
                return Ok(());
            };
            if until >= deadline {
                return Err(Busy {
                    retry_after: Some(until - now),
                });
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_delays_its_purpose_and_no_other() {
        let lanes = Lanes::new(64);
        lanes.pause(Purpose::Referrers, Duration::from_secs(5));
        let started = Instant::now();
        lanes.enter(Purpose::Manifest, after(10)).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
        let busy = lanes.enter(Purpose::Referrers, after(4)).await.unwrap_err();
        assert_eq!(busy.retry_after, Some(Duration::from_secs(5)));
        assert_eq!(started.elapsed(), Duration::ZERO);
        lanes.enter(Purpose::Referrers, after(10)).await.unwrap();
        assert!(
            started.elapsed() >= Duration::from_secs(5)
                && started.elapsed() < Duration::from_millis(5100)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_pause_does_not_end_a_longer_one() {
        let lanes = Lanes::new(64);
        lanes.pause(Purpose::Tags, Duration::from_secs(5));
        lanes.pause(Purpose::Tags, Duration::from_secs(1));
        assert!(lanes.enter(Purpose::Tags, after(2)).await.is_err());
        lanes.pause(Purpose::Blob, Duration::MAX);
        assert!(lanes.enter(Purpose::Blob, after(16 * 60)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_purpose_never_takes_the_whole_budget() {
        for requests_max in [1, 12, 64] {
            let lanes = Lanes::new(requests_max);
            let mut hung = Vec::new();
            let busy = loop {
                match lanes.enter(Purpose::Manifest, after(1)).await {
                    Ok(permit) => hung.push(permit),
                    Err(busy) => break busy,
                }
            };
            assert_eq!(busy, Busy { retry_after: None });
            assert!(hung.len() <= requests_max, "{}", hung.len());
            for purpose in [
                Purpose::Blob,
                Purpose::Tags,
                Purpose::Referrers,
                Purpose::ReferrersTag,
                Purpose::CosignTag,
            ] {
                hung.push(lanes.enter(purpose, after(1)).await.unwrap());
            }
            assert!(hung.len() <= requests_max.max(PURPOSES));
            hung.remove(0);
            lanes.enter(Purpose::Manifest, after(1)).await.unwrap();
        }
    }
}
