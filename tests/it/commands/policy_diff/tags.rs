//! Tags that the log and the store have of what was pulled.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Pulled, change, changes, pull};
use crate::commands::{ADMITTED, REFUSED, countersign, json as printed};
use crate::support::*;

/// Files `policy.json` that demand the key's signature of everything in the registry, and the repository or the tag in it.
struct Documents {
    directory: TempDir,
    key: SigningKey,
}

impl Documents {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            key: SigningKey::generate(),
        }
    }

    /// The path of one with these keys beside the key of the signer.
    fn write(&self, name: &str, registry: &str, identity: &Value) -> String {
        let mut signed = json!({"type": "sigstoreSigned", "keyPath": "key.pub"});
        if !identity.is_null() {
            signed["signedIdentity"] = identity.clone();
        }
        let policy = json!({
            "default": [{"type": "reject"}],
            "transports": {"docker": {registry: [signed]}},
        });
        let directory = self.directory.path();
        std::fs::write(directory.join("key.pub"), self.key.public_pem()).unwrap();
        let path = directory.join(name);
        std::fs::write(&path, policy.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// An image signed as `v1` that was pulled by its digest, by that tag and by two others; another one; and documents that
/// compare the repository and the tag.
struct Scenario {
    pulled: Pulled,
    image: Image,
    loose: String,
    strict: String,
    _documents: Documents,
}

impl Scenario {
    async fn new() -> Self {
        let documents = Documents::new();
        let (image, other) = (Image::new("image"), Image::new("other"));
        let repository = json!({"type": "matchRepository"});
        let (mut loose, mut strict) = (String::new(), String::new());
        let pulled = Pulled::with(
            |mut configuration, registry| {
                loose = documents.write("loose.json", &registry.name(), &repository);
                strict = documents.write("strict.json", &registry.name(), &Value::Null);
                configuration.0["policies"] = json!([]);
                configuration.set("policy_files", json!([loose]))
            },
            async |scene| {
                for (name, image, tags) in [
                    ("apps/web", &image, &["v1", "latest", "edge"][..]),
                    ("apps/other", &other, &["v1"]),
                ] {
                    for tag in tags {
                        scene.registry.push_tagged(name, tag, image);
                    }
                    let names = [scene.repository(&format!("{name}:v1"))];
                    let registry = &scene.registry;
                    registry.sign_legacy_as(name, image, &documents.key, &names);
                }
                // The decision is reused, so that the log has no tag of it: only the store has them.
                let references = [&image.digest, "v1", "latest", "edge"];
                pull(scene, "apps/web", &references).await;
                pull(scene, "apps/other", &["v1"]).await;
            },
        )
        .await;
        Self {
            pulled,
            image,
            loose,
            strict,
            _documents: documents,
        }
    }
}

fn with_document(path: &str) -> impl Fn(&mut Value) {
    let files = json!([path]);
    move |configuration| configuration["policy_files"] = files.clone()
}

#[tokio::test]
async fn each_tag_is_compared_with_the_one_that_was_signed() {
    let scenario = Scenario::new().await;
    let (status, report) = scenario
        .pulled
        .report(with_document(&scenario.strict))
        .await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(
        changes(&report, "differences"),
        [change(&scenario.image, "admit>deny")],
        "{report}"
    );
    let refused = &report["differences"][0];
    assert_eq!(refused["tags"], json!(["edge", "latest"]), "{report}");
    assert_eq!(refused["would_be"]["kind"], "wrong_name");
    let policy = &refused["would_be"]["policies"][0]["name"];
    assert!(policy.as_str().unwrap().contains("strict.json"), "{report}");
    assert_eq!(report["cannot_tell"], json!([]), "{report}");
    // By its digest and by v1 it is admitted as before, and so is the other one.
    assert_eq!((&report["images"], &report["same"]), (&json!(3), &json!(2)));
}

#[tokio::test]
async fn tags_that_were_not_signed_may_be_excepted_and_admitted() {
    let scenario = Scenario::new().await;
    let pulled = &scenario.pulled;
    let excepted = pulled.scene.repository("apps/web");
    let strict = with_document(&scenario.strict);
    let (status, report) = pulled
        .report(|new| {
            strict(new);
            new["exceptions"] = json!([
                {"images": [excepted], "reason": "a test", "by": "us", "until": "2999-01-01T00:00:00Z"},
            ]);
        })
        .await;
    assert_eq!(status, ADMITTED, "{report}");
    let old = pulled.configuration("strict.yaml", strict);
    let new = pulled.configuration("loose.yaml", with_document(&scenario.loose));
    let output = countersign(&["policy", "diff", "--output", "json", &old, &new]).await;
    let report = printed(&output);
    assert_eq!(
        changes(&report, "differences"),
        [change(&scenario.image, "deny>admit")],
        "{report}"
    );
}
