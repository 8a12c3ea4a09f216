//! Reading files in chunks, from the page cache without a thread hop where possible.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use rustix::io::{IoSliceMut, ReadWriteFlags};

/// The most bytes of one chunk. Large enough that system calls do not count, small enough to stay in a core's own
/// cache between being read and being sent.
pub(super) const CHUNK_BYTES: usize = 128 * 1024;

/// Chunks up to this size get memory of their own instead of a whole buffer.
const SMALL_CHUNK_BYTES: usize = 16 * 1024;

/// The most buffers that are kept when no one uses them.
const IDLE_BUFFERS_MAX: usize = 32;

/// Stored content opened for streaming; it stays readable to its end even if evicted meanwhile.
#[derive(Debug)]
pub struct StoredBlob {
    /// Its size in bytes.
    pub size: u64,
    file: Arc<File>,
    buffers: Arc<Buffers>,
}

impl StoredBlob {
    pub(super) fn new(file: Arc<File>, size: u64, buffers: Arc<Buffers>) -> Self {
        Self {
            size,
            file,
            buffers,
        }
    }

    pub(super) fn into_file(self) -> Arc<File> {
        self.file
    }

    /// The bytes from `start` (inclusive) to `end` (exclusive), in chunks, from the page cache without a thread hop
    /// where possible. A file that became shorter behind our back ends the stream with an error.
    #[must_use]
    pub fn into_stream(self, start: u64, end: u64) -> BoxStream<'static, io::Result<Bytes>> {
        let end = end.min(self.size);
        stream::unfold((self, start), move |(blob, position)| async move {
            if position >= end {
                return None;
            }
            match blob.buffers.read(&blob.file, position, end).await {
                Ok(bytes) => {
                    let position = position + bytes.len() as u64;
                    Some((Ok(bytes), (blob, position)))
                }
                Err(error) => Some((Err(error), (blob, end))),
            }
        })
        .boxed()
    }
}

/// Buffers for chunks, used again by whichever stream comes next: without zeroing them anew, without the page faults
/// of fresh memory, and bounded by the chunks that are being sent at one time.
#[derive(Debug)]
pub(super) struct Buffers {
    idle: ArrayQueue<Box<[u8]>>,
}

/// A chunk in a buffer that goes back when the last reference to the chunk is dropped.
struct Chunk {
    buffer: Box<[u8]>,
    length: usize,
    buffers: Arc<Buffers>,
}

impl Buffers {
    /// The next chunk of `file` from `position` on, at least one byte and none beyond `end`.
    pub(super) async fn read(
        self: &Arc<Self>,
        file: &Arc<File>,
        position: u64,
        end: u64,
    ) -> io::Result<Bytes> {
        let wanted =
            usize::try_from(end - position).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
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
        let buffer = if wanted <= SMALL_CHUNK_BYTES {
            vec![0; wanted].into()
        } else {
            self.idle
                .pop()
                .unwrap_or_else(|| vec![0; CHUNK_BYTES].into())
        };
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
        }
    }
}
