//! The record of every decision: every key, every filter, durable before the first byte.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::*;

/// Keys of a record, in design §6.
const KEYS: [&str; 24] = [
    "id",
    "time",
    "replica",
    "repository",
    "reference",
    "digest",
    "previous_digest",
    "media_type",
    "decision",
    "mode",
    "basis",
    "stale",
    "sources",
    "denial",
    "policies",
    "attempts",
    "endorsed_by",
    "trusted_root",
    "configuration",
    "verifier",
    "client",
    "clients",
    "timing_ms",
    "count",
];
const ATTEMPT_KEYS: [&str; 12] = [
    "source",
    "artifact",
    "format",
    "authority",
    "outcome",
    "kind",
    "reason",
    "predicate_type",
    "certificate",
    "key",
    "transparency_log",
    "signed_timestamp",
];

#[track_caller]
fn assert_keys(object: &Value, keys: &[&str]) {
    let object = object
        .as_object()
        .unwrap_or_else(|| panic!("no object: {object}"));
    for key in keys {
        assert!(object.contains_key(*key), "{key} is missing: {object:?}");
    }
    for key in object.keys() {
        assert!(keys.contains(&key.as_str()), "{key} is not documented");
    }
}

#[tokio::test]
async fn every_key_is_always_there() {
    let scene = Scene::start().await;
    let signed = scene.signed("apps/web", "v1");
    scene.unsigned("apps/web", "v2");
    let bundled = scene.unsigned("apps/web", "v3");
    scene.registry.sign_bundle("apps/web", &bundled, &scene.key);
    for tag in ["v1", "v2", "v3", "absent"] {
        drop(scene.manifest("apps/web", tag).await);
    }
    drop(scene.blob("apps/web", &signed.layer(0)).await);
    let records = scene.proxy.decisions("").await;
    assert!(records.len() >= 3, "{records:?}");
    for record in &records {
        assert_keys(record, &KEYS);
        assert_keys(&record["client"], &["address", "user_agent", "identity"]);
        assert_keys(
            &record["timing_ms"],
            &["upstream", "discovery", "keys", "verification", "total"],
        );
        for source in record["sources"].as_array().unwrap() {
            assert_keys(source, &["source", "outcome", "found", "reason"]);
        }
        for policy in record["policies"].as_array().unwrap() {
            assert_keys(policy, &["name", "hash", "satisfied", "authorities"]);
            for authority in policy["authorities"].as_array().unwrap() {
                assert_keys(authority, &["name", "satisfied"]);
            }
        }
        for attempt in record["attempts"].as_array().unwrap() {
            assert_keys(attempt, &ATTEMPT_KEYS);
            if !attempt["key"].is_null() {
                assert_keys(&attempt["key"], &["reference", "version", "fingerprint"]);
            }
        }
        if !record["denial"].is_null() {
            assert_keys(&record["denial"], &["kind", "message"]);
        }
    }
}

#[tokio::test]
async fn an_admission_says_who_signed() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let agent = [("User-Agent", "containerd/2.1.0")];
    let path = scene.manifest_path("apps/web", "v1");
    assert_serves(&scene.proxy.request("GET", &path, &agent).await, &image);
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    let record = &records[0];
    assert_eq!(record["id"].as_str().unwrap().len(), 26);
    assert_eq!(record["repository"], scene.repository("apps/web"));
    assert_eq!(record["reference"], "v1");
    assert_eq!(record["digest"], image.digest);
    assert_eq!(record["media_type"], image.media_type);
    assert_eq!(record["decision"], "admit");
    assert_eq!(
        (&record["mode"], &record["basis"]),
        (&json!("enforce"), &json!("signature"))
    );
    assert_eq!(
        (&record["stale"], &record["denial"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(record["policies"][0]["name"], "apps");
    assert_eq!(record["policies"][0]["satisfied"], true);
    assert_eq!(
        record["policies"][0]["authorities"][0],
        json!({"name": "key-0", "satisfied": true})
    );
    let attempts = record["attempts"].as_array().unwrap();
    let verified = attempts
        .iter()
        .find(|attempt| attempt["outcome"] == "verified")
        .unwrap();
    assert_eq!(verified["source"], "cosign_tag");
    assert_eq!(verified["format"], "simple_signing");
    assert_eq!(verified["authority"], "key-0");
    assert_eq!(verified["key"]["fingerprint"], scene.key.fingerprint());
    assert_eq!(verified["kind"], Value::Null);
    let sources = record["sources"].as_array().unwrap();
    let found = |name: &str| {
        sources
            .iter()
            .find(|source| source["source"] == name)
            .unwrap()
    };
    assert_eq!(found("cosign_tag")["outcome"], "found", "{sources:?}");
    // Verifying stops at the first success, which may come before the others have answered.
    for name in ["referrers", "referrers_tag"] {
        let source = found(name);
        let is_explained = source["outcome"] == "none" || source["reason"].is_string();
        assert!(is_explained, "{source}");
    }
    assert_eq!(record["client"]["user_agent"], "containerd/2.1.0");
    assert!(
        record["client"]["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1")
    );
    assert!(record["timing_ms"]["total"].as_f64().unwrap() > 0.0);
    assert!(record["configuration"].is_string() && record["verifier"].is_string());
}

#[tokio::test]
async fn a_refusal_says_what_the_client_saw() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    let answer = scene.manifest("apps/web", "v1").await;
    let error = assert_denied_by(&answer, "unsigned", "apps", &image.digest);
    let id = error["detail"]["decision_id"].as_str().unwrap();
    let record = scene.proxy.admin(&format!("/api/v1/decisions/{id}")).await;
    assert_eq!(record.status, 200, "{record}");
    let record = record.json();
    assert_eq!(record["decision"], "deny");
    assert_eq!(record["basis"], Value::Null);
    assert_eq!(record["denial"]["kind"], "unsigned");
    // The client is told the number of the record as well.
    let logged = record["denial"]["message"].as_str().unwrap();
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with(logged), "{message}\n{logged}");
    let none = scene
        .proxy
        .admin("/api/v1/decisions/01J00000000000000000000000")
        .await;
    assert_eq!(none.status, 404, "{none}");
}

