//! Who may pull what, asked before any cache.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::*;

/// `alice` may pull `apps/**`, anybody may pull `apps/open/**`.
pub(crate) async fn guarded() -> Scene {
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let name = registry.name();
    let configuration = Configuration::new(&[&registry])
        .policy(key_policy("apps", &format!("{name}/**"), &[&key]))
        .set(
            "clients",
            json!([
                {"anonymous": true, "images": [format!("{name}/apps/open/**")]},
                {"basic": {"htpasswd": "users.htpasswd"}, "images": [format!("{name}/apps/**")]},
            ]),
        );
    let proxy = Proxy::new(configuration);
    let hash = bcrypt::hash("wonderland", 4).unwrap();
    proxy.write_file("users.htpasswd", &format!("alice:{hash}\n"));
    proxy.run().await;
    Scene {
        registry,
        key,
        proxy,
    }
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub(crate) async fn get_as(scene: &Scene, path: &str, authorization: &str) -> Answer {
    let headers = [("Authorization", authorization)];
    scene.proxy.request("GET", path, &headers).await
}

#[tokio::test]
async fn without_credentials_are_asked_for_them() {
    let scene = guarded().await;
    let image = scene.signed("apps/web", "v1");
    let blob = scene.blob_path("apps/web", &image.layer(0));
    let tags = format!("/v2/{}/tags/list", scene.repository("apps/web"));
    for path in [scene.manifest_path("apps/web", "v1"), blob, tags] {
        for authorization in [
            "",
            &basic("alice", "looking-glass"),
            &basic("bob", "wonderland"),
            "Basic ?",
            "Bearer x",
            // Empty credentials are none.
            "Basic Og==",
        ] {
            let answer = match authorization {
                "" => scene.proxy.get(&path).await,
                authorization => get_as(&scene, &path, authorization).await,
            };
            assert_error(&answer, 401, "UNAUTHORIZED");
            let challenge = answer.header("www-authenticate");
            assert!(
                challenge.starts_with("Bearer realm=\"http://127.0.0.1:"),
                "{challenge}"
            );
        }
    }
    assert_eq!(scene.registry.requests().len(), 0);
}

#[tokio::test]
async fn with_credentials_are_served() {
    let scene = guarded().await;
    let image = scene.signed("apps/web", "v1");
    let alice = basic("alice", "wonderland");
    let path = scene.manifest_path("apps/web", "v1");
    assert_serves(&get_as(&scene, &path, &alice).await, &image);
    assert_eq!(get_as(&scene, "/v2/", &alice).await.status, 200);
    let blob = scene.blob_path("apps/web", &image.layer(0));
    assert_serves_blob(&get_as(&scene, &blob, &alice).await, &image.layer(0));
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    assert_eq!(records[0]["client"]["identity"], "alice", "{records:?}");
    let forwarded = scene.registry.requests();
    assert!(
        forwarded
            .iter()
            .all(|request| !request.headers.contains_key("authorization"))
    );
}

#[tokio::test]
async fn are_asked_before_any_cache() {
    let scene = guarded().await;
    let image = scene.signed("apps/web", "v1");
    let alice = basic("alice", "wonderland");
    let path = scene.manifest_path("apps/web", &image.digest);
    let blob = scene.blob_path("apps/web", &image.layer(0));
    assert_serves(&get_as(&scene, &path, &alice).await, &image);
    assert_serves_blob(&get_as(&scene, &blob, &alice).await, &image.layer(0));
    for path in [&path, &blob] {
        let answer = scene.proxy.get(path).await;
        assert_eq!(answer.status, 401, "{answer}");
        assert_eq!(scene.proxy.head(path).await.status, 401);
    }
}

#[tokio::test]
async fn may_pull_what_their_rule_names_and_nothing_else() {
    let scene = guarded().await;
    scene.signed("other/web", "v1");
    let path = scene.manifest_path("other/web", "v1");
    let answer = get_as(&scene, &path, &basic("alice", "wonderland")).await;
    assert_denied(&answer, "client_denied");
    let answer = scene.proxy.get(&path).await;
    assert!(matches!(answer.status, 401 | 403), "{answer}");
    assert_eq!(scene.registry.requests().len(), 0);
}

#[tokio::test]
async fn may_be_anybody_where_the_rule_says_so() {
    let scene = guarded().await;
    let image = scene.signed("apps/open/web", "v1");
    let path = scene.manifest_path("apps/open/web", "v1");
    assert_serves(&scene.proxy.get(&path).await, &image);
    let unsigned = scene.unsigned("apps/open/web", "v2");
    let answer = scene.manifest("apps/open/web", "v2").await;
    assert_denied_by(&answer, "unsigned", "apps", &unsigned.digest);
    let empty = get_as(&scene, &path, "Basic Og==").await;
    assert_serves(&empty, &image);
    let wrong = get_as(&scene, &path, &basic("alice", "looking-glass")).await;
    assert_error(&wrong, 401, "UNAUTHORIZED");
}

#[tokio::test]
async fn name_of_a_user_is_in_records_and_access_lines_whichever_rule_decides() {
    let scene = guarded().await;
    let alice = basic("alice", "wonderland");
    for (name, status) in [
        ("apps/web", 200),
        ("apps/open/web", 200),
        ("other/web", 403),
    ] {
        scene.signed(name, "v1");
        let path = scene.manifest_path(name, "v1");
        assert_eq!(get_as(&scene, &path, &alice).await.status, status, "{name}");
        let repository = scene.repository(name);
        let records = scene
            .proxy
            .decisions(&format!("repository={repository}"))
            .await;
        assert_eq!(records[0]["client"]["identity"], "alice", "{records:?}");
        let line = access_line(&scene, |line| line["repository"] == repository.as_str()).await;
        assert_eq!(line["client"]["identity"], "alice", "{line}");
    }
}

#[tokio::test]
async fn refusal_of_one_user_is_not_recorded_as_that_of_another() {
    let scene = guarded().await;
    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    let users = format!("alice:{}\nbob:{}\n", hash("wonderland"), hash("builder"));
    scene.proxy.write_file("users.htpasswd", &users);
    scene.proxy.restart().await;
    let path = scene.manifest_path("other/web", "v1");
    for (user, password) in [
        ("alice", "wonderland"),
        ("bob", "builder"),
        ("alice", "wonderland"),
    ] {
        let answer = get_as(&scene, &path, &basic(user, password)).await;
        let error = assert_denied(&answer, "client_denied");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{user} may not pull from ")),
            "{message}"
        );
        let id = error["detail"]["decision_id"].as_str().unwrap();
        let record = scene
            .proxy
            .admin(&format!("/api/v1/decisions/{id}"))
            .await
            .json();
        assert_eq!(record["client"]["identity"], user, "{record}");
    }
}

