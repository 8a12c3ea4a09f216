//! Files and directories that no other user may read, and that are what they seem to be.
//!
//! The modes do not depend on the umask. Links are never followed, and only regular files are opened. Somebody who can
//! write in our directory must not make this process touch files elsewhere, or wait at a named pipe.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The mode of our directories.
const DIRECTORY_MODE: Mode = Mode::RWXU;
/// The mode of our files.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// The rights of groups and others.
const OF_OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

/// Flags with which each file is opened: not through a link, and without waiting at a named pipe.
pub(crate) const AS_IT_IS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Something lies at the place of a file that is not a regular one.
#[derive(Debug, thiserror::Error)]
#[error("not a regular file")]
struct NotRegular;

/// Opens a directory, never one behind a link. `path` is relative to `parent`.
pub(crate) fn open_directory(parent: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&parent, path, flags, Mode::empty()) {
        Ok(directory) => Ok(directory),
        Err(error @ (Errno::NOTDIR | Errno::LOOP)) => Err(explain(parent, path, error)),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory as [`open_directory`], and makes it if it is absent.
pub(crate) fn make_directory(parent: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(&parent, path, DIRECTORY_MODE) {
        Ok(()) => {
            let directory = open_directory(&parent, path)?;
            rustix::fs::fchmod(&directory, DIRECTORY_MODE)?;
            Ok(directory)
        }
        Err(Errno::EXIST) => open_directory(&parent, path),
        Err(error) => Err(error.into()),
    }
}

/// Opens a regular file with these flags. `path` is relative to `parent`.
pub(crate) fn open_file(parent: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    regular(rustix::fs::openat(
        parent,
        path,
        flags | AS_IT_IS,
        Mode::empty(),
    )?)
}

/// Opens a regular file with these flags, and makes it if it is absent.
pub(crate) fn make_file(parent: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CREATE | AS_IT_IS;
    let file = regular(rustix::fs::openat(parent, path, flags, FILE_MODE)?)?;
    tighten(&file)?;
    Ok(file)
}

/// Returns the file if it is a regular one.
pub(crate) fn regular(opened: OwnedFd) -> io::Result<File> {
    let file = File::from(opened);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NotRegular));
    }
    Ok(file)
}

/// Tells whether a file could not be opened because something else lies in its place: a link, a pipe, a socket.
pub(crate) fn is_something_else(error: &io::Error) -> bool {
    let is_not_regular = error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<NotRegular>);
    is_not_regular
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::LOOP | Errno::NXIO | Errno::NOTDIR)
        )
}

/// The names in a directory, none of which is a way out of it.
pub(crate) fn names(directory: impl AsFd) -> io::Result<impl Iterator<Item = String>> {
    let entries = rustix::fs::Dir::read_from(directory)?;
    let text = |name: &CStr| name.to_str().map(str::to_owned).ok();
    let names = entries.filter_map(move |entry| text(entry.ok()?.file_name()));
    Ok(names.filter(|name| name != "." && name != ".."))
}

/// Takes an open file or directory from other users, and tells whether they had any rights.
pub(crate) fn tighten(open: impl AsFd) -> io::Result<bool> {
    let stat = rustix::fs::fstat(&open)?;
    if !is_wide(&stat) && has_our_rights(&stat) {
        return Ok(false);
    }
    rustix::fs::fchmod(&open, mode_of(&stat))?;
    Ok(is_wide(&stat))
}

/// Tells whether other users have any rights.
pub(crate) fn is_wide(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).intersects(OF_OTHERS)
}

/// Tells whether it is a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Tells whether it is a regular file.
pub(crate) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn has_our_rights(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).contains(mode_of(stat))
}

fn mode_of(stat: &Stat) -> Mode {
    if is_directory(stat) {
        DIRECTORY_MODE
    } else {
        FILE_MODE
    }
}

/// Says what lies in place of a directory.
fn explain(parent: impl AsFd, path: &Path, error: Errno) -> io::Error {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let found =
        rustix::fs::statat(parent, path, flags).map(|stat| FileType::from_raw_mode(stat.st_mode));
    match found {
        Ok(FileType::Symlink) => io::Error::new(
            io::ErrorKind::NotADirectory,
            "a symbolic link lies in its place, which is never followed: remove it",
        ),
        _ => error.into(),
    }
}

/// Modes of files and directories, for tests.
#[cfg(test)]
pub(crate) mod modes {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    pub(crate) fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o777
    }

    pub(crate) fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::modes::{mode, set_mode};
    use super::*;

    #[test]
    fn made_entries_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, file) = (folder.path().join("a"), folder.path().join("b"));
        make_directory(CWD, &directory).unwrap();
        make_file(CWD, &file, OFlags::RDWR).unwrap();
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        // A file that exists is taken from others when it is opened for writing.
        set_mode(&file, 0o644);
        make_file(CWD, &file, OFlags::RDWR).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn wide_entries_are_tightened_once() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let open = open_directory(CWD, folder.path()).unwrap();
        assert!(tighten(&open).unwrap());
        assert_eq!(mode(folder.path()), 0o700);
        assert!(!tighten(&open).unwrap());
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        make_directory(CWD, &real).unwrap();
        symlink(&real, &link).unwrap();
        for opened in [open_directory(CWD, &link), make_directory(CWD, &link)] {
            let error = opened.unwrap_err().to_string();
            assert!(error.contains("symbolic link"), "{error}");
        }
        let (file, link) = (folder.path().join("file"), folder.path().join("to-file"));
        std::fs::write(&file, b"theirs").unwrap();
        set_mode(&file, 0o644);
        symlink(&file, &link).unwrap();
        let opened = open_file(CWD, &link, OFlags::RDONLY).unwrap_err();
        assert!(is_something_else(&opened));
        let flags = OFlags::RDWR | OFlags::TRUNC;
        assert!(is_something_else(
            &make_file(CWD, &link, flags).unwrap_err()
        ));
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
        assert_eq!(mode(&file), 0o644);
    }

    #[test]
    fn pipes_do_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, FILE_MODE, 0).unwrap();
        for flags in [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR] {
            assert!(is_something_else(
                &open_file(CWD, &pipe, flags).unwrap_err()
            ));
            assert!(is_something_else(
                &make_file(CWD, &pipe, flags).unwrap_err()
            ));
        }
    }
}