#[tokio::test]
async fn what_could_not_be_decided_is_a_record() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.registry.fault("sha256-", Fault::Status(500));
    assert_unavailable(&scene.manifest("apps/web", &image.digest).await);
    let records = scene.proxy.decisions("decision=unavailable").await;
    assert_eq!(records[0]["digest"], image.digest, "{records:?}");
    let sources = records[0]["sources"].as_array().unwrap();
    let failed = sources
        .iter()
        .filter(|source| source["outcome"] == "failed");
    for source in failed.clone() {
        assert!(source["reason"].is_string(), "{source}");
    }
    assert!(failed.count() > 0, "{sources:?}");
}

#[tokio::test]
async fn a_tag_that_nobody_can_look_up_is_a_record() {
    let scene = Scene::start().await;
    scene.signed("apps/web", "v1");
    scene.registry.stop();
    for _ in 0..3 {
        assert_unavailable(&scene.manifest("apps/web", "v1").await);
    }
    let records = scene.proxy.decisions("decision=unavailable").await;
    assert_eq!(records.len(), 1, "once in a while: {records:?}");
    let record = &records[0];
    assert_eq!(
        (&record["digest"], &record["reference"]),
        (&Value::Null, &json!("v1"))
    );
    assert_eq!(record["repository"], scene.repository("apps/web"));
    assert_eq!(record["denial"]["kind"], "unavailable");
    let message = record["denial"]["message"].as_str().unwrap();
    assert!(message.contains("is not answering"), "{message}");
}

#[tokio::test]
async fn filters_select_and_pages_go_back_in_time() {
    let scene = Scene::start().await;
    let signed = scene.signed("apps/web", "v1");
    let unsigned = scene.unsigned("apps/other", "v1");
    let foreign = scene.unsigned("apps/foreign", "v1");
    let stranger = SigningKey::generate();
    scene
        .registry
        .sign_legacy("apps/foreign", &foreign, &stranger);
    for name in ["apps/web", "apps/other", "apps/foreign"] {
        drop(scene.manifest(name, "v1").await);
    }
    let fingerprint = scene.key.fingerprint();
    let web = format!("repository={}", scene.repository("apps/web"));
    for (query, wanted) in [
        (web, vec![&signed]),
        (
            format!("repository={}", scene.repository("apps/*")),
            vec![&foreign, &unsigned, &signed],
        ),
        (format!("digest={}", unsigned.digest), vec![&unsigned]),
        ("decision=admit".to_owned(), vec![&signed]),
        ("decision=deny".to_owned(), vec![&foreign, &unsigned]),
        ("decision=unavailable".to_owned(), vec![]),
        ("kind=untrusted_key".to_owned(), vec![&foreign]),
        ("policy=apps&kind=unsigned".to_owned(), vec![&unsigned]),
        ("policy=nobody-s".to_owned(), vec![]),
        (format!("signer={fingerprint}"), vec![&signed]),
        (
            "since=2020-01-01T00:00:00Z".to_owned(),
            vec![&foreign, &unsigned, &signed],
        ),
        ("until=2020-01-01T00:00:00Z".to_owned(), vec![]),
        ("limit=2".to_owned(), vec![&foreign, &unsigned]),
    ] {
        let records = scene.proxy.decisions(&query).await;
        let found: Vec<&str> = records
            .iter()
            .filter_map(|record| record["digest"].as_str())
            .collect();
        let wanted: Vec<&str> = wanted.iter().map(|image| image.digest.as_str()).collect();
        assert_eq!(found, wanted, "{query}");
    }
    let page = scene.proxy.admin("/api/v1/decisions?limit=2").await.json();
    let next = page["next"].as_str().unwrap();
    let rest = scene
        .proxy
        .decisions(&format!("limit=2&after={next}"))
        .await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["digest"], signed.digest);
    for bad in [
        "decision=maybe",
        "digest=sha256:1",
        "since=yesterday",
        "limit=-1",
    ] {
        let answer = scene.proxy.admin(&format!("/api/v1/decisions?{bad}")).await;
        assert_eq!(answer.status, 400, "{bad}: {answer}");
    }
}

