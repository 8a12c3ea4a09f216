//! `policy record`, and `policy test` from what it has recorded.

mod tags;

use serde_json::{Value, json};

use super::{ADMITTED, REFUSED, UNDECIDED, USAGE, Workplace, code, countersign, json, text};
use crate::support::*;

impl Workplace {
    async fn record(&self, images: &[&str]) -> std::process::Output {
        let (config, to) = (self.path("config.yaml"), self.path("evidence"));
        let images: Vec<_> = images.iter().map(|image| self.image(image)).collect();
        let mut arguments = vec!["policy", "record", "--config", &config, "--to", &to];
        arguments.extend(images.iter().map(String::as_str));
        countersign(&arguments).await
    }

    /// What becomes of cases, each `{image: …, …}` without the registry's name.
    async fn test(&self, head: &str, cases: &[(&str, &str)]) -> (i32, Vec<Value>) {
        let lines = cases
            .iter()
            .map(|(image, rest)| format!("  - {{image: '{}', {rest}}}\n", self.image(image)));
        let lines: String = lines.collect();
        let table = format!("config: [config.yaml]\n{head}\ncases:\n{lines}");
        let path = self.write("cases.yaml", &table);
        let output = countersign(&["policy", "test", "--output", "json", &path]).await;
        let outcomes = match code(&output) {
            USAGE => vec![json!(text(&output))],
            _ => json(&output).as_array().unwrap().clone(),
        };
        (code(&output), outcomes)
    }

    /// A configuration whose registry is nowhere, so that asking it would be seen.
    fn move_registry(&self, canary: &Canary, change: impl FnOnce(&mut Value)) {
        let text = std::fs::read_to_string(self.path("config.yaml")).unwrap();
        let mut configuration: Value = serde_json::from_str(&text).unwrap();
        configuration["upstreams"][self.registry.name()] =
            json!({"endpoint": canary.url().trim_end_matches("/canary"), "plain_http": true});
        change(&mut configuration);
        self.write("config.yaml", &configuration.to_string());
    }
}

#[tokio::test]
async fn a_table_is_decided_from_what_was_recorded() {
    let place = Workplace::new().await;
    place.config();
    let web = place.signed("apps/web");
    place.unsigned("apps/bare");
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    place.registry.push("apps/index", &child);
    place.registry.push_tagged("apps/index", "v1", &index);
    let by_digest = format!("apps/index@{}", child.digest);
    let output = place
        .record(&["apps/web:v1", "apps/bare:v1", "apps/index:v1", &by_digest])
        .await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    assert!(text(&output).contains(&format!("apps/web:v1: {}", web.digest)));
    // What was recorded says nothing of who recorded it, and can be read where nobody may write.
    let files = std::fs::read_dir(place.path("evidence")).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["content", "state.sqlite3"]);

    place.registry.stop();
    let canary = Canary::listen().await;
    place.move_registry(&canary, |_| {});
    let by_digest_of_web = format!("apps/web@{}", web.digest);
    let cases = [
        ("apps/web:v1", "expect: admit"),
        (by_digest_of_web.as_str(), "expect: admit"),
        ("apps/bare:v1", "expect: deny, kind: unsigned"),
        ("apps/index:v1", "expect: deny, kind: unsigned"),
        (by_digest.as_str(), "expect: deny, kind: unsigned"),
        ("other/web:v1", "expect: deny, kind: no_policy"),
    ];
    let (status, outcomes) = place.test("evidence: evidence", &cases).await;
    assert_eq!(status, ADMITTED, "{outcomes:?}");
    let (status, outcomes) = place
        .test("", &[("apps/web:v1", "expect: admit, evidence: evidence")])
        .await;
    assert_eq!(status, ADMITTED, "{outcomes:?}");
    let (status, outcomes) = place
        .test("evidence: evidence", &[("apps/web:v1", "expect: deny")])
        .await;
    assert_eq!(status, REFUSED, "{outcomes:?}");
    canary.assert_untouched();
}

