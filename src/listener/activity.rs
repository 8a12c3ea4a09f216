//! The state of a connection, and the clock that ends it.
//!
//! The state consists of atomic numbers, so a request on an open connection takes no lock. The clock is one timer for each
//! connection. It looks at the state only when a deadline may have passed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Bounds;
use crate::telemetry::Ended;

/// Time that a peer has to take the announcement that its connection ends (GOAWAY).
const LEAVING_TIME_MAX: Duration = Duration::from_secs(3);

/// Intervals in which a connection that is being served is looked at, in parts of the progress time.
const LOOKS_PER_PROGRESS_TIME: u32 = 6;

/// The state of one connection. Times are milliseconds since the connection began; 0 stands for "not".
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    /// Requests whose response is not handed over yet.
    requests: AtomicU32,
    /// End of the last request.
    idle_since: AtomicU64,
    /// Arrival of the first byte of a request whose head is incomplete (HTTP/1.1).
    head_since: AtomicU64,
    /// Bytes that the socket took.
    written: AtomicU64,
    /// The socket takes no more at present.
    is_blocked: AtomicBool,
    given_up: Notify,
    /// The peer is to be told that the connection ends.
    is_leaving: AtomicBool,
    /// Index among the held places; changed under their lock only.
    pub(super) place: AtomicUsize,
}

/// A request that is being answered. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Answering {
    activity: Arc<Activity>,
}

/// The end of a connection, as the clock demands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The connection ends as soon as nothing is being answered on it.
    Leave(Ended),
    /// The connection ends at once.
    Cut(Ended),
}

