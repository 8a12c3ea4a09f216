//! What stored evidence tells, and what it does not.

use serde_json::{Value, json};

use super::{Pulled, change, changes, pull, signed_by, sorted};
use crate::commands::{ADMITTED, REFUSED, UNDECIDED, code, countersign, json, text};
use crate::support::*;

const DAY: i64 = 24 * 60 * 60;

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
    let mut compared = report["differences"].as_array().unwrap().iter();
    let admitted = compared.find(|it| it["digest"] == other_child.digest.as_str());
    let admitted = admitted.unwrap();
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

const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// An image with a good attestation, one with a bad one, and one without.
async fn attested(scene: &Scene) -> [Image; 3] {
    let mut images = Vec::new();
    for (name, good) in [
        ("apps/good", Some(true)),
        ("apps/bad", Some(false)),
        ("apps/without", None),
    ] {
        let image = scene.signed(name, "v1");
        if let Some(good) = good {
            let bundle = scene.key.bundle(&image, PREDICATE, &json!({"good": good}));
            let artifact = signing::bundle_artifact(&image, bundle, PREDICATE);
            scene.registry.push(name, &artifact);
        }
        pull(scene, name, &["v1"]).await;
        images.push(image);
    }
    images.try_into().unwrap()
}

#[tokio::test]
async fn attestations_that_nobody_looked_for_may_be_missing() {
    let mut images = None;
    let pulled = Pulled::by(async |scene| images = Some(attested(scene).await)).await;
    let [_good, _bad, without] = images.unwrap();
    // Those that are known suffice, whatever else there may be under tags.
    let (status, report) = pulled
        .report(|new| new["policies"][0]["attestations"] = json!([{"predicate_type": PREDICATE}]))
        .await;
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(
        changes(&report, "cannot_tell"),
        [change(&without, "admit>unavailable")],
        "{report}"
    );
    let lacking = report["cannot_tell"][0]["would_be"]["lacking"].to_string();
    let words = "attestation tags were not asked for when evidence was gathered";
    assert!(lacking.contains(words), "{lacking}");
    assert_eq!(report["same"], 2);
}

