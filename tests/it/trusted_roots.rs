//! Trusted roots through the running proxy: fetched, rotated, grown old.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigstore_trust_root::SIGSTORE_STAGING_TRUSTED_ROOT as ANOTHER;

use crate::support::service::{FakeService, Reply};
use crate::support::tuf::TufRepository;
use crate::support::*;

const IDENTITY: &str = "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const REPOSITORY: &str = "c/kf-legacy-gh/kf/legacy-gh";
const SIGNED: &str = "sha256:4da8d1a9fb9c7bd804f9cb4f9bac5e89e4fc8845f24b231ac3ad5e2038b3513c";

/// The root of the private Sigstore that signed the corpus.
fn corpus_root() -> String {
    std::fs::read_to_string(corpus::directory().join("trust/trusted_root.json")).unwrap()
}

/// The registry of the corpus, and a proxy that believes in a private root for all of it.
struct Bench {
    registry: FakeRegistry,
    proxy: Proxy,
}

impl Bench {
    /// Not started yet.
    async fn new(root: Value) -> Self {
        let registry = corpus::registry().await;
        let configuration = Configuration::new(&[&registry])
            .policy(json!({
                "name": "private", "images": [format!("{}/c/**", registry.name())],
                "authorities": [{
                    "name": "release", "certificate_identity": IDENTITY, "certificate_oidc_issuer": ISSUER,
                    "trusted_root": "private",
                }],
            }))
            .set("trusted_roots", json!({
                "private": root,
                // Nobody asks the public instance from here.
                "public-good": {"mirror": "http://127.0.0.1:9"},
            }));
        let proxy = Proxy::new(configuration);
        Self { registry, proxy }
    }

    async fn with_repository(repository: &TufRepository) -> Self {
        let root = json!({"tuf": {"url": repository.service.url(), "root": "root.json"}});
        let bench = Self::new(root).await;
        bench.proxy.write_file("root.json", &repository.root);
        bench.proxy.run().await;
        bench
    }

    fn path(&self) -> String {
        format!(
            "/v2/{}/{REPOSITORY}/manifests/{SIGNED}",
            self.registry.name()
        )
    }

    async fn get(&self) -> Answer {
        self.proxy.get(&self.path()).await
    }

    /// Asks until the status is this; panics after a while.
    async fn answers_within(&self, status: u16, patience: Duration) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.get().await;
            if answer.status == status {
                return answer;
            }
            assert!(
                started.elapsed() < patience,
                "not within {patience:?}: {answer}"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Has the roots refreshed now.
    async fn refresh(&self) -> Value {
        let answer = send(
            self.proxy.admin_port(),
            "POST",
            "/api/v1/trust/refresh",
            &[],
        )
        .await;
        assert_eq!(answer.status, 200, "{answer}");
        root_in(&answer.json())
    }

    async fn decisions(&self) -> Vec<Value> {
        self.proxy
            .decisions(&format!("digest={SIGNED}&limit=1000"))
            .await
    }
}

fn root_in(trust: &Value) -> Value {
    let roots = trust["trusted_roots"].as_array().unwrap();
    roots
        .iter()
        .find(|root| root["name"] == "private")
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_private_repository_is_fetched_in_the_background() {
    let content = corpus_root();
    let repository = TufRepository::away(&content);
    let bench = Bench::with_repository(&repository).await;
    let error = assert_unavailable(&bench.get().await);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("trusted root private"), "{message}");
    let ready = bench.proxy.admin("/readyz").await;
    assert_eq!(ready.status, 200, "other replicas would be no better");
    assert_eq!(root_in(&ready.json())["usable"], false);

    repository.service.resume().await;
    let root = bench.refresh().await;
    assert_eq!(root["usable"], true, "{root}");
    assert_eq!(root["digest"], sha256(content.as_bytes()));
    assert_eq!(root["metadata"]["timestamp"], 1);
    assert!(
        root["stale_at"].is_string() && root["refreshed"].is_string(),
        "{root}"
    );
    bench.answers_within(200, Duration::from_secs(5)).await;
    let record = bench.decisions().await.remove(0);
    assert_eq!(record["trusted_root"], sha256(content.as_bytes()));
}

/// `verify` fetches what it needs once, by itself.
#[tokio::test]
async fn commands_fetch_a_private_root_themselves() {
    let repository = TufRepository::publishing(&corpus_root()).await;
    let bench = Bench::with_repository(&repository).await;
    let image = format!("{}/{REPOSITORY}@{SIGNED}", bench.registry.name());
    let verify = async || {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["verify", "--config"])
            .arg(bench.proxy.config_path())
            .arg(&image)
            .output()
            .await
            .unwrap()
    };
    let output = verify().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    repository.service.stop();
    let output = verify().await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        told.contains("trusted root private was not fetched"),
        "{told}"
    );
}

