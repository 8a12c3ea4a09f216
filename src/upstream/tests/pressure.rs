//! Time limits, retries and back-pressure.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A server whose `n`th request, counted from 0, is answered by `script`.
async fn counting(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |_| script(count.fetch_add(1, Ordering::Relaxed))).await
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for trouble in [
        Reply::Close,
        Reply::status(500),
        Reply::status(502),
        Reply::status(503),
        Reply::status(504),
    ] {
        let server = counting(move |request| {
            if request < 2 {
                trouble.clone()
            } else {
                Reply::ok("{}")
            }
        })
        .await;
        pull(&upstream(&server), &server).await.unwrap();
        assert_eq!(server.seen().len(), 3);
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    for trouble in [Reply::status(500), Reply::Close] {
        let server = Server::start(move |_| trouble.clone()).await;
        let error = pull(&upstream(&server), &server).await.unwrap_err();
        assert!(is_failed(&error, ""), "{error:?}");
        assert_eq!(server.seen().len(), 3);
    }
}

#[tokio::test]
async fn nobody_listening_is_a_failure_that_may_pass() {
    let server = Server::start(|_| Reply::ok("{}")).await;
    // Nothing listens on port 1 of loopback.
    let upstream = build(
        "127.0.0.1:1",
        plain(credentials::Credentials::Anonymous),
        limits(),
    )
    .unwrap();
    let repository = RepositoryName::new("127.0.0.1:1", "org/app").unwrap();
    let error = upstream
        .manifest(&repository, &tag("v1"), Purpose::Manifest, soon())
        .await
        .unwrap_err();
    assert!(
        is_failed(&error, "no connection") && error.is_transient(),
        "{error:?}"
    );
    let error = pull(&upstream, &server).await.unwrap_err();
    assert!(matches!(error, Error::NotConfigured { .. }), "{error:?}");
    assert!(upstream.is_configured("127.0.0.1:1") && !upstream.is_configured(&server.host()));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_hung_request_ends_at_its_deadline_and_blocks_no_other() {
    let server = Server::start(|request| {
        if request.target.ends_with("/hung") {
            Reply::Stall(Vec::new())
        } else {
            Reply::ok("{}")
        }
    })
    .await;
    let limits = Limits {
        upstream_requests_max: 1,
        header_time_max: Duration::from_secs(60),
        ..limits()
    };
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    let repository = repository(&server);
    let hung = tag("hung");
    let started = Instant::now();
    let deadline = started + Duration::from_secs(1);
    let hanging = upstream.manifest(&repository, &hung, Purpose::Manifest, deadline);
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        pull_for(&upstream, &server, Purpose::CosignTag)
            .await
            .unwrap();
        started.elapsed()
    };
    let (hanging, others) = tokio::join!(hanging, others);
    assert!(others < Duration::from_millis(900), "{others:?}");
    assert!(is_failed(&hanging.unwrap_err(), "in time"));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn headers_have_a_limit_of_their_own() {
    let server = counting(|request| {
        if request == 0 {
            Reply::Stall(Vec::new())
        } else {
            Reply::ok("{}")
        }
    })
    .await;
    let limits = Limits {
        header_time_max: Duration::from_millis(300),
        ..limits()
    };
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    pull(&upstream, &server).await.unwrap();
    assert_eq!(server.seen().len(), 2, "tried again after the limit");
}

#[tokio::test]
async fn a_body_ends_at_the_deadline_too() {
    let server =
        Server::start(|_| Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec()))
            .await;
    let limits = Limits {
        body_idle_time_max: Duration::from_secs(60),
        ..limits()
    };
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    let deadline = Instant::now() + Duration::from_millis(500);
    let error = upstream
        .manifest(
            &repository(&server),
            &tag("v1"),
            Purpose::Manifest,
            deadline,
        )
        .await
        .unwrap_err();
    assert!(is_failed(&error, "in time"), "{error:?}");
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_pause_gets_it() {
    for status in [429, 503] {
        let server = counting(move |request| {
            if request == 0 {
                Reply::status(status).with("Retry-After", "1")
            } else {
                Reply::ok("{}")
            }
        })
        .await;
        let upstream = upstream(&server);
        let started = Instant::now();
        let waiting = pull(&upstream, &server);
        let other = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            pull_for(&upstream, &server, Purpose::Referrers)
                .await
                .unwrap();
            started.elapsed()
        };
        let (waiting, other) = tokio::join!(waiting, other);
        waiting.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(1), "{status}");
        assert!(
            other < Duration::from_millis(900),
            "another purpose is not delayed: {other:?}"
        );
    }
}

