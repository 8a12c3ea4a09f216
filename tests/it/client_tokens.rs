//! Tokens of the proxy's own, asked for as Docker, containers/image, containerd and the kubelet ask.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::clients::{access_line, basic, get_as, guarded};
use crate::support::*;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// A parameter of a challenge.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// The path of the token endpoint, from the challenge of an answer, with these parameters.
fn token_path(answer: &Answer, query: &str) -> String {
    let challenge = answer.header("www-authenticate");
    let realm = parameter(challenge, "realm").unwrap();
    let path = realm.splitn(4, '/').nth(3).unwrap();
    format!("/{path}?{query}")
}

fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer}");
    let token = answer.json();
    assert_eq!(token["token"], token["access_token"], "{answer}");
    assert_eq!(token["expires_in"], 1800, "{answer}");
    assert!(token.get("refresh_token").is_none(), "{answer}");
    assert_eq!(answer.header("cache-control"), "no-store");
    format!("Bearer {}", token["token"].as_str().unwrap())
}

/// A token for `authorization`, asked for with `GET`.
async fn token(scene: &Scene, authorization: &str) -> String {
    let ping = scene.proxy.get("/v2/").await;
    token_of(
        &get_as(
            scene,
            &token_path(&ping, "service=countersign"),
            authorization,
        )
        .await,
    )
}

async fn post(scene: &Scene, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
    let headers = [&[FORM], headers].concat();
    let body = Bytes::from(form.to_owned());
    send_with(scene.proxy.port(), "POST", path, &headers, body).await
}

