//! The clients of a refusal: in the record, as a filter, and in the command line.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::*;

/// `alice` and `bob` may pull `apps/**`; `secret/**` is for nobody.
async fn guarded() -> Scene {
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let name = registry.name();
    let configuration = Configuration::new(&[&registry])
        .policy(key_policy("apps", &format!("{name}/**"), &[&key]))
        .set(
            "clients",
            json!([{"basic": {"htpasswd": "users.htpasswd"}, "images": [format!("{name}/apps/**")]}]),
        );
    let proxy = Proxy::new(configuration);
    let hash = bcrypt::hash("wonderland", 4).unwrap();
    proxy.write_file("users.htpasswd", &format!("alice:{hash}\nbob:{hash}\n"));
    proxy.run().await;
    Scene {
        registry,
        key,
        proxy,
    }
}

async fn get_as(scene: &Scene, user: &str, path: &str) -> Answer {
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:wonderland")));
    let headers = [("Authorization", basic.as_str()), ("User-Agent", "crane/1")];
    scene.proxy.request("GET", path, &headers).await
}

/// The record of the refusal in `answer`, once it counts `pulls`. Counts are written once a second.
async fn record_with_pulls(scene: &Scene, answer: &Answer, pulls: u64) -> Value {
    let id = answer.json()["errors"][0]["detail"]["decision_id"].clone();
    let path = format!("/api/v1/decisions/{}", id.as_str().unwrap());
    for _ in 0..100 {
        let record = scene.proxy.admin(&path).await.json();
        if record["count"] == json!(pulls - 1) {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{}", scene.proxy.admin(&path).await);
}

fn identities(record: &Value) -> Vec<(&str, u64)> {
    let clients = record["clients"].as_array().unwrap().iter();
    let mut identities: Vec<_> = clients
        .map(|client| {
            let name = client["identity"].as_str().unwrap();
            (name, client["count"].as_u64().unwrap())
        })
        .collect();
    identities.sort_unstable();
    identities
}

#[tokio::test]
async fn refusal_of_an_image_names_every_client() {
    let scene = guarded().await;
    let image = scene.unsigned("apps/web", "v1");
    let path = scene.manifest_path("apps/web", "v1");
    let answer = get_as(&scene, "alice", &path).await;
    assert_denied_by(&answer, "unsigned", "apps", &image.digest);
    for user in ["bob", "bob", "alice", "bob"] {
        get_as(&scene, user, &path).await;
    }
    let record = record_with_pulls(&scene, &answer, 5).await;
    assert_eq!(record["client"]["identity"], "alice");
    assert_eq!(identities(&record), [("alice", 2), ("bob", 3)]);
    for (filter, found) in [("bob", 1), ("alice", 1), ("127.0.0.1", 1), ("carol", 0)] {
        let records = scene.proxy.decisions(&format!("client={filter}")).await;
        assert_eq!(records.len(), found, "{filter}");
    }
}

#[tokio::test]
async fn remembered_refusal_without_a_decision_counts_every_pull() {
    let scene = guarded().await;
    let path = scene.manifest_path("secret/web", "v1");
    let answer = get_as(&scene, "alice", &path).await;
    assert_denied(&answer, "client_denied");
    // The message names the user, so another user has a record of its own.
    let other = get_as(&scene, "bob", &path).await;
    for user in ["alice", "bob", "alice"] {
        assert_denied(&get_as(&scene, user, &path).await, "client_denied");
    }
    for (answer, user, pulls) in [(answer, "alice", 3), (other, "bob", 2)] {
        let record = record_with_pulls(&scene, &answer, pulls).await;
        assert_eq!(identities(&record), [(user, pulls)], "{record}");
    }
}

#[tokio::test]
async fn clients_of_an_admission_are_not_listed() {
    let scene = guarded().await;
    let image = scene.signed("apps/web", "v1");
    let answer = get_as(&scene, "bob", &scene.manifest_path("apps/web", "v1")).await;
    assert_serves(&answer, &image);
    let records = scene.proxy.decisions("client=bob").await;
    assert_eq!(records.len(), 1, "the client that asked first is found");
    assert_eq!(records[0]["clients"], Value::Null);
}

#[tokio::test]
async fn api_reads_times_digests_and_kinds_as_the_command_line_does() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.manifest("apps/web", "v1").await;
    let short = &image.digest["sha256:".len()..][..12];
    for (query, found) in [
        ("since=1h", 1),
        ("until=1h", 0),
        (&format!("digest={short}"), 1),
        (&format!("digest=sha256:{short}"), 1),
        ("digest=sha256:000000000000", 0),
        ("kind=unsigned", 1),
    ] {
        let records = scene.proxy.decisions(query).await;
        assert_eq!(records.len(), found, "{query}");
    }
    for (query, told) in [
        ("kind=unsinged", "did you mean `unsigned`"),
        ("since=yesterday", "how long ago"),
        ("digest=v1", "lower-case hex"),
    ] {
        let path = format!("/api/v1/decisions?{query}");
        let answer = scene.proxy.admin(&path).await;
        assert_eq!(answer.status, 400, "{answer}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test]
async fn log_shows_one_decision_by_its_id() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let answer = scene.manifest("apps/web", "v1").await;
    let error = assert_denied_by(&answer, "unsigned", "apps", &image.digest);
    let id = error["detail"]["decision_id"].as_str().unwrap();
    let admin = format!("http://127.0.0.1:{}", scene.proxy.admin_port());
    let directory = scene.proxy.data_dir().to_str().unwrap().to_owned();
    for place in [["--admin", &admin], ["--data-dir", &directory]] {
        let (code, text) = log(&[id, place[0], place[1]]).await;
        assert_eq!(code, Some(0), "{text}");
        for words in [
            id,
            "deny (unsigned)",
            &image.digest,
            "referrers API: none",
            "127.0.0.1",
        ] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        let (code, text) = log(&[id, place[0], place[1], "--output", "json"]).await;
        assert_eq!(code, Some(0), "{text}");
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["id"], id);
        let (code, text) = log(&["01J00000000000000000000000", place[0], place[1]]).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("the log has no decision 01J0"), "{text}");
    }
}

#[tokio::test]
async fn log_filters_take_the_values_of_its_table() {
    let scene = Scene::start().await;
    scene.signed("apps/web", "v1");
    scene.manifest("apps/web", "v1").await;
    let admin = format!("http://127.0.0.1:{}", scene.proxy.admin_port());
    let (_, table) = log(&["--admin", &admin]).await;
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    for (filter, value) in [
        ("--digest", row[4]),
        ("--signer", row[5]),
        ("--client", row[6]),
    ] {
        let (code, lines) = log(&["--admin", &admin, "--output", "json", filter, value]).await;
        assert_eq!(
            (code, lines.lines().count()),
            (Some(0), 1),
            "{filter} {value}\n{table}"
        );
    }
}

/// Exit code and output of `countersign log`.
async fn log(arguments: &[&str]) -> (Option<i32>, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("log")
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("ADMIN_TOKEN")
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}