#[tokio::test]
async fn it_is_durable_before_the_first_byte() {
    let scene = Scene::start().await;
    for number in 0..5 {
        let tag = format!("v{number}");
        let image = scene.signed("apps/web", &tag);
        assert_serves(&scene.manifest("apps/web", &tag).await, &image);
        scene.proxy.kill();
        scene.proxy.run().await;
        let records = scene
            .proxy
            .decisions(&format!("digest={}&decision=admit", image.digest))
            .await;
        assert_eq!(records.len(), 1, "pull {number}: {records:?}");
    }
}

#[tokio::test]
async fn pulls_that_reuse_a_decision_are_counted() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    for _ in 0..10 {
        assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
    }
    // Counts are written from time to time, and at the end.
    scene.proxy.restart().await;
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    assert_eq!(records.len(), 1, "{records:?}");
    let count = records[0]["count"].as_u64().unwrap();
    assert!((9..=10).contains(&count), "{count}");
}

#[tokio::test]
async fn records_are_lines_of_json() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    scene.proxy.stop().await;
    let lines = scene.proxy.lines();
    let record = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["decision"] == "admit" && line["digest"] == image.digest.as_str());
    let mut record = record.unwrap_or_else(|| panic!("no record in:\n{lines}"));
    let sort = record.as_object_mut().unwrap().remove("log");
    assert_eq!(sort, Some(json!("decision")));
    assert_keys(&record, &KEYS);
}

/// An index over the log gives each name one type, and rejects a line that has another.
#[tokio::test]
async fn a_name_has_one_type_in_all_sorts_of_lines() {
    let scene = Scene::start().await;
    scene.signed("apps/web", "v1");
    scene.unsigned("apps/web", "v2");
    for tag in ["v1", "v1", "v2", "absent"] {
        drop(scene.manifest("apps/web", tag).await);
    }
    drop(scene.proxy.get("/v2/").await);
    scene.proxy.stop().await;
    scene.proxy.reconfigure(|configuration| {
        configuration["policies"][0]["name"] = json!("renamed");
    });
    scene.proxy.run().await;
    scene.proxy.stop().await;
    let lines = scene.proxy.lines();
    let mut types = BTreeMap::new();
    let mut sorts = BTreeMap::new();
    for line in lines.lines().filter(|line| line.starts_with('{')) {
        let value: Value = serde_json::from_str(line).unwrap();
        let sort = value["log"].as_str().unwrap_or_default().to_owned();
        assert!(
            line.starts_with(&format!("{{\"log\":\"{sort}\",")),
            "{line}"
        );
        collect_types("", &value, &mut types);
        let ids = sorts.entry(sort).or_insert_with(Vec::new);
        ids.push((value["id"].clone(), value["decision_id"].clone()));
    }
    assert_eq!(
        sorts.keys().collect::<Vec<_>>(),
        ["access", "change", "decision"]
    );
    for (name, types) in types {
        assert_eq!(types.len(), 1, "{name}: {types:?}");
    }
    // Access lines name the decisions that they used.
    for (id, _) in &sorts["decision"] {
        let has_it = sorts["access"].iter().any(|(_, used)| used == id);
        assert!(has_it, "{id} in {sorts:?}");
    }
}

fn collect_types(name: &str, value: &Value, types: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let sort = match value {
        Value::Null => return,
        Value::Array(items) => {
            for item in items {
                collect_types(name, item, types);
            }
            return;
        }
        Value::Object(members) => {
            for (key, member) in members {
                collect_types(&format!("{name}.{key}"), member, types);
            }
            "object"
        }
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    };
    types.entry(name.to_owned()).or_default().insert(sort);
}
