//! One trusted root: what is in force, and when it is looked after.

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::repository::{Known, Repository, Standing, usable};
use super::roots::{Error, Source};
use super::status::{Failure, RootStatus, describe, warnings};
use crate::clock;
use crate::oci::Digest;
use crate::policy::material::Root;
use crate::verify::TrustedRoot;

/// A trusted root, looked after.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    source: Source,
    repository: Option<Arc<Repository>>,
    max_stale: Duration,
    changes: watch::Sender<u64>,
    /// One refresh at a time.
    refreshing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: Option<Known>,
    standing: Standing,
    /// When what stands was taken in, on a clock that nobody can set.
    standing_since: Instant,
    /// The content of the file that was read last, usable or not.
    file: Option<Digest>,
    failure: Option<Failure>,
    failures: u32,
    warned: Option<Timestamp>,
    published: Root,
}

/// How often files are read, ages are looked at and due refreshes are started.
const TICK: Duration = Duration::from_secs(10);
const REFRESH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_LAST: Duration = Duration::from_secs(60 * 60);
/// The first refresh is within this time, so that a fleet that starts at once does not ask at once.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
const WARNING_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// For one refresh with all that it asks and keeps: longer than its parts may take, so that only what hangs ends here.
const REFRESH_TIME_MAX: Duration = Duration::from_secs(5 * 60);
/// For keeping what was fetched. Storage may hang, and a root must be judged by its age all the same.
const STORAGE_TIME_MAX: Duration = Duration::from_secs(30);

impl Entry {
    pub(super) fn open(
        name: String,
        source: Source,
        repository: Option<Repository>,
        max_stale: Duration,
        changes: watch::Sender<u64>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut state = State {
            known: None,
            standing: Standing::default(),
            standing_since: Instant::now(),
            file: None,
            failure: None,
            failures: 0,
            warned: None,
            published: Root::Unusable {
                reason: String::new(),
            },
        };
        if let Source::File { path } = &source {
            let (digest, root) = read_file(path)?;
            state.file = Some(digest);
            state.standing.root = Some(root?);
        }
        if let Some(repository) = &repository {
            let known = repository.open(now)?;
            state.standing = repository.standing(&known);
            state.known = Some(known);
        }
        let entry = Self {
            name,
            source,
            repository: repository.map(Arc::new),
            max_stale,
            changes,
            refreshing: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
        };
        entry.with(|state| state.published = entry.judge(state, now));
        Ok(entry)
    }

    pub(super) fn current(&self) -> Root {
        self.with(|state| state.published.clone())
    }

    pub(super) async fn refresh(&self, now: Timestamp) -> Result<bool, Error> {
        let _turn = self.refreshing.lock().await;
        let before = self.with(|state| state.digest());
        let outcome = guarded(async {
            match (&self.source, &self.repository) {
                (Source::File { path }, _) => self.reload(path).await,
                (_, Some(repository)) => self.fetch(repository, now).await,
                (Source::BuiltIn { .. } | Source::Tuf { .. }, None) => Ok(()),
            }
        })
        .await;
        let after = self.with(|state| {
            match &outcome {
                Ok(()) => (state.failure, state.failures) = (None, 0),
                Err(error) => {
                    let reason = describe(error);
                    state.failure = Some(Failure { time: now, reason });
                    state.failures = state.failures.saturating_add(1);
                }
            }
            state.digest()
        });
        self.publish(now);
        outcome.map(|()| before != after)
    }

