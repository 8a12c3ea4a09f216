use super::*;
use crate::decision_log::{DenialReport, Outcome, PolicyReport, RefusedClient};
use crate::oci::Digest;

fn record() -> Record {
    let digest = Digest::sha256(b"x");
    let value = serde_json::json!({
        "id": ulid::Ulid::from_parts(1, 1), "time": "2026-11-23T14:00:00Z", "replica": "r",
        "repository": "ghcr.io/org/app", "reference": "v1", "digest": digest, "previous_digest": null,
        "media_type": null, "decision": "deny", "mode": "enforce", "basis": null, "stale": false, "sources": [],
        "denial": null, "policies": [], "attempts": [],
        "endorsed_by": null, "trusted_root": null, "configuration": digest, "verifier": "0.1.0",
        "client": {"address": null, "user_agent": null, "identity": null},
        "timing_ms": {"upstream": 0.0, "discovery": 0.0, "keys": 0.0, "verification": 0.0, "total": 0.0}, "count": 1,
    });
    serde_json::from_value(value).unwrap()
}

/// An attempt whose certificate claims `claim` in each of its 22 extensions.
fn attempt(number: usize, outcome: &str, claim: &str) -> AttemptReport {
    let extensions: std::collections::BTreeMap<_, _> =
        (0..22).map(|it| (format!("claim {it}"), claim)).collect();
    let certificate = serde_json::json!({
        "identity": claim, "oidc_issuer": claim, "serial": "00", "not_before": "2026-11-23T14:00:00Z",
        "not_after": "2026-11-23T14:10:00Z", "extensions": extensions,
    });
    let value = serde_json::json!({
        "source": "referrers", "artifact": Digest::sha256(b"y"), "format": "bundle", "authority": number.to_string(),
        "outcome": outcome, "kind": "wrong_identity", "reason": claim, "predicate_type": claim,
        "certificate": certificate, "key": null, "transparency_log": null, "signed_timestamp": null,
    });
    serde_json::from_value(value).unwrap()
}

fn authorities(entry: &Entry) -> Vec<&str> {
    entry
        .attempts
        .iter()
        .map(|it| it.authority.as_str())
        .collect()
}

fn length(entry: &Entry) -> usize {
    serde_json::to_string(&**entry).unwrap().len()
}

#[test]
fn ordinary_record_stays_as_it_is() {
    let mut whole = record();
    whole.attempts = vec![attempt(0, "verified", "https://github.com/org/app")];
    let entry = Entry::new(whole.clone());
    let json = |record: &Record| serde_json::to_value(record).unwrap();
    assert_eq!(json(&entry), json(&whole));
    assert_eq!(entry.left_out, 0);
}

#[test]
fn every_foreign_text_is_clean_and_short() {
    let hostile = format!("\u{1b}]0;owned\u{7}\u{202e}{}", "x".repeat(3_900_000));
    let client = || Client {
        address: Some(hostile.clone()),
        user_agent: Some(hostile.clone()),
        identity: Some(hostile.clone()),
    };
    let mut record = record();
    record.repository.clone_from(&hostile);
    record.reference.clone_from(&hostile);
    record.media_type = Some(hostile.clone());
    record.sources = serde_json::from_value(serde_json::json!([
        {"source": "referrers", "outcome": "failed", "found": 0, "reason": hostile}
    ]))
    .unwrap();
    record.denial = Some(DenialReport {
        kind: "malformed".to_owned(),
        message: hostile.clone(),
    });
    record.attempts = vec![
        attempt(0, "verified", &hostile),
        attempt(1, "failed", &hostile),
    ];
    record.client = client();
    record.clients = Some(vec![RefusedClient {
        client: client(),
        count: 1,
        last: record.time,
    }]);
    let entry = Entry::new(record);
    let text = serde_json::to_string(&*entry).unwrap();
    assert!(text.len() <= RECORD_BYTES_MAX, "{}", text.len());
    assert!(
        !text.contains("\\u001b") && !text.contains("\\u0007") && !text.contains('\u{202e}'),
        "{text}"
    );
    let cut = format!("{} bytes, sha256:", hostile.len());
    assert!(text.contains(&cut), "{text}");
}

#[test]
fn claims_go_before_attempts() {
    let mut record = record();
    record.attempts = (0..10)
        .map(|it| attempt(it, "failed", &"c".repeat(90)))
        .collect();
    let entry = Entry::new(record);
    assert!(length(&entry) <= RECORD_BYTES_MAX);
    assert_eq!((entry.attempts.len(), entry.left_out), (10, 0));
    let extensions = |it: &AttemptReport| it.certificate.as_ref().unwrap().extensions.len();
    assert!(entry.attempts.iter().all(|it| extensions(it) == 0));
}

#[test]
fn verified_attempts_stay_and_those_in_the_middle_go() {
    let mut record = record();
    record.attempts = (0..100)
        .map(|it| attempt(it, "failed", &"c".repeat(500)))
        .collect();
    record.attempts[50] = attempt(50, "verified", "c");
    let entry = Entry::new(record);
    assert!(length(&entry) <= RECORD_BYTES_MAX, "{}", length(&entry));
    let kept = authorities(&entry);
    assert!(
        kept.starts_with(&["0", "1"]) && kept.ends_with(&["98", "99"]),
        "{kept:?}"
    );
    assert!(kept.contains(&"50"), "{kept:?}");
    assert_eq!(kept.len() as u64 + entry.left_out, 100);
    assert_eq!(entry.decision, Outcome::Deny);
}

#[test]
fn policies_leave_room_for_attempts() {
    let mut record = record();
    record.policies = (0..1000)
        .map(|number| PolicyReport {
            name: format!("policy {number}"),
            hash: Digest::sha256(b"p"),
            satisfied: number != 999,
            authorities: Vec::new(),
        })
        .collect();
    record.attempts = vec![attempt(0, "verified", "c")];
    let entry = Entry::new(record);
    assert!(length(&entry) <= RECORD_BYTES_MAX, "{}", length(&entry));
    assert_eq!(entry.policies[0].name, "policy 999");
    assert_eq!(authorities(&entry), ["0"]);
    assert_eq!(entry.policies.len() as u64 + entry.left_out, 1000);
}
