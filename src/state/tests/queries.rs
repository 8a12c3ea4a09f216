//! What is asked of the log, and how much of it is kept.

use super::*;

#[tokio::test]
async fn queries_filter() {
    let (_directory, state) = new_state();
    let mut records: Vec<Record> = (1..=6).map(record).collect();
    records[1].repository = "ghcr.io/org/app2".to_owned();
    records[2].repository = "quay.io/org/app".to_owned();
    records[2].decision = Outcome::Deny;
    records[2].denial = Some(crate::decision_log::DenialReport {
        kind: "unsigned".to_owned(),
        message: "m".to_owned(),
    });
    records[3].policies[0].name = "other".to_owned();
    records[3].decision = Outcome::Unavailable;
    let attempts = json!([
        attempt("verified", Some("me@example.com"), None),
        attempt("verified", None, Some(digest(77))),
        attempt("failed", Some("you@example.com"), Some(digest(78))),
    ]);
    records[4].attempts = serde_json::from_value(attempts).unwrap();
    write(&state, records).await;

    let any = Query::default;
    let repository = |text: &str| Query {
        repository: Some(text.to_owned()),
        ..any()
    };
    let signer = |text: &str| Query {
        signer: Some(text.to_owned()),
        ..any()
    };
    let cases = [
        (any(), vec![6, 5, 4, 3, 2, 1]),
        (repository("ghcr.io/org/app"), vec![6, 5, 4, 1]),
        (repository("ghcr.io/org/app*"), vec![6, 5, 4, 2, 1]),
        (repository("quay.io/*"), vec![3]),
        (repository("*"), vec![6, 5, 4, 3, 2, 1]),
        (repository("ghcr.io/org/a%"), vec![]),
        (signer("me@example.com"), vec![5]),
        (signer(&digest(77).to_string()), vec![5]),
        (signer("key.pem"), vec![5]),
        (signer("you@example.com"), vec![]),
        (signer(&digest(78).to_string()), vec![]),
        (
            Query {
                digest: Some(digest(2).into()),
                ..any()
            },
            vec![2],
        ),
        (
            Query {
                digest: Some(digest(2).to_hex()[..12].parse().unwrap()),
                ..any()
            },
            vec![2],
        ),
        (
            Query {
                decision: Some(Outcome::Deny),
                ..any()
            },
            vec![3],
        ),
        (
            Query {
                decision: Some(Outcome::Unavailable),
                ..any()
            },
            vec![4],
        ),
        (
            Query {
                kind: Some("unsigned".parse().unwrap()),
                ..any()
            },
            vec![3],
        ),
        (
            Query {
                policy: Some("other".to_owned()),
                ..any()
            },
            vec![4],
        ),
        (
            Query {
                since: Some(time(3)),
                until: Some(time(5)),
                ..any()
            },
            vec![4, 3],
        ),
        (Query { limit: 2, ..any() }, vec![6, 5]),
        (
            Query {
                limit: 2,
                after: Some(id(5)),
                ..any()
            },
            vec![4, 3],
        ),
        (
            Query {
                decision: Some(Outcome::Admit),
                repository: Some("ghcr.io/*".to_owned()),
                policy: Some("apps".to_owned()),
                since: Some(time(2)),
                ..any()
            },
            vec![6, 5, 2],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(find(&state, query.clone()).await, expected, "{query:?}");
    }
}

#[tokio::test]
async fn the_oldest_decisions_go_when_there_are_too_many() {
    let directory = TempDir::new().unwrap();
    let state = State::open_keeping(directory.path(), keeping(20, u64::MAX)).unwrap();
    for number in 1..=40 {
        write(&state, vec![record(number)]).await;
    }
    let kept = find(&state, Query::default()).await;
    assert!((20..=23).contains(&kept.len()), "{kept:?}");
    assert_eq!(kept.first(), Some(&40));
    // Counted in one statement: the last of them may still be going.
    let (decisions, policies): (i64, i64) = behind_our_back(&directory)
        .query_row(
            "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM decision_policies)",
            (),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(policies, decisions);
}
