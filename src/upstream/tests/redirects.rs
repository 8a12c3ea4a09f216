//! Redirects: followed without credentials, and never to where a registry has no business sending us.

use futures::StreamExt;

use super::*;

const LAYER: &[u8] = b"layer";

async fn blob(upstream: &HttpUpstream, server: &Server, offset: u64) -> Result<Vec<u8>, Error> {
    let digest = Digest::sha256(LAYER);
    let fetched = upstream
        .blob(&repository(server), &digest, offset, Purpose::Blob, soon())
        .await?;
    let chunks: Vec<_> = fetched.body.collect().await;
    chunks.into_iter().try_fold(Vec::new(), |mut whole, chunk| {
        whole.extend_from_slice(&chunk?);
        Ok(whole)
    })
}

#[tokio::test]
async fn credentials_stay_at_the_upstream() {
    let storage = Server::start(|_| {
        Reply::Answer(
            206,
            vec![("Content-Range".into(), "bytes 2-4/5".into())],
            LAYER[2..].into(),
        )
    })
    .await;
    let target = storage.url("/storage?signature=s");
    let server = Server::start(move |request| {
        match (request.header("authorization"), request.target.as_str()) {
            (None, _) => Reply::status(401).with("WWW-Authenticate", "Basic"),
            (Some(_), "/here") => Reply::redirect(&target),
            (Some(_), _) => Reply::redirect("/here"),
        }
    })
    .await;
    let bytes = blob(&upstream_with(&server, basic()), &server, 2)
        .await
        .unwrap();
    assert_eq!(bytes, &LAYER[2..]);
    let seen = storage.seen();
    assert_eq!(
        (seen.len(), seen[0].target.as_str()),
        (1, "/storage?signature=s")
    );
    assert_eq!(
        (seen[0].header("authorization"), seen[0].header("range")),
        (None, Some("bytes=2-"))
    );
    assert!(
        server.seen_at("/here")[0].header("authorization").is_some(),
        "same origin"
    );
}

#[tokio::test]
async fn credentials_do_not_come_back_from_a_detour() {
    let back = Arc::new(Mutex::new(String::new()));
    let target = Arc::clone(&back);
    let detour = Server::start(move |_| Reply::redirect(&target.lock().unwrap())).await;
    let away = detour.url("/");
    let server = Server::start(move |request| {
        match (request.target.as_str(), request.header("authorization")) {
            ("/back", _) => Reply::ok(LAYER),
            (_, None) => Reply::status(401).with("WWW-Authenticate", "Basic"),
            (_, Some(_)) => Reply::redirect(&away),
        }
    })
    .await;
    *back.lock().unwrap() = server.url("/back");
    blob(&upstream_with(&server, basic()), &server, 0)
        .await
        .unwrap();
    assert_eq!(server.seen_at("/back")[0].header("authorization"), None);
}

#[tokio::test]
async fn a_user_in_a_location_is_not_sent() {
    let storage = Server::start(|_| Reply::ok(LAYER)).await;
    let target = format!("http://user:word@{}/x", storage.host());
    let server = Server::start(move |_| Reply::redirect(&target)).await;
    blob(&upstream(&server), &server, 0).await.unwrap();
    assert_eq!(storage.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|_| Reply::redirect("/again")).await;
    let error = blob(&upstream(&server), &server, 0).await.unwrap_err();
    assert!(is_unexpected(&error, "too often"), "{error:?}");
    assert_eq!(
        server.seen().len(),
        6,
        "the first request and five redirects"
    );
}

#[tokio::test]
async fn leads_nowhere_else_than_http() {
    for location in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://",
        "data:,x",
    ] {
        let server = Server::start(move |_| Reply::redirect(location)).await;
        let error = blob(&upstream(&server), &server, 0).await.unwrap_err();
        assert!(
            is_unexpected(&error, "redirects to"),
            "{location}: {error:?}"
        );
    }
    let server = Server::start(|_| Reply::status(307)).await;
    let error = blob(&upstream(&server), &server, 0).await.unwrap_err();
    assert!(is_unexpected(&error, "redirects to nowhere"), "{error:?}");
}

