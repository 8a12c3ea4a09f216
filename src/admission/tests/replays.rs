//! Replays: what is stored decides, however old it is, and what is not stored decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::house::{House, Process, Settings, after, subject};
use super::question::{SCAN, World, attested_by, now, signed_by};
use super::registry::Pushed;
use crate::admission::{Freshness, Reliance};
use crate::policy::{AttestationRequirement, Policy, Quantifier};
use crate::upstream::Offline;

const YEARS: i64 = 5 * 365 * 24 * 3600;

fn by(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

fn by_other(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.other_authority], 1)]
}

fn attested(world: &World, quantifier: Quantifier) -> Vec<Policy> {
    vec![attested_by(AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![world.authority.clone()],
        quantifier,
        condition: None,
    })]
}

/// A process that asks nobody.
fn offline(house: &House, policies: Vec<Policy>, reliance: Reliance) -> Process<'_> {
    let settings = Settings {
        reliance,
        freshness: Freshness {
            tag_ttl: Duration::MAX,
            absent_ttl: Duration::ZERO,
            reverify_after: Duration::MAX,
            stale_for: Duration::MAX,
        },
        ..Settings::default()
    };
    let upstream = Arc::new(Offline::new(BTreeSet::new()));
    house.process_before(upstream, policies, settings)
}

fn replay(house: &House, policies: Vec<Policy>) -> Process<'_> {
    offline(house, policies, Reliance::Recorded)
}

async fn lacking(process: &Process<'_>, pushed: &Pushed) -> Vec<String> {
    let lacking = process.admission.lacking(&subject(&pushed.digest)).await;
    lacking.unwrap()
}

#[tokio::test]
async fn age_does_not_count_and_who_gathered_it_neither() {
    let (world, house) = (World::new(), House::new().await);
    let (signed, bare) = (
        house.registry.push_image("signed"),
        house.registry.push_image("bare"),
    );
    house.registry.sign(&signed, &world.key);
    let process = house.process(by(&world));
    assert_eq!(process.decide(&signed).await, "signature");
    assert_eq!(process.decide(&bare).await, "unsigned");
    let replayed = replay(&house, by(&world));
    for seconds in [0, YEARS, -YEARS] {
        let now = after(now(), seconds);
        assert_eq!(
            replayed.decide_at(&signed, now).await,
            "signature",
            "{seconds}"
        );
        assert_eq!(
            replayed.decide_at(&bare, now).await,
            "unsigned",
            "{seconds}"
        );
    }
    let replayed = replay(&house, by_other(&world));
    assert_eq!(replayed.decide(&signed).await, "untrusted_key");
    assert_eq!(lacking(&replayed, &signed).await, [""; 0]);
}

#[tokio::test]
async fn all_that_was_recorded_is_all_there_is() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("attested");
    let layer = super::forge::attestation(&world.key, &image.digest, SCAN, &json!({}), None);
    house.registry.attach(&image, ".att", layer);
    let process = house.process(attested(&world, Quantifier::Any));
    assert_eq!(process.decide(&image).await, "signature");
    for quantifier in [Quantifier::All, Quantifier::Newest] {
        let replayed = replay(&house, attested(&world, quantifier));
        assert_eq!(replayed.decide(&image).await, "signature");
        // What is served goes by what a process has seen itself.
        let serving = offline(&house, attested(&world, quantifier), Reliance::Fresh);
        assert_eq!(serving.decide(&image).await, "unavailable");
    }
}

#[tokio::test]
async fn what_was_not_looked_for_may_admit_and_never_refuse() {
    let (world, house) = (World::new(), House::new().await);
    let (with, without) = (
        house.registry.push_image("with"),
        house.registry.push_image("without"),
    );
    let attestation = super::forge::attestation(&world.key, &with.digest, SCAN, &json!({}), None);
    let referrer = house.registry.push_layers(&[attestation]);
    house.registry.refer(&with, &referrer);
    for image in [&with, &without] {
        house.registry.sign(image, &world.key);
        assert_eq!(house.process(by(&world)).decide(image).await, "signature");
    }
    // Nobody has asked for attestation tags.
    let replayed = replay(&house, attested(&world, Quantifier::Any));
    assert_eq!(replayed.decide(&with).await, "signature");
    assert_eq!(replayed.decide(&without).await, "unavailable");
    let lacking = lacking(&replayed, &without).await;
    assert!(
        lacking[0].contains("attestation tags were not asked for"),
        "{lacking:?}"
    );
    assert_eq!(lacking.len(), 1, "{lacking:?}");
    let about_all = replay(&house, attested(&world, Quantifier::All));
    assert_eq!(about_all.decide(&with).await, "unavailable");
}

