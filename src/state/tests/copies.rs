//! Databases that are only read, and copies of what decisions are made from.

use super::*;

/// One row of everything.
fn batch() -> (Batch, Subject, Tag) {
    let app = subject("ghcr.io/org/app", 1);
    let tag: Tag = "v1".parse().unwrap();
    let batch = Batch {
        records: vec![Entry::new(record(1))],
        changes: vec![change(2, "public-good", "new")],
        evidence: vec![(app.clone(), evidence(1))],
        manifests: vec![(
            app.clone(),
            ManifestRow {
                media_type: "application/x".to_owned(),
                confirmed_at: time(4),
            },
        )],
        parents: vec![(app.clone(), vec![digest(5)])],
        tags: vec![(
            app.repository.clone(),
            tag.clone(),
            TagRow {
                digest: digest(1),
                resolved_at: time(0),
            },
        )],
        asked_tags: vec![(app.clone(), tag.clone())],
        confirmed_blobs: vec![app.clone()],
        ..Batch::default()
    };
    (batch, app, tag)
}

#[tokio::test]
async fn what_is_only_read_sees_what_is_written_and_writes_nothing() {
    let (directory, state) = new_state();
    let reading = State::open_read_only(directory.path()).unwrap();
    let (batch, app, _tag) = batch();
    state.write(batch).await.unwrap();
    assert_eq!(reading.evidence(&app).await.unwrap(), Some(evidence(1)));
    assert!(reading.record(id(1)).await.unwrap().is_some());
    let written = reading.write(Batch::default()).await;
    assert!(matches!(written, Err(Error::ReadOnly)), "{written:?}");
}

#[tokio::test]
async fn what_is_only_read_is_neither_made_nor_migrated() {
    let directory = TempDir::new().unwrap();
    let opened = State::open_read_only(directory.path());
    assert!(matches!(opened, Err(Error::Absent(_))), "{opened:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let path = directory.path().join(FILE);
    let version = |wanted: i64| {
        let connection = Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "user_version", wanted)
            .unwrap();
    };
    version(0);
    State::open_read_only(directory.path()).unwrap();
    let connection = Connection::open(&path).unwrap();
    let tables: i64 = connection
        .query_row("SELECT COUNT(*) FROM sqlite_master", (), |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 0);
    version(99);
    let opened = State::open_read_only(directory.path());
    assert!(
        matches!(opened, Err(Error::Newer { found: 99, .. })),
        "{opened:?}"
    );
}

#[tokio::test]
async fn a_copy_has_what_decisions_are_made_from_and_no_log() {
    let (directory, state) = new_state();
    let (batch, app, tag) = batch();
    state.write(batch).await.unwrap();
    let target = TempDir::new().unwrap();
    // The source is open, and its last rows are not yet in the file itself.
    copy(directory.path(), target.path()).unwrap();
    let names = std::fs::read_dir(target.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [FILE], "one file");
    let copied = State::open_read_only(target.path()).unwrap();
    assert_eq!(copied.evidence(&app).await.unwrap(), Some(evidence(1)));
    assert!(copied.manifest(&app).await.unwrap().is_some());
    let child = subject("ghcr.io/org/app", 5);
    assert_eq!(copied.parents(&child, 9).await.unwrap(), [digest(1)]);
    assert!(copied.tag(&app.repository, &tag).await.unwrap().is_some());
    let tags = copied.asked_tags(&app).await.unwrap();
    assert_eq!(tags, Some(vec!["v1".to_owned()]));
    assert!(
        copied
            .records(Query::default())
            .await
            .unwrap()
            .decisions
            .is_empty()
    );
    assert!(copied.last_changes().await.unwrap().is_empty());
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_copy_replaces_and_adds() {
    let (directory, state) = new_state();
    let (target, other) = new_state();
    let (app, kept) = (subject("ghcr.io/org/app", 1), subject("ghcr.io/org/app", 2));
    let write = async |state: &State, rows: &[(&Subject, u64)]| {
        let rows = rows
            .iter()
            .map(|(subject, number)| ((*subject).clone(), evidence(*number)));
        let batch = Batch {
            evidence: rows.collect(),
            ..Batch::default()
        };
        state.write(batch).await.unwrap();
    };
    write(&state, &[(&app, 2)]).await;
    write(&other, &[(&app, 1), (&kept, 3)]).await;
    drop(other);
    // Its threads close their connections when they notice.
    let started = std::time::Instant::now();
    while let Err(error) = copy(directory.path(), target.path()) {
        assert!(started.elapsed().as_secs() < 20, "{error}");
    }
    let copied = State::open_read_only(target.path()).unwrap();
    assert_eq!(copied.evidence(&app).await.unwrap(), Some(evidence(2)));
    assert_eq!(copied.evidence(&kept).await.unwrap(), Some(evidence(3)));
}

#[tokio::test]
async fn a_copy_is_made_of_an_older_database_and_of_none_that_is_newer_or_absent() {
    let (directory, state) = new_state();
    let (batch, app, _tag) = batch();
    state.write(batch).await.unwrap();
    drop(state);
    let connection = Connection::open(directory.path().join(FILE)).unwrap();
    connection
        .execute_batch("DROP TABLE asked_tags; PRAGMA user_version = 1")
        .unwrap();
    let target = TempDir::new().unwrap();
    copy(directory.path(), target.path()).unwrap();
    let copied = State::open_read_only(target.path()).unwrap();
    assert!(copied.evidence(&app).await.unwrap().is_some());
    assert_eq!(copied.asked_tags(&app).await.unwrap(), Some(Vec::new()));
    connection.pragma_update(None, "user_version", 99).unwrap();
    let copied = copy(directory.path(), target.path());
    assert!(
        matches!(copied, Err(Error::Newer { found: 99, .. })),
        "{copied:?}"
    );
    let (nothing, nowhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let copied = copy(nothing.path(), nowhere.path());
    assert!(matches!(copied, Err(Error::Absent(_))), "{copied:?}");
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(nowhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn nothing_is_copied_over_the_state_of_a_proxy() {
    let (recorded, source) = new_state();
    let (batch, app, _tag) = batch();
    source.write(batch).await.unwrap();
    let (used, state) = new_state();
    let batch = Batch {
        records: vec![Entry::new(record(1))],
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
    let copied = copy(recorded.path(), used.path());
    assert!(matches!(copied, Err(Error::InUse(_))), "{copied:?}");
    assert_eq!(state.evidence(&app).await.unwrap(), None);
}