/// The line of the access log that `is_it` looks for.
pub(crate) async fn access_line(scene: &Scene, is_it: impl Fn(&Value) -> bool) -> Value {
    for _attempt in 0..200 {
        let log = scene.proxy.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut lines = lines.filter(|line| line.get("duration_ms").is_some());
        if let Some(found) = lines.find(&is_it) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no such line:\n{}", scene.proxy.log());
}

#[tokio::test]
async fn wrong_passwords_are_429_after_five_and_known_users_are_served() {
    let scene = guarded().await;
    scene.signed("apps/web", "v1");
    let path = scene.manifest_path("apps/web", "v1");
    let alice = basic("alice", "wonderland");
    assert_eq!(get_as(&scene, &path, &alice).await.status, 200);
    let guess = async |path: &str, user: &str, guess: usize| {
        get_as(&scene, path, &basic(user, &format!("guess {guess}"))).await
    };
    for number in 0..5 {
        let answer = guess(&path, "alice", number).await;
        assert_error(&answer, 401, "UNAUTHORIZED");
    }
    for path in [path.as_str(), "/v2/token"] {
        let answer = guess(path, "alice", 5).await;
        assert_error(&answer, 429, "TOOMANYREQUESTS");
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=12).contains(&seconds), "{seconds}");
    }
    assert_eq!(get_as(&scene, &path, &alice).await.status, 200);
    let answer = guess(&path, "bob", 0).await;
    assert_error(&answer, 401, "UNAUTHORIZED");
}