#[tokio::test]
async fn a_pause_beyond_the_deadline_fails_at_once() {
    for status in [429, 503] {
        let server = Server::start(move |_| Reply::status(status).with("Retry-After", "60")).await;
        let upstream = upstream(&server);
        for _ in 0..2 {
            let started = Instant::now();
            let error = pull(&upstream, &server).await.unwrap_err();
            let Error::Throttled {
                retry_after: Some(retry_after),
                ..
            } = error
            else {
                panic!("{status}: {error:?}");
            };
            assert!(
                retry_after > Duration::from_secs(50) && retry_after <= Duration::from_secs(60)
            );
            assert!(started.elapsed() < Duration::from_secs(1));
        }
        assert_eq!(server.seen().len(), 1, "not asked during the pause");
    }
}

#[tokio::test]
async fn a_pause_without_length_is_short() {
    let server = counting(|request| {
        if request == 0 {
            Reply::status(429)
        } else {
            Reply::ok("{}")
        }
    })
    .await;
    let started = Instant::now();
    pull(&upstream(&server), &server).await.unwrap();
    let elapsed = started.elapsed();
    assert!(
        elapsed >= Duration::from_millis(900) && elapsed <= Duration::from_secs(2),
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn the_budget_bounds_requests_under_way() {
    let under_way = Arc::new(Mutex::new((0_usize, 0_usize)));
    let server = Server::start(|_| Reply::ok("{}").after(Duration::from_millis(100))).await;
    let limits = Limits {
        upstream_requests_max: 8,
        ..limits()
    };
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    let pulls = (0..30).map(|_| async {
        under_way.lock().unwrap().0 += 1;
        pull(&upstream, &server).await.unwrap();
    });
    futures::future::join_all(pulls).await;
    // One kept for manifests and half of the two shared: never more connections than requests.
    assert_eq!((under_way.lock().unwrap().0, server.connections()), (30, 2));
}

#[tokio::test]
async fn full_queue_of_our_own_is_congestion_and_no_outage() {
    let server = Server::start(|_| Reply::Stall(Vec::new())).await;
    let limits = Limits {
        upstream_requests_max: 1,
        ..limits()
    };
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    let repository = repository(&server);
    let (first, second) = (tag("a"), tag("b"));
    let deadline = Instant::now() + Duration::from_millis(500);
    let later = deadline + Duration::from_secs(5);
    let hanging = upstream.manifest(&repository, &first, Purpose::Manifest, later);
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        upstream
            .manifest(&repository, &second, Purpose::Manifest, deadline)
            .await
    };
    tokio::select! {
        _ = hanging => panic!("the first one hangs"),
        result = waiting => {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Congested { .. }), "{error:?}");
            assert!(!error.is_transient(), "nothing older serves in its place");
        },
    }
}

#[tokio::test]
async fn blobs_under_way_do_not_use_up_the_budget() {
    let server =
        Server::start(|_| Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec()))
            .await;
    let limits = Limits {
        upstream_requests_max: 1,
        ..limits()
    };
    let upstream = build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits,
    )
    .unwrap();
    let mut under_way = Vec::new();
    for _ in 0..3 {
        let digest = Digest::sha256(b"");
        under_way.push(
            upstream
                .blob(&repository(&server), &digest, 0, Purpose::Blob, soon())
                .await
                .unwrap(),
        );
    }
    assert_eq!(under_way.len(), 3);
}

