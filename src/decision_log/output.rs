//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::telemetry::lines::write_all;

/// Where lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Appended to a file, which is made if absent.
    File(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// A file for lines could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open log file {}", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// An opened [`Destination`].
#[derive(Debug)]
pub(super) enum Output {
    Stdout,
    File(File),
}

impl Output {
    /// Opens the destination; `None` when nothing is to be written.
    pub(super) fn open(destination: &Destination) -> Result<Option<Self>, OpenError> {
        match destination {
            Destination::Nowhere => Ok(None),
            Destination::Stdout => Ok(Some(Self::Stdout)),
            Destination::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                let file = opened.map_err(|source| OpenError {
                    path: path.clone(),
                    source,
                })?;
                Ok(Some(Self::File(file)))
            }
        }
    }

    /// Writes from the start of `lines` and removes what was written, also when it fails half-way. Lines of several
    /// writers to standard output do not mix.
    pub(super) fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                write_all(lines, |bytes| stdout.write(bytes))?;
                stdout.flush()
            }
            Self::File(file) => write_all(lines, |bytes| file.write(bytes)),
        }
    }
}

/// Starts the thread that writes to the destination.
pub(super) fn spawn(
    destination: &Destination,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<std::thread::Thread, OpenError> {
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    let handle = spawned.map_err(|source| not_opened(destination, source))?;
    Ok(handle.thread().clone())
}

pub(super) fn not_opened(destination: &Destination, source: io::Error) -> OpenError {
    OpenError {
        path: match destination {
            Destination::File(path) => path.clone(),
            Destination::Stdout | Destination::Nowhere => PathBuf::from("-"),
        },
        source,
    }
}
