//! The access log: one line for every pull.
//!
//! A request only pushes into a bounded lock-free queue and wakes nobody; a thread looks at the queue a few times per
//! second, formats what is there and writes it at once. A line that finds the queue full is dropped and counted: the
//! decisions are logged elsewhere, and no request waits for a slow disk.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;
use ulid::Ulid;

use crate::oci::{Digest, Reference, RepositoryName};

use super::line::Line;
use super::output::{self, Destination, OpenError, Output};

/// Lines that may wait: three intervals at 45,000 requests per second.
const QUEUED_MAX: usize = 8 * 1024;

/// How often the queue is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// The bytes that are formatted before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// One pull, served or refused.
#[derive(Debug, Clone, Serialize)]
pub struct AccessLine {
    /// When the request came.
    pub time: Timestamp,
    /// The client, with the keys of the same name in a record.
    pub client: AccessClient,
    /// `GET`, `HEAD`, ….
    pub method: &'static str,
    /// The canonical name; absent when the request names none.
    pub repository: Option<RepositoryName>,
    /// Tag or digest as asked for.
    #[serde(serialize_with = "reference")]
    pub reference: Option<Reference>,
    /// The digest served or decided about.
    pub digest: Option<Digest>,
    /// The decision that was used.
    pub decision_id: Option<Ulid>,
    /// The status.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// Where the content came from: `memory`, `disk`, `upstream` or `none`.
    pub cache: &'static str,
    /// From the request to the headers of the answer.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub duration: Duration,
}

/// The client of a pull.
#[derive(Debug, Clone, Serialize)]
pub struct AccessClient {
    /// The peer's address.
    pub address: Option<IpAddr>,
    /// The authenticated name.
    pub identity: Option<Arc<str>>,
}

/// The access log. Cheap to clone; the writing thread ends after the last clone, with everything written.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Absent when nothing is to be written.
    running: Option<Arc<Running>>,
}

/// Held by the handles only, so that the last one dropped stops the thread.
#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<AccessLine>,
    dropped: AtomicU64,
    stopping: AtomicBool,
    flushes: Mutex<Vec<oneshot::Sender<()>>>,
}

impl AccessLog {
    /// Opens the destination and starts the writing thread.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn open(destination: &Destination) -> Result<Self, OpenError> {
        let Some(output) = Output::open(destination)? else {
            return Ok(Self { running: None });
        };
        let shared = Arc::new(Shared::new());
        let for_thread = Arc::clone(&shared);
        let thread = output::spawn(destination, "access-lines", move || for_thread.run(output))?;
        let running = Running { shared, thread };
        Ok(Self {
            running: Some(Arc::new(running)),
        })
    }

    /// Whether lines are written at all; if not, none need be made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Queues one line, or counts it as dropped when the queue is full. Never waits.
    pub fn write(&self, line: AccessLine) {
        if let Some(running) = &self.running {
            running.shared.push(line);
        }
    }

    /// Lines lost because the queue was full or the destination failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.running
            .as_ref()
            .map_or(0, |running| running.shared.dropped.load(Ordering::Relaxed))
    }

    /// Returns when all lines queued before are written (or were dropped).
    pub async fn flush(&self) {
        let Some(running) = &self.running else {
            return;
        };
        let (done, flushed) = oneshot::channel();
        running.shared.flushes().push(done);
        running.thread.unpark();
        // An error means that the thread has ended, after having written everything.
        drop(flushed.await);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

// === impl Shared ===

impl Shared {
    fn new() -> Self {
        Self {
            queue: ArrayQueue::new(QUEUED_MAX),
            dropped: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            flushes: Mutex::default(),
        }
    }

    fn push(&self, line: AccessLine) {
        if self.queue.push(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The writing thread.
    fn run(&self, mut output: Output) {
        let mut lines = Vec::new();
        let mut is_failing = false;
        loop {
            // Both are looked at before the queue, so that what was queued before them is written.
            let is_last = self.stopping.load(Ordering::Acquire);
            let flushes = std::mem::take(&mut *self.flushes());
            self.write_queued(&mut output, &mut lines, &mut is_failing);
            for done in flushes {
                // Whoever waited may have gone.
                let _gone = done.send(());
            }
            if is_last {
                return;
            }
            if self.flushes().is_empty() {
                std::thread::park_timeout(INTERVAL);
            }
        }
    }

    fn write_queued(&self, output: &mut Output, lines: &mut Vec<u8>, is_failing: &mut bool) {
        loop {
            let count = self.format(lines);
            if count == 0 {
                return;
            }
            match output.write(lines) {
                Ok(()) => *is_failing = false,
                Err(error) => {
                    let dropped = keep_first_line(lines);
                    self.dropped.fetch_add(dropped, Ordering::Relaxed);
                    if !*is_failing {
                        tracing::error!(%error, "Could not write access lines: they are dropped");
                    }
                    *is_failing = true;
                }
            }
        }
    }

    /// Formats queued lines for one write, and tells how many.
    fn format(&self, lines: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        while lines.len() < WRITE_BYTES
            && let Some(line) = self.queue.pop()
        {
            let start = lines.len();
            if serde_json::to_writer(&mut *lines, &Line::Access(&line)).is_err() {
                lines.truncate(start);
                continue;
            }
            lines.push(b'\n');
            count += 1;
        }
        count
    }

    fn flushes(&self) -> std::sync::MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops all lines but the first, which may have been written in part, and tells how many.
fn keep_first_line(lines: &mut Vec<u8>) -> u64 {
    let first = lines.iter().position(|byte| *byte == b'\n');
    let rest = lines.split_off(first.map_or(lines.len(), |end| end + 1));
    rest.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn reference<S: Serializer>(
    reference: &Option<Reference>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match reference {
        Some(Reference::Tag(tag)) => serializer.serialize_str(tag.as_str()),
        Some(Reference::Digest(digest)) => digest.serialize(serializer),
        None => serializer.serialize_none(),
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}
