//! Threads of their own for password hashes.
//!
//! A hash keeps a core busy for a tenth of a second or more. Few are computed at a time, at a lower priority than serving,
//! so that guessing takes little time away from pulls. The places go round the parties that wait, and round their
//! connections.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::shares::{Bounds, Full, Shares};

/// Hashes that are computed at a time.
const THREADS_MAX: usize = 2;
/// The most hashes that wait, of one party and of all.
const WAITING_PARTY: usize = 64;
const WAITING: usize = 1024;
/// A third of the weight of serving. Less would make clients wait where other processes keep the machine busy.
const NICENESS: i32 = 5;

static HASHING: LazyLock<Hashing> = LazyLock::new(Hashing::start);

type Job = Box<dyn FnOnce() + Send>;

/// The threads and the places on them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hashing {
    places: Shares,
    jobs: Sender<Job>,
}

/// The places of the process, for the ledger.
#[must_use]
pub fn places() -> &'static Shares {
    &HASHING.places
}

impl Hashing {
    /// The threads of the process.
    pub(super) fn shared() -> Self {
        HASHING.clone()
    }

    fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(cores.min(THREADS_MAX))
    }

    pub(super) fn with_threads(threads: usize) -> Self {
        let (jobs, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            let started = std::thread::Builder::new()
                .name(format!("passwords-{number}"))
                .spawn(move || compute(&receiver));
            if let Err(error) = started {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Could not start a thread for passwords"
                );
            }
        }
        // One party may hold all places, because a hash is short and the next place goes to another party.
        let total = u64::try_from(threads).unwrap_or(1);
        Self {
            places: Shares::new(Bounds {
                total,
                party: total,
                waiting_party: WAITING_PARTY,
                waiting: WAITING,
            }),
            jobs,
        }
    }

    /// Does `work` on one of the threads, on behalf of the current party. Work that has begun goes on when nobody waits
    /// for it any more.
    ///
    /// # Errors
    /// [`Full`] when too many hashes wait, or none ends until `deadline`.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Full> {
        let place = self.places.take(1, deadline).await?;
        let (done, outcome) = oneshot::channel();
        let job = move || {
            let outcome = work();
            drop(place);
            let _nobody_waits = done.send(outcome);
        };
        // Fails if no thread could be started. A panic drops `done`.
        self.jobs
            .send(Box::new(job))
            .map_err(|_no_thread| Full::Abandoned)?;
        outcome.await.map_err(|_panicked| Full::Abandoned)
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> &Shares {
        &self.places
    }
}

/// Takes one job after another until the process ends.
fn compute(jobs: &Mutex<Receiver<Job>>) {
    give_way();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("The check of a password panicked");
        }
    }
}

/// Lowers the priority of this thread. Elsewhere than on Linux the call is about the whole process.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Could not lower the priority of the threads for passwords"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shares::Party;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn party(name: &str) -> Party {
        Party::Identity(name.into())
    }

    #[tokio::test]
    async fn stranger_waits_for_one_hash_and_not_for_all_of_another_party() {
        let hashing = Hashing::with_threads(1);
        let held = hashing.places.try_take(1).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let hash = |name: &'static str| {
            let order = Arc::clone(&order);
            let work = move || order.lock().unwrap().push(name);
            party(name).scope(hashing.run(later(), work))
        };
        let mut attack: Vec<_> = (0..40).map(|_| Box::pin(hash("attacker"))).collect();
        for request in &mut attack {
            assert!(futures::poll!(request).is_pending());
        }
        let stranger = hash("stranger");
        let freeing = async { drop(held) };
        let (attack, stranger, ()) =
            tokio::join!(futures::future::join_all(attack), stranger, freeing);
        assert!(stranger.is_ok() && attack.iter().all(Result::is_ok));
        let order = order.lock().unwrap();
        let turn = order.iter().position(|name| *name == "stranger");
        assert!(turn.is_some_and(|turn| turn <= 2), "{turn:?}");
    }

    #[tokio::test]
    async fn panic_gives_the_place_back() {
        let hashing = Hashing::with_threads(1);
        let failed = hashing.run(later(), || panic!("on purpose")).await;
        assert_eq!(failed, Err::<(), _>(Full::Abandoned));
        assert_eq!(hashing.run(later(), || 7).await, Ok(7));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashes_give_way_to_serving() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let hashing = Hashing::with_threads(1);
        assert_eq!(hashing.run(later(), niceness).await, Ok(NICENESS));
        assert_ne!(niceness(), NICENESS);
    }
}
