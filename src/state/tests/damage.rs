//! Files and rows that somebody else has changed.

use super::*;

#[tokio::test]
async fn garbled_rows_count_as_absent() {
    let (directory, state) = new_state();
    let app = subject("ghcr.io/org/app", 1);
    let tag: Tag = "v1".parse().unwrap();
    let batch = Batch {
        records: (1..=3).map(record).collect(),
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
