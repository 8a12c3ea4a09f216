//! Decisions as JSON lines, for log collectors.
//!
//! The database is the record; these lines are a copy, written after it. No line is lost while the process lives: a
//! destination that takes none for a while (a full disk) is tried again, and callers wait once the queue is full.

use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::line::Line;
use super::output::{Destination, OpenError, Output};
use super::{Change, Record};

/// Lines that may wait to be written.
const QUEUED_MAX: usize = 4096;

/// The most lines in one write.
const GROUP_MAX: usize = 256;

/// The time between two attempts at a destination that fails.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The sink of decisions as JSON lines. Cheap to clone; the writing thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct JsonLines {
    /// Absent when nothing is to be written.
    queue: Option<mpsc::Sender<Item>>,
}

/// Nobody reads the lines any more (a closed pipe): the line was not written and none will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log's destination is closed")]
pub struct Closed;

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

impl JsonLines {
    /// Opens the destination and starts the writing thread.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn open(destination: &Destination) -> Result<Self, OpenError> {
        let Some(output) = Output::open(destination)? else {
            return Ok(Self { queue: None });
        };
        let (queue, items) = mpsc::channel(QUEUED_MAX);
        super::output::spawn(destination, "decision-lines", move || run(output, items))?;
        Ok(Self { queue: Some(queue) })
    }

    /// Queues one record. Waits while the queue is full.
    ///
    /// # Errors
    /// When nobody reads the lines any more.
    pub async fn write(&self, record: &Record) -> Result<(), Closed> {
        self.write_line(&Line::Decision(record)).await
    }

    /// Queues one change. Waits while the queue is full.
    ///
    /// # Errors
    /// When nobody reads the lines any more.
    pub async fn write_change(&self, change: &Change) -> Result<(), Closed> {
        self.write_line(&Line::Change(change)).await
    }

    async fn write_line(&self, line: &Line<'_>) -> Result<(), Closed> {
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        let Ok(mut line) = serde_json::to_vec(line) else {
            // A record is made of text, numbers and lists; the database would have refused it before.
            return Ok(());
        };
        line.push(b'\n');
        let queued = queue.send(Item::Line(line)).await;
        queued.map_err(|_gone| Closed)
    }

    /// Returns when all lines queued before are written.
    ///
    /// # Errors
    /// When nobody reads the lines any more.
    pub async fn flush(&self) -> Result<(), Closed> {
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        let (done, flushed) = oneshot::channel();
        let queued = queue.send(Item::Flush(done)).await;
        queued.map_err(|_gone| Closed)?;
        flushed.await.map_err(|_gone| Closed)
    }
}

fn run(mut output: Output, mut items: mpsc::Receiver<Item>) {
    let mut group = Vec::new();
    let mut lines = Vec::new();
    while items.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
        let mut flushes = Vec::new();
        for item in group.drain(..) {
            match item {
                Item::Line(line) => lines.extend_from_slice(&line),
                Item::Flush(done) => flushes.push(done),
            }
        }
        if write_patiently(&mut output, &mut lines).is_err() {
            tracing::error!("Nobody reads the decision lines any more: no more are written");
            return;
        }
        for done in flushes {
            // Whoever waited may have gone.
            let _gone = done.send(());
        }
    }
}

/// Tries until the lines are written; fails only when trying again is pointless.
fn write_patiently(output: &mut Output, lines: &mut Vec<u8>) -> Result<(), Closed> {
    let mut reported = false;
    while let Err(error) = output.write(lines) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Err(Closed);
        }
        if !reported {
            tracing::error!(%error, "Could not write decision lines; trying again until it works");
            reported = true;
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
    Ok(())
}
