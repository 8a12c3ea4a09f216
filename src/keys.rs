//! Public keys that are kept in key services: fetched, checked, and kept fresh off the request path.
//!
//! [`Keys`] holds what is known of every key that the configuration names. One task per key fetches it through the
//! [`KeyService`] of its scheme; readers never wait. A request can ask for one fetch more, at most every 30 seconds,
//! and only learns whether it changed anything: what a registry sends costs a key service nothing.

pub mod aws;
pub mod azure;
pub mod google;
pub mod kubernetes;
pub mod limits;
pub mod vault;

mod entry;
mod observer;
mod reference;
mod reference_error;
mod rest;
mod schedule;
mod service;
mod subject_public_key;
mod versions;
mod wire;

#[cfg(test)]
mod fake_service;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::oci::Digest;
use crate::policy::KeySet;
use entry::Entry;

pub use limits::VERSIONS_MAX;
pub use observer::{NoObserver, Observer};
pub use reference::{Reference, Scheme};
pub use reference_error::ReferenceError;
pub use schedule::Schedule;
pub use service::{BuildError, Error, KeyService};

/// The keys behind all references, kept fresh. A clone is the same keys.
#[derive(Debug, Clone)]
pub struct Keys {
    shared: Arc<Shared>,
}

/// What is known of one key, for operators.
#[derive(Debug, Clone)]
pub struct KeyStatus {
    /// Which key.
    pub reference: Reference,
    /// The versions that may vouch now, the newest first: their names and fingerprints. None while it is unusable.
    pub versions: Vec<(Option<String>, Digest)>,
    /// When it was last read.
    pub succeeded_at: Option<Timestamp>,
    /// The last failure since it was last read: when, and why.
    pub failure: Option<(Timestamp, String)>,
    /// When the versions stop vouching unless the key is read again before. Absent while it is unusable.
    pub serves_until: Option<Timestamp>,
}

#[derive(Debug)]
struct Shared {
    services: BTreeMap<Scheme, Arc<dyn KeyService>>,
    observer: Arc<dyn Observer>,
    tasks: TaskTracker,
    schedule: Schedule,
    entries: Mutex<BTreeMap<Reference, Arc<Entry>>>,
    changes: Arc<watch::Sender<u64>>,
    stop: CancellationToken,
    /// Nobody reads the keys any more: nothing need be fetched.
    _stop_when_dropped: DropGuard,
}

impl Keys {
    /// No keys yet; see [`Self::want`]. Fetches run on `tasks` until `stop`, or until the last clone is dropped.
    #[must_use]
    pub fn new(
        services: BTreeMap<Scheme, Arc<dyn KeyService>>,
        observer: Arc<dyn Observer>,
        tasks: TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        Self::with_schedule(services, observer, tasks, stop, Schedule::default())
    }

    /// The same with other times between fetches.
    #[must_use]
    pub fn with_schedule(
        services: BTreeMap<Scheme, Arc<dyn KeyService>>,
        observer: Arc<dyn Observer>,
        tasks: TaskTracker,
        stop: &CancellationToken,
        schedule: Schedule,
    ) -> Self {
        let stop = stop.child_token();
        Self {
            shared: Arc::new(Shared {
                services,
                observer,
                tasks,
                schedule,
                entries: Mutex::default(),
                changes: Arc::new(watch::Sender::new(0)),
                _stop_when_dropped: stop.clone().drop_guard(),
                stop,
            }),
        }
    }

    /// Which keys are wanted from now on, as a new configuration says. Unknown ones begin to be fetched at once in the
    /// background; those no longer wanted are dropped. Must be called on the runtime.
    pub fn want(&self, references: BTreeSet<Reference>) {
        let mut entries = self.entries();
        entries.retain(|reference, entry| {
            let is_wanted = references.contains(reference);
            if !is_wanted {
                entry.stop();
            }
            is_wanted
        });
        for reference in references {
            entries
                .entry(reference)
                .or_insert_with_key(|reference| self.begin(reference.clone()));
        }
    }

    /// What is known of the key now. Never waits. Unusable until its first fetch succeeded, and when nobody wants it.
    #[must_use]
    pub fn current(&self, reference: &Reference) -> Arc<KeySet> {
        self.entry(reference).map_or_else(
            || {
                Arc::new(KeySet::Unusable {
                    reason: format!("the key {reference} is not configured"),
                })
            },
            |entry| entry.current(),
        )
    }

    /// Returns when the first fetch of all of these has ended, one way or the other, or at the deadline.
    pub async fn settled(&self, references: &[Reference], deadline: Instant) {
        for reference in references {
            if let Some(entry) = self.entry(reference) {
                entry.settled(deadline).await;
            }
        }
    }

    /// Fetches the key again now, unless its last fetch (that of the start aside) began less than 30 seconds ago or
    /// nothing about it can have changed, and waits for the end of that fetch or the deadline. Returns whether the set changed. Whoever asks
    /// while a fetch is under way joins it.
    pub async fn refresh(&self, reference: &Reference, deadline: Instant) -> bool {
        match self.entry(reference) {
            Some(entry) => entry.refresh(deadline).await,
            None => false,
        }
    }

    /// Ticks whenever any set changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// What is known of every key, in the order of the references.
    #[must_use]
    pub fn status(&self) -> Vec<KeyStatus> {
        self.entries()
            .values()
            .map(|entry| entry.status())
            .collect()
    }

    fn begin(&self, reference: Reference) -> Arc<Entry> {
        let Shared {
            services,
            observer,
            tasks,
            schedule,
            changes,
            stop,
            ..
        } = &*self.shared;
        let Some(service) = services.get(&reference.scheme()) else {
            let scheme = reference.scheme().as_str();
            let reason =
                format!("the key {reference} cannot be read: nothing reads {scheme}:// keys");
            return Arc::new(Entry::unusable(reference, *schedule, reason));
        };
        let is_fixed = service.is_fixed(&reference);
        let entry = Arc::new(Entry::new(
            reference,
            *schedule,
            is_fixed,
            stop.child_token(),
        ));
        tasks.spawn(Arc::clone(&entry).keep_fresh(
            Arc::clone(service),
            Arc::clone(observer),
            Arc::clone(changes),
        ));
        entry
    }

    fn entry(&self, reference: &Reference) -> Option<Arc<Entry>> {
        self.entries().get(reference).cloned()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<Reference, Arc<Entry>>> {
        // Every change of the map is one insertion or removal: it holds together whatever panicked.
        self.shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
