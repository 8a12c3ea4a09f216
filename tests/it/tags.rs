//! Policies about tags: by which a digest goes is asked of the upstream, and what only the state says adds policies.

use serde_json::json;

use crate::support::*;

struct Bench {
    registry: FakeRegistry,
    key: SigningKey,
    proxy: Proxy,
}

/// Kyverno's document with a rule for each of these tags, keys and actions.
fn document(registry: &FakeRegistry, rules: &[(&str, &SigningKey, &str)]) -> String {
    let rules = rules.iter().map(|(tag, key, action)| {
        json!({
            "name": tag.trim_end_matches(['-', '*']),
            "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "verifyImages": [{
                "imageReferences": [format!("{}/apps/*:{tag}", registry.name())],
                "failureAction": action,
                "attestors": [{"entries": [{"keys": {
                    "publicKeys": key.public_pem(),
                    "rekor": {"ignoreTlog": true},
                    "ctlog": {"ignoreSCT": true},
                }}]}],
            }],
        })
    });
    let document = json!({
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "tags"},
        "spec": {"rules": rules.collect::<Vec<_>>()},
    });
    document.to_string()
}

impl Bench {
    /// `dev-*` must be signed with the key, `prod-*` with another one, and `try-*` is only audited.
    async fn start() -> Self {
        let registry = FakeRegistry::start().await;
        let key = SigningKey::generate();
        let other = SigningKey::generate();
        let configuration = Configuration::new(&[&registry])
            .set("policy_files", json!(["tags.yaml"]))
            .set("freshness", json!({"tag_ttl": "1s"}));
        let proxy = Proxy::new(configuration);
        let rules = [
            ("dev-*", &key, "Enforce"),
            ("prod-*", &other, "Enforce"),
            ("try-*", &other, "Audit"),
        ];
        proxy.write_file("tags.yaml", &document(&registry, &rules));
        proxy.run().await;
        Self {
            registry,
            key,
            proxy,
        }
    }

    async fn manifest(&self, reference: &str) -> Answer {
        let name = self.registry.name();
        let path = format!("/v2/{name}/apps/web/manifests/{reference}");
        self.proxy.get(&path).await
    }

    /// An image that goes by this tag, signed with the key.
    fn signed(&self, tag: &str) -> Image {
        let image = Image::new(tag);
        self.registry.push_tagged("apps/web", tag, &image);
        self.registry.sign_legacy("apps/web", &image, &self.key);
        image
    }
}

#[tokio::test]
async fn a_digest_goes_by_the_tag_it_still_has_after_a_restart() {
    let bench = Bench::start().await;
    let image = bench.signed("dev-1");
    assert_denied(&bench.manifest(&image.digest).await, "untrusted_key");
    assert_serves(&bench.manifest("dev-1").await, &image);
    assert_serves(&bench.manifest(&image.digest).await, &image);
    bench.proxy.restart().await;
    bench.registry.forget_requests();
    assert_serves(&bench.manifest(&image.digest).await, &image);
    assert_eq!(bench.registry.count("^HEAD .*/manifests/dev-1$"), 1);
    // Nobody says any more that it is a development image.
    bench
        .registry
        .push_tagged("apps/web", "dev-1", &Image::new("another"));
    bench.proxy.restart().await;
    assert_denied(&bench.manifest(&image.digest).await, "untrusted_key");
}

#[tokio::test]
async fn what_is_listed_goes_by_the_tags_of_what_lists_it_after_a_restart() {
    let bench = Bench::start().await;
    let child = Image::new("a child");
    let index = Image::index(&[&child]);
    bench.registry.push("apps/web", &child);
    bench.registry.push_tagged("apps/web", "dev-1", &index);
    bench.registry.sign_legacy("apps/web", &index, &bench.key);
    assert_serves(&bench.manifest("dev-1").await, &index);
    assert_serves(&bench.manifest(&child.digest).await, &child);
    let layer = child.layer(0);
    let blob = format!("/v2/{}/apps/web/blobs/{layer}", bench.registry.name());
    assert_serves_blob(&bench.proxy.get(&blob).await, &layer);
    // Whoever unpacks layers one by one asks for a blob first.
    bench.proxy.restart().await;
    assert_serves_blob(&bench.proxy.get(&blob).await, &layer);
    bench.proxy.restart().await;
    assert_serves(&bench.manifest(&child.digest).await, &child);
    // Nothing is refused for want of tags that cannot be asked about.
    bench.proxy.restart().await;
    bench.registry.fault("/manifests/dev-1", Fault::Reset);
    assert_eq!(bench.proxy.get(&blob).await.status, 503);
    assert_eq!(bench.manifest(&child.digest).await.status, 503);
}

