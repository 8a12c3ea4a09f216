//! HTTP/2 streams that take nothing are ended.
//!
//! The HTTP/2 layer runs each stream as a task of its own. That task waits for the peer when the body has given a piece and
//! is not asked for the next one. A task that waits so for too long is dropped, which resets its stream.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

use crate::telemetry::{Ended, ListenerMetrics};

tokio::task_local! {
    static PROGRESS: Cell<Progress>;
}

/// The progress of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// Pieces that were given to the HTTP/2 layer.
    pieces: u64,
    waits_for_peer: bool,
}

/// Notes that a piece of the body was given to the stream of this task.
pub(super) fn note_piece() {
    note(|progress| Progress {
        pieces: progress.pieces + 1,
        waits_for_peer: true,
    });
}

/// Notes that the stream of this task waits for the next piece.
pub(super) fn note_waiting_for_proxy() {
    note(|progress| Progress {
        waits_for_peer: false,
        ..progress
    });
}

fn note(change: impl FnOnce(Progress) -> Progress) {
    // A body that is read outside of a stream has no progress to note.
    let _outside = PROGRESS.try_with(|progress| progress.set(change(progress.get())));
}

/// Runs the streams of one connection.
#[derive(Debug, Clone)]
pub(super) struct StreamExecutor {
    progress_time_max: Duration,
    metrics: ListenerMetrics,
}

impl StreamExecutor {
    /// An executor that ends a stream whose peer makes room for no piece within `progress_time_max`.
    pub(super) fn new(progress_time_max: Duration, metrics: ListenerMetrics) -> Self {
        Self {
            progress_time_max,
            metrics,
        }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let executor = self.clone();
        let watched = async move {
            let mut stream = pin!(stream);
            let mut stall = Stall::new(executor.progress_time_max);
            poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                let expired = stall.poll(context);
                if expired.is_ready() {
                    executor.metrics.ended(Ended::StreamProgress);
                }
                expired
            })
            .await;
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a stream ends with its connection, which is tracked"
        )]
        tokio::spawn(PROGRESS.scope(Cell::default(), watched));
    }
}

/// The clock of a stream. It costs nothing until the stream waits for its peer.
struct Stall {
    time_max: Duration,
    /// Pieces given when the timer was set, and the timer.
    timer: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Stall {
    fn new(time_max: Duration) -> Self {
        Self {
            time_max,
            timer: None,
        }
    }

    /// Ready when the stream has waited for its peer during the whole time.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let progress = PROGRESS.try_with(Cell::get).unwrap_or_default();
        if !progress.waits_for_peer {
            self.timer = None;
            return Poll::Pending;
        }
        let deadline = Instant::now() + self.time_max;
        let (pieces, timer) = self.timer.get_or_insert_with(|| {
            (
                progress.pieces,
                Box::pin(tokio::time::sleep_until(deadline)),
            )
        });
        if *pieces != progress.pieces {
            *pieces = progress.pieces;
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until a stream that does this is ended, or 1,000.
    async fn seconds_of(stream: impl Future<Output = ()> + Send + 'static) -> u64 {
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let metrics = Metrics::new().unwrap().listeners.registry;
        StreamExecutor::new(SECOND * 9, metrics).execute(async move {
            let _alive = alive;
            stream.await;
        });
        let started = Instant::now();
        drop(tokio::time::timeout(SECOND * 1000, ended).await);
        started.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn stream_whose_peer_takes_nothing_is_ended() {
        let stuck = async {
            note_piece();
            std::future::pending().await
        };
        assert_eq!(seconds_of(stuck).await, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_that_waits_for_the_proxy_is_not_ended() {
        let waiting = async {
            note_piece();
            note_waiting_for_proxy();
            std::future::pending().await
        };
        assert_eq!(seconds_of(waiting).await, 1000);
        assert_eq!(seconds_of(std::future::pending()).await, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_whose_peer_takes_a_piece_now_and_then_is_not_ended() {
        let slow = async {
            for _ in 0..50 {
                note_piece();
                tokio::time::sleep(SECOND * 8).await;
            }
            std::future::pending().await
        };
        assert_eq!(seconds_of(slow).await, 49 * 8 + 9);
    }
}
