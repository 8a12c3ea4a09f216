//! The commands as somebody types them: what they print, and the exit codes that scripts rely on.

use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::*;

mod demo;
mod doctor;
mod first_day;
mod init;
mod parity;
mod policy;
mod policy_audit;
mod policy_diff;
mod policy_record;
mod recheck;
mod verify_bundle;

const ADMITTED: i32 = 0;
const REFUSED: i32 = 1;
const UNDECIDED: i32 = 2;
const USAGE: i32 = 64;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        // Neither what `docker login` left behind nor a token of the person who runs the tests.
        .env_remove("ADMIN_TOKEN")
        .env("DOCKER_CONFIG", "/nonexistent")
        .kill_on_drop(true);
    command
}

async fn countersign(arguments: &[&str]) -> Output {
    command(arguments).output().await.unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// A registry with images, and a key in a file.
struct Workplace {
    registry: FakeRegistry,
    key: SigningKey,
    directory: TempDir,
}

impl Workplace {
    async fn new() -> Self {
        let workplace = Self {
            registry: FakeRegistry::start().await,
            key: SigningKey::generate(),
            directory: TempDir::new().unwrap(),
        };
        workplace.write("key.pub", &workplace.key.public_pem());
        workplace
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn image(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.name())
    }

    fn signed(&self, name: &str) -> Image {
        let image = self.unsigned(name);
        self.registry.sign_legacy(name, &image, &self.key);
        image
    }

    fn unsigned(&self, name: &str) -> Image {
        let image = Image::new(name);
        self.registry.push_tagged(name, "v1", &image);
        image
    }

    /// A configuration file with a policy for `apps/`.
    fn config(&self) -> String {
        let images = format!("{}/apps/**", self.registry.name());
        let configuration = Configuration::new(&[&self.registry])
            .policy(key_policy("apps", &images, &[&self.key]))
            .policy(key_policy("others", "other.example/**", &[&self.key]));
        self.write("config.yaml", &configuration.0.to_string())
    }

    /// `verify` by the key, with these arguments after it.
    async fn verify(&self, arguments: &[&str]) -> Output {
        let key = self.path("key.pub");
        let mut all = vec!["verify", "--key", &key, "--plain-http"];
        all.extend(arguments);
        countersign(&all).await
    }
}

#[tokio::test]
async fn verify_answers_by_its_exit_code() {
    let place = Workplace::new().await;
    let image = place.signed("apps/web");
    place.unsigned("apps/bare");
    let web = place.image("apps/web:v1");

    let admitted = place.verify(&["--insecure-ignore-tlog", &web]).await;
    assert_eq!(code(&admitted), ADMITTED, "{}", text(&admitted));
    assert!(text(&admitted).contains(&image.digest));
    assert!(text(&admitted).contains(&place.key.fingerprint()));

    let by_digest = place.image(&format!("apps/web@{}", image.digest));
    let admitted = place.verify(&["--insecure-ignore-tlog", &by_digest]).await;
    assert_eq!(code(&admitted), ADMITTED, "{}", text(&admitted));

    let without_log = place.verify(&[&web]).await;
    assert_eq!(code(&without_log), REFUSED, "{}", text(&without_log));
    assert!(text(&without_log).contains("transparency_log"));

    let annotated = place
        .verify(&["--insecure-ignore-tlog", "-a", "env=prod", &web])
        .await;
    assert_eq!(code(&annotated), REFUSED, "{}", text(&annotated));
    assert!(text(&annotated).contains("annotation_mismatch"));

    let bare = place.image("apps/bare:v1");
    let unsigned = place.verify(&["--insecure-ignore-tlog", &bare]).await;
    assert_eq!(code(&unsigned), REFUSED, "{}", text(&unsigned));
    assert!(text(&unsigned).contains("unsigned"));

    let absent = place.image("apps/absent:v1");
    let absent = place.verify(&["--insecure-ignore-tlog", &absent]).await;
    assert_eq!(code(&absent), UNDECIDED, "{}", text(&absent));

    place
        .registry
        .fault("/manifests/sha256-", Fault::Status(500));
    let undecided = place.verify(&["--insecure-ignore-tlog", &bare]).await;
    assert_eq!(code(&undecided), UNDECIDED, "{}", text(&undecided));
    assert!(text(&undecided).contains("unavailable"));
}

#[tokio::test]
async fn verify_speaks_plain_http_to_loopback_alone_unless_told_otherwise() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    let (key, web) = (place.path("key.pub"), place.image("apps/web:v1"));
    let plain = ["verify", "--key", &key, "--insecure-ignore-tlog", &web];
    let output = countersign(&plain).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    // Whoever names an authority for the registry expects TLS.
    place.registry.forget_requests();
    let authority = corpus::directory().join("trust/fulcio-root.pem");
    let authority = ["--registry-cacert", authority.to_str().unwrap()];
    let output = countersign(&[&plain[..], &authority].concat()).await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    assert_eq!(place.registry.requests().len(), 0);
}

