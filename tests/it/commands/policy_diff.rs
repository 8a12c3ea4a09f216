//! `policy diff`: what was pulled, decided about again under another configuration, from what is stored.

use std::process::Output;

use serde_json::{Value, json};

use super::{ADMITTED, REFUSED, UNDECIDED, USAGE, code, countersign, json, text};
use crate::support::*;

const DAY: i64 = 24 * 60 * 60;

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
    let web = report["cannot_tell"].as_array().unwrap().iter();
    let web = web
        .filter(|it| it["repository"].as_str().unwrap().ends_with("/web"))
        .next_back()
        .unwrap();
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
async fn what_an_index_lists_follows_the_index() {
    let stranger = SigningKey::generate();
    let mut images = Vec::new();
    let pulled = Pulled::by(async |scene| {
        for (name, key) in [("apps/ours", &scene.key), ("apps/theirs", &stranger)] {
            let (child, unpulled) = (Image::new(name), Image::new(&format!("{name} too")));
            let index = Image::index(&[&unpulled, &child]);
            scene.registry.push(name, &child);
            scene.registry.push(name, &unpulled);
            scene.registry.push_tagged(name, "v1", &index);
            scene.registry.sign_legacy(name, &index, key);
            pull(scene, name, &["v1", &child.digest]).await;
            images.extend([index, child]);
        }
    })
    .await;
    let [index, child, other_index, other_child] = &images[..] else {
        unreachable!()
    };
    let (status, report) = pulled.report(signed_by(&[&stranger])).await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(report["cannot_tell"], json!([]), "{report}");
    assert_eq!(
        changes(&report, "differences"),
        sorted(vec![
            change(index, "admit>deny"),
            change(child, "admit>deny"),
            change(other_index, "deny>admit"),
            // Nobody was told before that the index lists it.
            change(other_child, "deny>admit"),
        ]),
        "{report}"
    );
    let compared = report["differences"].as_array().unwrap().iter();
    let admitted = compared
        .filter(|it| it["digest"] == other_child.digest.as_str())
        .next_back()
        .unwrap();
    assert_eq!(admitted["would_be"]["basis"], "endorsement");
    assert_eq!(admitted["would_be"]["endorsed_by"], other_index.digest);

    // An index that is gone may or may not have vouched.
    let file = pulled.scene.proxy.content_file(&index.digest).unwrap();
    std::fs::remove_file(file).unwrap();
    let (_, report) = pulled.report(signed_by(&[&stranger])).await;
    let unknown = changes(&report, "cannot_tell");
    assert!(
        unknown.contains(&change(child, "unavailable>unavailable")),
        "{report}"
    );
}

#[tokio::test]
async fn a_demanded_attestation_is_told_where_it_was_looked_for() {
    let predicate = "https://slsa.dev/provenance/v1";
    let attestation = |kind: &str| json!([{"predicate_type": kind, "match": "all", "condition": "predicate.good == true"}]);
    let mut images = Vec::new();
    let push = |scene: &Scene, name: &str, good: Option<bool>| {
        let image = scene.signed(name, "v1");
        if let Some(good) = good {
            let bundle = scene.key.bundle(&image, predicate, &json!({"good": good}));
            let artifact = signing::bundle_artifact(&image, bundle, predicate);
            scene.registry.push(name, &artifact);
        }
        image
    };
    let pulls = ["apps/good", "apps/bad", "apps/without"];
    // Nobody asked for attestations, so tags with some may have been missed: good ones that are known suffice.
    let pulled = Pulled::by(async |scene| {
        for (name, good) in pulls.into_iter().zip([Some(true), Some(false), None]) {
            images.push(push(scene, name, good));
            pull(scene, name, &["v1"]).await;
        }
    })
    .await;
    let [good, bad, without] = &images[..] else {
        unreachable!()
    };
    let any = json!([{"predicate_type": predicate}]);
    let (status, report) = pulled
        .report(|new| new["policies"][0]["attestations"] = any.clone())
        .await;
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(
        changes(&report, "cannot_tell"),
        [change(without, "admit>unavailable")],
        "{report}"
    );
    let lacking = report["cannot_tell"][0]["would_be"]["lacking"][0]
        .as_str()
        .unwrap();
    assert!(
        lacking.contains("attestation tags were not asked for when evidence was gathered"),
        "{lacking}"
    );
    assert_eq!(report["same"], 2);

    // Where they were asked for, all that there was is known, as rules about all of them need.
    let mut images = Vec::new();
    let pulled = Pulled::with(
        |mut configuration, _| {
            configuration.0["policies"][0]["attestations"] = json!([{"predicate_type": predicate}]);
            configuration
        },
        async |scene| {
            for (name, good) in pulls.into_iter().zip([Some(true), Some(false), None]) {
                images.push(push(scene, name, good));
                pull(scene, name, &["v1"]).await;
            }
        },
    )
    .await;
    let (status, report) = pulled
        .report(|new| new["policies"][0]["attestations"] = attestation(predicate))
        .await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(changes(&report, "differences"), [change(bad, "admit>deny")]);
    assert_eq!(
        report["differences"][0]["would_be"]["kind"],
        "attestation_rejected"
    );
    assert_eq!(report["cannot_tell"], json!([]), "{report}");
    let (status, report) = pulled
        .report(|new| new["policies"][0]["attestations"] = attestation("https://example.com/x"))
        .await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(
        changes(&report, "differences"),
        sorted(vec![change(good, "admit>deny"), change(bad, "admit>deny")])
    );
}

