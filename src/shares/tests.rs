use std::net::IpAddr;

use tokio_util::task::TaskTracker;

use super::*;

fn party(name: &str) -> Party {
    Party::Identity(name.into())
}

fn bounds(total: u64, party: u64) -> Bounds {
    Bounds {
        total,
        party,
        waiting_party: 100,
        waiting: 1000,
    }
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// Starts a request of `name` for one place, and lets it reach the queue.
async fn ask(shares: &Shares, name: &str) -> tokio::task::JoinHandle<Result<Share, Full>> {
    let shares = shares.clone();
    let asking =
        TaskTracker::new().spawn(party(name).scope(async move { shares.take(1, after(60)).await }));
    tokio::task::yield_now().await;
    asking
}

#[tokio::test(start_paused = true)]
async fn freed_places_go_round_the_parties_in_turn() {
    let shares = Shares::new(bounds(1, 1));
    let held = shares.try_take_for(Party::Proxy, 1).unwrap();
    let greedy = [
        ask(&shares, "greedy").await,
        ask(&shares, "greedy").await,
        ask(&shares, "greedy").await,
    ];
    let modest = ask(&shares, "modest").await;
    drop(held);
    let [first, second, third] = greedy;
    drop(first.await.unwrap().unwrap());
    let share = modest.await.unwrap().unwrap();
    assert!(!second.is_finished() && !third.is_finished());
    drop(share);
    drop(second.await.unwrap().unwrap());
    drop(third.await.unwrap().unwrap());
    assert_eq!(shares.usage().used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_party_holds_no_more_than_its_share_while_places_are_free() {
    let shares = Shares::new(bounds(8, 3));
    let held: Vec<_> = (0..3)
        .map(|_| shares.try_take_for(party("greedy"), 1).unwrap())
        .collect();
    assert!(shares.try_take_for(party("greedy"), 1).is_none());
    let waiting = ask(&shares, "greedy").await;
    assert!(!waiting.is_finished());
    // A party beyond its share delays no other.
    drop(ask(&shares, "modest").await.await.unwrap().unwrap());
    drop(held);
    drop(waiting.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_amount_above_the_share_of_a_party_is_granted_as_that_share() {
    let shares = Shares::new(bounds(100, 25));
    let share = shares.try_take_for(party("large"), 80).unwrap();
    assert_eq!(share.amount(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_not_overtaken_for_ever() {
    let shares = Shares::new(bounds(10, 10));
    let held = shares.try_take_for(party("first"), 6).unwrap();
    let large = {
        let shares = shares.clone();
        TaskTracker::new()
            .spawn(party("large").scope(async move { shares.take(8, after(60)).await }))
    };
    tokio::task::yield_now().await;
    assert!(shares.try_take_for(party("small"), 1).is_none());
    drop(held);
    assert_eq!(large.await.unwrap().unwrap().amount(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_turns_away_one_party_and_serves_another() {
    let shares = Shares::new(Bounds {
        waiting_party: 2,
        ..bounds(1, 1)
    });
    let held = shares.try_take_for(Party::Proxy, 1).unwrap();
    let _first = ask(&shares, "greedy").await;
    let _second = ask(&shares, "greedy").await;
    let third = ask(&shares, "greedy").await.await.unwrap();
    assert_eq!(third.unwrap_err(), Full::Queue);
    let modest = ask(&shares, "modest").await;
    assert!(!modest.is_finished());
    assert_eq!((shares.usage().waiting, shares.usage().turned_away), (3, 1));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait_and_frees_the_place_in_the_queue() {
    let shares = Shares::new(bounds(1, 1));
    let _held = shares.try_take_for(Party::Proxy, 1).unwrap();
    let late = shares.take(1, after(1)).await;
    assert_eq!(late.unwrap_err(), Full::Deadline);
    assert_eq!((shares.usage().waiting, shares.usage().turned_away), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_lets_the_next_one_pass() {
    let shares = Shares::new(bounds(10, 10));
    let _held = shares.try_take_for(party("first"), 6).unwrap();
    let large = {
        let shares = shares.clone();
        TaskTracker::new()
            .spawn(party("large").scope(async move { shares.take(8, after(60)).await }))
    };
    tokio::task::yield_now().await;
    let small = ask(&shares, "small").await;
    assert!(!small.is_finished());
    large.abort();
    drop(small.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_share_that_nobody_takes_goes_back() {
    let shares = Shares::new(bounds(1, 1));
    let held = shares.try_take_for(Party::Proxy, 1).unwrap();
    let asking = ask(&shares, "leaves").await;
    // The share is granted in the same moment in which its asker leaves.
    drop(held);
    asking.abort();
    assert!(asking.await.is_err());
    assert_eq!(shares.usage().used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_share_can_be_made_smaller() {
    let shares = Shares::new(bounds(10, 10));
    let mut share = shares.try_take_for(party("first"), 10).unwrap();
    let waiting = ask(&shares, "second").await;
    share.shrink(9);
    drop(waiting.await.unwrap().unwrap());
    share.shrink(20);
    assert_eq!((share.amount(), shares.usage().used), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn work_that_nobody_waits_for_leaves_the_queue() {
    let shares = Shares::new(bounds(1, 1));
    let held = shares.try_take_for(Party::Proxy, 1).unwrap();
    let (work, sponsor) = Work::found();
    let queued = {
        let shares = shares.clone();
        let behalf = Behalf::Work(Arc::clone(&work));
        TaskTracker::new().spawn(behalf.scope(async move { shares.take(1, after(60)).await }))
    };
    tokio::task::yield_now().await;
    drop(sponsor);
    assert_eq!(queued.await.unwrap().unwrap_err(), Full::Abandoned);
    assert!(work.sponsor().is_none(), "nobody joins abandoned work");
    drop(held);
    assert_eq!(shares.usage().used, 0);
}

#[tokio::test(start_paused = true)]
async fn work_that_has_begun_goes_on_for_its_founder() {
    let shares = Shares::new(bounds(2, 1));
    let (work, sponsor) = party("founder").scope(async { Work::found() }).await;
    let behalf = Behalf::Work(work);
    let first = behalf.clone().scope(shares.take(1, after(1))).await;
    drop((first, sponsor));
    assert_eq!(behalf.parties(), [party("founder")]);
    drop(behalf.scope(shares.take(1, after(1))).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn work_is_queued_for_each_party_that_waits_for_it() {
    let shares = Shares::new(Bounds {
        waiting_party: 3,
        ..bounds(1, 1)
    });
    let held = shares.try_take_for(Party::Proxy, 1).unwrap();
    let queue = [ask(&shares, "greedy").await, ask(&shares, "greedy").await];
    let (work, _sponsor) = party("greedy").scope(async { Work::found() }).await;
    let behalf = Behalf::Work(Arc::clone(&work));
    let shared = TaskTracker::new().spawn(behalf.scope({
        let shares = shares.clone();
        async move { shares.take(1, after(60)).await }
    }));
    tokio::task::yield_now().await;
    let _modest = party("modest")
        .scope(async { work.sponsor().unwrap() })
        .await;
    tokio::time::sleep(SPONSORS_READ_EVERY * 2).await;
    drop(held);
    let [first, second] = queue;
    drop(first.await.unwrap().unwrap());
    let share = shared.await.unwrap().unwrap();
    assert_eq!(share.party, party("modest"));
    assert!(!second.is_finished());
}

#[tokio::test(start_paused = true)]
async fn inner_work_is_abandoned_with_the_outer_one() {
    let (outer, sponsor) = party("client").scope(async { Work::found() }).await;
    let inner = Behalf::Work(Arc::clone(&outer)).scope(async { Work::found() });
    let (inner, _waits) = inner.await;
    assert_eq!(
        Behalf::Work(Arc::clone(&inner)).parties(),
        [party("client")]
    );
    drop(sponsor);
    assert!(Behalf::Work(Arc::clone(&inner)).parties().is_empty());
    assert!(inner.sponsor().is_none() && outer.sponsor().is_none());
}

#[tokio::test(start_paused = true)]
async fn inner_work_that_begins_makes_the_outer_one_begin() {
    let shares = Shares::new(bounds(1, 1));
    let (outer, sponsor) = party("client").scope(async { Work::found() }).await;
    let inner = Behalf::Work(Arc::clone(&outer)).scope(async { Work::found() });
    let (inner, _waits) = inner.await;
    let share = Behalf::Work(inner).scope(shares.take(1, after(1))).await;
    drop(sponsor);
    assert_eq!(Behalf::Work(outer).parties(), [party("client")]);
    drop(share.unwrap());
}

#[tokio::test]
async fn a_task_outside_any_request_works_for_the_proxy() {
    assert_eq!(Party::current(), Party::Proxy);
}

#[test]
fn addresses_of_one_network_are_one_party() {
    let network = |text: &str| Party::network(text.parse::<IpAddr>().unwrap());
    assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
    assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
}

#[test]
fn a_ledger_adds_up_the_budgets_that_are_open() {
    let ledger = Ledger::default();
    let first = ledger.open(Resource::UpstreamRequests, bounds(4, 4));
    let second = ledger.open(Resource::UpstreamRequests, bounds(2, 2));
    let _share = first.try_take_for(Party::Proxy, 3).unwrap();
    let usage = |ledger: &Ledger| ledger.usage().remove(&Resource::UpstreamRequests).unwrap();
    assert_eq!((usage(&ledger).used, usage(&ledger).limit), (3, 6));
    drop(second);
    assert_eq!(usage(&ledger).limit, 4);
}

#[tokio::test(start_paused = true)]
async fn connection_of_a_party_is_not_kept_waiting_by_a_flood_on_another_one() {
    let shares = Shares::new(Bounds {
        total: 1,
        party: 1,
        waiting_party: 4,
        waiting: 40,
    });
    let party = || Party::Identity("shared address".into());
    let held = shares.try_take_for(party(), 1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let take = |port| Box::pin(Behalf::Connection(party(), port).scope(shares.take(1, deadline)));
    let mut flood: Vec<_> = (0..4).map(|_| take(1)).collect();
    for request in &mut flood {
        assert!(futures::poll!(request).is_pending());
    }
    assert_eq!(take(1).await.unwrap_err(), Full::Queue);
    let mut quiet = take(2);
    assert!(futures::poll!(&mut quiet).is_pending());
    // The last request of the longest line left for it.
    assert_eq!(flood.pop().unwrap().await.unwrap_err(), Full::Queue);
    drop(held);
    let first = flood.remove(0).await.unwrap();
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(1), quiet).await;
    drop(second.expect("the other connection is next").unwrap());
}
