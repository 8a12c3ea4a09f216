//! Eviction, and the order that survives a restart.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

async fn put(store: &Store, seed: u64, length: usize) -> Digest {
    let bytes = content(length, seed);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes).await.unwrap();
    digest
}

fn is_stored(store: &Store, digest: &Digest) -> bool {
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
        stored.push(is_stored(&store, digest));
    }
    assert_eq!(
        stored,
        [true, true, false, false, true, true, true, true, true]
    );
    assert!(is_stored(&store, &newest));
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
    assert!(is_stored(&store, &old));
    let newest = put(&store, 4, 1000).await;
    assert!(!is_stored(&store, &old));
    // At the capacity, though above the comfortable mark: content in its grace time is not touched for comfort.
    for digest in [&recent, &newer, &newest] {
        assert!(is_stored(&store, digest));
    }
    // Only recent content is left, and it does not fit.
    let last = put(&store, 5, 1000).await;
    assert!(!is_stored(&store, &recent));
    for digest in [&newer, &newest, &last] {
        assert!(is_stored(&store, digest));
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
    assert!(is_stored(&store, &in_transfer));
    assert!(!is_stored(&store, &other));
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
    assert!(is_stored(&store, &first));
    assert!(!is_stored(&store, &second));
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