/// The clock of one connection.
#[derive(Debug)]
pub(super) struct Clock {
    activity: Arc<Activity>,
    bounds: Bounds,
    /// Beginning of the time in which the peer must take some bytes, and the bytes written until then.
    mark: (Instant, u64),
    /// End of the time to leave, once the peer was told to.
    leaves_by: Option<Instant>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            requests: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            written: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
            given_up: Notify::new(),
            is_leaving: AtomicBool::new(false),
            place: AtomicUsize::new(usize::MAX),
        }
    }

    /// Notes that a request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Answering {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        Answering {
            activity: Arc::clone(self),
        }
    }

    /// Notes that bytes arrived, which belong to a head unless a request is being answered.
    pub(super) fn read(&self) {
        if self.requests.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Notes that the socket took bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written
            .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.is_blocked.store(false, Ordering::Relaxed);
    }

    /// Notes whether the socket takes no more.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Tells whether something is being answered or sent.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0 || self.is_blocked.load(Ordering::Relaxed)
    }

    /// Returns the time since the peer last had a request, if nothing is being answered or sent.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        if self.is_busy() {
            return None;
        }
        let since = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        Some(self.begun.elapsed().saturating_sub(since))
    }

    /// Ends the connection, because its place is needed for another one.
    pub(super) fn give_up(&self) {
        self.given_up.notify_one();
    }

    /// Has the peer told that the connection ends, as soon as it is looked at again.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Tells once that the peer is to be told, unless something is being sent.
    pub(super) fn says_goodbye(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
            && !self.is_blocked.load(Ordering::Relaxed)
            && self.is_leaving.swap(false, Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        let elapsed = self.begun.elapsed().as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
    }

    fn time(&self, milliseconds: &AtomicU64) -> Option<Instant> {
        match milliseconds.load(Ordering::Relaxed) {
            0 => None,
            milliseconds => Some(self.begun + Duration::from_millis(milliseconds)),
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.activity
            .idle_since
            .store(self.activity.now(), Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clock {
    pub(super) fn new(activity: Arc<Activity>, bounds: Bounds) -> Self {
        let mark = (activity.begun, 0);
        Self {
            activity,
            bounds,
            mark,
            leaves_by: None,
        }
    }

    /// Waits until the connection must end. May be called again after [`Verdict::Leave`].
    pub(super) async fn expire(&mut self) -> Verdict {
        loop {
            let deadline = match self.look(Instant::now()) {
                ControlFlow::Break(verdict) => return verdict,
                ControlFlow::Continue(deadline) => deadline,
            };
            let activity = Arc::clone(&self.activity);
            tokio::select! {
                () = activity.given_up.notified() => return self.leave(Ended::GivenUp),
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Returns the end of the connection, or the time at which to look again.
    fn look(&mut self, now: Instant) -> ControlFlow<Verdict, Instant> {
        let (deadline, ended) = if self.activity.is_blocked.load(Ordering::Relaxed) {
            self.progress(now)
        } else {
            self.mark = (now, self.activity.written.load(Ordering::Relaxed));
            if self.activity.is_busy() {
                let interval = self.bounds.progress_time_max / LOOKS_PER_PROGRESS_TIME;
                return ControlFlow::Continue(now + interval);
            }
            self.idle()
        };
        if now < deadline {
            return ControlFlow::Continue(deadline);
        }
        ControlFlow::Break(if ended == Ended::Idle && self.leaves_by.is_none() {
            self.leave(ended)
        } else {
            Verdict::Cut(ended)
        })
    }

    /// The deadline of a peer that asks nothing, or that is sending its first request.
    fn idle(&self) -> (Instant, Ended) {
        if let Some(leaves_by) = self.leaves_by {
            return (leaves_by, Ended::Idle);
        }
        let header_time_max = self.bounds.header_time_max;
        let head_since = self.activity.time(&self.activity.head_since);
        match (head_since, self.activity.time(&self.activity.idle_since)) {
            (Some(since), Some(_)) => (since + header_time_max, Ended::Header),
            (Some(_) | None, None) => (self.activity.begun + header_time_max, Ended::Header),
            (None, Some(since)) => (since + self.bounds.idle_time_max, Ended::Idle),
        }
    }

    /// The deadline of a peer that does not take what it is sent.
    fn progress(&mut self, now: Instant) -> (Instant, Ended) {
        let written = self.activity.written.load(Ordering::Relaxed);
        if written.saturating_sub(self.mark.1) >= self.bounds.progress_bytes_min {
            self.mark = (now, written);
        }
        let deadline = self.mark.0 + self.bounds.progress_time_max;
        (deadline, Ended::Progress)
    }

    fn leave(&mut self, ended: Ended) -> Verdict {
        self.leaves_by = Some(Instant::now() + LEAVING_TIME_MAX);
        Verdict::Leave(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bounds() -> Bounds {
        Bounds {
            connections_max: 1,
            header_time_max: SECOND * 7,
            idle_time_max: SECOND * 11,
            progress_time_max: SECOND * 13,
            progress_bytes_min: 1000,
        }
    }

    fn clock() -> (Arc<Activity>, Clock) {
        let activity = Arc::new(Activity::new());
        (Arc::clone(&activity), Clock::new(activity, bounds()))
    }

    async fn expired(clock: &mut Clock) -> (Verdict, u64) {
        let started = Instant::now();
        let verdict = clock.expire().await;
        (verdict, started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_request_ends_after_the_header_time() {
        let (_activity, mut clock) = clock();
        let expected = (Verdict::Cut(Ended::Header), 7);
        assert_eq!(expired(&mut clock).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_do_not_prolong_the_header_time() {
        let (activity, mut clock) = clock();
        drop(activity.begin());
        let trickling = Arc::clone(&activity);
        let trickle = async {
            tokio::time::sleep(SECOND * 2).await;
            for _ in 0..20 {
                trickling.read();
                tokio::time::sleep(SECOND).await;
            }
        };
        let (expired, ()) = tokio::join!(expired(&mut clock), trickle);
        let (verdict, seconds) = expired;
        assert_eq!(verdict, Verdict::Cut(Ended::Header));
        assert!((9..=11).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_is_told_to_leave_and_then_cut() {
        let (activity, mut clock) = clock();
        tokio::time::sleep(SECOND).await;
        drop(activity.begin());
        assert_eq!(expired(&mut clock).await, (Verdict::Leave(Ended::Idle), 11));
        let expected = (Verdict::Cut(Ended::Idle), LEAVING_TIME_MAX.as_secs());
        assert_eq!(expired(&mut clock).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn request_that_waits_for_the_proxy_has_no_clock() {
        let (activity, mut clock) = clock();
        let answering = activity.begin();
        let waiting = tokio::time::timeout(SECOND * 1000, clock.expire());
        assert!(waiting.await.is_err());
        drop(answering);
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_takes_nothing_is_cut() {
        let (activity, mut clock) = clock();
        let _answering = activity.begin();
        activity.wrote(100_000);
        activity.set_blocked(true);
        assert_eq!(
            expired(&mut clock).await,
            (Verdict::Cut(Ended::Progress), 13)
        );
    }

    /// Takes `bytes` each second for as long as the connection lives, and returns the seconds until it is cut.
    async fn seconds_of_a_reader(bytes: usize) -> Option<u64> {
        let (activity, mut clock) = clock();
        let _answering = activity.begin();
        activity.set_blocked(true);
        let mut taken = tokio::time::interval(SECOND);
        taken.tick().await;
        let reading = async {
            loop {
                taken.tick().await;
                activity.wrote(bytes);
                activity.set_blocked(true);
            }
        };
        tokio::select! {
            (_, seconds) = expired(&mut clock) => Some(seconds),
            () = reading => None,
            () = tokio::time::sleep(SECOND * 500) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reader_below_the_floor_is_cut_and_one_above_it_is_not() {
        assert_eq!(seconds_of_a_reader(1).await, Some(13));
        assert_eq!(seconds_of_a_reader(60).await, Some(13));
        assert_eq!(seconds_of_a_reader(100).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_is_given_up_leaves_at_once() {
        let (activity, mut clock) = clock();
        drop(activity.begin());
        activity.give_up();
        assert_eq!(
            expired(&mut clock).await,
            (Verdict::Leave(Ended::GivenUp), 0)
        );
    }
}