#[tokio::test]
async fn the_first_fetch_needs_nobody_to_ask_for_it() {
    let repository = TufRepository::publishing(&corpus_root()).await;
    let bench = Bench::with_repository(&repository).await;
    bench.answers_within(200, Duration::from_secs(15)).await;
}

#[tokio::test]
async fn a_rotation_decides_again_without_the_registry_and_without_a_stampede() {
    let content = corpus_root();
    let repository = TufRepository::publishing(&content).await;
    let bench = Bench::with_repository(&repository).await;
    bench.refresh().await;
    bench.answers_within(200, Duration::from_secs(5)).await;

    // A root that knows nobody of the first.
    repository.publish(ANOTHER);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.refresh().await["digest"], sha256(ANOTHER.as_bytes()));
    bench.registry.forget_requests();
    assert_denied(&bench.get().await, "transparency_log");

    // The same authorities again, spelt differently.
    let again = format!("{content}\n");
    repository.publish(&again);
    tokio::time::sleep(Duration::from_secs(5)).await;
    bench.registry.forget_requests();
    let before = bench.decisions().await.len();
    assert_eq!(bench.refresh().await["digest"], sha256(again.as_bytes()));
    let answers = together((0..500).map(|_| bench.get())).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer}");
    }
    assert_eq!(
        bench.decisions().await.len(),
        before + 1,
        "one verification"
    );
    assert_eq!(bench.registry.requests().len(), 0, "from what is stored");

    let changes = bench
        .proxy
        .admin("/api/v1/changes?kind=trusted_root&name=private")
        .await
        .json();
    let digests: Vec<_> = changes["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            (
                change["from"]["digest"].clone(),
                change["to"]["digest"].clone(),
            )
        })
        .collect();
    let (first, second, third) = (
        sha256(content.as_bytes()),
        sha256(ANOTHER.as_bytes()),
        sha256(again.as_bytes()),
    );
    assert_eq!(
        digests[..2],
        [(json!(second), json!(third)), (json!(first), json!(second))]
    );
}

