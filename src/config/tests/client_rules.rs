use jiff::Timestamp;

use super::*;
use crate::clients::{Access, Client, Clients};

/// The answer of the rules, and the name of the user who asks.
async fn ask(
    clients: &Clients,
    authorization: Option<&str>,
    repository: &str,
) -> (Access, Option<String>) {
    let authenticated = clients.authenticate(None, authorization, Timestamp::UNIX_EPOCH);
    let client: Client = authenticated.await.unwrap().unwrap();
    let access = clients.authorize(&client, Some(&repository.parse().unwrap()));
    (access, client.name().map(ToString::to_string))
}

fn listening_everywhere(rest: &str) -> String {
    format!("server: {{listen: '0.0.0.0:5080'}}\n{}", with_policy(rest))
}

#[test]
fn a_private_upstream_is_not_for_everybody() {
    let directory = Directory::new();
    directory.write("docker.json", "{}");
    let private = |credentials: &str, clients: &str| {
        format!(
            "server: {{listen: '0.0.0.0:5080'}}\nupstreams: {{ghcr.io: {{credentials: {credentials}}}}}\n{clients}"
        )
    };
    for credentials in [
        "docker_config",
        "{docker_config: docker.json}",
        "{username: a, password: b}",
    ] {
        let problems = directory.problems(&private(credentials, ""));
        assert_eq!(
            problems,
            [
                "c.yaml:1:9: server: 0.0.0.0:5080 is not a loopback address, ghcr.io is pulled with credentials, and there are no `clients`"
            ]
        );
        directory
            .load(&private(
                credentials,
                "clients: [{anonymous: true, images: ['**']}]",
            ))
            .unwrap();
    }
    directory.load(&private("anonymous", "")).unwrap();
    directory
        .load("upstreams: {ghcr.io: {credentials: docker_config}}")
        .unwrap();
}

#[tokio::test]
async fn rules_are_read_in_order() {
    let directory = Directory::new();
    let hash = bcrypt::hash("secret", 4).unwrap();
    directory.write("users", &format!("alice:{hash}\n"));
    let text = "clients:
  - {basic: {htpasswd: users}, images: [ghcr.io/org/**]}
  - {basic: {htpasswd: users}, images: [ghcr.io/other]}
  - {anonymous: true, images: [ghcr.io/open/*]}
";
    let config = directory.load(&with_policy(text)).unwrap();
    let clients = config.clients.unwrap();
    let alice = "Basic YWxpY2U6c2VjcmV0";
    let named = Some("alice".to_owned());
    for (authorization, repository, expected) in [
        (
            Some(alice),
            "ghcr.io/org/app",
            (Access::Allow, named.clone()),
        ),
        (
            Some(alice),
            "ghcr.io/open/x",
            (Access::Allow, named.clone()),
        ),
        (Some(alice), "ghcr.io/else", (Access::Deny, named)),
        (None, "ghcr.io/open/x", (Access::Allow, None)),
        (None, "ghcr.io/org/app", (Access::Unauthenticated, None)),
    ] {
        let answer = ask(&clients, authorization, repository).await;
        assert_eq!(answer, expected, "{repository}");
    }
    let warnings = directory.warnings(&listening_everywhere(text));
    assert!(
        warnings[0].contains("passwords of clients travel in clear"),
        "{warnings:?}"
    );
    // Something in front may terminate TLS.
    let in_front = listening_everywhere(text).replace(
        "{listen: '0.0.0.0:5080'}",
        "{listen: '0.0.0.0:5080', public_url: 'https://images.example'}",
    );
    assert_eq!(directory.warnings(&in_front), [""; 0]);
}

#[tokio::test]
async fn rules_are_checked() {
    let directory = Directory::new();
    directory.write("md5", "a:$apr1$x$y\nb");
    for (rule, parts) in [
        ("{images: [ghcr.io/**]}", &["does not say whom"][..]),
        ("{anonymous: true}", &["`images` is missing"]),
        ("{anonymous: true, images: []}", &["about no image"]),
        (
            "{anonymous: true, images: [ghcr.io]}",
            &["has no repository"],
        ),
        ("{anonymous: false, images: ['**']}", &["lets nobody in"]),
        (
            "{anonymous: true, basic: {htpasswd: md5}, images: ['**']}",
            &["both"],
        ),
        ("{basic: {}, images: ['**']}", &["`htpasswd` is missing"]),
        (
            "{basic: {htpasswd: none}, images: ['**']}",
            &["cannot read none"],
        ),
        (
            "{basic: {htpasswd: md5}, images: ['**']}",
            &["md5: line 1: only bcrypt", "md5: line 2: not `user:hash`"],
        ),
    ] {
        let problems = directory.problems(&with_policy(&format!("clients: [{rule}]")));
        assert_eq!(problems.len(), parts.len(), "{rule}: {problems:?}");
        for (problem, part) in problems.iter().zip(parts) {
            assert!(problem.contains(part), "{rule}: {problem}");
        }
    }
    let config = directory.load(&with_policy("clients: []")).unwrap();
    let answer = ask(&config.clients.unwrap(), None, "ghcr.io/org/app").await;
    assert_eq!(answer, (Access::Deny, None));
    assert!(config.warnings[0].message.contains("nobody may pull"));
}
