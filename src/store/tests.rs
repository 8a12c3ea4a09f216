use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use tempfile::TempDir;

use super::*;
use crate::oci::digest::Algorithm;

const CAPACITY: u64 = 1 << 30;
const LIMIT: u64 = 1 << 20;

/// Bytes that differ at every offset a test looks at.
fn content(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

async fn open(directory: &TempDir, capacity_bytes: u64) -> Store {
    let tasks = TaskTracker::new();
    let store = Store::open(directory.path(), capacity_bytes, &tasks)
        .await
        .unwrap();
    tasks.close();
    tasks.wait().await;
    store
}

async fn new_store() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, CAPACITY).await;
    (directory, store)
}

fn file_of(store: &Store, digest: &Digest) -> PathBuf {
    store.shared.files.path(digest)
}

fn incoming(directory: &TempDir) -> usize {
    std::fs::read_dir(directory.path().join("incoming"))
        .unwrap()
        .count()
}

async fn lead(store: &Store, digest: &Digest, size: usize) -> (Filling, Transfer) {
    match store.begin(digest, size as u64).await.unwrap() {
        Begin::Lead(filling, transfer) => (filling, transfer),
        Begin::Follow(_) => panic!("somebody else leads"),
    }
}

async fn follow(store: &Store, digest: &Digest, size: usize) -> Transfer {
    match store.begin(digest, size as u64).await.unwrap() {
        Begin::Lead(..) => panic!("nobody leads"),
        Begin::Follow(transfer) => transfer,
    }
}

/// What a reader got, and how its stream ended.
async fn read(transfer: &Transfer, start: u64, end: u64) -> (Vec<u8>, Result<(), TransferError>) {
    let mut stream = transfer.stream(start, end);
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => {
                assert!(stream.next().await.is_none(), "an error ends the stream");
                return (bytes, Err(error));
            }
        }
    }
    (bytes, Ok(()))
}

async fn read_blob(store: &Store, digest: &Digest, start: u64, end: u64) -> Vec<u8> {
    let blob = store.open_blob(digest).await.unwrap().unwrap();
    let pieces: Vec<Bytes> = blob
        .into_stream(start, end)
        .map(Result::unwrap)
        .collect()
        .await;
    pieces.concat()
}

async fn fill(filling: &mut Filling, bytes: &Bytes, chunk: usize) {
    for start in (0..bytes.len()).step_by(chunk) {
        let end = bytes.len().min(start + chunk);
        filling.write(bytes.slice(start..end)).await.unwrap();
    }
}

fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    futures::FutureExt::now_or_never(future).is_none()
}

// === small content ===

#[tokio::test]
async fn put_content_is_got_by_either_algorithm() {
    let (directory, store) = new_store().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for length in [0, 1, 5000] {
            let bytes = content(length, 1);
            let digest = Digest::of(algorithm, &bytes);
            assert_eq!(store.get(&digest, LIMIT).await.unwrap(), None);
            store.put(&digest, bytes.clone()).await.unwrap();
            store.put(&digest, bytes.clone()).await.unwrap();
            assert_eq!(store.get(&digest, LIMIT).await.unwrap(), Some(bytes));
        }
    }
    assert_eq!(incoming(&directory), 0);
    assert_eq!(store.usage().files, 6);
    assert_eq!(store.usage().bytes, 2 * 5001);
}

#[tokio::test]
async fn put_refuses_another_digest() {
    let (directory, store) = new_store().await;
    let digest = Digest::sha256(b"this");
    let refused = store.put(&digest, Bytes::from_static(b"that")).await;
    assert!(matches!(refused, Err(Error::WrongDigest(wrong)) if wrong == digest));
    assert_eq!(store.get(&digest, LIMIT).await.unwrap(), None);
    assert!(store.open_blob(&digest).await.unwrap().is_none());
    assert_eq!(incoming(&directory), 0);
}

#[tokio::test]
async fn altered_content_is_removed_and_can_be_put_again() {
    let (_directory, store) = new_store().await;
    let bytes = content(3000, 2);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    let mut altered = bytes.to_vec();
    altered[1500] ^= 1;
    for altered in [altered, bytes[..2999].to_vec(), Vec::new()] {
        std::fs::write(file_of(&store, &digest), altered).unwrap();
        assert_eq!(store.get(&digest, LIMIT).await.unwrap(), None);
        assert!(!file_of(&store, &digest).exists());
        assert_eq!(store.usage().bytes, 0);
        store.put(&digest, bytes.clone()).await.unwrap();
        assert_eq!(
            store.get(&digest, LIMIT).await.unwrap(),
            Some(bytes.clone())
        );
    }
}

