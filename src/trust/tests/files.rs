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
