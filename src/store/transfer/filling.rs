//! The writing end of a transfer.
//!
//! Hashing and writing happen on the blocking pool: a file system that throttles its writers then stops no request.
//! Bytes that arrive while a job is writing are queued and taken by the same job, so that many small chunks cost one
//! thread hop, and a single chunk is readable as soon as it is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::oci::digest::Hasher;
use crate::store::files::Incoming;
use crate::store::partials::{Beginning, Partial};
use crate::store::{Error, Shared as StoreShared, blocking};

use super::{Shared, TransferError};

/// Bytes that may wait to be written, beyond those being written.
const QUEUED_BYTES_MAX: usize = 512 * 1024;

/// Readers hear of written bytes at least this often.
const PUBLISH_BYTES: u64 = 128 * 1024;

/// The writing end of a [`Transfer`](super::Transfer). Dropping it before [`Filling::finish`] fails the transfer.
#[derive(Debug)]
pub struct Filling {
    shared: Arc<Shared>,
    store: Arc<StoreShared>,
    incoming: Option<Incoming>,
    queue: Arc<Queue>,
    taken: u64,
}

/// What is to be written, and the writer while no job has it.
#[derive(Debug)]
struct Queue {
    state: Mutex<QueueState>,
    /// There is room, or the writer came back, or it failed. Only the one `Filling` waits.
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    pending: Vec<Bytes>,
    pending_bytes: usize,
    writer: Option<Writer>,
    failure: Option<Arc<Error>>,
}

#[derive(Debug)]
struct Writer {
    file: Arc<File>,
    hasher: Hasher,
    position: u64,
}

impl Filling {
    /// Takes the next bytes: hashed, written, and readable by followers except for the held-back last piece. Returns
    /// when there is room for more, which may be before they are written; a cancelled call has taken nothing.
    ///
    /// # Errors
    /// The file system's refusal, also of bytes taken earlier, or more bytes than the size allows
    /// ([`Error::WrongDigest`]). The transfer has then ended for its readers.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let taken = self.taken + bytes.len() as u64;
        if taken > self.shared.size {
            conclude(&self.store, &self.shared, TransferError::WrongDigest);
            return Err(Error::WrongDigest(self.shared.digest));
        }
        let ready = |state: &QueueState| state.pending_bytes < QUEUED_BYTES_MAX;
        let writer = self.queue.when(ready, |state| {
            state.pending_bytes += bytes.len();
            state.pending.push(bytes);
            state.writer.take()
        });
        let writer = writer.await?;
        self.taken = taken;
        if let Some(writer) = writer {
            let (queue, shared, store) = (
                Arc::clone(&self.queue),
                Arc::clone(&self.shared),
                Arc::clone(&self.store),
            );
            // Not awaited: the job gives the writer back through the queue.
            drop(tokio::task::spawn_blocking(move || {
                queue.drain(writer, &shared, &store);
            }));
        }
        Ok(())
    }

    /// The number of bytes taken so far, those of earlier transfers included: where a broken-off upstream transfer
    /// resumes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.taken
    }

    /// Checks size and digest, lets the readers have the rest, syncs and renames.
    ///
    /// The readers do not wait for the disk: their bytes are right, and a crash now only loses the stored copy. When
    /// this returns, the content is stored.
    ///
    /// # Errors
    /// [`Error::WrongDigest`] (the readers' responses break), or the file system's refusal (the readers have their
    /// bytes, and nothing is stored).
    pub async fn finish(mut self) -> Result<(), Error> {
        let idle = |state: &QueueState| state.pending.is_empty() && state.writer.is_some();
        let writer = self.queue.when(idle, |state| state.writer.take()).await?;
        let digest = self.shared.digest;
        let is_right = self.taken == self.shared.size
            && writer.is_some_and(|writer| writer.hasher.finish() == digest);
        let Some(incoming) = self.incoming.take().filter(|_| is_right) else {
            conclude(&self.store, &self.shared, TransferError::WrongDigest);
            return Err(Error::WrongDigest(digest));
        };
        self.shared.end(Ok(()));
        let (shared, store) = (Arc::clone(&self.shared), Arc::clone(&self.store));
        blocking("store content", move || {
            let committed = store
                .commit(incoming, &digest, shared.size)
                .inspect_err(|error| store.note_failure(error));
            store.partials.forget(&digest);
            if committed.is_ok() {
                store.note_delivered(shared.repository.host(), &digest);
            }
            // Only now: whoever comes in between follows this transfer, which is complete, instead of fetching again.
            store.transfers.forget(&shared);
            committed
        })
        .await?
    }

    /// Gives up; the readers' responses break with this reason.
    pub fn fail(self, reason: crate::upstream::Error) {
        conclude(&self.store, &self.shared, TransferError::Upstream(reason));
    }

    /// Gives up, as [`Filling::fail`], and keeps what has arrived for a while, so that the next transfer for the same
    /// repository goes on from there. The digest is checked over all of it before that one is complete.
    pub async fn suspend(mut self, reason: crate::upstream::Error) {
        let idle = |state: &QueueState| state.pending.is_empty() && state.writer.is_some();
        let writer = self.queue.when(idle, |state| state.writer.take()).await;
        if let (Ok(Some(writer)), Some(incoming)) = (writer, self.incoming.take())
            && writer.position > 0
        {
            let partial = Partial {
                digest: self.shared.digest,
                size: self.shared.size,
                repository: self.shared.repository.clone(),
                beginning: Beginning {
                    incoming,
                    hasher: writer.hasher,
                    arrived: writer.position,
                },
            };
            let store = Arc::clone(&self.store);
            let kept = blocking("keep a part of content", move || {
                store.partials.keep(partial, Instant::now());
                store.make_room();
            });
            if let Err(error) = kept.await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not keep a part of content"
                );
            }
        }
        conclude(&self.store, &self.shared, TransferError::Upstream(reason));
    }

    pub(super) fn new(store: Arc<StoreShared>, shared: Arc<Shared>) -> Self {
        Self {
            shared,
            store,
            incoming: None,
            queue: Arc::new(Queue {
                state: Mutex::default(),
                changed: Notify::new(),
            }),
            taken: 0,
        }
    }

    /// Sets the file to write to. The bytes that are in the file already are published together with the first new ones.
    pub(super) fn go_on_from(&mut self, beginning: Beginning) {
        let Beginning {
            incoming,
            hasher,
            arrived,
        } = beginning;
        let file = incoming.file();
        self.shared.is_filled.get_or_init(|| ());
        self.shared.file.get_or_init(|| Arc::clone(&file));
        self.incoming = Some(incoming);
        self.taken = arrived;
        self.queue.lock().writer = Some(Writer {
            file,
            hasher,
            position: arrived,
        });
    }

    /// Completes the transfer with content that turned out to be stored.
    pub(super) fn already_stored(self, file: Arc<File>) {
        self.shared.file.get_or_init(|| file);
        self.shared.end(Ok(()));
        self.store.transfers.forget(&self.shared);
    }

    /// Ends the transfer because no file could be made for it.
    pub(super) fn refused(self, error: Error) -> Error {
        let again = again(&error);
        let reason = TransferError::Store(Arc::new(error));
        conclude(&self.store, &self.shared, reason);
        again
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.shared.has_ended() {
            conclude(&self.store, &self.shared, TransferError::Abandoned);
        }
        self.queue.lock().pending.clear();
    }
}