#[tokio::test]
async fn put_replaces_content_of_another_size() {
    let (_directory, store) = new_store().await;
    let bytes = content(3000, 3);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    std::fs::write(file_of(&store, &digest), b"short").unwrap();
    store.put(&digest, bytes.clone()).await.unwrap();
    assert_eq!(store.get(&digest, LIMIT).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn get_does_not_read_what_is_too_large() {
    let (_directory, store) = new_store().await;
    let bytes = content(3000, 4);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    assert_eq!(store.get(&digest, 2999).await.unwrap(), None);
    assert_eq!(store.get(&digest, 3000).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn removed_content_is_absent() {
    let (_directory, store) = new_store().await;
    let bytes = content(10, 5);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes).await.unwrap();
    store.remove(&digest).await.unwrap();
    store.remove(&digest).await.unwrap();
    assert!(store.open_blob(&digest).await.unwrap().is_none());
    assert_eq!(store.usage().files, 0);
}

// === blobs ===

#[tokio::test]
async fn a_blob_is_streamed_in_whole_and_in_ranges() {
    let (_directory, store) = new_store().await;
    let bytes = content(3 * blob::CHUNK_BYTES + 77, 6);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    let size = bytes.len() as u64;
    for (start, end) in [
        (0, size),
        (0, 1),
        (1, 1),
        (size - 1, size),
        (100_000, 300_001),
        (0, size + 5),
        (size + 5, size + 9),
    ] {
        let (from, to) = (start.min(size) as usize, end.min(size) as usize);
        assert!(read_blob(&store, &digest, start, end).await == bytes[from..to]);
    }
}

#[tokio::test]
async fn pieces_that_are_kept_are_not_overwritten_by_later_ones() {
    let (_directory, store) = new_store().await;
    let bytes = content(40 * blob::CHUNK_BYTES, 7);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    for _ in 0..3 {
        assert!(read_blob(&store, &digest, 0, bytes.len() as u64).await == bytes);
    }
}

#[tokio::test]
async fn an_open_blob_outlives_its_removal() {
    let (_directory, store) = new_store().await;
    let bytes = content(2 * blob::CHUNK_BYTES, 8);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    let blob = store.open_blob(&digest).await.unwrap().unwrap();
    store.remove(&digest).await.unwrap();
    let pieces: Vec<_> = blob.into_stream(0, u64::MAX).collect().await;
    let pieces: Vec<Bytes> = pieces.into_iter().map(Result::unwrap).collect();
    assert!(pieces.concat() == bytes);
}

#[tokio::test]
async fn a_blob_cut_short_behind_our_back_ends_with_an_error() {
    let (_directory, store) = new_store().await;
    let bytes = content(2 * blob::CHUNK_BYTES, 9);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes).await.unwrap();
    let blob = store.open_blob(&digest).await.unwrap().unwrap();
    std::fs::File::options()
        .write(true)
        .open(file_of(&store, &digest))
        .unwrap()
        .set_len(1000)
        .unwrap();
    let pieces: Vec<_> = blob.into_stream(0, u64::MAX).collect().await;
    assert!(pieces.last().unwrap().is_err());
}

// === a kill at any point ===

#[tokio::test]
async fn what_a_killed_process_left_behind_is_removed_and_the_rest_kept() {
    let (directory, store) = new_store().await;
    let bytes = content(1000, 10);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    // As after `kill -9`: the file is there and nobody holds its lock.
    std::fs::write(directory.path().join("incoming/0123-4"), b"half").unwrap();
    drop(store);
    let store = open(&directory, CAPACITY).await;
    assert_eq!(incoming(&directory), 0);
    assert_eq!(store.usage().bytes, 1000);
    assert_eq!(store.get(&digest, LIMIT).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_second_process_leaves_transfers_under_way_alone() {
    let (directory, store) = new_store().await;
    let bytes = content(1000, 11);
    let digest = Digest::sha256(&bytes);
    let (mut filling, _) = lead(&store, &digest, 1000).await;
    filling.write(bytes.slice(..500)).await.unwrap();
    let second = open(&directory, CAPACITY).await;
    assert!(second.open_blob(&digest).await.unwrap().is_none());
    filling.write(bytes.slice(500..)).await.unwrap();
    filling.finish().await.unwrap();
    assert_eq!(second.get(&digest, LIMIT).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn nothing_is_at_its_place_before_it_is_whole() {
    let (directory, store) = new_store().await;
    let bytes = content(300_000, 12);
    let digest = Digest::sha256(&bytes);
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    fill(&mut filling, &bytes, 10_000).await;
    // All bytes are there, and yet it is not known that they are right.
    transfer.readable_from(100_000).await.unwrap();
    assert!(!file_of(&store, &digest).exists());
    assert!(store.open_blob(&digest).await.unwrap().is_none());
    assert_eq!(incoming(&directory), 1);
    filling.finish().await.unwrap();
    assert!(std::fs::read(file_of(&store, &digest)).unwrap() == bytes);
    assert_eq!(incoming(&directory), 0);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_an_error() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let opened = Store::open(&file, CAPACITY, &TaskTracker::new()).await;
    assert!(matches!(opened, Err(Error::Io { .. })));
}

// === transfers ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_followers_read_one_transfer() {
    let (_directory, store) = new_store().await;
    let bytes = content(2_000_000, 20);
    let digest = Digest::sha256(&bytes);
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let (store, bytes) = (store.clone(), bytes.clone());
            TaskTracker::new().spawn(async move {
                let transfer = follow(&store, &digest, bytes.len()).await;
                let start = number * 1000;
                let (read, end) = read(&transfer, start, bytes.len() as u64).await;
                end.unwrap();
                assert!(read == bytes[start as usize..]);
            })
        })
        .collect();
    // Everybody has joined before it ends: this transfer and the fifty streams.
    while transfer.readers() < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(store.usage().transfers, 1);
    fill(&mut filling, &bytes, 7777).await;
    filling.finish().await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.usage().transfers, 0);
    assert!(store.transfer(&digest).is_none());
    assert!(read_blob(&store, &digest, 0, u64::MAX).await == bytes);
}

#[tokio::test]
async fn a_late_follower_reads_from_the_start_also_after_the_end() {
    let (_directory, store) = new_store().await;
    let bytes = content(500_000, 21);
    let digest = Digest::sha256(&bytes);
    let (mut filling, _) = lead(&store, &digest, bytes.len()).await;
    fill(&mut filling, &bytes, 100_000).await;
    let late = follow(&store, &digest, bytes.len()).await;
    assert_eq!(late.size(), 500_000);
    filling.finish().await.unwrap();
    store.remove(&digest).await.unwrap();
    let (read, end) = read(&late, 0, 500_000).await;
    end.unwrap();
    assert!(read == bytes);
}

#[tokio::test]
async fn the_last_piece_of_content_and_of_ranges_waits_for_the_digest() {
    let (_directory, store) = new_store().await;
    let bytes = content(500_000, 22);
    let digest = Digest::sha256(&bytes);
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    fill(&mut filling, &bytes, 100_000).await;
    for (start, end, early) in [
        (0, 500_000, 500_000 - 65_536),
        (0, 200_000, 200_000 - 65_536),
        (100, 50_000, 0),
        (499_999, 500_000, 0),
    ] {
        let mut stream = transfer.stream(start, end);
        let mut got = 0;
        while got < early {
            got += stream.next().await.unwrap().unwrap().len();
        }
        assert_eq!(got, early, "{start}..{end}");
        assert!(is_pending(std::pin::pin!(stream.next())));
        assert_eq!(
            is_pending(std::pin::pin!(transfer.readable(start, end))),
            early == 0
        );
    }
    filling.finish().await.unwrap();
    for (start, end) in [(0, 200_000), (100, 50_000), (499_999, 500_000)] {
        let (read, outcome) = read(&transfer, start, end).await;
        outcome.unwrap();
        assert!(read == bytes[start as usize..end as usize]);
    }
}

#[tokio::test]
async fn the_first_bytes_are_readable_at_once() {
    let (_directory, store) = new_store().await;
    let bytes = content(500_000, 23);
    let digest = Digest::sha256(&bytes);
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    assert!(is_pending(std::pin::pin!(transfer.readable_from(0))));
    filling.write(bytes.slice(..1)).await.unwrap();
    transfer.readable_from(0).await.unwrap();
    let first = transfer.stream(0, 500_000).next().await.unwrap().unwrap();
    assert_eq!(first, bytes.slice(..1));
}

#[tokio::test]
async fn wrong_bytes_are_never_a_complete_answer() {
    let (directory, store) = new_store().await;
    for length in [1, 1000, 65_536, 65_537, 400_000] {
        let right = content(length, 24);
        let mut wrong = right.to_vec();
        wrong[0] ^= 1;
        let digest = Digest::sha256(&right);
        let size = length as u64;
        let (mut filling, transfer) = lead(&store, &digest, length).await;
        let ranges = [(0, size), (0, 1), (size - 1, size), (size / 2, size)];
        let readers: Vec<_> = ranges
            .into_iter()
            .map(|(start, end)| {
                let transfer = transfer.clone();
                TaskTracker::new().spawn(async move {
                    let (read, outcome) = read(&transfer, start, end).await;
                    assert!(matches!(outcome, Err(TransferError::WrongDigest)));
                    assert!((read.len() as u64) < end - start);
                })
            })
            .collect();
        fill(&mut filling, &wrong.into(), 50_000).await;
        let finished = filling.finish().await;
        assert!(matches!(finished, Err(Error::WrongDigest(wrong)) if wrong == digest));
        for reader in readers {
            reader.await.unwrap();
        }
        let told = transfer.readable_from(0).await;
        assert!(matches!(told, Err(TransferError::WrongDigest)));
        assert!(store.open_blob(&digest).await.unwrap().is_none());
        assert_eq!(incoming(&directory), 0);
        // Nothing is remembered: the next one leads and may succeed.
        let (mut filling, _) = lead(&store, &digest, length).await;
        fill(&mut filling, &right, 50_000).await;
        filling.finish().await.unwrap();
        assert!(read_blob(&store, &digest, 0, size).await == right);
    }
}

#[tokio::test]
async fn too_many_or_too_few_bytes_are_wrong() {
    let (directory, store) = new_store().await;
    let bytes = content(1000, 25);
    let digest = Digest::sha256(&bytes);
    let (mut filling, transfer) = lead(&store, &digest, 999).await;
    assert!(matches!(
        filling.write(bytes.clone()).await,
        Err(Error::WrongDigest(_))
    ));
    let outcome = transfer.readable_from(0).await;
    assert!(matches!(outcome, Err(TransferError::WrongDigest)));
    drop(filling);
    // The bytes have the digest; it is the size that is wrong.
    let (mut filling, transfer) = lead(&store, &digest, 1001).await;
    filling.write(bytes).await.unwrap();
    assert!(matches!(filling.finish().await, Err(Error::WrongDigest(_))));
    assert!(read(&transfer, 0, 1001).await.1.is_err());
    assert_eq!(incoming(&directory), 0);
    assert_eq!(store.usage().files, 0);
}

#[tokio::test]
async fn empty_content_is_complete_when_it_was_found_right() {
    let (_directory, store) = new_store().await;
    let digest = Digest::sha256(b"");
    let (filling, transfer) = lead(&store, &digest, 0).await;
    let mut stream = transfer.stream(0, 0);
    assert!(is_pending(std::pin::pin!(stream.next())));
    assert!(is_pending(std::pin::pin!(transfer.readable_from(0))));
    filling.finish().await.unwrap();
    assert!(stream.next().await.is_none());
    transfer.readable_from(0).await.unwrap();
    assert_eq!(read_blob(&store, &digest, 0, 0).await, b"");

    let wrong = Digest::sha256(b"not empty");
    let (filling, transfer) = lead(&store, &wrong, 0).await;
    assert!(filling.finish().await.is_err());
    assert!(read(&transfer, 0, 0).await.1.is_err());
}

#[tokio::test]
async fn a_transfer_given_up_breaks_its_readers_and_is_forgotten() {
    let (directory, store) = new_store().await;
    let bytes = content(300_000, 26);
    let digest = Digest::sha256(&bytes);
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    filling.write(bytes.slice(..150_000)).await.unwrap();
    drop(filling);
    let (_, outcome) = read(&transfer, 0, 300_000).await;
    assert!(matches!(outcome, Err(TransferError::Abandoned)));
    assert_eq!(incoming(&directory), 0);

    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    filling.write(bytes.slice(..150_000)).await.unwrap();
    filling.fail(crate::upstream::Error::Truncated {
        host: "ghcr.io".to_owned(),
    });
    let outcome = transfer.readable_from(200_000).await;
    assert!(matches!(
        outcome,
        Err(TransferError::Upstream(
            crate::upstream::Error::Truncated { .. }
        ))
    ));
    assert_eq!(incoming(&directory), 0);
    lead(&store, &digest, bytes.len()).await;
}

#[tokio::test]
async fn a_stalled_transfer_resumes_where_it_stopped() {
    let (_directory, store) = new_store().await;
    let bytes = content(300_000, 27);
    let digest = Digest::sha256(&bytes);
    let (mut filling, transfer) = lead(&store, &digest, bytes.len()).await;
    fill(&mut filling, &bytes.slice(..150_000), 1400).await;
    let mut stream = transfer.stream(0, 300_000);
    let mut read = Vec::new();
    while read.len() < 150_000 {
        read.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    assert!(is_pending(std::pin::pin!(stream.next())));
    let resumed_from = usize::try_from(filling.offset()).unwrap();
    assert_eq!(resumed_from, 150_000);
    fill(&mut filling, &bytes.slice(resumed_from..), 1400).await;
    filling.finish().await.unwrap();
    while let Some(piece) = stream.next().await {
        read.extend_from_slice(&piece.unwrap());
    }
    assert!(read == bytes);
}

#[tokio::test]
async fn whoever_begins_what_was_just_stored_follows_a_complete_transfer() {
    let (directory, store) = new_store().await;
    let bytes = content(1000, 28);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    let transfer = follow(&store, &digest, 1000).await;
    let (read, outcome) = read(&transfer, 0, 1000).await;
    outcome.unwrap();
    assert!(read == bytes);
    assert_eq!(store.usage().transfers, 0);
    // A file of another size is not what was asked for: it is fetched again.
    std::fs::write(file_of(&store, &digest), b"short").unwrap();
    let (mut filling, _) = lead(&store, &digest, 1000).await;
    filling.write(bytes.clone()).await.unwrap();
    filling.finish().await.unwrap();
    assert_eq!(store.get(&digest, LIMIT).await.unwrap(), Some(bytes));
    assert_eq!(incoming(&directory), 0);
}

#[tokio::test]
async fn a_cancelled_begin_leaves_no_transfer() {
    let (directory, store) = new_store().await;
    let digest = Digest::sha256(b"x");
    assert!(is_pending(Box::pin(store.begin(&digest, 1)).as_mut()));
    assert!(store.transfer(&digest).is_none());
    let (filling, _) = lead(&store, &digest, 1).await;
    drop(filling);
    assert_eq!(incoming(&directory), 0);
}

#[tokio::test]
async fn a_refusal_of_the_file_system_reaches_writer_and_readers() {
    let (directory, store) = new_store().await;
    let bytes = content(1000, 29);
    let digest = Digest::sha256(&bytes);
    // A full disk, as far as can be arranged without one: the file accepts no bytes.
    let (mut filling, transfer) = lead(&store, &digest, 1000).await;
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    filling.replace_file(Arc::new(full));
    filling.write(bytes).await.unwrap();
    let outcome = transfer.readable_from(0).await;
    assert!(matches!(outcome, Err(TransferError::Store(_))));
    let refused = filling.finish().await;
    assert!(
        matches!(&refused, Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::StorageFull),
        "{refused:?}"
    );
    assert_eq!(incoming(&directory), 0);
    assert!(store.transfer(&digest).is_none());

    std::fs::remove_dir_all(directory.path().join("incoming")).unwrap();
    let refused = store.begin(&digest, 1000).await;
    assert!(matches!(refused, Err(Error::Io { .. })));
    assert!(store.transfer(&digest).is_none());
}

// === eviction ===

const HOUR: Duration = Duration::from_secs(3600);

async fn put(store: &Store, seed: u64, length: usize) -> Digest {
    let bytes = content(length, seed);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes).await.unwrap();
    digest
}

async fn is_stored(store: &Store, digest: &Digest) -> bool {
    file_of(store, digest).exists()
}

#[tokio::test]
async fn the_least_recently_used_goes_first() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, 10_000).await;
    let mut digests = Vec::new();
    for seed in 0..9 {
        digests.push(put(&store, seed, 1000).await);
        store.shared.index.advance(HOUR);
    }
    store.open_blob(&digests[0]).await.unwrap().unwrap();
    store.get(&digests[1], LIMIT).await.unwrap().unwrap();
    store.shared.index.advance(HOUR);
    // 11,000 bytes: down to 9,500, that is two of the untouched ones.
    let newest = put(&store, 9, 2000).await;
    let mut stored = Vec::new();
    for digest in &digests {
        stored.push(is_stored(&store, digest).await);
    }
    assert_eq!(
        stored,
        [true, true, false, false, true, true, true, true, true]
    );
    assert!(is_stored(&store, &newest).await);
    let usage = store.usage();
    assert_eq!((usage.bytes, usage.files, usage.evicted), (9000, 8, 2));
}

