//! Where connections go, and what they trust.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::credentials::Credentials;
use super::*;

const CA: &[u8] = include_bytes!("../fixtures/ca.pem");

fn endpoint(text: &str) -> HostConfig {
    HostConfig {
        endpoint: Some(text.parse().unwrap()),
        ..HostConfig::default()
    }
}

async fn pull_as(upstream: &HttpUpstream, host: &str) -> Result<FetchedManifest, Error> {
    let repository = RepositoryName::new(host, "org/app").unwrap();
    upstream
        .manifest(&repository, &tag("v1"), Purpose::Manifest, soon())
        .await
}

#[tokio::test]
async fn an_endpoint_changes_where_the_connection_goes() {
    let server = Server::start(|_| Reply::ok("{}")).await;
    for (path, expected) in [
        ("", "/v2/"),
        ("/mirror", "/mirror/v2/"),
        ("/mirror/", "/mirror/v2/"),
    ] {
        let config = HostConfig {
            plain_http: true,
            ..endpoint(&server.url(path))
        };
        let upstream = build("quay.io", config, limits()).unwrap();
        pull_as(&upstream, "quay.io").await.unwrap();
        let seen = server.seen();
        assert_eq!(
            seen.last().unwrap().target,
            format!("{expected}org/app/manifests/v1")
        );
        assert_eq!(
            seen.last().unwrap().header("host"),
            Some(server.host().as_str())
        );
    }
}

#[tokio::test]
async fn docker_hub_is_asked_at_its_api_host_through_the_proxy() {
    let proxy = Server::start(|_| Reply::status(403)).await;
    let behind = Proxy::Explicit {
        http: None,
        https: Some(proxy.url("/").parse().unwrap()),
        no_proxy: "ghcr.io".to_owned(),
    };
    let limits = Limits {
        upstream_attempts_max: 1,
        ..limits()
    };
    let upstream = build_behind(behind, "docker.io", HostConfig::default(), limits).unwrap();
    let error = pull_as(&upstream, "docker.io").await.unwrap_err();
    assert!(is_failed(&error, "no connection"), "{error:?}");
    let seen = proxy.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].target.as_str()),
        ("CONNECT", "registry-1.docker.io:443")
    );
}

#[tokio::test]
async fn a_host_that_needs_no_proxy_gets_none() {
    const PROXIED: &str = r#"{"mediaType":"proxied"}"#;
    const DIRECT: &str = r#"{"mediaType":"direct"}"#;
    let proxy = Server::start(|_| Reply::ok(PROXIED)).await;
    let server = Server::start(|_| Reply::ok(DIRECT)).await;
    let port = server.address.port();
    for (no_proxy, expected) in [
        (String::new(), PROXIED),
        ("127.0.0.1".to_owned(), DIRECT),
        (format!("a.example,127.0.0.1:{port}"), DIRECT),
        (format!("127.0.0.0/8:{port}"), DIRECT),
        ("127.0.0.1:1".to_owned(), PROXIED),
    ] {
        let behind = Proxy::Explicit {
            http: Some(proxy.url("/").parse().unwrap()),
            https: None,
            no_proxy,
        };
        let upstream = build_behind(
            behind,
            &server.host(),
            plain(Credentials::Anonymous),
            limits(),
        )
        .unwrap();
        assert_eq!(pull(&upstream, &server).await.unwrap().bytes, expected);
    }
}

