//! One key: what is known of it, and the task that keeps this fresh.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::observer::outcome;
use super::{Error, KeyService, KeyStatus, Observer, Reference, Schedule};
use crate::clock;
use crate::oci::Digest;
use crate::policy::{KeySet, KeyVersion};

/// One key. Only its task changes what is known; everybody else reads, waits, or asks the task to hurry.
#[derive(Debug)]
pub(super) struct Entry {
    reference: Reference,
    schedule: Schedule,
    is_fixed: bool,
    state: watch::Sender<State>,
    hurry: Notify,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    set: Arc<KeySet>,
    /// When the last fetch began; absent before the first.
    began: Option<Instant>,
    is_fetching: bool,
    /// Fetches that have ended.
    fetches: u64,
    /// Failures since the last fetch that went well.
    failures: u32,
    succeeded: Option<(Instant, Timestamp)>,
    failure: Option<(Timestamp, String)>,
    /// The next failure that leaves less than this to the end of [`Schedule::stale_max`] is worth a warning.
    warn_below: Duration,
}

impl Entry {
    pub(super) fn new(
        reference: Reference,
        schedule: Schedule,
        is_fixed: bool,
        stop: CancellationToken,
    ) -> Self {
        let reason = format!("the key {reference} has not been read yet");
        let state = State {
            set: Arc::new(KeySet::Unusable { reason }),
            began: None,
            is_fetching: true,
            fetches: 0,
            failures: 0,
            succeeded: None,
            failure: None,
            warn_below: schedule.stale_max,
        };
        Self {
            reference,
            schedule,
            is_fixed,
            state: watch::Sender::new(state),
            hurry: Notify::new(),
            stop,
        }
    }

    /// A key that nothing can read, for this reason.
    pub(super) fn unusable(reference: Reference, schedule: Schedule, reason: String) -> Self {
        let entry = Self::new(reference, schedule, true, CancellationToken::new());
        entry.state.send_modify(|state| {
            state.set = Arc::new(KeySet::Unusable { reason });
            state.is_fetching = false;
            state.fetches = 1;
        });
        entry
    }

