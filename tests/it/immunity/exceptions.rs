//! Exceptions that let through more than the one who wrote them meant.

use serde_json::{Value, json};

use crate::support::*;

fn exception(key: &str, about: &str, until: &str) -> Value {
    json!({key: [about], "reason": "OPS-1", "by": "ops@example.com", "until": until})
}

/// Kyverno put two exceptions together and let through what neither of them did.
#[tokio::test]
async fn ghsa_gg4x_fgg2_h9w9_two_exceptions_that_combine() {
    const PAST: &str = "2020-01-01";
    const FUTURE: &str = "2100-01-01";
    let scene = Scene::start().await;
    let (excepted, other) = (
        scene.unsigned("apps/web", "v1"),
        scene.unsigned("apps/other", "v1"),
    );
    let name = scene.repository("apps/web");
    let exceptions = json!([
        exception("images", &scene.repository("apps/*"), PAST),
        exception("images", &name, PAST),
        exception("digests", &other.digest, PAST),
        exception("images", &scene.repository("apps/another"), FUTURE),
    ]);
    scene
        .proxy
        .rewrite(|configuration| configuration["exceptions"] = exceptions);
    scene.proxy.restart().await;
    // One has the right image and one the right time.
    for repository in ["apps/web", "apps/other"] {
        assert_denied(&scene.manifest(repository, "v1").await, "unsigned");
    }
    scene.proxy.rewrite(|configuration| {
        configuration["exceptions"][1]["until"] = json!(FUTURE);
    });
    scene.proxy.restart().await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &excepted);
    assert_denied(&scene.manifest("apps/other", "v1").await, "unsigned");
}

/// Kyverno took exceptions from whoever could write one into any namespace. Here they stand in the configuration and
/// nowhere else: a document among the policies is refused, and with it everything that came along.
#[tokio::test]
async fn cve_2024_48921_exception_from_elsewhere() {
    let scene = Scene::start().await;
    scene.unsigned("apps/web", "v1");
    scene.proxy.write_file(
        "exception.yaml",
        "apiVersion: kyverno.io/v2\nkind: PolicyException\nmetadata: {name: everything, namespace: mine}\n\
         spec:\n  exceptions: [{policyName: apps, ruleNames: ['*']}]\n  match: {any: [{resources: {kinds: [Pod]}}]}\n",
    );
    scene.proxy.rewrite(|configuration| {
        configuration["policy_files"] = json!(["exception.yaml"]);
    });
    scene.proxy.signal_hangup();
    let started = std::time::Instant::now();
    let problems = loop {
        let told = scene.proxy.admin("/readyz").await.json()["configuration"]["problems"].clone();
        if told.as_array().is_some_and(|problems| !problems.is_empty()) {
            break told.to_string();
        }
        assert!(started.elapsed().as_secs() < 30, "nothing is wrong with it");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(problems.contains("PolicyException"), "{problems}");
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
}
