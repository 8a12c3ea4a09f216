//! Small content, blobs, and what a kill leaves behind.

use super::*;

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
        let (from, to) = (at(start.min(size)), at(end.min(size)));
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
    let pieces: Vec<_> = blob
        .into_stream(0, u64::MAX, crate::pace::Pace::steady())
        .collect()
        .await;
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
    let pieces: Vec<_> = blob
        .into_stream(0, u64::MAX, crate::pace::Pace::steady())
        .collect()
        .await;
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

// === what others put in our place ===

#[tokio::test]
async fn a_pipe_or_link_in_place_of_content_counts_as_absent_and_is_replaced() {
    use std::os::unix::fs::symlink;

    let (directory, store) = new_store().await;
    let bytes = content(1000, 14);
    let digest = Digest::sha256(&bytes);
    store.put(&digest, bytes.clone()).await.unwrap();
    let (path, theirs) = (file_of(&store, &digest), directory.path().join("theirs"));
    std::fs::write(&theirs, &bytes).unwrap();
    for is_pipe in [true, false] {
        std::fs::remove_file(&path).unwrap();
        if is_pipe {
            let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
        } else {
            symlink(&theirs, &path).unwrap();
        }
        assert_eq!(store.get(&digest, LIMIT).await.unwrap(), None);
        assert!(store.open_blob(&digest).await.unwrap().is_none());
        store.put(&digest, bytes.clone()).await.unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(
            store.get(&digest, LIMIT).await.unwrap(),
            Some(bytes.clone())
        );
    }
    // Nor is a directory of content taken from elsewhere.
    let shard = path.parent().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(shard, &elsewhere).unwrap();
    symlink(&elsewhere, shard).unwrap();
    assert_eq!(store.get(&digest, LIMIT).await.unwrap(), None);
    assert!(store.remove(&digest).await.is_err());
    assert!(elsewhere.join(path.file_name().unwrap()).exists());
}

#[tokio::test]
async fn only_files_with_names_of_our_form_are_removed() {
    let directory = TempDir::new().unwrap();
    let incoming = directory.path().join("incoming");
    std::fs::create_dir(&incoming).unwrap();
    for name in ["notes", "a-b", "-1", "0a-", "0123-4", "0123456789abcdef-17"] {
        std::fs::write(incoming.join(name), b"").unwrap();
    }
    drop(open(&directory, CAPACITY).await);
    let mut left: Vec<_> = std::fs::read_dir(&incoming)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["-1", "0a-", "a-b", "notes"]);
}

// === read only ===

#[tokio::test]
async fn a_store_that_is_only_read_changes_nothing() {
    let (directory, store) = new_store().await;
    let bytes = content(2000, 13);
    let (digest, altered) = (Digest::sha256(&bytes), Digest::sha256(b"other bytes"));
    store.put(&digest, bytes.clone()).await.unwrap();
    store
        .put(&altered, Bytes::from_static(b"other bytes"))
        .await
        .unwrap();
    std::fs::write(file_of(&store, &altered), b"wrong bytes").unwrap();
    std::fs::write(directory.path().join("incoming/0123-4"), b"half").unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let file = std::fs::File::options()
        .write(true)
        .open(file_of(&store, &digest))
        .unwrap();
    file.set_modified(long_ago).unwrap();
    let reading = Store::open_read_only(directory.path()).await.unwrap();
    assert_eq!(
        reading.get(&digest, LIMIT).await.unwrap(),
        Some(bytes.clone())
    );
    assert!(reading.open_blob(&digest).await.unwrap().is_some());
    assert_eq!(reading.get(&altered, LIMIT).await.unwrap(), None);
    assert!(file_of(&store, &altered).exists());
    assert_eq!(incoming(&directory), 1);
    let modified = std::fs::metadata(file_of(&store, &digest))
        .unwrap()
        .modified();
    assert_eq!(modified.unwrap(), long_ago);

    let more = Bytes::from_static(b"more");
    let put = reading.put(&Digest::sha256(&more), more.clone()).await;
    assert!(matches!(put, Err(Error::ReadOnly)), "{put:?}");
    let removed = reading.remove(&digest).await;
    assert!(matches!(removed, Err(Error::ReadOnly)), "{removed:?}");
    let repository = repository();
    let source = Source {
        repository: &repository,
        has_delivered: false,
        follows_others: true,
    };
    let begun = reading.begin(&Digest::sha256(&more), 4, source).await;
    assert!(matches!(begun, Err(Error::ReadOnly)), "{begun:?}");
}

#[tokio::test]
async fn a_store_that_is_only_read_is_not_made() {
    let directory = TempDir::new().unwrap();
    let opened = Store::open_read_only(directory.path()).await;
    assert!(matches!(opened, Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
