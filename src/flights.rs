//! One piece of work under way per key, however many ask for it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// The outcome on its way; nothing when the work ended without one (it panicked, or the process is stopping).
pub type Landing<V> = Shared<BoxFuture<'static, Option<V>>>;

/// The work under way. Cheap to clone.
pub struct Flights<K, V> {
    under_way: Arc<Mutex<HashMap<K, Landing<V>>>>,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The outcome of the work under way for `key`, begun with `work` if there is none. It runs as a task of its own:
    /// nobody who waits for it can stop it by leaving.
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
        if let Some(landing) = under_way.get(key) {
            return landing.clone();
        }
        let (sender, receiver) = oneshot::channel();
        let landing = receiver.map(Result::ok).boxed().shared();
        under_way.insert(key.clone(), landing.clone());
        drop(under_way);
        let departed = Departed {
            flights: self.clone(),
            key: key.clone(),
        };
        let working = work();
        tasks.spawn(async move {
            let outcome = working.await;
            // Forgotten before it is told: whoever asks from now on finds what was remembered, or begins anew.
            drop(departed);
            let _nobody_waits = sender.send(outcome);
        });
        landing
    }
}

/// Removes its flight when the task ends, also by a panic.
struct Departed<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Departed<K, V> {
    fn drop(&mut self) {
        self.flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
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

    use super::*;

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
