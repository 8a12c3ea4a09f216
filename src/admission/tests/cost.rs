//! What a pile of signatures may cost: how many are verified, whatever a registry lists.

use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::forge::{Key, Signature, attestation};
use super::house::{House, Settings, subject};
use super::question::{Question, SCAN, World, attested_by, now, signed_by, words};
use crate::admission::Error;
use crate::compute;
use crate::limits::Limits;
use crate::oci::{Descriptor, Digest, Manifest, media_type};
use crate::policy::{
    AttestationRequirement, Condition, ConditionError, Fuel, Mode, Policy, Quantifier, Rule,
};
use crate::shares::Party;
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

/// A signature with a log entry, which names the key.
fn logged(world: &World, key: &Key) -> Candidate {
    let signature = Signature {
        logged: Some((&world.log, "2026-11-20T00:00:00Z".parse().unwrap())),
        ..Signature::default()
    };
    signature.by(key, &world.digest).candidate()
}

/// The claims of others cost no attempt, and reading them has a limit of its own.
#[test]
fn signatures_beyond_the_limit_on_reading_are_refused_as_that() {
    let world = World::new();
    let count_max = Limits::default().candidates_max;
    for by_others in [logged(&world, &world.other), broken()] {
        for (before, expected) in [
            (count_max - 1, "satisfied"),
            (count_max, "limit_exceeded"),
            (count_max * 4, "limit_exceeded"),
        ] {
            let own = logged(&world, &world.key);
            let candidates = repeated(&by_others, before).chain([own]).collect();
            let policy = signed_by(&[&world.authority], 1);
            let evaluation = Question::new(vec![policy], candidates).ask();
            assert_eq!(words(&evaluation), expected, "{before} before it");
        }
    }
    let by_nobody = by_nobody();
    // One within the limit suffices however many there are, unless every one counts.
    for (quantifier, expected) in [
        (Quantifier::Any, "satisfied"),
        (Quantifier::All, "limit_exceeded"),
        (Quantifier::Newest, "limit_exceeded"),
    ] {
        let own = world.attestation(&json!({}), None);
        let others = repeated(&by_nobody, count_max);
        let policy = attested_by(AttestationRequirement {
            predicate_type: SCAN.to_owned(),
            authorities: vec![world.authority.clone()],
            quantifier,
            condition: None,
        });
        let candidates = std::iter::once(own).chain(others).collect();
        let question = Question::new(vec![policy], candidates);
        assert_eq!(question.answer(), expected, "{quantifier:?}");
    }
}

/// A candidate of no purpose that anybody asks for.
fn by_nobody() -> Candidate {
    let world = World::new();
    attestation(
        &world.other,
        &world.digest,
        "https://other.example/v1",
        &json!({}),
        None,
    )
    .candidate()
}

/// One large blob may be listed as often as a manifest has layers.
#[test]
fn large_candidates_share_a_limit_on_bytes_and_hide_no_small_one() {
    let world = World::new();
    let padding = "x".repeat(1024 * 1024);
    let large = |key: &Key| {
        let predicate = json!({ "padding": padding });
        attestation(key, &world.digest, SCAN, &predicate, None).candidate()
    };
    let by_others = large(&world.other);
    let bytes = by_others.bytes;
    let question = |candidates: Vec<Candidate>, policy: Policy| {
        let mut question = Question::new(vec![policy], candidates);
        question.limits.discovery_bytes_max = 3 * bytes + 1024;
        question.answer()
    };
    let signed = || signed_by(&[&world.authority], 1);
    let attested = || {
        attested_by(AttestationRequirement {
            predicate_type: SCAN.to_owned(),
            authorities: vec![world.authority.clone()],
            quantifier: Quantifier::Any,
            condition: None,
        })
    };
    for (before, large_one) in [(2, "satisfied"), (3, "limit_exceeded")] {
        let many = || repeated(&by_others, before);
        let signature = many().chain([world.signature()]).collect();
        assert_eq!(question(signature, signed()), "satisfied", "{before}");
        let small = many().chain([world.attestation(&json!({}), None)]);
        let small = question(small.collect(), attested());
        assert_eq!(small, "satisfied", "{before}");
        let large = many().chain([large(&world.key)]).collect();
        assert_eq!(question(large, attested()), large_one, "{before}");
    }
}

