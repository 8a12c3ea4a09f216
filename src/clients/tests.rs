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

fn ask(clients: &Clients, authorization: Option<&str>, repository: Option<&str>) -> Access {
    let repository = repository.map(name);
    let slow = clients.check_slow(authorization, repository.as_ref());
    if let Some(cached) = clients.check_cached(authorization, repository.as_ref()) {
        assert_eq!(cached, slow);
    }
    slow
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

fn allowed(user: &str) -> Access {
    Access::Allow {
        identity: Some(user.to_owned()),
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let clients = mixed();
    let [alice, bob] = [header("alice", "a"), header("bob", "b")];
    for (authorization, repository, access) in [
        (Some(&alice), "ghcr.io/org/app", allowed("alice")),
        (Some(&alice), "quay.io/x", Access::Deny),
        (Some(&bob), "quay.io/x", allowed("bob")),
        (Some(&bob), "ghcr.io/org/app", Access::Deny),
        (Some(&bob), "docker.io/nginx", allowed("bob")),
        (Some(&alice), "gcr.io/x", Access::Deny),
        (None, "docker.io/nginx", Access::Allow { identity: None }),
        (None, "ghcr.io/org/app", Access::Unauthenticated),
        (None, "gcr.io/x", Access::Unauthenticated),
    ] {
        assert_eq!(
            ask(
                &clients,
                authorization.map(String::as_str),
                Some(repository)
            ),
            access,
            "{authorization:?} {repository}"
        );
    }
}

#[test]
fn a_password_counts_only_for_the_file_it_is_in() {
    let clients = mixed();
    let [one, two] = [header("both", "1"), header("both", "2")];
    assert_eq!(
        ask(&clients, Some(&one), Some("ghcr.io/org/app")),
        allowed("both")
    );
    assert_eq!(ask(&clients, Some(&one), Some("quay.io/x")), Access::Deny);
    assert_eq!(
        ask(&clients, Some(&two), Some("quay.io/x")),
        allowed("both")
    );
    assert_eq!(
        ask(&clients, Some(&two), Some("ghcr.io/org/app")),
        Access::Deny
    );
}

#[test]
fn wrong_credentials_are_refused_even_where_anybody_may_pull() {
    let clients = mixed();
    for wrong in [
        header("alice", "A"),
        header("alice", ""),
        header("nobody", "a"),
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        format!("Basic {}", STANDARD.encode("alice")),
        format!("Bearer {}", STANDARD.encode("alice:a")),
        String::new(),
    ] {
        for repository in [Some("docker.io/nginx"), Some("ghcr.io/org/app"), None] {
            assert_eq!(
                ask(&clients, Some(&wrong), repository),
                Access::Unauthenticated,
                "{wrong} {repository:?}"
            );
        }
    }
}

#[test]
fn the_base_path_needs_credentials_unless_somebody_needs_none() {
    let password = || rule(Admits::Basic(users(&[("alice", "a")])), &["ghcr.io/**"]);
    let closed = Clients::new(vec![password()]);
    assert_eq!(ask(&closed, None, None), Access::Unauthenticated);
    assert_eq!(
        ask(&closed, Some(&header("alice", "a")), None),
        allowed("alice")
    );
    let open = Clients::new(vec![password(), rule(Admits::Anonymous, &["docker.io/**"])]);
    assert_eq!(ask(&open, None, None), Access::Allow { identity: None });
}

#[test]
fn without_password_files_credentials_are_somebody_elses() {
    let clients = Clients::new(vec![rule(Admits::Anonymous, &["docker.io/**"])]);
    let other = header("robot", "token");
    assert_eq!(
        ask(&clients, Some(&other), Some("docker.io/nginx")),
        Access::Allow { identity: None }
    );
    assert_eq!(ask(&clients, None, Some("ghcr.io/x")), Access::Deny);
    assert_eq!(
        clients.check_cached(Some(&other), Some(&name("ghcr.io/x"))),
        Some(Access::Deny)
    );
}

#[test]
fn no_rules_let_nobody_in() {
    let clients = Clients::new(Vec::new());
    assert_eq!(ask(&clients, None, Some("docker.io/nginx")), Access::Deny);
    assert_eq!(ask(&clients, None, None), Access::Deny);
}

#[test]
fn only_right_passwords_are_remembered() {
    let clients = mixed();
    let repository = name("ghcr.io/org/app");
    let [right, wrong] = [header("alice", "a"), header("alice", "x")];
    for authorization in [&right, &wrong] {
        assert_eq!(
            clients.check_cached(Some(authorization), Some(&repository)),
            None
        );
        let _access = clients.check_slow(Some(authorization), Some(&repository));
    }
    assert_eq!(
        clients.check_cached(Some(&right), Some(&repository)),
        Some(allowed("alice"))
    );
    assert_eq!(clients.check_cached(Some(&wrong), Some(&repository)), None);
}

#[tokio::test]
async fn authorizes_off_the_callers_thread_and_gives_up_when_busy() {
    let clients = Clients::waiting_at_most(Duration::from_millis(20), mixed_rules());
    let repository = name("ghcr.io/org/app");
    let right = header("alice", "a");
    let taken = clients
        .inner
        .checks
        .acquire_many(u32::try_from(CHECKS_AT_ONCE_MAX).unwrap())
        .await
        .unwrap();
    assert!(
        clients
            .authorize(Some(&right), Some(&repository))
            .await
            .is_err()
    );
    // What needs no check does not wait.
    assert_eq!(
        clients
            .authorize(None, Some(&name("docker.io/nginx")))
            .await
            .unwrap(),
        Access::Allow { identity: None }
    );
    drop(taken);
    assert_eq!(
        clients
            .authorize(Some(&right), Some(&repository))
            .await
            .unwrap(),
        allowed("alice")
    );
    assert_eq!(
        clients.check_cached(Some(&right), Some(&repository)),
        Some(allowed("alice"))
    );
}

#[test]
fn secrets_do_not_print() {
    let text = format!("{:?}", mixed());
    assert!(!text.contains("$2b$") && !text.contains("alice"), "{text}");
}