/// Lets the time of an upstream pass without waiting for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_probe_that_is_answered_lifts_a_long_pause() {
    let server = counting(|request| match request {
        0 => Reply::status(429).with("Retry-After", "600"),
        1 => Reply::status(502),
        // An answer is an answer: what matters is that the upstream takes requests again.
        2 => Reply::status(404),
        _ => Reply::ok("{}"),
    })
    .await;
    let limits = Limits {
        upstream_attempts_max: 1,
        ..limits()
    };
    let anonymous = plain(credentials::Credentials::Anonymous);
    let upstream = build(&server.host(), anonymous, limits).unwrap();
    let throttled = |error: Error| matches!(error, Error::Throttled { .. });
    assert!(throttled(pull(&upstream, &server).await.unwrap_err()));
    assert!(throttled(pull(&upstream, &server).await.unwrap_err()));
    assert_eq!(server.seen().len(), 1, "the pause holds");
    // A probe that fails lifts nothing.
    pass(Duration::from_secs(31)).await;
    assert!(is_failed(
        &pull(&upstream, &server).await.unwrap_err(),
        "502"
    ));
    assert!(throttled(pull(&upstream, &server).await.unwrap_err()));
    assert_eq!(server.seen().len(), 2);
    pass(Duration::from_secs(31)).await;
    let absent = pull(&upstream, &server).await.unwrap_err();
    assert!(matches!(absent, Error::NotFound { .. }), "{absent:?}");
    pull(&upstream, &server).await.unwrap();
    pull(&upstream, &server).await.unwrap();
}

#[tokio::test]
async fn a_probe_that_is_throttled_again_begins_the_pause_it_is_told() {
    let server = counting(|request| match request {
        0 => Reply::status(429).with("Retry-After", "600"),
        1 => Reply::status(429).with("Retry-After", "60"),
        _ => Reply::ok("{}"),
    })
    .await;
    let upstream = upstream(&server);
    pull(&upstream, &server).await.unwrap_err();
    pass(Duration::from_secs(31)).await;
    pull(&upstream, &server).await.unwrap_err();
    assert_eq!(server.seen().len(), 2);
    pass(Duration::from_secs(20)).await;
    pull(&upstream, &server).await.unwrap_err();
    assert_eq!(server.seen().len(), 2, "the pause holds");
    pass(Duration::from_secs(41)).await;
    pull(&upstream, &server).await.unwrap();
    pull(&upstream, &server).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_late_is_waited_for_beside_a_second_request() {
    let limits = Limits {
        header_time_max: Duration::from_millis(400),
        blob_header_time_max: Duration::from_secs(5),
        upstream_attempts_max: 1,
        ..limits()
    };
    let late = Duration::from_millis(600);
    for (first, expected) in [
        (Reply::ok("{}").after(late), 550),
        (Reply::Stall(Vec::new()), 950),
    ] {
        let server = counting(move |request| {
            if request == 0 {
                first.clone()
            } else {
                Reply::ok("{}").after(late)
            }
        })
        .await;
        let anonymous = plain(credentials::Credentials::Anonymous);
        let upstream = build(&server.host(), anonymous, limits.clone()).unwrap();
        let started = Instant::now();
        let digest = Digest::sha256(b"{}");
        let repository = repository(&server);
        let blob = upstream.blob(&repository, &digest, 0, Purpose::Blob, soon());
        blob.await.unwrap();
        assert!(started.elapsed() >= Duration::from_millis(expected));
        assert!(started.elapsed() < Duration::from_secs(3));
        assert_eq!(server.seen().len(), 2);
        // A manifest has twice the usual time.
        pull(&upstream, &server).await.unwrap();
        assert_eq!(server.seen().len(), 4);
    }
    let server = Server::start(|_| Reply::ok("x").after(Duration::from_millis(1500))).await;
    let anonymous = plain(credentials::Credentials::Anonymous);
    let upstream = build(&server.host(), anonymous, limits).unwrap();
    let error = pull(&upstream, &server).await.unwrap_err();
    assert!(is_failed(&error, "in time"), "{error:?}");
}

#[tokio::test]
async fn second_request_for_a_slow_blob_is_the_last_and_needs_a_place_of_its_own() {
    // One place for each purpose leaves none for a second request.
    for (requests_max, expected) in [(6, 1), (7, 2), (64, 2)] {
        let limits = Limits {
            header_time_max: Duration::from_millis(100),
            blob_header_time_max: Duration::from_secs(1),
            upstream_attempts_max: 1,
            upstream_requests_max: requests_max,
            ..limits()
        };
        let server = Server::start(|_| Reply::Stall(Vec::new())).await;
        let anonymous = plain(credentials::Credentials::Anonymous);
        let upstream = build(&server.host(), anonymous, limits).unwrap();
        let digest = Digest::sha256(b"slow");
        let repository = repository(&server);
        let fetched = upstream.blob(&repository, &digest, 0, Purpose::Blob, soon());
        let error = fetched.await.unwrap_err();
        assert!(is_failed(&error, "in time"), "{error:?}");
        assert_eq!(server.seen().len(), expected, "{requests_max} places");
    }
}

/// Asks for a second tag while the only place is taken by a request that hangs.
async fn wait_behind_a_hung_request(server: &Server) -> Error {
    let limits = Limits {
        upstream_requests_max: 1,
        header_time_max: Duration::from_secs(60),
        stale_decision_time_max: Duration::from_millis(500),
        ..limits()
    };
    let anonymous = plain(credentials::Credentials::Anonymous);
    let upstream = build(&server.host(), anonymous, limits).unwrap();
    let repository = repository(server);
    let (first, second) = (tag("a"), tag("b"));
    let hanging = upstream.manifest(&repository, &first, Purpose::Manifest, soon());
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let deadline = Instant::now() + Duration::from_secs(5);
        upstream
            .manifest(&repository, &second, Purpose::Manifest, deadline)
            .await
    };
    tokio::select! {
        _ = hanging => panic!("the first one hangs"),
        result = waiting => result.unwrap_err(),
    }
}