#[tokio::test]
async fn signatures_elsewhere_were_not_looked_for() {
    let pulled = Pulled::by(async |scene| {
        scene.signed("apps/web", "v1");
        scene.unsigned("apps/bare", "v1");
        pull(scene, "apps/web", &["v1"]).await;
        pull(scene, "apps/bare", &["v1"]).await;
    })
    .await;
    let elsewhere = pulled.scene.repository("signatures");
    let (status, report) = pulled
        .report(|new| new["policies"][0]["signature_repository"] = json!(elsewhere))
        .await;
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(report["same"], 1);
    let lacking = report["cannot_tell"][0]["would_be"]["lacking"].to_string();
    assert!(
        lacking.contains("was not asked when evidence was gathered"),
        "{lacking}"
    );
    assert!(lacking.contains("/signatures"), "{lacking}");
}

#[tokio::test]
async fn a_changed_identity_is_a_difference() {
    const IDENTITY: &str = "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/main";
    const REPOSITORY: &str = "c/kf-legacy-gh/kf/legacy-gh";
    const SIGNED: &str = "sha256:4da8d1a9fb9c7bd804f9cb4f9bac5e89e4fc8845f24b231ac3ad5e2038b3513c";
    let registry = corpus::registry().await;
    let root = corpus::directory().join("trust/trusted_root.json");
    let configuration = Configuration::new(&[&registry])
        .policy(json!({
            "name": "private", "images": [format!("{}/c/**", registry.name())],
            "authorities": [{
                "name": "release", "certificate_identity": IDENTITY, "trusted_root": "private",
                "certificate_oidc_issuer": "https://token.actions.githubusercontent.com",
            }],
        }))
        .set(
            "trusted_roots",
            json!({"private": {"file": root}, "public-good": {"mirror": "http://127.0.0.1:9"}}),
        );
    let proxy = Proxy::start(configuration).await;
    let path = format!("/v2/{}/{REPOSITORY}/manifests/{SIGNED}", registry.name());
    assert_eq!(proxy.get(&path).await.status, 200);
    proxy.stop().await;
    registry.stop();
    let old = proxy.config_path().to_str().unwrap().to_owned();
    let mut changed = proxy.configuration();
    changed["data_dir"] = json!(proxy.data_dir());
    changed["policies"][0]["authorities"][0]["certificate_identity"] =
        json!("https://github.com/org/other");
    proxy.write_file("new.yaml", &changed.to_string());
    let new = proxy.config_path().with_file_name("new.yaml");
    let new = new.to_str().unwrap();
    let output = countersign(&["policy", "diff", "--output", "json", &old, new]).await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    let report = json(&output);
    assert_eq!(
        report["differences"][0]["would_be"]["kind"],
        "wrong_identity"
    );
    // The other way round it is admitted.
    let output = countersign(&["policy", "diff", "--output", "json", new, &old]).await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    assert_eq!(
        json(&output)["differences"][0]["would_be"]["decision"],
        "admit"
    );
}

