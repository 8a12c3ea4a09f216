//! The bounds of the log.

use super::*;
use crate::decision_log::Page;

/// A record that takes about so many bytes, as earlier versions wrote them.
async fn write_fat(state: &State, directory: &TempDir, number: u64, bytes: usize) {
    write(state, vec![record(number)]).await;
    let text = "x".repeat(bytes);
    behind_our_back(directory)
        .execute(
            "UPDATE decisions SET body = json_set(body, '$.media_type', ?2) WHERE id = ?1",
            (id(number).to_bytes(), text),
        )
        .unwrap();
}

async fn refuse(state: &State, number: u64, identity: Option<&str>) {
    let mut refusal = record(number);
    refusal.client.identity = identity.map(str::to_owned);
    let batch = Batch {
        refusals: vec![Entry::new(refusal)],
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
}

#[tokio::test]
async fn page_ends_after_so_many_bytes() {
    let (directory, state) = new_state();
    let fat = Page::BYTES_MAX / 3;
    for (number, bytes) in [
        (1, 10),
        (2, Page::BYTES_MAX * 2),
        (3, fat),
        (4, fat),
        (5, fat),
    ] {
        write_fat(&state, &directory, number, bytes).await;
    }
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let query = Query {
            after,
            ..Query::default()
        };
        let page = state.records(query).await.unwrap();
        let ids: Vec<_> = page.decisions.iter().map(|record| record.id).collect();
        assert!(page.next.is_none() || page.next.as_ref() == ids.last());
        pages.push(ids);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(
        pages,
        [vec![id(5), id(4)], vec![id(3)], vec![id(2)], vec![id(1)]]
    );
}

#[tokio::test]
async fn oldest_records_go_when_they_take_too_many_bytes() {
    let directory = TempDir::new().unwrap();
    let one = serde_json::to_string(&record(1)).unwrap().len() as u64;
    // Eight tenths are for decisions.
    let state =
        State::open_keeping(directory.path(), keeping(1_000_000, one * 10 * 10 / 8)).unwrap();
    for number in 1..=40 {
        write(&state, vec![record(number)]).await;
    }
    // The last removal may still be going.
    write(&state, Vec::new()).await;
    let size = state.log_size().await.unwrap();
    let kept = find(&state, Query::default()).await;
    assert_eq!(
        (kept.len() as u64, size.records),
        (size.bytes / one, size.bytes / one)
    );
    assert!((8..=11).contains(&kept.len()), "{kept:?}");
    assert_eq!(kept.first(), Some(&40));
}

#[tokio::test]
async fn refusals_never_replace_decisions() {
    let directory = TempDir::new().unwrap();
    let state = State::open_keeping(directory.path(), keeping(100, u64::MAX)).unwrap();
    for number in 1..=50 {
        write(&state, vec![record(number)]).await;
    }
    refuse(&state, 51, Some("alice")).await;
    for number in 52..=500 {
        refuse(&state, number, None).await;
    }
    write(&state, vec![record(501)]).await;
    let any = Query {
        limit: 1000,
        ..Query::default()
    };
    let kept = find(&state, any).await;
    let decisions = kept.iter().filter(|number| **number <= 50).count();
    assert_eq!(decisions, 50);
    // One of a client with a name is not replaced by those of others.
    assert!(kept.contains(&51), "{kept:?}");
    let refusals: Vec<_> = kept.iter().filter(|it| (52..=500).contains(*it)).collect();
    assert!((10..=12).contains(&refusals.len()), "{refusals:?}");
    assert_eq!(refusals.first(), Some(&&500));
}

#[tokio::test]
async fn log_of_an_earlier_version_is_measured() {
    let (directory, state) = new_state();
    write(&state, (1..=3).map(record).collect()).await;
    let before = state.log_size().await.unwrap();
    drop(state);
    behind_our_back(&directory)
        .execute_batch(WITHOUT_PARTS)
        .unwrap();
    let state = State::open(directory.path()).unwrap();
    assert_eq!(state.log_size().await.unwrap(), before);
    assert_eq!(before.records, 3);
}