#[tokio::test]
async fn what_is_not_stored_decides_nothing() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let signature = house.registry.sign(&image, &world.key);
    let replayed = replay(&house, by(&world));
    let absent = replayed.decide(&image).await;
    assert!(absent.contains("nobody is asked"), "{absent}");
    assert_eq!(
        lacking(&replayed, &image).await,
        [
            "its manifest is not stored",
            "nothing is stored of its signatures"
        ]
    );
    assert_eq!(house.process(by(&world)).decide(&image).await, "signature");
    house.store.remove(&signature.digest).await.unwrap();
    let replayed = replay(&house, by(&world));
    assert_eq!(replayed.decide(&image).await, "unavailable");
    assert_eq!(
        lacking(&replayed, &image).await,
        ["signatures that were found are no longer stored"]
    );
}

#[tokio::test]
async fn an_index_of_platforms_that_nobody_pulled_can_be_refused() {
    let (world, house) = (World::new(), House::new().await);
    let (child, other) = (
        house.registry.push_image("a child"),
        house.registry.push_image("other"),
    );
    let listed = |platforms: [serde_json::Value; 2]| {
        let mut descriptors = [child.descriptor(), other.descriptor()];
        for (descriptor, platform) in descriptors.iter_mut().zip(platforms) {
            descriptor["platform"] = platform;
        }
        house.registry.push_index_of(&descriptors)
    };
    let linux = || json!({"os": "linux", "architecture": "amd64"});
    for (platforms, answer) in [
        ([linux(), linux()], "unsigned"),
        ([linux(), json!(null)], "unavailable"),
        ([json!(null), json!(null)], "unavailable"),
        (
            [linux(), json!({"os": "", "architecture": ""})],
            "unavailable",
        ),
    ] {
        let index = listed(platforms.clone());
        assert_eq!(house.process(by(&world)).decide(&index).await, "unsigned");
        let replayed = replay(&house, by(&world));
        assert_eq!(replayed.decide(&index).await, answer, "{platforms:?}");
        // Where something is served by it, it is read.
        let serving = offline(&house, by(&world), Reliance::Fresh);
        assert_eq!(serving.decide(&index).await, "unavailable", "{platforms:?}");
    }
}

#[tokio::test]
async fn an_index_vouches_in_a_replay_although_it_was_refused() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.other);
    let process = house.process(by(&world));
    for refused in [&index, &child] {
        let answer = process.decide(refused).await;
        assert!(
            ["untrusted_key", "unsigned"].contains(&&*answer),
            "{answer}"
        );
    }
    let replayed = replay(&house, by_other(&world));
    assert_eq!(replayed.decide(&child).await, "unsigned");
    let replayed = replay(&house, by_other(&world));
    let noted = replayed
        .admission
        .note_for_replay(&subject(&index.digest), &[])
        .await;
    noted.unwrap();
    let before = house.state.evidence(&subject(&child.digest)).await.unwrap();
    assert_eq!(replayed.decide(&child).await, "endorsement");
    // Nor is anything looked for in the background.
    let after = house.state.evidence(&subject(&child.digest)).await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn nothing_is_looked_for_in_the_background() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    let process = house.process(by(&world));
    assert_eq!(process.decide(&index).await, "signature");
    assert_eq!(process.decide(&child).await, "endorsement");
    let database = rusqlite::Connection::open(house.directory.path().join(crate::state::FILE));
    let forgotten = database.unwrap().execute(
        "DELETE FROM evidence WHERE digest = ?1",
        [child.digest.to_string()],
    );
    assert_eq!(forgotten.unwrap(), 1);
    let replayed = replay(&house, by(&world));
    assert_eq!(replayed.decide(&child).await, "endorsement");
    let evidence = house.state.evidence(&subject(&child.digest)).await.unwrap();
    assert_eq!(evidence, None);
}
