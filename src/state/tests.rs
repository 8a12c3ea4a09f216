mod bounds;
mod clients;
mod copies;
mod damage;
mod queries;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::decision_log::{ChangeKind, Entry, Outcome, SourceOutcome};

fn new_state() -> (TempDir, State) {
    let directory = TempDir::new().unwrap();
    let state = State::open(directory.path()).unwrap();
    (directory, state)
}

fn digest(number: u64) -> Digest {
    Digest::sha256(&number.to_le_bytes())
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn subject(repository: &str, number: u64) -> Subject {
    Subject {
        repository: name(repository),
        digest: digest(number),
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + seconds).unwrap()
}

fn id(number: u64) -> Ulid {
    Ulid::from_parts(1_760_000_000_000 + number, 7)
}

/// An admitted decision; tests change what they are about.
fn record(number: u64) -> Record {
    let value = json!({
        "id": id(number), "time": time(number.cast_signed()), "replica": "r", "repository": "ghcr.io/org/app",
        "reference": "v1", "digest": digest(number), "previous_digest": null, "media_type": "application/x",
        "decision": "admit", "mode": "enforce", "basis": "signature", "stale": false, "sources": [], "denial": null,
        "policies": [{"name": "apps", "hash": digest(1), "satisfied": true, "authorities": []}],
        "attempts": [], "endorsed_by": null, "trusted_root": null, "configuration": digest(2), "verifier": "0.1.0",
        "client": {"address": null, "user_agent": null, "identity": null},
        "timing_ms": {"upstream": 0.0, "discovery": 0.0, "keys": 0.0, "verification": 0.0, "total": 1.5}, "count": 1,
    });
    serde_json::from_value(value).unwrap()
}

/// A change of a trusted root; tests say of which, and to what.
fn change(number: u64, name: &str, to: &str) -> Change {
    Change {
        id: id(number),
        time: time(number.cast_signed()),
        replica: "r".to_owned(),
        kind: ChangeKind::TrustedRoot,
        name: Some(name.to_owned()),
        from: None,
        to: Some(json!({ "digest": to })),
        configuration: digest(2),
    }
}

fn attempt(outcome: &str, identity: Option<&str>, key: Option<Digest>) -> serde_json::Value {
    let certificate = identity.map(|identity| {
        json!({"identity": identity, "oidc_issuer": "https://issuer", "serial": "01",
               "not_before": time(0), "not_after": time(600), "extensions": {}})
    });
    let key = key.map(|key| json!({"reference": "key.pem", "version": null, "fingerprint": key}));
    json!({
        "source": "cosign_tag", "artifact": digest(3), "format": "bundle", "authority": "a", "outcome": outcome,
        "kind": null, "reason": null, "predicate_type": null, "certificate": certificate, "key": key,
        "transparency_log": null, "signed_timestamp": null,
    })
}

fn evidence(number: u64) -> Evidence {
    Evidence {
        artifacts: vec![EvidenceArtifact {
            source: Source::Referrers,
            digest: digest(number),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            absent: vec![(digest(9), AbsentBlob::TooLarge)],
        }],
        sources: vec![EvidenceSource {
            repository: name("ghcr.io/org/app"),
            attestations: true,
            report: SourceReport {
                source: Source::Referrers,
                outcome: SourceOutcome::Found,
                found: 1,
                reason: None,
            },
        }],
        discovered_at: time(1),
        absent_referrers: vec![],
        limit_exceeded: None,
        wanted: Some(EvidenceWanted {
            signatures: true,
            predicate_types: vec!["https://scan.example/v1".to_owned()],
        }),
    }
}

/// Takes back the version that divided the log into parts.
const WITHOUT_PARTS: &str = "
    DROP TRIGGER decision_added; DROP TRIGGER decision_removed; DROP TABLE log_parts;
    DROP INDEX decisions_by_part; ALTER TABLE decisions DROP COLUMN part; PRAGMA user_version = 5;";

fn keeping(decisions_max: u64, bytes_max: u64) -> Retention {
    Retention {
        decisions_max,
        bytes_max,
    }
}

async fn write(state: &State, records: Vec<Record>) {
    let batch = Batch {
        records: records.into_iter().map(Entry::new).collect(),
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
}

/// The numbers of the decisions found, in order.
async fn find(state: &State, query: Query) -> Vec<u64> {
    let records = state.records(query).await.unwrap().decisions;
    records
        .iter()
        .map(|record| record.id.timestamp_ms() - 1_760_000_000_000)
        .collect()
}

/// The database as somebody else sees it.
fn behind_our_back(directory: &TempDir) -> Connection {
    Connection::open(directory.path().join("state.sqlite3")).unwrap()
}

#[tokio::test]
async fn rows_are_read_as_written_also_after_a_restart() {
    let (directory, state) = new_state();
    let app = subject("ghcr.io/org/app", 1);
    let other = subject("ghcr.io/org/other", 1);
    let tag: Tag = "v1".parse().unwrap();
    let tag_row = TagRow {
        digest: digest(1),
        resolved_at: "2026-11-23T14:00:00.123456789Z".parse().unwrap(),
    };
    let manifest_row = ManifestRow {
        media_type: "application/x".to_owned(),
        confirmed_at: time(4),
    };
    let batch = Batch {
        records: vec![Entry::new(record(1))],
        refusals: Vec::new(),
        changes: vec![change(1, "private", "a")],
        evidence: vec![(app.clone(), evidence(1))],
        manifests: vec![(app.clone(), manifest_row.clone())],
        parents: vec![(app.clone(), vec![digest(5), digest(6)])],
        tags: vec![(app.repository.clone(), tag.clone(), tag_row.clone())],
        forgets_asked_tags: true,
        asked_tags: vec![(app.clone(), tag.clone())],
        confirmed_blobs: vec![app.clone()],
        delivered_blobs: vec![app.clone()],
        counts: vec![(id(1), 3)],
        refused_clients: Vec::new(),
        is_attempt: false,
    };
    state.write(batch).await.unwrap();
    let reopened = State::open(directory.path()).unwrap();
    for state in [state, reopened] {
        assert_eq!(state.evidence(&app).await.unwrap(), Some(evidence(1)));
        assert_eq!(
            state.manifest(&app).await.unwrap().as_ref(),
            Some(&manifest_row)
        );
        let child = subject("ghcr.io/org/app", 6);
        assert_eq!(state.parents(&child, 9).await.unwrap(), [digest(1)]);
        assert_eq!(
            state.tag(&app.repository, &tag).await.unwrap().as_ref(),
            Some(&tag_row)
        );
        assert!(state.is_blob_confirmed(&app).await.unwrap());
        for (host, expected) in [
            ("ghcr.io", true),
            ("quay.io", false),
            ("ghcr.io/org", false),
        ] {
            let delivered = state.is_blob_delivered(host, &app.digest).await.unwrap();
            assert_eq!(delivered, expected, "{host}");
        }
        let found = state.record(id(1)).await.unwrap().unwrap();
        assert_eq!((found.reference.as_str(), found.count), ("v1", 4));
        assert!(state.record(id(2)).await.unwrap().is_none());
        // Nothing holds for another repository.
        assert_eq!(state.evidence(&other).await.unwrap(), None);
        assert_eq!(state.manifest(&other).await.unwrap(), None);
        assert_eq!(state.tag(&other.repository, &tag).await.unwrap(), None);
        assert!(!state.is_blob_confirmed(&other).await.unwrap());
        let child = subject("ghcr.io/org/other", 6);
        assert!(state.parents(&child, 9).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn newer_rows_replace_older_ones() {
    let (_directory, state) = new_state();
    let app = subject("ghcr.io/org/app", 1);
    for number in [1, 2] {
        let batch = Batch {
            evidence: vec![(app.clone(), evidence(number))],
            tags: vec![(
                app.repository.clone(),
                "v1".parse().unwrap(),
                TagRow {
                    digest: digest(number),
                    resolved_at: time(0),
                },
            )],
            ..Batch::default()
        };
        state.write(batch).await.unwrap();
    }
    assert_eq!(state.evidence(&app).await.unwrap(), Some(evidence(2)));
    let tag = state
        .tag(&app.repository, &"v1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(tag.unwrap().digest, digest(2));
}

#[tokio::test]
async fn parents_come_latest_hint_first_and_limited() {
    let (directory, state) = new_state();
    let hint = async |state: &State, parent: u64| {
        let batch = Batch {
            parents: vec![(
                subject("ghcr.io/org/app", parent),
                vec![digest(50), digest(51)],
            )],
            ..Batch::default()
        };
        state.write(batch).await.unwrap();
    };
    for parent in [1, 2, 3, 1] {
        hint(&state, parent).await;
    }
    drop(state);
    let state = State::open(directory.path()).unwrap();
    hint(&state, 2).await;
    let child = subject("ghcr.io/org/app", 50);
    let parents = state.parents(&child, 9).await.unwrap();
    assert_eq!(parents, [digest(2), digest(1), digest(3)]);
    assert_eq!(state.parents(&child, 1).await.unwrap(), [digest(2)]);
}

#[tokio::test]
async fn a_batch_that_fails_is_not_written_and_fails_no_other() {
    let (directory, state) = new_state();
    write(&state, vec![record(1)]).await;
    // While somebody holds the database, writes queue up and are then written together.
    let holder = behind_our_back(&directory);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batches = (1..=40).map(|number| Batch {
        records: vec![Entry::new(record(number))],
        confirmed_blobs: vec![subject("ghcr.io/org/app", number)],
        ..Batch::default()
    });
    let writes: Vec<_> = batches.map(|batch| state.write(batch)).collect();
    let writes = futures::future::join_all(writes);
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        holder.execute_batch("COMMIT").unwrap();
    };
    let (outcomes, ()) = tokio::join!(writes, release);
    for (number, outcome) in (1..=40).zip(outcomes) {
        // The first has the id of a decision that is logged already: a logged decision is never rewritten.
        assert_eq!(outcome.is_ok(), number != 1, "{number}: {outcome:?}");
        let blob = subject("ghcr.io/org/app", number);
        assert_eq!(state.is_blob_confirmed(&blob).await.unwrap(), number != 1);
        assert!(state.record(id(number)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn writes_that_wait_share_a_transaction() {
    let (directory, state) = new_state();
    let holder = behind_our_back(&directory);
    let changes = |holder: &Connection| -> i64 {
        // Grows by one with every transaction that somebody else commits.
        holder
            .query_row("PRAGMA data_version", (), |row| row.get(0))
            .unwrap()
    };
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes: Vec<_> = (1..=40)
        .map(|number| write(&state, vec![record(number)]))
        .collect();
    let mut transactions = 0;
    let watch = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        holder.execute_batch("COMMIT").unwrap();
        let mut seen = changes(&holder);
        for _ in 0..50 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let now = changes(&holder);
            transactions += i64::from(now != seen);
            seen = now;
        }
    };
    let writes = futures::future::join_all(writes);
    tokio::join!(writes, watch);
    assert_eq!(
        find(&state, Query::default()).await,
        (1..=40).rev().collect::<Vec<_>>()
    );
    assert!(transactions <= 4, "{transactions} transactions");
}

#[tokio::test]
async fn changes_are_kept_and_the_last_of_each_thing_is_found() {
    let (_directory, state) = new_state();
    let changes = vec![
        change(1, "a", "1"),
        change(2, "b", "2"),
        change(3, "a", "3"),
    ];
    let batch = Batch {
        changes: changes.clone(),
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
    let find = async |query| state.changes(query).await.unwrap();
    let all = ChangeQuery {
        limit: 10,
        ..ChangeQuery::default()
    };
    let [first, second, third] = <[Change; 3]>::try_from(changes).unwrap();
    let newest_first = [third.clone(), second.clone(), first.clone()];
    assert_eq!(find(all.clone()).await, newest_first);
    let one = ChangeQuery {
        limit: 1,
        after: Some(third.id),
        ..ChangeQuery::default()
    };
    assert_eq!(find(one).await, std::slice::from_ref(&second));
    let of_a = ChangeQuery {
        kind: Some(ChangeKind::TrustedRoot),
        name: Some("a".to_owned()),
        ..all.clone()
    };
    assert_eq!(find(of_a).await, [third.clone(), first]);
    let of_keys = ChangeQuery {
        kind: Some(ChangeKind::Key),
        ..all
    };
    assert_eq!(find(of_keys).await, []);
    let mut latest = state.last_changes().await.unwrap();
    latest.sort_by_key(|change| change.id);
    assert_eq!(latest, [second, third]);
}

#[tokio::test]
async fn word_of_a_host_that_an_earlier_version_took_no_longer_counts() {
    let (directory, state) = new_state();
    let blob = subject("ghcr.io/org/app", 7);
    let batch = Batch {
        confirmed_blobs: vec![blob.clone()],
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
    drop(state);
    let connection = Connection::open(directory.path().join(FILE)).unwrap();
    connection.execute_batch(WITHOUT_PARTS).unwrap();
    connection
        .execute_batch("DROP TABLE delivered_blobs; PRAGMA user_version = 4;")
        .unwrap();
    let state = State::open(directory.path()).unwrap();
    assert!(!state.is_blob_confirmed(&blob).await.unwrap());
    assert!(
        !state
            .is_blob_delivered("ghcr.io", &blob.digest)
            .await
            .unwrap()
    );
}
