use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn users(entries: &[(&str, &str)]) -> Arc<Users> {
    let text: String = entries
        .iter()
        .map(|(user, password)| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap()))
        .collect();
    Arc::new(Users::from_text(&text).unwrap())
}

fn rule(admits: Admits, images: &[&str]) -> Rule {
    Rule {
        images: images.iter().map(|image| image.parse().unwrap()).collect(),
        admits,
    }
}

fn header(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// The rules' answer for the client with this header, or the reason why the header identifies nobody. The user's name
/// stands beside the answer, whichever it is.
async fn ask_with(
    clients: &Clients,
    tokens: &Tokens,
    authorization: Option<&str>,
    repository: Option<&str>,
) -> Result<(Access, Option<String>), Rejection> {
    let authenticated = clients.authenticate(Some(tokens), authorization, NOW);
    let client = authenticated.await.unwrap()?;
    let access = clients.authorize(&client, repository.map(name).as_ref());
    Ok((access, client.name().map(ToString::to_string)))
}

async fn ask(
    clients: &Clients,
    authorization: Option<&str>,
    repository: Option<&str>,
) -> Result<(Access, Option<String>), Rejection> {
    let tokens = Tokens::with_random_key();
    ask_with(clients, &tokens, authorization, repository).await
}

fn nobody(access: Access) -> Result<(Access, Option<String>), Rejection> {
    Ok((access, None))
}

fn user(name: &str, access: Access) -> Result<(Access, Option<String>), Rejection> {
    Ok((access, Some(name.to_owned())))
}

/// The header with a token for the client that `authorization` identifies.
async fn bearer(clients: &Clients, tokens: &Tokens, authorization: Option<&str>) -> String {
    let authenticated = clients.authenticate(None, authorization, NOW);
    let client = authenticated.await.unwrap().unwrap();
    format!("Bearer {}", clients.issue(tokens, &client, NOW))
}

fn mixed() -> Clients {
    Clients::new(mixed_rules())
}

fn mixed_rules() -> Vec<Rule> {
    vec![
        rule(
            Admits::Basic(users(&[("alice", "a"), ("both", "1")])),
            &["ghcr.io/org/**"],
        ),
        rule(
            Admits::Basic(users(&[("bob", "b"), ("both", "2")])),
            &["quay.io/**"],
        ),
        rule(Admits::Anonymous, &["docker.io/**"]),
    ]
}

#[tokio::test]
async fn first_rule_that_covers_the_name_decides() {
    let clients = mixed();
    let [alice, bob] = [header("alice", "a"), header("bob", "b")];
    for (authorization, repository, answer) in [
        (
            Some(&alice),
            "ghcr.io/org/app",
            user("alice", Access::Allow),
        ),
        (Some(&alice), "quay.io/x", user("alice", Access::Deny)),
        (Some(&bob), "quay.io/x", user("bob", Access::Allow)),
        (Some(&bob), "ghcr.io/org/app", user("bob", Access::Deny)),
        (Some(&bob), "docker.io/nginx", user("bob", Access::Allow)),
        (Some(&alice), "gcr.io/x", user("alice", Access::Deny)),
        (None, "docker.io/nginx", nobody(Access::Allow)),
        (None, "ghcr.io/org/app", nobody(Access::Unauthenticated)),
        (None, "gcr.io/x", nobody(Access::Unauthenticated)),
    ] {
        let authorization = authorization.map(String::as_str);
        let asked = ask(&clients, authorization, Some(repository)).await;
        assert_eq!(asked, answer, "{authorization:?} {repository}");
    }
}

#[tokio::test]
async fn password_counts_only_for_the_file_it_is_in() {
    let clients = mixed();
    let tokens = Tokens::with_random_key();
    for (password, allowed, denied) in [
        ("1", "ghcr.io/org/app", "quay.io/x"),
        ("2", "quay.io/x", "ghcr.io/org/app"),
    ] {
        let basic = header("both", password);
        let token = bearer(&clients, &tokens, Some(&basic)).await;
        for authorization in [&basic, &token] {
            for (repository, access) in [(allowed, Access::Allow), (denied, Access::Deny)] {
                let asked =
                    ask_with(&clients, &tokens, Some(authorization), Some(repository)).await;
                assert_eq!(asked, user("both", access), "{authorization} {repository}");
            }
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_rejected_even_where_everybody_may_pull() {
    let clients = mixed();
    for (wrong, reason) in [
        (header("alice", "A"), Rejection::Password),
        (header("alice", ""), Rejection::Password),
        (header("", "a"), Rejection::Password),
        (header("nobody", "a"), Rejection::Password),
        ("Basic".to_owned(), Rejection::Unreadable),
        ("Basic !!!".to_owned(), Rejection::Unreadable),
        (
            format!("Basic {}", STANDARD.encode("alice")),
            Rejection::Unreadable,
        ),
        (
            format!("Bearer {}", STANDARD.encode("alice:a")),
            Rejection::Token,
        ),
        ("Bearer ".to_owned(), Rejection::Token),
        (
            "Digest username=\"alice\"".to_owned(),
            Rejection::Unreadable,
        ),
        (String::new(), Rejection::Unreadable),
    ] {
        for repository in [Some("docker.io/nginx"), Some("ghcr.io/org/app"), None] {
            let asked = ask(&clients, Some(&wrong), repository).await;
            assert_eq!(asked, Err(reason), "{wrong} {repository:?}");
        }
    }
}

#[tokio::test]
async fn empty_credentials_count_as_none() {
    let clients = mixed();
    for empty in [
        header("", ""),
        "basic Og==".to_owned(),
        "BASIC  Og== ".to_owned(),
    ] {
        for repository in [Some("docker.io/nginx"), Some("ghcr.io/org/app"), None] {
            let without = ask(&clients, None, repository).await;
            assert_eq!(ask(&clients, Some(&empty), repository).await, without);
        }
    }
    let empty = Password {
        user: String::new(),
        password: String::new(),
    };
    let client = clients.authenticate_password(empty).await.unwrap();
    assert_eq!(client, Ok(Client::Anonymous { has_token: false }));
}

#[tokio::test]
async fn base_path_asks_for_credentials_where_any_are_known() {
    let password = || rule(Admits::Basic(users(&[("alice", "a")])), &["ghcr.io/**"]);
    let everybody = || rule(Admits::Anonymous, &["docker.io/**"]);
    let alice = header("alice", "a");
    let tokens = Tokens::with_random_key();
    for (rules, scheme, without, with_token) in [
        (
            vec![password()],
            Scheme::Basic,
            Access::Unauthenticated,
            Access::Unauthenticated,
        ),
        (
            vec![password(), everybody()],
            Scheme::Bearer,
            Access::Unauthenticated,
            Access::Allow,
        ),
        (
            vec![everybody()],
            Scheme::Basic,
            Access::Allow,
            Access::Allow,
        ),
    ] {
        let clients = Clients::new(rules);
        assert_eq!(clients.scheme(), scheme);
        assert_eq!(ask(&clients, None, None).await, nobody(without));
        let token = bearer(&clients, &tokens, None).await;
        let asked = ask_with(&clients, &tokens, Some(&token), None).await;
        assert_eq!(asked, nobody(with_token), "{scheme:?}");
        if clients.has_passwords() {
            let asked = ask(&clients, Some(&alice), None).await;
            assert_eq!(asked, user("alice", Access::Allow));
            let token = bearer(&clients, &tokens, Some(&alice)).await;
            let asked = ask_with(&clients, &tokens, Some(&token), None).await;
            assert_eq!(asked, user("alice", Access::Allow));
        }
    }
}

#[tokio::test]
async fn token_stands_for_its_user_and_for_nothing_more() {
    let clients = mixed();
    let tokens = Tokens::with_random_key();
    let alice = header("alice", "a");
    for authorization in [None, Some(alice.as_str())] {
        let token = bearer(&clients, &tokens, authorization).await;
        for repository in [
            "ghcr.io/org/app",
            "quay.io/x",
            "docker.io/nginx",
            "gcr.io/x",
        ] {
            let asked = ask_with(&clients, &tokens, Some(&token), Some(repository)).await;
            let expected = ask(&clients, authorization, Some(repository)).await;
            assert_eq!(asked, expected, "{authorization:?} {repository}");
        }
    }
}

#[tokio::test]
async fn token_buys_no_other_token() {
    let clients = mixed();
    let tokens = Tokens::with_random_key();
    let token = bearer(&clients, &tokens, Some(&header("alice", "a"))).await;
    let asked = clients.authenticate(None, Some(&token), NOW).await.unwrap();
    assert_eq!(asked, Err(Rejection::Token));
}

#[tokio::test]
async fn token_ends_when_its_user_is_removed_or_gets_another_password() {
    let tokens = Tokens::with_random_key();
    let everybody = rule(Admits::Anonymous, &["docker.io/**"]);
    let with = |users| {
        let private = rule(Admits::Basic(users), &["ghcr.io/**"]);
        Clients::new(vec![private, everybody.clone()])
    };
    let file = users(&[("alice", "a"), ("bob", "b")]);
    let token = bearer(&with(file.clone()), &tokens, Some(&header("alice", "a"))).await;
    for (reloaded, expected) in [
        (with(file), user("alice", Access::Allow)),
        (with(users(&[("bob", "b")])), Err(Rejection::Token)),
        (with(users(&[("alice", "other")])), Err(Rejection::Token)),
        // The same password anew has another hash, too.
        (with(users(&[("alice", "a")])), Err(Rejection::Token)),
    ] {
        let asked = ask_with(&reloaded, &tokens, Some(&token), Some("ghcr.io/x")).await;
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn token_follows_the_rules_in_force() {
    let tokens = Tokens::with_random_key();
    let file = users(&[("alice", "a")]);
    let rules = |image| {
        let everybody = rule(Admits::Anonymous, &["docker.io/**"]);
        Clients::new(vec![rule(Admits::Basic(file.clone()), &[image]), everybody])
    };
    let before = rules("ghcr.io/**");
    let token = bearer(&before, &tokens, Some(&header("alice", "a"))).await;
    let after = rules("quay.io/**");
    for (clients, access) in [(before, Access::Allow), (after, Access::Deny)] {
        let asked = ask_with(&clients, &tokens, Some(&token), Some("ghcr.io/x")).await;
        assert_eq!(asked, user("alice", access));
    }
}

#[tokio::test]
async fn without_password_files_credentials_are_somebody_elses() {
    let clients = Clients::new(vec![rule(Admits::Anonymous, &["docker.io/**"])]);
    for other in [
        header("robot", "token"),
        "Bearer x".to_owned(),
        String::new(),
    ] {
        for (repository, access) in [
            ("docker.io/nginx", Access::Allow),
            ("ghcr.io/x", Access::Deny),
        ] {
            let asked = ask(&clients, Some(&other), Some(repository)).await;
            assert_eq!(asked, nobody(access), "{other} {repository}");
        }
    }
}

#[tokio::test]
async fn no_rules_let_nobody_in() {
    let clients = Clients::new(Vec::new());
    for repository in [Some("docker.io/nginx"), None] {
        assert_eq!(ask(&clients, None, repository).await, nobody(Access::Deny));
    }
}

#[tokio::test]
async fn only_right_passwords_are_remembered() {
    let clients = mixed();
    let password = |password: &str| Password {
        user: "alice".to_owned(),
        password: password.to_owned(),
    };
    for (given, remembered) in [("a", true), ("x", false)] {
        assert_eq!(clients.recall(&password(given)), None);
        let _client = clients.authenticate_password(password(given)).await;
        assert_eq!(clients.recall(&password(given)).is_some(), remembered);
    }
}

#[tokio::test]
async fn authenticates_off_the_callers_thread_and_gives_up_when_busy() {
    let clients = Clients::waiting_at_most(Duration::from_millis(20), mixed_rules());
    let tokens = Tokens::with_random_key();
    let right = header("alice", "a");
    let all = u32::try_from(CHECKS_AT_ONCE_MAX).unwrap();
    let taken = clients.inner.checks.acquire_many(all).await.unwrap();
    let busy = clients.authenticate(Some(&tokens), Some(&right), NOW).await;
    assert!(busy.is_err());
    // Requests that need no check do not wait.
    let anonymous = bearer(&clients, &tokens, None).await;
    for authorization in [None, Some(anonymous.as_str())] {
        let asked = ask_with(&clients, &tokens, authorization, Some("docker.io/nginx")).await;
        assert_eq!(asked, nobody(Access::Allow));
    }
    drop(taken);
    let token = bearer(&clients, &tokens, Some(&right)).await;
    let _taken = clients.inner.checks.acquire_many(all).await.unwrap();
    for authorization in [&right, &token] {
        let asked = ask_with(
            &clients,
            &tokens,
            Some(authorization),
            Some("ghcr.io/org/app"),
        )
        .await;
        assert_eq!(asked, user("alice", Access::Allow));
    }
}

#[test]
fn secrets_do_not_print() {
    let text = format!("{:?}", mixed());
    assert!(!text.contains("$2b$") && !text.contains("alice"), "{text}");
    let password =
        Credentials::from_header(&header("alice", "wonderland")).map(|given| format!("{given:?}"));
    assert!(!password.unwrap().contains("wonderland"));
}
