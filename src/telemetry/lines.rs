//! Lines that are written by a thread of their own, so that nothing that serves waits for a reader of the log.
//!
//! The queue is bounded in lines and bytes. A line that finds it full is dropped and counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

/// Lines that may wait.
const QUEUED_MAX: usize = 16 * 1024;
/// Bytes of the lines that may wait.
const QUEUED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes that are written at once, apart from the last line.
const WRITE_BYTES: usize = 64 * 1024;
/// Time between two attempts at a destination that fails.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Interval at which a flush looks whether it is done.
const FLUSH_INTERVAL: Duration = Duration::from_millis(5);

/// A queue of lines. Cheap to clone; the writing thread ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    queue: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Bytes that wait.
    bytes: AtomicUsize,
    queued: AtomicU64,
    /// Queued lines that were written, or that were given up.
    done: AtomicU64,
    dropped: AtomicU64,
}

/// The end that the lines go to.
pub(crate) trait Sink: Send + 'static {
    /// Writes from the start of `lines` and removes what was written, also when it fails half-way.
    ///
    /// # Errors
    /// Fails if the destination does. A broken pipe means that nobody will ever read again; everything else is tried again.
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()>;

    /// Tells that `count` lines were dropped. Called when writing works again.
    fn dropped(&mut self, count: u64);

    /// Tells that the destination fails. Called once for each time that it stops working.
    fn failed(&mut self, error: &io::Error);
}

impl Lines {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub(crate) fn spawn(name: &str, sink: impl Sink) -> io::Result<Self> {
        let (queue, lines) = mpsc::sync_channel(QUEUED_MAX);
        let counts = Arc::<Counts>::default();
        let writer = Writer {
            sink,
            counts: Arc::clone(&counts),
            told: 0,
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run(&lines))?;
        Ok(Self { queue, counts })
    }

