use tokio::sync::watch;

use super::*;
use crate::trust::mirror::SharedClient;

fn repository() -> Arc<Repository> {
    Arc::new(Repository::public_good(None, SharedClient::default()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_panics_or_hangs_has_failed() {
    let panicked = guarded(async { panic!("a mirror sent something") }).await;
    assert!(matches!(panicked, Err(Error::Panicked)), "{panicked:?}");
    let hung = guarded(std::future::pending()).await;
    assert!(matches!(hung, Err(Error::TimeOut)), "{hung:?}");
    guarded(async { Ok(()) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn storage_that_hangs_is_not_waited_for() {
    let repository = repository();
    let known = repository.open(clock::now()).unwrap();
    let hanging = Arc::clone(&repository.keeping).lock_owned().await;
    let kept = keep(&repository, known.clone()).await;
    assert!(
        matches!(&kept, Err(Error::Directory { source, .. }) if source.kind() == io::ErrorKind::TimedOut),
        "{kept:?}"
    );
    drop(hanging);
    keep(&repository, known).await.unwrap();
}

#[test]
fn a_root_says_until_when_it_may_be_believed() {
    let now = clock::now();
    let open = |max_stale: Duration| {
        let repository = Repository::public_good(None, SharedClient::default()).unwrap();
        let source = Source::BuiltIn { mirror: None };
        let changes = watch::Sender::new(0);
        let name = "public-good".to_owned();
        Entry::open(name, source, Some(repository), max_stale, changes, now).unwrap()
    };
    let entry = open(Duration::from_secs(365 * 24 * 60 * 60));
    let stale_at = entry.status(now).stale_at;
    assert!(stale_at.is_some());
    let published = entry.current();
    assert!(
        matches!(published, Root::Usable { until, .. } if until == stale_at),
        "{published:?}"
    );
    // At the first moment at which it is stale, by whoever looks.
    let stale_at = stale_at.unwrap();
    assert!(published.at(stale_at).is_err());
    assert!(
        published
            .at(stale_at - SignedDuration::from_nanos(1))
            .is_ok()
    );
    assert!(!entry.status(stale_at).usable);
}
