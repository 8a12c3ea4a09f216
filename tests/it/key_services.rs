//! Keys in key services, through the running proxy: what they admit, what they cost, and what becomes of it while they
//! are away.

mod attestations;
mod others;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::google_kms::{FakeKms, KEY};
use crate::support::signing::legacy_manifest;
use crate::support::*;

/// A policy named `apps` that this key of a key service satisfies, without a log entry.
fn policy(images: &str, reference: &str) -> Value {
    json!({"name": "apps", "images": [images], "authorities": [
        {"name": "kms", "key": reference, "transparency_log": "not_required"},
    ]})
}

/// A registry, a key ring, and a proxy whose policy for `apps/**` names the key ring's key.
struct Bench {
    registry: FakeRegistry,
    kms: FakeKms,
    proxy: Proxy,
}

impl Bench {
    /// With the key as a whole, or with what follows its name.
    async fn start(kms: FakeKms, version: &str) -> Self {
        Self::with(kms, version, |configuration| configuration).await
    }

    async fn with(
        kms: FakeKms,
        version: &str,
        change: impl FnOnce(Configuration) -> Configuration,
    ) -> Self {
        let registry = FakeRegistry::start().await;
        let images = format!("{}/apps/**", registry.name());
        let configuration = Configuration::new(&[&registry])
            .policy(policy(&images, &format!("gcpkms://{KEY}{version}")))
            .set(
                "key_providers",
                json!({"gcpkms": {"endpoint": kms.service.url()}}),
            );
        let proxy = Proxy::new(change(configuration));
        proxy.without_credentials();
        proxy.run().await;
        Self {
            registry,
            kms,
            proxy,
        }
    }

    fn unsigned(&self, name: &str) -> Image {
        let image = Image::new(name);
        self.registry.push_tagged(name, "v1", &image);
        image
    }

    fn signed(&self, name: &str, key: &SigningKey) -> Image {
        let image = self.unsigned(name);
        self.registry.sign_legacy(name, &image, key);
        image
    }

    async fn get(&self, name: &str) -> Answer {
        let path = format!("/v2/{}/{name}/manifests/v1", self.registry.name());
        self.proxy.get(&path).await
    }

    /// The newest record about a repository.
    async fn record(&self, name: &str) -> Value {
        let query = format!("repository={}/{name}&limit=1", self.registry.name());
        self.proxy.decisions(&query).await.remove(0)
    }

