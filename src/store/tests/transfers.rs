//! Transfers: one writer, many readers, every way to end.

use super::*;

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
                assert!(read == bytes[at(start)..]);
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
    assert_eq!(store.usage().transfers, 0);
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
        let mut stream = transfer.stream(start, end, crate::pace::Pace::steady());
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
        assert!(read == bytes[at(start)..at(end)]);
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
    let first = transfer
        .stream(0, 500_000, crate::pace::Pace::steady())
        .next()
        .await
        .unwrap()
        .unwrap();
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
    let mut stream = transfer.stream(0, 0, crate::pace::Pace::steady());
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
    let mut stream = transfer.stream(0, 300_000, crate::pace::Pace::steady());
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

#[test]
fn a_cancelled_begin_leaves_no_transfer() {
    // The one thread for files is busy, so that the first call waits for certain, and is over before the second begins.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (directory, store) = new_store().await;
        let digest = Digest::sha256(b"x");
        let (free, busy) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || busy.recv());
        assert!(is_pending(Box::pin(lead(&store, &digest, 1)).as_mut()));
        assert_eq!(store.usage().transfers, 0);
        free.send(()).unwrap();
        let (filling, _) = lead(&store, &digest, 1).await;
        drop(filling);
        assert_eq!(incoming(&directory), 0);
    });
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
    assert_eq!(store.usage().transfers, 0);

    std::fs::remove_dir_all(directory.path().join("incoming")).unwrap();
    let repository = repository();
    let source = Source {
        repository: &repository,
        has_delivered: false,
        follows_others: true,
    };
    let refused = store.begin(&digest, 1000, source).await;
    assert!(matches!(refused, Err(Error::Io { .. })));
    assert_eq!(store.usage().transfers, 0);
}

#[tokio::test]
async fn transfer_is_from_the_repository_whose_upstream_fills_it() {
    let (_directory, store) = new_store().await;
    let bytes = content(1000, 29);
    let digest = Digest::sha256(&bytes);
    let other = RepositoryName::new("ghcr.io", "org/private").unwrap();
    let (filling, failed) = lead_for(&store, &digest, bytes.len(), &other).await;
    filling.fail(crate::upstream::Error::NotFound {
        host: "ghcr.io".to_owned(),
        name_unknown: false,
    });
    // The one that failed is still held by its readers when the next one begins.
    let (mut filling, _) = lead(&store, &digest, bytes.len()).await;
    let transfer = follow(&store, &digest, bytes.len()).await;
    assert!(transfer.is_from(&repository()) && !transfer.is_from(&other));
    assert!(failed.is_from(&other) && !failed.is_from(&repository()));
    fill(&mut filling, &bytes, 100).await;
    filling.finish().await.unwrap();
    // Nobody's upstream gives content that is stored.
    let stored = follow(&store, &digest, bytes.len()).await;
    assert!(!stored.is_from(&repository()) && !stored.is_from(&other));
}

#[tokio::test]
async fn full_disk_removes_what_is_kept_of_other_transfers_and_another_failure_does_not() {
    let (_directory, store) = new_store().await;
    let kept = content(2000, 30);
    let (mut filling, _) = lead(&store, &Digest::sha256(&kept), kept.len()).await;
    fill(&mut filling, &kept.slice(..500), 100).await;
    filling
        .suspend(crate::upstream::Error::Truncated {
            host: "ghcr.io".to_owned(),
        })
        .await;
    // A file that is open for reading only takes no bytes either.
    for (path, is_writable, expected) in [("/dev/null", false, 500), ("/dev/full", true, 0)] {
        let bytes = content(1000, 31);
        let (mut filling, transfer) = lead(&store, &Digest::sha256(&bytes), bytes.len()).await;
        let refusing = std::fs::File::options()
            .read(true)
            .write(is_writable)
            .open(path)
            .unwrap();
        filling.replace_file(Arc::new(refusing));
        filling.write(bytes).await.unwrap();
        let outcome = transfer.readable_from(0).await;
        assert!(matches!(outcome, Err(TransferError::Store(_))), "{path}");
        assert_eq!(store.shared.partials.bytes(), expected, "{path}");
    }
}

#[tokio::test]
async fn another_host_neither_follows_a_transfer_nor_gets_what_is_stored_before_it_delivered() {
    let (_directory, store) = new_store().await;
    let bytes = content(90_000, 33);
    let digest = Digest::sha256(&bytes);
    let size = bytes.len() as u64;
    let named = |host| RepositoryName::new(host, "org/app").unwrap();
    let (first, stranger) = (named("ghcr.io"), named("quay.io"));
    let neighbour = RepositoryName::new("ghcr.io", "org/other").unwrap();
    let source = |repository, has_delivered| Source {
        repository,
        has_delivered,
        follows_others: true,
    };
    let begin = async |repository| {
        let begun = store.begin(&digest, size, source(repository, false)).await;
        begun.unwrap()
    };
    let Begin::Lead(mut filling, _) = begin(&first).await else {
        panic!("nobody leads yet");
    };
    assert!(matches!(begin(&neighbour).await, Begin::Follow(_)));
    let Begin::Lead(mut other, _) = begin(&stranger).await else {
        panic!("the stranger follows");
    };
    assert_eq!(store.usage().transfers, 2);
    fill(&mut filling, &bytes, 10_000).await;
    filling.finish().await.unwrap();
    assert_eq!(store.usage().transfers, 1);
    // The first host has delivered it, and so may use what is stored before anything was noted durably.
    assert!(matches!(begin(&neighbour).await, Begin::Follow(_)));
    fill(&mut other, &bytes.slice(..50_000), 10_000).await;
    drop(other);
    let Begin::Lead(mut other, _) = begin(&stranger).await else {
        panic!("the stranger gets what is stored");
    };
    fill(&mut other, &bytes, 10_000).await;
    other.finish().await.unwrap();
    assert!(matches!(begin(&stranger).await, Begin::Follow(_)));
    assert_eq!((store.usage().bytes, store.usage().files), (size, 1));
}

#[tokio::test]
async fn repository_that_does_not_follow_others_leads_beside_them() {
    let (_directory, store) = new_store().await;
    let digest = Digest::sha256(b"x");
    let (hanging, _) = lead(&store, &digest, 1).await;
    let other = RepositoryName::new("ghcr.io", "org/other").unwrap();
    let source = Source {
        repository: &other,
        has_delivered: false,
        follows_others: false,
    };
    let begun = store.begin(&digest, 1, source).await.unwrap();
    assert!(matches!(begun, Begin::Lead(..)));
    drop(hanging);
}
