//! Access to the data directory, looked at before anything is opened in it: the database would say less.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::Error;
use crate::config::permissions;

/// Files that must be writable if they exist.
const FILES: [&str; 3] = ["state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm"];
/// Folders in which files are made.
const FOLDERS: [&str; 2] = ["content", "incoming"];

/// Makes the directory if it is absent, and checks that this process may write in it.
///
/// # Errors
/// When access is denied, with the user, the place and the way out. Other faults are left to the code that meets them.
pub(super) fn check(directory: &Path) -> Result<(), Error> {
    if let Err(error) = std::fs::create_dir_all(directory) {
        return refuse(directory, &error);
    }
    let folders = FOLDERS.map(|name| directory.join(name));
    for folder in std::iter::once(directory.to_owned()).chain(folders) {
        if folder.is_dir()
            && let Err(error) = tempfile::tempfile_in(&folder)
        {
            return refuse(&folder, &error);
        }
    }
    for file in FILES.map(|name| directory.join(name)) {
        let opened = OpenOptions::new().read(true).write(true).open(&file);
        if let Err(error) = opened
            && error.kind() != ErrorKind::NotFound
        {
            return refuse(&file, &error);
        }
    }
    Ok(())
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn usable_directory_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("a/b");
        assert!(check(&directory).is_ok());
        assert!(directory.is_dir());
        // A second start finds its own files.
        std::fs::write(directory.join("state.sqlite3"), b"").unwrap();
        assert!(check(&directory).is_ok());
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
        // The superuser may write everywhere, so only other users meet it for real.
        if !rustix::process::geteuid().is_root() {
            let mode = std::fs::Permissions::from_mode(0o500);
            std::fs::set_permissions(&directory, mode).unwrap();
            assert!(check(&directory).is_err());
        }
    }
}