#[tokio::test]
async fn verify_prints_the_record_as_json() {
    let place = Workplace::new().await;
    let image = place.signed("apps/web");
    let (config, web) = (place.config(), place.image("apps/web:v1"));
    let output = countersign(&["verify", "--config", &config, "--output", "json", &web]).await;
    let record = json(&output);
    assert_eq!(code(&output), ADMITTED);
    assert_eq!(record["decision"], "admit");
    assert_eq!(record["reference"], "v1");
    assert_eq!(record["digest"], image.digest);
    assert_eq!(record["attempts"][0]["outcome"], "verified");
    assert_eq!(record["id"], Value::Null, "no log contains it: {record}");

    let absent = place.image("apps/absent:v1");
    let output = countersign(&["verify", "--config", &config, "--output", "json", &absent]).await;
    assert_eq!(code(&output), UNDECIDED);
    assert_eq!(json(&output)["decision"], "unavailable");
    assert_eq!(json(&output)["denial"]["kind"], "not_found");

    let elsewhere = "elsewhere.example/app";
    let output = countersign(&["verify", "--config", &config, "--output", "json", elsewhere]).await;
    assert_eq!(code(&output), REFUSED);
    assert_eq!(json(&output)["denial"]["kind"], "upstream_not_allowed");
    // Beside the configuration and the key, nothing: the data directory is a temporary one.
    let files = std::fs::read_dir(place.directory.path()).unwrap();
    assert_eq!(files.count(), 2);
}

#[tokio::test]
async fn bad_usage_ends_with_64() {
    let place = Workplace::new().await;
    let (config, key) = (place.config(), place.path("key.pub"));
    for arguments in [
        &["verify"][..],
        &["verify", "NOT/AN:IMAGE"],
        &["verify", "--config", "/nonexistent", "ghcr.io/org/app"],
        &[
            "verify",
            "--config",
            &config,
            "--key",
            &key,
            "ghcr.io/org/app",
        ],
        &["verify", "--key", &config, "ghcr.io/org/app"],
        &[
            "verify",
            "--certificate-identity",
            "me@example.com",
            "ghcr.io/org/app",
        ],
        &["explain", "--output", "xml", "ghcr.io/org/app"],
        &["log", "--since", "yesterday"],
        &["log", "--kind", "unsinged"],
        &["log", "--digest", "v1"],
        &["log", "01J"],
        &["log", "01J00000000000000000000000", "--kind", "unsigned"],
        &["log", "--data-dir", "/nonexistent"],
        &["log", "--admin", "file:///etc"],
        &[
            "verify-bundle",
            "--bundle",
            "/nonexistent",
            "--key",
            &key,
            "sha256:00",
        ],
        &["demo", "--twice"],
    ] {
        let output = countersign(arguments).await;
        assert_eq!(code(&output), USAGE, "{arguments:?}: {}", text(&output));
        assert_eq!(output.stdout, b"", "{arguments:?}");
        assert_ne!(output.stderr, b"", "{arguments:?}");
    }
}

