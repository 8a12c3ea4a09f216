//! The files and directories of the store. Everything here blocks, except where it says otherwise.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use crate::oci::Digest;
use crate::private;

use super::Error;

/// Where the files are.
#[derive(Debug)]
pub(super) struct Files {
    content: OwnedFd,
    #[cfg(test)]
    content_path: PathBuf,
    /// Where files arrive; nothing where files are only read.
    incoming: Option<Arc<OwnedFd>>,
    /// Names of temporary files: this process and store, then a number.
    prefix: String,
    next: AtomicU64,
}

/// A temporary file in `incoming/`, removed when dropped before it was kept.
#[derive(Debug)]
pub(super) struct Incoming {
    directory: Arc<OwnedFd>,
    name: String,
    file: Arc<File>,
    kept: bool,
}

impl Files {
    /// Makes the directories and removes temporary files that no living process holds.
    pub(super) fn open(data_dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(data_dir).map_err(opening)?;
        let directory = |name| {
            let path = fs::canonicalize(data_dir)?.join(name);
            let directory = private::make_directory(CWD, &path);
            directory.map_err(|error| named(&path, &error))
        };
        let content = directory("content").map_err(opening)?;
        let incoming = directory("incoming").map_err(opening)?;
        remove_abandoned(&incoming).map_err(opening)?;
        let files = Self {
            content,
            #[cfg(test)]
            content_path: data_dir.join("content"),
            incoming: Some(Arc::new(incoming)),
            prefix: format!("{:016x}", rand::random::<u64>()),
            next: AtomicU64::new(0),
        };
        // A directory that cannot be written is known now and not at the first pull.
        drop(files.incoming()?);
        Ok(files)
    }