/// A policy that only audits must not leave an enforcing one without fuel, wherever it stands.
#[test]
fn auditing_policy_takes_no_fuel_from_an_enforcing_one() {
    let world = World::new();
    let with_condition = |source: &str, mode: Mode| {
        let condition = Condition::new(source).unwrap();
        let policy = attested_by(AttestationRequirement {
            predicate_type: SCAN.to_owned(),
            authorities: vec![world.authority.clone()],
            quantifier: Quantifier::Any,
            condition: Some(Arc::new(condition)),
        });
        Policy { mode, ..policy }
    };
    let costly = "predicate.list.all(a, predicate.list.all(b, a + b >= 0))";
    let list: Vec<_> = (0..10_000).collect();
    for (mode, expected) in [
        (Mode::Audit, "satisfied"),
        (Mode::Enforce, "limit_exceeded"),
    ] {
        let policies = vec![
            with_condition(costly, mode),
            with_condition("predicate.list.size() > 0", Mode::Enforce),
        ];
        let candidates = vec![world.attestation(&json!({ "list": list }), None)];
        let evaluation = Question::new(policies, candidates).ask();
        assert!(
            words(&evaluation).starts_with(expected),
            "{mode:?}: {evaluation:?}"
        );
    }
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

/// True of everything, on the thread that it remembers.
#[derive(Debug, Default)]
struct Witness(OnceLock<ThreadId>);

impl Rule for Witness {
    fn source(&self) -> &'static str {
        "witness"
    }

    fn evaluate(&self, _: &Value, _: Timestamp, _: &Fuel) -> Result<bool, ConditionError> {
        self.0.get_or_init(|| std::thread::current().id());
        Ok(true)
    }

    fn depends_on_time(&self) -> bool {
        false
    }
}

/// The size of a statement does not tell what a condition over it costs.
#[tokio::test]
async fn condition_over_a_small_statement_is_asked_away_from_the_threads_that_serve() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("attested");
    let layer = attestation(&world.key, &image.digest, SCAN, &json!({}), None);
    house.registry.attach(&image, ".att", layer);
    let witness = Arc::new(Witness::default());
    let policy = attested_by(AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![world.authority.clone()],
        quantifier: Quantifier::Any,
        condition: Some(witness.clone()),
    });
    let process = house.process(vec![policy]);
    process.decide(&image).await;
    let asked_on = *witness.0.get().unwrap();
    assert_ne!(asked_on, std::thread::current().id());
}

/// A full queue says nothing about what is stored.
#[tokio::test]
async fn stored_evidence_that_waits_for_a_thread_in_vain_is_no_absence() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let layer = Signature::default().by(&world.key, &image.digest);
    let mut manifest: Value = serde_json::from_slice(
        &house
            .registry
            .push_layers(std::slice::from_ref(&layer))
            .bytes,
    )
    .unwrap();
    manifest["annotations"] = json!({ "padding": "x".repeat(compute::LARGE_BYTES) });
    let manifest = house.registry.push(media_type::OCI_MANIFEST, &manifest);
    let tag = format!("{}.sig", image.digest.to_tag_prefix());
    house.registry.tag(&tag, &manifest);
    let policies = || vec![signed_by(&[&world.authority], 1)];
    let process = house.process(policies());
    assert_eq!(process.decide(&image).await, "signature");
    let settings = Settings {
        limits: Limits {
            decision_time_max: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Settings::default()
    };
    let process = house.process_with(policies(), settings);
    let of_image = subject(&image.digest);
    let stored = process.admission.stored_evidence(&of_image).await;
    assert!(matches!(stored, Ok(Some(_))), "{stored:?}");
    let places = compute::places();
    let later = Instant::now() + Duration::from_secs(60);
    let mut held = Vec::new();
    while held.len() as u64 != places.usage().limit {
        let party = Party::Network([10, 0, 0, u8::try_from(held.len()).unwrap()].into());
        held.push(party.scope(places.take(1, later)).await.unwrap());
    }
    let stored = process.admission.stored_evidence(&of_image).await;
    assert!(matches!(stored, Err(Error::Busy(_))), "{stored:?}");
}

/// Decisions take up memory with their manifests, and what is too much for it is decided again.
#[tokio::test]
async fn what_is_remembered_is_bounded_by_its_bytes() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let manifest = Manifest::parse(&image.bytes, image.media_type).unwrap();
    let bytes = 1024 + (image.bytes.len() + manifest.weight()) as u64;
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