#[tokio::test]
async fn recent_content_stays_while_there_is_older() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, 3000).await;
    let old = put(&store, 1, 1000).await;
    store.shared.index.advance(HOUR);
    let recent = put(&store, 2, 1000).await;
    store.shared.index.advance(Duration::from_secs(60));
    let newer = put(&store, 3, 1000).await;
    // Exactly at the capacity: nothing goes.
    assert!(is_stored(&store, &old).await);
    let newest = put(&store, 4, 1000).await;
    assert!(!is_stored(&store, &old).await);
    // At the capacity, though above the comfortable mark: content in its grace time is not touched for comfort.
    for digest in [&recent, &newer, &newest] {
        assert!(is_stored(&store, digest).await);
    }
    // Only recent content is left, and it does not fit.
    let last = put(&store, 5, 1000).await;
    assert!(!is_stored(&store, &recent).await);
    for digest in [&newer, &newest, &last] {
        assert!(is_stored(&store, digest).await);
    }
}

#[tokio::test]
async fn content_in_a_transfer_is_not_evicted() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory, 1000).await;
    let bytes = content(1000, 1);
    let in_transfer = put(&store, 1, 1000).await;
    store.shared.index.advance(HOUR);
    let (mut filling, _) = {
        // Fetched again although it is stored, as after a race.
        let path = file_of(&store, &in_transfer);
        std::fs::rename(&path, path.with_extension("away")).unwrap();
        let led = lead(&store, &in_transfer, 1000).await;
        std::fs::rename(path.with_extension("away"), &path).unwrap();
        led
    };
    let other = put(&store, 2, 500).await;
    assert!(is_stored(&store, &in_transfer).await);
    assert!(!is_stored(&store, &other).await);
    filling.write(bytes).await.unwrap();
    filling.finish().await.unwrap();
    assert_eq!(store.usage().bytes, 1000);
}