/// Ends a transfer that failed. It is forgotten first: whoever hears of the failure and begins again leads.
fn conclude(store: &StoreShared, shared: &Arc<Shared>, reason: TransferError) {
    store.transfers.forget(shared);
    shared.end(Err(reason));
}

// === impl Queue ===

impl Queue {
    /// Waits until the state is `ready`, then does something with it; fails when writing failed.
    async fn when<T>(
        &self,
        ready: impl Fn(&QueueState) -> bool,
        then: impl FnOnce(&mut QueueState) -> T,
    ) -> Result<T, Error> {
        loop {
            {
                let mut state = self.lock();
                if let Some(failure) = &state.failure {
                    return Err(again(failure));
                }
                if ready(&state) {
                    return Ok(then(&mut state));
                }
            }
            self.changed.notified().await;
        }
    }

    /// Writes until nothing is pending, and gives the writer back. Blocks.
    fn drain(&self, mut writer: Writer, shared: &Arc<Shared>, store: &StoreShared) {
        loop {
            let batch = {
                let mut state = self.lock();
                if state.pending.is_empty() {
                    state.writer = Some(writer);
                    self.changed.notify_one();
                    return;
                }
                state.pending_bytes = 0;
                std::mem::take(&mut state.pending)
            };
            self.changed.notify_one();
            if let Err(source) = writer.write(batch, shared) {
                let failure = Arc::new(Error::Io {
                    action: "write content",
                    source,
                });
                store.note_failure(&failure);
                conclude(store, shared, TransferError::Store(Arc::clone(&failure)));
                self.lock().failure = Some(failure);
                self.changed.notify_one();
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn write(&mut self, batch: Vec<Bytes>, shared: &Shared) -> io::Result<()> {
        let mut published = self.position;
        for bytes in batch {
            self.hasher.update(&bytes);
            self.file.write_all_at(&bytes, self.position)?;
            self.position += bytes.len() as u64;
            if self.position - published >= PUBLISH_BYTES {
                published = self.position;
                shared.publish(published);
            }
        }
        if self.position > published {
            shared.publish(self.position);
        }
        Ok(())
    }
}

/// The same error once more: readers and writer each get theirs.
fn again(error: &Error) -> Error {
    match error {
        Error::Io { action, source } => Error::Io {
            action,
            source: source
                .raw_os_error()
                .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
        },
        Error::WrongDigest(digest) => Error::WrongDigest(*digest),
        Error::ReadOnly => Error::ReadOnly,
    }
}

#[cfg(test)]
impl Filling {
    /// Makes the writer write somewhere else.
    pub(in crate::store) fn replace_file(&mut self, file: Arc<File>) {
        if let Some(writer) = &mut self.queue.lock().writer {
            writer.file = file;
        }
    }
}