#[tokio::test]
async fn age_alone_is_no_difference() {
    let stranger = SigningKey::generate();
    let mut ours = None;
    let pulled = Pulled::by(async |scene| {
        ours = Some(scene.signed("apps/ours", "v1"));
        scene.unsigned("apps/bare", "v1");
        pull(scene, "apps/ours", &["v1"]).await;
        pull(scene, "apps/bare", &["v1"]).await;
    })
    .await;
    // Beyond `stale_for`, and what has no signature beyond its 30 seconds.
    let old = jiff::Timestamp::from_second(1_700_000_000 - 400 * DAY).unwrap();
    let database = pulled.scene.proxy.database();
    let changed = database.execute(
        "UPDATE evidence SET body = json_set(body, '$.discovered_at', ?1)",
        [old.to_string()],
    );
    assert_eq!(changed.unwrap(), 2);
    drop(database);
    let (status, report) = pulled
        .report(|new| new["freshness"] = json!({"reverify_after": "1s", "stale_for": "0s"}))
        .await;
    assert_eq!(status, ADMITTED, "{report}");
    let (status, report) = pulled.report(signed_by(&[&stranger])).await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(
        changes(&report, "differences"),
        [change(&ours.unwrap(), "admit>deny")],
        "{report}"
    );
    assert_eq!(report["cannot_tell"], json!([]), "{report}");
}

#[tokio::test]
async fn keys_that_are_not_to_be_had_decide_nothing() {
    let pulled = Pulled::by(async |scene| {
        scene.signed("apps/web", "v1");
        pull(scene, "apps/web", &["v1"]).await;
    })
    .await;
    let service = |name: &str| {
        let key = format!("hashivault://{name}");
        move |configuration: &mut Value| {
            configuration["key_providers"] =
                json!({"hashivault": {"endpoint": "http://127.0.0.1:9"}});
            let authority = &mut configuration["policies"][0]["authorities"][0];
            authority["key"] = json!(key);
        }
    };
    let (status, report) = pulled.report(service("one")).await;
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(report["cannot_tell"][0]["was"]["decision"], "admit");
    let lacking = report["cannot_tell"][0]["would_be"]["lacking"].to_string();
    assert!(lacking.contains("hashivault://one"), "{lacking}");
    // Two keys of which nothing is known are not the same key.
    let one = pulled.configuration("one.yaml", service("one"));
    let two = pulled.configuration("two.yaml", service("two"));
    let output = countersign(&["policy", "diff", &one, &two]).await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
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
async fn policies_about_tags_are_asked_by_the_tags_in_the_log() {
    let stranger = SigningKey::generate();
    let mut images = Vec::new();
    let document = |name: &str, registry: &str, tag: &str, key: &SigningKey| {
        let key = key.public_pem().replace('\n', "\\n");
        format!(
            "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: {name}}}
spec:
  validationFailureAction: Enforce
  rules:
  - name: signed
    match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
    verifyImages:
    - imageReferences: ['{registry}/apps/*:{tag}']
      mutateDigest: false
      attestors:
      - entries:
        - keys: {{publicKeys: \"{key}\", rekor: {{ignoreTlog: true}}}}
"
        )
    };
    let pulled = Pulled::by(async |scene| {
        for tag in ["v1", "v2"] {
            let image = Image::new(tag);
            scene.push_signed("apps/web", tag, &image);
            pull(scene, "apps/web", &[tag]).await;
            images.push(image);
        }
    })
    .await;
    let [_one, two] = &images[..] else {
        unreachable!()
    };
    let name = pulled.scene.registry.name();
    let tightened = document("second", &name, "v2", &stranger);
    pulled.scene.proxy.write_file("second.yaml", &tightened);
    let (status, report) = pulled
        .report(|new| new["policy_files"] = json!(["second.yaml"]))
        .await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(
        changes(&report, "differences"),
        [change(two, "admit>deny")],
        "{report}"
    );
    let policy = &report["differences"][0]["would_be"]["policies"][0];
    assert!(
        policy["file"].as_str().unwrap().ends_with("second.yaml"),
        "{policy}"
    );
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
