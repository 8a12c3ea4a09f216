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
async fn rejected_new_token_is_replaced_once() {
    let server = registry(&["t1"]).await;
    pull(&upstream(&server), &server).await.unwrap();
    assert_eq!(server.seen_at("/token").len(), 2);

    let server = registry(&["t1", "t2"]).await;
    let upstream = upstream(&server);
    let error = pull(&upstream, &server).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(server.seen_at("/token").len(), 2);
    // Neither of them was kept.
    server.forget();
    pull(&upstream, &server).await.unwrap();
    assert_eq!(server.seen_at("/token").len(), 1);
    assert_eq!(server.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn token_that_does_not_allow_enough_is_not_asked_for_again() {
    let server = Server::start(|request| {
        if request.target.starts_with("/token") {
            return Reply::ok(r#"{"token": "t"}"#);
        }
        let error = match request.header("authorization") {
            None => "",
            Some(_) => r#",error="insufficient_scope""#,
        };
        let realm = format!("http://{}/token", request.header("host").unwrap());
        let challenge = format!(r#"Bearer realm="{realm}",scope="repository:org/app:pull"{error}"#);
        Reply::status(401).with("WWW-Authenticate", &challenge)
    })
    .await;
    let error = pull(&upstream(&server), &server).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(server.seen_at("/token").len(), 1);
}

/// A registry whose challenge names `scope` and which takes tokens for all of `needed` only.
async fn registry_with_scope(scope: &'static str, needed: &'static [&'static str]) -> Server {
    Server::start(move |request| {
        if let Some((_, query)) = request.target.split_once("/token?") {
            let scopes: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
                .filter(|(key, _)| key == "scope")
                .map(|(_, value)| value.into_owned())
                .collect();
            return Reply::ok(format!(r#"{{"token": "{}"}}"#, scopes.join(" ")));
        }
        let token = request.header("authorization").unwrap_or_default();
        let has = |needed: &&str| token.split([' ']).any(|scope| scope == *needed);
        if needed.iter().all(has) {
            return Reply::ok("{}");
        }
        let realm = format!("http://{}/token", request.header("host").unwrap());
        let challenge = format!(r#"Bearer realm="{realm}",service="reg",scope="{scope}""#);
        Reply::status(401).with("WWW-Authenticate", &challenge)
    })
    .await
}

#[tokio::test]
async fn token_is_for_pulling_and_for_what_the_challenge_demands() {
    const PULL: &str = "repository:org/app:pull";
    for (scope, needed) in [
        (
            "repository:org/app:metadata_read",
            &[PULL, "repository:org/app:metadata_read"][..],
        ),
        (
            "repository:org/app:push,metadata_read,pull",
            &["repository:org/app:metadata_read,pull"],
        ),
        ("aws", &[PULL, "aws"]),
        (
            "registry:catalog:* openid",
            &[PULL, "registry:catalog:*", "openid"],
        ),
        ("repository:org/base:*", &[PULL, "repository:org/base:pull"]),
        ("", &[PULL]),
    ] {
        let server = registry_with_scope(scope, needed).await;
        let pulled = pull(&upstream(&server), &server).await;
        assert!(pulled.is_ok(), "{scope}: {pulled:?}");
        for request in server.seen_at("/token") {
            let asked = request.target.to_lowercase();
            assert!(
                !asked.contains("push") && !asked.contains("app%3a*"),
                "{asked}"
            );
        }
    }
}

#[tokio::test]
async fn scopes_of_different_requests_come_together_in_one_token() {
    let server = Server::start(|request| {
        let needed = if request.target.contains("tags") {
            "list"
        } else {
            "read"
        };
        if let Some((_, query)) = request.target.split_once("/token?") {
            return Reply::ok(format!(r#"{{"token": "{}"}}"#, query.replace('&', ",")));
        }
        if request
            .header("authorization")
            .is_some_and(|token| token.contains(&format!("scope={needed}")))
        {
            return Reply::ok("{}");
        }
        let realm = format!("http://{}/token", request.header("host").unwrap());
        let challenge =
            format!(r#"Bearer realm="{realm}",scope="{needed}",error="insufficient_scope""#);
        Reply::status(401).with("WWW-Authenticate", &challenge)
    })
    .await;
    let upstream = upstream(&server);
    for _ in 0..3 {
        pull(&upstream, &server).await.unwrap();
        upstream
            .tags(&repository(&server), None, soon())
            .await
            .unwrap();
    }
    assert_eq!(server.seen_at("/token").len(), 2);
}

#[tokio::test]
async fn token_host_that_refuses_our_name_is_asked_for_the_demanded_one() {
    let server = Server::start(|request| {
        if request.target.starts_with("/token") {
            if request.target.contains("org%2Fapp") {
                return Reply::status(403);
            }
            return Reply::ok(r#"{"token": "t"}"#);
        }
        if request.header("authorization") == Some("Bearer t") {
            return Reply::ok("{}");
        }
        let realm = format!("http://{}/token", request.header("host").unwrap());
        let challenge = format!(r#"Bearer realm="{realm}",scope="repository:real/name:pull""#);
        Reply::status(401).with("WWW-Authenticate", &challenge)
    })
    .await;
    pull(&upstream(&server), &server).await.unwrap();
    assert_eq!(server.seen_at("/token").len(), 2);
}

#[tokio::test]
async fn withdrawn_token_is_replaced_also_without_a_new_challenge() {
    for has_challenge in [true, false] {
        let issued = Mutex::new(0);
        let server = Server::start(move |request| {
            let mut issued = issued.lock().unwrap();
            if request.target.starts_with("/token") {
                *issued += 1;
                return Reply::ok(format!(r#"{{"token": "t{issued}", "expires_in": 3600}}"#));
            }
            if request.target.ends_with("/withdraw") {
                *issued += 10;
                return Reply::ok("{}");
            }
            match request.header("authorization") {
                Some(token) if token == format!("Bearer t{issued}") => Reply::ok("{}"),
                Some(_) if !has_challenge => Reply::status(401),
                _ => Reply::challenge(&format!("http://{}/token", request.header("host").unwrap())),
            }
        })
        .await;
        let upstream = upstream(&server);
        for reference in ["v1", "withdraw", "v1", "withdraw", "v1"] {
            let pulled = upstream
                .manifest(
                    &repository(&server),
                    &tag(reference),
                    Purpose::Manifest,
                    soon(),
                )
                .await;
            assert!(pulled.is_ok(), "{has_challenge} {reference}: {pulled:?}");
        }
        assert_eq!(server.seen_at("/token").len(), 3);
    }
}

#[tokio::test]
async fn token_host_may_redirect_within_itself() {
    let foreign = Server::start(|_| Reply::ok(r#"{"token": "t"}"#)).await;
    let away = foreign.url("/token");
    for (location, status, expected) in [
        ("/moved?a=b".to_owned(), 307, "ok"),
        ("moved?a=b".to_owned(), 302, "ok"),
        (away, 307, "another host"),
        ("/token/again".to_owned(), 308, "too often"),
        ("file:///moved".to_owned(), 302, "other than https"),
    ] {
        let server = Server::start(move |request| {
            if request.target.starts_with("/token") {
                return Reply::status(status).with("Location", &location);
            }
            if request.target == "/moved?a=b" {
                assert_eq!(request.header("authorization"), Some(ROBOT));
                return Reply::ok(r#"{"token": "t"}"#);
            }
            match request.header("authorization") {
                Some("Bearer t") => Reply::ok("{}"),
                _ => Reply::challenge(&format!("http://{}/token", request.header("host").unwrap())),
            }
        })
        .await;
        match pull(&upstream_with(&server, basic()), &server).await {
            Ok(_) => assert_eq!(expected, "ok"),
            Err(error) => assert!(is_unexpected(&error, expected), "{expected}: {error:?}"),
        }
        assert!(server.seen_at("/token").len() <= 6);
    }
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn refresh_token_follows_only_redirects_that_keep_the_method() {
    for (status, expected) in [(307, "ok"), (308, "ok"), (302, "POST"), (303, "POST")] {
        let server = Server::start(move |request| {
            match (request.method.as_str(), request.target.as_str()) {
                ("POST", "/token") => Reply::status(status).with("Location", "/moved"),
                ("POST", "/moved") if request.body.ends_with("=fresh") => {
                    Reply::ok(r#"{"access_token": "t"}"#)
                }
                _ if request.header("authorization") == Some("Bearer t") => Reply::ok("{}"),
                _ => Reply::challenge(&format!("http://{}/token", request.header("host").unwrap())),
            }
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let host = server.host();
        let config = format!(r#"{{"auths": {{"{host}": {{"identitytoken": "fresh"}}}}}}"#);
        std::fs::write(&path, config).unwrap();
        let upstream = upstream_with(&server, Credentials::DockerConfig { path: Some(path) });
        match pull(&upstream, &server).await {
            Ok(_) => assert_eq!(expected, "ok", "{status}"),
            Err(error) => assert!(is_unexpected(&error, expected), "{status}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn token_answers_of_any_shape_are_read() {
    for answer in [
        r#"{"token": null, "access_token": "t", "expires_in": null, "issued_at": null}"#,
        r#"{"token": "t", "access_token": null, "refresh_token": null}"#,
        r#"{"access_token": "t", "expires_in": "3600", "scope": [1]}"#,
        r#"{"token": "t", "expires_in": 3599.5}"#,
    ] {
        let server = Server::start(move |request| {
            if request.target.starts_with("/token") {
                return Reply::ok(answer);
            }
            match request.header("authorization") {
                Some("Bearer t") => Reply::ok("{}"),
                _ => Reply::challenge(&format!("http://{}/token", request.header("host").unwrap())),
            }
        })
        .await;
        let upstream = upstream(&server);
        pull(&upstream, &server).await.unwrap();
        pull(&upstream, &server).await.unwrap();
        assert_eq!(server.seen_at("/token").len(), 1, "{answer}");
    }
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
    assert!(is_unexpected(&error, "token_hosts"), "{error:?}");
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
    assert!(is_unexpected(&error, "not https"), "{error:?}");
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
            is_unexpected(&error, "may not send us to"),
            "{realm}: {error:?}"
        );
    }
}

#[tokio::test]
async fn what_the_token_host_answers_is_told_apart() {
    for (status, body, expected) in [
        (200, "{}", "unexpected"),
        (200, "no JSON", "unexpected"),
        (401, "", "denied"),
        (403, "", "denied"),
        (400, "", "denied"),
        (404, "", "unexpected"),
        (307, "", "unexpected"),
        (500, "", "failed"),
        (501, "", "failed"),
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
