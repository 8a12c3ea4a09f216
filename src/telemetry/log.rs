//! The log lines of the program itself, on standard error.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::lines::{Lines, Sink};

/// The directives without `RUST_LOG`.
const DEFAULT: &str = "info";
/// Directives that `RUST_LOG` may replace. The HTTP/2 library warns of each peer that misbehaves, so any peer could fill the
/// log.
const QUIET: &str = "h2=error";

/// The queue of the process, once it has one.
static QUEUE: OnceLock<Lines> = OnceLock::new();

/// Writes log lines to standard error at once, for commands that end. `RUST_LOG` chooses the lines.
pub fn log_to_stderr(directives: Option<&str>) {
    set_up(directives, io::stderr);
}

/// Writes log lines to standard error by a thread of their own, for a process that serves. Lines are dropped when nobody
/// reads them. A panic is logged like everything else.
///
/// # Errors
/// Fails if standard error or the thread cannot be had.
pub fn log_without_waiting(directives: Option<&str>) -> io::Result<()> {
    // A handle without the lock of `std::io::stderr`, which a thread that is stuck in a write would hold.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let lines = Lines::spawn("log-lines", Stderr(stderr))?;
    let lines = QUEUE.get_or_init(|| lines).clone();
    set_up(directives, Queue(lines));
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "A task panicked");
    }));
    Ok(())
}

/// Waits until the queued log lines are written, for at most `time_max`.
pub fn flush_log_lines(time_max: Duration) {
    if let Some(lines) = QUEUE.get() {
        let _all_written = lines.flush(time_max);
    }
}

/// Log lines that were dropped since the start.
pub(super) fn log_lines_dropped() -> u64 {
    QUEUE.get().map_or(0, Lines::dropped)
}

fn set_up(directives: Option<&str>, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(directives))
        .with_writer(writer)
        .with_ansi(false)
        .finish();
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("Log lines were already set up");
    }
}

fn filter(directives: Option<&str>) -> EnvFilter {
    EnvFilter::new(format!("{QUIET},{}", directives.unwrap_or(DEFAULT)))
}

/// Standard error as the end of a queue.
struct Stderr(File);

impl Sink for Stderr {
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        super::lines::write_all(lines, |bytes| self.0.write(bytes))
    }

    fn dropped(&mut self, count: u64) {
        tracing::warn!(count, "Log lines were dropped, because nobody read them");
    }

    fn failed(&mut self, _error: &io::Error) {
        // There is no other place to tell it; the metric counts the lines.
    }
}

/// Makes writers that queue what they are given.
struct Queue(Lines);

/// One line on its way into the queue. The formatter writes each line at once.
struct Line<'q>(&'q Lines);

impl<'w> MakeWriter<'w> for Queue {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_2_library_is_quiet_unless_asked_for() {
        let shown = |directives| filter(directives).to_string();
        assert!(shown(None).contains("h2=error"));
        assert!(shown(Some("trace")).contains("h2=error"));
        let asked = shown(Some("info,h2=debug"));
        assert!(
            asked.contains("h2=debug") && !asked.contains("h2=error"),
            "{asked}"
        );
    }
}