#[tokio::test]
async fn an_index_that_was_refused_vouches_once_it_is_admitted() {
    let place = Workplace::new().await;
    place.config();
    let other = SigningKey::generate();
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    place.registry.push("apps/index", &child);
    place.registry.push_tagged("apps/index", "v1", &index);
    place.registry.sign_bundle("apps/index", &index, &other);
    let by_digest = format!("apps/index@{}", child.digest);
    let output = place.record(&["apps/index:v1", &by_digest]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    place.registry.stop();
    let canary = Canary::listen().await;
    place.move_registry(&canary, |configuration| {
        let authorities = &mut configuration["policies"][0]["authorities"];
        authorities[0]["key"] = json!(other.public_pem());
    });
    // Of the index only the child is asked for.
    let (status, outcomes) = place
        .test("evidence: evidence", &[(&by_digest, "expect: admit")])
        .await;
    assert_eq!(status, ADMITTED, "{outcomes:?}");
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let place = Workplace::new().await;
    place.config();
    let web = place.signed("apps/web");
    assert_eq!(code(&place.record(&["apps/web:v1"]).await), ADMITTED);
    let unknown = format!("apps/web@{}", Image::new("unknown").digest);
    let said = async |image: &str, words: &str| {
        let (status, outcomes) = place
            .test("evidence: evidence", &[(image, "expect: admit")])
            .await;
        assert_eq!(status, UNDECIDED, "{outcomes:?}");
        assert_eq!(outcomes[0]["decision"], "unavailable");
        let message = outcomes[0]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    };
    said("apps/web:v2", "its digest is not known").await;
    said(
        &unknown,
        "its manifest is not stored; nothing is stored of its signatures",
    )
    .await;
    let hex = web.digest.strip_prefix("sha256:").unwrap();
    let file = place.path(&format!("evidence/content/sha256/{}/{hex}", &hex[..2]));
    std::fs::remove_file(&file).unwrap();
    said("apps/web:v1", "its manifest is not stored").await;
    let (status, outcomes) = place
        .test("evidence: nowhere", &[("apps/web:v1", "expect: admit")])
        .await;
    assert_eq!(status, USAGE, "{outcomes:?}");
    assert!(
        outcomes[0]
            .as_str()
            .unwrap()
            .contains("is no data directory"),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn attestations_and_material_are_recorded_whatever_policies_demand() {
    let place = Workplace::new().await;
    place.config();
    let predicate = "https://slsa.dev/provenance/v1";
    let web = place.signed("apps/web");
    let bundle = place.key.bundle(&web, predicate, &json!({}));
    let attestation = signing::bundle_artifact(&web, bundle, predicate);
    place.registry.push("apps/web", &attestation);
    place.unsigned("apps/bare");
    let artifact = format!("apps/web@{}", attestation.digest);
    let output = place
        .record(&["apps/web:v1", "apps/bare:v1", &artifact])
        .await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    place.registry.stop();
    let canary = Canary::listen().await;
    place.move_registry(&canary, |configuration| {
        configuration["policies"][0]["attestations"] =
            json!([{"predicate_type": predicate, "match": "newest"}]);
    });
    let cases = [
        ("apps/web:v1", "expect: admit"),
        ("apps/bare:v1", "expect: deny"),
        (artifact.as_str(), "expect: admit"),
    ];
    let (status, outcomes) = place.test("evidence: evidence", &cases).await;
    assert_eq!(status, ADMITTED, "{outcomes:?}");
    canary.assert_untouched();
}

#[tokio::test]
async fn what_cannot_be_had_is_not_recorded() {
    let place = Workplace::new().await;
    place.config();
    place.signed("apps/web");
    place.signed("apps/other");
    place
        .registry
        .fault("other/manifests/sha256-", Fault::Status(500));
    let output = place
        .record(&["apps/web:v1", "apps/other:v1", "apps/absent:v1"])
        .await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    assert!(text(&output).contains("apps/other:v1 is not recorded: not everything can be had"));
    assert!(
        text(&output).contains("apps/absent:v1 is not recorded"),
        "{}",
        text(&output)
    );
    let cases = [
        ("apps/web:v1", "expect: admit"),
        ("apps/other:v1", "expect: admit"),
    ];
    let (status, outcomes) = place.test("evidence: evidence", &cases).await;
    assert_eq!(status, UNDECIDED, "{outcomes:?}");
    assert_eq!(outcomes[0]["as_expected"], true);
    assert_eq!(outcomes[1]["as_expected"], false);
    // A later recording adds to it.
    place.registry.lift_faults();
    let output = place.record(&["apps/other:v1"]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let (status, outcomes) = place.test("evidence: evidence", &cases).await;
    assert_eq!(status, ADMITTED, "{outcomes:?}");
    for arguments in [
        vec!["policy", "record", "apps/web:v1"],
        vec!["policy", "record", "--to", "x"],
        vec![
            "policy",
            "record",
            "--config",
            "/nonexistent",
            "--to",
            "x",
            "apps/web:v1",
        ],
    ] {
        assert_eq!(code(&countersign(&arguments).await), USAGE, "{arguments:?}");
    }
}

/// Exceptions end, and ages of signatures are counted, by the time that the table says.
#[tokio::test]
async fn times_are_those_that_the_table_says() {
    let place = Workplace::new().await;
    place.config();
    place.unsigned("apps/bare");
    assert_eq!(code(&place.record(&["apps/bare:v1"]).await), ADMITTED);
    // Recorded long ago, far beyond what may serve stale.
    let recorded = "2026-01-10T00:00:00Z";
    let database = rusqlite::Connection::open(place.path("evidence/state.sqlite3")).unwrap();
    database
        .execute(
            "UPDATE evidence SET body = json_set(body, '$.discovered_at', ?1)",
            [recorded],
        )
        .unwrap();
    database
        .execute("UPDATE manifests SET confirmed_at = ?1", [recorded])
        .unwrap();
    drop(database);
    let text = std::fs::read_to_string(place.path("config.yaml")).unwrap();
    let mut configuration: Value = serde_json::from_str(&text).unwrap();
    configuration["exceptions"] = json!([
        {"images": [place.image("apps/bare")], "reason": "r", "by": "b", "until": "2026-01-11T00:00:00Z"},
    ]);
    place.write("config.yaml", &configuration.to_string());
    let cases = [
        ("apps/bare:v1", "expect: admit"),
        ("apps/bare:v1", "expect: admit, at: recorded"),
        ("apps/bare:v1", "expect: deny, kind: unsigned, at: now"),
        ("apps/bare:v1", "expect: admit, at: '2026-01-10T23:59:59Z'"),
        (
            "apps/bare:v1",
            "expect: deny, kind: unsigned, at: '2026-01-11T00:00:00Z'",
        ),
    ];
    let (status, outcomes) = place.test("evidence: evidence", &cases).await;
    assert_eq!(status, ADMITTED, "{outcomes:?}");
    configuration["exceptions"] = json!([]);
    configuration["policies"][0]["mode"] = json!("audit");
    place.write("config.yaml", &configuration.to_string());
    for (expected, status) in [("expect: audit", ADMITTED), ("expect: admit", REFUSED)] {
        let cases = [("apps/bare:v1", expected)];
        let (found, outcomes) = place.test("evidence: evidence", &cases).await;
        assert_eq!(found, status, "{outcomes:?}");
    }
}

/// The corpus was signed at a known time.
#[tokio::test]
async fn the_age_of_a_signature_is_counted_to_the_time_of_the_table() {
    const REPOSITORY: &str = "c/kf-legacy-gh/kf/legacy-gh";
    const SIGNED: &str = "sha256:4da8d1a9fb9c7bd804f9cb4f9bac5e89e4fc8845f24b231ac3ad5e2038b3513c";
    let registry = corpus::registry().await;
    let place = Workplace::new().await;
    let root = corpus::directory().join("trust/trusted_root.json");
    let configuration = Configuration::new(&[&registry])
        .policy(json!({
            "name": "private", "images": [format!("{}/c/**", registry.name())], "max_signature_age": "30d",
            "authorities": [{
                "name": "release", "trusted_root": "private",
                "certificate_identity_regexp": "https://github\\.com/external-secrets/.+",
                "certificate_oidc_issuer": "https://token.actions.githubusercontent.com",
            }],
        }))
        .set(
            "trusted_roots",
            json!({"private": {"file": root}, "public-good": {"mirror": "http://127.0.0.1:9"}}),
        );
    let config = place.write("config.yaml", &configuration.0.to_string());
    let image = format!("{}/{REPOSITORY}@{SIGNED}", registry.name());
    let to = place.path("evidence");
    let output = countersign(&["policy", "record", "--config", &config, "--to", &to, &image]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let output = countersign(&["verify", "--config", &config, "--output", "json", &image]).await;
    let signed = json(&output)["attempts"][0]["transparency_log"]["integrated_time"].clone();
    let signed: jiff::Timestamp = serde_json::from_value(signed).unwrap();
    registry.stop();
    let after = |days: i64| signed + jiff::SignedDuration::from_hours(24 * days);
    let table = format!(
        "config: [config.yaml]
evidence: evidence
cases:
  - {{image: '{image}', expect: admit, at: '{}'}}
  - {{image: '{image}', expect: deny, kind: signature_too_old, at: '{}'}}
",
        after(29),
        after(31)
    );
    let path = place.write("cases.yaml", &table);
    let output = countersign(&["policy", "test", &path]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
}
