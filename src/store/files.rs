//! The files and directories of the store. Everything here blocks, except where it says otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW};

use crate::oci::Digest;

use super::Error;

/// Where the files are.
#[derive(Debug)]
pub(super) struct Files {
    content: PathBuf,
    /// Where files arrive; nothing where files are only read.
    incoming: Option<PathBuf>,
    /// Names of temporary files: this process and store, then a number.
    prefix: String,
    next: AtomicU64,
}

/// A temporary file in `incoming/`, removed when dropped before it was kept.
#[derive(Debug)]
pub(super) struct Incoming {
    path: PathBuf,
    file: Arc<File>,
    kept: bool,
}

impl Files {
    /// Makes the directories and removes temporary files that no living process holds.
    pub(super) fn open(data_dir: &Path) -> Result<Self, Error> {
        let opening = |source| Error::Io {
            action: super::OPEN,
            source,
        };
        let (content, incoming) = (data_dir.join("content"), data_dir.join("incoming"));
        fs::create_dir_all(&content).map_err(opening)?;
        fs::create_dir_all(&incoming).map_err(opening)?;
        remove_abandoned(&incoming).map_err(opening)?;
        let files = Self {
            content: fs::canonicalize(content).map_err(opening)?,
            incoming: Some(fs::canonicalize(incoming).map_err(opening)?),
            prefix: format!("{:016x}", rand::random::<u64>()),
            next: AtomicU64::new(0),
        };
        // A directory that cannot be written is known now and not at the first pull.
        drop(files.incoming()?);
        Ok(files)
    }

    /// Files that are there already, of which none is changed, marked or removed and to which none is added.
    pub(super) fn open_read_only(data_dir: &Path) -> Result<Self, Error> {
        let content = fs::canonicalize(data_dir.join("content")).map_err(|source| Error::Io {
            action: super::OPEN,
            source,
        })?;
        Ok(Self {
            content,
            incoming: None,
            prefix: String::new(),
            next: AtomicU64::new(0),
        })
    }

    /// Whether files are only read.
    pub(super) fn are_read_only(&self) -> bool {
        self.incoming.is_none()
    }

    /// A new temporary file.
    pub(super) fn incoming(&self) -> Result<Incoming, Error> {
        let incoming = self.incoming.as_ref().ok_or(Error::ReadOnly)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = incoming.join(format!("{}-{number}", self.prefix));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| Error::Io {
                action: "make a temporary file",
                source,
            })?;
        let incoming = Incoming {
            path,
            file: Arc::new(file),
            kept: false,
        };
        // The lock tells another process that opens the same directory that this file is alive.
        incoming.file.lock().map_err(|source| Error::Io {
            action: "lock a temporary file",
            source,
        })?;
        Ok(incoming)
    }

    /// Gives a synced temporary file its final name.
    pub(super) fn keep(&self, mut incoming: Incoming, digest: &Digest) -> Result<(), Error> {
        let renaming = |source| Error::Io {
            action: "name stored content",
            source,
        };
        let path = self.path(digest);
        let renamed = fs::rename(&incoming.path, &path).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            fs::create_dir_all(path.parent().unwrap_or(&self.content))?;
            fs::rename(&incoming.path, &path)
        });
        renamed.map_err(renaming)?;
        incoming.kept = true;
        Ok(())
    }

    /// Opens stored content, with its size.
    pub(super) fn open_content(&self, digest: &Digest) -> Result<Option<(File, u64)>, Error> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(self.path(digest))
            .and_then(with_size);
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io {
                action: "open content",
                source,
            }),
        }
    }

    /// As [`Files::open_content`], but never waits for a disk: `None` when it is not known without waiting.
    pub(super) fn open_without_waiting(&self, digest: &Digest) -> Option<(File, u64)> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = self.path(digest);
        let opened =
            rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
        with_size(File::from(opened)).ok()
    }

    /// Removes stored content, if it is there.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), Error> {
        if self.are_read_only() {
            return Err(Error::ReadOnly);
        }
        match fs::remove_file(self.path(digest)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io {
                action: "remove content",
                source,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Shows every stored file: its digest, size, and when it was last used as far as its times tell.
    pub(super) fn visit(
        &self,
        mut visit: impl FnMut(Digest, u64, SystemTime),
    ) -> Result<(), Error> {
        let mut directories = vec![self.content.clone()];
        while let Some(directory) = directories.pop() {
            for entry in list(&directory)? {
                let Ok(metadata) = entry.metadata() else {
                    continue; // evicted meanwhile
                };
                if metadata.is_dir() {
                    directories.push(entry.path());
                } else if let Some(digest) = digest_of(&entry.path())
                    && let Ok(used_at) = metadata.modified()
                {
                    visit(digest, metadata.len(), used_at);
                }
            }
        }
        Ok(())
    }

    /// Where content with this digest is.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_hex();
        let shard = hex.get(..2).unwrap_or_default();
        let mut path = self.content.clone();
        path.reserve(hex.len() + 16);
        path.push(digest.algorithm().as_str());
        path.push(shard);
        path.push(&hex);
        path
    }
}

impl Incoming {
    /// The file, which stays readable under any name and under none.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all_at(bytes, 0)
            .map_err(|source| Error::Io {
                action: "write content",
                source,
            })
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| Error::Io {
            action: "sync content",
            source,
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not remove a temporary file; the next start does"
            );
        }
    }
}

/// Reads a small file whole.
pub(super) fn read_whole(file: &File, size: u64) -> Result<Bytes, Error> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // Not more than was promised, should the file be growing behind our back.
    file.take(size)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Io {
            action: "read content",
            source,
        })?;
    Ok(bytes.into())
}

/// Notes in the file's times that it was used, so that a restart knows the order. Changes only the inode in memory.
pub(super) fn mark_used(file: &File) {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    if let Err(error) = rustix::fs::futimens(file, &times) {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "Could not note the use of content"
        );
    }
}

fn with_size(file: File) -> io::Result<(File, u64)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((file, metadata.len()))
}

/// A file whose lock can be had belongs to no living transfer.
fn remove_abandoned(incoming: &Path) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        let abandoned = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<impl Iterator<Item = fs::DirEntry>, Error> {
    let entries = fs::read_dir(directory).map_err(|source| Error::Io {
        action: "list content",
        source,
    })?;
    Ok(entries.filter_map(Result::ok))
}

/// The digest that a path under `content/` says; other files are not ours.
fn digest_of(path: &Path) -> Option<Digest> {
    let hex = path.file_name()?.to_str()?;
    let algorithm = path.parent()?.parent()?.file_name()?.to_str()?;
    format!("{algorithm}:{hex}").parse().ok()
}