#[tokio::test]
async fn docker_login_gets_a_token_for_a_right_password_and_401_for_a_wrong_one() {
    let scene = guarded().await;
    let ping = scene.proxy.get("/v2/").await;
    assert_error(&ping, 401, "UNAUTHORIZED");
    let challenge = ping.header("www-authenticate");
    let expected = format!(
        "Bearer realm=\"http://127.0.0.1:{}/v2/token\",service=\"countersign\"",
        scene.proxy.port()
    );
    assert_eq!(challenge, expected);
    let query = "account=alice&client_id=docker&offline_token=true&service=countersign";
    let path = token_path(&ping, query);
    let token = token_of(&get_as(&scene, &path, &basic("alice", "wonderland")).await);
    assert_eq!(get_as(&scene, "/v2/", &token).await.status, 200);
    let line = access_line(&scene, |line| {
        line["status"] == 200 && line["client"]["identity"] == "alice"
    })
    .await;
    assert_eq!(line["repository"], Value::Null);
    for wrong in [
        basic("alice", "looking-glass"),
        basic("bob", "wonderland"),
        "Basic ?".to_owned(),
        "Bearer x".to_owned(),
        // A token buys no other one.
        token,
    ] {
        let answer = get_as(&scene, &path, &wrong).await;
        assert_error(&answer, 401, "UNAUTHORIZED");
        assert!(
            answer.header("www-authenticate").starts_with("Basic "),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn containerd_gets_a_token_by_post() {
    let scene = guarded().await;
    let image = scene.signed("apps/web", "v1");
    let path = scene.manifest_path("apps/web", "v1");
    let refused = scene.proxy.head(&path).await;
    assert_eq!(refused.status, 401);
    let scope = format!("repository:{}:pull", scene.repository("apps/web"));
    let challenge = refused.header("www-authenticate");
    assert_eq!(parameter(challenge, "scope"), Some(scope.clone()));
    let form = |password: &str| {
        format!(
            "client_id=containerd-client&grant_type=password&password={password}&scope={scope}&service=countersign&username=alice"
        )
    };
    let token = token_of(&post(&scene, "/v2/token", &[], &form("wonderland")).await);
    assert_serves(&get_as(&scene, &path, &token).await, &image);
    assert_error(
        &post(&scene, "/v2/token", &[], &form("x")).await,
        401,
        "UNAUTHORIZED",
    );
    // Without a user in the form, the header counts.
    let alice = basic("alice", "wonderland");
    let answer = post(
        &scene,
        "/v2/token",
        &[("Authorization", &alice)],
        "grant_type=password",
    )
    .await;
    assert_serves(&get_as(&scene, &path, &token_of(&answer)).await, &image);
}

#[tokio::test]
async fn form_that_cannot_be_used_is_400() {
    let scene = guarded().await;
    for (form, error) in [
        (
            "grant_type=refresh_token&refresh_token=x".to_owned(),
            "unsupported_grant_type",
        ),
        (String::new(), "unsupported_grant_type"),
        (
            "grant_type=password&username=a&username=b&password=c".to_owned(),
            "invalid_request",
        ),
        (
            format!("grant_type=password&scope={}", "x".repeat(9_000)),
            "invalid_request",
        ),
    ] {
        let answer = post(&scene, "/v2/token", &[], &form).await;
        assert_eq!(answer.status, 400, "{answer}");
        assert_eq!(answer.json()["error"], error, "{answer}");
    }
    let answer = scene.proxy.request("PUT", "/v2/token", &[]).await;
    assert_error(&answer, 405, "UNSUPPORTED");
}

#[tokio::test]
async fn client_without_credentials_pulls_what_is_public_with_an_anonymous_token() {
    let scene = guarded().await;
    let public = scene.signed("apps/open/web", "v1");
    scene.signed("apps/web", "v1");
    let public_path = scene.manifest_path("apps/open/web", "v1");
    let private_path = scene.manifest_path("apps/web", "v1");
    let token_answer = scene.proxy.get("/v2/token?service=countersign").await;
    let by_post = post(
        &scene,
        "/v2/token",
        &[],
        "grant_type=password&username=&password=",
    )
    .await;
    let empty = get_as(&scene, "/v2/token", "Basic Og==").await;
    for answer in [token_answer, by_post, empty] {
        let token = token_of(&answer);
        assert_eq!(get_as(&scene, "/v2/", &token).await.status, 200);
        assert_serves(&get_as(&scene, &public_path, &token).await, &public);
        let refused = get_as(&scene, &private_path, &token).await;
        assert_error(&refused, 401, "UNAUTHORIZED");
        let challenge = refused.header("www-authenticate");
        assert_eq!(
            parameter(challenge, "error").as_deref(),
            Some("insufficient_scope")
        );
    }
    assert_eq!(scene.registry.count("apps/web/manifests"), 0);
}

#[tokio::test]
async fn token_that_is_not_ours_is_401_even_where_everybody_may_pull() {
    let scene = guarded().await;
    scene.signed("apps/open/web", "v1");
    let path = scene.manifest_path("apps/open/web", "v1");
    let token = token(&scene, &basic("alice", "wonderland")).await;
    for wrong in [
        "Bearer",
        "Bearer x",
        &token[..token.len() - 2],
        &format!("{token}AA"),
    ] {
        let answer = get_as(&scene, &path, wrong).await;
        assert_error(&answer, 401, "UNAUTHORIZED");
    }
    let answer = get_as(&scene, &path, "Bearer x").await;
    let challenge = answer.header("www-authenticate");
    assert_eq!(
        parameter(challenge, "error").as_deref(),
        Some("invalid_token")
    );
    // Two headers could be read in two ways.
    let twice = [
        ("Authorization", token.as_str()),
        ("Authorization", token.as_str()),
    ];
    let answer = scene.proxy.request("GET", &path, &twice).await;
    assert_error(&answer, 401, "UNAUTHORIZED");
}

#[tokio::test]
async fn token_ends_with_the_reload_that_removes_its_user() {
    let scene = guarded().await;
    let image = scene.signed("apps/web", "v1");
    let path = scene.manifest_path("apps/web", "v1");
    let token = token(&scene, &basic("alice", "wonderland")).await;
    assert_serves(&get_as(&scene, &path, &token).await, &image);
    let hash = bcrypt::hash("builder", 4).unwrap();
    scene
        .proxy
        .write_file("users.htpasswd", &format!("bob:{hash}\n"));
    scene.proxy.signal_hangup();
    let started = Instant::now();
    while get_as(&scene, &path, &token).await.status != 401 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{}",
            scene.proxy.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let basic = get_as(&scene, &path, &basic("alice", "wonderland")).await;
    assert_error(&basic, 401, "UNAUTHORIZED");
}

#[tokio::test]
async fn token_survives_a_restart_only_with_a_key_of_the_configuration() {
    let scene = guarded().await;
    let path = "/v2/";
    let lost = token(&scene, &basic("alice", "wonderland")).await;
    let key = "test key, not a secret: 0123456789";
    scene
        .proxy
        .reconfigure(|configuration| configuration["server"] = json!({"token_key": key}));
    scene.proxy.restart().await;
    assert_error(&get_as(&scene, path, &lost).await, 401, "UNAUTHORIZED");
    let kept = token(&scene, &basic("alice", "wonderland")).await;
    scene.proxy.restart().await;
    assert_eq!(get_as(&scene, path, &kept).await.status, 200);
}

#[tokio::test]
async fn realm_is_the_address_that_the_client_uses() {
    let scene = guarded().await;
    for (headers, realm) in [
        (
            &[("Host", "proxy.example:5080")][..],
            "http://proxy.example:5080/v2/token",
        ),
        (
            &[
                ("Host", "countersign.svc"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "images.example"),
            ],
            "https://images.example/v2/token",
        ),
    ] {
        let answer = scene.proxy.request("GET", "/v2/", headers).await;
        let challenge = answer.header("www-authenticate");
        assert_eq!(parameter(challenge, "realm").as_deref(), Some(realm));
    }
    let server = json!({"public_url": "https://images.example:8443/"});
    scene
        .proxy
        .reconfigure(|configuration| configuration["server"] = server);
    scene.proxy.restart().await;
    let answer = scene.proxy.get("/v2/").await;
    let challenge = answer.header("www-authenticate");
    let realm = parameter(challenge, "realm");
    assert_eq!(
        realm.as_deref(),
        Some("https://images.example:8443/v2/token")
    );
}

#[tokio::test]
async fn base_path_asks_for_what_the_rules_need() {
    let scene = guarded().await;
    let name = scene.registry.name();
    let everybody = json!({"anonymous": true, "images": [format!("{name}/**")]});
    let password =
        json!({"basic": {"htpasswd": "users.htpasswd"}, "images": [format!("{name}/**")]});
    for (clients, status, challenge, token_status) in [
        (json!([everybody]), 200, None, 404),
        (json!([password]), 401, Some("Basic "), 401),
        (json!([password, everybody]), 401, Some("Bearer "), 200),
        (Value::Null, 200, None, 404),
    ] {
        scene.proxy.reconfigure(|configuration| {
            configuration.as_object_mut().unwrap().remove("clients");
            if !clients.is_null() {
                configuration["clients"] = clients.clone();
            }
        });
        scene.proxy.restart().await;
        let ping = scene.proxy.get("/v2/").await;
        assert_eq!(ping.status, status, "{clients}: {ping}");
        let sent = ping
            .headers
            .get("www-authenticate")
            .map(|value| value.to_str().unwrap());
        let begins = challenge.map(|challenge| sent.unwrap().starts_with(challenge));
        assert_eq!(begins, sent.map(|_| true), "{clients}: {sent:?}");
        assert_eq!(
            scene.proxy.get("/v2/token").await.status,
            token_status,
            "{clients}"
        );
        let alice = get_as(&scene, "/v2/", &basic("alice", "wonderland")).await;
        assert_eq!(alice.status, 200, "{clients}");
    }
}