#[tokio::test]
async fn a_digest_without_tags_is_looked_up_once_in_a_while() {
    let bench = Bench::start().await;
    let image = bench.signed("dev-1");
    assert_serves(&bench.manifest("dev-1").await, &image);
    bench
        .registry
        .push_tagged("apps/web", "dev-1", &Image::new("another"));
    bench.proxy.restart().await;
    bench.registry.forget_requests();
    for _ in 0..5 {
        assert_denied(&bench.manifest(&image.digest).await, "untrusted_key");
    }
    assert_eq!(bench.registry.count("^HEAD .*/manifests/dev-1$"), 1);
}

#[tokio::test]
async fn a_digest_whose_tags_cannot_be_asked_about_is_undecided() {
    let bench = Bench::start().await;
    let image = bench.signed("dev-1");
    assert_serves(&bench.manifest("dev-1").await, &image);
    bench.proxy.restart().await;
    let reset = Fault::Reset;
    bench.registry.fault("/manifests/dev-1", reset);
    for _ in 0..2 {
        let answer = bench.manifest(&image.digest).await;
        assert_eq!(answer.status, 503, "{answer}");
        assert_withheld(&answer, &image.digest);
    }
    bench.registry.lift_faults();
    assert_serves(&bench.manifest(&image.digest).await, &image);
}

#[tokio::test]
async fn a_tag_that_only_the_state_knows_adds_its_policies() {
    let bench = Bench::start().await;
    let image = bench.signed("dev-1");
    let other = bench.signed("prod-1");
    assert_serves(&bench.manifest("dev-1").await, &image);
    assert_denied(&bench.manifest("prod-1").await, "untrusted_key");
    bench.proxy.stop().await;
    let database = bench.proxy.database();
    let altered = database.execute(
        "UPDATE tags SET digest = ?1 WHERE tag = 'prod-1' AND digest = ?2",
        [&image.digest, &other.digest],
    );
    assert_eq!(altered.unwrap(), 1);
    drop(database);
    bench.proxy.run().await;
    assert_serves(&bench.manifest("dev-1").await, &image);
    bench.registry.stop();
    let answer = bench.manifest("prod-1").await;
    assert!(matches!(answer.status, 403 | 503), "{answer}");
    assert_withheld(&answer, &image.digest);
    // Where no tag of it was seen, nothing definite is known.
    bench.proxy.restart().await;
    assert_unavailable(&bench.manifest("dev-1").await);
}

#[tokio::test]
async fn what_an_index_lists_goes_by_its_audited_tags() {
    let bench = Bench::start().await;
    let child = Image::new("a child");
    let index = Image::index(&[&child]);
    bench.registry.push("apps/web", &child);
    bench.registry.push_tagged("apps/web", "try-1", &index);
    // Nobody has listed it yet: every policy for the repository counts.
    assert_denied(&bench.manifest(&child.digest).await, "unsigned");
    assert_serves(&bench.manifest("try-1").await, &index);
    let answer = bench.manifest(&child.digest).await;
    assert_serves(&answer, &child);
    let warning = answer.header("warning");
    assert!(warning.contains("tags/try"), "{warning}");
    // With a tag of its own it is held against the policy for that.
    bench.registry.push_tagged("apps/web", "prod-2", &child);
    assert_denied(&bench.manifest("prod-2").await, "unsigned");
    assert_denied(&bench.manifest(&child.digest).await, "unsigned");
}