/// Rules about all of them need to know of all there were.
#[tokio::test]
async fn attestations_that_were_looked_for_are_all_there_are() {
    let demanding = |kind: &str| json!([{"predicate_type": kind, "match": "all", "condition": "predicate.good == true"}]);
    let mut images = None;
    let pulled = Pulled::with(
        |mut configuration, _| {
            configuration.0["policies"][0]["attestations"] = json!([{"predicate_type": PREDICATE}]);
            configuration
        },
        async |scene| images = Some(attested(scene).await),
    )
    .await;
    let [good, bad, _without] = images.unwrap();
    let (status, report) = pulled
        .report(|new| new["policies"][0]["attestations"] = demanding(PREDICATE))
        .await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(
        changes(&report, "differences"),
        [change(&bad, "admit>deny")]
    );
    let kind = &report["differences"][0]["would_be"]["kind"];
    assert_eq!(kind, "attestation_rejected");
    assert_eq!(report["cannot_tell"], json!([]), "{report}");
    let (status, report) = pulled
        .report(|new| new["policies"][0]["attestations"] = demanding("https://example.com/x"))
        .await;
    assert_eq!(status, REFUSED, "{report}");
    assert_eq!(
        changes(&report, "differences"),
        sorted(vec![
            change(&good, "admit>deny"),
            change(&bad, "admit>deny")
        ])
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

const REPOSITORY: &str = "c/kf-legacy-gh/kf/legacy-gh";
const SIGNED: &str = "sha256:4da8d1a9fb9c7bd804f9cb4f9bac5e89e4fc8845f24b231ac3ad5e2038b3513c";

/// What a changed identity changes for an image of the corpus, one way and the other; the root comes from where
/// `root` says, beside `root.json`, and is gone with `gone`.
async fn with_another_identity(root: Value, file: &str, gone: impl FnOnce()) -> [Value; 2] {
    let registry = corpus::registry().await;
    let configuration = Configuration::new(&[&registry])
        .policy(json!({
            "name": "private", "images": [format!("{}/c/**", registry.name())],
            "authorities": [{
                "name": "release", "trusted_root": "private",
                "certificate_identity_regexp": "https://github\\.com/external-secrets/.+",
                "certificate_oidc_issuer": "https://token.actions.githubusercontent.com",
            }],
        }))
        .set(
            "trusted_roots",
            json!({"private": root, "public-good": {"mirror": "http://127.0.0.1:9"}}),
        );
    let proxy = Proxy::new(configuration);
    proxy.write_file("root.json", file);
    proxy.run().await;
    send(proxy.admin_port(), "POST", "/api/v1/trust/refresh", &[]).await;
    let path = format!("/v2/{}/{REPOSITORY}/manifests/{SIGNED}", registry.name());
    let started = std::time::Instant::now();
    while proxy.get(&path).await.status != 200 {
        assert!(started.elapsed().as_secs() < 20, "not admitted");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    proxy.stop().await;
    registry.stop();
    gone();
    let old = proxy.config_path().to_str().unwrap().to_owned();
    let mut changed = proxy.configuration();
    changed["data_dir"] = json!(proxy.data_dir());
    let authority = &mut changed["policies"][0]["authorities"][0];
    authority["certificate_identity_regexp"] = json!("https://github\\.com/other/.+");
    proxy.write_file("new.yaml", &changed.to_string());
    let new = proxy.config_path().with_file_name("new.yaml");
    let new = new.to_str().unwrap().to_owned();
    let mut changes = Vec::new();
    for (old, new) in [(&old, &new), (&new, &old)] {
        let output = countersign(&["policy", "diff", "--output", "json", old, new]).await;
        assert_eq!(code(&output), REFUSED, "{}", text(&output));
        changes.push(json(&output)["differences"][0]["would_be"].clone());
    }
    changes.try_into().unwrap()
}

#[tokio::test]
async fn a_changed_identity_is_a_difference() {
    let file = corpus::directory().join("trust/trusted_root.json");
    let root = json!({"file": file});
    let [changed, back] = with_another_identity(root, "", || {}).await;
    assert_eq!(changed["kind"], "wrong_identity", "{changed}");
    assert_eq!(back["decision"], "admit", "{back}");
}

/// As the proxy had last fetched them: nobody asks for them anew.
#[tokio::test]
async fn trusted_roots_are_those_that_the_proxy_has() {
    let file = corpus::directory().join("trust/trusted_root.json");
    let content = std::fs::read_to_string(file).unwrap();
    let repository = tuf::TufRepository::publishing(&content).await;
    let root = json!({"tuf": {"url": repository.service.url(), "root": "root.json"}});
    let gone = || repository.service.stop();
    let [changed, back] = with_another_identity(root, &repository.root, gone).await;
    assert_eq!(changed["kind"], "wrong_identity", "{changed}");
    assert_eq!(back["decision"], "admit", "{back}");
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
    let second = |new: &mut Value| new["policy_files"] = json!(["second.yaml"]);
    let (status, report) = pulled.report(second).await;
    assert_eq!(status, REFUSED, "{report}");
    let only_two = [change(two, "admit>deny")];
    assert_eq!(changes(&report, "differences"), only_two, "{report}");
    let policy = &report["differences"][0]["would_be"]["policies"][0];
    assert!(
        policy["file"].as_str().unwrap().ends_with("second.yaml"),
        "{policy}"
    );
    // Log and state each say through which tags; by neither, every policy for the repository counts.
    let database = pulled.scene.proxy.database();
    let state = "CREATE TABLE kept AS SELECT * FROM asked_tags; DELETE FROM asked_tags;";
    database.execute_batch(state).unwrap();
    let (_, report) = pulled.report(second).await;
    assert_eq!(changes(&report, "differences"), only_two, "{report}");
    let log = "UPDATE decisions SET body = json_set(body, '$.reference', digest);";
    database.execute_batch(log).unwrap();
    let (_, report) = pulled.report(second).await;
    assert_eq!(
        report["differences"].as_array().unwrap().len(),
        2,
        "{report}"
    );
    database
        .execute_batch("INSERT INTO asked_tags SELECT * FROM kept")
        .unwrap();
    let (_, report) = pulled.report(second).await;
    assert_eq!(changes(&report, "differences"), only_two, "{report}");
    // Tags that lead elsewhere by now take no policy away, and the proxy would ask about them.
    let moved = Image::new("moved").digest;
    let moved = database.execute("UPDATE tags SET digest = ?1", [moved]);
    assert_eq!(moved.unwrap(), 2);
    let (status, report) = pulled.report(second).await;
    assert_eq!(status, UNDECIDED, "{report}");
    assert_eq!(
        report["cannot_tell"].as_array().unwrap().len(),
        2,
        "{report}"
    );
}
