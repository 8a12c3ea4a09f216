//! Content by digest, on disk under the data directory.
//!
//! Layout: `content/<algorithm>/<first two hex>/<hex>`, and `incoming/` for what is not yet known to be right. A file
//! gets its final name only after its bytes had the digest and were synced, so whatever has a final name was whole
//! (a kill at any point leaves at most files in `incoming/`, which the next start removes). The beginnings of content
//! whose transfers broke off stay in `incoming/` for a while, so that the next transfer goes on with them. Directories are not synced:
//! a name that a power failure takes with it is a copy to fetch again, and syncing it would double the cost of each of
//! the small files that a cold pull stores.
//!
//! Small content is hashed again whenever it enters memory: a file altered behind our back is removed and counts as
//! absent.

mod blob;
mod eviction;
mod files;
mod partials;
#[cfg(test)]
mod tests;
mod transfer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use crate::disk::{Fault, Health};
use crate::oci::Digest;

pub use blob::StoredBlob;
pub use transfer::{Begin, Filling, Source, Transfer, TransferError};

use blob::Buffers;
use eviction::Index;
use files::Files;
use partials::Partials;
use transfer::Transfers;

/// The content store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What all clones of a [`Store`] and its transfers share.
#[derive(Debug)]
struct Shared {
    files: Files,
    index: Index,
    transfers: Transfers,
    partials: Partials,
    buffers: Arc<Buffers>,
    health: Health,
    /// Hosts with content that they delivered a moment ago, until the caller has noted it durably.
    just_delivered: moka::sync::Cache<(String, Digest), ()>,
}

/// Deliveries are remembered here for this time, and this many at most.
const JUST_DELIVERED_FOR: Duration = Duration::from_secs(60);
const JUST_DELIVERED_MAX: u64 = 10_000;

/// Bytes that are written to find out whether the disk takes content again: enough for most manifests and signatures.
const ATTEMPT_BYTES: usize = 1024 * 1024;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("content store: {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The bytes do not have the digest they were to be stored under; nothing was stored.
    #[error("the bytes do not have the digest {0}")]
    WrongDigest(Digest),
    /// The store was opened for reading.
    #[error("the content store is only read here")]
    ReadOnly,
}

impl Error {
    /// Returns the fault of the disk that the error shows.
    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Io { source, .. } => Fault::of(source),
            Self::WrongDigest(_) | Self::ReadOnly => None,
        }
    }
}

/// How full the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The bytes of stored content and of what is kept of transfers that broke off. Below the truth while existing files
    /// are still being counted after the start.
    pub bytes: u64,
    /// The number of stored files.
    pub files: u64,
    /// The bytes above which content is evicted.
    pub capacity_bytes: u64,
    /// Content evicted since the start.
    pub evicted: u64,
    /// Transfers under way.
    pub transfers: usize,
}

