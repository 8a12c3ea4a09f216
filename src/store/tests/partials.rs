//! Transfers that broke off, and what is kept of them.

use std::time::Instant;

use super::*;
use crate::upstream;

fn failure() -> upstream::Error {
    upstream::Error::Failed {
        host: "ghcr.io".to_owned(),
        reason: "status 502".to_owned(),
    }
}

/// Lets the first `count` bytes arrive, and the transfer break off.
async fn break_off(store: &Store, bytes: &Bytes, count: usize, repository: &RepositoryName) {
    let digest = Digest::sha256(bytes);
    let (mut filling, _) = lead_for(store, &digest, bytes.len(), repository).await;
    let arrived = at(filling.offset());
    fill(&mut filling, &bytes.slice(arrived..count), 10_000).await;
    filling.suspend(failure()).await;
}

#[tokio::test]
async fn the_next_transfer_goes_on_where_the_last_one_stopped() {
    let (directory, store) = new_store().await;
    let bytes = content(400_000, 40);
    let digest = Digest::sha256(&bytes);
    for count in [100_000, 250_000] {
        break_off(&store, &bytes, count, &repository()).await;
        assert_eq!(store.usage().transfers, 0);
        assert_eq!(incoming(&directory), 1);
    }
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    assert_eq!(filling.offset(), 250_000);
    fill(&mut filling, &bytes.slice(250_000..), 10_000).await;
    filling.finish().await.unwrap();
    let (read, outcome) = read(&transfer, 0, 400_000).await;
    outcome.unwrap();
    assert!(read == bytes);
    assert!(read_blob(&store, &digest, 0, u64::MAX).await == bytes);
    assert_eq!(incoming(&directory), 0);
}

#[tokio::test]
async fn readers_wait_for_the_first_new_byte() {
    let (_directory, store) = new_store().await;
    let bytes = content(400_000, 41);
    let digest = Digest::sha256(&bytes);
    break_off(&store, &bytes, 300_000, &repository()).await;
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    assert!(is_pending(std::pin::pin!(transfer.readable_from(0))));
    filling.write(bytes.slice(300_000..300_001)).await.unwrap();
    transfer.readable_from(0).await.unwrap();
    let first = transfer
        .stream(0, 400_000, crate::pace::Pace::steady())
        .next()
        .await
        .unwrap()
        .unwrap();
    assert!(bytes.starts_with(&first));
    // An upstream that fails at once is told with its status.
    filling.suspend(failure()).await;
    let (filling, transfer) = lead(&store, &digest, bytes.len()).await;
    filling.suspend(failure()).await;
    assert!(transfer.readable_from(0).await.is_err());
}

#[tokio::test]
async fn another_repository_does_not_go_on_with_it() {
    let (directory, store) = new_store().await;
    let bytes = content(400_000, 42);
    let digest = Digest::sha256(&bytes);
    break_off(&store, &bytes, 300_000, &repository()).await;
    for (host, name) in [("ghcr.io", "org/other"), ("quay.io", "org/app")] {
        let other = RepositoryName::new(host, name).unwrap();
        let (filling, _) = lead_for(&store, &digest, bytes.len(), &other).await;
        assert_eq!(filling.offset(), 0);
        filling.fail(failure());
    }
    // Nor does content of another size, which is other content.
    let (filling, _) = lead(&store, &digest, bytes.len() + 1).await;
    assert_eq!(filling.offset(), 0);
    filling.fail(failure());
    let (filling, _) = lead(&store, &digest, bytes.len()).await;
    assert_eq!(filling.offset(), 300_000);
    filling.fail(failure());
    assert_eq!(incoming(&directory), 0, "a failure keeps nothing");
}

