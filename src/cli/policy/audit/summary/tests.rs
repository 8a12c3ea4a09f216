//! Counts.

use serde_json::json;

use super::*;

const APP: &str = "ghcr.io/org/app";

/// A record as the log has it, `number` seconds after some time.
fn record(number: u64, change: &serde_json::Value) -> Record {
    let digest = Digest::sha256(b"image");
    let time = Timestamp::from_second(1_760_000_000 + number.cast_signed()).unwrap();
    let mut value = json!({
        "id": Ulid::from_parts(number, 7), "time": time, "replica": "r", "repository": APP,
        "reference": "v1", "digest": digest, "previous_digest": null, "media_type": "application/x",
        "decision": "admit", "mode": "enforce", "basis": "signature", "stale": false, "sources": [], "denial": null,
        "policies": [policy("apps", true)], "attempts": [], "endorsed_by": null, "trusted_root": null,
        "configuration": digest, "verifier": "0.1.0",
        "client": {"address": null, "user_agent": null, "identity": null},
        "timing_ms": {"upstream": 0.0, "discovery": 0.0, "keys": 0.0, "verification": 0.0, "total": 1.5},
        "count": 0,
    });
    let change = change.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(change);
    serde_json::from_value(value).unwrap()
}

fn policy(name: &str, satisfied: bool) -> serde_json::Value {
    let hash = Digest::sha256(name.as_bytes());
    json!({"name": name, "hash": hash, "satisfied": satisfied, "authorities": []})
}

fn audited(number: u64, image: &str) -> Record {
    record(
        number,
        &json!({
            "basis": "audit", "mode": "audit", "digest": Digest::sha256(image.as_bytes()),
            "policies": [policy("apps", false)],
            "denial": {"kind": "unsigned", "message": format!("policy `apps` refuses {image}")},
        }),
    )
}

/// Oldest first, as they were made.
fn summary(mut records: Vec<Record>) -> Summary {
    records.reverse();
    summarise(&records, true, 2)
}

#[test]
fn refusals_are_counted_by_policy_kind_and_repository() {
    let mut again = audited(2, "one");
    again.count = 4;
    let mut elsewhere = audited(3, "two");
    elsewhere.repository = "ghcr.io/org/other".to_owned();
    elsewhere.denial.as_mut().unwrap().kind = "untrusted_key".to_owned();
    let good = record(4, &json!({"count": 2}));
    let summary = summary(vec![audited(1, "one"), again, elsewhere, good]);
    let [apps] = &summary.policies[..] else {
        panic!("{summary:?}");
    };
    assert_eq!(apps.policy.as_deref(), Some("apps"));
    assert_eq!(
        apps.would_refuse,
        Count {
            images: 2,
            pulls: 7
        }
    );
    assert_eq!(
        apps.admits,
        Count {
            images: 1,
            pulls: 3
        }
    );
    assert_eq!(apps.mended, 0);
    assert_eq!(
        apps.kinds["unsigned"],
        Count {
            images: 1,
            pulls: 6
        }
    );
    assert_eq!(
        apps.kinds["untrusted_key"],
        Count {
            images: 1,
            pulls: 1
        }
    );
    assert_eq!(apps.repositories[0].repository, APP);
    assert_eq!(
        apps.repositories[0].count,
        Count {
            images: 1,
            pulls: 6
        }
    );
    assert_eq!(apps.repositories.len(), 2);
    assert_eq!(apps.first_seen.as_second(), 1_760_000_001);
    assert_eq!(apps.last_seen.as_second(), 1_760_000_003);
    assert_eq!(apps.example.message, "policy `apps` refuses two");
}

#[test]
fn an_image_that_was_mended_would_not_break() {
    let image = Digest::sha256(b"one");
    let mended = record(2, &json!({"digest": image}));
    let broken_since = summary(vec![mended.clone(), audited(3, "one")]);
    assert_eq!(broken_since.policies[0].would_refuse.images, 1);
    assert_eq!(broken_since.policies[0].mended, 0);
    let summary = summary(vec![audited(1, "one"), mended]);
    assert_eq!(
        summary.policies[0].would_refuse,
        Count {
            images: 0,
            pulls: 1
        }
    );
    assert_eq!(summary.policies[0].mended, 1);
    assert_eq!(
        summary.policies[0].admits,
        Count {
            images: 1,
            pulls: 1
        }
    );
}

#[test]
fn the_kind_is_that_of_the_first_policy() {
    let both = json!({
        "basis": "audit", "policies": [policy("good", true), policy("one", false), policy("two", false)],
        "denial": {"kind": "unsigned", "message": "policy `one` refuses"},
    });
    let summary = summary(vec![record(1, &both)]);
    let kinds = |name: &str| {
        let mut policies = summary.policies.iter();
        let policy = policies.find(|it| it.policy.as_deref() == Some(name));
        policy.map(|it| it.kinds.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(kinds("one"), Some(vec!["unsigned".to_owned()]));
    assert_eq!(kinds("two"), Some(vec![NOT_RECORDED.to_owned()]));
    assert_eq!(kinds("good"), None);
}

#[test]
fn what_no_policy_covers_is_told_apart() {
    let uncovered = json!({
        "basis": "audit", "policies": [],
        "denial": {"kind": "no_policy", "message": "no policy covers it"},
    });
    let summary = summary(vec![record(1, &uncovered)]);
    assert_eq!(summary.policies[0].policy, None);
    assert_eq!(
        summary.policies[0].would_refuse,
        Count {
            images: 1,
            pulls: 1
        }
    );
}

#[test]
fn exceptions_and_refusals_are_no_audits() {
    let excepted = json!({
        "basis": "audit", "policies": [policy("apps", false)],
        "denial": {"kind": "unsigned", "message": format!("{EXCEPTED}an exception by me; without it …")},
    });
    let denied = json!({
        "decision": "deny", "basis": null, "policies": [policy("apps", false)],
        "denial": {"kind": "unsigned", "message": "policy `apps` refuses"},
    });
    let material = json!({"basis": "signature_artifact", "policies": [policy("apps", false)]});
    let records = [excepted, denied, material].map(|change| record(1, &change));
    assert!(summary(records.into()).policies.is_empty());
}

#[test]
fn what_an_index_lists_goes_by_the_index() {
    let index = audited(1, "index");
    let child = json!({
        "basis": "endorsement", "policies": [], "endorsed_by": index.digest,
        "digest": Digest::sha256(b"child"),
        "denial": {"kind": "unsigned", "message": "policy `apps` refuses the index"},
    });
    let alone = summary(vec![record(2, &child)]);
    assert_eq!(alone.policies[0].policy.as_deref(), Some(UNKNOWN));
    let summary = summary(vec![index, record(2, &child)]);
    assert_eq!(summary.policies.len(), 1);
    assert_eq!(
        summary.policies[0].would_refuse,
        Count {
            images: 2,
            pulls: 2
        }
    );
}
