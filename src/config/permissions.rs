//! Explanations of denied access to files: the user that runs, the place, and the way out.

use std::error::Error;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A sentence for an error that a denied access caused; nothing for other errors.
#[must_use]
pub fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied)
        .then(|| {
            format!(
                "this process runs as {}, which needs access to it",
                process_user()
            )
        })
}

/// The error of an access to `path` in a sentence. It names the user, the path that stops it and the way out if access
/// was denied.
#[must_use]
pub fn explain(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error.to_string();
    }
    let (user, group) = ids();
    let place = blocking_ancestor(path);
    let owner = place.metadata().map(|it| owner(&it)).unwrap_or_default();
    format!(
        "{error}: {} {owner}, and this process runs as {}. Let it in with `chown -R {user}:{group} {}`, or run it as the \
         owner (in Kubernetes: `fsGroup: {group}`)",
        place.display(),
        process_user(),
        place.display(),
    )
}

fn process_user() -> String {
    let (user, group) = ids();
    format!("user {user}, group {group}")
}

fn ids() -> (u32, u32) {
    let user = rustix::process::geteuid();
    let group = rustix::process::getegid();
    (user.as_raw(), group.as_raw())
}

fn owner(metadata: &Metadata) -> String {
    format!(
        "belongs to user {}, group {}, with mode {:o}",
        metadata.uid(),
        metadata.gid(),
        metadata.mode() & 0o7777
    )
}

/// The first existing path from the end that can be looked at: it, or its folder, denies the access.
fn blocking_ancestor(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path.ancestors().find(|it| it.metadata().is_ok());
    found.unwrap_or(&path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_access_names_user_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let missing = folder.path().join("a/b");
        let text = explain(&missing, &error);
        let (user, group) = ids();
        for part in [
            format!("chown -R {user}:{group} {}`", folder.path().display()),
            format!("runs as user {user}"),
            format!("belongs to user {user}"),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        let error = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explain(Path::new("/x"), &error), error.to_string());
        assert_eq!(hint(&error), None);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(hint(&denied).is_some_and(|hint| hint.contains("runs as user")));
    }
}