#[tokio::test]
async fn explain_tells_how_it_came_about() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    let bare = place.unsigned("apps/bare");
    let config = place.config();
    let explain = async |image: &str, format: &str| {
        let image = place.image(image);
        countersign(&["explain", "--config", &config, "--output", format, &image]).await
    };

    let admitted = json(&explain("apps/web:v1", "json").await);
    assert_eq!(admitted["decision"], "admit");
    assert_eq!(admitted["policies"][0]["name"], "apps");
    assert_eq!(admitted["policies"][0]["satisfied"], true);
    assert_eq!(admitted["other_policies"], serde_json::json!(["others"]));
    // All sources, although the first sufficed.
    assert_eq!(
        admitted["sources"].as_array().unwrap().len(),
        3,
        "{admitted}"
    );

    let output = explain("apps/bare:v1", "json").await;
    assert_eq!(code(&output), REFUSED);
    let refused = json(&output);
    assert_eq!(refused["record"]["id"], Value::Null);
    assert!(!text(&output).contains("(decision "), "{}", text(&output));
    assert_eq!(
        (&refused["kind"], &refused["digest"]),
        (&"unsigned".into(), &bare.digest.clone().into())
    );
    assert!(
        refused["advice"][0]
            .as_str()
            .unwrap()
            .contains("cosign sign")
    );

    let output = explain("apps/bare:v1", "text").await;
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    for words in [
        "apps/bare",
        &bare.digest,
        "not satisfied",
        "referrers API: none",
        "refused (unsigned)",
        "cosign sign",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    assert!(
        told.lines().all(|line| line.chars().count() <= 100),
        "{told}"
    );

    let output = explain("elsewhere/app:v1", "text").await;
    assert_eq!(code(&output), REFUSED);
    assert!(
        text(&output).contains("none covers this name"),
        "{}",
        text(&output)
    );
}

#[tokio::test]
async fn log_reads_a_running_proxy_and_its_directory() {
    let scene = Scene::start().await;
    for number in 0..4 {
        scene.signed(&format!("apps/web{number}"), "v1");
        scene.manifest(&format!("apps/web{number}"), "v1").await;
    }
    scene.unsigned("apps/bare", "v1");
    scene.manifest("apps/bare", "v1").await;
    let admin = format!("http://127.0.0.1:{}", scene.proxy.admin_port());
    let directory = scene.proxy.data_dir().to_str().unwrap().to_owned();
    for place in [["--admin", &admin], ["--data-dir", &directory]] {
        let log = async |arguments: &[&str]| {
            let all = [&["log"][..], &place, arguments].concat();
            let output = countersign(&all).await;
            assert_eq!(code(&output), 0, "{}", text(&output));
            String::from_utf8(output.stdout).unwrap()
        };
        let names = |lines: &str| -> Vec<String> {
            let records = lines
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            records
                .map(|record| {
                    record["repository"]
                        .as_str()
                        .unwrap()
                        .rsplit('/')
                        .next()
                        .unwrap()
                        .to_owned()
                })
                .collect()
        };
        let all = log(&["--output", "json"]).await;
        assert_eq!(names(&all), ["bare", "web3", "web2", "web1", "web0"]);
        assert_eq!(
            names(&log(&["--output", "json", "--limit", "2"]).await),
            ["bare", "web3"]
        );
        let denied = log(&["--output", "json", "--decision", "deny", "--since", "1h"]).await;
        assert_eq!(names(&denied), ["bare"]);
        assert_eq!(log(&["--output", "json", "--until", "1h"]).await, "");
        let pattern = format!("{}*", scene.repository("apps/web"));
        let signer = scene.key.fingerprint();
        let signed = log(&[
            "--output",
            "json",
            "--repository",
            &pattern,
            "--signer",
            &signer,
            "--policy",
            "apps",
        ])
        .await;
        assert_eq!(names(&signed), ["web3", "web2", "web1", "web0"]);
        let table = log(&["--kind", "unsigned"]).await;
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(table.contains("apps/bare:v1"), "{table}");
    }
}

#[tokio::test]
async fn log_says_that_nobody_answers() {
    let output = countersign(&["log", "--admin", "http://127.0.0.1:1"]).await;
    assert_eq!(code(&output), UNDECIDED);
    assert!(
        text(&output).contains("no answer from http://127.0.0.1:1"),
        "{}",
        text(&output)
    );
}
