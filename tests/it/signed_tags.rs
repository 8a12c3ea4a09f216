//! containers' `policy.json` as most are written: the tag that is pulled must be the one that was signed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

struct Bench {
    registry: FakeRegistry,
    key: SigningKey,
    proxy: Proxy,
}

impl Bench {
    async fn start() -> Self {
        let registry = FakeRegistry::start().await;
        let key = SigningKey::generate();
        let configuration = Configuration::new(&[&registry]);
        let proxy = Proxy::new(configuration.set("policy_files", json!(["policy.json"])));
        proxy.write_file("key.pub", &key.public_pem());
        let signed = json!([{"type": "sigstoreSigned", "keyPath": "key.pub"}]);
        let policy = json!({
            "default": [{"type": "reject"}],
            "transports": {"docker": {format!("{}/apps", registry.name()): signed}},
        });
        proxy.write_file("policy.json", &policy.to_string());
        proxy.run().await;
        Self {
            registry,
            key,
            proxy,
        }
    }

    fn name(&self, tag: &str) -> String {
        format!("{}/apps/web{tag}", self.registry.name())
    }

    /// Signs under these tags, and under no other any more.
    fn sign(&self, image: &Image, tags: &[&str]) {
        let names: Vec<_> = tags.iter().map(|tag| self.name(tag)).collect();
        let registry = &self.registry;
        registry.sign_legacy_as("apps/web", image, &self.key, &names);
    }

    fn path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.name(""))
    }

    async fn serves(&self, reference: &str, image: &Image) {
        let path = self.path(reference);
        assert_serves(&self.proxy.get(&path).await, image);
        assert_eq!(self.proxy.head(&path).await.status, 200, "{reference}");
    }

    async fn refuses(&self, reference: &str, image: &Image) -> Answer {
        let path = self.path(reference);
        let head = self.proxy.head(&path).await;
        assert_eq!(head.status, 403, "{reference}: {head}");
        let answer = self.proxy.get(&path).await;
        assert_denied(&answer, "wrong_name");
        assert_withheld(&answer, &image.digest);
        answer
    }
}

#[tokio::test]
async fn an_exception_lets_a_tag_through_that_was_not_signed() {
    let bench = Bench::start().await;
    let image = Image::new("an image");
    for tag in ["v1", "latest"] {
        bench.registry.push_tagged("apps/web", tag, &image);
    }
    bench.sign(&image, &[":v1"]);
    bench.refuses("latest", &image).await;
    let name = bench.name("");
    bench.proxy.rewrite(|configuration| {
        configuration["exceptions"] = json!([{
            "images": [name], "reason": "OPS-2", "by": "ops", "until": "2099-01-01T00:00:00Z",
        }]);
        configuration["compat"] = json!({"head_allows": true});
    });
    bench.proxy.restart().await;
    for _ in 0..2 {
        let answer = bench.proxy.get(&bench.path("latest")).await;
        assert_serves(&answer, &image);
        assert!(answer.header("warning").contains("OPS-2"), "{answer}");
    }
    let records = bench.proxy.decisions("decision=admit").await;
    let records: Vec<_> = records
        .iter()
        .filter(|record| record["basis"] == "audit" && record["reference"] == "latest")
        .collect();
    assert_eq!(records.len(), 1, "{records:?}");
    // What needs no exception is served without one.
    let answer = bench.proxy.get(&bench.path("v1")).await;
    assert_serves(&answer, &image);
    assert!(!answer.headers.contains_key("warning"), "{answer}");
}

#[tokio::test]
async fn a_head_is_allowed_of_a_tag_that_was_not_signed_where_heads_are() {
    let bench = Bench::start().await;
    let image = Image::new("an image");
    bench.registry.push_tagged("apps/web", "latest", &image);
    bench.sign(&image, &[":v1"]);
    bench.proxy.rewrite(|configuration| {
        configuration["compat"] = json!({"head_allows": true});
    });
    bench.proxy.restart().await;
    let head = bench.proxy.head(&bench.path("latest")).await;
    assert_eq!(head.status, 200, "{head}");
    assert_eq!(head.header("docker-content-digest"), image.digest);
    let answer = bench.proxy.get(&bench.path("latest")).await;
    assert_denied(&answer, "wrong_name");
}

#[tokio::test]
async fn a_tag_that_was_not_signed_is_refused_for_itself() {
    let bench = Bench::start().await;
    let image = Image::new("an image");
    for tag in ["v1", "latest"] {
        bench.registry.push_tagged("apps/web", tag, &image);
    }
    bench.sign(&image, &[":v1"]);
    // Cold by the tag that was not signed, which leaves nothing behind for the others.
    let refused = Instant::now();
    let answer = bench.refuses("latest", &image).await;
    let told = answer.to_string();
    for part in ["policy.json:1", "name v1", "matchRepository", ":latest"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    for _warm in 0..2 {
        bench.serves("v1", &image).await;
        bench.serves(&image.digest, &image).await;
        bench.refuses("latest", &image).await;
    }
    let records = bench.proxy.decisions("").await;
    let refusals = records.iter().filter(|it| it["decision"] == "deny");
    assert_eq!(refusals.count(), 1, "{records:#?}");
    // It is signed for the second tag, too.
    bench.sign(&image, &[":v1", ":latest"]);
    loop {
        let answer = bench.proxy.get(&bench.path("latest")).await;
        if answer.status == 200 {
            break assert_serves(&answer, &image);
        }
        assert!(refused.elapsed() < Duration::from_secs(40), "{answer}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(refused.elapsed() > Duration::from_secs(20), "too eager");
    bench.serves("v1", &image).await;
}

/// As cosign signs by itself, and as containers refuse it by tag and by digest.
#[tokio::test]
async fn a_signature_without_a_tag_admits_nothing() {
    let bench = Bench::start().await;
    let image = Image::new("an image");
    bench.registry.push_tagged("apps/web", "v1", &image);
    bench.sign(&image, &[""]);
    for reference in ["v1", &image.digest] {
        bench.refuses(reference, &image).await;
    }
}
