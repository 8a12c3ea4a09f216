//! `policy diff`: what was pulled, decided about again under another configuration, from what is stored.

mod evidence;
mod keys;
mod tags;

use std::process::Output;

use serde_json::{Value, json};

use super::{ADMITTED, REFUSED, UNDECIDED, USAGE, code, countersign, json, text};
use crate::support::*;

/// What was pulled through a proxy; then the proxy is stopped, the registry is gone, and who asks at its address is
/// counted.
struct Pulled {
    scene: Scene,
    canary: Canary,
}

impl Pulled {
    async fn by(pull: impl AsyncFnOnce(&Scene)) -> Self {
        Self::with(|configuration, _| configuration, pull).await
    }

    async fn with(
        change: impl FnOnce(Configuration, &FakeRegistry) -> Configuration,
        pull: impl AsyncFnOnce(&Scene),
    ) -> Self {
        let scene = Scene::with(change).await;
        pull(&scene).await;
        scene.proxy.stop().await;
        scene.registry.stop();
        let canary = Canary::listen().await;
        Self { scene, canary }
    }

    /// Writes the configuration of the proxy with changes, and returns its path.
    fn configuration(&self, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut configuration = self.scene.proxy.configuration();
        configuration["data_dir"] = json!(self.scene.proxy.data_dir());
        configuration["upstreams"][self.scene.registry.name()] =
            json!({"endpoint": self.canary.url().trim_end_matches("/canary"), "plain_http": true});
        change(&mut configuration);
        let text = serde_json::to_string_pretty(&configuration).unwrap();
        self.scene.proxy.write_file(name, &text);
        let path = self.scene.proxy.config_path().with_file_name(name);
        path.to_str().unwrap().to_owned()
    }

    /// What `policy diff` says of the configuration of the proxy and a changed one.
    async fn diff(&self, arguments: &[&str], change: impl FnOnce(&mut Value)) -> Output {
        let old = self.configuration("old.yaml", |_| {});
        let new = self.configuration("new.yaml", change);
        let output = countersign(&[&["policy", "diff", &old, &new], arguments].concat()).await;
        self.canary.assert_untouched();
        output
    }

    async fn report(&self, change: impl FnOnce(&mut Value)) -> (i32, Value) {
        let output = self.diff(&["--output", "json"], change).await;
        (code(&output), json(&output))
    }
}

fn signed_by(keys: &[&SigningKey]) -> impl FnOnce(&mut Value) {
    let authorities = key_policy("", "", keys)["authorities"].clone();
    |configuration| configuration["policies"][0]["authorities"] = authorities
}

/// Another registry in the place of all there were.
fn elsewhere(configuration: &mut Value) {
    configuration["upstreams"] = json!({"elsewhere.example": {}});
}

/// Digests by what would change: `admit>deny`.
fn changes(report: &Value, list: &str) -> Vec<(String, String)> {
    let compared = report[list].as_array().unwrap().iter();
    let mut changes: Vec<_> = compared
        .map(|compared| {
            let decision = |side: &str| compared[side]["decision"].as_str().unwrap().to_owned();
            let digest = compared["digest"].as_str().unwrap_or("-").to_owned();
            (
                digest,
                format!("{}>{}", decision("was"), decision("would_be")),
            )
        })
        .collect();
    changes.sort();
    changes
}

fn change(image: &Image, what: &str) -> (String, String) {
    (image.digest.clone(), what.to_owned())
}

fn sorted(mut changes: Vec<(String, String)>) -> Vec<(String, String)> {
    changes.sort();
    changes
}

async fn pull(scene: &Scene, name: &str, references: &[&str]) {
    for reference in references {
        scene.manifest(name, reference).await;
    }
}

