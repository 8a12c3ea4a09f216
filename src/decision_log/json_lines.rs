//! Decisions as JSON lines, for log collectors.
//!
//! The database is the record; these lines are a copy, written after it by a thread of its own. No decision waits for a
//! destination that takes no lines: what does not fit into the queue is dropped and counted. A destination that fails for a
//! while (a full disk) is tried again.

use std::io;
use std::time::Duration;

use super::line::Line;
use super::output::{Destination, OpenError, Output};
use super::{Change, Record};
use crate::telemetry::lines::{Lines, Sink};

/// The sink of decisions as JSON lines. Cheap to clone; the writing thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct JsonLines {
    /// Absent when nothing is to be written.
    lines: Option<Lines>,
}

impl JsonLines {
    /// Opens the destination and starts the writing thread.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn open(destination: &Destination) -> Result<Self, OpenError> {
        let Some(output) = Output::open(destination)? else {
            return Ok(Self { lines: None });
        };
        let lines = Lines::spawn("decision-lines", output);
        let lines = lines.map_err(|source| super::output::not_opened(destination, source))?;
        Ok(Self { lines: Some(lines) })
    }

    /// Queues one record. Never waits.
    pub fn write(&self, record: &Record) {
        self.write_line(&Line::Decision(record));
    }

    /// Queues one change. Never waits.
    pub fn write_change(&self, change: &Change) {
        self.write_line(&Line::Change(change));
    }

    fn write_line(&self, line: &Line<'_>) {
        let Some(lines) = &self.lines else {
            return;
        };
        // A record is made of text, numbers and lists; the database would have refused it before.
        if let Ok(mut line) = serde_json::to_vec(line) {
            line.push(b'\n');
            lines.push(line);
        }
    }

    /// Lines that were lost because nobody took them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lines.as_ref().map_or(0, Lines::dropped)
    }

    /// Waits until all lines queued before are written, for at most `time_max`. Tells whether they are.
    pub async fn flush(&self, time_max: Duration) -> bool {
        let Some(lines) = self.lines.clone() else {
            return true;
        };
        let flushing = tokio::task::spawn_blocking(move || lines.flush(time_max));
        flushing.await.unwrap_or(false)
    }
}

impl Sink for Output {
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        Self::write(self, lines)
    }

    fn dropped(&mut self, count: u64) {
        tracing::warn!(
            count,
            "Decision lines were dropped, because nobody took them; the decision log has the decisions"
        );
    }

    fn failed(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            tracing::error!("Nobody reads the decision lines any more: no more are written");
        } else {
            tracing::error!(%error, "Could not write decision lines; trying again until it works");
        }
    }
}