impl Store {
    /// Opens the store under `data_dir`, creating it if absent, removing what is incomplete. Returns at once: the
    /// sizes of existing files are counted in the background, on `tasks`.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub async fn open(
        data_dir: &Path,
        capacity_bytes: u64,
        tasks: &TaskTracker,
    ) -> Result<Self, Error> {
        let data_dir = data_dir.to_owned();
        let files = blocking(OPEN, move || Files::open(&data_dir)).await??;
        let store = Self {
            shared: Arc::new(Shared {
                files,
                index: Index::new(capacity_bytes),
                transfers: Transfers::default(),
                partials: Partials::new(capacity_bytes),
                buffers: Arc::default(),
                health: Health::new("content store"),
                just_delivered: just_delivered(),
            }),
        };
        let shared = Arc::clone(&store.shared);
        tasks.spawn_blocking(move || shared.count_existing());
        Ok(store)
    }

    /// Opens the store under `data_dir` as it is, for reading: nothing is stored, evicted, marked as used or removed,
    /// altered content included, so that a process that serves from it does not notice.
    ///
    /// # Errors
    /// When there is none.
    pub async fn open_read_only(data_dir: &Path) -> Result<Self, Error> {
        let data_dir = data_dir.to_owned();
        let files = blocking(OPEN, move || Files::open_read_only(&data_dir)).await??;
        Ok(Self {
            shared: Arc::new(Shared {
                files,
                index: Index::new(u64::MAX),
                transfers: Transfers::default(),
                partials: Partials::new(0),
                buffers: Arc::default(),
                health: Health::new("content store"),
                just_delivered: just_delivered(),
            }),
        })
    }

    /// Stores small content: digest check, temporary file, fsync, rename. Already present content is left alone.
    ///
    /// # Errors
    /// [`Error::WrongDigest`], or the file system's refusal.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Error> {
        let (digest, shared) = (*digest, Arc::clone(&self.shared));
        blocking("store content", move || shared.put(&digest, &bytes)).await?
    }

    /// Small content, read whole and hashed; absent, larger than `limit_bytes` or altered content is `None`.
    ///
    /// # Errors
    /// The file system's refusal other than absence.
    pub async fn get(&self, digest: &Digest, limit_bytes: u64) -> Result<Option<Bytes>, Error> {
        let (digest, shared) = (*digest, Arc::clone(&self.shared));
        blocking("read content", move || shared.get(&digest, limit_bytes)).await?
    }

    /// Returns the size of stored content, where it is known without looking.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.shared.index.size(digest)
    }

    /// Opens stored content for streaming; `None` if absent.
    ///
    /// The bytes are not hashed again. Whoever knows the size compares it with [`StoredBlob::size`] and calls
    /// [`Store::remove`] when they differ.
    ///
    /// # Errors
    /// The file system's refusal other than absence.
    pub async fn open_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>, Error> {
        // A thread hop costs more than the whole warm request; it is needed only when a directory is not in memory.
        let opened = match self.shared.files.open_without_waiting(digest) {
            Some(opened) => Some(opened),
            None => {
                let (digest, shared) = (*digest, Arc::clone(&self.shared));
                blocking("open content", move || shared.files.open_content(&digest)).await??
            }
        };
        let Some((file, size)) = opened else {
            return Ok(None);
        };
        self.shared.note_use(&file, digest, size);
        let store = Arc::clone(&self.shared);
        Ok(Some(StoredBlob::new(file, size, *digest, store)))
    }

    /// Removes content that was found to be wrong. Absent content is no error.
    ///
    /// # Errors
    /// The file system's refusal.
    pub async fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let (digest, shared) = (*digest, Arc::clone(&self.shared));
        blocking("remove content", move || shared.remove(&digest)).await?
    }

    /// Joins the transfer of `digest`, or begins it. `size` is what a descriptor verified earlier says; the transfer
    /// joined is of the size its leader said, see [`Transfer::size`].
    ///
    /// Stored content that the host of `source` has delivered before is followed as a transfer that is already complete. A transfer for the same repository that was suspended ([`Filling::suspend`]) goes on where it
    /// stopped; [`Filling::offset`] tells where. Its readers get nothing before the first new byte has arrived, because
    /// until then the upstream has not shown that it still gives the content.
    ///
    /// # Errors
    /// The file system's refusal.
    pub async fn begin(
        &self,
        digest: &Digest,
        size: u64,
        source: Source<'_>,
    ) -> Result<Begin, Error> {
        transfer::begin(&self.shared, digest, size, source).await
    }

    /// Returns the fault that the last attempt to store content showed, or `others_found` if the disk is full. While there is
    /// one, a file is written now and then.
    pub async fn check(&self, others_found: Option<Fault>) -> Option<Fault> {
        let health = &self.shared.health;
        if let Some(fault @ Fault::Full) = others_found {
            health.failed(fault);
        }
        if health.is_to_be_tried(Instant::now()) {
            let shared = Arc::clone(&self.shared);
            // The outcome is noted there.
            drop(blocking("try to store content", move || shared.attempt()).await);
        }
        health.fault()
    }

    /// As [`Store::check`], without trying.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.shared.health.fault()
    }

    /// Bytes of stored content that are in memory, because clients have not taken them yet.
    #[must_use]
    pub fn sending_bytes(&self) -> u64 {
        self.shared.buffers.sending_bytes() as u64
    }

    /// How full the store is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let index = &self.shared.index;
        let (bytes, files) = index.stored();
        Usage {
            bytes: bytes.saturating_add(self.shared.partials.bytes()),
            files,
            capacity_bytes: index.capacity_bytes(),
            evicted: index.evicted(),
            transfers: self.shared.transfers.len(),
        }
    }
}

const OPEN: &str = "open the data directory";

