use std::time::Duration;

use super::*;

#[test]
fn an_upstream_is_reached_as_configured() {
    let directory = Directory::new();
    directory.write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
    directory.write("password", "p4ss\n");
    let config = directory
        .load(
            "upstreams:
  index.docker.io:
  quay.io: {endpoint: 'https://quay.internal:8443', ca: ca.pem, credentials: {username: robot, password: 'file:password'}, token_hosts: [login.internal], redirect_hosts: ['storage.internal:9000', 10.1.2.3]}
  127.0.0.1:5000: {plain_http: true, endpoint: 'http://127.0.0.1:5001/'}
",
        )
        .unwrap();
    let plain = &config.upstreams["docker.io"];
    assert!(plain.endpoint.is_none() && plain.ca.is_none() && !plain.plain_http);
    assert!(plain.credentials.is_anonymous() && plain.token_hosts.is_empty());
    let quay = &config.upstreams["quay.io"];
    assert_eq!(
        quay.endpoint.as_ref().unwrap().as_str(),
        "https://quay.internal:8443/"
    );
    assert!(quay.ca.is_some());
    assert_eq!(quay.token_hosts, ["login.internal"]);
    assert_eq!(quay.redirect_hosts, ["storage.internal:9000", "10.1.2.3"]);
    let Credentials::Basic { username, password } = &quay.credentials else {
        panic!("{:?}", quay.credentials);
    };
    assert_eq!((username.expose(), password.expose()), ("robot", "p4ss"));
    assert!(config.upstreams["127.0.0.1:5000"].endpoint.is_some());
}

#[test]
fn upstreams_are_checked() {
    let directory = Directory::new();
    directory.write("empty.pem", "nothing");
    for (text, part) in [
        (
            "credentials: google",
            "credentials of google are not available in this version",
        ),
        (
            "credentials: aws",
            "credentials of aws are not available in this version",
        ),
        (
            "credentials: azure",
            "credentials of azure are not available in this version",
        ),
        ("credentials: hunter2", "unknown credentials"),
        ("credentials: {username: a}", "belong together"),
        ("credentials: {password: a}", "belong together"),
        (
            "credentials: {username: a, password: ''}",
            "an empty secret",
        ),
        (
            "credentials: {username: a, password: '${EMPTY}'}",
            "an empty secret",
        ),
        (
            "credentials: {username: a, password: 'file:none'}",
            "cannot read none",
        ),
        (
            "credentials: {username: a, password: b, docker_config: c}",
            "two kinds",
        ),
        ("credentials: {docker_config: none}", "cannot read none"),
        ("endpoint: 'http://a.io'", "the endpoint is plain HTTP"),
        (
            "endpoint: 'https://a.io', plain_http: true",
            "`plain_http` is set",
        ),
        ("endpoint: 'https://a.io/v2/'", "and nothing else"),
        ("endpoint: 'https://u:p@a.io'", "and nothing else"),
        ("endpoint: 'https://a.io?x'", "and nothing else"),
        ("endpoint: 'ftp://a.io'", "not an https:// address"),
        ("endpoint: a.io", "relative URL"),
        ("ca: none.pem", "cannot read none.pem"),
        ("ca: empty.pem", "holds no certificate"),
        ("token_hosts: ['https://a.io']", "is not a host"),
        ("redirect_hosts: ['https://a.io']", "is not a host"),
        ("redirect_hosts: ['*.a.io']", "is not a host"),
        ("redirect_hosts: [10.0.0.0/8]", "is not a host"),
        ("plain_http: yes", "`yes` is not known here"),
        ("mirror: a.io", "unknown key"),
    ] {
        let problems = directory.problems(&format!("upstreams: {{a.io: {{{text}}}}}"));
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{text}: {problems:?}"
        );
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
    let problems = directory.problems("upstreams: {docker.io: {}, index.docker.io: {}}");
    assert!(
        problems[0].contains("docker.io is configured twice"),
        "{problems:?}"
    );
    let warnings = directory
        .warnings("upstreams: {a.io: {plain_http: true, credentials: {username: a, password: b}}}");
    assert!(warnings[0].contains("in clear"), "{warnings:?}");
}

