//! TUF repositories that arrive as a whole.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::repository::{FIRST, Publication, Repository, after, digest, text};
use crate::trust::archive::{ARCHIVE_BYTES_MAX, trusted_root};
use crate::trust::roots::{Error, Source};

/// A .tar.gz of these files, below `prefix`.
fn archive(prefix: &str, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("{prefix}{path}");
        builder
            .append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

async fn published() -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let repository = Repository::start().await;
    repository.publish(&Publication::new(1, FIRST));
    (repository.roles.root(1), repository.files())
}

#[tokio::test]
async fn archived_repository_gives_its_root_until_its_signatures_expire() {
    let (initial, files) = published().await;
    for prefix in ["repository/", "./repository/", ""] {
        let bytes = archive(prefix, &files);
        let (root, until) = trusted_root(&initial, &bytes, "targets", Source::TARGET).unwrap();
        assert_eq!(Some(root.digest), digest(FIRST), "{prefix}");
        assert_eq!(until, after(7));
    }
}

#[tokio::test]
async fn archive_that_does_not_verify_is_refused() {
    let (initial, files) = published().await;
    let good = archive("repository/", &files);
    // The content of the target is not what was signed.
    let mut altered = files.clone();
    for (path, content) in &mut altered {
        if path.starts_with("targets/") {
            content.push(b' ');
        }
    }
    // The timestamp is not there.
    let mut incomplete = files;
    incomplete.retain(|(path, _)| path != "timestamp.json");
    for (what, initial, bytes, targets, target) in [
        (
            "altered",
            &initial,
            archive("repository/", &altered),
            "targets",
            Source::TARGET,
        ),
        (
            "incomplete",
            &initial,
            archive("repository/", &incomplete),
            "targets",
            Source::TARGET,
        ),
        (
            "another directory",
            &initial,
            good.clone(),
            "other",
            Source::TARGET,
        ),
        (
            "another target",
            &initial,
            good.clone(),
            "targets",
            "other.json",
        ),
        (
            "a target outside",
            &initial,
            good.clone(),
            "targets",
            "../trusted_root.json",
        ),
        (
            "no initial root",
            &b"{}".to_vec(),
            good,
            "targets",
            Source::TARGET,
        ),
        (
            "no archive",
            &initial,
            b"nonsense".to_vec(),
            "targets",
            Source::TARGET,
        ),
    ] {
        assert!(
            trusted_root(initial, &bytes, targets, target).is_err(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn archive_that_unpacks_to_too_much_is_refused() {
    let (initial, mut files) = published().await;
    let zeros = vec![0; usize::try_from(ARCHIVE_BYTES_MAX).unwrap() / 2];
    files.push(("a".to_owned(), zeros.clone()));
    files.push(("b".to_owned(), zeros));
    let bytes = archive("repository/", &files);
    let error = trusted_root(&initial, &bytes, "targets", Source::TARGET).unwrap_err();
    assert!(matches!(error, Error::Archive(_)), "{}", text(&error));
    // A stream without an end that says nothing of its size.
    let mut endless = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..64 {
        endless.write_all(&vec![1; 1024 * 1024]).unwrap();
    }
    let bytes = endless.finish().unwrap();
    let error = trusted_root(&initial, &bytes, "targets", Source::TARGET).unwrap_err();
    assert!(matches!(error, Error::Archive(_)), "{}", text(&error));
}
