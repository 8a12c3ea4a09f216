//! What goes on after an answer, and what a process has not seen itself.

use std::collections::BTreeMap;

use serde_json::json;

use super::forge::{Layer, Signature, attestation};
use super::house::{House, after, subject};
use super::question::{SCAN, World, attested_by, now, signed_by};
use super::registry::{TAR, Trouble};
use crate::decision_log::SourceOutcome;
use crate::policy::{AttestationRequirement, Policy, Quantifier};
use crate::upstream::Purpose;

const DAY: i64 = 24 * 3600;

fn enforcing(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

/// Whoever changes the policies need not ask the upstream about what an index vouched for.
#[tokio::test]
async fn signatures_of_what_is_endorsed_are_looked_for_once() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    house.registry.sign(&child, &world.other);
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&index).await, "signature");
    house.registry.was_asked_for_signatures();
    assert_eq!(process.decide(&child).await, "endorsement");
    assert!(house.registry.was_asked_for_signatures());
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.decide(&child).await, "endorsement");
    assert!(!house.registry.was_asked_for_signatures());
    house.registry.fail(Trouble::Unreachable);
    let by_other = house.process(vec![signed_by(&[&world.other_authority], 1)]);
    assert_eq!(by_other.decide(&child).await, "signature");
}

#[tokio::test]
async fn incomplete_evidence_of_what_is_endorsed_is_completed() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    house
        .registry
        .fail_at(&[Purpose::Referrers], Trouble::Unreachable);
    let early = house.process(enforcing(&world));
    assert_eq!(early.decide(&child).await, "unavailable");
    house.registry.recover();
    let later = house.process(enforcing(&world));
    assert_eq!(later.decide(&index).await, "signature");
    for asks in [true, false] {
        house.registry.was_asked_for_signatures();
        let fresh = house.process(enforcing(&world));
        assert_eq!(fresh.decide(&child).await, "endorsement");
        assert_eq!(house.registry.was_asked_for_signatures(), asks);
    }
}

/// What was found while everybody answered is kept until it is found again.
#[tokio::test]
async fn complete_evidence_is_replaced_by_complete_evidence_only() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let found_at = async |time| {
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide_at(&image, time).await, "signature");
        let kept = house.state.evidence(&subject(&image.digest)).await;
        let kept = kept.unwrap().unwrap();
        let mut sources = kept.sources.iter();
        assert!(sources.all(|source| source.report.outcome != SourceOutcome::Failed));
        kept.discovered_at
    };
    let day = |number| after(now(), number * DAY);
    assert_eq!(found_at(now()).await, now());
    // The decision waits for all of them, or not for the last one, which is read to its end afterwards.
    assert_eq!(found_at(day(1)).await, day(1));
    house.registry.last(Purpose::Referrers);
    assert_eq!(found_at(day(2)).await, day(2));
    house
        .registry
        .fail_at(&[Purpose::Referrers], Trouble::Unreachable);
    assert_eq!(found_at(day(3)).await, day(2));
    house.registry.recover();
    assert_eq!(found_at(day(3)).await, day(3));
}

/// Layers of other types are not kept, and nobody misses them.
#[tokio::test]
async fn evidence_is_read_back_without_the_layers_that_are_no_signatures() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let files = Layer::new(TAR, b"files".to_vec(), BTreeMap::new());
    let signature = Signature::default().by(&world.key, &image.digest);
    let manifest = house.registry.push_layers(&[signature, files]);
    let tag = format!("{}.sig", image.digest.to_tag_prefix());
    house.registry.tag(&tag, &manifest);
    for asks in [true, false] {
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide(&image).await, "signature");
        assert_eq!(house.registry.was_asked_for_signatures(), asks);
    }
}

/// That there are no more attestations is known to whoever looked, and not to who reads it in the state.
#[tokio::test]
async fn all_attestations_are_those_that_this_process_saw() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("attested");
    let clean = json!({"clean": true});
    let layer = attestation(&world.key, &image.digest, SCAN, &clean, None);
    house.registry.attach(&image, ".att", layer);
    let of_all = |quantifier| {
        vec![attested_by(AttestationRequirement {
            predicate_type: SCAN.to_owned(),
            authorities: vec![world.authority.clone()],
            quantifier,
            condition: None,
        })]
    };
    let seeing = house.process(of_all(Quantifier::All));
    assert_eq!(seeing.decide(&image).await, "signature");
    for (quantifier, asks) in [(Quantifier::All, true), (Quantifier::Any, false)] {
        house.registry.was_asked_for_signatures();
        let reading = house.process(of_all(quantifier));
        assert_eq!(reading.decide(&image).await, "signature");
        assert_eq!(house.registry.was_asked_for_signatures(), asks);
    }
    house.registry.fail(Trouble::Unreachable);
    let later = after(now(), DAY);
    assert_eq!(seeing.decide_at(&image, later).await, "signature");
    for (quantifier, answer) in [
        (Quantifier::All, "unavailable"),
        (Quantifier::Newest, "unavailable"),
        (Quantifier::Any, "signature"),
    ] {
        let reading = house.process(of_all(quantifier));
        assert_eq!(reading.decide_at(&image, later).await, answer);
    }
}
