//! The data directory of a serving process: its own, private, and without anything that leads elsewhere.
//!
//! It is looked at before anything is opened in it, because the database would say less.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags};

use super::Error;
use crate::config::permissions;
use crate::private;

/// The files of the state; the database's names for those beside it.
const FILES: [&str; 3] = ["state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm"];
/// Folders of ours.
const FOLDERS: [Folder; 3] = [
    Folder::new("content", 2, false),
    Folder::new("incoming", 0, false),
    Folder::new("trust", 1, true),
];
/// The file that says which process uses the directory.
const LOCK: &str = "lock";
/// The most of the lock file that is read.
const PID_BYTES_MAX: u64 = 32;

/// A folder of ours.
#[derive(Debug, Clone, Copy)]
struct Folder {
    name: &'static str,
    /// Levels of folders below it.
    levels: usize,
    /// True if its files are looked at here. Stored content is looked at while it is counted, and files in `incoming` are
    /// removed.
    has_files: bool,
}

impl Folder {
    const fn new(name: &'static str, levels: usize, has_files: bool) -> Self {
        Self {
            name,
            levels,
            has_files,
        }
    }
}

/// The right to use the data directory, which no other process has meanwhile.
#[derive(Debug)]
pub(super) struct Claim {
    // The kernel gives the lock back when the process ends in any way, so a stale number does no harm.
    _lock: File,
}

/// Makes the directory if it is absent, claims it, takes it from other users, and checks that this process may write in it.
///
/// # Errors
/// When another process uses it, something else lies in place of a folder or file of ours, or access is denied. Other
/// faults are left to the code that meets them.
pub(super) fn claim(directory: &Path) -> Result<Claim, Error> {
    let is_new = !directory.exists();
    if let Err(error) = std::fs::create_dir_all(directory) {
        return Err(fault(directory, &error));
    }
    // The directory itself may be named through a link: that is the operator's own.
    let directory = std::fs::canonicalize(directory).map_err(|error| fault(directory, &error))?;
    let open =
        private::open_directory(CWD, &directory).map_err(|error| fault(&directory, &error))?;
    let mut tightened = 0;
    // A directory that belongs to somebody else, like that of a Kubernetes volume, is as its owner wants it.
    match private::tighten(&open) {
        Ok(was_wide) => tightened += usize::from(was_wide && !is_new),
        Err(error) => tracing::warn!(
            path = %directory.display(), %error,
            "Other users may list the data directory; they cannot read what is in it"
        ),
    }
    let claim = Claim::take(&directory)?;
    tightened += tighten_entries(&open, &directory)?;
    if tightened > 0 {
        tracing::warn!(
            path = %directory.display(), tightened,
            "Other users had access to the data directory: its modes are 0700 and 0600 now"
        );
    }
    for folder in FOLDERS {
        let folder = directory.join(folder.name);
        if folder.is_dir()
            && let Err(error) = tempfile::tempfile_in(&folder)
        {
            refuse(&folder, &error)?;
        }
    }
    tempfile::tempfile_in(&directory)
        .map_or_else(|error| refuse(&directory, &error), |_| Ok(()))?;
    Ok(claim)
}

impl Claim {
    fn take(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(LOCK);
        let mut lock =
            private::make_file(CWD, &path, OFlags::RDWR).map_err(|error| fault(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    path: directory.to_owned(),
                    process: holder(&lock),
                });
            }
            Err(TryLockError::Error(error)) => return Err(fault(&path, &error)),
        }
        // Without room on the disk the number is missing, and the lock holds all the same.
        let noted = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::warn!(path = %path.display(), %error, "Could not note the process id");
        }
        Ok(Self { _lock: lock })
    }
}

/// The process that holds the lock, as the file says.
fn holder(lock: &File) -> String {
    let mut text = String::new();
    let read = lock.take(PID_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => "another process".to_owned(),
    }
}

/// Takes our files and folders from other users, except stored content, which is looked at while it is counted. Refuses
/// what is not ours in their place.
fn tighten_entries(open: &OwnedFd, directory: &Path) -> Result<usize, Error> {
    let mut tightened = 0;
    for folder in FOLDERS {
        let Folder {
            levels, has_files, ..
        } = folder;
        tightened += tighten_folder(open, &directory.join(folder.name), levels, has_files)?;
    }
    for name in FILES {
        match private::open_file(open, Path::new(name), OFlags::RDWR) {
            Ok(file) => tightened += usize::from(private::tighten(file).unwrap_or(false)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(fault(&directory.join(name), &error)),
        }
    }
    Ok(tightened)
}

/// Takes the folder at `path`, which lies in `parent`, and those below it from other users.
fn tighten_folder(
    parent: &OwnedFd,
    path: &Path,
    levels: usize,
    has_files: bool,
) -> Result<usize, Error> {
    let name = Path::new(path.file_name().unwrap_or_default());
    let open = match private::open_directory(parent, name) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(fault(path, &error)),
    };
    let mut tightened = usize::from(private::tighten(&open).unwrap_or(false));
    if levels == 0 && !has_files {
        return Ok(tightened);
    }
    let entries = private::names(&open).map_err(|error| fault(path, &error))?;
    for name in entries {
        let stat = rustix::fs::statat(&open, &name, AtFlags::SYMLINK_NOFOLLOW);
        let Ok(stat) = stat else {
            continue; // gone meanwhile
        };
        if !private::is_file(&stat) && levels > 0 {
            tightened += tighten_folder(&open, &path.join(&name), levels - 1, has_files)?;
        } else if has_files && private::is_wide(&stat) {
            let file = private::open_file(&open, Path::new(&name), OFlags::RDONLY);
            tightened += usize::from(file.and_then(private::tighten).unwrap_or(false));
        }
    }
    Ok(tightened)
}

