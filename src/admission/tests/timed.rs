//! Conditions that depend on the time of day: what they say changes without anything else changing, so that a decision
//! must not outlast them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::forge::attestation;
use super::house::{House, after, subject};
use super::question::{Question, SCAN, World, attested_by, now, signed_by};
use super::registry::Pushed;
use crate::oci::Manifest;
use crate::policy::kyverno::{Block, Comparison, Conditions, Operand};
use crate::policy::{AttestationRequirement, Mode, Policy, Quantifier, Requirement};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// How old a scan may be.
const WEEK: i64 = 168 * HOUR;

fn comparison(key: &str, operator: &str, value: &str) -> Comparison {
    let operand = |text: &str| Operand::new(json!(text), &BTreeSet::new()).unwrap();
    Comparison {
        key: operand(key),
        operator: operator.parse().unwrap(),
        value: operand(value),
    }
}

fn scanned(world: &World, all: Vec<Comparison>) -> AttestationRequirement {
    AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![Arc::clone(&world.authority)],
        quantifier: Quantifier::Any,
        condition: Some(Arc::new(Conditions::new(vec![Block { any: None, all }]))),
    }
}

/// Not more than a week ago, as Kyverno's policies say it.
fn this_week(world: &World) -> AttestationRequirement {
    let key = "{{ time_since('','{{metadata.scanFinishedOn}}','') }}";
    scanned(world, vec![comparison(key, "LessThanOrEquals", "168h")])
}

/// By whom does not depend on the time.
fn by_the_scanner(world: &World) -> AttestationRequirement {
    scanned(world, vec![comparison("{{ scanner }}", "Equals", "good")])
}

/// A scan that ended so many seconds before now.
fn scan(ago: i64) -> Value {
    let finished = after(now(), -ago).to_string();
    json!({"scanner": "good", "metadata": {"scanFinishedOn": finished}})
}

fn attach_scan(house: &House, world: &World, image: &Pushed, ago: i64) {
    let layer = attestation(&world.key, &image.digest, SCAN, &scan(ago), None);
    house.registry.attach(image, ".att", layer);
}

fn at(seconds: i64) -> Timestamp {
    after(now(), seconds)
}

#[test]
fn a_scan_is_good_until_it_is_too_old() {
    let world = World::new();
    let rejected = "attestation_rejected";
    for (ago, answer) in [
        (0, "satisfied"),
        (HOUR, "satisfied"),
        (WEEK, "satisfied"),
        (WEEK + 1, rejected),
        (100 * WEEK, rejected),
        // Kyverno takes what has not been yet for young.
        (-1, rejected),
        (-HOUR, rejected),
    ] {
        let candidates = vec![world.attestation(&scan(ago), None)];
        let question = Question::new(vec![attested_by(this_week(&world))], candidates);
        assert_eq!(question.answer(), answer, "{ago}");
    }
}

#[test]
fn whatever_the_time_was_asked_for_holds_for_a_minute() {
    let world = World::new();
    let until = |policies: Vec<Policy>, ago: i64| {
        let mut candidates = vec![world.attestation(&scan(ago), None)];
        candidates.push(world.signature());
        Question::new(policies, candidates).ask().valid_until
    };
    let timed = || attested_by(this_week(&world));
    let auditing = || Policy {
        mode: Mode::Audit,
        ..timed()
    };
    let signed = || signed_by(&[&world.authority], 1);
    let either = |of| Policy {
        requirement: Requirement::Any(of),
        ..timed()
    };
    let minute = Some(at(MINUTE));
    for (policies, ago, expected) in [
        (vec![timed()], HOUR, minute),
        (vec![timed()], WEEK + 1, minute),
        (vec![signed(), timed()], HOUR, minute),
        (vec![timed(), signed()], HOUR, minute),
        (vec![signed(), auditing()], HOUR, minute),
        (vec![signed(), auditing()], WEEK + 1, minute),
        (vec![attested_by(by_the_scanner(&world))], HOUR, None),
        (vec![signed()], HOUR, None),
        // What was asked in vain was asked.
        (
            vec![either(vec![
                Requirement::Attestation(this_week(&world)),
                Requirement::Attestation(by_the_scanner(&world)),
            ])],
            WEEK + 1,
            minute,
        ),
    ] {
        let described = format!("{policies:?}");
        assert_eq!(until(policies, ago), expected, "{described}");
    }
}

#[tokio::test]
async fn a_decision_is_made_again_without_the_upstream_and_then_refuses() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("scanned");
    attach_scan(&house, &world, &image, WEEK - HOUR);
    let process = house.process(vec![attested_by(this_week(&world))]);
    assert_eq!(process.decide(&image).await, "signature");
    assert!(house.registry.was_asked_for_signatures());
    let remembered = |seconds| {
        let decision = process
            .admission
            .remembered(&subject(&image.digest), at(seconds));
        decision.map(|decision| decision.id)
    };
    let first = remembered(MINUTE - 1).unwrap();
    assert_eq!(remembered(MINUTE), None);
    // Nobody is asked for what is kept.
    assert_eq!(process.decide_at(&image, at(MINUTE)).await, "signature");
    assert_ne!(remembered(MINUTE), Some(first));
    assert_eq!(process.decide_at(&image, at(HOUR)).await, "signature");
    assert_eq!(
        process.decide_at(&image, at(HOUR + MINUTE)).await,
        "attestation_rejected"
    );
    assert!(!house.registry.was_asked_for_signatures());
    // A refusal is soon looked at again, and then finds the new scan.
    attach_scan(&house, &world, &image, 0);
    let soon = at(HOUR + 2 * MINUTE);
    assert_eq!(process.decide_at(&image, soon).await, "signature");
    assert!(house.registry.was_asked_for_signatures());
}

/// Whoever is told first that the scan is too old is told so within a minute.
#[tokio::test]
async fn it_is_never_served_more_than_a_minute_longer() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("scanned");
    attach_scan(&house, &world, &image, WEEK);
    let process = house.process(vec![attested_by(this_week(&world))]);
    assert_eq!(process.decide(&image).await, "signature");
    let refused = "attestation_rejected";
    for (seconds, answer) in [(1, "signature"), (59, "signature"), (60, refused)] {
        assert_eq!(process.decide_at(&image, at(seconds)).await, answer);
    }
}

#[tokio::test]
async fn what_an_index_endorses_and_what_a_manifest_grants_end_too() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    attach_scan(&house, &world, &index, WEEK);
    let process = house.process(vec![attested_by(this_week(&world))]);
    let manifest = Manifest::parse(&child.bytes, child.media_type).unwrap();
    let blob = manifest.blobs().next().unwrap().digest;
    assert_eq!(process.decide(&index).await, "signature");
    assert_eq!(process.decide_at(&child, at(30)).await, "endorsement");
    assert!(process.grant(&blob, at(30)).await.unwrap().is_ok());
    let granted = |seconds| {
        let remembered = process
            .admission
            .remembered_blob(&subject(&blob), at(seconds));
        remembered.is_some()
    };
    assert!(granted(59));
    // Not a minute after the child was decided about, but a minute after the index was.
    assert!(!granted(60));
    let refused = process.grant(&blob, at(60)).await.unwrap();
    assert_eq!(refused.unwrap_err().kind.as_str(), "not_endorsed");
    let found = "attestation_missing";
    assert_eq!(process.decide_at(&child, at(60)).await, found);
    assert_eq!(
        process.decide_at(&index, at(60)).await,
        "attestation_rejected"
    );
}
