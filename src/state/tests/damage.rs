//! Files and rows that somebody else has changed.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::disk::Fault;

#[tokio::test]
async fn garbled_rows_count_as_absent() {
    let (directory, state) = new_state();
    let app = subject("ghcr.io/org/app", 1);
    let tag: Tag = "v1".parse().unwrap();
    let batch = Batch {
        records: (1..=3).map(record).map(Entry::new).collect(),
        evidence: vec![(app.clone(), evidence(1))],
        manifests: vec![(
            app.clone(),
            ManifestRow {
                media_type: "application/x".to_owned(),
                confirmed_at: time(4),
            },
        )],
        parents: vec![
            (app.clone(), vec![digest(5)]),
            (subject("ghcr.io/org/app", 2), vec![digest(5)]),
        ],
        tags: vec![(
            app.repository.clone(),
            tag.clone(),
            TagRow {
                digest: digest(1),
                resolved_at: time(0),
            },
        )],
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
    let connection = behind_our_back(&directory);
    let parent = digest(2).to_string();
    for garbage in ["x'ff00'", "'{\"artifacts\": 1}'", "17", "''"] {
        connection
            .execute_batch(&format!(
                "UPDATE evidence SET body = {garbage};
                 UPDATE manifests SET confirmed_at = {garbage};
                 UPDATE tags SET digest = {garbage};
                 UPDATE parents SET parent = {garbage} WHERE parent = '{parent}';
                 UPDATE decisions SET body = {garbage} WHERE row = 2;
                 UPDATE decisions SET count = 'many' WHERE row = 3;"
            ))
            .unwrap();
        assert_eq!(state.evidence(&app).await.unwrap(), None);
        assert_eq!(state.manifest(&app).await.unwrap(), None);
        assert_eq!(state.tag(&app.repository, &tag).await.unwrap(), None);
        let child = subject("ghcr.io/org/app", 5);
        assert_eq!(state.parents(&child, 1).await.unwrap(), [digest(1)]);
        assert!(state.record(id(2)).await.unwrap().is_none());
        // The limit counts what can be read.
        let query = Query {
            limit: 1,
            ..Query::default()
        };
        assert_eq!(find(&state, query).await, [1]);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_a_clear_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state.sqlite3");
    std::fs::write(&path, [b'x'; 9000]).unwrap();
    let error = State::open(directory.path()).unwrap_err();
    assert!(matches!(&error, Error::Open { path: named, .. } if *named == path));
    assert!(error.to_string().contains("state.sqlite3"), "{error}");

    let error = State::open(&path).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

#[tokio::test]
async fn a_newer_database_is_refused_untouched() {
    let (directory, state) = new_state();
    drop(state);
    let connection = behind_our_back(&directory);
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = State::open(directory.path()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error:?}");
    let version: i64 = connection
        .query_row("PRAGMA user_version", (), |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn a_damaged_page_is_told_until_it_is_mended() {
    let (directory, state) = new_state();
    let batch = Batch {
        records: (1..=200).map(record).map(Entry::new).collect(),
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
    drop(state);
    // All of it into the one file.
    behind_our_back(&directory)
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_row| Ok(()))
        .unwrap();
    let path = directory.path().join("state.sqlite3");
    let sound = std::fs::read(&path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let state = State::open(directory.path()).unwrap();
    assert_eq!(state.check().await, None);
    let pages = sound.len() / 4096;
    for page in pages / 2..pages {
        file.write_all_at(&[0xa5; 4096], page as u64 * 4096)
            .unwrap();
    }
    let mut failed = false;
    for number in 1..=200 {
        failed |= state.record(id(number)).await.is_err();
    }
    assert!(failed, "a read meets the damage");
    assert_eq!(state.fault(), Some(Fault::Damaged));
    assert_eq!(state.check().await, Some(Fault::Damaged));
    // A row that can be written elsewhere says nothing about the rest.
    let tags = Batch {
        forgets_asked_tags: true,
        ..Batch::default()
    };
    drop(state.write(tags).await);
    assert_eq!(state.fault(), Some(Fault::Damaged));
}

#[tokio::test]
async fn one_bad_row_says_nothing_about_the_disk() {
    let (_directory, state) = new_state();
    let batch = || Batch {
        records: vec![Entry::new(record(1))],
        ..Batch::default()
    };
    state.write(batch()).await.unwrap();
    state.write(batch()).await.unwrap_err();
    assert_eq!(state.fault(), None);
}