fn just_delivered() -> moka::sync::Cache<(String, Digest), ()> {
    moka::sync::Cache::builder()
        .max_capacity(JUST_DELIVERED_MAX)
        .time_to_live(JUST_DELIVERED_FOR)
        .build()
}

/// Runs file work on the blocking pool, so that a slow disk stops no other request.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|ended| Error::Io {
            action,
            source: std::io::Error::other(ended),
        })
}

// === impl Shared: blocking file work ===

impl Shared {
    fn note_delivered(&self, host: &str, digest: &Digest) {
        self.just_delivered.insert((host.to_owned(), *digest), ());
    }

    fn has_just_delivered(&self, host: &str, digest: &Digest) -> bool {
        self.just_delivered
            .contains_key(&(host.to_owned(), *digest))
    }

    fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        if !digest.matches(bytes) {
            return Err(Error::WrongDigest(*digest));
        }
        let size = bytes.len() as u64;
        if let Some((_, stored)) = self.files.open_content(digest)?
            && stored == size
        {
            self.index.touch(digest, size);
            return Ok(());
        }
        let stored = self.files.incoming().and_then(|incoming| {
            incoming.write(bytes)?;
            self.commit(incoming, digest, size)
        });
        stored.inspect_err(|error| self.note_failure(error))
    }

    /// Notes what the error says about the disk. Removes all partials if the disk or a quota is full, because others can do
    /// without them.
    fn note_failure(&self, error: &Error) {
        let Some(fault) = error.fault() else {
            return;
        };
        self.health.failed(fault);
        if fault == Fault::Full {
            self.partials.clear();
        }
    }

    /// Writes a file that is not kept, to find out whether the disk takes one.
    fn attempt(&self) {
        let written = self.files.incoming().and_then(|incoming| {
            incoming.write(&vec![0; ATTEMPT_BYTES])?;
            incoming.sync()
        });
        match written {
            Ok(()) => self.health.succeeded(),
            Err(error) => self.note_failure(&error),
        }
    }

    /// Gives checked content its final name and makes room for it.
    fn commit(&self, incoming: files::Incoming, digest: &Digest, size: u64) -> Result<(), Error> {
        incoming.sync()?;
        {
            let _renaming = self.index.changing();
            self.files.keep(incoming, digest)?;
            self.index.insert(digest, size);
        }
        self.health.succeeded();
        self.make_room();
        Ok(())
    }

    fn get(&self, digest: &Digest, limit_bytes: u64) -> Result<Option<Bytes>, Error> {
        let Some((file, size)) = self.files.open_content(digest)? else {
            return Ok(None);
        };
        if size > limit_bytes {
            return Ok(None);
        }
        let bytes = files::read_whole(&file, size)?;
        if !digest.matches(&bytes) {
            if self.files.are_read_only() {
                tracing::warn!(%digest, "Stored content was altered");
                return Ok(None);
            }
            tracing::warn!(%digest, "Stored content was altered: removed");
            self.remove(digest)?;
            return Ok(None);
        }
        self.note_use(&file, digest, size);
        Ok(Some(bytes))
    }

    fn note_use(&self, file: &std::fs::File, digest: &Digest, size: u64) {
        if !self.files.are_read_only() && self.index.touch(digest, size) {
            files::mark_used(file);
        }
    }

    fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let _removing = self.index.changing();
        self.index.forget(digest);
        self.files.remove(digest)
    }

    /// Evicts while the store is above its capacity. A file that cannot be removed stays and is only reported: the
    /// content that was just stored is fine.
    fn make_room(&self) {
        let is_exempt = |digest: &Digest| self.transfers.contains(digest);
        for digest in self.index.victims(self.partials.bytes(), is_exempt) {
            match self.remove(&digest) {
                Ok(()) => self.index.count_eviction(),
                Err(error) => {
                    tracing::warn!(%digest, error = &error as &dyn std::error::Error, "Could not evict content");
                }
            }
        }
    }

    fn count_existing(&self) {
        let counted = self
            .files
            .visit(|digest, size, used_at| self.index.insert_existing(&digest, size, used_at));
        match counted {
            Ok(0) => {}
            Ok(tightened) => {
                tracing::warn!(
                    tightened,
                    "Other users could read stored content: its modes are 0600 now"
                );
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not count stored content"
                );
            }
        }
        self.make_room();
    }
}
