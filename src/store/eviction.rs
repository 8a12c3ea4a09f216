//! What is stored and when it was last used, in memory, and what goes first when room is needed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use crate::oci::Digest;

/// Content used within this time is evicted only when nothing else is left: its image may be in the middle of a pull.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// Uses closer together than this are not noted in the file.
const NOTED_USE_INTERVAL: Duration = Duration::from_secs(60 * 60);

const SHARDS: usize = 16;

/// All stored content. Looking something up takes a lock of one shard for reading, for as long as a hash lookup takes.
#[derive(Debug)]
pub(super) struct Index {
    capacity_bytes: u64,
    stored_bytes: AtomicU64,
    evicted: AtomicU64,
    shards: [RwLock<HashMap<Digest, Entry>>; SHARDS],
    /// Held while a file gets or loses its final name, so that index and directory tell the same story.
    changing: Mutex<()>,
    started: Instant,
    started_at_ms: i64,
    #[cfg(test)]
    advanced_ms: AtomicI64,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    /// Milliseconds since 1970, like the times of files.
    used_at_ms: AtomicI64,
}

impl Index {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        Self {
            capacity_bytes,
            stored_bytes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            shards: std::array::from_fn(|_| RwLock::default()),
            changing: Mutex::default(),
            started: Instant::now(),
            started_at_ms: crate::clock::now().as_millisecond(),
            #[cfg(test)]
            advanced_ms: AtomicI64::new(0),
        }
    }

    pub(super) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that content of this size was stored now.
    pub(super) fn insert(&self, digest: &Digest, size: u64) {
        self.insert_entry(digest, size, self.now_ms());
    }

    /// Notes a file found at the start, unless it is known already.
    pub(super) fn insert_existing(&self, digest: &Digest, size: u64, used_at: SystemTime) {
        let used_at_ms = used_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, milliseconds);
        let _inserting = self.changing();
        if !self.with(digest, |entry| entry.is_some()) {
            self.insert_entry(digest, size, used_at_ms.min(self.started_at_ms));
        }
    }

    /// Notes a use, and tells whether it is to be noted in the file as well.
    pub(super) fn touch(&self, digest: &Digest, size: u64) -> bool {
        let now_ms = self.now_ms();
        let last = self.with(digest, |entry| {
            entry.map(|entry| entry.used_at_ms.swap(now_ms, Ordering::Relaxed))
        });
        let Some(last_ms) = last else {
            // Not counted yet after the start, or brought by another process.
            self.insert_entry(digest, size, now_ms);
            return true;
        };
        now_ms - last_ms > milliseconds(NOTED_USE_INTERVAL)
    }

    /// Forgets content, whether or not it was known.
    pub(super) fn forget(&self, digest: &Digest) {
        let Some(shard) = self.shard(digest) else {
            return;
        };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = shard.remove(digest) {
            self.stored_bytes.fetch_sub(entry.size, Ordering::Relaxed);
        }
    }

    /// What to evict so that the rest fits, with `partial_bytes` that lie beside it: least recently used first, nothing
    /// that `is_exempt`, and content used within the grace time only when all else does not suffice.
    pub(super) fn victims(
        &self,
        partial_bytes: u64,
        is_exempt: impl Fn(&Digest) -> bool,
    ) -> Vec<Digest> {
        let stored = self.stored_bytes.load(Ordering::Relaxed);
        let stored = stored.saturating_add(partial_bytes);
        if stored <= self.capacity_bytes {
            return Vec::new();
        }
        // A little more than needed, so that not every commit has to sort the whole index.
        let comfortable = self.capacity_bytes - self.capacity_bytes / 20;
        let mut left = stored;
        let grace_from_ms = self.now_ms() - milliseconds(GRACE);
        let mut candidates = self.candidates(is_exempt);
        candidates.sort_unstable_by_key(|(used_at_ms, ..)| *used_at_ms);
        candidates
            .into_iter()
            .take_while(|(used_at_ms, size, _)| {
                let target = if *used_at_ms < grace_from_ms {
                    comfortable
                } else {
                    self.capacity_bytes
                };
                let needed = left > target;
                left = left.saturating_sub(*size);
                needed
            })
            .map(|(_, _, digest)| digest)
            .collect()
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// Bytes and number of files.
    pub(super) fn stored(&self) -> (u64, u64) {
        let files = self.shards.iter().map(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.len() as u64
        });
        (self.stored_bytes.load(Ordering::Relaxed), files.sum())
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(super) fn count_eviction(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the size of content that is known to be stored.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        self.with(digest, |entry| entry.map(|entry| entry.size))
    }

    fn insert_entry(&self, digest: &Digest, size: u64, used_at_ms: i64) {
        let Some(shard) = self.shard(digest) else {
            return;
        };
        let entry = Entry {
            size,
            used_at_ms: AtomicI64::new(used_at_ms),
        };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        self.stored_bytes.fetch_add(size, Ordering::Relaxed);
        if let Some(previous) = shard.insert(*digest, entry) {
            self.stored_bytes
                .fetch_sub(previous.size, Ordering::Relaxed);
        }
    }

    fn with<T>(&self, digest: &Digest, look: impl FnOnce(Option<&Entry>) -> T) -> T {
        let Some(shard) = self.shard(digest) else {
            return look(None);
        };
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        look(shard.get(digest))
    }

    fn shard(&self, digest: &Digest) -> Option<&RwLock<HashMap<Digest, Entry>>> {
        let first = digest.as_bytes().first().copied().unwrap_or_default();
        self.shards.get(usize::from(first) % SHARDS)
    }

    fn candidates(&self, is_exempt: impl Fn(&Digest) -> bool) -> Vec<(i64, u64, Digest)> {
        let mut candidates = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            candidates.extend(shard.iter().filter(|(digest, _)| !is_exempt(digest)).map(
                |(digest, entry)| {
                    let used_at_ms = entry.used_at_ms.load(Ordering::Relaxed);
                    (used_at_ms, entry.size, *digest)
                },
            ));
        }
        candidates
    }

    /// The time now, which does not jump when the wall clock is set.
    fn now_ms(&self) -> i64 {
        let now_ms = self.started_at_ms + milliseconds(self.started.elapsed());
        #[cfg(test)]
        let now_ms = now_ms + self.advanced_ms.load(Ordering::Relaxed);
        now_ms
    }

    #[cfg(test)]
    pub(super) fn advance(&self, time: Duration) {
        self.advanced_ms
            .fetch_add(milliseconds(time), Ordering::Relaxed);
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
