//! The health of the disk, as the last writes and reads tell.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// While writes fail, one is tried at most this often to find out whether they work again.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// A reason for which nothing new can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk or a quota on it is full.
    Full,
    /// The stored data are damaged.
    Damaged,
    /// The disk does not take or give data.
    Failing,
}

/// The health of one thing that is kept on disk.
#[derive(Debug)]
pub struct Health {
    name: &'static str,
    fault: AtomicU8,
    tried_at: Mutex<Option<Instant>>,
}

/// The faults by their number in [`Health`], which is one more than the index.
const FAULTS: [Fault; 3] = [Fault::Full, Fault::Damaged, Fault::Failing];

impl Fault {
    /// The fault that this error tells of; nothing if the disk is not at fault.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        use io::ErrorKind;
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
        if full.contains(&error.kind()) {
            return Some(Self::Full);
        }
        // Too many open files, for instance, are not the disk's fault.
        let disk =
            [rustix::io::Errno::IO, rustix::io::Errno::ROFS].map(|errno| errno.raw_os_error());
        let code = error.raw_os_error()?;
        disk.contains(&code).then_some(Self::Failing)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "the disk is full",
            Self::Damaged => "it is damaged",
            Self::Failing => "the disk fails",
        })
    }
}

impl Health {
    /// Good health of what has this name in log lines.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            fault: AtomicU8::new(0),
            tried_at: Mutex::default(),
        }
    }

    /// The fault that keeps anything new from being kept.
    pub fn fault(&self) -> Option<Fault> {
        let number = usize::from(self.fault.load(Ordering::Relaxed));
        FAULTS.get(number.checked_sub(1)?).copied()
    }

    /// Notes that the disk failed. Damage outlasts the other faults.
    pub fn failed(&self, fault: Fault) {
        if self.fault() == Some(Fault::Damaged) {
            return;
        }
        let before = self.fault.swap(fault.number(), Ordering::Relaxed);
        if before != fault.number() {
            tracing::error!("Nothing new can be kept in the {}: {fault}", self.name);
        }
    }

    /// Notes that something was written. Damage may lie elsewhere, so it stays.
    pub fn succeeded(&self) {
        if self.fault().is_some_and(|fault| fault != Fault::Damaged) {
            self.recovered();
        }
    }

    /// Notes that everything was looked at and is in order.
    pub fn recovered(&self) {
        if self.fault.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("The {} takes new things again", self.name);
        }
    }

    /// Tells whether it is time to find out whether the fault has gone. Then the next time is a while later.
    pub fn is_to_be_tried(&self, now: Instant) -> bool {
        if self.fault().is_none() {
            return false;
        }
        let mut tried_at = self.tried_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due =
            tried_at.is_none_or(|tried| now.saturating_duration_since(tried) >= TRIED_EVERY);
        if is_due {
            *tried_at = Some(now);
        }
        is_due
    }
}

impl Fault {
    fn number(self) -> u8 {
        match self {
            Self::Full => 1,
            Self::Damaged => 2,
            Self::Failing => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_tells() {
        let health = Health::new("content store");
        assert_eq!(health.fault(), None);
        for fault in [Fault::Full, Fault::Failing, Fault::Full] {
            health.failed(fault);
            assert_eq!(health.fault(), Some(fault));
        }
        health.succeeded();
        assert_eq!(health.fault(), None);
    }

    #[test]
    fn damage_stays_until_everything_was_looked_at() {
        let health = Health::new("database");
        health.failed(Fault::Full);
        health.failed(Fault::Damaged);
        health.succeeded();
        health.failed(Fault::Full);
        assert_eq!(health.fault(), Some(Fault::Damaged));
        health.recovered();
        assert_eq!(health.fault(), None);
    }

    #[test]
    fn it_is_tried_at_a_bounded_rate_and_only_while_there_is_a_fault() {
        let (health, start) = (Health::new("database"), Instant::now());
        assert!(!health.is_to_be_tried(start));
        health.failed(Fault::Full);
        assert!(health.is_to_be_tried(start));
        assert!(!health.is_to_be_tried(start + TRIED_EVERY / 2));
        assert!(health.is_to_be_tried(start + TRIED_EVERY));
    }

    #[test]
    fn only_the_disk_is_blamed() {
        let of = |errno: rustix::io::Errno| Fault::of(&errno.into());
        assert_eq!(of(rustix::io::Errno::NOSPC), Some(Fault::Full));
        assert_eq!(of(rustix::io::Errno::DQUOT), Some(Fault::Full));
        assert_eq!(of(rustix::io::Errno::IO), Some(Fault::Failing));
        assert_eq!(of(rustix::io::Errno::ROFS), Some(Fault::Failing));
        assert_eq!(of(rustix::io::Errno::MFILE), None);
        assert_eq!(of(rustix::io::Errno::NOENT), None);
    }
}