#[tokio::test]
async fn existing_files_are_counted_at_the_start_and_evicted_by_age() {
    let (directory, store) = new_store().await;
    let (first, second) = (put(&store, 1, 1000).await, put(&store, 2, 1000).await);
    let old = std::time::SystemTime::UNIX_EPOCH + HOUR;
    std::fs::File::options()
        .write(true)
        .open(file_of(&store, &second))
        .unwrap()
        .set_modified(old)
        .unwrap();
    // Not ours, and therefore left alone.
    std::fs::write(directory.path().join("content/sha256/README"), b"?").unwrap();
    drop(store);
    let store = open(&directory, 1500).await;
    assert!(is_stored(&store, &first).await);
    assert!(!is_stored(&store, &second).await);
    assert_eq!((store.usage().bytes, store.usage().files), (1000, 1));
    assert!(directory.path().join("content/sha256/README").exists());
}

#[tokio::test]
async fn a_use_after_a_long_time_is_noted_in_the_file() {
    let (directory, store) = new_store().await;
    let digest = put(&store, 1, 1000).await;
    let path = file_of(&store, &digest);
    let old = std::time::SystemTime::UNIX_EPOCH + HOUR;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(old).unwrap();
    // This run stored it a moment ago and need not note it again; the next run finds it old.
    store.open_blob(&digest).await.unwrap().unwrap();
    assert_eq!(file.metadata().unwrap().modified().unwrap(), old);
    let store = open(&directory, CAPACITY).await;
    store.open_blob(&digest).await.unwrap().unwrap();
    assert!(file.metadata().unwrap().modified().unwrap() > old + HOUR);
}
