//! Reading files in chunks, from the page cache without a thread hop where possible.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use rustix::io::{IoSliceMut, ReadWriteFlags};

use super::Shared;
use crate::oci::Digest;
use crate::pace::{PIECE_BYTES_MAX, PIECE_BYTES_MIN, Pace};

/// Bytes of the largest chunk.
pub(super) const CHUNK_BYTES: usize = PIECE_BYTES_MAX;

/// Chunks up to this size get memory of their own instead of a whole buffer.
const OWN_MEMORY_BYTES_MAX: usize = CHUNK_BYTES / 2;

/// Bytes of a chunk while much is on its way to clients.
const SMALL_CHUNK_BYTES: usize = PIECE_BYTES_MIN;

/// Bytes of chunks on their way to clients above which all chunks are small.
const SENDING_BYTES_EASY: usize = 32 * 1024 * 1024;

/// Files that stay open between two chunks. Above this number a file is closed after each chunk, so clients that take
/// nothing hold no descriptors.
const OPEN_BETWEEN_CHUNKS_MAX: usize = 128;

/// The most buffers that are kept when no one uses them.
const IDLE_BUFFERS_MAX: usize = 32;

/// Stored content opened for streaming.
///
/// It stays readable to its end even if it is evicted meanwhile, unless so many files are being sent that this one was
/// closed between two chunks.
#[derive(Debug)]
pub struct StoredBlob {
    /// Its size in bytes.
    pub size: u64,
    digest: Digest,
    file: Option<OpenFile>,
    store: Arc<Shared>,
}

/// An open file, counted until it is dropped.
#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    buffers: Arc<Buffers>,
}

impl StoredBlob {
    pub(super) fn new(file: File, size: u64, digest: Digest, store: Arc<Shared>) -> Self {
        let file = Some(OpenFile::new(file, &store.buffers));
        Self {
            size,
            digest,
            file,
            store,
        }
    }

