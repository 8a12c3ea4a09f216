//! Waiting for others, without blaming them for our own queues.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Behalf;

/// How long requests of some work have waited for shares, all together.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<Waited>);

#[derive(Debug, Default)]
struct Waited {
    /// Requests that wait now.
    waiting: usize,
    /// The moment at which the first of them began to wait.
    since: Option<Instant>,
    /// The waits that have ended.
    total: Duration,
}

/// A request that waits. Ends its wait when dropped.
#[derive(Debug)]
pub(super) struct Waiting<'w>(&'w Waits);

/// A time for which somebody else is waited for. The time that the work spends in our own queues does not count.
#[derive(Debug, Clone)]
pub struct Patience {
    behalf: Behalf,
    began: Instant,
    waited_before: Duration,
    time_max: Duration,
}

/// Somebody else did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer in time")]
pub struct Late;

/// The shortest pause between two looks at how long the work has waited.
const LOOK_MIN: Duration = Duration::from_millis(10);

impl Waits {
    /// Begins a wait.
    pub(super) fn begin(&self) -> Waiting<'_> {
        let mut waited = self.lock();
        waited.waiting += 1;
        waited.since.get_or_insert_with(Instant::now);
        drop(waited);
        Waiting(self)
    }

    /// Returns the time for which at least one request waited.
    pub(super) fn total(&self) -> Duration {
        let waited = self.lock();
        let current = waited.since.map(|since| since.elapsed());
        waited.total.saturating_add(current.unwrap_or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waited = self.0.lock();
        waited.waiting -= 1;
        if waited.waiting == 0
            && let Some(since) = waited.since.take()
        {
            waited.total = waited.total.saturating_add(since.elapsed());
        }
    }
}

impl Patience {
    /// Begins to wait for at most `time_max` for work that is done on this behalf.
    #[must_use]
    pub fn new(behalf: Behalf, time_max: Duration) -> Self {
        Self {
            began: Instant::now(),
            waited_before: behalf.waited(),
            behalf,
            time_max,
        }
    }

    /// Waits for `future`.
    ///
    /// # Errors
    /// When the time is over.
    pub async fn wait_for<F: Future>(&self, future: F) -> Result<F::Output, Late> {
        let mut future = pin!(future);
        loop {
            let left = self.left();
            if let Ok(output) = timeout(left.max(LOOK_MIN), &mut future).await {
                return Ok(output);
            }
            if self.is_over() {
                return Err(Late);
            }
        }
    }

    /// Tells if the time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Tells if others had less than the time because the work spent some of it in our own queues.
    #[must_use]
    pub fn excuses_others(&self) -> bool {
        !self.waited().is_zero() && !self.is_over()
    }

    fn left(&self) -> Duration {
        let spent = self.began.elapsed().saturating_sub(self.waited());
        self.time_max.saturating_sub(spent)
    }

    fn waited(&self) -> Duration {
        self.behalf.waited().saturating_sub(self.waited_before)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, Party, Shares, Work};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn one_place() -> Shares {
        Shares::new(Bounds {
            total: 1,
            party: 1,
            waiting_party: 8,
            waiting: 8,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_when_nothing_waits_for_a_share() {
        let (work, _sponsor) = Work::found();
        let patience = Patience::new(Behalf::Work(work), 2 * SECOND);
        let began = Instant::now();
        let waited = patience.wait_for(std::future::pending::<()>()).await;
        assert_eq!(waited, Err(Late));
        assert!(began.elapsed() >= 2 * SECOND && began.elapsed() < 3 * SECOND);
        assert!(patience.is_over() && !patience.excuses_others());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_does_not_count_the_time_in_a_queue() {
        let shares = one_place();
        let held = shares.try_take_for(Party::Proxy, 1).unwrap();
        let (work, _sponsor) = Work::found();
        let behalf = Behalf::Work(work);
        let patience = Patience::new(behalf.clone(), 2 * SECOND);
        let answering = behalf.clone().scope(async {
            let deadline = Instant::now() + 60 * SECOND;
            let _share = shares.take(1, deadline).await.unwrap();
            tokio::time::sleep(SECOND).await;
            "answer"
        });
        let holding = async {
            tokio::time::sleep(9 * SECOND).await;
            drop(held);
        };
        let (answer, ()) = tokio::join!(patience.wait_for(answering), holding);
        assert_eq!(answer, Ok("answer"));
        assert!(patience.excuses_others());
        assert_eq!(behalf.waited().as_secs(), 9);
        // The second that is left is spent outside of any queue.
        let began = Instant::now();
        let waited = patience.wait_for(std::future::pending::<()>()).await;
        assert_eq!(waited, Err(Late));
        assert!(began.elapsed() < 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_at_the_same_time_count_once() {
        let (work, _sponsor) = Work::found();
        let behalf = Behalf::Work(work);
        let shares = one_place();
        let held = shares.try_take_for(Party::Proxy, 1).unwrap();
        let take = || {
            behalf
                .clone()
                .scope(shares.take(1, Instant::now() + 5 * SECOND))
        };
        let (one, two) = tokio::join!(take(), take());
        assert!(one.is_err() && two.is_err());
        drop(held);
        assert_eq!(behalf.waited().as_secs(), 5);
    }
}
