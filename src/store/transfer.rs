//! Transfers: content on its way into the store, read by any number of clients while it arrives.
//!
//! The bytes go through the file only: readers read what the page cache has just been given, so that memory does not
//! grow with their number, and each goes at its own pace, also after the content was renamed or evicted.

mod filling;

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use crate::oci::digest::Hasher;
use crate::oci::{Digest, RepositoryName};
use crate::pace::Pace;

use super::blob::Buffers;
use super::partials::Beginning;
use super::{Error, blocking};

pub use filling::Filling;

/// How much of what a reader asked for is held back until the whole content was found right, so that no response with
/// wrong bytes is ever complete. Less than that is held back entirely.
const HELD_BACK_BYTES: u64 = 64 * 1024;

/// A transfer into the store that is under way, which any number of readers may follow.
#[derive(Debug, Clone)]
pub struct Transfer {
    shared: Arc<Shared>,
}

/// Why a transfer gave its readers no more bytes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransferError {
    /// The upstream failed for good; the reason was given to [`Filling::fail`] or [`Filling::suspend`].
    #[error("the upstream failed")]
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

/// The repository whose upstream is to give content, and what the caller knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The repository.
    pub repository: &'a RepositoryName,
    /// True if the repository's host has delivered the content before. Only then does stored content take the place of a
    /// transfer, because a host that never gave the bytes may not have them.
    pub has_delivered: bool,
    /// True if a transfer of another repository of the same host may be followed. Transfers of other hosts never are.
    pub follows_others: bool,
}

/// The transfers under way. Those of one digest come from different repositories.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    by_digest: Mutex<HashMap<Digest, Vec<Transfer>>>,
}

/// What the writing end and the readers share.
#[derive(Debug)]
struct Shared {
    digest: Digest,
    size: u64,
    /// The repository for which the transfer was begun.
    repository: RepositoryName,
    /// Set when the repository's upstream is about to give the bytes; never where the content turned out to be stored.
    is_filled: OnceLock<()>,
    /// Present before the first byte has arrived.
    file: OnceLock<Arc<File>>,
    progress: watch::Sender<Progress>,
    buffers: Arc<Buffers>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Bytes in the file.
    arrived: u64,
    /// How it ended: `Ok` once the bytes were found right. Never changes again.
    outcome: Option<Result<(), TransferError>>,
}

/// Joins the transfer of `digest`, or begins it.
pub(super) async fn begin(
    store: &Arc<super::Shared>,
    digest: &Digest,
    size: u64,
    source: Source<'_>,
) -> Result<Begin, Error> {
    let repository = source.repository;
    let transfer = match store.transfers.join_or_insert(digest, source, || Transfer {
        shared: Arc::new(Shared::new(
            *digest,
            size,
            repository.clone(),
            Arc::clone(&store.buffers),
        )),
    }) {
        Joined::Present(transfer) => return Ok(Begin::Follow(transfer)),
        Joined::Inserted(transfer) => transfer,
    };
    // From here on the transfer ends in any case: `Filling` gives it up when dropped, also by a cancelled caller.
    let mut filling = Filling::new(Arc::clone(store), Arc::clone(&transfer.shared));
    let prepared = {
        let (digest, store, repository) = (*digest, Arc::clone(store), repository.clone());
        let has_delivered =
            source.has_delivered || store.has_just_delivered(repository.host(), &digest);
        blocking("begin a transfer", move || {
            prepare(&store, &digest, size, &repository, has_delivered)
        })
        .await?
    };
    match prepared {
        Ok(Prepared::Stored(file)) => {
            filling.already_stored(file);
            Ok(Begin::Follow(transfer))
        }
        Ok(Prepared::Beginning(beginning)) => {
            filling.go_on_from(beginning);
            Ok(Begin::Lead(filling, transfer))
        }
        Err(error) => Err(filling.refused(error)),
    }
}

enum Prepared {
    /// Another transfer of it ended a moment ago.
    Stored(Arc<File>),
    /// A file to write to, empty or with what arrived before.
    Beginning(Beginning),
}

fn prepare(
    store: &super::Shared,
    digest: &Digest,
    size: u64,
    repository: &RepositoryName,
    has_delivered: bool,
) -> Result<Prepared, Error> {
    if has_delivered
        && let Some((file, stored)) = store.files.open_content(digest)?
        && stored == size
    {
        store.index.touch(digest, size);
        return Ok(Prepared::Stored(Arc::new(file)));
    }
    let kept = store
        .partials
        .take(digest, size, repository, Instant::now());
    let beginning = match kept {
        Some(beginning) => beginning,
        None => Beginning {
            incoming: store
                .files
                .incoming()
                .inspect_err(|error| store.note_failure(error))?,
            hasher: Hasher::new(digest.algorithm()),
            arrived: 0,
        },
    };
    Ok(Prepared::Beginning(beginning))
}

// === impl Transfer ===