#[tokio::test]
async fn wrong_bytes_at_the_start_are_found_at_the_end_and_kept_no_longer() {
    let (directory, store) = new_store().await;
    let bytes = content(200_000, 43);
    let digest = Digest::sha256(&bytes);
    let (mut filling, _) = lead(&store, &digest, bytes.len()).await;
    filling.write(content(100_000, 44)).await.unwrap();
    filling.suspend(failure()).await;
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    fill(&mut filling, &bytes.slice(100_000..), 10_000).await;
    assert!(matches!(filling.finish().await, Err(Error::WrongDigest(_))));
    let (read, outcome) = read(&transfer, 0, 200_000).await;
    assert!(outcome.is_err() && read.len() < 200_000);
    assert_eq!(incoming(&directory), 0);
    let (filling, _) = lead(&store, &digest, bytes.len()).await;
    assert_eq!(filling.offset(), 0, "the next one begins anew");
    drop(filling);
}

#[tokio::test]
async fn a_partial_is_removed_when_the_content_is_whole_or_it_is_too_old() {
    let (directory, store) = new_store().await;
    let bytes = content(200_000, 45);
    let digest = Digest::sha256(&bytes);
    let other = RepositoryName::new("quay.io", "org/app").unwrap();
    break_off(&store, &bytes, 100_000, &repository()).await;
    let (mut filling, _) = lead_for(&store, &digest, bytes.len(), &other).await;
    fill(&mut filling, &bytes, 10_000).await;
    filling.finish().await.unwrap();
    assert_eq!(incoming(&directory), 0, "it is whole");

    store.remove(&digest).await.unwrap();
    break_off(&store, &bytes, 100_000, &repository()).await;
    let later = Instant::now() + Duration::from_secs(60 * 60 + 1);
    let partials = &store.shared.partials;
    let taken = partials.take(&digest, 200_000, &repository(), later);
    assert!(taken.is_none());
    assert_eq!(incoming(&directory), 0, "it is too old");
}

#[tokio::test]
async fn partials_are_bounded_and_count_as_stored() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, 1_000_000).await;
    let stored = content(700_000, 46);
    let stored_digest = Digest::sha256(&stored);
    store.put(&stored_digest, stored).await.unwrap();
    // A quarter of the capacity, the newest ones.
    for seed in 50..60 {
        break_off(&store, &content(150_000, seed), 100_000, &repository()).await;
    }
    assert_eq!(store.shared.partials.bytes(), 200_000);
    assert_eq!(store.usage().bytes, 900_000);
    assert_eq!(incoming(&directory), 2);
    let newest = content(150_000, 59);
    let (filling, _) = lead(&store, &Digest::sha256(&newest), 150_000).await;
    assert_eq!(filling.offset(), 100_000);
    filling.suspend(failure()).await;
    // Together with what is stored they must fit.
    let more = content(200_000, 47);
    store
        .put(&Digest::sha256(&more), more.clone())
        .await
        .unwrap();
    assert_eq!(store.usage().evicted, 1);
    assert!(store.open_blob(&stored_digest).await.unwrap().is_none());
    // Nor are there many, however small.
    for seed in 100..180 {
        break_off(&store, &content(2_000, seed), 100, &repository()).await;
    }
    assert_eq!(incoming(&directory), 64);
}

#[tokio::test]
async fn one_registry_takes_neither_the_places_nor_the_room_of_another() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, 1_000_000).await;
    let greedy = RepositoryName::new("greedy.example", "org/app").unwrap();
    let modest = content(50_000, 61);
    break_off(&store, &modest, 40_000, &repository()).await;
    for seed in 200..280 {
        break_off(&store, &content(2_000, seed), 100, &greedy).await;
    }
    assert_eq!(incoming(&directory), 64);
    for seed in 300..310 {
        break_off(&store, &content(150_000, seed), 100_000, &greedy).await;
    }
    assert!(store.shared.partials.bytes() <= 250_000);
    let (filling, _) = lead(&store, &Digest::sha256(&modest), modest.len()).await;
    assert_eq!(filling.offset(), 40_000, "it is still there");
    filling.fail(failure());
}