    /// The changes that the admin API has for this query, newest first.
    async fn changes(&self, query: &str) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let answer = self.proxy.admin(&format!("/api/v1/changes?{query}")).await;
            assert_eq!(answer.status, 200, "{answer}");
            let changes = answer.json()["changes"].as_array().unwrap().clone();
            // Changes are written moments after they are in force.
            if started.elapsed() > Duration::from_secs(1) {
                return changes;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks until it is served; panics after a while.
    async fn served_within(&self, name: &str, patience: Duration) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.get(name).await;
            if answer.status == 200 {
                return answer;
            }
            assert!(
                started.elapsed() < patience,
                "not within {patience:?}: {answer}"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Without credentials, a key service on this machine is asked all the same. A named file that is not there is an error.
#[tokio::test]
async fn empty_variables_count_as_unset() {
    let key = SigningKey::generate();
    let kms = FakeKms::start(&[(1, &key)]).await;
    let bench = Bench::start(kms, "").await;
    let image = bench.signed("apps/web", &key);
    bench.proxy.stop().await;
    bench
        .proxy
        .set_variable("GOOGLE_APPLICATION_CREDENTIALS", "");
    bench.proxy.run().await;
    assert_serves(&bench.get("apps/web").await, &image);
    bench.proxy.stop().await;
    bench
        .proxy
        .set_variable("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json");
    bench.proxy.run().await;
    assert_unavailable(&bench.get("apps/web").await);
}

#[tokio::test]
async fn a_pinned_version_admits_what_it_signed_and_costs_one_request() {
    let (key, other) = (SigningKey::generate(), SigningKey::generate());
    let kms = FakeKms::start(&[(1, &key), (2, &other)]).await;
    let bench = Bench::start(kms, "/versions/1").await;
    let image = bench.signed("apps/web", &key);
    assert_serves(&bench.get("apps/web").await, &image);
    let bare = bench.unsigned("apps/bare");
    assert_denied_by(
        &bench.get("apps/bare").await,
        "unsigned",
        "apps",
        &bare.digest,
    );
    let foreign = bench.signed("apps/foreign", &other);
    let answer = bench.get("apps/foreign").await;
    assert_denied_by(&answer, "untrusted_key", "apps", &foreign.digest);

    assert_eq!((bench.kms.lists(), bench.kms.gets()), (0, 1));
    let asked = bench.kms.service.asked().remove(0);
    assert_eq!(
        asked.path(),
        format!("/v1/{KEY}/cryptoKeyVersions/1/publicKey")
    );
    assert_eq!(
        asked.header("authorization"),
        "",
        "there are no credentials"
    );

    let record = bench.record("apps/web").await;
    let used = &record["attempts"][0]["key"];
    assert_eq!(used["reference"], format!("gcpkms://{KEY}/versions/1"));
    assert_eq!(used["version"], "1");
    assert_eq!(used["fingerprint"], key.fingerprint());
    assert!(record["timing_ms"]["keys"].is_number(), "{record}");
}

#[tokio::test]
async fn every_enabled_version_of_an_unpinned_key_vouches() {
    let keys: Vec<_> = (0..3).map(|_| SigningKey::generate()).collect();
    let kms = FakeKms::start(&[(8, &keys[0]), (9, &keys[1]), (10, &keys[2])]).await;
    kms.disable(8);
    let bench = Bench::start(kms, "").await;
    for (version, key) in [("9", &keys[1]), ("10", &keys[2])] {
        let name = format!("apps/by-{version}");
        let image = bench.signed(&name, key);
        assert_serves(&bench.get(&name).await, &image);
        let record = bench.record(&name).await;
        assert_eq!(record["attempts"][0]["key"]["version"], version, "{record}");
    }
    bench.signed("apps/by-8", &keys[0]);
    assert_denied(&bench.get("apps/by-8").await, "untrusted_key");
}

#[tokio::test]
async fn a_new_version_vouches_at_once_and_a_disabled_one_no_more() {
    let (first, second) = (SigningKey::generate(), SigningKey::generate());
    let bench = Bench::start(FakeKms::start(&[(9, &first)]).await, "").await;
    let image = bench.signed("apps/old", &first);
    assert_serves(&bench.get("apps/old").await, &image);
    assert_eq!((bench.kms.lists(), bench.kms.gets()), (1, 1));

    bench.kms.create(10, &second);
    bench.kms.disable(9);
    let newer = bench.signed("apps/new", &second);
    assert_serves(&bench.get("apps/new").await, &newer);
    assert_eq!((bench.kms.lists(), bench.kms.gets()), (2, 2), "one refresh");
    let record = bench.record("apps/new").await;
    assert!(
        record["timing_ms"]["keys"].as_f64().unwrap() > 0.0,
        "{record}"
    );
    // What was admitted by the version that is gone is decided again.
    assert_denied(&bench.get("apps/old").await, "untrusted_key");
    assert_eq!(bench.kms.lists(), 2, "not again within 30 s");
}

#[tokio::test]
async fn changes_of_keys_and_policies_are_records() {
    let (first, second) = (SigningKey::generate(), SigningKey::generate());
    let bench = Bench::start(FakeKms::start(&[(1, &first)]).await, "").await;
    let image = bench.signed("apps/old", &first);
    assert_serves(&bench.get("apps/old").await, &image);
    bench.kms.create(2, &second);
    let image = bench.signed("apps/new", &second);
    assert_serves(&bench.get("apps/new").await, &image);

    let changes = bench.changes("kind=key").await;
    let version = |number: &str, key: &SigningKey| json!({"version": number, "fingerprint": key.fingerprint()});
    let before = json!({"usable": true, "versions": [version("1", &first)]});
    let after = json!({"usable": true, "versions": [version("2", &second), version("1", &first)]});
    assert_eq!(changes[0]["name"], format!("gcpkms://{KEY}"));
    assert_eq!((&changes[0]["from"], &changes[0]["to"]), (&before, &after));
    let record = bench.record("apps/new").await;
    assert_eq!(changes[0]["configuration"], record["configuration"]);
    for key in ["id", "time", "replica", "kind"] {
        assert!(changes[0][key].is_string(), "{key}: {changes:?}");
    }
    let id = changes[0]["id"].as_str().unwrap();
    let log = bench.proxy.log();
    let lines: Vec<Value> = log
        .lines()
        .filter(|line| line.starts_with("{\"log\":\"change\","))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().any(|line| line["id"] == id), "{log}");

    // A restart changes nothing; another policy is a change, from what was in force before the restart.
    let configured = bench.changes("kind=configuration").await;
    assert_eq!(configured.len(), 1, "{configured:?}");
    bench.proxy.restart().await;
    bench.proxy.stop().await;
    bench.proxy.reconfigure(|configuration| {
        configuration["policies"][0]["name"] = json!("renamed");
    });
    bench.proxy.run().await;
    let configured = bench.changes("kind=configuration").await;
    assert_eq!(configured.len(), 2, "{configured:?}");
    assert_eq!(configured[0]["from"], configured[1]["to"]);
    assert_ne!(configured[0]["to"], configured[1]["to"]);
}

/// `verify --key gcpkms://…` reads the key once, by itself.
#[tokio::test]
async fn commands_read_keys_themselves() {
    let key = SigningKey::generate();
    let bench = Bench::start(FakeKms::start(&[(1, &key)]).await, "").await;
    bench.signed("apps/good", &key);
    bench.signed("apps/foreign", &SigningKey::generate());
    let config = bench.proxy.config_path();
    for (name, code) in [("apps/good", 0), ("apps/foreign", 1)] {
        let image = format!("{}/{name}:v1", bench.registry.name());
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["verify", "--output", "json", "--config"])
            .arg(&config)
            .arg(&image)
            .env_remove("GOOGLE_APPLICATION_CREDENTIALS")
            .env("HOME", "/nonexistent")
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

/// Verification §3: bad signatures must not burn the quota of the key service.
#[tokio::test]
async fn kms_amplification() {
    let (first, second, stranger) = (
        SigningKey::generate(),
        SigningKey::generate(),
        SigningKey::generate(),
    );
    let kms = FakeKms::start(&[(1, &first), (2, &second)]).await;
    let bench = Bench::start(kms, "").await;
    let image = bench.signed("apps/good", &first);
    assert_serves(&bench.get("apps/good").await, &image);
    bench.kms.service.forget();

    // Each image carries fifty signatures by strangers, each decided about anew.
    let names: Vec<String> = (0..120)
        .map(|number| format!("apps/bad-{number}"))
        .collect();
    for name in &names {
        let image = bench.unsigned(name);
        let (layers, payloads): (Vec<_>, Vec<_>) = (0..50)
            .map(|_| stranger.simple_signing(&image.digest))
            .unzip();
        let signature = legacy_manifest(&layers, &payloads);
        bench
            .registry
            .push_tagged(name, &image.cosign_tag("sig"), &signature);
    }
    let began = Instant::now();
    for group in names.chunks(20) {
        let answers = together(group.iter().map(|name| bench.get(name))).await;
        for answer in answers {
            assert_denied(&answer, "untrusted_key");
        }
    }
    let intervals = 1 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    assert!(
        bench.kms.lists() <= intervals,
        "{} lists",
        bench.kms.lists()
    );
    assert!(
        bench.kms.gets() <= 2 * intervals,
        "{} gets",
        bench.kms.gets()
    );
    assert!(
        bench.kms.lists() >= 1,
        "the signatures were a reason to ask"
    );
}

#[tokio::test]
async fn a_service_that_is_down_at_the_start_refuses_nobody_for_good() {
    let key = SigningKey::generate();
    let file_key = SigningKey::generate();
    let bench = Bench::with(
        FakeKms::away(&[(1, &key)]),
        "/versions/1",
        |mut configuration| {
            let images = configuration.0["policies"][0]["images"][0]
                .as_str()
                .unwrap();
            let images = images.replace("/apps/", "/file/");
            configuration = configuration.policy(key_policy("file", &images, &[&file_key]));
            configuration
        },
    )
    .await;
    let image = bench.signed("apps/web", &key);
    let error = assert_unavailable(&bench.get("apps/web").await);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(KEY), "{message}");
    bench.unsigned("apps/bare");
    assert_denied(&bench.get("apps/bare").await, "unsigned");
    let other = bench.signed("file/web", &file_key);
    assert_serves(&bench.get("file/web").await, &other);

    let trust = bench.proxy.admin("/api/v1/trust").await.json();
    assert_eq!(trust["keys"][0]["usable"], false, "{trust}");
    assert!(trust["keys"][0]["failure"].is_string(), "{trust}");

    bench.kms.service.resume().await;
    let answer = bench
        .served_within("apps/web", Duration::from_secs(20))
        .await;
    assert_serves(&answer, &image);
}

#[tokio::test]
async fn a_service_that_hangs_is_what_is_missing() {
    let key = SigningKey::generate();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let kms = FakeKms::start(&[(1, &key)]).await;
    let bench = Bench::with(kms, "/versions/1", |configuration| {
        configuration.set("key_providers", json!({"gcpkms": {"endpoint": address}}))
    })
    .await;
    bench.signed("apps/web", &key);
    let error = assert_unavailable(&bench.get("apps/web").await);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(KEY), "{message}");
    assert!(!message.contains("is not answering"), "{message}");
}

#[tokio::test]
async fn the_last_known_keys_serve_through_an_outage() {
    let (key, stranger) = (SigningKey::generate(), SigningKey::generate());
    let bench = Bench::start(FakeKms::start(&[(1, &key)]).await, "").await;
    let image = bench.signed("apps/web", &key);
    assert_serves(&bench.get("apps/web").await, &image);
    bench.kms.service.stop();
    let later = bench.signed("apps/later", &key);
    assert_serves(&bench.get("apps/later").await, &later);
    // Nobody knows whether there is a newer version: still, what is known decides.
    bench.signed("apps/foreign", &stranger);
    assert_denied(&bench.get("apps/foreign").await, "untrusted_key");
    let third = bench.signed("apps/third", &key);
    assert_serves(&bench.get("apps/third").await, &third);
    let trust = bench.proxy.admin("/api/v1/trust").await.json();
    assert_eq!(trust["keys"][0]["usable"], true, "{trust}");
    assert!(trust["keys"][0]["failure"].is_string(), "{trust}");
}

#[tokio::test]
async fn an_answer_that_is_not_about_the_key_is_no_key() {
    let key = SigningKey::generate();
    for lie in [
        json!({"name": format!("{KEY}/cryptoKeyVersions/2")}),
        json!({"pemCrc32c": "1"}),
        json!({"algorithm": "EC_SIGN_P384_SHA384"}),
    ] {
        let kms = FakeKms::start(&[(1, &key)]).await;
        kms.lie(1, lie.clone());
        let bench = Bench::start(kms, "/versions/1").await;
        bench.signed("apps/web", &key);
        assert_unavailable(&bench.get("apps/web").await);
        let record = bench.record("apps/web").await;
        assert_eq!(record["decision"], "unavailable", "{lie}: {record}");
    }
}
