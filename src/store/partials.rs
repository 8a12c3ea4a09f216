//! The beginnings of content whose transfers broke off, kept so that the next transfer goes on from there.
//!
//! Each is a file in `incoming/` that this process holds open and locked, with the state of its hash. The state of the
//! hash ends with the process, so the next start removes the file like everything else that is incomplete.
//!
//! A partial belongs to the repository whose upstream sent it, and no other one goes on with it. Otherwise a client of
//! one repository could read the beginning of what only another one's upstream has.

use std::collections::HashMap;
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

    /// Keeps a partial. When there are too many or too large ones, it removes the oldest one of the host that has the most
    /// of them, again and again, so that no registry takes the places or the room of another one.
    pub(super) fn keep(&self, partial: Partial, now: Instant) {
        self.remove_if(|_, other| {
            other.digest == partial.digest && other.repository == partial.repository
        });
        let removed = {
            let mut kept = self.lock();
            kept.push((now, partial));
            let mut removed = Vec::new();
            while kept.len() > PARTIALS_MAX {
                removed.extend(remove_of_largest_share(&mut kept, |_| 1));
            }
            while bytes(&kept) > self.bytes_max {
                let arrived = |partial: &Partial| partial.beginning.arrived;
                removed.extend(remove_of_largest_share(&mut kept, arrived));
            }
            removed
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

/// Removes the oldest partial of the host whose partials weigh the most together.
fn remove_of_largest_share(
    kept: &mut Vec<(Instant, Partial)>,
    weight: impl Fn(&Partial) -> u64,
) -> Option<Partial> {
    let oldest = {
        let mut shares: HashMap<&str, u64> = HashMap::new();
        for (_, partial) in &*kept {
            *shares.entry(partial.repository.host()).or_default() += weight(partial);
        }
        let largest = shares.values().copied().max()?;
        kept.iter()
            .position(|(_, partial)| shares.get(partial.repository.host()) == Some(&largest))?
    };
    Some(kept.remove(oldest).1)
}

fn bytes(kept: &[(Instant, Partial)]) -> u64 {
    kept.iter()
        .map(|(_, partial)| partial.beginning.arrived)
        .sum()
}