#[test]
fn a_route_stands_for_a_prefix() {
    let directory = Directory::new();
    let config = directory
        .load("upstreams: {a.io: {}, docker.io: {}}\nroutes: {apps: a.io/project/apps, hub: index.docker.io}")
        .unwrap();
    for (route, rest, name) in [
        ("apps", "web", "a.io/project/apps/web"),
        ("apps", "x/y", "a.io/project/apps/x/y"),
        ("hub", "nginx", "docker.io/library/nginx"),
    ] {
        assert_eq!(config.routes[route].join(rest).unwrap().as_str(), name);
    }
    assert!(config.routes["apps"].join("../x").is_err());
    for (text, part) in [
        ("a.b: a.io", "is not the first component"),
        ("localhost: a.io", "is not the first component"),
        ("a/b: a.io", "is not the first component"),
        ("A: a.io", "is not the first component"),
        ("a: b.io", "the host of `b.io` is not among the upstreams"),
        ("a: a.io/X", "is not a repository name"),
        ("a: a.io/", "is not a repository name"),
    ] {
        let problems =
            directory.problems(&format!("upstreams: {{a.io: {{}}}}\nroutes: {{{text}}}"));
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn the_server_section_is_checked() {
    let directory = Directory::new();
    for (text, part) in [
        ("listen: 5080", "invalid socket address"),
        (
            "listen: '127.0.0.1:1', admin_listen: '127.0.0.1:1'",
            "are the same address",
        ),
        ("tls: {certificate: a.pub}", "`private_key` is missing"),
        (
            "tls: {certificate: none, private_key: a.pub}",
            "cannot read none",
        ),
        ("public_url: images.example", "is not scheme, host and port"),
        (
            "public_url: 'https://images.example/registry'",
            "is not scheme",
        ),
        (
            "public_url: 'https://user:x@images.example'",
            "is not scheme",
        ),
        ("public_url: 'https://images.example\"'", "is not scheme"),
        ("console_url: 'ftp://images.example'", "is not scheme"),
        (
            "token_key: 'short but longer than sixteen'",
            "could be guessed",
        ),
        ("admin_hosts: ['http://a.svc']", "is not a host name"),
        ("admin_hosts: ['a.svc:5081']", "is not a host name"),
    ] {
        let problems = directory.problems(&format!("server: {{{text}}}"));
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{text}: {problems:?}"
        );
    }
    let config = directory
        .load("server: {tls: {certificate: a.pub, private_key: b.pub}}")
        .unwrap();
    let tls = config.server.tls.unwrap();
    assert!(tls.certificate.is_absolute() && tls.private_key.ends_with("b.pub"));
    let warnings = directory.warnings(&format!(
        "server: {{admin_token: short}}\n{}",
        with_policy("")
    ));
    assert!(warnings[0].contains("easy to guess"), "{warnings:?}");
}

#[test]
fn addresses_and_names_of_the_listeners_are_read() {
    let config = Directory::new()
        .load(
            "server:
  public_url: https://images.example:8443/
  console_url: http://console.example:5081
  admin_hosts: [Countersign.monitoring.svc]",
        )
        .unwrap();
    let server = config.server;
    assert_eq!(
        server.public_url.as_deref(),
        Some("https://images.example:8443")
    );
    assert_eq!(
        server.console_url.as_deref(),
        Some("http://console.example:5081")
    );
    assert_eq!(
        server.admin_host_names(),
        ["countersign.monitoring.svc", "console.example"]
    );
}

#[test]
fn freshness_limits_and_compat_are_read() {
    let directory = Directory::new();
    let config = directory
        .load(
            "freshness: {tag_ttl: 0, absent_ttl: 500ms, reverify_after: 1h, stale_for: 1d}
limits: {manifest_bytes_max: 8MiB, attempts_max: 7, connect_time_max: 500ms, redirects_max: 0}
compat: {head_allows: true}",
        )
        .unwrap();
    assert_eq!(
        config.freshness,
        Freshness {
            tag_ttl: Duration::ZERO,
            absent_ttl: Duration::from_millis(500),
            reverify_after: Duration::from_secs(3600),
            stale_for: Duration::from_secs(86400),
        }
    );
    let expected = Limits {
        manifest_bytes_max: 8 << 20,
        attempts_max: 7,
        connect_time_max: Duration::from_millis(500),
        redirects_max: 0,
        ..Limits::default()
    };
    assert_eq!(*config.limits, expected);
    assert!(config.compat.head_allows);
    assert!(!directory.load("{}").unwrap().compat.head_allows);
    for text in [
        "freshness: {reverify_after: 0}",
        "freshness: {absent_ttl: 61s}",
        "limits: {manifest_bytes_max: 0}",
        "limits: {attempts_max: 0}",
        "limits: {connect_time_max: 0}",
        "limits: {attempts_max: -1}",
        "limits: {attempts_max: 99999999999}",
        "limits: {manifest_bytes: 1}",
        "compat: {head_allows: 1}",
        "compat: [head_allows]",
        "server: 1",
        "policies: {a: b}",
    ] {
        assert_eq!(directory.problems(text).len(), 1, "{text}");
    }
}

#[test]
fn policy_files_that_are_not_there_are_not_silently_ignored() {
    let directory = Directory::new();
    for (text, part) in [
        ("policy_files: [x.yaml]", "names no file"),
        ("policy_files: ['[']", "`[`"),
        ("policy_files: x.yaml", "a list (`[a, b]`)"),
    ] {
        let problems = directory.problems(text);
        assert!(problems[0].contains(part), "{problems:?}");
    }
    directory.write("d/x.yaml", "apiVersion: v1\nkind: Pod\n");
    let problems = directory.problems("policy_files: ['d/*.yaml']");
    assert!(
        problems
            .iter()
            .any(|it| it.contains("no document of this file is a policy")),
        "{problems:?}"
    );
    directory
        .load("policy_files: []\nkey_providers: {}")
        .unwrap();
    let warnings = directory.warnings("");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn docker_keeps_its_configuration_where_the_environment_says() {
    let path = |variables: &'static [(&'static str, &'static str)]| {
        let environment = move |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut credentials = Credentials::DockerConfig { path: None };
        credentials.find_docker_config(&environment);
        match credentials {
            Credentials::DockerConfig { path } => path,
            Credentials::Anonymous | Credentials::Basic { .. } => None,
        }
    };
    let both = path(&[("DOCKER_CONFIG", "/d"), ("HOME", "/h")]);
    assert_eq!(both, Some("/d/config.json".into()));
    assert_eq!(
        path(&[("HOME", "/h")]),
        Some("/h/.docker/config.json".into())
    );
    assert_eq!(
        path(&[("DOCKER_CONFIG", ""), ("HOME", "/h")]),
        Some("/h/.docker/config.json".into())
    );
    assert_eq!(path(&[]), None);
}
