//! Threads for work whose size a peer chooses.
//!
//! Conditions, statements, bundles and manifests may be large because somebody wants them to be. Reading and judging them
//! on the threads that serve would make probes and everybody's pulls wait. There are fewer places here than cores, so a
//! core is left for serving, and the queue for them is shared between parties. Small work stays where it is, because a
//! change of threads costs more than it.

use std::sync::LazyLock;

use tokio::time::Instant;

use crate::shares::{Bounds, Full, Shares};

/// Work on this many bytes or more belongs here.
pub const LARGE_BYTES: usize = 64 * 1024;

/// The most pieces of work of one party that wait.
const WAITING_PARTY: usize = 256;
/// The most pieces of work of all parties that wait.
const WAITING: usize = 4096;

static PLACES: LazyLock<Shares> = LazyLock::new(|| Shares::new(bounds(cores())));

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One core serves. A party gets at most half of the others.
fn bounds(cores: usize) -> Bounds {
    let total = u64::try_from(cores.saturating_sub(1).max(1)).unwrap_or(1);
    Bounds {
        total,
        party: total.div_ceil(2),
        waiting_party: WAITING_PARTY,
        waiting: WAITING,
    }
}

/// The places of the process, for the ledger.
#[must_use]
pub fn places() -> &'static Shares {
    &PLACES
}

/// Does large work on a thread of its own, and small work at once. `bytes` is the size of what it is about.
///
/// Work that has begun goes on when nobody waits for it any more, and keeps its place until it ends.
///
/// # Errors
/// [`Full`] when too much waits already, or no place is free until `deadline`.
pub async fn run<T: Send + 'static>(
    bytes: usize,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Full> {
    if bytes < LARGE_BYTES {
        return Ok(work());
    }
    run_apart(deadline, work).await
}

/// Does work on a thread of its own whatever its size, because the work of a condition does not follow from its size.
///
/// # Errors
/// As [`run`].
pub async fn run_apart<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Full> {
    run_within(&PLACES, deadline, work).await
}

async fn run_within<T: Send + 'static>(
    places: &Shares,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Full> {
    let place = places.take(1, deadline).await?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    match done.await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process ends.
        Err(_cancelled) => Err(Full::Abandoned),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn one_core_is_left_for_serving() {
        for (cores, total, party) in [(1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 3, 2), (9, 8, 4)] {
            let bounds = bounds(cores);
            assert_eq!((bounds.total, bounds.party), (total, party), "{cores}");
        }
    }

    #[tokio::test]
    async fn small_work_needs_no_place() {
        let thread = std::thread::current().id();
        let done = run(LARGE_BYTES - 1, soon(), move || {
            std::thread::current().id() == thread
        });
        assert_eq!(done.await, Ok(true));
        let done = run(LARGE_BYTES, soon() + Duration::from_secs(60), move || {
            std::thread::current().id() == thread
        });
        assert_eq!(done.await, Ok(false));
    }

    #[tokio::test]
    async fn place_is_kept_until_work_ends_although_nobody_waits_for_it() {
        let places = Shares::new(bounds(2));
        let (end, ended) = mpsc::channel::<()>();
        let working = run_within(&places, soon(), move || ended.recv());
        // The decision that wanted it is given up.
        assert!(
            tokio::time::timeout(Duration::from_millis(20), working)
                .await
                .is_err()
        );
        assert_eq!(
            run_within(&places, soon(), || ()).await,
            Err(Full::Deadline)
        );
        end.send(()).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(run_within(&places, later, || 7).await, Ok(7));
    }
}