/// The error of the directory, with the way out if access was denied.
fn fault(path: &Path, error: &io::Error) -> Error {
    match refuse(path, error) {
        Err(refused) => refused,
        Ok(()) if private::is_something_else(error) => Error::Foreign(path.to_owned()),
        Ok(()) => Error::Directory {
            path: path.to_owned(),
            source: io::Error::new(error.kind(), error.to_string()),
        },
    }
}

fn refuse(path: &Path, error: &io::Error) -> Result<(), Error> {
    let is_refused = matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    );
    if !is_refused {
        return Ok(());
    }
    Err(Error::Access {
        path: path.to_owned(),
        reason: permissions::explain(path, error),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;
    use crate::private::modes::{mode, set_mode};

    fn refusal(directory: &Path) -> String {
        let error = claim(directory).unwrap_err();
        let source = std::error::Error::source(&error);
        format!(
            "{error}: {}",
            source.map(ToString::to_string).unwrap_or_default()
        )
    }

    #[test]
    fn usable_directory_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("a/b");
        drop(claim(&directory).unwrap());
        assert_eq!(mode(&directory), 0o700);
        // A second start finds its own files.
        std::fs::write(directory.join("state.sqlite3"), b"").unwrap();
        assert!(claim(&directory).is_ok());
    }

    #[test]
    fn wide_entries_of_ours_are_taken_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("data");
        let paths: [PathBuf; 9] = [
            "content",
            "content/sha256",
            "content/sha256/ab",
            "incoming",
            "trust",
            "trust/name",
            "trust/name/state.json",
            "state.sqlite3",
            "state.sqlite3-wal",
        ]
        .map(|path| directory.join(path));
        let (folders, files) = paths.split_at(6);
        for path in folders {
            std::fs::create_dir_all(path).unwrap();
            set_mode(path, 0o777);
        }
        for path in files {
            std::fs::write(path, b"").unwrap();
            set_mode(path, 0o666);
        }
        set_mode(&directory, 0o755);
        let theirs = directory.join("lost+found");
        std::fs::create_dir(&theirs).unwrap();
        set_mode(&theirs, 0o755);
        drop(claim(&directory).unwrap());
        assert_eq!(mode(&directory), 0o700);
        for path in folders {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        for path in files {
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
        assert_eq!(mode(&theirs), 0o755, "it is not ours");
    }

    #[test]
    fn a_link_in_place_of_a_folder_is_named_and_nothing_behind_it_is_touched() {
        for name in [
            "content",
            "content/sha256",
            "content/sha256/ab",
            "incoming",
            "trust",
            "trust/name",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (directory, theirs) = (folder.path().join("data"), folder.path().join("theirs"));
            std::fs::create_dir_all(directory.join(name).parent().unwrap()).unwrap();
            std::fs::create_dir(&theirs).unwrap();
            std::fs::write(theirs.join("0123-4"), b"theirs").unwrap();
            set_mode(&theirs, 0o755);
            symlink(&theirs, directory.join(name)).unwrap();
            let refusal = refusal(&directory);
            assert!(refusal.contains(name), "{name}: {refusal}");
            assert!(refusal.contains("symbolic link"), "{name}: {refusal}");
            assert_eq!(std::fs::read(theirs.join("0123-4")).unwrap(), b"theirs");
            assert_eq!(mode(&theirs), 0o755);
        }
    }

    #[test]
    fn a_link_or_pipe_in_place_of_a_file_is_named() {
        for name in [
            "state.sqlite3",
            "state.sqlite3-wal",
            "state.sqlite3-shm",
            LOCK,
        ] {
            let folder = tempfile::tempdir().unwrap();
            let directory = folder.path().join("data");
            std::fs::create_dir(&directory).unwrap();
            let theirs = folder.path().join("theirs");
            std::fs::write(&theirs, b"theirs").unwrap();
            symlink(&theirs, directory.join(name)).unwrap();
            let refusal_of_link = refusal(&directory);
            assert!(refusal_of_link.contains(name), "{refusal_of_link}");
            assert_eq!(std::fs::read(&theirs).unwrap(), b"theirs");
            std::fs::remove_file(directory.join(name)).unwrap();
            let mode = rustix::fs::Mode::RWXU;
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(CWD, directory.join(name), fifo, mode, 0).unwrap();
            assert!(refusal(&directory).contains(name));
        }
    }

    #[test]
    fn a_second_process_hears_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = claim(folder.path()).unwrap();
        let refusal = refusal(folder.path());
        let pid = std::process::id();
        assert!(refusal.contains(&format!("process {pid}")), "{refusal}");
        drop(first);
        // A number that a killed process left behind is no obstacle.
        std::fs::write(folder.path().join(LOCK), b"1\n").unwrap();
        let _second = claim(folder.path()).unwrap();
        let noted = std::fs::read_to_string(folder.path().join(LOCK)).unwrap();
        assert_eq!(noted, format!("{pid}\n"));
    }

    #[test]
    fn denied_access_names_the_place_and_the_user() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("data");
        std::fs::create_dir(&directory).unwrap();
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let error = refuse(&directory, &denied).unwrap_err().to_string();
        assert!(error.contains("data"), "{error}");
        assert!(error.contains("runs as user"), "{error}");
    }
}
