//! Age, expiry and the clock.

use super::repository::*;
use crate::clock;
use crate::policy::material::Root;

#[tokio::test]
async fn frozen_repository_ends_when_it_is_too_old() {
    let repository = Repository::published().await;
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    let mut changes = roots.changes();
    changes.mark_unchanged();
    // The same metadata, signed until day 7.
    for day in [8, 29] {
        let error = roots.refresh(NAME, after(day)).await.unwrap_err();
        assert!(text(&error).contains("expired"), "{}", text(&error));
        assert_eq!(in_force(&roots), digest(FIRST));
    }
    assert!(!changes.has_changed().unwrap());
    assert!(roots.refresh(NAME, after(31)).await.is_err());
    let Some(Root::Unusable { reason }) = roots.current(NAME) else {
        panic!("still in force");
    };
    assert!(reason.contains("expired"), "{reason}");
    assert!(changes.has_changed().unwrap());
    // A restart changes nothing, a refresh everything.
    assert_eq!(in_force(&repository.open(after(31))), None);
    let mut publication = Publication::new(2, SECOND);
    publication.expires = after(40);
    repository.publish(&publication);
    assert!(roots.refresh(NAME, after(31)).await.unwrap());
    assert_eq!(in_force(&roots), digest(SECOND));
}

#[tokio::test]
async fn warns_long_before() {
    let repository = Repository::published().await;
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    let stale = |day| {
        let status = roots.status(after(day)).remove(0);
        let warnings = status.warnings.iter();
        warnings
            .filter(|warning| warning.contains("not refreshed"))
            .count()
    };
    assert_eq!((stale(0), stale(9), stale(11)), (0, 0, 1));
    let status = roots.status(after(11)).remove(0);
    assert_eq!(status.age_seconds, Some(11 * 24 * 60 * 60));
    assert_eq!(status.stale_at, Some(after(30)));
    assert_eq!(status.refreshed, Some(start()));
    assert!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("metadata expired"))
    );
}

#[tokio::test]
async fn clock_that_goes_back_makes_nothing_fresh_again() {
    let repository = Repository::start().await;
    let mut publication = Publication::new(1, FIRST);
    publication.expires = after(20);
    repository.publish(&publication);
    repository
        .open(after(10))
        .refresh(NAME, after(10))
        .await
        .unwrap();
    // Signed until day 7, offered when the clock says day 5, after a restart.
    let roots = repository.open(after(5));
    repository.publish(&Publication::new(2, SECOND));
    let error = roots.refresh(NAME, after(5)).await.unwrap_err();
    assert!(text(&error).contains("expired"), "{}", text(&error));
    assert_eq!(in_force(&roots), digest(FIRST));
    let status = roots.status(after(5)).remove(0);
    assert_eq!(status.clock_behind_seconds, 5 * 24 * 60 * 60);
    assert!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("clock"))
    );
}

#[tokio::test]
async fn time_passes_though_the_clock_stands() {
    let repository = Repository::published().await;
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(max_stale() + std::time::Duration::from_secs(1)).await;
    assert!(!roots.status(start())[0].usable);
}

#[tokio::test]
async fn refreshes_by_itself_until_told_to_stop() {
    let repository = Repository::start().await;
    let mut publication = Publication::new(1, FIRST);
    publication.expires = clock::now() + jiff::SignedDuration::from_hours(24);
    repository.publish(&publication);
    let roots = repository.open(clock::now());
    let mut changes = roots.changes();
    let stop = tokio_util::sync::CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    let task = tasks.spawn(roots.clone().keep_fresh(stop.clone()));
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, changes.changed())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(in_force(&roots), digest(FIRST));
    stop.cancel();
    tokio::time::timeout(limit, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn users_learn_that_the_same_root_may_be_believed_for_longer() {
    let repository = Repository::published().await;
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    let until = || match roots.current(NAME) {
        Some(Root::Usable { until, .. }) => until,
        other => panic!("{other:?}"),
    };
    assert_eq!(until(), Some(after(30)));
    let mut changes = roots.changes();
    changes.mark_unchanged();
    assert!(!roots.refresh(NAME, after(3)).await.unwrap());
    assert_eq!(until(), Some(after(33)));
    assert!(changes.has_changed().unwrap());
}
