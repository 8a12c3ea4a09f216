//! What becomes of a key while it cannot be read.

use super::scripted::{Warnings, failures, not_found};
use super::*;
use crate::keys::limits::FETCH_TIME_MAX;

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_has_failed_in_time() {
    let bench = Bench::new(Answer::Never);
    want(&bench.keys, &[REFERENCE]);
    let begun = Instant::now();
    bench.settle().await;
    assert_eq!(begun.elapsed(), FETCH_TIME_MAX);
    assert!(bench.reason().contains("did not answer in time"));
    bench.service.answer(known(&["1"]));
    sleep(10 * SECOND).await;
    assert_eq!(bench.versions(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    let bench = Bench::settled(Answer::Panics).await;
    assert!(bench.reason().contains("a bug"), "{}", bench.reason());
    bench.service.answer(known(&["1"]));
    sleep(10 * SECOND).await;
    assert_eq!(bench.versions(), ["1"]);
    bench.service.answer(Answer::Panics);
    advance(REFRESH_INTERVAL_MIN).await;
    assert!(!bench.refresh().await);
    assert_eq!(bench.versions(), ["1"], "the last known keys serve");
}

#[tokio::test(start_paused = true)]
async fn a_key_without_versions_is_a_failure() {
    let bench = Bench::settled(known(&[])).await;
    assert!(bench.reason().contains("no version that may vouch"));
    assert_eq!(bench.observer.take(), ["not_found"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_failures_back_off() {
    let bench = Bench::settled(Answer::Fails(unavailable())).await;
    sleep(HOUR).await;
    let calls = bench.service.calls();
    let gaps: Vec<Duration> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([5, 10, 20, 30, 30, 30, 30, 30]) {
        let least = least * SECOND;
        assert!((least..=least + least / 2).contains(gap), "{gaps:?}");
        assert!(*gap <= REFRESH_INTERVAL_MIN, "{gaps:?}");
    }
    assert!(gaps.len() >= 12, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_known_keys_serve_through_an_outage_for_a_day() {
    for error in failures() {
        let bench = Bench::settled(known(&["1"])).await;
        let read = Instant::now();
        bench.service.answer(Answer::Fails(error.clone()));
        while read.elapsed() < STALE_MAX - SECOND {
            sleep(SECOND.max((STALE_MAX - SECOND - read.elapsed()) / 2)).await;
            assert_eq!(bench.versions(), ["1"], "{error}");
        }
        assert_eq!(*bench.keys.changes().borrow(), 1);
        sleep(2 * SECOND).await;
        let reason = bench.reason();
        assert!(reason.contains(&error.to_string()), "{reason}");
        assert_eq!(*bench.keys.changes().borrow(), 2);
        assert!(bench.keys.status()[0].serves_until.is_none());
        bench.service.answer(known(&["1"]));
        sleep(331 * SECOND).await;
        assert_eq!(bench.versions(), ["1"], "it ends with the outage");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_gone_stops_at_once() {
    let bench = Bench::settled(known(&["1"])).await;
    bench.service.answer(Answer::Fails(not_found()));
    advance(REFRESH_INTERVAL_MIN).await;
    assert!(bench.refresh().await, "this is a change");
    assert!(bench.reason().contains("no such key"));
    // An outage afterwards does not bring it back.
    bench.service.answer(Answer::Fails(unavailable()));
    sleep(HOUR).await;
    assert!(bench.reason().contains("cannot be asked"));
}

#[tokio::test(start_paused = true)]
async fn warnings_become_more_frequent_towards_the_end() {
    let warnings = Warnings::default();
    let _guard = warnings.listen();
    let bench = Bench::settled(known(&["1"])).await;
    let read = Instant::now();
    assert_eq!(warnings.take(), 0);
    bench.service.answer(Answer::Fails(unavailable()));
    sleep(400 * SECOND).await;
    assert_eq!(warnings.take(), 1, "stale keys serve");
    let mut times = Vec::new();
    while read.elapsed() < STALE_MAX - 10 * 60 * SECOND {
        sleep(60 * SECOND).await;
        if warnings.take() > 0 {
            times.push(read.elapsed());
        }
    }
    assert!((4..=10).contains(&times.len()), "{times:?}");
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.first() > gaps.last(), "{gaps:?}");
    sleep(10 * 60 * SECOND).await;
    assert!(warnings.take() > 0, "they do not serve any more");
}
