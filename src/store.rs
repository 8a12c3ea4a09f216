//! Content by digest, on disk under the data directory.
//!
//! Layout: `content/<algorithm>/<first two hex>/<hex>`, and `incoming/` for what is not yet known to be right. A file
//! gets its final name only after its bytes had the digest and were synced, so whatever has a final name was whole
//! (a kill at any point leaves at most files in `incoming/`, which the next start removes). Small content is hashed
//! again whenever it enters memory: a file altered behind our back is removed and counts as absent.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::oci::Digest;

/// The content store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    // OWNER `store`
    _private: Arc<()>,
}

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
}

/// Stored content opened for streaming; it stays readable to its end even if evicted meanwhile.
#[derive(Debug)]
pub struct StoredBlob {
    /// Its size in bytes.
    pub size: u64,
    // OWNER `store`: the file
}

/// A transfer into the store that is under way, which any number of readers may follow.
#[derive(Debug, Clone)]
pub struct Transfer {
    // OWNER `store`
    _private: Arc<()>,
}

/// The writing end of a [`Transfer`]. Dropping it before [`Filling::finish`] fails the transfer.
#[derive(Debug)]
pub struct Filling {
    // OWNER `store`
}

/// Why a transfer gave its readers no more bytes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransferError {
    /// The upstream failed for good; the reason was given to [`Filling::fail`].
    #[error("{0}")]
    Upstream(#[source] crate::upstream::Error),
    /// The disk failed (full, for instance).
    #[error("the content store could not take the bytes")]
    Store(#[source] Arc<Error>),
    /// The bytes are complete and are not the right ones.
    #[error("the upstream's bytes do not have the digest asked for")]
    WrongDigest,
    /// The writing end went away.
    #[error("the transfer was given up")]
    Abandoned,
}

/// Whether a transfer was begun or is already under way.
#[derive(Debug)]
pub enum Begin {
    /// Nobody was fetching it: fill it.
    Lead(Filling, Transfer),
    /// Somebody is: follow.
    Follow(Transfer),
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
        tasks: &tokio_util::task::TaskTracker,
    ) -> Result<Self, Error> {
        let _ = (data_dir, capacity_bytes, tasks);
        todo!("owner: store")
    }

    /// Stores small content: digest check, temporary file, fsync, rename. Already present content is left alone.
    ///
    /// # Errors
    /// [`Error::WrongDigest`], or the file system's refusal.
    pub async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Error> {
        let _ = (digest, bytes);
        todo!("owner: store")
    }

    /// Small content, read whole and hashed; absent, larger than `limit_bytes` or altered content is `None`.
    ///
    /// # Errors
    /// The file system's refusal other than absence.
    pub async fn get(&self, digest: &Digest, limit_bytes: u64) -> Result<Option<Bytes>, Error> {
        let _ = (digest, limit_bytes);
        todo!("owner: store")
    }

    /// Opens stored content for streaming; `None` if absent.
    ///
    /// # Errors
    /// The file system's refusal other than absence.
    pub async fn open_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>, Error> {
        let _ = digest;
        todo!("owner: store")
    }

    /// Joins the transfer of `digest`, or begins it. `size` is what a descriptor verified earlier says.
    ///
    /// # Errors
    /// The file system's refusal.
    pub async fn begin(&self, digest: &Digest, size: u64) -> Result<Begin, Error> {
        let _ = (digest, size);
        todo!("owner: store")
    }

    /// The transfer of `digest` under way, if any.
    #[must_use]
    pub fn transfer(&self, digest: &Digest) -> Option<Transfer> {
        let _ = digest;
        todo!("owner: store")
    }
}

impl StoredBlob {
    /// The bytes from `start` (inclusive) to `end` (exclusive), in chunks, from the page cache without a thread hop
    /// where possible.
    #[must_use]
    pub fn into_stream(self, start: u64, end: u64) -> BoxStream<'static, std::io::Result<Bytes>> {
        let _ = (start, end);
        todo!("owner: store")
    }
}

impl Filling {
    /// Takes the next bytes: hashed, written, and readable by followers except for the held-back last piece.
    ///
    /// # Errors
    /// The file system's refusal, or more bytes than the size allows ([`Error::WrongDigest`]).
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let _ = bytes;
        todo!("owner: store")
    }

    /// The number of bytes taken so far: where a broken-off upstream transfer resumes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        todo!("owner: store")
    }

    /// Checks size and digest, syncs and renames, and lets the readers have the rest.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] (the readers' responses break), or the file system's refusal.
    pub async fn finish(self) -> Result<(), Error> {
        todo!("owner: store")
    }

    /// Gives up; the readers' responses break with this reason.
    pub fn fail(self, reason: crate::upstream::Error) {
        let _ = reason;
        todo!("owner: store")
    }
}

impl Transfer {
    /// The size of the whole content in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        todo!("owner: store")
    }

    /// Waits until the byte at `offset` can be read, or the transfer ended; tells whether it can. Lets a caller answer
    /// with a proper status while nothing was sent yet.
    ///
    /// # Errors
    /// What ended the transfer.
    pub async fn readable_from(&self, offset: u64) -> Result<(), TransferError> {
        let _ = offset;
        todo!("owner: store")
    }

    /// The bytes from `start` (inclusive) to `end` (exclusive) as they arrive. The last piece of the content comes only
    /// after the whole of it was found right; a failure ends the stream with an error, so that the response breaks.
    #[must_use]
    pub fn stream(&self, start: u64, end: u64) -> BoxStream<'static, Result<Bytes, TransferError>> {
        let _ = (start, end);
        todo!("owner: store")
    }
}