    async fn reload(&self, path: &Path) -> Result<(), Error> {
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read_file(&file)).await;
        let (digest, root) = read.map_err(|_ended| Error::Ended)??;
        self.with(|state| {
            let root = root?;
            state.file = Some(digest);
            state.standing.root = Some(root);
            Ok(())
        })
    }

    async fn fetch(&self, repository: &Arc<Repository>, now: Timestamp) -> Result<(), Error> {
        let Some(ours) = self.with(|state| state.known.clone()) else {
            return Ok(());
        };
        // Another process may have fetched something newer: it is the floor for what we accept.
        let known = match keep(repository, ours.clone()).await {
            Ok(known) => known,
            // A disk that cannot be written keeps nobody from fetching.
            Err(_) => ours,
        };
        self.take(repository, known.clone());
        let now = self.with(|state| state.time(now));
        let (found, fetched) = repository.fetch(&known, now).await;
        self.take(repository, found.clone());
        let kept = keep(repository, found)
            .await
            .map(|known| self.take(repository, known));
        fetched.and(kept)
    }

    fn take(&self, repository: &Repository, known: Known) {
        self.with(|state| {
            let standing = repository.standing(&known);
            if standing.time_at_least != state.standing.time_at_least {
                state.standing_since = Instant::now();
            }
            state.standing = standing;
            state.known = Some(known);
        });
    }

    /// Says what is in force, if that is something else than before.
    fn publish(&self, now: Timestamp) {
        let (is_other, is_extended) = self.with(|state| {
            let judged = self.judge(state, now);
            let digest = |root: &Root| match root {
                Root::Usable { root, .. } => Some(root.digest),
                Root::Unusable { .. } => None,
            };
            let until = |root: &Root| match root {
                Root::Usable { until, .. } => *until,
                Root::Unusable { .. } => None,
            };
            let is_other = digest(&judged) != digest(&state.published);
            // Who uses it holds a copy, which ends when it says.
            let is_extended = until(&judged) != until(&state.published);
            state.published = judged;
            (is_other, is_extended)
        });
        if is_other {
            let (name, digest) = (&self.name, self.with(|state| state.digest()));
            match self.current() {
                Root::Usable { .. } => tracing::info!(name, ?digest, "A trusted root has changed"),
                Root::Unusable { reason } => {
                    tracing::error!(name, reason, "A trusted root is no longer usable");
                }
            }
        }
        if is_other || is_extended {
            self.changes.send_modify(|number| *number += 1);
        }
    }

    fn judge(&self, state: &State, now: Timestamp) -> Root {
        let failed = state.failure.as_ref().map(|failure| &failure.reason);
        let failed = failed.map(|reason| format!(": {reason}"));
        let failed = failed.unwrap_or_default();
        let Some(root) = &state.standing.root else {
            let name = &self.name;
            let reason = format!("the trusted root {name} was not fetched yet{failed}");
            return Root::Unusable { reason };
        };
        let until = self.stale_at(state);
        match until {
            Some(stale_at) if state.time(now) >= stale_at => Root::Unusable {
                reason: format!(
                    "the trusted root {} could not be refreshed in time, it counted until {stale_at}{failed}",
                    self.name
                ),
            },
            Some(_) | None => Root::Usable {
                root: Arc::clone(root),
                until,
            },
        }
    }

    fn stale_at(&self, state: &State) -> Option<Timestamp> {
        let counts_from = state.standing.counts_from?;
        let stale_at = SignedDuration::try_from(self.max_stale)
            .ok()
            .and_then(|max_stale| counts_from.checked_add(max_stale).ok());
        Some(stale_at.unwrap_or(Timestamp::MAX))
    }

    pub(super) fn status(&self, now: Timestamp) -> RootStatus {
        self.with(|state| {
            let time = state.time(now);
            let judged = self.judge(state, now);
            let since = |then: Timestamp| {
                u64::try_from(time.duration_since(then).as_secs()).unwrap_or_default()
            };
            let mut status = RootStatus {
                name: self.name.clone(),
                source: self.describe(),
                digest: state.digest(),
                usable: matches!(judged, Root::Usable { .. }),
                reason: match judged {
                    Root::Usable { .. } => None,
                    Root::Unusable { reason } => Some(reason),
                },
                refreshed: state.standing.refreshed,
                age_seconds: state.standing.counts_from.map(since),
                stale_at: self.stale_at(state),
                metadata: state.standing.summary,
                clock_behind_seconds: u64::try_from(time.duration_since(now).as_secs())
                    .unwrap_or_default(),
                failure: state.failure.clone(),
                warnings: Vec::new(),
                authorities: state
                    .standing
                    .root
                    .as_ref()
                    .map_or_else(Vec::new, |root| root.authorities().to_vec()),
            };
            let is_file = matches!(self.source, Source::File { .. });
            status.warnings = warnings(&status, is_file, self.max_stale, time);
            let notes = state.standing.root.as_ref().map(|root| root.notes());
            status.warnings.extend_from_slice(notes.unwrap_or_default());
            status
        })
    }

    fn describe(&self) -> String {
        match (&self.source, &self.repository) {
            (Source::File { path }, _) => format!("file {}", path.display()),
            (Source::BuiltIn { .. }, Some(repository)) => {
                format!("builtin, refreshed from {}", repository.base)
            }
            (Source::Tuf { url, .. }, _) => format!("tuf {url}"),
            (Source::BuiltIn { .. }, None) => "builtin".to_owned(),
        }
    }

    /// Looks after the root until `stop`.
    pub(super) async fn keep_fresh(&self, stop: &CancellationToken) {
        let mut due = Instant::now() + FIRST_WITHIN.mul_f64(rand::random());
        loop {
            let wake = due.min(Instant::now() + TICK);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(wake) => {}
            }
            let now = clock::now();
            if Instant::now() >= due {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = self.refresh(now) => {}
                }
                due = Instant::now() + self.pause();
            }
            let now = clock::now();
            self.publish(now);
            self.warn(now);
        }
    }

    /// How long until the next refresh, scattered by a tenth.
    fn pause(&self) -> Duration {
        let pause = match (&self.source, self.with(|state| state.failures)) {
            (Source::File { .. }, _) => return TICK,
            (Source::BuiltIn { .. } | Source::Tuf { .. }, 0) => REFRESH_INTERVAL,
            (Source::BuiltIn { .. } | Source::Tuf { .. }, failures) => RETRY_FIRST
                .saturating_mul(1 << failures.saturating_sub(1).min(6))
                .min(RETRY_LAST),
        };
        pause.mul_f64(0.9 + 0.2 * rand::random::<f64>())
    }

    /// Logs what is wrong, at most once an hour.
    fn warn(&self, now: Timestamp) {
        let status = self.status(now);
        let is_due = self.with(|state| {
            let is_due = !status.warnings.is_empty()
                && state
                    .warned
                    .is_none_or(|warned| now.duration_since(warned).abs() >= WARNING_INTERVAL);
            if is_due {
                state.warned = Some(now);
            }
            is_due
        });
        if is_due {
            for warning in &status.warnings {
                tracing::warn!(name = self.name, warning, "A trusted root needs attention");
            }
        }
    }

    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn digest(&self) -> Option<Digest> {
        self.standing.root.as_ref().map(|root| root.digest)
    }

    /// `now`, unless the clock is behind what the repository has proved: then what it is at least. A clock that was set
    /// back makes nothing fresh again.
    fn time(&self, now: Timestamp) -> Timestamp {
        let Some(at_least) = self.standing.time_at_least else {
            return now;
        };
        let passed = SignedDuration::try_from(self.standing_since.elapsed()).unwrap_or_default();
        now.max(at_least.saturating_add(passed).unwrap_or(at_least))
    }
}