    /// Queues a line, which ends with a line break, or drops and counts it. Never waits.
    pub(crate) fn push(&self, line: Vec<u8>) {
        let bytes = line.len();
        let waiting = self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes <= QUEUED_BYTES_MAX && self.queue.try_send(line).is_ok() {
            self.counts.queued.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were dropped since the start.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until the lines that were queued before are written, for at most `time_max`. Tells whether they are.
    #[must_use]
    pub(crate) fn flush(&self, time_max: Duration) -> bool {
        let queued = self.counts.queued.load(Ordering::Relaxed);
        let started = Instant::now();
        while self.counts.done.load(Ordering::Relaxed) < queued {
            if started.elapsed() >= time_max {
                return false;
            }
            std::thread::sleep(FLUSH_INTERVAL);
        }
        true
    }
}

/// The thread that writes.
struct Writer<S> {
    sink: S,
    counts: Arc<Counts>,
    /// Dropped lines that were told of.
    told: u64,
}

impl<S: Sink> Writer<S> {
    fn run(mut self, queue: &Receiver<Vec<u8>>) {
        let mut lines = Vec::new();
        while let Ok(line) = queue.recv() {
            let mut count = 1;
            self.take(&mut lines, &line);
            while lines.len() < WRITE_BYTES
                && let Ok(line) = queue.try_recv()
            {
                self.take(&mut lines, &line);
                count += 1;
            }
            if self.write(&mut lines).is_err() {
                self.give_up(count, queue);
                return;
            }
            self.counts.done.fetch_add(count, Ordering::Relaxed);
            self.tell();
        }
    }

    fn take(&self, lines: &mut Vec<u8>, line: &[u8]) {
        self.counts.bytes.fetch_sub(line.len(), Ordering::Relaxed);
        lines.extend_from_slice(line);
    }

    /// Tries until the lines are written. Fails only when nobody will ever read them.
    fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        let mut is_failing = false;
        while let Err(error) = self.sink.write(lines) {
            if !is_failing {
                self.sink.failed(&error);
                is_failing = true;
            }
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Err(error);
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        Ok(())
    }

    fn tell(&mut self) {
        let dropped = self.counts.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            self.sink.dropped(dropped - self.told);
            self.told = dropped;
        }
    }

    /// Drops and counts all lines from now on.
    fn give_up(self, mut count: u64, queue: &Receiver<Vec<u8>>) {
        loop {
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
            self.counts.done.fetch_add(count, Ordering::Relaxed);
            let Ok(line) = queue.recv() else { return };
            self.counts.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            count = 1;
        }
    }
}

/// Writes from the start of `lines` and removes what was written, also when it fails half-way.
pub(crate) fn write_all(
    lines: &mut Vec<u8>,
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let mut written = 0;
    let outcome = loop {
        let rest = lines.get(written..).unwrap_or_default();
        if rest.is_empty() {
            break Ok(());
        }
        match write(rest) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    lines.drain(..written);
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A destination that can be held up, and that notes what it is told.
    #[derive(Debug, Clone, Default)]
    struct Gate {
        closed: Arc<Mutex<()>>,
        written: Arc<Mutex<Vec<String>>>,
        fails_with: Option<io::ErrorKind>,
    }

    impl Gate {
        fn wait_until_open(&self) {
            drop(self.closed.lock().unwrap());
        }

        fn note(&self, lines: &str) {
            let lines = lines.lines().map(str::to_owned);
            self.written.lock().unwrap().extend(lines);
        }
    }

    impl Sink for Gate {
        fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
            self.wait_until_open();
            if let Some(kind) = self.fails_with {
                return Err(kind.into());
            }
            self.note(&String::from_utf8_lossy(&std::mem::take(lines)));
            Ok(())
        }

        fn dropped(&mut self, count: u64) {
            self.note(&format!("dropped {count}"));
        }

        fn failed(&mut self, error: &io::Error) {
            self.note(&format!("failed {:?}", error.kind()));
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn lines_are_written_in_order() {
        let gate = Gate::default();
        let lines = Lines::spawn("test", gate.clone()).unwrap();
        for number in 0..3000 {
            lines.push(format!("{number}\n").into_bytes());
        }
        assert!(lines.flush(LONG));
        let expected: Vec<_> = (0..3000).map(|number| number.to_string()).collect();
        assert_eq!(*gate.written.lock().unwrap(), expected);
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn full_queue_drops_lines_and_tells_when_writing_works_again() {
        let gate = Gate::default();
        let lines = Lines::spawn("test", gate.clone()).unwrap();
        let held_up = gate.closed.lock().unwrap();
        let started = Instant::now();
        let count = QUEUED_MAX as u64 * 3;
        for _ in 0..count {
            lines.push(b"x\n".to_vec());
        }
        assert!(started.elapsed() < LONG);
        assert!(!lines.flush(Duration::from_millis(20)));
        let dropped = lines.dropped();
        assert!(dropped >= count - 2 * QUEUED_MAX as u64, "{dropped}");
        drop(held_up);
        assert!(lines.flush(LONG));
        lines.push(b"y\n".to_vec());
        assert!(lines.flush(LONG));
        let written = gate.written.lock().unwrap();
        assert!(written.contains(&format!("dropped {dropped}")));
        let kept = written.iter().filter(|line| *line == "x").count() as u64;
        assert_eq!(kept + dropped, count);
    }

    #[test]
    fn few_large_lines_fill_the_queue_too() {
        let gate = Gate::default();
        let lines = Lines::spawn("test", gate.clone()).unwrap();
        let _held_up = gate.closed.lock().unwrap();
        for _ in 0..40 {
            lines.push(vec![b'x'; 1024 * 1024]);
        }
        assert!(lines.dropped() >= 40 - 2 * 8, "{}", lines.dropped());
    }

    #[test]
    fn closed_destination_drops_everything_and_holds_up_nobody() {
        let gate = Gate {
            fails_with: Some(io::ErrorKind::BrokenPipe),
            ..Gate::default()
        };
        let lines = Lines::spawn("test", gate.clone()).unwrap();
        for _ in 0..100 {
            lines.push(b"x\n".to_vec());
        }
        assert!(lines.flush(LONG));
        assert_eq!(lines.dropped(), 100);
        assert_eq!(*gate.written.lock().unwrap(), ["failed BrokenPipe"]);
    }
}
