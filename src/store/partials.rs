//! The beginnings of content whose transfers broke off, kept so that the next transfer goes on from there.
//!
//! Each is a file in `incoming/` that this process holds open and locked, with the state of its hash. The state of the
//! hash ends with the process, so the next start removes the file like everything else that is incomplete.
//!
//! A partial belongs to the repository whose upstream sent it, and no other one goes on with it. Otherwise a client of
//! one repository could read the beginning of what only another one's upstream has.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::oci::digest::Hasher;
use crate::oci::{Digest, RepositoryName};

use super::files::Incoming;

/// Partials that are kept at most; each holds a file open.
const PARTIALS_MAX: usize = 64;

/// A partial that nobody went on with for this time is removed.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// Partials may fill this share of the store's capacity, as a divisor.
const CAPACITY_SHARE: u64 = 4;

/// The beginning of content, and what it belongs to.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) digest: Digest,
    /// The size of the whole content.
    pub(super) size: u64,
    /// The repository whose upstream sent it.
    pub(super) repository: RepositoryName,
    pub(super) beginning: Beginning,
}

/// A file to write to, empty or with what arrived before.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) incoming: Incoming,
    /// The hash of what has arrived.
    pub(super) hasher: Hasher,
    /// The number of bytes that have arrived.
    pub(super) arrived: u64,
}

/// All partials, the one kept last at the end.
#[derive(Debug)]
pub(super) struct Partials {
    kept: Mutex<Vec<(Instant, Partial)>>,
    bytes_max: u64,
}

impl Partials {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        Self {
            kept: Mutex::default(),
            bytes_max: capacity_bytes / CAPACITY_SHARE,
        }
    }

    /// Keeps a partial, and removes the oldest ones when there are too many or too large ones.
    pub(super) fn keep(&self, partial: Partial, now: Instant) {
        self.remove_if(|_, other| {
            other.digest == partial.digest && other.repository == partial.repository
        });
        let removed = {
            let mut kept = self.lock();
            kept.push((now, partial));
            let too_many = kept.len().saturating_sub(PARTIALS_MAX);
            let mut excess = bytes(&kept).saturating_sub(self.bytes_max);
            let too_large = kept.iter().take_while(|(_, partial)| {
                let is_excess = excess > 0;
                excess = excess.saturating_sub(partial.beginning.arrived);
                is_excess
            });
            let count = too_large.count().max(too_many);
            kept.drain(..count).collect::<Vec<_>>()
        };
        // The files are removed here, without the lock.
        drop(removed);
    }

    /// Takes out what has arrived of this content for this repository.
    pub(super) fn take(
        &self,
        digest: &Digest,
        size: u64,
        repository: &RepositoryName,
        now: Instant,
    ) -> Option<Beginning> {
        self.remove_if(|kept_at, _| now.saturating_duration_since(kept_at) > AGE_MAX);
        let mut kept = self.lock();
        let position = kept.iter().position(|(_, partial)| {
            partial.digest == *digest && partial.size == size && partial.repository == *repository
        });
        position.map(|position| kept.remove(position).1.beginning)
    }

    /// Removes what has arrived of content that is whole now.
    pub(super) fn forget(&self, digest: &Digest) {
        self.remove_if(|_, partial| partial.digest == *digest);
    }

    /// Removes everything, because the disk may be full.
    pub(super) fn clear(&self) {
        self.remove_if(|_, _| true);
    }

    /// The bytes of all partials together.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.lock())
    }

    fn remove_if(&self, is_unwanted: impl Fn(Instant, &Partial) -> bool) {
        let removed: Vec<_> = self
            .lock()
            .extract_if(.., |(kept_at, partial)| is_unwanted(*kept_at, partial))
            .collect();
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Partial)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(kept: &[(Instant, Partial)]) -> u64 {
    kept.iter()
        .map(|(_, partial)| partial.beginning.arrived)
        .sum()
}