#[tokio::test]
async fn tls_trusts_the_private_ca_of_the_upstream_and_nobody_unknown() {
    let server = Server::start_tls(|_| Reply::ok("{}")).await;
    let trusting = HostConfig {
        ca_pem: Some(CA.to_vec()),
        ..HostConfig::default()
    };
    pull(&build(&server.host(), trusting, limits()).unwrap(), &server)
        .await
        .unwrap();

    let error = pull(
        &build(&server.host(), HostConfig::default(), limits()).unwrap(),
        &server,
    )
    .await
    .unwrap_err();
    assert!(is_failed(&error, "invalid peer certificate"), "{error:?}");
    assert_eq!(server.seen().len(), 1);

    // The certificate is for other names.
    let mut other = endpoint(&format!("https://127.0.0.2:{}", server.address.port()));
    other.ca_pem = Some(CA.to_vec());
    let error = pull_as(&build("quay.io", other, limits()).unwrap(), "quay.io")
        .await
        .unwrap_err();
    assert!(is_failed(&error, "no connection"), "{error:?}");
}

#[tokio::test]
async fn without_plain_http_nothing_is_said_in_plain() {
    let server = Server::start(|_| Reply::ok("{}")).await;
    let error = pull(
        &build(&server.host(), HostConfig::default(), limits()).unwrap(),
        &server,
    )
    .await
    .unwrap_err();
    assert!(is_failed(&error, "no connection"), "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_tls_suggests_plain_http() {
    for (answer, told) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "the answer is not TLS"),
        ("", "ended during the TLS handshake"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let answering = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut hello = [0; 5];
                stream.read_exact(&mut hello).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                // The rest is read, or the kernel would reset the connection.
                let mut rest = Vec::new();
                drop(stream.read_to_end(&mut rest).await);
            }
        };
        let upstream = build(&host, HostConfig::default(), limits()).unwrap();
        let error = tokio::select! {
            answer = pull_as(&upstream, &host) => answer.unwrap_err(),
            () = answering => unreachable!(),
        };
        assert!(is_failed(&error, told), "{error:?}");
        assert!(is_failed(&error, "`plain_http: true`"), "{error:?}");
    }
}

#[test]
fn what_cannot_work_does_not_build() {
    let mut certificate = CA.to_vec();
    certificate.truncate(200);
    let colon = Credentials::Basic {
        username: "a:b".to_owned(),
        password: crate::secret::Secret::new(String::new()),
    };
    for (config, expected) in [
        (endpoint("http://quay.internal/"), "plain_http"),
        (endpoint("ftp://quay.internal/"), "endpoint"),
        (endpoint("https://user:word@quay.internal/"), "endpoint"),
        (endpoint("https://quay.internal/?a=b"), "endpoint"),
        (endpoint("https://quay.internal/#a"), "endpoint"),
        (
            HostConfig {
                ca_pem: Some(Vec::new()),
                ..HostConfig::default()
            },
            "certificate",
        ),
        (
            HostConfig {
                ca_pem: Some(certificate),
                ..HostConfig::default()
            },
            "certificate",
        ),
        (
            HostConfig {
                credentials: Credentials::DockerConfig { path: None },
                ..HostConfig::default()
            },
            "Docker",
        ),
        (
            HostConfig {
                credentials: colon,
                ..HostConfig::default()
            },
            "colon",
        ),
    ] {
        let error = build("quay.io", config, limits()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::start(|request| match request.target.as_str() {
        "/v2/org/app/manifests/absent" => Reply::status(404),
        "/token" => Reply::ok(r#"{"token": "t"}"#),
        _ if request.header("authorization").is_none() => {
            Reply::challenge(&format!("http://{}/token", request.header("host").unwrap()))
        }
        _ => Reply::ok("{}"),
    })
    .await;
    let upstream = upstream(&server);
    for reference in ["absent", "v1", "absent", "v1"] {
        drop(
            upstream
                .manifest(
                    &repository(&server),
                    &tag(reference),
                    Purpose::Manifest,
                    soon(),
                )
                .await,
        );
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn secrets_do_not_print() {
    let server = Server::start(|_| Reply::ok("{}")).await;
    let upstream = upstream_with(&server, basic());
    pull(&upstream, &server).await.unwrap();
    let text = format!("{upstream:?}");
    assert!(
        text.contains("robot") && !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
        "{text}"
    );
}
