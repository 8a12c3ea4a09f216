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

/// Wrong passwords of a user in a minute.
const FAILURES_MAX: u32 = 5;

fn clients(rules: Vec<Rule>) -> Clients {
    Clients::new(rules, FAILURES_MAX)
}

fn mixed() -> Clients {
    clients(mixed_rules())
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
        let clients = clients(rules);
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
        clients(vec![private, everybody.clone()])
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
        clients(vec![rule(Admits::Basic(file.clone()), &[image]), everybody])
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
    let clients = clients(vec![rule(Admits::Anonymous, &["docker.io/**"])]);
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
    let clients = clients(Vec::new());
    for repository in [Some("docker.io/nginx"), None] {
        assert_eq!(ask(&clients, None, repository).await, nobody(Access::Deny));
    }
}

/// Rules with a thread of their own for passwords, and its only place.
fn with_one_place(check_wait_max: Duration) -> (Clients, Hashing) {
    let hashing = Hashing::with_threads(1);
    let rules = mixed_rules();
    let clients = Clients::hashing_with(hashing.clone(), check_wait_max, rules, FAILURES_MAX);
    (clients, hashing)
}

fn address(last: u8) -> Party {
    Party::network(std::net::Ipv4Addr::new(192, 0, 2, last).into())
}

/// The outcome for a user and a password from an address.
async fn give(
    clients: &Clients,
    from: u8,
    user: &str,
    password: &str,
) -> Result<Result<Client, Rejection>, Unchecked> {
    let password = Password {
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let giving = clients.authenticate_password(password);
    address(from).scope(giving).await
}

fn is_held_up(outcome: &Result<Result<Client, Rejection>, Unchecked>) -> bool {
    matches!(outcome, Err(Unchecked::TooManyFailures { .. }))
}

#[tokio::test]
async fn password_that_was_checked_before_needs_no_place() {
    let (clients, hashing) = with_one_place(Duration::from_millis(20));
    let right = give(&clients, 1, "alice", "a").await;
    let wrong = give(&clients, 1, "alice", "x").await;
    assert_eq!(wrong, Ok(Err(Rejection::Password)));
    let _taken = hashing.places().try_take(1).unwrap();
    assert_eq!(give(&clients, 1, "alice", "a").await, right);
    assert_eq!(give(&clients, 2, "alice", "x").await, wrong);
    let unseen = give(&clients, 1, "alice", "y").await;
    assert_eq!(unseen, Err(Unchecked::Busy));
}

#[tokio::test]
async fn guesses_hold_up_nobody_else() {
    let clients = mixed();
    let mut outcomes = Vec::new();
    for guess in 0..20 {
        outcomes.push(give(&clients, 1, "bob", &format!("guess {guess}")).await);
    }
    assert_eq!(outcomes.iter().filter(|it| is_held_up(it)).count(), 15);
    assert!(is_held_up(&give(&clients, 1, "bob", "b").await));
    for (from, user, password) in [
        (2, "bob", "b"),
        // The password is known now.
        (1, "bob", "b"),
        (1, "alice", "a"),
    ] {
        let outcome = give(&clients, from, user, password).await;
        assert!(matches!(outcome, Ok(Ok(_))), "{from} {user}: {outcome:?}");
    }
}

#[tokio::test]
async fn guesses_at_many_names_hold_up_their_address() {
    let clients = mixed();
    assert!(give(&clients, 1, "alice", "a").await.unwrap().is_ok());
    for name in 0..20 {
        let guess = give(&clients, 1, &format!("user{name}"), "x").await;
        assert_eq!(guess, Ok(Err(Rejection::Password)));
    }
    assert!(is_held_up(&give(&clients, 1, "bob", "b").await));
    // A password that is known already needs no check.
    assert!(give(&clients, 1, "alice", "a").await.unwrap().is_ok());
    assert!(give(&clients, 2, "bob", "b").await.unwrap().is_ok());
}

#[tokio::test]
async fn guesses_that_begin_at_the_same_time_count_from_the_start() {
    let (clients, hashing) = with_one_place(Duration::from_millis(50));
    let _taken = hashing.places().try_take(1).unwrap();
    let guesses: Vec<_> = (0..30).map(|guess| format!("guess {guess}")).collect();
    let outcomes = futures::future::join_all(
        guesses
            .iter()
            .map(|guess| give(&clients, 1, "bob", guess).boxed()),
    )
    .await;
    assert_eq!(outcomes.iter().filter(|it| is_held_up(it)).count(), 25);
}

#[tokio::test]
async fn right_password_that_many_give_at_once_is_checked_once() {
    let clients = mixed();
    let given = (0..100).map(|_| give(&clients, 1, "alice", "a").boxed());
    let outcomes = futures::future::join_all(given).await;
    assert!(outcomes.iter().all(|it| matches!(it, Ok(Ok(_)))));
}

#[tokio::test]
async fn authenticates_off_the_callers_thread_and_gives_up_when_busy() {
    let (clients, hashing) = with_one_place(Duration::from_millis(20));
    let tokens = Tokens::with_random_key();
    let right = header("alice", "a");
    let taken = hashing.places().try_take(1).unwrap();
    for _ in 0..2 * FAILURES_MAX {
        // A check that did not take place is no failure.
        let busy = clients.authenticate(Some(&tokens), Some(&right), NOW).await;
        assert_eq!(busy, Err(Unchecked::Busy));
    }
    // Requests that need no check do not wait.
    let anonymous = bearer(&clients, &tokens, None).await;
    for authorization in [None, Some(anonymous.as_str())] {
        let asked = ask_with(&clients, &tokens, authorization, Some("docker.io/nginx")).await;
        assert_eq!(asked, nobody(Access::Allow));
    }
    drop(taken);
    let token = bearer(&clients, &tokens, Some(&right)).await;
    let _taken = hashing.places().try_take(1).unwrap();
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
