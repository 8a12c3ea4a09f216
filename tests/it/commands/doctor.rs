//! `countersign doctor`.

use serde_json::json;

use super::*;

/// What `doctor` says about an area.
fn checks<'a>(answer: &'a Value, area: &str) -> Vec<&'a Value> {
    let checks = answer["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["area"] == area).collect()
}

/// A configuration that asks nobody beyond this machine.
fn configuration(place: &Workplace) -> Configuration {
    let images = format!("{}/apps/**", place.registry.name());
    Configuration::new(&[&place.registry])
        .policy(key_policy("apps", &images, &[&place.key]))
        .set("data_dir", json!(place.path("data")))
        .set(
            "trusted_roots",
            json!({"public-good": {"mirror": "http://127.0.0.1:9"}}),
        )
}

async fn doctor(place: &Workplace, configuration: &Configuration) -> Output {
    let config = place.write("config.yaml", &configuration.0.to_string());
    countersign(&["doctor", "--config", &config, "--output", "json"]).await
}

#[tokio::test]
async fn all_is_well() {
    let place = Workplace::new().await;
    let output = doctor(&place, &configuration(&place)).await;
    let answer = json(&output);
    assert_eq!(code(&output), 0, "{answer:#}");
    for area in [
        "configuration",
        "data_dir",
        "upstream",
        "clock",
        "enforcement",
    ] {
        let checks = checks(&answer, area);
        assert!(!checks.is_empty(), "{area}: {answer:#}");
        for check in checks {
            assert_eq!(check["outcome"], "ok", "{check:#}");
        }
    }
    // No authority uses the built-in root, so it does not matter that its mirror is away.
    let root = checks(&answer, "trusted_root")[0];
    assert_eq!(
        (&root["name"], &root["outcome"]),
        (&json!("public-good"), &json!("ok"))
    );
    let message = root["message"].as_str().unwrap();
    assert!(
        message.contains("could not be refreshed") && message.contains("counts until"),
        "{message}"
    );
    assert!(
        !std::path::Path::new(&place.path("data")).exists(),
        "it leaves nothing behind"
    );

    let config = place.path("config.yaml");
    let output = countersign(&["doctor", "--config", &config]).await;
    let told = text(&output);
    assert!(
        told.contains("ok       enforcement apps: an unsigned image in"),
        "{told}"
    );
    assert!(
        told.contains("ok       trusted root public-good:"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_let_through_is_told() {
    let place = Workplace::new().await;
    let images = format!("{}/apps/**", place.registry.name());
    let mut configuration = configuration(&place);
    configuration.0["default"] = json!("audit");
    configuration.0["exceptions"] = json!([{
        "images": [images], "reason": "OPS-1", "by": "ops", "until": "2099-01-01T00:00:00Z",
    }]);
    let output = doctor(&place, &configuration).await;
    let answer = json(&output);
    let enforcement = checks(&answer, "enforcement");
    let told: Vec<_> = enforcement
        .iter()
        .map(|check| {
            (
                check["outcome"].as_str(),
                check["message"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for ((outcome, message), part) in told.iter().zip([
        "is let through by an exception",
        "`default: audit` serves",
        "an exception by ops until 2099-01-01T00:00:00Z: OPS-1",
    ]) {
        assert_eq!(*outcome, Some("warning"), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_way_out() {
    let place = Workplace::new().await;
    let away = FakeRegistry::start().await;
    let refusing = FakeRegistry::start().await;
    refusing.fault("^GET /v2/$", Fault::Status(403));
    let key = "gcpkms://projects/p/locations/us/keyRings/r/cryptoKeys/k/versions/1";
    let mut configuration = configuration(&place)
        .policy(
            json!({"name": "kms", "images": ["ghcr.io/org/*"], "authorities": [
                {"name": "kms", "key": key, "transparency_log": "not_required"},
            ]}),
        )
        .set(
            "key_providers",
            json!({"gcpkms": {"endpoint": "http://127.0.0.1:9"}}),
        );
    for registry in [&away, &refusing] {
        configuration.0["upstreams"][registry.name()] = json!({"plain_http": true});
    }
    away.stop();
    let output = doctor(&place, &configuration).await;
    let answer = json(&output);
    assert_eq!(code(&output), REFUSED, "{answer:#}");
    let problem = |area: &str, name: &str| -> String {
        let checks = checks(&answer, area);
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["outcome"], "problem", "{check:#}");
        check["message"].as_str().unwrap().to_owned()
    };
    assert!(problem("upstream", &away.name()).contains("look at the network"));
    assert!(problem("upstream", &refusing.name()).contains("credentials"));
    assert!(problem("key", key).contains("key_providers.gcpkms.endpoint"));
    // Whoever cannot read a key admits nothing by it.
    let enforcement = checks(&answer, "enforcement");
    assert_eq!(enforcement.len(), 2);
    assert!(
        enforcement.iter().all(|check| check["outcome"] == "ok"),
        "{answer:#}"
    );
}

#[tokio::test]
async fn what_cannot_be_told_is_said_so() {
    let place = Workplace::new().await;
    // No upstream, so nobody tells the time.
    let mut configuration = configuration(&place);
    configuration.0["upstreams"] = json!({});
    let output = doctor(&place, &configuration).await;
    let answer = json(&output);
    assert_eq!(code(&output), UNDECIDED, "{answer:#}");
    assert_eq!(checks(&answer, "clock")[0]["outcome"], "unknown");
    let output = countersign(&["doctor", "--config", "/nonexistent/config.yaml"]).await;
    assert_eq!(code(&output), USAGE);
}
