//! Two of Kyverno's policies as people run them, unchanged and under the very names they are about: an apps registry
//! signed by one key of a key service, and a project that signs with its workflow's identity.
//!
//! A local registry stands behind both names, a local service for the key service, and the corpus' trusted root for
//! `public-good`.

mod changing;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::google_kms::{FakeKms, KEY};
use crate::support::*;

const APPS: &str = "us-docker.pkg.dev/project123/apps";
const APPS_POLICY: &str = "apps-policy/check-image";
const SECRETS: &str = "ghcr.io/external-secrets/external-secrets";
const SECRETS_POLICY: &str = "external-secrets-policy/external-secrets-policy";
/// Where the two say so.
const WRITTEN: [&str; 2] = [
    "apps-gcpkms.kyverno.yaml:19",
    "external-secrets.kyverno.yaml:19",
];

fn document(name: &str) -> String {
    let folder = "tests/fixtures/policies/kyverno";
    format!(
        "{}/{folder}/{name}.kyverno.yaml",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// The key of the corpus that the policy's key stands for here.
fn corpus_key() -> String {
    std::fs::read_to_string(corpus::directory().join("keys/k1.pub")).unwrap()
}

struct Bench {
    registry: FakeRegistry,
    kms: FakeKms,
    proxy: Proxy,
}

impl Bench {
    async fn start() -> Self {
        let bench = Self::with_service_away().await;
        bench.kms.service.resume().await;
        // Until the key is read.
        let image = bench.signed("first", "v1");
        bench.served_soon("first", "v1", &image).await;
        bench
    }

    /// The key service does not run yet.
    async fn with_service_away() -> Self {
        let registry = FakeRegistry::start().await;
        let kms = FakeKms::away(&[]);
        kms.create_of(1, corpus_key());
        let endpoint = format!("http://{}", registry.name());
        let upstream = json!({"endpoint": endpoint, "plain_http": true});
        let proxy = Proxy::new(Configuration(json!({
            "upstreams": {"us-docker.pkg.dev": upstream, "ghcr.io": upstream},
            "policy_files": [document("apps-gcpkms"), document("external-secrets")],
            "trusted_roots": {"public-good": {"file": corpus::directory().join("trust/trusted_root.json")}},
            "key_providers": {"gcpkms": {"endpoint": kms.service.url()}},
        })));
        proxy.without_credentials();
        proxy.run().await;
        Self {
            registry,
            kms,
            proxy,
        }
    }

    /// What a repository of the corpus holds, under a name of the apps.
    fn app(&self, from: &str, name: &str, tag: &str) -> Image {
        corpus::copy(
            from,
            &self.registry,
            &format!("project123/apps/{name}"),
            tag,
        )
    }

    /// An image that the key signed, in the log.
    fn signed(&self, name: &str, tag: &str) -> Image {
        self.app("key/tlog-legacy", name, tag)
    }

    fn secrets(&self, from: &str, tag: &str) -> Image {
        let repository = "external-secrets/external-secrets";
        corpus::copy(from, &self.registry, repository, tag)
    }

    fn unsigned(&self, repository: &str, tag: &str) -> Image {
        let image = Image::new(&format!("{repository}:{tag}"));
        self.registry.push_tagged(repository, tag, &image);
        image
    }

    async fn get(&self, name: &str, reference: &str) -> Answer {
        let path = format!("/v2/{name}/manifests/{reference}");
        self.proxy.get(&path).await
    }

    /// The tag, then the digest, as a runtime asks; then only to look.
    async fn serves(&self, name: &str, tag: &str, image: &Image) {
        for reference in [tag, &image.digest] {
            assert_serves(&self.get(name, reference).await, image);
            let path = format!("/v2/{name}/manifests/{reference}");
            assert_eq!(self.proxy.head(&path).await.status, 200);
        }
    }

    /// Refused by tag, by digest, and as a blob, which a runtime tries after a refusal.
    async fn refuses(&self, name: &str, tag: &str, image: &Image, kind: &str, policy: &str) {
        for reference in [tag, &image.digest] {
            let answer = self.get(name, reference).await;
            assert_withheld(&answer, &image.digest);
            let error = assert_denied_by(&answer, kind, policy, &image.digest);
            let message = error["message"].as_str().unwrap();
            let written = WRITTEN[usize::from(policy == SECRETS_POLICY)];
            let start = format!("policy `{policy}` ({written}) refuses {name}@");
            assert!(message.starts_with(&start), "{message}");
            let path = format!("/v2/{name}/manifests/{reference}");
            assert_eq!(self.proxy.head(&path).await.status, 403);
        }
        let path = format!("/v2/{name}/blobs/{}", image.digest);
        assert_denied(&self.proxy.get(&path).await, "not_endorsed");
    }

    /// No policy covers the name: everything under it is refused, and nobody asks the upstream.
    async fn refuses_name(&self, name: &str, image: &Image) {
        self.registry.forget_requests();
        for reference in ["v1", &image.digest] {
            let answer = self.get(name, reference).await;
            assert_denied(&answer, "no_policy");
            assert_withheld(&answer, &image.digest);
        }
        let path = format!("/v2/{name}/tags/list");
        assert_denied(&self.proxy.get(&path).await, "no_policy");
        assert_eq!(self.registry.requests().len(), 0, "{name}");
    }

    async fn served_soon(&self, name: &str, reference: &str, image: &Image) {
        let started = Instant::now();
        loop {
            let answer = self.get(&format!("{APPS}/{name}"), reference).await;
            if answer.status == 200 {
                return assert_serves(&answer, image);
            }
            assert_unavailable(&answer);
            assert!(started.elapsed() < Duration::from_secs(30), "{answer}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Puts other documents in force while the process runs.
    async fn run_documents(&self, names: &[&str]) {
        let files: Vec<_> = names.iter().map(|name| document(name)).collect();
        let before = self.configuration().await["loaded_at"].clone();
        self.proxy
            .rewrite(|configuration| configuration["policy_files"] = json!(files));
        self.proxy.signal_hangup();
        let started = Instant::now();
        while self.configuration().await["loaded_at"] == before {
            assert!(started.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn configuration(&self) -> Value {
        self.proxy.admin("/readyz").await.json()["configuration"].clone()
    }
}

/// They are what people have: whoever changes them here tests something else.
#[test]
fn the_documents_are_unchanged() {
    for (name, digest) in [
        (
            "apps-gcpkms",
            "sha256:4df7d8f9a4abd7801ce4731708753ffbae0a9dde7489f4220b22f5db120356eb",
        ),
        (
            "external-secrets",
            "sha256:c965914f38e6ee0090af5cc091fbf2851a9cd1d2907818cfc62d6601ade2d096",
        ),
    ] {
        assert_eq!(sha256(&std::fs::read(document(name)).unwrap()), digest);
    }
}

#[tokio::test]
async fn apps_signed_by_the_key_of_the_key_service_are_served() {
    let bench = Bench::start().await;
    for (from, name) in [
        ("key/tlog-legacy", "web"),
        ("key/tlog-bundle-sc-r1", "bundle"),
        ("key/tlog-bundle-sc-r2", "second-log"),
        ("key/tlog-legacy", "team/sub/web"),
    ] {
        let image = bench.app(from, name, "v1");
        bench.serves(&format!("{APPS}/{name}"), "v1", &image).await;
    }
    // By digest first: no tag is known.
    let image = bench.signed("by-digest", "v1");
    let name = format!("{APPS}/by-digest");
    assert_serves(&bench.get(&name, &image.digest).await, &image);
    bench.serves(&name, "v1", &image).await;
    let record = &bench.proxy.decisions(&format!("repository={name}")).await[0];
    assert_eq!(record["basis"], "signature");
    assert_eq!(record["policies"][0]["name"], APPS_POLICY);
    let attempt = &record["attempts"][0];
    assert_eq!(attempt["key"]["version"], "1");
    assert_eq!(
        attempt["key"]["reference"],
        format!("gcpkms://{KEY}/versions/1")
    );
    assert!(attempt["transparency_log"]["log_index"].is_number());
    assert_eq!((bench.kms.lists(), bench.kms.gets()), (0, 1));
}

#[tokio::test]
async fn apps_that_the_key_did_not_sign_are_refused() {
    let bench = Bench::start().await;
    let refused = async |name: &str, image: &Image, kind: &str| {
        let name = format!("{APPS}/{name}");
        bench.refuses(&name, "v1", image, kind, APPS_POLICY).await;
    };
    let unsigned = bench.unsigned("project123/apps/unsigned", "v1");
    refused("unsigned", &unsigned, "unsigned").await;
    let foreign = bench.unsigned("project123/apps/foreign", "v1");
    let stranger = SigningKey::generate();
    bench
        .registry
        .sign_legacy("project123/apps/foreign", &foreign, &stranger);
    refused("foreign", &foreign, "untrusted_key").await;
    let identity = bench.app("kf/legacy-gh", "keyless", "v1");
    refused("keyless", &identity, "untrusted_key").await;
    // The document says nothing about a log, and Kyverno demands an entry then.
    let unlogged = bench.app("key/legacy-k1", "unlogged", "v1");
    refused("unlogged", &unlogged, "transparency_log").await;
    let foreign_entry = bench.app("neg/n-ktl-foreign", "foreign-entry", "v1");
    refused("foreign-entry", &foreign_entry, "transparency_log").await;
    // The signature of one image under the tag of another.
    let (repository, tag) = ("project123/apps/transplanted", "v1");
    let signed = corpus::copy("key/tlog-legacy", &bench.registry, repository, "signed");
    let victim = bench.unsigned(repository, tag);
    let signature = bench
        .registry
        .resolve(repository, &signed.cosign_tag("sig"));
    bench
        .registry
        .tag(repository, &victim.cosign_tag("sig"), &signature);
    refused("transplanted", &victim, "wrong_subject").await;
}

#[tokio::test]
async fn names_that_no_document_covers_are_refused() {
    let bench = Bench::start().await;
    for (name, repository) in [
        ("us-docker.pkg.dev", "project123/other/web"),
        ("us-docker.pkg.dev", "project123/apps-internal/web"),
        ("us-docker.pkg.dev", "project123/apps"),
        ("us-docker.pkg.dev", "project1234/apps/web"),
        (
            "us-docker.pkg.dev",
            "other/us-docker.pkg.dev/project123/apps/web",
        ),
        ("us-docker.pkg.dev", "external-secrets/external-secrets"),
        ("ghcr.io", "external-secrets/external-secrets-evil"),
        ("ghcr.io", "external-secrets/external-secrets/chart"),
        ("ghcr.io", "external-secrets/other"),
        ("ghcr.io", "project123/apps/web"),
        ("ghcr.io", "evil/external-secrets/external-secrets"),
    ] {
        // Signed by whom both documents believe.
        let image = corpus::copy("kf/legacy-gh", &bench.registry, repository, "v1");
        bench
            .refuses_name(&format!("{name}/{repository}"), &image)
            .await;
        corpus::copy("key/tlog-legacy", &bench.registry, repository, "by-key");
        let answer = bench.get(&format!("{name}/{repository}"), "by-key").await;
        assert_denied(&answer, "no_policy");
    }
}

#[tokio::test]
async fn external_secrets_signed_by_its_workflow_is_served() {
    let bench = Bench::start().await;
    for (from, tag) in [
        ("kf/legacy-gh", "v1"),
        ("kf/bundle-sc-r1", "v2"),
        ("kf/bundle-sc-r2", "v3"),
        ("kf/legacy-cosign2", "latest"),
    ] {
        let image = bench.secrets(from, tag);
        bench.serves(SECRETS, tag, &image).await;
    }
    // An index, and its platform that nobody asked for by tag.
    let index = bench.secrets("kf/bundle-index", "v4");
    bench.serves(SECRETS, "v4", &index).await;
    let listed: Value = serde_json::from_slice(&index.bytes).unwrap();
    let child = listed["manifests"][0]["digest"].as_str().unwrap();
    assert_eq!(bench.get(SECRETS, child).await.digest(), child);
    // By digest first: no tag is known.
    let image = bench.secrets("kf/bundle-sc-r1tsa", "v5");
    assert_serves(&bench.get(SECRETS, &image.digest).await, &image);
    bench.serves(SECRETS, "v5", &image).await;
    let query = format!("repository={SECRETS}&digest={}", image.digest);
    let record = &bench.proxy.decisions(&query).await[0];
    assert_eq!(record["policies"][0]["name"], SECRETS_POLICY);
    let identity = record["attempts"][0]["certificate"]["identity"].as_str();
    let expected = "https://github.com/external-secrets/external-secrets/";
    assert!(identity.unwrap().starts_with(expected), "{record}");
}

#[tokio::test]
async fn external_secrets_signed_by_anybody_else_is_refused() {
    let bench = Bench::start().await;
    let unsigned = bench.unsigned("external-secrets/external-secrets", "unsigned");
    let refused = async |tag: &str, image: &Image, kind: &str| {
        let policy = SECRETS_POLICY;
        bench.refuses(SECRETS, tag, image, kind, policy).await;
    };
    refused("unsigned", &unsigned, "unsigned").await;
    for (from, kind) in [
        ("kf/legacy-evil-org", "wrong_identity"),
        ("kf/bundle-evil-org", "wrong_identity"),
        ("kf/legacy-embedded", "wrong_identity"),
        ("kf/bundle-email", "wrong_identity"),
        ("kf/legacy-evil-issuer", "wrong_issuer"),
        ("kf/bundle-evil-issuer", "wrong_issuer"),
        ("neg/n-kfl-transplant", "wrong_subject"),
        ("neg/n-kfb-r1-transplant", "wrong_subject"),
        ("neg/n-kfl-otherca-sct", "invalid_certificate"),
        ("neg/n-kfl-nosct", "invalid_certificate"),
        ("kf/legacy-tsa-only", "transparency_log"),
        ("att/keyless-bundle-spdxjson", "unsigned"),
    ] {
        let tag = from.replace('/', "-");
        let image = bench.secrets(from, &tag);
        refused(&tag, &image, kind).await;
    }
    // By the key that the other document trusts.
    let image = bench.secrets("key/tlog-legacy", "by-key");
    let answer = bench.get(SECRETS, "by-key").await;
    assert_eq!(answer.status, 403, "{answer}");
    assert_withheld(&answer, &image.digest);
}