#[tokio::test]
async fn another_key_changes_what_it_signed_and_nobody_is_asked() {
    let stranger = SigningKey::generate();
    let mut images = Vec::new();
    let pulled = Pulled::by(async |scene| {
        let ours = scene.signed("apps/ours", "v1");
        let theirs = scene.unsigned("apps/theirs", "v1");
        scene
            .registry
            .sign_bundle("apps/theirs", &theirs, &stranger);
        let bare = scene.unsigned("apps/bare", "v1");
        pull(scene, "apps/ours", &["v1", &ours.digest, "v1"]).await;
        pull(scene, "apps/theirs", &["v1"]).await;
        pull(scene, "apps/bare", &["v1"]).await;
        images.extend([ours, theirs, bare]);
    })
    .await;
    let [ours, theirs, _bare] = &images[..] else {
        unreachable!()
    };
    let (status, report) = pulled.report(signed_by(&[&stranger])).await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(
        changes(&report, "differences"),
        sorted(vec![
            change(ours, "admit>deny"),
            change(theirs, "deny>admit")
        ]),
        "{report}"
    );
    assert_eq!(report["cannot_tell"], json!([]));
    assert_eq!((&report["images"], &report["same"]), (&json!(3), &json!(1)));
    assert_eq!(report["complete"], true);
    // Most pulled first.
    let first = &report["differences"][0];
    assert_eq!(first["digest"], ours.digest, "{report}");
    assert_eq!(first["repository"], pulled.scene.repository("apps/ours"));
    assert_eq!(first["tags"], json!(["v1"]));
    assert_eq!(first["pulls"], 3, "{report}");
    assert_eq!(first["logged"], "admit");
    assert!(first["last_asked"].is_string());
    assert_eq!(first["was"]["basis"], "signature");
    assert_eq!(first["was"]["policies"][0]["name"], "apps");
    let refusing = &first["would_be"];
    assert_eq!(refusing["kind"], "untrusted_key");
    let policy = &refusing["policies"][0];
    assert!(
        policy["file"].as_str().unwrap().ends_with("new.yaml"),
        "{policy}"
    );
    assert!(policy["line"].as_u64().unwrap() > 1, "{policy}");
    let message = refusing["message"].as_str().unwrap();
    assert!(message.contains("policy `apps` refuses"), "{message}");
    assert!(!message.contains("(decision "), "{message}");

    let output = pulled.diff(&[], signed_by(&[&stranger])).await;
    let told = String::from_utf8(output.stdout).unwrap();
    for words in [
        "would be refused:",
        "would be admitted:",
        "(v1): 3 pulls, last 20",
        "admitted by signature: apps (",
        "refused (untrusted_key) by apps (",
        "3 images in the 3 decisions: 1 would be refused, 1 would be admitted, 0 cannot be told, 1 are decided as before",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
}

#[tokio::test]
async fn the_same_policies_make_no_difference_whatever_is_stored() {
    let pulled = Pulled::by(async |scene| {
        scene.signed("apps/web", "v1");
        scene.unsigned("apps/bare", "v1");
        pull(scene, "apps/web", &["v1"]).await;
        pull(scene, "apps/bare", &["v1"]).await;
    })
    .await;
    for file in pulled.scene.proxy.content_files() {
        std::fs::remove_file(file).unwrap();
    }
    let (status, report) = pulled.report(|_| {}).await;
    assert_eq!(status, ADMITTED, "{report}");
    assert_eq!(report["same"], 2);
    // A policy for other names is none for these.
    let other = key_policy("other", "elsewhere.example/**", &[&SigningKey::generate()]);
    let (status, report) = pulled
        .report(|new| new["policies"].as_array_mut().unwrap().push(other))
        .await;
    assert_eq!(status, ADMITTED, "{report}");
    // Where it would matter, what is gone is said to be.
    let (status, report) = pulled.report(signed_by(&[&SigningKey::generate()])).await;
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(report["differences"], json!([]));
    assert_eq!(report["cannot_tell"].as_array().unwrap().len(), 2);
    let mut unknown = report["cannot_tell"].as_array().unwrap().iter();
    let web = unknown.find(|it| it["repository"].as_str().unwrap().ends_with("/web"));
    let web = web.unwrap();
    assert_eq!(
        web["would_be"]["lacking"],
        json!([
            "its manifest is not stored",
            "signatures that were found are no longer stored"
        ])
    );
    // What is revoked, and whether names are known at all, is apart from policies.
    let (status, report) = pulled.report(|new| new["default"] = json!("audit")).await;
    assert_eq!(status, UNDECIDED, "{report}");
    let (status, report) = pulled.report(elsewhere).await;
    // Refused for want of an upstream, and before for what cannot be told.
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(
        report["cannot_tell"][0]["would_be"]["kind"],
        "upstream_not_allowed"
    );
}

#[tokio::test]
async fn revocations_exceptions_and_upstreams_count() {
    let mut digest = String::new();
    let pulled = Pulled::by(async |scene| {
        digest = scene.signed("apps/web", "v1").digest;
        scene.unsigned("apps/bare", "v1");
        pull(scene, "apps/web", &["v1"]).await;
        pull(scene, "apps/bare", &["v1"]).await;
    })
    .await;
    let (status, report) = pulled
        .report(|new| new["revoked"] = json!({"digests": [digest.clone()]}))
        .await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(report["differences"][0]["would_be"]["kind"], "revoked");
    let (status, report) = pulled.report(elsewhere).await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(report["differences"].as_array().unwrap().len(), 1);
    assert_eq!(
        report["differences"][0]["would_be"]["kind"],
        "upstream_not_allowed"
    );
    let images = pulled.scene.repository("apps/bare");
    let (status, report) = pulled
        .report(|new| {
            new["exceptions"] = json!([
                {"images": [images], "reason": "a test", "by": "us", "until": "2999-01-01T00:00:00Z"},
            ]);
        })
        .await;
    assert_eq!(status, REFUSED, "{report}");
    let excepted = &report["differences"][0];
    assert_eq!(excepted["would_be"]["basis"], "audit", "{report}");
    assert!(
        excepted["would_be"]["message"]
            .as_str()
            .unwrap()
            .contains("by us")
    );
}

#[tokio::test]
async fn names_that_nobody_looked_up_cannot_be_told() {
    let pulled = Pulled::by(async |scene| {
        scene.signed("other/web", "v1");
        let denied = scene.manifest("other/web", "v1").await;
        assert_denied(&denied, "no_policy");
        // A host is no image, and who asked for a blob asked for none either.
        scene
            .proxy
            .get("/v2/nowhere.example/app/manifests/v1")
            .await;
        scene.blob("apps/web", &sha256(b"nothing")).await;
    })
    .await;
    let name = pulled.scene.registry.name();
    let (status, report) = pulled
        .report(|new| new["policies"][0]["images"] = json!([format!("{name}/**")]))
        .await;
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(
        changes(&report, "cannot_tell"),
        [("-".to_owned(), "deny>unavailable".to_owned())]
    );
    assert_eq!(report["cannot_tell"][0]["tags"], json!(["v1"]));
    let lacking = report["cannot_tell"][0]["would_be"]["lacking"].to_string();
    assert!(lacking.contains("its digest is not known"), "{lacking}");
    let (status, report) = pulled.report(signed_by(&[&SigningKey::generate()])).await;
    assert_eq!(status, ADMITTED, "{report}");
    assert_eq!(report["images"], 1, "{report}");
}

#[tokio::test]
async fn a_running_proxy_does_not_notice() {
    let scene = Scene::start().await;
    scene.signed("apps/web", "v1");
    scene.manifest("apps/web", "v1").await;
    let mut changed = scene.proxy.configuration();
    changed["data_dir"] = json!(scene.proxy.data_dir());
    changed["policies"][0]["authorities"][0]["key"] = json!(SigningKey::generate().public_pem());
    // Room for nothing: whoever opened the store with this would empty it.
    changed["limits"] = json!({"store_bytes_max": "1KiB"});
    scene.proxy.write_file("new.yaml", &changed.to_string());
    let new = scene.proxy.config_path().with_file_name("new.yaml");
    let (old, new) = (scene.proxy.config_path(), new.to_str().unwrap().to_owned());
    let old = old.to_str().unwrap();
    let decisions = async || scene.proxy.decisions("limit=100").await;
    let (before, files) = (decisions().await, scene.proxy.content_files());
    let output = countersign(&["policy", "diff", old, &new]).await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    assert_eq!(decisions().await, before);
    // Signatures may still be arriving.
    assert!(files.iter().all(|file| file.exists()), "{files:?}");
    assert_eq!(scene.manifest("apps/web", "v1").await.status, 200);
}

#[tokio::test]
async fn only_so_much_of_the_log_is_looked_at() {
    let pulled = Pulled::by(async |scene| {
        for name in ["apps/one", "apps/two"] {
            scene.signed(name, "v1");
            pull(scene, name, &["v1"]).await;
        }
    })
    .await;
    let stranger = SigningKey::generate();
    for (arguments, images, complete) in [
        (&["--limit", "2"][..], 2, true),
        (&["--limit", "1"], 1, false),
        (&["--since", "1h"], 2, true),
        (&["--since", "2999-01-01"], 0, true),
    ] {
        let arguments = [&["--output", "json"], arguments].concat();
        let output = pulled.diff(&arguments, signed_by(&[&stranger])).await;
        let report = json(&output);
        assert_eq!(report["images"], images, "{arguments:?}: {report}");
        assert_eq!(report["complete"], complete, "{arguments:?}: {report}");
        let status = if images == 0 { ADMITTED } else { REFUSED };
        assert_eq!(code(&output), status);
    }
}

#[tokio::test]
async fn files_lie_over_each_other_and_bad_ones_are_usage() {
    let pulled = Pulled::by(async |scene| {
        scene.signed("apps/web", "v1");
        pull(scene, "apps/web", &["v1"]).await;
    })
    .await;
    let old = pulled.configuration("old.yaml", |_| {});
    let authorities = key_policy("apps", "", &[&SigningKey::generate()])["authorities"].clone();
    let images = format!("{}/**", pulled.scene.registry.name());
    let over =
        json!({"policies": [{"name": "apps", "images": [images], "authorities": authorities}]});
    pulled
        .scene
        .proxy
        .write_file("over.yaml", &over.to_string());
    let over = pulled.scene.proxy.config_path().with_file_name("over.yaml");
    let over = over.to_str().unwrap();
    for (arguments, expected) in [
        (vec![&*old, &old], ADMITTED),
        (vec![&old, &old, "--over-new", over], REFUSED),
        (vec![&old, &old, "--over-old", over], REFUSED),
        (
            vec![&old, &old, "--over-old", over, "--over-new", over],
            ADMITTED,
        ),
        (vec![&old], USAGE),
        (vec![&old, "/nonexistent"], USAGE),
        (vec!["/nonexistent", &old], USAGE),
        (vec![&old, &old, "--data-dir", "/nonexistent"], USAGE),
        (vec![&old, &old, "--since", "yesterday"], USAGE),
    ] {
        let output = countersign(&[&["policy", "diff"], &arguments[..]].concat()).await;
        assert_eq!(code(&output), expected, "{arguments:?}: {}", text(&output));
    }
}
