mod content;
mod eviction;
mod partials;
mod transfers;

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use tempfile::TempDir;

use super::*;
use crate::oci::RepositoryName;
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

/// An offset as an index.
fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
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

/// The repository that content comes from, unless a test says otherwise.
fn repository() -> RepositoryName {
    RepositoryName::new("ghcr.io", "org/app").unwrap()
}

async fn lead(store: &Store, digest: &Digest, size: usize) -> (Filling, Transfer) {
    lead_for(store, digest, size, &repository()).await
}

async fn lead_for(
    store: &Store,
    digest: &Digest,
    size: usize,
    repository: &RepositoryName,
) -> (Filling, Transfer) {
    let source = Source {
        repository,
        has_delivered: true,
        follows_others: true,
    };
    match store.begin(digest, size as u64, source).await.unwrap() {
        Begin::Lead(filling, transfer) => (filling, transfer),
        Begin::Follow(_) => panic!("somebody else leads"),
    }
}

async fn follow(store: &Store, digest: &Digest, size: usize) -> Transfer {
    let repository = repository();
    let source = Source {
        repository: &repository,
        has_delivered: true,
        follows_others: true,
    };
    let begun = store.begin(digest, size as u64, source).await;
    match begun.unwrap() {
        Begin::Lead(..) => panic!("nobody leads"),
        Begin::Follow(transfer) => transfer,
    }
}

/// What a reader got, and how its stream ended.
async fn read(transfer: &Transfer, start: u64, end: u64) -> (Vec<u8>, Result<(), TransferError>) {
    let mut stream = transfer.stream(start, end, crate::pace::Pace::steady());
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
        .into_stream(start, end, crate::pace::Pace::steady())
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