/// Sets the times in what is kept of the repository back by so many days.
#[expect(
    clippy::disallowed_methods,
    reason = "the proxy under test has the real clock, too"
)]
fn age(proxy: &Proxy, days: i64) {
    let path = proxy.data_dir().join("trust/private/state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    state["confirmed"]["time"] = json!(then);
    state["first_used"] = json!(then);
    std::fs::write(&path, state.to_string()).unwrap();
}

#[tokio::test]
async fn a_root_that_nobody_confirms_stops_admitting_with_warnings_before() {
    let repository = TufRepository::publishing(&corpus_root()).await;
    let bench = Bench::with_repository(&repository).await;
    bench.refresh().await;
    bench.answers_within(200, Duration::from_secs(5)).await;
    bench.proxy.stop().await;
    repository.service.stop();

    age(&bench.proxy, 15);
    bench.proxy.run().await;
    bench.answers_within(200, Duration::from_secs(5)).await;
    let ready = root_in(&bench.proxy.admin("/readyz").await.json());
    assert!(
        ready["warnings"][0]
            .as_str()
            .unwrap()
            .contains("stops admitting"),
        "{ready}"
    );
    bench.proxy.stop().await;

    age(&bench.proxy, 31);
    bench.proxy.run().await;
    let error = assert_unavailable(&bench.get().await);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("could not be refreshed in time"),
        "{message}"
    );
    for setting in ["trusted_roots: {private: {file:", "root_max_stale"] {
        assert!(message.contains(setting), "{message}");
    }
    let ready = root_in(&bench.proxy.admin("/readyz").await.json());
    assert_eq!(ready["needed"], true, "{ready}");
    let metrics = bench.proxy.admin("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let usable = "countersign_trusted_root_usable{trusted_root=\"private\"} 0";
    assert!(metrics.contains(usable), "{metrics}");

    repository.service.resume().await;
    bench.refresh().await;
    bench.answers_within(200, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn key_without_a_log_decides_although_its_root_was_never_fetched() {
    let repository = TufRepository::away(&corpus_root());
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let authority = |log: &str| {
        json!([{
            "key": key.public_pem(), "trusted_root": "private", "transparency_log": log,
        }])
    };
    let policy = |name: &str, log: &str| {
        let images = [format!("{}/{name}/**", registry.name())];
        json!({"name": name, "images": images, "authorities": authority(log)})
    };
    let root = json!({"tuf": {"url": repository.service.url(), "root": "root.json"}});
    let configuration = Configuration::new(&[&registry])
        .policy(policy("plain", "not_required"))
        .set(
            "trusted_roots",
            json!({"private": root, "public-good": {"mirror": "http://127.0.0.1:9"}}),
        );
    let proxy = Proxy::new(configuration);
    proxy.write_file("root.json", &repository.root);
    proxy.run().await;
    let (signed, unsigned) = (Image::new("signed"), Image::new("unsigned"));
    registry.push_tagged("plain/web", "signed", &signed);
    registry.sign_legacy("plain/web", &signed, &key);
    registry.push_tagged("plain/web", "unsigned", &unsigned);
    let path = |tag: &str| format!("/v2/{}/plain/web/manifests/{tag}", registry.name());
    assert_eq!(proxy.get(&path("signed")).await.status, 200);
    assert_denied(&proxy.get(&path("unsigned")).await, "unsigned");
    let ready = root_in(&proxy.admin("/readyz").await.json());
    assert_eq!(
        (&ready["usable"], &ready["needed"]),
        (&json!(false), &json!(false))
    );
}

#[tokio::test]
async fn a_file_that_changes_is_taken_in() {
    let bench = Bench::new(json!({"file": "trusted_root.json"})).await;
    bench.proxy.write_file("trusted_root.json", ANOTHER);
    bench.proxy.run().await;
    assert_denied(&bench.get().await, "transparency_log");
    bench.proxy.write_file("trusted_root.json", &corpus_root());
    bench.answers_within(200, Duration::from_secs(30)).await;
    // What cannot be used changes nothing.
    bench.proxy.write_file("trusted_root.json", "{");
    let root = bench.refresh().await;
    assert_eq!(root["usable"], true, "{root}");
    assert!(
        root["warnings"][0]
            .as_str()
            .unwrap()
            .contains("stays in force"),
        "{root}"
    );
    assert_eq!(bench.get().await.status, 200);
}

#[tokio::test]
async fn the_built_in_root_serves_while_its_mirror_has_nothing() {
    let mirror = FakeService::start(|_| Reply::json(404, &json!({}))).await;
    let scene = Scene::with(|configuration, _| {
        configuration.set(
            "trusted_roots",
            json!({"public-good": {"mirror": mirror.url()}}),
        )
    })
    .await;
    let image = scene.signed("apps/web", "v1");
    let answer = send(
        scene.proxy.admin_port(),
        "POST",
        "/api/v1/trust/refresh",
        &[],
    )
    .await;
    let root = &answer.json()["trusted_roots"][0];
    assert_eq!(root["usable"], true, "{root}");
    assert!(root["failure"]["reason"].is_string(), "{root}");
    assert!(!mirror.asked().is_empty());
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}
