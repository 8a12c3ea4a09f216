//! One piece of work under way per key, however many ask for it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::shares::{Behalf, Sponsor, Work};

/// A wait for the outcome of work under way. The outcome is `None` when the work ended without one, because it panicked
/// or the process is stopping.
///
/// Work that waits for its first share of a resource is dropped from that queue when the last landing is dropped.
#[derive(Debug)]
#[must_use = "nobody waits for the outcome when the landing is dropped"]
pub struct Landing<V: Clone> {
    outcome: Outcome<V>,
    sponsor: Sponsor,
}

type Outcome<V> = Shared<BoxFuture<'static, Option<V>>>;

/// The work under way. Cheap to clone.
pub struct Flights<K, V> {
    under_way: Arc<Mutex<HashMap<K, Flight<V>>>>,
}

struct Flight<V> {
    outcome: Outcome<V>,
    work: Arc<Work>,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the work under way for `key`, or begins it with `work` if there is none.
    ///
    /// The work runs as a task of its own and on behalf of all who wait for it. Once it has begun, it goes on although
    /// they leave.
    pub fn join(
        &self,
        key: &K,
        tasks: &TaskTracker,
        work: impl FnOnce() -> BoxFuture<'static, V>,
    ) -> Landing<V> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(key)
            && let Some(sponsor) = flight.work.sponsor()
        {
            return Landing {
                outcome: flight.outcome.clone(),
                sponsor,
            };
        }
        let (founded, sponsor) = Work::found();
        let (sender, receiver) = oneshot::channel();
        let outcome = receiver.map(Result::ok).boxed().shared();
        let flight = Flight {
            outcome: outcome.clone(),
            work: Arc::clone(&founded),
        };
        under_way.insert(key.clone(), flight);
        drop(under_way);
        let removal = Removal {
            flights: self.clone(),
            key: key.clone(),
            work: Arc::clone(&founded),
        };
        let working = work();
        tasks.spawn(Behalf::Work(founded).scope(async move {
            let outcome = working.await;
            // The flight is forgotten before its outcome is told, so a later request finds what was remembered or begins anew.
            drop(removal);
            let _nobody_waits = sender.send(outcome);
        }));
        Landing { outcome, sponsor }
    }
}

impl<V: Clone> Landing<V> {
    /// Returns the work whose outcome is waited for.
    #[must_use]
    pub fn behalf(&self) -> Behalf {
        self.sponsor.behalf()
    }
}

impl<V: Clone> Future for Landing<V> {
    type Output = Option<V>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<V>> {
        self.outcome.poll_unpin(context)
    }
}

/// Removes its flight when the task ends, also by a panic.
struct Removal<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: K,
    work: Arc<Work>,
}

impl<K: Eq + Hash, V> Drop for Removal<K, V> {
    fn drop(&mut self) {
        let mut under_way = self
            .flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // An abandoned flight may have been replaced by a later one.
        if under_way
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(&flight.work, &self.work))
        {
            under_way.remove(&self.key);
        }
    }
}

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self {
            under_way: Arc::clone(&self.under_way),
        }
    }
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self {
            under_way: Arc::default(),
        }
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Flights").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::shares::{Bounds, Shares};

    #[tokio::test]
    async fn works_once_for_all_who_ask_and_again_for_later_ones() {
        let (flights, tasks) = (Flights::<u8, usize>::default(), TaskTracker::new());
        let done = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let done = Arc::clone(&done);
            flights.join(&1, &tasks, || {
                async move { done.fetch_add(1, Ordering::Relaxed) }.boxed()
            })
        };
        let (first, second) = (ask(), ask());
        assert_eq!((first.await, second.await), (Some(0), Some(0)));
        assert_eq!(ask().await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_was_abandoned_in_a_queue_is_begun_anew() {
        let (flights, tasks) = (Flights::<u8, bool>::default(), TaskTracker::new());
        let shares = Shares::new(Bounds {
            total: 1,
            party: 1,
            waiting_party: 9,
            waiting: 9,
        });
        let held = shares.try_take(1);
        let ask = || {
            let (shares, deadline) = (shares.clone(), Instant::now() + Duration::from_secs(9));
            let work = async move { shares.take(1, deadline).await.is_ok() };
            flights.join(&1, &tasks, || work.boxed())
        };
        drop(ask());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shares.usage().waiting, 0);
        let second = ask();
        drop(held);
        assert_eq!(second.await, Some(true));
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn finishes_although_everybody_leaves() {
        let (flights, tasks) = (Flights::<u8, ()>::default(), TaskTracker::new());
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        drop(flights.join(&1, &tasks, || {
            async move {
                tokio::task::yield_now().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
            .boxed()
        }));
        tasks.close();
        tasks.wait().await;
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_panic_is_no_outcome_and_blocks_nobody() {
        let (flights, tasks) = (Flights::<u8, usize>::default(), TaskTracker::new());
        let failed = flights.join(&1, &tasks, || async move { panic!("on purpose") }.boxed());
        assert_eq!(failed.await, None);
        assert_eq!(
            flights.join(&1, &tasks, || async { 7 }.boxed()).await,
            Some(7)
        );
    }
}
