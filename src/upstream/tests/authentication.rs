//! Tokens and credentials: obtained, kept, used, and never sent to anybody else.

use super::credentials::Credentials;
use super::*;

const ROBOT: &str = "Basic cm9ib3Q6aHVudGVyMg==";

/// A registry with its own token endpoint. Tokens are `t1`, `t2`, …; those in `revoked` are refused.
async fn registry(revoked: &'static [&'static str]) -> Server {
    let issued = Mutex::new(0);
    Server::start(move |request| {
        if request.target.starts_with("/token") {
            let mut issued = issued.lock().unwrap();
            *issued += 1;
            return Reply::ok(format!(r#"{{"token": "t{issued}"}}"#))
                .after(Duration::from_millis(100));
        }
        let token = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if token.is_none_or(|token| revoked.contains(&token)) {
            let realm = format!("http://{}/token", request.header("host").unwrap());
            return Reply::challenge(&realm);
        }
        Reply::ok("{}")
    })
    .await
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_used_again() {
    let server = registry(&[]).await;
    let upstream = upstream(&server);
    let pulls = (0..20).map(|_| pull(&upstream, &server));
    for result in futures::future::join_all(pulls).await {
        assert_eq!(&result.unwrap().bytes[..], b"{}");
    }
    let tokens = server.seen_at("/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].target,
        "/token?service=reg&scope=repository%3Aorg%2Fapp%3Apull"
    );
    assert_eq!(
        (tokens[0].method.as_str(), tokens[0].header("authorization")),
        ("GET", None)
    );
    let before = server.seen().len();
    pull(&upstream, &server).await.unwrap();
    let last = server.seen();
    assert_eq!(last.len(), before + 1, "one request once there is a token");
    assert_eq!(last[before].header("authorization"), Some("Bearer t1"));
}

#[tokio::test]
async fn a_token_is_for_one_repository() {
    let server = registry(&[]).await;
    let upstream = upstream(&server);
    pull(&upstream, &server).await.unwrap();
    let other = RepositoryName::new(&server.host(), "org/other").unwrap();
    upstream
        .manifest(&other, &tag("v1"), Purpose::Manifest, soon())
        .await
        .unwrap();
    assert!(
        server
            .seen_at("other")
            .first()
            .unwrap()
            .header("authorization")
            .is_none()
    );
}

#[tokio::test]
async fn user_and_password_buy_a_token() {
    let server = registry(&[]).await;
    let upstream = upstream_with(&server, basic());
    pull(&upstream, &server).await.unwrap();
    assert_eq!(
        server.seen_at("/token")[0].header("authorization"),
        Some(ROBOT)
    );
    for request in server.seen_at("/v2/") {
        assert_ne!(
            request.header("authorization"),
            Some(ROBOT),
            "only the token goes to the registry"
        );
    }
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once() {
    let server = registry(&["t1"]).await;
    let upstream = upstream(&server);
    let error = pull(&upstream, &server).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(server.seen_at("/token").len(), 1);
    // The token that was kept is refused; the next one is good.
    pull(&upstream, &server).await.unwrap();
    assert_eq!(server.seen_at("/token").len(), 2);
}

#[tokio::test]
async fn a_short_lived_token_is_fetched_again() {
    let server = Server::start(|request| {
        if request.target.starts_with("/token") {
            return Reply::ok(r#"{"access_token": "t", "expires_in": 1}"#);
        }
        match request.header("authorization") {
            Some("Bearer t") => Reply::ok("{}"),
            _ => Reply::challenge(&format!("http://{}/token", request.header("host").unwrap())),
        }
    })
    .await;
    let upstream = upstream(&server);
    pull(&upstream, &server).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    pull(&upstream, &server).await.unwrap();
    assert_eq!(server.seen_at("/token").len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_traded_by_post() {
    let server =
        Server::start(
            |request| match (request.method.as_str(), request.header("authorization")) {
                ("POST", None) => Reply::ok(r#"{"access_token": "t"}"#),
                (_, Some("Bearer t")) => Reply::ok("{}"),
                _ => Reply::challenge(&format!("http://{}/token", request.header("host").unwrap())),
            },
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let config = format!(
        r#"{{"auths": {{"{}": {{"identitytoken": "re fresh"}}}}}}"#,
        server.host()
    );
    std::fs::write(&path, config).unwrap();
    let upstream = upstream_with(&server, Credentials::DockerConfig { path: Some(path) });
    pull(&upstream, &server).await.unwrap();
    assert_eq!(
        server.seen_at("/token")[0].body,
        "grant_type=refresh_token&client_id=countersign&service=reg&scope=repository%3Aorg%2Fapp%3Apull&refresh_token=re+fresh"
    );
}

#[tokio::test]
async fn a_basic_challenge_is_answered() {
    let server = Server::start(|request| match request.header("authorization") {
        Some(ROBOT) => Reply::ok("{}"),
        _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let with_credentials = upstream_with(&server, basic());
    pull(&with_credentials, &server).await.unwrap();
    pull(&with_credentials, &server).await.unwrap();
    assert_eq!(server.seen().len(), 3);
    let error = pull(&upstream(&server), &server).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn credentials_do_not_follow_a_foreign_realm() {
    let foreign = Server::start(|_| Reply::ok(r#"{"token": "t"}"#)).await;
    let realm = foreign.url("/token");
    let server = Server::start(move |request| match request.header("authorization") {
        None => Reply::challenge(&realm),
        Some(_) => Reply::ok("{}"),
    })
    .await;
    let error = pull(&upstream_with(&server, basic()), &server)
        .await
        .unwrap_err();
    assert!(is_failed(&error, "token_hosts"), "{error:?}");
    assert!(foreign.seen().is_empty());

    // Anonymously there is nothing to lose, and both are on loopback.
    pull(&upstream(&server), &server).await.unwrap();
    assert_eq!(foreign.seen()[0].header("authorization"), None);

    let listed = HostConfig {
        token_hosts: vec![foreign.host()],
        ..plain(basic())
    };
    let upstream = build(&server.host(), listed, limits()).unwrap();
    pull(&upstream, &server).await.unwrap();
    assert_eq!(foreign.seen()[1].header("authorization"), Some(ROBOT));
}

#[tokio::test]
async fn a_realm_without_tls_is_for_plain_upstreams_only() {
    let foreign = Server::start(|_| Reply::ok(r#"{"token": "t"}"#)).await;
    let realm = foreign.url("/token");
    let server = Server::start_tls(move |_| Reply::challenge(&realm)).await;
    let config = HostConfig {
        ca_pem: Some(include_bytes!("../fixtures/ca.pem").to_vec()),
        token_hosts: vec![foreign.host()],
        ..HostConfig::default()
    };
    let upstream = build(&server.host(), config, limits()).unwrap();
    let error = pull(&upstream, &server).await.unwrap_err();
    assert!(is_failed(&error, "not https"), "{error:?}");
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn a_stranger_realm_at_an_inner_address_is_not_asked() {
    for realm in [
        "http://10.255.255.1/token",
        "http://169.254.169.254/token",
        "http://[::ffff:10.0.0.1]/token",
    ] {
        let server = Server::start(move |_| Reply::challenge(realm)).await;
        let error = pull(&upstream(&server), &server).await.unwrap_err();
        assert!(
            is_failed(&error, "may not send us to"),
            "{realm}: {error:?}"
        );
    }
}

#[tokio::test]
async fn what_the_token_host_answers_is_told_apart() {
    for (status, body, expected) in [
        (200, "{}", "failed"),
        (200, "no JSON", "failed"),
        (401, "", "denied"),
        (403, "", "denied"),
        (400, "", "denied"),
        (404, "", "failed"),
        (307, "", "failed"),
        (500, "", "failed"),
        (429, "", "throttled"),
    ] {
        let server = Server::start(move |request| {
            if request.target.starts_with("/token") {
                return Reply::Answer(status, Vec::new(), body.into());
            }
            Reply::challenge(&format!("http://{}/token", request.header("host").unwrap()))
        })
        .await;
        let limits = Limits {
            upstream_attempts_max: 2,
            ..limits()
        };
        let upstream = build(&server.host(), plain(basic()), limits).unwrap();
        let error = pull(&upstream, &server).await.unwrap_err();
        assert_eq!(observer::outcome(&error), expected, "{status} {body}");
        let attempts = if matches!(status, 500 | 429) { 2 } else { 1 };
        assert_eq!(server.seen_at("/token").len(), attempts, "{status} {body}");
    }
}

#[tokio::test]
async fn a_refused_token_is_asked_for_once_by_all_who_wait() {
    let server = Server::start(|request| {
        if request.target.starts_with("/token") {
            return Reply::status(403).after(Duration::from_millis(300));
        }
        Reply::challenge(&format!("http://{}/token", request.header("host").unwrap()))
    })
    .await;
    let upstream = upstream(&server);
    let pulls = (0..10).map(|_| pull(&upstream, &server));
    for result in futures::future::join_all(pulls).await {
        assert!(matches!(
            result.unwrap_err(),
            Error::Denied { status: 403, .. }
        ));
    }
    assert_eq!(server.seen_at("/token").len(), 1);
}

#[tokio::test]
async fn a_token_answer_has_a_limit() {
    let server = Server::start(|request| {
        if request.target.starts_with("/token") {
            return Reply::Endless;
        }
        Reply::challenge(&format!("http://{}/token", request.header("host").unwrap()))
    })
    .await;
    let error = pull(&upstream(&server), &server).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                limit_bytes: 1_048_576,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn docker_credentials_that_cannot_be_read_fail_loudly() {
    let server = registry(&[]).await;
    let absent = Credentials::DockerConfig {
        path: Some(PathBuf::from("/nonexistent/config.json")),
    };
    let error = pull(&upstream_with(&server, absent), &server)
        .await
        .unwrap_err();
    assert!(is_failed(&error, "cannot be read"), "{error:?}");
}

#[tokio::test]
async fn docker_credentials_are_kept_until_they_are_refused() {
    let server =
        Server::start(
            |request| match (request.method.as_str(), request.header("authorization")) {
                ("POST", _) if request.body.ends_with("=stale") => Reply::status(400),
                ("POST", _) => Reply::ok(r#"{"access_token": "t"}"#),
                (_, Some("Bearer t")) => Reply::ok("{}"),
                _ => Reply::challenge(&format!("http://{}/token", request.header("host").unwrap())),
            },
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let write = |token: &str| {
        let config = format!(
            r#"{{"auths": {{"{}": {{"identitytoken": "{token}"}}}}}}"#,
            server.host()
        );
        std::fs::write(&path, config).unwrap();
    };
    write("stale");
    let upstream = upstream_with(
        &server,
        Credentials::DockerConfig {
            path: Some(path.clone()),
        },
    );
    let error = pull(&upstream, &server).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error:?}"
    );
    write("fresh");
    pull(&upstream, &server).await.unwrap();
    write("stale");
    let other = RepositoryName::new(&server.host(), "org/other").unwrap();
    upstream
        .manifest(&other, &tag("v1"), Purpose::Manifest, soon())
        .await
        .unwrap();
}
