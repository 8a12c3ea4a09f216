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
    pause: Mutex<Option<Pause>>,
}

/// The time in which an upstream wants no requests, and when one may pass to see whether that still holds.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    probe_at: Instant,
}

/// The right to one request. Goes back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    #[expect(dead_code, reason = "held for its drop")]
    slot: OwnedSemaphorePermit,
    is_probe: bool,
}

/// There is no asking before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy {
    /// How long the upstream wants to be left alone; `None` when our own budget is used up.
    pub(super) retry_after: Option<Duration>,
}

const PURPOSES: usize = 6;

/// No upstream stops us for longer, whatever it says: an absurd `Retry-After` must not outlive the incident.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// One request passes a pause in this time. Registries ask for minutes and are well again after seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

impl Lanes {
    /// Lanes for at most `requests_max` requests at once; at least one per purpose.
    pub(super) fn new(requests_max: usize) -> Self {
        let kept = (requests_max / (2 * PURPOSES)).max(1);
        let shared = requests_max.saturating_sub(kept * PURPOSES);
        Self {
            lanes: std::array::from_fn(|_| Lane {
                kept: Arc::new(Semaphore::new(kept)),
                pause: Mutex::new(None),
            }),
            shared: Arc::new(Semaphore::new(shared)),
        }
    }

    /// Waits until a request may be made. During a pause, one in [`PROBE_INTERVAL`] may be made all the same.
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
        let is_probe = lane.wait(deadline).await?;
        let slot = tokio::time::timeout_at(deadline, acquire).await;
        match slot {
            Ok(Ok(slot)) => Ok(Permit { slot, is_probe }),
            Ok(Err(_)) | Err(_) => Err(Busy { retry_after: None }),
        }
    }

    /// Takes a place that is free now, for a second request beside one that waits for its answer. None during a pause.
    pub(super) fn try_enter(&self, purpose: Purpose) -> Option<Permit> {
        let lane = self.lane(purpose);
        let now = Instant::now();
        if lane.lock().is_some_and(|pause| pause.until > now) {
            return None;
        }
        let slot = Arc::clone(&lane.kept)
            .try_acquire_owned()
            .or_else(|_| Arc::clone(&self.shared).try_acquire_owned())
            .ok()?;
        Some(Permit {
            slot,
            is_probe: false,
        })
    }

    /// The upstream wants no requests of this purpose for `duration`.
    pub(super) fn pause(&self, purpose: Purpose, duration: Duration) {
        let now = Instant::now();
        let until = now + duration.min(PAUSE_MAX);
        let mut pause = self.lane(purpose).lock();
        *pause = Some(Pause {
            until: pause.map_or(until, |earlier| earlier.until.max(until)),
            probe_at: now + PROBE_INTERVAL,
        });
    }

    /// Ends a pause, because a probe was answered.
    pub(super) fn lift(&self, purpose: Purpose) {
        *self.lane(purpose).lock() = None;
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

impl Permit {
    /// Tells whether the request passes a pause, so that its answer says whether the pause still holds.
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }
}

impl Lane {
    /// Waits for the end of a pause. Returns true for the one request that passes it as a probe.
    async fn wait(&self, deadline: Instant) -> Result<bool, Busy> {
        loop {
            let now = Instant::now();
            let until = {
                let mut pause = self.lock();
                let Some(pause) = pause.as_mut().filter(|pause| pause.until > now) else {
                    return Ok(false);
                };
                if pause.probe_at <= now {
                    pause.probe_at = now + PROBE_INTERVAL;
                    return Ok(true);
                }
                if pause.until >= deadline {
                    return Err(Busy {
                        retry_after: Some(pause.until - now),
                    });
                }
                pause.until
            };
            tokio::time::sleep_until(until).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pause>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn second_request_takes_a_free_place_only() {
        let lanes = Lanes::new(13);
        let held = [
            lanes.try_enter(Purpose::Blob),
            lanes.try_enter(Purpose::Blob),
        ];
        assert!(held.iter().all(Option::is_some));
        assert!(lanes.try_enter(Purpose::Blob).is_some());
        let filled: Vec<_> = std::iter::from_fn(|| lanes.try_enter(Purpose::Blob)).collect();
        assert_eq!(held.len() + filled.len(), 8);
        lanes.enter(Purpose::Blob, after(1)).await.unwrap_err();
        drop(held);
        lanes.pause(Purpose::Blob, Duration::from_secs(5));
        assert!(lanes.try_enter(Purpose::Blob).is_none());
        assert!(lanes.try_enter(Purpose::Tags).is_some());
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
    async fn one_probe_passes_a_long_pause_every_thirty_seconds() {
        let lanes = Lanes::new(64);
        lanes.pause(Purpose::Manifest, Duration::from_secs(600));
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(29)).await;
            lanes.enter(Purpose::Manifest, after(10)).await.unwrap_err();
            tokio::time::advance(Duration::from_secs(1)).await;
            let probe = lanes.enter(Purpose::Manifest, after(10)).await.unwrap();
            assert!(probe.is_probe());
            lanes.enter(Purpose::Manifest, after(10)).await.unwrap_err();
        }
        let other = lanes.enter(Purpose::Blob, after(10)).await.unwrap();
        assert!(!other.is_probe());
        lanes.lift(Purpose::Manifest);
        let free = lanes.enter(Purpose::Manifest, after(10)).await.unwrap();
        assert!(!free.is_probe());
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