    /// Files that are there already, of which none is changed, marked or removed and to which none is added.
    pub(super) fn open_read_only(data_dir: &Path) -> Result<Self, Error> {
        let content = private::open_directory(CWD, &data_dir.join("content"));
        Ok(Self {
            content: content.map_err(opening)?,
            #[cfg(test)]
            content_path: data_dir.join("content"),
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
        let directory = Arc::clone(self.incoming.as_ref().ok_or(Error::ReadOnly)?);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", self.prefix);
        let file = private::make_file(&directory, Path::new(&name), OFlags::RDWR | OFlags::EXCL);
        let incoming = Incoming {
            directory,
            name,
            file: Arc::new(file.map_err(|source| Error::Io {
                action: "make a temporary file",
                source,
            })?),
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
        let place = Place::of(digest);
        let renamed = self.shard(&place).and_then(|shard| {
            rustix::fs::renameat(&incoming.directory, &incoming.name, &shard, &place.hex)?;
            Ok(())
        });
        renamed.map_err(|source| Error::Io {
            action: "name stored content",
            source,
        })?;
        incoming.kept = true;
        Ok(())
    }

    /// Opens stored content, with its size. Anything but a regular file counts as absent.
    pub(super) fn open_content(&self, digest: &Digest) -> Result<Option<(File, u64)>, Error> {
        let opened = self
            .open_at(&Place::of(digest), ResolveFlags::empty())
            .and_then(with_size);
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if private::is_something_else(&error) => {
                tracing::warn!(%digest, %error, "Something else lies in place of stored content");
                Ok(None)
            }
            Err(source) => Err(Error::Io {
                action: "open content",
                source,
            }),
        }
    }

    /// As [`Files::open_content`], but never waits for a disk: `None` when it is not known without waiting.
    pub(super) fn open_without_waiting(&self, digest: &Digest) -> Option<(File, u64)> {
        let opened = self.open_at(&Place::of(digest), ResolveFlags::CACHED);
        with_size(opened.ok()?).ok()
    }

    /// Opens stored content. No part of its path may be a link.
    fn open_at(&self, place: &Place, more: ResolveFlags) -> io::Result<File> {
        let (path, flags) = (place.path(), OFlags::RDONLY | private::AS_IT_IS);
        let resolve = ResolveFlags::NO_SYMLINKS | more;
        match rustix::fs::openat2(&self.content, &path, flags, Mode::empty(), resolve) {
            // An old kernel, or one that does not let us.
            Err(Errno::NOSYS | Errno::PERM) if more.is_empty() => {
                let opened = rustix::fs::openat(&self.content, &path, flags, Mode::empty())?;
                private::regular(opened)
            }
            opened => private::regular(opened?),
        }
    }

    /// Removes stored content, if it is there.
    pub(super) fn remove(&self, digest: &Digest) -> Result<(), Error> {
        if self.are_read_only() {
            return Err(Error::ReadOnly);
        }
        let place = Place::of(digest);
        let removed = private::open_directory(&self.content, Path::new(place.algorithm))
            .and_then(|algorithm| private::open_directory(algorithm, Path::new(place.shard())))
            .and_then(|shard| {
                rustix::fs::unlinkat(shard, &place.hex, AtFlags::empty())?;
                Ok(())
            });
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io {
                action: "remove content",
                source,
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The directory of stored content with this place, made if absent.
    fn shard(&self, place: &Place) -> io::Result<OwnedFd> {
        let algorithm = private::make_directory(&self.content, Path::new(place.algorithm))?;
        private::make_directory(algorithm, Path::new(place.shard()))
    }

    /// Shows every stored file: its digest, size, and when it was last used as far as its times tell. Files that other
    /// users may read are taken from them; their number is returned.
    pub(super) fn visit(
        &self,
        mut visit: impl FnMut(Digest, u64, SystemTime),
    ) -> Result<usize, Error> {
        let mut tightened = 0;
        for algorithm in list(&self.content)? {
            let Some(files) = open_listed(&self.content, &algorithm) else {
                continue;
            };
            for shard in list(&files)? {
                let Some(files) = open_listed(&files, &shard) else {
                    continue;
                };
                for name in list(&files)? {
                    let found = digest_of(&algorithm, &shard, &name);
                    let (Some(digest), Some(stat)) = (found, stat_file(&files, &name)) else {
                        continue; // not ours, or evicted meanwhile
                    };
                    visit(
                        digest,
                        u64::try_from(stat.st_size).unwrap_or(0),
                        modified(&stat),
                    );
                    tightened += usize::from(private::is_wide(&stat) && tighten(&files, &name));
                }
            }
        }
        Ok(tightened)
    }

    /// Where content with this digest is.
    #[cfg(test)]
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.content_path.join(Place::of(digest).path())
    }
}

/// The place of content, below `content/`.
struct Place {
    algorithm: &'static str,
    hex: String,
}

impl Place {
    fn of(digest: &Digest) -> Self {
        Self {
            algorithm: digest.algorithm().as_str(),
            hex: digest.to_hex(),
        }
    }

    fn shard(&self) -> &str {
        self.hex.get(..2).unwrap_or_default()
    }

    fn path(&self) -> PathBuf {
        [self.algorithm, self.shard(), &self.hex].iter().collect()
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
        let removed = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        if let Err(error) = removed {
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
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn opening(source: io::Error) -> Error {
    Error::Io {
        action: super::OPEN,
        source,
    }
}

/// The error with the place that it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Removes files that have names of our own form and belong to no living transfer, which would hold their locks.
fn remove_abandoned(incoming: &OwnedFd) -> io::Result<()> {
    for name in private::names(incoming)?.filter(|name| is_temporary(name)) {
        let file = private::open_file(incoming, Path::new(&name), OFlags::RDONLY);
        if file.is_ok_and(|file| file.try_lock().is_ok()) {
            rustix::fs::unlinkat(incoming, &name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Tells whether a name has the form of our temporary files.
fn is_temporary(name: &str) -> bool {
    name.split_once('-').is_some_and(|(prefix, number)| {
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_number
    })
}

fn list(directory: &OwnedFd) -> Result<impl Iterator<Item = String>, Error> {
    private::names(directory).map_err(|source| Error::Io {
        action: "list content",
        source,
    })
}

/// A listed directory; nothing for anything else.
fn open_listed(parent: &OwnedFd, name: &str) -> Option<OwnedFd> {
    private::open_directory(parent, Path::new(name)).ok()
}

fn stat_file(directory: &OwnedFd, name: &str) -> Option<rustix::fs::Stat> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    private::is_file(&stat).then_some(stat)
}

fn tighten(directory: &OwnedFd, name: &str) -> bool {
    let file = private::open_file(directory, Path::new(name), OFlags::RDONLY);
    file.and_then(private::tighten).unwrap_or(false)
}

fn modified(stat: &rustix::fs::Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

/// The digest that a path under `content/` says; other files are not ours.
fn digest_of(algorithm: &str, shard: &str, hex: &str) -> Option<Digest> {
    let is_at_its_place = hex.get(..2) == Some(shard);
    is_at_its_place
        .then(|| format!("{algorithm}:{hex}").parse().ok())
        .flatten()
}
