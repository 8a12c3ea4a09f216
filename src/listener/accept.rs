//! The loop that accepts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activity::Activity;
use super::connection::Connection;
use super::places::{NoPlace, Place, Places};
use super::{Handler, Listener};
use crate::telemetry::Ended;

/// Connections that may wait for a place.
const WAITING_MAX: usize = 64;
/// Connections of parties that hold their share and may wait for a place.
const WAITING_OVER_SHARE_MAX: usize = 32;
/// Time that a connection waits for a place.
const WAITING_TIME_MAX: Duration = Duration::from_secs(5);
/// Pauses after a connection could not be accepted.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Interval of the log lines about connections that could not be accepted.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Accepts connections until `stop`, then lets those that are answering finish. Returns when all have ended.
///
/// The caller bounds the time of that.
pub async fn serve<H: Handler>(listener: Listener, handler: H, stop: CancellationToken) {
    let Listener {
        tcp,
        tls,
        bounds,
        metrics,
    } = listener;
    let connections = TaskTracker::new();
    metrics.set_max(bounds.connections_max);
    let places = Places::new(bounds.connections_max);
    let waiting = Waiting::new();
    let mut failing = Failing::default();
    while let Some(accepted) = stop.run_until_cancelled(tcp.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // A peer that went away again is no reason to pause.
                if error.kind() != std::io::ErrorKind::ConnectionAborted {
                    places.give_up_one();
                    let pause = tokio::time::sleep(failing.note(&error));
                    let _stopped = stop.run_until_cancelled(pause).await;
                }
                continue;
            }
        };
        failing.end();
        let connection = Connection {
            handler: handler.clone(),
            peer,
            bounds,
            metrics: metrics.clone(),
            activity: Arc::new(Activity::new()),
            stop: stop.clone(),
        };
        match places.take(peer, &connection.activity) {
            Ok(place) => {
                connections.spawn(connection.run(stream, tls.clone(), place));
            }
            Err(reason) => match waiting.enter(reason) {
                Some(turn) => {
                    let places = Arc::clone(&places);
                    let tls = tls.clone();
                    connections.spawn(async move {
                        let placed = place(&places, peer, &connection.activity, turn);
                        match connection.stop.run_until_cancelled(placed).await {
                            Some(Ok(place)) => connection.run(stream, tls, place).await,
                            Some(Err(reason)) => connection.metrics.ended(ended(reason)),
                            None => {}
                        }
                    });
                }
                None => metrics.ended(ended(reason)),
            },
        }
    }
    drop(tcp);
    connections.close();
    connections.wait().await;
}

async fn place(
    places: &Arc<Places>,
    peer: SocketAddr,
    activity: &Arc<Activity>,
    _turn: OwnedSemaphorePermit,
) -> Result<Place, NoPlace> {
    places.wait(peer, activity, WAITING_TIME_MAX).await
}

fn ended(reason: NoPlace) -> Ended {
    match reason {
        NoPlace::Full => Ended::Full,
        NoPlace::ShareUsed => Ended::ShareUsed,
    }
}

/// Bounds the connections that wait for a place.
struct Waiting {
    all: Arc<Semaphore>,
    over_share: Arc<Semaphore>,
}

impl Waiting {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(WAITING_MAX)),
            over_share: Arc::new(Semaphore::new(WAITING_OVER_SHARE_MAX)),
        }
    }

    fn enter(&self, reason: NoPlace) -> Option<OwnedSemaphorePermit> {
        let semaphore = match reason {
            NoPlace::Full => &self.all,
            NoPlace::ShareUsed => &self.over_share,
        };
        Arc::clone(semaphore).try_acquire_owned().ok()
    }
}

/// Failures to accept: each is waited out, and they are told together.
#[derive(Debug, Default)]
struct Failing {
    pause: Duration,
    count: u64,
    told: Option<Instant>,
}

impl Failing {
    /// Notes a failure and returns the pause after it.
    fn note(&mut self, error: &std::io::Error) -> Duration {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                times = self.count,
                "Could not accept connections"
            );
            self.told = Some(Instant::now());
            self.count = 0;
        }
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.pause
    }

    fn end(&mut self) {
        self.pause = Duration::ZERO;
    }
}
