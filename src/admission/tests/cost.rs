//! What a pile of signatures may cost: how many are verified, whatever a registry lists.

use super::house::{House, Settings, subject};
use super::question::{Question, World, now, signed_by, words};
use crate::limits::Limits;
use crate::oci::{Descriptor, Digest, media_type};
use crate::signature::{Artifact, Blob, Candidate, Source, candidates};

fn repeated(candidate: &Candidate, count: usize) -> impl Iterator<Item = Candidate> {
    std::iter::repeat_n(candidate.clone(), count)
}

#[test]
fn a_thousand_bad_signatures_cost_a_hundred_attempts() {
    let world = World::new();
    let bad = world.by(&world.other);
    let policy = signed_by(&[&world.authority], 1);
    let evaluation = Question::new(vec![policy], repeated(&bad, 1000).collect()).ask();
    assert_eq!(words(&evaluation), "limit_exceeded");
    assert_eq!(evaluation.attempts.len(), 100);
    assert_eq!(Limits::default().attempts_max, 100);
}

#[test]
fn a_good_signature_beyond_the_limit_is_not_reached() {
    let world = World::new();
    let bad = world.by(&world.other);
    for (before, expected) in [(99, "satisfied"), (100, "limit_exceeded")] {
        let candidates = repeated(&bad, before).chain([world.signature()]);
        let policy = signed_by(&[&world.authority], 1);
        let question = Question::new(vec![policy], candidates.collect());
        assert_eq!(question.answer(), expected, "{before} bad ones before it");
    }
}

#[test]
fn the_newest_good_one_of_500_costs_one_attempt() {
    let world = World::new();
    let bad = world.by(&world.other);
    let candidates = std::iter::once(world.signature()).chain(repeated(&bad, 499));
    let policy = signed_by(&[&world.authority], 1);
    let evaluation = Question::new(vec![policy], candidates.collect()).ask();
    assert_eq!(words(&evaluation), "satisfied");
    assert_eq!(evaluation.attempts.len(), 1);
}

/// What has the shape of a signature and no content.
fn broken() -> Candidate {
    let layer = Descriptor {
        media_type: media_type::SIMPLE_SIGNING.to_owned(),
        digest: Digest::sha256(b"gone"),
        size: 4,
        artifact_type: None,
        annotations: std::collections::BTreeMap::new(),
    };
    let artifact = Artifact {
        source: Source::CosignTag,
        digest: Digest::sha256(b"a manifest"),
        layers: vec![(layer, Blob::Missing)],
    };
    candidates(&artifact, &Limits::default()).remove(0)
}

#[test]
fn what_is_broken_does_not_use_up_the_attempts() {
    let world = World::new();
    let broken = broken();
    let candidates = repeated(&broken, 500).chain([world.signature()]);
    let policy = signed_by(&[&world.authority], 1);
    let question = Question::new(vec![policy], candidates.collect());
    assert_eq!(question.answer(), "satisfied");
}

/// Decisions take up memory with their manifests, and what is too much for it is decided again.
#[tokio::test]
async fn what_is_remembered_is_bounded_by_its_bytes() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let bytes = 1024 + 2 * image.bytes.len() as u64;
    for (memory_bytes_max, is_remembered) in [(bytes, true), (bytes - 1, false)] {
        let settings = Settings {
            limits: Limits {
                memory_bytes_max,
                ..Limits::default()
            },
            ..Settings::default()
        };
        let process = house.process_with(vec![signed_by(&[&world.authority], 1)], settings);
        assert_eq!(process.decide(&image).await, "signature");
        process.admission.inner.remembered.run_pending_tasks();
        let remembered = process.admission.remembered(&subject(&image.digest), now());
        assert_eq!(remembered.is_some(), is_remembered, "{memory_bytes_max}");
    }
}
