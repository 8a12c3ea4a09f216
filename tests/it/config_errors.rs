//! A configuration that is not right does not start, and says everything that is wrong with it at once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

/// What `serve` says to this configuration, which it must refuse.
async fn refusal(configuration: Value) -> String {
    let proxy = Proxy::new(Configuration(configuration));
    proxy.spawn();
    let status = tokio::time::timeout(Duration::from_secs(20), proxy.wait()).await;
    let status = status.expect("it ends by itself");
    let log = proxy.log();
    assert_eq!(status.code(), Some(64), "{log}");
    log
}

fn policy() -> Value {
    key_policy("apps", "ghcr.io/org/**", &[&SigningKey::generate()])
}

fn with_policy(change: impl FnOnce(&mut Value)) -> Value {
    let mut policy = policy();
    change(&mut policy);
    json!({"upstreams": {"ghcr.io": {}}, "policies": [policy]})
}

#[tokio::test]
async fn every_problem_is_reported_with_file_line_and_key() {
    let mut configuration = with_policy(|policy| policy["authoritys"] = json!([]));
    configuration["surprise"] = json!(true);
    configuration["default"] = json!("allow");
    configuration["freshness"] = json!({"tag_ttl": "soon"});
    let log = refusal(configuration).await;
    let numbered = regex::Regex::new(r"config\.yaml:\d+").unwrap();
    for key in ["authoritys", "surprise", "default", "tag_ttl"] {
        let line = log.lines().find(|line| line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not reported:\n{log}"));
        assert!(
            numbered.is_match(line) || numbered.is_match(&log),
            "no file and line:\n{log}"
        );
    }
}

#[tokio::test]
async fn what_would_be_open_does_not_load() {
    let no_policy_matter = with_policy(|policy| {
        policy.as_object_mut().unwrap().remove("authorities");
    });
    let empty = with_policy(|policy| policy["authorities"] = json!([]));
    let no_issuer = with_policy(|policy| {
        policy["authorities"] = json!([{"name": "a", "certificate_identity": "a@example.com"}]);
    });
    let no_identity = with_policy(|policy| {
        policy["authorities"] =
            json!([{"name": "a", "certificate_oidc_issuer": "https://example.com"}]);
    });
    let no_time = with_policy(|policy| {
        policy["authorities"] = json!([{"name": "a", "certificate_identity": "a@example.com",
            "certificate_oidc_issuer": "https://example.com", "transparency_log": "not_required"}]);
    });
    let audits_all = with_policy(|policy| {
        policy["images"] = json!(["**"]);
        policy["mode"] = json!("audit");
    });
    for (name, configuration) in [
        ("a policy that requires nothing", no_policy_matter),
        ("no authority", empty),
        ("an identity without issuer", no_issuer),
        ("an issuer without identity", no_identity),
        ("an identity without time", no_time),
        ("an audit of everything under default deny", audits_all),
    ] {
        let log = refusal(configuration).await;
        assert!(
            log.contains("polic") || log.contains("authorit"),
            "{name}:\n{log}"
        );
    }
}

#[tokio::test]
async fn keys_and_files_that_cannot_be_used() {
    let bad_key = with_policy(|policy| {
        policy["authorities"][0]["key"] =
            json!("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    });
    let no_key = with_policy(|policy| policy["authorities"][0]["key"] = json!("nowhere.pub"));
    let mut no_root =
        with_policy(|policy| policy["authorities"][0]["trusted_root"] = json!("mine"));
    no_root["trusted_roots"] = json!({"mine": {"file": "nowhere.json"}});
    let unknown_root = with_policy(|policy| {
        policy["authorities"][0]["trusted_root"] = json!("nobody-s");
    });
    for configuration in [bad_key, no_key, no_root, unknown_root] {
        refusal(configuration).await;
    }
}

#[tokio::test]
async fn a_listener_beyond_loopback_needs_clients_in_front_of_a_private_upstream() {
    // The listener is fixed by the tests: the same rule by command line and file is the configuration's own test.
    let open = json!({"upstreams": {"ghcr.io": {"credentials": {"username": "robot", "password": "p"}}},
        "policies": [policy()]});
    let proxy = Proxy::start(Configuration(open)).await;
    assert_eq!(proxy.get("/v2/").await.status, 200);
}

#[tokio::test]
async fn no_such_file() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["serve", "--config", "/nowhere/config.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("/nowhere/config.yaml"), "{text}");
}

#[tokio::test]
async fn a_secret_is_not_printed() {
    let mut configuration = with_policy(|policy| policy["surprise"] = json!(1));
    configuration["upstreams"]["ghcr.io"] =
        json!({"credentials": {"username": "robot", "password": "sesame-open", "pin": 1}});
    let log = refusal(configuration).await;
    assert!(!log.contains("sesame-open"), "{log}");
}
