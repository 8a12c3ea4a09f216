//! Tags in tables that are decided from what was recorded.

use serde_json::{Value, json};

use crate::commands::{ADMITTED, Workplace, code, countersign, text};
use crate::support::*;

impl Workplace {
    /// A configuration whose policies are those of a `policy.json` with these scopes.
    fn config_of_scopes(&self, scopes: &Value) -> String {
        let policy = json!({
            "default": [{"type": "reject"}],
            "transports": {"docker": scopes},
        });
        self.write("policy.json", &policy.to_string());
        let configuration = Configuration::new(&[&self.registry]);
        let configuration = configuration.set("policy_files", json!(["policy.json"]));
        self.write("config.yaml", &configuration.0.to_string())
    }

    /// What becomes of cases, with the registry and then from what was recorded of these images.
    async fn assert_alike(&self, recorded: &[&str], cases: &[(&str, &str)]) {
        let (status, outcomes) = self.test("", cases).await;
        assert_eq!(status, ADMITTED, "with the registry: {outcomes:#?}");
        let output = self.record(recorded).await;
        assert_eq!(code(&output), ADMITTED, "{}", text(&output));
        let (status, outcomes) = self.test("evidence: evidence", cases).await;
        assert_eq!(status, ADMITTED, "as recorded: {outcomes:#?}");
        for case in cases {
            let (status, outcomes) = self.test("evidence: evidence", &[*case]).await;
            assert_eq!(status, ADMITTED, "alone: {outcomes:#?}");
        }
        let backwards: Vec<_> = cases.iter().rev().copied().collect();
        let (status, outcomes) = self.test("evidence: evidence", &backwards).await;
        assert_eq!(status, ADMITTED, "backwards: {outcomes:#?}");
    }
}

#[tokio::test]
async fn a_tag_is_compared_with_the_one_that_was_signed() {
    let place = Workplace::new().await;
    let signed = json!([{"type": "sigstoreSigned", "keyPath": "key.pub"}]);
    place.config_of_scopes(&json!({ place.image("apps"): signed }));
    let image = Image::new("web");
    for tag in ["v1", "latest"] {
        place.registry.push_tagged("apps/web", tag, &image);
    }
    let names = [place.image("apps/web:v1")];
    let registry = &place.registry;
    registry.sign_legacy_as("apps/web", &image, &place.key, &names);
    let by_digest = format!("apps/web@{}", image.digest);
    place
        .assert_alike(
            &["apps/web:v1", "apps/web:latest"],
            &[
                ("apps/web:v1", "expect: admit"),
                ("apps/web:latest", "expect: deny, kind: wrong_name"),
                (&by_digest, "expect: admit"),
            ],
        )
        .await;
    let (_, outcomes) = place
        .test(
            "evidence: evidence",
            &[("apps/web:latest", "expect: admit")],
        )
        .await;
    let message = outcomes[0]["message"].as_str().unwrap();
    assert!(message.contains("its signatures name v1"), "{message}");
}

#[tokio::test]
async fn a_case_counts_no_tag_but_its_own() {
    let place = Workplace::new().await;
    place.config_of_scopes(&json!({
        place.image("any/app"): [{"type": "sigstoreSigned", "keyPath": "key.pub"}],
        place.image("any/app:dev"): [{"type": "insecureAcceptAnything"}],
    }));
    let image = Image::new("app");
    for tag in ["dev", "v1"] {
        place.registry.push_tagged("any/app", tag, &image);
    }
    let by_digest = format!("any/app@{}", image.digest);
    place
        .assert_alike(
            &["any/app:dev", "any/app:v1"],
            &[
                ("any/app:dev", "expect: admit"),
                (&by_digest, "expect: deny, kind: unsigned"),
                ("any/app:v1", "expect: deny, kind: unsigned"),
            ],
        )
        .await;
}

/// `policy.json` has no `signed_name`, and to leave `signedIdentity` out is what compares tags.
#[tokio::test]
async fn explain_says_what_compares_the_tag() {
    let place = Workplace::new().await;
    let image = Image::new("web");
    place.registry.push_tagged("apps/web", "latest", &image);
    let names = [place.image("apps/web:v1")];
    let registry = &place.registry;
    registry.sign_legacy_as("apps/web", &image, &place.key, &names);
    let advice = async |config: &str| {
        let image = place.image("apps/web:latest");
        let json = ["explain", "--config", config, "--output", "json", &image];
        let output = countersign(&json).await;
        let explanation: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(explanation["kind"], "wrong_name", "{explanation}");
        let output = countersign(&["explain", "--config", config, &image]).await;
        assert!(
            !text(&output).contains("no signature to try"),
            "{}",
            text(&output)
        );
        explanation["advice"].to_string()
    };
    for (identity, words) in [
        (
            Value::Null,
            vec!["web:<tag>", "matchRepository", "by its digest"],
        ),
        (
            json!({"type": "exactRepository", "dockerRepository": "other.example/app"}),
            vec!["sign it as other.example/app", "dockerRepository"],
        ),
        (
            json!({"type": "exactReference", "dockerReference": "other.example/app:v2"}),
            vec!["sign it as other.example/app:v2", "dockerReference"],
        ),
        (
            json!({
                "type": "remapIdentity", "prefix": place.image("apps"), "signedPrefix": "other.example/apps",
            }),
            vec!["sign it as other.example/apps/web:<tag>", "signedPrefix"],
        ),
    ] {
        let mut signed = json!({"type": "sigstoreSigned", "keyPath": "key.pub"});
        if !identity.is_null() {
            signed["signedIdentity"] = identity;
        }
        let config = place.config_of_scopes(&json!({ place.image("apps"): [signed] }));
        let advice = advice(&config).await;
        assert!(!advice.contains("signed_name"), "{advice}");
        for words in words {
            assert!(advice.contains(words), "{words}: {advice}");
        }
    }
    let images = place.image("other/**");
    let mut policy = key_policy("ours", &images, &[&place.key]);
    policy["signed_name"] = json!("match");
    policy["images"] = json!([place.image("apps/**")]);
    let configuration = Configuration::new(&[&place.registry]).policy(policy);
    let elsewhere = ["other.example/app:v1".to_owned()];
    registry.sign_legacy_as("apps/web", &image, &place.key, &elsewhere);
    let config = place.write("config.yaml", &configuration.0.to_string());
    let advice = advice(&config).await;
    assert!(advice.contains("leave `signed_name` out"), "{advice}");
}