#[tokio::test]
async fn https_never_leads_to_http() {
    let storage = Server::start(|_| Reply::ok(LAYER)).await;
    let target = storage.url("/");
    let server = Server::start_tls(move |_| Reply::redirect(&target)).await;
    let ca_pem = Some(include_bytes!("../fixtures/ca.pem").to_vec());
    // Even where plain HTTP may be spoken with the upstream itself.
    let endpoint = Some(format!("https://{}/", server.host()).parse().unwrap());
    let config = HostConfig {
        ca_pem,
        endpoint,
        plain_http: true,
        ..HostConfig::default()
    };
    let upstream = build(&server.host(), config, limits()).unwrap();
    let error = blob(&upstream, &server, 0).await.unwrap_err();
    assert!(is_unexpected(&error, "other than https"), "{error:?}");
    assert!(storage.seen().is_empty());
}

#[tokio::test]
async fn an_upstream_on_loopback_does_not_send_us_to_other_inner_networks() {
    for address in [
        "10.255.255.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.168.255.1",
        "0.0.0.0",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
    ] {
        let target = format!("http://{address}:9/");
        let server = Server::start(move |_| Reply::redirect(&target)).await;
        let started = Instant::now();
        let error = blob(&upstream(&server), &server, 0).await.unwrap_err();
        assert!(
            is_unexpected(&error, "may not send us to"),
            "{address}: {error:?}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "nobody was asked"
        );
        assert_eq!(server.seen().len(), 1, "and nobody is asked again");
    }
}

/// An upstream that is reached through a proxy, so that nothing says it is on loopback.
#[tokio::test]
async fn an_outer_upstream_does_not_send_us_inside() {
    let inner = Server::start(|_| Reply::ok(LAYER)).await;
    let port = inner.address.port();
    for target in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
    ] {
        let proxy = Server::start(move |_| Reply::redirect(&target)).await;
        let behind = Proxy::Explicit {
            http: Some(proxy.url("/").parse().unwrap()),
            https: None,
            no_proxy: "127.0.0.1,localhost,::ffff:127.0.0.1,::ffff:7f00:1".to_owned(),
        };
        let anonymous = plain(credentials::Credentials::Anonymous);
        let upstream = build_behind(behind, "registry.example", anonymous, limits()).unwrap();
        let repository = RepositoryName::new("registry.example", "org/app").unwrap();
        let digest = Digest::sha256(LAYER);
        let error = upstream
            .blob(&repository, &digest, 0, Purpose::Blob, soon())
            .await
            .unwrap_err();
        assert!(is_unexpected(&error, "may not send us to"), "{error:?}");
        assert_eq!(proxy.seen().len(), 1);
    }
    assert!(inner.seen().is_empty());
}

#[tokio::test]
async fn an_upstream_on_loopback_uses_storage_by_name_on_loopback() {
    let storage = Server::start(|_| Reply::ok(LAYER)).await;
    let target = format!("http://localhost:{}/", storage.address.port());
    let server = Server::start(move |_| Reply::redirect(&target)).await;
    assert_eq!(blob(&upstream(&server), &server, 0).await.unwrap(), LAYER);
}

#[tokio::test]
async fn every_redirect_status_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start(move |request| match request.target.as_str() {
            "/layer" => Reply::ok(LAYER),
            _ => Reply::status(status).with("Location", "/layer"),
        })
        .await;
        assert_eq!(
            blob(&upstream(&server), &server, 0).await.unwrap(),
            LAYER,
            "{status}"
        );
        assert_eq!(server.seen_at("/layer")[0].method, "GET");
    }
}

/// The proxy's name resolves to wherever it is, but only to talk to the proxy.
#[tokio::test]
async fn an_upstream_does_not_send_us_to_the_machine_of_the_proxy() {
    let inner = Server::start(|_| Reply::ok(LAYER)).await;
    let target = format!("http://localhost:{}/", inner.address.port());
    let proxy = Server::start(move |_| Reply::redirect(&target)).await;
    let behind = Proxy::Explicit {
        http: Some(
            format!("http://localhost:{}", proxy.address.port())
                .parse()
                .unwrap(),
        ),
        https: None,
        no_proxy: "localhost".to_owned(),
    };
    let anonymous = plain(credentials::Credentials::Anonymous);
    let upstream = build_behind(behind, "registry.example", anonymous, limits()).unwrap();
    let repository = RepositoryName::new("registry.example", "org/app").unwrap();
    let digest = Digest::sha256(LAYER);
    let error = upstream
        .blob(&repository, &digest, 0, Purpose::Blob, soon())
        .await
        .unwrap_err();
    assert!(is_unexpected(&error, "may not send us to"), "{error:?}");
    assert_eq!((proxy.seen().len(), inner.seen().len()), (1, 0));
}

