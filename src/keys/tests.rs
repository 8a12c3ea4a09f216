//! How keys are kept fresh, against a service that does as told.

mod outage;
mod pem;
mod scripted;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::{REFRESH_INTERVAL_MIN, STALE_MAX};
use super::*;
use crate::policy::KeySet;
pub(super) use pem::{ec_p256, ec_p384, ed25519, pem_of, rsa};
use scripted::{Answer, Scripted, key, unavailable};
pub(super) use server::{Asked, Reply, Server};

const REFERENCE: &str = "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k";
const OTHER: &str = "k8s://namespace/secret";

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Keys of one scripted service, which both references are read from.
struct Bench {
    keys: Keys,
    service: Arc<Scripted>,
    observer: Arc<scripted::Outcomes>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn want(keys: &Keys, references: &[&str]) {
    keys.want(references.iter().map(|text| reference(text)).collect());
}

impl Bench {
    fn new(answer: Answer) -> Self {
        Self::of(Scripted::new(answer))
    }

    fn of(service: Scripted) -> Self {
        let service = Arc::new(service);
        let readers: [(Scheme, Arc<dyn KeyService>); 2] = [
            (Scheme::Google, Arc::clone(&service) as _),
            (Scheme::Kubernetes, Arc::clone(&service) as _),
        ];
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let observer = Arc::new(scripted::Outcomes::default());
        Self {
            keys: Keys::new(
                BTreeMap::from(readers),
                Arc::clone(&observer) as _,
                tasks.clone(),
                &stop,
            ),
            service,
            observer,
            tasks,
            stop,
        }
    }

    /// With the first fetch of the reference behind it.
    async fn settled(answer: Answer) -> Self {
        let bench = Self::new(answer);
        want(&bench.keys, &[REFERENCE]);
        bench.settle().await;
        bench
    }

    async fn settle(&self) {
        let deadline = Instant::now() + 60 * SECOND;
        self.keys.settled(&[reference(REFERENCE)], deadline).await;
    }

    /// The names of the versions that may vouch now.
    fn versions(&self) -> Vec<String> {
        let set = self.keys.current(&reference(REFERENCE));
        let versions = set.versions().iter();
        versions
            .map(|known| known.version.clone().unwrap())
            .collect()
    }

    fn reason(&self) -> String {
        match &*self.keys.current(&reference(REFERENCE)) {
            KeySet::Known(versions) => panic!("{versions:?}"),
            KeySet::Unusable { reason } => reason.clone(),
        }
    }

