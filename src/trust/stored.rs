//! What is kept of a TUF repository between starts: one file, replaced as a whole.
//!
//! One file, because roots, metadata and target must not be torn apart by a crash, and because several processes may
//! share the directory: they agree under a lock, and nobody replaces newer by older.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{CWD, OFlags};
use serde::{Deserialize, Serialize};

use super::metadata::{Chain, Set};
use crate::oci::Digest;
use crate::private;

/// The most bytes of the file that are read.
const STATE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const STATE: &str = "state.json";
const LOCK: &str = "lock";
/// How often and after what pauses the lock is tried: ten seconds in all. It is held for one write.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What is kept. Nothing of it is believed before it was replayed from the initial root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The initial root with which this began.
    pub(super) initial: Digest,
    /// When that root was first used here.
    pub(super) first_used: Timestamp,
    pub(super) chain: Chain,
    /// The last complete set and when it was confirmed.
    pub(super) confirmed: Option<(Set, Timestamp)>,
}

/// The directory of one repository.
#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

/// The file. TUF metadata are JSON, so they stand in it as text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    initial_root: String,
    first_used: Timestamp,
    roots: BTreeMap<u64, String>,
    confirmed: Option<Confirmed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmed {
    time: Timestamp,
    root_version: u64,
    files: BTreeMap<String, String>,
}

const FORMAT: u32 = 1;

impl Directory {
    /// That of the root `name` under `parent`, created if absent. The name is encoded: it stays in its directory
    /// whatever it contains (CVE-2026-24686).
    pub(super) fn open(parent: &Path, name: &str) -> io::Result<Self> {
        if let Some(above) = parent.parent() {
            std::fs::create_dir_all(above)?;
        }
        let parent_directory = private::make_directory(CWD, parent)?;
        let name = encode(name);
        drop(private::make_directory(parent_directory, Path::new(&name))?);
        Ok(Self(parent.join(name)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What is kept; `None` when there is nothing, or nothing of use.
    pub(super) fn read(&self) -> io::Result<Option<Stored>> {
        let file = match private::open_file(CWD, &self.0.join(STATE), OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(STATE_BYTES_MAX).read_to_end(&mut bytes)?;
        let document = match serde_json::from_slice::<Document>(&bytes) {
            Ok(document) if document.format == FORMAT => document,
            Ok(_) | Err(_) => {
                tracing::warn!(
                    path = %self.0.display(),
                    "The stored state of a trusted root cannot be read and is ignored"
                );
                return Ok(None);
            }
        };
        Ok(document.into_stored())
    }

    /// Lets `merge` choose what is to be kept, knowing what is there, and keeps it. Returns what is kept.
    ///
    /// Blocks, though not for ever on another process that holds the lock.
    pub(super) fn update(
        &self,
        merge: impl FnOnce(Option<Stored>) -> Stored,
    ) -> io::Result<Stored> {
        let lock = private::make_file(CWD, &self.0.join(LOCK), OFlags::RDWR)?;
        acquire(&lock)?;
        let before = self.read()?;
        let after = merge(before.clone());
        if before.as_ref() != Some(&after) {
            self.write(&Document::from_stored(&after)?)?;
        }
        lock.unlock()?;
        Ok(after)
    }

    fn write(&self, document: &Document) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        private::tighten(file.as_file())?;
        file.write_all(&serde_json::to_vec(document)?)?;
        file.as_file().sync_all()?;
        file.persist(self.0.join(STATE))?;
        File::open(&self.0)?.sync_all()
    }
}

impl Document {
    fn from_stored(stored: &Stored) -> io::Result<Self> {
        let confirmed = stored.confirmed.as_ref().map(|(set, time)| {
            io::Result::Ok(Confirmed {
                time: *time,
                root_version: set.root_version,
                files: texts(&set.files)?,
            })
        });
        Ok(Self {
            format: FORMAT,
            initial_root: stored.initial.to_string(),
            first_used: stored.first_used,
            roots: texts(&stored.chain)?,
            confirmed: confirmed.transpose()?,
        })
    }

    fn into_stored(self) -> Option<Stored> {
        let confirmed = self.confirmed.map(|confirmed| {
            let set = Set {
                root_version: confirmed.root_version,
                files: bytes(confirmed.files),
            };
            (set, confirmed.time)
        });
        Some(Stored {
            initial: self.initial_root.parse().ok()?,
            first_used: self.first_used,
            chain: bytes(self.roots),
            confirmed,
        })
    }
}

fn texts<K: Ord + Clone>(files: &BTreeMap<K, Vec<u8>>) -> io::Result<BTreeMap<K, String>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(io::Error::other);
    files
        .iter()
        .map(|(name, bytes)| Ok((name.clone(), text(bytes)?)))
        .collect()
}

fn bytes<K: Ord>(files: BTreeMap<K, String>) -> BTreeMap<K, Vec<u8>> {
    files
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect()
}

fn acquire(lock: &File) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process does not let go of the lock",
    ))
}

fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