/// What the upstream sends us to by name goes through the proxy as well, even if that has a private address.
#[tokio::test]
async fn storage_is_reached_through_the_proxy() {
    let proxy = Server::start(|request| {
        if request.target.starts_with("http://storage.example/") {
            return Reply::ok(LAYER);
        }
        Reply::redirect("http://storage.example/layer")
    })
    .await;
    let behind = Proxy::Explicit {
        http: Some(
            format!("http://localhost:{}", proxy.address.port())
                .parse()
                .unwrap(),
        ),
        https: None,
        no_proxy: String::new(),
    };
    let anonymous = plain(credentials::Credentials::Anonymous);
    let upstream = build_behind(behind, "registry.example", anonymous, limits()).unwrap();
    let repository = RepositoryName::new("registry.example", "org/app").unwrap();
    let digest = Digest::sha256(LAYER);
    let bytes = upstream
        .small_blob(&repository, &digest, 100, Purpose::Blob, soon())
        .await
        .unwrap();
    assert_eq!(&bytes[..], LAYER);
}

/// A registry that wants an anonymous token of its own `/token`, and refuses the tokens in `refused`.
async fn registry_behind(refused: &'static [&'static str]) -> Server {
    let issued = Mutex::new(0);
    Server::start(move |request| {
        if request.target.starts_with("/token") {
            let mut issued = issued.lock().unwrap();
            *issued += 1;
            return Reply::ok(format!(r#"{{"token": "t{issued}"}}"#));
        }
        let token = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if token.is_none_or(|token| refused.contains(&token)) {
            let realm = format!("http://{}/token", request.header("host").unwrap());
            return Reply::challenge(&realm);
        }
        if request.target.contains("/manifests/") {
            return Reply::ok("{}");
        }
        Reply::ok(LAYER)
    })
    .await
}

/// An upstream that wants Basic credentials and then redirects everything to `target`.
async fn vanity(target: &Server) -> Server {
    let target = target.url("");
    Server::start(move |request| match request.header("authorization") {
        None => Reply::status(401).with("WWW-Authenticate", "Basic"),
        Some(_) => Reply::redirect(&format!("{target}{}", request.target)),
    })
    .await
}

#[tokio::test]
async fn registry_behind_a_redirect_gets_an_anonymous_token_of_its_own() {
    let back = registry_behind(&[]).await;
    let front = vanity(&back).await;
    let upstream = upstream_with(&front, basic());
    for _ in 0..3 {
        assert_eq!(blob(&upstream, &front, 0).await.unwrap(), LAYER);
        pull(&upstream, &front).await.unwrap();
        upstream
            .tags(&repository(&front), None, soon())
            .await
            .unwrap();
        upstream
            .referrers(&repository(&front), &Digest::sha256(b""), None, soon())
            .await
            .unwrap();
    }
    let tokens = back.seen_at("/token");
    assert_eq!(tokens.len(), 1, "one token for the repository");
    assert_eq!(
        tokens[0].target,
        "/token?service=reg&scope=repository%3Aorg%2Fapp%3Apull"
    );
    assert_eq!(tokens[0].header("authorization"), None);
    for request in back.seen_at("/v2/") {
        let sent = request.header("authorization");
        assert!(matches!(sent, None | Some("Bearer t1")), "{sent:?}");
    }
    for request in front.seen() {
        assert_ne!(request.header("authorization"), Some("Bearer t1"));
    }
}

#[tokio::test]
async fn registry_behind_a_redirect_gets_a_bounded_number_of_tokens() {
    let back = registry_behind(&["t1", "t2", "t3", "t4"]).await;
    let front = vanity(&back).await;
    let upstream = upstream_with(&front, basic());
    let error = pull(&upstream, &front).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(back.seen_at("/token").len(), 2);
    pull(&upstream, &front).await.unwrap_err();
    pull(&upstream, &front).await.unwrap();
    assert_eq!(back.seen_at("/token").len(), 5);
}

#[tokio::test]
async fn basic_challenge_behind_a_redirect_is_not_answered() {
    let back = Server::start(|_| Reply::status(401).with("WWW-Authenticate", "Basic")).await;
    let front = vanity(&back).await;
    let error = pull(&upstream_with(&front, basic()), &front)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error:?}"
    );
    assert_eq!(back.seen().len(), 1);
    assert_eq!(back.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn realm_of_a_registry_behind_a_redirect_may_not_lead_inside() {
    for realm in [
        "http://169.254.169.254/token",
        "http://10.255.255.1/token",
        "http://[fd00::1]/token",
        "file:///token",
        "http://user:word@127.0.0.1/token",
    ] {
        let back = Server::start(move |_| Reply::challenge(realm)).await;
        let front = vanity(&back).await;
        let started = Instant::now();
        let error = pull(&upstream_with(&front, basic()), &front)
            .await
            .unwrap_err();
        assert!(
            is_unexpected(&error, "may not send us to") || is_unexpected(&error, "token realm"),
            "{realm}: {error:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(1), "{realm}");
    }
}

#[tokio::test]
async fn storage_that_challenges_gets_no_token() {
    let token_host = Server::start(|_| Reply::ok(r#"{"token": "t"}"#)).await;
    let realm = token_host.url("/token");
    let storage = Server::start(move |_| Reply::challenge(&realm)).await;
    let target = storage.url("/bucket/layer?signature=s");
    let server = Server::start(move |_| Reply::redirect(&target)).await;
    blob(&upstream(&server), &server, 0).await.unwrap_err();
    assert!(token_host.seen().is_empty());
}

/// An upstream behind a proxy, so that nothing says it is on loopback, and its redirect to an inner host.
#[tokio::test]
async fn listed_redirect_host_may_have_an_inner_address() {
    let inner = registry_behind(&[]).await;
    let port = inner.address.port();
    for (listed, target, expected) in [
        (
            format!("127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}"),
            true,
        ),
        (
            format!("localhost:{port}"),
            format!("http://localhost:{port}"),
            true,
        ),
        (
            format!("LOCALHOST:{port}"),
            format!("http://localhost:{port}"),
            true,
        ),
        (
            "127.0.0.1".to_owned(),
            format!("http://127.0.0.1:{port}"),
            false,
        ),
        (
            "127.0.0.1:1".to_owned(),
            format!("http://127.0.0.1:{port}"),
            false,
        ),
        (
            format!("127.0.0.1:{port}"),
            format!("http://localhost:{port}"),
            false,
        ),
        (
            "169.254.169.254".to_owned(),
            "http://169.254.169.254".to_owned(),
            false,
        ),
    ] {
        inner.forget();
        let target = format!("{target}/v2/org/app/blobs/sha256:1");
        let proxy = Server::start(move |_| Reply::redirect(&target)).await;
        let behind = Proxy::Explicit {
            http: Some(proxy.url("/").parse().unwrap()),
            https: None,
            no_proxy: "127.0.0.1,localhost,169.254.169.254".to_owned(),
        };
        let config = HostConfig {
            redirect_hosts: vec![listed.clone()],
            ..plain(credentials::Credentials::Anonymous)
        };
        let upstream = build_behind(behind, "registry.example", config, limits()).unwrap();
        let repository = RepositoryName::new("registry.example", "org/app").unwrap();
        let digest = Digest::sha256(LAYER);
        let fetched = upstream
            .small_blob(&repository, &digest, 100, Purpose::Blob, soon())
            .await;
        match fetched {
            Ok(bytes) => assert!(expected && bytes == LAYER, "{listed}"),
            Err(error) => {
                assert!(
                    !expected && is_unexpected(&error, "may not send us to"),
                    "{listed}: {error:?}"
                );
                assert!(inner.seen().is_empty(), "{listed}");
            }
        }
    }
}