    async fn refresh(&self) -> bool {
        let deadline = Instant::now() + 5 * SECOND;
        self.keys.refresh(&reference(REFERENCE), deadline).await
    }
}

fn known(versions: &[&str]) -> Answer {
    Answer::Versions(versions.iter().map(|version| key(version)).collect())
}

#[tokio::test(start_paused = true)]
async fn unusable_until_the_first_fetch() {
    let bench = Bench::new(known(&["2", "1"]));
    let changes = bench.keys.changes();
    want(&bench.keys, &[REFERENCE]);
    assert!(bench.reason().contains("has not been read yet"));
    bench.settle().await;
    assert_eq!(bench.versions(), ["2", "1"]);
    assert_eq!(*changes.borrow(), 1);
    assert_eq!(bench.observer.take(), ["ok"]);
}

/// Who waited takes in what changed by the count of changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_is_seen_to_have_ended_is_counted_as_a_change() {
    for _time in 0..2000 {
        let bench = Bench::settled(known(&["1"])).await;
        assert_eq!(*bench.keys.changes().borrow(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_wants_is_unusable() {
    let bench = Bench::new(known(&["1"]));
    assert!(bench.reason().contains("not configured"));
    assert!(!bench.refresh().await);
    bench.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nothing_reads_is_unusable() {
    let keys = Keys::new(
        BTreeMap::new(),
        Arc::new(NoObserver),
        TaskTracker::new(),
        &CancellationToken::new(),
    );
    want(&keys, &[REFERENCE]);
    let begun = Instant::now();
    let deadline = begun + HOUR;
    keys.settled(&[reference(REFERENCE)], deadline).await;
    assert!(!keys.refresh(&reference(REFERENCE), deadline).await);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let KeySet::Unusable { reason } = &*keys.current(&reference(REFERENCE)) else {
        panic!("it is known");
    };
    assert!(reason.contains("nothing reads gcpkms:// keys"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn it_is_fetched_again_and_again() {
    let bench = Bench::settled(known(&["1"])).await;
    bench.service.answer(known(&["2", "1"]));
    sleep(269 * SECOND).await;
    assert_eq!(bench.versions(), ["1"]);
    sleep(62 * SECOND).await;
    assert_eq!(bench.versions(), ["2", "1"]);
    assert_eq!(*bench.keys.changes().borrow(), 2);
    // A version that is disabled stops to vouch the same way.
    bench.service.answer(known(&["2"]));
    sleep(331 * SECOND).await;
    assert_eq!(bench.versions(), ["2"]);
    assert_eq!(*bench.keys.changes().borrow(), 3);
    // Nothing new is no change.
    sleep(HOUR).await;
    assert_eq!(*bench.keys.changes().borrow(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_finds_a_new_version() {
    let bench = Bench::settled(known(&["1"])).await;
    bench.service.answer(known(&["2", "1"]));
    assert!(bench.refresh().await, "the first who asks need not wait");
    assert_eq!(bench.versions(), ["2", "1"]);
    bench.service.answer(known(&["3", "2", "1"]));
    assert!(!bench.refresh().await, "too early");
    assert_eq!(bench.versions(), ["2", "1"]);
    advance(REFRESH_INTERVAL_MIN).await;
    assert!(bench.refresh().await);
    assert_eq!(bench.versions(), ["3", "2", "1"]);
    advance(REFRESH_INTERVAL_MIN).await;
    assert!(!bench.refresh().await, "nothing changed");
    assert_eq!(bench.service.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_refreshes_a_second_cost_one_fetch_per_interval() {
    let bench = Bench::settled(known(&["1"])).await;
    let begun = Instant::now();
    for _second in 0..300 {
        let refreshes = (0..1000).map(|_| bench.refresh());
        futures::future::join_all(refreshes).await;
        advance(SECOND).await;
    }
    let calls = bench.service.calls();
    assert!(begun.elapsed() >= 300 * SECOND);
    assert!(calls.len() > 5, "the calls had an effect: {}", calls.len());
    // The first is the start's.
    for pair in calls[1..].windows(2) {
        assert!(pair[1] - pair[0] >= REFRESH_INTERVAL_MIN, "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_refreshes_a_second_cost_a_failing_service_no_more() {
    let bench = Bench::settled(known(&["1"])).await;
    bench.service.answer(Answer::Fails(unavailable()));
    for _second in 0..300 {
        let refreshes = (0..1000).map(|_| bench.refresh());
        futures::future::join_all(refreshes).await;
        advance(SECOND).await;
    }
    let calls = bench.service.calls();
    assert!(calls.len() > 5, "{}", calls.len());
    // The first is the start's.
    for pair in calls[1..].windows(2) {
        assert!(pair[1] - pair[0] >= REFRESH_INTERVAL_MIN, "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_made_during_a_fetch_does_not_start_another_after_it() {
    let bench = Bench::settled(known(&["1"])).await;
    advance(REFRESH_INTERVAL_MIN).await;
    bench
        .service
        .answer(Answer::After(2 * SECOND, vec![key("2")]));
    let (one, other) = tokio::join!(bench.refresh(), async {
        sleep(SECOND).await;
        bench.refresh().await
    });
    assert!(one && other, "who asks during a fetch learns of its end");
    sleep(10 * SECOND).await;
    assert_eq!(bench.service.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_does_not_end_the_fetch() {
    let bench = Bench::settled(known(&["1"])).await;
    advance(REFRESH_INTERVAL_MIN).await;
    bench
        .service
        .answer(Answer::After(2 * SECOND, vec![key("2")]));
    let begun = Instant::now();
    let deadline = begun + SECOND;
    assert!(!bench.keys.refresh(&reference(REFERENCE), deadline).await);
    assert_eq!(begun.elapsed(), SECOND);
    sleep(2 * SECOND).await;
    assert_eq!(bench.versions(), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_key_is_not_refreshed_on_request_but_in_time() {
    let bench = Bench::of(Scripted::fixed(known(&["1"])));
    want(&bench.keys, &[REFERENCE]);
    bench.settle().await;
    advance(2 * REFRESH_INTERVAL_MIN).await;
    assert!(!bench.refresh().await);
    assert_eq!(bench.service.calls().len(), 1);
    bench.service.answer(Answer::Fails(scripted::not_found()));
    sleep(331 * SECOND).await;
    assert!(bench.reason().contains("no such key"));
}

#[tokio::test(start_paused = true)]
async fn settling_ends_at_the_deadline() {
    let bench = Bench::new(Answer::Never);
    want(&bench.keys, &[REFERENCE]);
    let begun = Instant::now();
    bench
        .keys
        .settled(&[reference(REFERENCE)], begun + SECOND)
        .await;
    assert_eq!(begun.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_can_change() {
    let bench = Bench::settled(known(&["1"])).await;
    want(&bench.keys, &[REFERENCE, OTHER]);
    sleep(SECOND).await;
    assert_eq!(
        bench.service.calls().len(),
        2,
        "only the new one is fetched"
    );
    assert_eq!(bench.tasks.len(), 2);
    want(&bench.keys, &[OTHER]);
    sleep(SECOND).await;
    assert!(bench.reason().contains("not configured"));
    assert_eq!(bench.tasks.len(), 1);
    let status = bench.keys.status();
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].reference, reference(OTHER));
}

#[tokio::test(start_paused = true)]
async fn the_tasks_end_with_the_program_and_with_the_keys() {
    let bench = Bench::settled(Answer::Never).await;
    bench.stop.cancel();
    bench.tasks.close();
    bench.tasks.wait().await;

    let bench = Bench::settled(known(&["1"])).await;
    drop(bench.keys);
    bench.tasks.close();
    bench.tasks.wait().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_the_program_ends_is_let_go() {
    let bench = Bench::settled(known(&["1"])).await;
    advance(REFRESH_INTERVAL_MIN).await;
    bench.service.answer(Answer::Never);
    let begun = Instant::now();
    let deadline = begun + HOUR;
    let (changed, ()) = tokio::join!(bench.keys.clone().refresh_of(REFERENCE, deadline), async {
        sleep(SECOND).await;
        bench.stop.cancel();
    });
    assert!(!changed);
    assert_eq!(begun.elapsed(), SECOND);
}

impl Keys {
    async fn refresh_of(self, text: &str, deadline: Instant) -> bool {
        self.refresh(&reference(text), deadline).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_versions_times_and_failures() {
    let bench = Bench::settled(known(&["2", "1"])).await;
    let status = bench.keys.status().remove(0);
    let names: Vec<_> = status
        .versions
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(names, [Some("2".to_owned()), Some("1".to_owned())]);
    assert_eq!(status.versions[0].1, key("2").key.fingerprint);
    let at = status.succeeded_at.unwrap();
    assert_eq!(status.serves_until, at.checked_add(STALE_MAX).ok());
    assert!(status.failure.is_none());
    bench.service.answer(Answer::Fails(unavailable()));
    advance(REFRESH_INTERVAL_MIN).await;
    assert!(!bench.refresh().await);
    let status = bench.keys.status().remove(0);
    assert_eq!(status.versions.len(), 2);
    assert_eq!(status.failure.unwrap().1, unavailable().to_string());
    assert_eq!(bench.observer.take(), ["ok", "unavailable"]);
}

#[test]
fn references_are_checked_by_their_scheme() {
    for text in [REFERENCE, OTHER] {
        assert_eq!(reference(text).as_str(), text);
    }
    assert_eq!(reference(REFERENCE).scheme(), Scheme::Google);
    assert_eq!(reference(OTHER).scheme(), Scheme::Kubernetes);
    let error = "pkcs11://token".parse::<Reference>().unwrap_err();
    assert!(error.to_string().contains("gcpkms://"), "{error}");
    for wrong in [
        "gcpkms://p",
        "k8s://s",
        "awskms://",
        "azurekms://",
        "hashivault://",
        "cosign.pub",
    ] {
        wrong.parse::<Reference>().expect_err(wrong);
    }
    for scheme in Scheme::ALL {
        assert_eq!(
            Scheme::of(&format!("{}://x", scheme.as_str())),
            Some(scheme)
        );
    }
    assert_eq!(Scheme::of("cosign.pub"), None);
}