    /// Ends the task, and the fetch under way with it.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    pub(super) fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.state.borrow().set)
    }

    /// Returns when the first fetch has ended, or at the deadline.
    pub(super) async fn settled(&self, deadline: Instant) {
        self.wait_for(1, deadline).await;
    }

    /// See [`super::Keys::refresh`].
    pub(super) async fn refresh(&self, deadline: Instant) -> bool {
        if self.is_fixed {
            return false;
        }
        let (before, fetches) = {
            let state = self.state.borrow();
            if !state.is_fetching {
                if !self.may_begin(&state) {
                    return false;
                }
                self.hurry.notify_one();
            }
            (Arc::clone(&state.set), state.fetches)
        };
        self.wait_for(fetches + 1, deadline).await;
        !is_same(&before, &self.current())
    }

    pub(super) fn status(&self) -> KeyStatus {
        let state = self.state.borrow();
        let versions: Vec<_> = identities(&state.set)
            .map(|(version, fingerprint)| (version.cloned(), *fingerprint))
            .collect();
        let serves_until = state
            .succeeded
            .filter(|_| !versions.is_empty())
            .and_then(|(_, at)| at.checked_add(self.schedule.stale_max).ok());
        KeyStatus {
            reference: self.reference.clone(),
            versions,
            succeeded_at: state.succeeded.map(|(_, at)| at),
            failure: state.failure.clone(),
            serves_until,
        }
    }

    /// Fetches the key again and again until stopped.
    pub(super) async fn keep_fresh(
        self: Arc<Self>,
        service: Arc<dyn KeyService>,
        observer: Arc<dyn Observer>,
        changes: Arc<watch::Sender<u64>>,
    ) {
        let stop = self.stop.clone();
        let forever = async {
            loop {
                let began = Instant::now();
                self.state.send_modify(|state| {
                    state.began = Some(began);
                    state.is_fetching = true;
                });
                let fetched = self.fetch(&*service, began).await;
                let word = fetched.as_ref().map_or_else(outcome, |_versions| "ok");
                observer.refreshed(&self.reference, word, began.elapsed());
                self.learn(fetched, &changes);
                self.pause(&changes).await;
            }
        };
        stop.run_until_cancelled(forever).await;
    }

    /// One fetch. A service that panics or outlasts its time has failed like one that says so.
    async fn fetch(
        &self,
        service: &dyn KeyService,
        began: Instant,
    ) -> Result<Vec<KeyVersion>, Error> {
        let unavailable = |reason: &str| Error::Unavailable {
            host: self.reference.scheme().as_str().to_owned(),
            reason: reason.to_owned(),
        };
        let deadline = began + self.schedule.fetch_time_max;
        let fetch = AssertUnwindSafe(service.fetch(&self.reference, deadline)).catch_unwind();
        match timeout_at(deadline, fetch).await {
            Ok(Ok(Ok(versions))) if versions.is_empty() => Err(Error::NotFound {
                host: self.reference.scheme().as_str().to_owned(),
                message: "it has no version that may vouch".to_owned(),
            }),
            Ok(Ok(fetched)) => fetched,
            Ok(Err(_panic)) => Err(unavailable("reading the key failed in a way that is a bug")),
            Err(_elapsed) => Err(unavailable("it did not answer in time")),
        }
    }

    /// Takes over what was fetched, or what its failure means.
    fn learn(&self, fetched: Result<Vec<KeyVersion>, Error>, changes: &watch::Sender<u64>) {
        let now = (Instant::now(), clock::now());
        let before = self.current();
        self.state.send_modify(|state| {
            state.is_fetching = false;
            state.fetches += 1;
            match fetched {
                Ok(versions) => {
                    if state.failures > 0 {
                        tracing::info!(key = %self.reference, "the key is read again");
                    }
                    state.set = Arc::new(KeySet::Known(versions));
                    state.failures = 0;
                    state.succeeded = Some(now);
                    state.failure = None;
                    state.warn_below = self.schedule.stale_max;
                }
                Err(error) => {
                    state.failures = state.failures.saturating_add(1);
                    state.failure = Some((now.1, error.to_string()));
                    self.fail(state, &error, now.0);
                }
            }
            tell(&before, state, changes);
        });
    }

    /// What a failure means for the versions known so far.
    fn fail(&self, state: &mut State, error: &Error, now: Instant) {
        let key = &self.reference;
        let unusable = |reason| Arc::new(KeySet::Unusable { reason });
        let left = match state.succeeded {
            Some((at, _)) if !state.set.versions().is_empty() => {
                self.schedule.stale_max.saturating_sub(now - at)
            }
            Some(_) | None => Duration::ZERO,
        };
        // An answer, not a failure to get one: what vouched before must not any more.
        let is_definite = matches!(error, Error::NotFound { .. });
        if is_definite || left.is_zero() {
            state.set = unusable(format!("the key {key} cannot be read: {error}"));
            tracing::warn!(%key, %error, "the key cannot be read: what it must vouch for cannot be decided");
        } else if left <= state.warn_below {
            // Each warning halves the time to the next: the nearer the end, the more often.
            state.warn_below = left / 2;
            tracing::warn!(
                %key,
                %error,
                serves_for_s = left.as_secs(),
                "the key cannot be read: its last known versions serve"
            );
        }
    }

    /// Waits until the next fetch is due, or is asked for and allowed. Meanwhile the known versions may grow too old.
    async fn pause(&self, changes: &watch::Sender<u64>) {
        let (failures, succeeded) = {
            let state = self.state.borrow();
            (state.failures, state.succeeded)
        };
        let delay = self
            .schedule
            .delay(failures, succeeded.is_some(), rand::random());
        let due = Instant::now() + delay;
        let stale = succeeded.map(|(at, _)| at + self.schedule.stale_max);
        loop {
            let is_stale = stale.is_some_and(|stale| stale <= Instant::now());
            if is_stale {
                self.expire(changes);
            }
            let next = stale
                .filter(|stale| !is_stale && *stale < due)
                .unwrap_or(due);
            tokio::select! {
                () = sleep_until(next) => {
                    if next == due {
                        return;
                    }
                }
                () = self.hurry.notified() => {
                    // Asked for while the fetch before was under way, it may be too early.
                    if self.may_begin(&self.state.borrow()) {
                        return;
                    }
                }
            }
        }
    }

    /// The versions known have vouched for long enough.
    fn expire(&self, changes: &watch::Sender<u64>) {
        let before = self.current();
        if before.versions().is_empty() {
            return;
        }
        let key = &self.reference;
        self.state.send_modify(|state| {
            let failure = state.failure.as_ref();
            let failure = failure.map_or("no fetch has ended since", |(_, failure)| failure);
            let reason = format!("the key {key} was last read too long ago: {failure}");
            state.set = Arc::new(KeySet::Unusable { reason });
            tell(&before, state, changes);
        });
        tracing::warn!(%key, "the key was last read too long ago: what it must vouch for cannot be decided");
    }

    /// Whether the last fetch began long enough ago for one more. That of the start was nobody's asking: the first who
    /// asks need not wait for it to grow old.
    fn may_begin(&self, state: &State) -> bool {
        let is_first = state.fetches == 1 && state.failures == 0;
        let began = state.began;
        is_first || began.is_none_or(|began| began.elapsed() >= self.schedule.interval_min)
    }

    /// Waits until so many fetches have ended, or for the deadline or the end of the task.
    async fn wait_for(&self, fetches: u64, deadline: Instant) {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| state.fetches >= fetches);
        let ended = self.stop.run_until_cancelled(ended);
        // Whichever it was: who waits looks at what is known then.
        drop(timeout_at(deadline, ended).await);
    }
}

/// Counts a change. This is while the state is held, so that whoever sees that a fetch has ended sees its change counted.
fn tell(before: &KeySet, state: &State, changes: &watch::Sender<u64>) {
    if !is_same(before, &state.set) {
        changes.send_modify(|count| *count += 1);
    }
}

/// Whether the same versions may vouch, or none for the same reason.
fn is_same(one: &KeySet, other: &KeySet) -> bool {
    match (one, other) {
        (KeySet::Known(_), KeySet::Known(_)) => identities(one).eq(identities(other)),
        (KeySet::Unusable { reason: one }, KeySet::Unusable { reason: other }) => one == other,
        (KeySet::Known(_), KeySet::Unusable { .. })
        | (KeySet::Unusable { .. }, KeySet::Known(_)) => false,
    }
}

fn identities(set: &KeySet) -> impl Iterator<Item = (Option<&String>, &Digest)> {
    let versions = set.versions().iter();
    versions.map(|known| (known.version.as_ref(), &known.key.fingerprint))
}