    /// The bytes from `start` (inclusive) to `end` (exclusive), in chunks of that `pace`, from the page cache without a
    /// thread hop where possible. A file that became shorter behind our back ends the stream with an error.
    #[must_use]
    pub fn into_stream(
        self,
        start: u64,
        end: u64,
        pace: Pace,
    ) -> BoxStream<'static, io::Result<Bytes>> {
        let end = end.min(self.size);
        stream::unfold(
            (self, start, pace),
            move |(mut blob, position, mut pace)| async move {
                if position >= end {
                    return None;
                }
                match blob.read(position, end, pace.next_bytes()).await {
                    Ok(bytes) => {
                        let position = position + bytes.len() as u64;
                        Some((Ok(bytes), (blob, position, pace)))
                    }
                    Err(error) => Some((Err(error), (blob, end, pace))),
                }
            },
        )
        .boxed()
    }

    async fn read(&mut self, position: u64, end: u64, bytes_max: usize) -> io::Result<Bytes> {
        let open = match self.file.take() {
            Some(open) => open,
            None => self.open_again().await?,
        };
        let buffers = &self.store.buffers;
        let bytes = buffers.read(&open.file, position, end, bytes_max).await?;
        if !buffers.has_many_open() {
            self.file = Some(open);
        }
        Ok(bytes)
    }

    async fn open_again(&self) -> io::Result<OpenFile> {
        let opened = match self.store.files.open_without_waiting(&self.digest) {
            Some(opened) => Some(opened),
            None => {
                let (digest, store) = (self.digest, Arc::clone(&self.store));
                tokio::task::spawn_blocking(move || store.files.open_content(&digest))
                    .await
                    .map_err(io::Error::other)?
                    .map_err(io::Error::other)?
            }
        };
        match opened {
            Some((file, size)) if size == self.size => Ok(OpenFile::new(file, &self.store.buffers)),
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl OpenFile {
    fn new(file: File, buffers: &Arc<Buffers>) -> Self {
        buffers.open_files.fetch_add(1, Ordering::Relaxed);
        Self {
            file: Arc::new(file),
            buffers: Arc::clone(buffers),
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.buffers.open_files.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Buffers for chunks, used again by whichever stream comes next: without zeroing them anew, without the page faults
/// of fresh memory, and bounded by the chunks that are being sent at one time.
#[derive(Debug)]
pub(super) struct Buffers {
    idle: ArrayQueue<Box<[u8]>>,
    /// Bytes of all chunks that are in use: on their way to clients.
    sending: AtomicUsize,
    /// Files that are open for one response each.
    open_files: AtomicUsize,
}

/// A chunk in a buffer that goes back when the last reference to the chunk is dropped.
struct Chunk {
    buffer: Box<[u8]>,
    length: usize,
    buffers: Arc<Buffers>,
}

impl Buffers {
    /// Bytes of the chunks that clients have not taken yet.
    pub(super) fn sending_bytes(&self) -> usize {
        self.sending.load(Ordering::Relaxed)
    }

    fn has_many_open(&self) -> bool {
        self.open_files.load(Ordering::Relaxed) > OPEN_BETWEEN_CHUNKS_MAX
    }

    /// The next chunk of `file` from `position` on, at least one byte, at most `bytes_max`, and none beyond `end`.
    pub(super) async fn read(
        self: &Arc<Self>,
        file: &Arc<File>,
        position: u64,
        end: u64,
        bytes_max: usize,
    ) -> io::Result<Bytes> {
        let bytes_max = if self.sending_bytes() > SENDING_BYTES_EASY {
            SMALL_CHUNK_BYTES
        } else {
            bytes_max.min(CHUNK_BYTES)
        };
        let wanted = usize::try_from(end - position).map_or(bytes_max, |left| left.min(bytes_max));
        let mut chunk = self.chunk(wanted);
        // Whatever is not at once there is read by a thread that may wait; it also tells the end of the file from
        // "nothing without waiting", which some kernels spell the same.
        if let Ok(length @ 1..) = read_without_waiting(file, chunk.wanted(), position) {
            chunk.length = length;
            return Ok(chunk.into_bytes());
        }
        let file = Arc::clone(file);
        tokio::task::spawn_blocking(move || {
            let length = file.read_at(chunk.wanted(), position)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            chunk.length = length;
            Ok(chunk.into_bytes())
        })
        .await
        .map_err(io::Error::other)?
    }

    fn chunk(self: &Arc<Self>, wanted: usize) -> Chunk {
        let buffer: Box<[u8]> = if wanted <= OWN_MEMORY_BYTES_MAX {
            vec![0; wanted].into()
        } else {
            self.idle
                .pop()
                .unwrap_or_else(|| vec![0; CHUNK_BYTES].into())
        };
        self.sending.fetch_add(buffer.len(), Ordering::Relaxed);
        Chunk {
            buffer,
            length: wanted,
            buffers: Arc::clone(self),
        }
    }
}

fn read_without_waiting(
    file: &File,
    buffer: &mut [u8],
    position: u64,
) -> rustix::io::Result<usize> {
    rustix::io::preadv2(
        file,
        &mut [IoSliceMut::new(buffer)],
        position,
        ReadWriteFlags::NOWAIT,
    )
}

// === impl Chunk ===

impl Chunk {
    /// The part of the buffer to read into.
    fn wanted(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.length).unwrap_or_default()
    }

    fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.buffers
            .sending
            .fetch_sub(buffer.len(), Ordering::Relaxed);
        if buffer.len() == CHUNK_BYTES {
            // When enough are idle, this one is freed.
            drop(self.buffers.idle.push(buffer));
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            idle: ArrayQueue::new(IDLE_BUFFERS_MAX),
            sending: AtomicUsize::new(0),
            open_files: AtomicUsize::new(0),
        }
    }
}