impl Transfer {
    /// The size of the whole content in bytes, as whoever began the transfer said.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.size
    }

    /// Tells whether this repository's upstream gives the bytes. False also while that is not known.
    #[must_use]
    pub fn is_from(&self, repository: &RepositoryName) -> bool {
        self.shared.is_filled.get().is_some() && self.shared.repository == *repository
    }

    /// Waits until the first byte of [`Transfer::stream`] from `offset` to the end can be read, or the transfer ended;
    /// tells whether it can. Lets a caller answer with a proper status while nothing was sent yet.
    ///
    /// # Errors
    /// What ended the transfer.
    pub async fn readable_from(&self, offset: u64) -> Result<(), TransferError> {
        self.readable(offset, self.shared.size).await
    }

    /// As [`Transfer::readable_from`], for the bytes from `start` (inclusive) to `end` (exclusive).
    ///
    /// # Errors
    /// What ended the transfer.
    pub async fn readable(&self, start: u64, end: u64) -> Result<(), TransferError> {
        let range = Range::new(start, end, self.shared.size);
        let mut progress = self.shared.progress.subscribe();
        let progress = progress
            .wait_for(|progress| {
                progress.outcome.is_some() || progress.readable_to(&range) > range.start
            })
            .await
            .map_err(|_closed| TransferError::Abandoned)?;
        progress.outcome.clone().unwrap_or(Ok(()))
    }

    /// The bytes from `start` (inclusive) to `end` (exclusive) as they arrive. The last piece of them comes only after
    /// the whole content was found right, wherever they are in it; a failure ends the stream with an error, so that the
    /// response breaks.
    #[must_use]
    pub fn stream(
        &self,
        start: u64,
        end: u64,
        pace: Pace,
    ) -> BoxStream<'static, Result<Bytes, TransferError>> {
        let range = Range::new(start, end, self.shared.size);
        let reader = Reader {
            progress: self.shared.progress.subscribe(),
            shared: Arc::clone(&self.shared),
            position: range.start,
            range,
            pace,
        };
        stream::unfold(Some(reader), async |reader| {
            let mut reader = reader?;
            match reader.next().await? {
                Ok(bytes) => Some((Ok(bytes), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

#[cfg(test)]
impl Transfer {
    /// Streams and waiting callers at this moment.
    pub(super) fn readers(&self) -> usize {
        self.shared.progress.receiver_count()
    }
}

/// A reader of a transfer.
struct Reader {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    range: Range,
    position: u64,
    pace: Pace,
}

/// What a reader asked for, within the content.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Bytes, TransferError>> {
        let readable_to = match self.wait().await {
            Ok(readable_to) => readable_to,
            Err(error) => return Some(Err(error)),
        };
        if self.position >= readable_to {
            return None;
        }
        let file = self.shared.file.get()?;
        let read = self
            .shared
            .buffers
            .read(file, self.position, readable_to, self.pace.next_bytes())
            .await;
        Some(match read {
            Ok(bytes) => {
                self.position += bytes.len() as u64;
                Ok(bytes)
            }
            Err(source) => Err(TransferError::Store(Arc::new(Error::Io {
                action: "read content on its way",
                source,
            }))),
        })
    }

    /// Waits until there is something to read beyond `position`, or all is read and the content was found right.
    async fn wait(&mut self) -> Result<u64, TransferError> {
        let (range, position) = (self.range, self.position);
        let progress = self
            .progress
            .wait_for(|progress| {
                progress.outcome.is_some() || progress.readable_to(&range) > position
            })
            .await
            .map_err(|_closed| TransferError::Abandoned)?;
        match &progress.outcome {
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(())) | None => Ok(progress.readable_to(&range)),
        }
    }
}

impl Range {
    fn new(start: u64, end: u64, size: u64) -> Self {
        let end = end.min(size);
        Self {
            start: start.min(end),
            end,
        }
    }
}

impl Progress {
    /// Where a reader of `range` must stop for now.
    fn readable_to(&self, range: &Range) -> u64 {
        match self.outcome {
            Some(Ok(())) => range.end,
            Some(Err(_)) | None => {
                let held_back = HELD_BACK_BYTES.min(range.end - range.start);
                self.arrived.min(range.end - held_back)
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    fn new(digest: Digest, size: u64, repository: RepositoryName, buffers: Arc<Buffers>) -> Self {
        Self {
            digest,
            size,
            repository,
            is_filled: OnceLock::new(),
            file: OnceLock::new(),
            progress: watch::Sender::default(),
            buffers,
        }
    }

    fn publish(&self, arrived: u64) {
        self.progress
            .send_modify(|progress| progress.arrived = arrived);
    }

    /// Ends the transfer for its readers. The first outcome counts.
    fn end(&self, outcome: Result<(), TransferError>) {
        self.progress.send_if_modified(|progress| {
            let first = progress.outcome.is_none();
            if first {
                progress.outcome = Some(outcome);
            }
            first
        });
    }

    fn has_ended(&self) -> bool {
        self.progress.borrow().outcome.is_some()
    }
}

// === impl Source ===

impl Source<'_> {
    fn may_follow(&self, repository: &RepositoryName) -> bool {
        self.repository == repository
            || self.follows_others && self.repository.host() == repository.host()
    }
}

// === impl Transfers ===

enum Joined {
    Present(Transfer),
    Inserted(Transfer),
}

impl Transfers {
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.lock().contains_key(digest)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn join_or_insert(
        &self,
        digest: &Digest,
        source: Source<'_>,
        new: impl FnOnce() -> Transfer,
    ) -> Joined {
        let mut transfers = self.lock();
        let under_way = transfers.entry(*digest).or_default();
        if let Some(transfer) = under_way
            .iter()
            .find(|transfer| source.may_follow(&transfer.shared.repository))
        {
            return Joined::Present(transfer.clone());
        }
        let transfer = new();
        under_way.push(transfer.clone());
        Joined::Inserted(transfer)
    }

    /// Forgets exactly this transfer, so that the next one leads again.
    fn forget(&self, shared: &Arc<Shared>) {
        let mut transfers = self.lock();
        let Some(under_way) = transfers.get_mut(&shared.digest) else {
            return;
        };
        under_way.retain(|transfer| !Arc::ptr_eq(&transfer.shared, shared));
        if under_way.is_empty() {
            transfers.remove(&shared.digest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Vec<Transfer>>> {
        self.by_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
