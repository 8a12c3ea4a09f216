//! Files with keys and trusted roots.

use std::collections::BTreeMap;

use super::repository::{FIRST, NAME, SECOND, digest, in_force, max_stale, start};
use crate::trust::*;

#[test]
fn reads_up_to_the_limit_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.pem");
    let full = "x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap());
    std::fs::write(&path, &full).unwrap();
    assert_eq!(read_text(&path).unwrap(), full);
    std::fs::write(&path, format!("{full}x")).unwrap();
    assert!(matches!(read_text(&path), Err(Error::TooLarge { path: named }) if named == path));
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing.pem");
    let error = load_key(&path).unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(
        load_trusted_root(&path),
        Err(Error::NotText { .. })
    ));
}

#[tokio::test]
async fn changed_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trusted_root.json");
    std::fs::write(&path, FIRST).unwrap();
    let source = Source::File { path: path.clone() };
    let sources = BTreeMap::from([(NAME.to_owned(), source)]);
    let roots = Roots::open(sources, None, max_stale(), start()).unwrap();
    assert_eq!(in_force(&roots), digest(FIRST));
    std::fs::write(&path, SECOND).unwrap();
    assert!(roots.refresh(NAME, start()).await.unwrap());
    assert_eq!(in_force(&roots), digest(SECOND));
    // A broken one is reported and changes nothing.
    for text in ["", "{}", "no json"] {
        std::fs::write(&path, text).unwrap();
        assert!(roots.refresh(NAME, start()).await.is_err());
        assert_eq!(in_force(&roots), digest(SECOND));
        let status = roots.status(start()).remove(0);
        assert!(status.warnings[0].contains("stays in force"), "{status:?}");
        assert!(status.failure.is_some() && status.stale_at.is_none());
    }
    std::fs::write(&path, FIRST).unwrap();
    assert!(roots.refresh(NAME, start()).await.unwrap());
    assert!(roots.status(start())[0].failure.is_none());
}

#[test]
fn missing_file_does_not_open() {
    let source = Source::File {
        path: "/nonexistent/trusted_root.json".into(),
    };
    let sources = BTreeMap::from([(NAME.to_owned(), source)]);
    assert!(Roots::open(sources, None, max_stale(), start()).is_err());
}