#[tokio::test]
async fn full_queue_to_an_upstream_that_answers_nothing_is_an_outage() {
    let server = Server::start(|_| Reply::Stall(Vec::new())).await;
    let started = Instant::now();
    let error = wait_behind_a_hung_request(&server).await;
    assert!(is_failed(&error, "in time"), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "found out early"
    );
}

#[tokio::test]
async fn full_queue_to_an_upstream_that_answers_others_is_congestion() {
    for status in [200, 401, 404, 503] {
        let server = Server::start(move |request| {
            if request.target == "/v2/" {
                Reply::status(status)
            } else {
                Reply::Stall(Vec::new())
            }
        })
        .await;
        let error = wait_behind_a_hung_request(&server).await;
        assert!(
            matches!(error, Error::Congested { .. }),
            "{status}: {error:?}"
        );
    }
}

#[tokio::test]
async fn pause_of_one_repository_leaves_the_others_until_a_second_one_pauses() {
    let server = Server::start(|request| {
        if request.target.contains("/limited") {
            Reply::status(429).with("Retry-After", "900")
        } else {
            Reply::ok("{}")
        }
    })
    .await;
    let upstream = upstream(&server);
    let ask = async |name: &str| {
        let repository = RepositoryName::new(&server.host(), name).unwrap();
        let reference = tag("v1");
        let asking = upstream.manifest(&repository, &reference, Purpose::Manifest, soon());
        asking.await.map(|_manifest| ())
    };
    let throttled = |error| matches!(error, Err(Error::Throttled { .. }));
    assert!(throttled(ask("org/limited").await));
    assert!(throttled(ask("org/limited").await));
    ask("org/web").await.unwrap();
    ask("other/app").await.unwrap();
    assert_eq!(server.seen_at("/limited").len(), 1);
    assert!(throttled(ask("org/limited-too").await));
    let before = server.seen().len();
    assert!(throttled(ask("org/web").await));
    assert_eq!(server.seen().len(), before, "the whole upstream pauses");
}