/// The digest of a file and the root in it.
fn read_file(path: &Path) -> Result<(Digest, Result<Arc<TrustedRoot>, Error>), Error> {
    let text = super::read_text(path)?;
    Ok((Digest::sha256(text.as_bytes()), usable(text.as_bytes())))
}

/// Keeps what is known, unless storage hangs. What hangs keeps its turn, so that there is never more than one that does.
async fn keep(repository: &Arc<Repository>, known: Known) -> Result<Known, Error> {
    let keeping = async {
        let turn = Arc::clone(&repository.keeping).lock_owned().await;
        let repository = Arc::clone(repository);
        let kept = tokio::task::spawn_blocking(move || {
            let kept = repository.keep(known);
            drop(turn);
            kept
        });
        kept.await.map_err(|_ended| Error::Ended)?
    };
    let kept = tokio::time::timeout(STORAGE_TIME_MAX, keeping).await;
    kept.unwrap_or_else(|_elapsed| Err(repository.not_kept(io::ErrorKind::TimedOut.into())))
}

/// What a refresh gives, if it ends and does not panic: whatever a mirror sends, the next attempt is made.
async fn guarded(refresh: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let refresh = AssertUnwindSafe(refresh).catch_unwind();
    match tokio::time::timeout(REFRESH_TIME_MAX, refresh).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => Err(Error::Panicked),
        Err(_elapsed) => Err(Error::TimeOut),
    }
}

#[cfg(test)]
mod tests;
