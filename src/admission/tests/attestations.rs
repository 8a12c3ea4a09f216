//! Attestations: which of several must hold, conditions, and what must have been seen for that.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::forge::{Key, Layer};
use super::question::{Question, SCAN, World, attested_by, authority, signed_by, signers};
use crate::admission::evaluate::Finding;
use crate::limits::Limits;
use crate::oci::Digest;
use crate::policy::{
    AttestationRequirement, Condition, Policy, Quantifier, Requirement, Revoked, Rule,
    rego::RegoCondition,
};
use crate::signature::{Artifact, Blob, Candidate, Source, candidates};

const EARLY: Option<&str> = Some("2026-11-20T00:00:00Z");
const LATE: Option<&str> = Some("2026-11-22T00:00:00Z");

/// `predicate.clean` must be true.
fn clean(world: &World, quantifier: Quantifier) -> AttestationRequirement {
    with_condition(world, quantifier, Some("predicate.clean"))
}

fn with_condition(
    world: &World,
    quantifier: Quantifier,
    condition: Option<&str>,
) -> AttestationRequirement {
    AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![world.authority.clone()],
        quantifier,
        condition: condition
            .map(|source| Arc::new(Condition::new(source).unwrap()) as Arc<dyn Rule>),
    }
}

fn good() -> Value {
    json!({"clean": true})
}

fn bad() -> Value {
    json!({"clean": false})
}

fn scans(world: &World, found: &[(Value, Option<&str>)]) -> Vec<Candidate> {
    found
        .iter()
        .map(|(predicate, time)| world.attestation(predicate, *time))
        .collect()
}

const EACH: [Quantifier; 3] = [Quantifier::Any, Quantifier::All, Quantifier::Newest];

#[test]
fn each_quantifier_says_which_must_hold() {
    let world = World::new();
    let rejected = "attestation_rejected";
    let rows = [
        (vec![(good(), None)], ["satisfied"; 3]),
        (vec![(bad(), None)], [rejected; 3]),
        (
            vec![(bad(), EARLY), (good(), LATE)],
            ["satisfied", rejected, "satisfied"],
        ),
        // The order in which they were found says nothing.
        (
            vec![(good(), LATE), (bad(), EARLY)],
            ["satisfied", rejected, "satisfied"],
        ),
        (
            vec![(good(), EARLY), (bad(), LATE)],
            ["satisfied", rejected, rejected],
        ),
        (
            vec![(bad(), LATE), (good(), EARLY)],
            ["satisfied", rejected, rejected],
        ),
        // Without a proven time it is older than every other.
        (
            vec![(bad(), None), (good(), EARLY)],
            ["satisfied", rejected, "satisfied"],
        ),
        (
            vec![(good(), None), (bad(), EARLY)],
            ["satisfied", rejected, rejected],
        ),
        // Which of these is the newest is not proven, so that all of them must hold.
        (
            vec![(good(), None), (bad(), None)],
            ["satisfied", rejected, rejected],
        ),
        (
            vec![(bad(), None), (good(), None)],
            ["satisfied", rejected, rejected],
        ),
        (
            vec![(bad(), LATE), (good(), LATE)],
            ["satisfied", rejected, rejected],
        ),
        (vec![(good(), None), (good(), None)], ["satisfied"; 3]),
        (vec![], ["attestation_missing"; 3]),
    ];
    for (found, answers) in rows {
        for (quantifier, answer) in EACH.into_iter().zip(answers) {
            let policy = attested_by(clean(&world, quantifier));
            let question = Question::new(vec![policy], scans(&world, &found));
            assert_eq!(question.answer(), answer, "{quantifier:?} of {found:?}");
        }
    }
}

#[test]
fn what_speaks_of_all_must_have_seen_all() {
    let world = World::new();
    let enough = || scans(&world, &[(good(), LATE)]);
    for (quantifier, failing, limited) in [
        (Quantifier::Any, "satisfied", "satisfied"),
        (Quantifier::All, "undecided", "limit_exceeded"),
        (Quantifier::Newest, "undecided", "limit_exceeded"),
    ] {
        let question = || Question::new(vec![attested_by(clean(&world, quantifier))], enough());
        assert_eq!(question().answer(), "satisfied");
        assert_eq!(question().failing().answer(), failing, "{quantifier:?}");
        assert_eq!(
            question().unwitnessed().answer(),
            failing,
            "stored by somebody else: {quantifier:?}"
        );
        assert_eq!(question().lacking().answer(), failing, "{quantifier:?}");
        assert_eq!(question().limited().answer(), limited, "{quantifier:?}");
        assert_eq!(
            question().limited().failing().answer(),
            failing,
            "{quantifier:?}"
        );
        // What is listed and cannot be read may be the one that does not hold.
        let few = Limits {
            subjects_max: 0,
            ..Limits::default()
        };
        let bad = world.attestation_layer(&bad(), LATE);
        let present = Blob::Present(bad.blob.clone().into());
        for (blob, limits, answer) in [
            (Blob::TooLarge, Limits::default(), limited),
            (present, few, limited),
            (Blob::Missing, Limits::default(), failing),
        ] {
            let unread = listed(&bad, blob, &limits);
            for found in [
                [enough(), vec![unread.clone()]].concat(),
                [vec![unread], enough()].concat(),
            ] {
                let policy = attested_by(clean(&world, quantifier));
                let answered = Question::new(vec![policy], found).answer();
                assert_eq!(answered, answer, "{quantifier:?}");
            }
        }
    }
}

fn listed(layer: &Layer, blob: Blob, limits: &Limits) -> Candidate {
    let artifact = Artifact {
        source: Source::CosignTag,
        digest: Digest::sha256(b"a signature manifest"),
        layers: vec![(layer.descriptor.clone(), blob)],
    };
    candidates(&artifact, limits).remove(0)
}

#[test]
fn no_refusal_is_final_before_all_was_seen() {
    let world = World::new();
    for quantifier in EACH {
        for found in [scans(&world, &[(bad(), LATE)]), vec![]] {
            let question =
                || Question::new(vec![attested_by(clean(&world, quantifier))], found.clone());
            assert_eq!(question().failing().answer(), "undecided", "{quantifier:?}");
            assert_eq!(
                question().limited().answer(),
                "limit_exceeded",
                "{quantifier:?}"
            );
        }
    }
}

#[test]
fn a_condition_must_be_true() {
    let world = World::new();
    let predicate = json!({"clean": true, "count": 3, "found": []});
    for (condition, answer) in [
        (None, "satisfied"),
        (Some("predicate.clean"), "satisfied"),
        (
            Some("predicate.count < 5 && statement.predicateType == 'https://scan.example/v1'"),
            "satisfied",
        ),
        (Some("predicate.count < 3"), "attestation_rejected"),
        // What cannot be evaluated is not true.
        (Some("predicate.absent"), "attestation_rejected"),
        (Some("predicate.absent.deeper == 1"), "attestation_rejected"),
        (Some("predicate.clean > 1"), "attestation_rejected"),
        (
            Some("predicate.count.startsWith('3')"),
            "attestation_rejected",
        ),
        // Neither is what is neither.
        (Some("predicate.count"), "attestation_rejected"),
        (Some("statement.predicateType"), "attestation_rejected"),
    ] {
        for quantifier in EACH {
            let policy = attested_by(with_condition(&world, quantifier, condition));
            let candidates = vec![world.attestation(&predicate, LATE)];
            let question = Question::new(vec![policy], candidates);
            assert_eq!(question.answer(), answer, "{quantifier:?} {condition:?}");
        }
    }
}

#[test]
fn of_a_long_condition_only_the_beginning_is_told() {
    let world = World::new();
    let module = "package sigstore\nisCompliant if input.predicate.clean == 1";
    let module: Arc<dyn Rule> = Arc::new(RegoCondition::new(module).unwrap());
    let long = format!(
        "predicate.count == 1 && predicate.name != '{}'",
        "x".repeat(5000)
    );
    let long: Arc<dyn Rule> = Arc::new(Condition::new(&long).unwrap());
    for (condition, said) in [
        (module, "the condition `package sigstore…` is false"),
        (
            long,
            "the condition `predicate.count == 1 && predicate.name != 'xxx",
        ),
    ] {
        let requirement = AttestationRequirement {
            condition: Some(condition),
            ..clean(&world, Quantifier::Any)
        };
        let mut policy = attested_by(requirement);
        policy.name = "scans".to_owned();
        let candidates = vec![world.attestation(&json!({"count": 3}), LATE)];
        let evaluation = Question::new(vec![policy], candidates).ask();
        let Finding::Refused(denial) = &evaluation.finding else {
            panic!("{evaluation:?}");
        };
        let message = &denial.message;
        assert!(
            message.contains(said) && message.contains("scans"),
            "{message}"
        );
        assert!(message.len() < 700, "{message}");
    }
}

#[test]
fn only_authorities_attest() {
    let world = World::new();
    let of = |key: &Key, predicate_type: &str| {
        super::forge::attestation(key, &world.digest, predicate_type, &good(), None).candidate()
    };
    let stranger = Key::generate();
    for quantifier in EACH {
        for (candidates, answer) in [
            (vec![of(&world.key, SCAN)], "satisfied"),
            (vec![of(&stranger, SCAN)], "untrusted_key"),
            (
                vec![of(&world.key, "https://other.example/v1")],
                "attestation_missing",
            ),
            // A signature is no attestation.
            (vec![world.signature()], "attestation_missing"),
        ] {
            let policy = attested_by(clean(&world, quantifier));
            assert_eq!(Question::new(vec![policy], candidates).answer(), answer);
        }
    }
}

#[test]
fn an_attestation_of_another_digest_is_none() {
    let world = World::new();
    let digest = Digest::sha256(b"another image");
    let candidate = super::forge::attestation(&world.key, &digest, SCAN, &good(), None);
    let question = Question::new(
        vec![attested_by(clean(&world, Quantifier::Any))],
        vec![candidate.candidate()],
    );
    assert_eq!(question.answer(), "wrong_subject");
}

#[test]
fn an_attestation_is_no_signature() {
    let world = World::new();
    let candidates = scans(&world, &[(good(), LATE)]);
    let policy = signed_by(&[&world.authority], 1);
    assert_eq!(Question::new(vec![policy], candidates).answer(), "unsigned");
}

#[test]
fn signature_and_attestations_must_all_hold() {
    let world = World::new();
    let policy = || Policy {
        requirement: Requirement::All(vec![
            signers(&[&world.authority], 1),
            Requirement::Attestation(clean(&world, Quantifier::Any)),
            Requirement::Attestation(AttestationRequirement {
                predicate_type: "https://other.example/v1".to_owned(),
                ..with_condition(&world, Quantifier::Any, None)
            }),
        ]),
        ..signed_by(&[&world.authority], 1)
    };
    let other = || {
        let predicate_type = "https://other.example/v1";
        super::forge::attestation(&world.key, &world.digest, predicate_type, &good(), None)
            .candidate()
    };
    let scan = |predicate| world.attestation(&predicate, LATE);
    for (candidates, answer) in [
        (vec![world.signature(), scan(good()), other()], "satisfied"),
        (vec![scan(good()), other()], "unsigned"),
        (vec![world.signature(), other()], "attestation_missing"),
        (vec![world.signature(), scan(good())], "attestation_missing"),
        (
            vec![world.signature(), scan(bad()), other()],
            "attestation_rejected",
        ),
    ] {
        assert_eq!(Question::new(vec![policy()], candidates).answer(), answer);
    }
}

#[test]
fn attestations_grow_old_and_their_keys_are_revoked() {
    let world = World::new();
    let policy = || Policy {
        max_signature_age: Some(Duration::from_secs(3 * 86_400)),
        ..attested_by(clean(&world, Quantifier::Any))
    };
    let question = |time| Question::new(vec![policy()], scans(&world, &[(good(), time)]));
    assert_eq!(question(LATE).answer(), "satisfied");
    assert_eq!(question(EARLY).answer(), "signature_too_old");
    assert_eq!(question(None).answer(), "signature_too_old");
    assert!(question(LATE).ask().valid_until.is_some());
    let revoked = Revoked {
        keys: HashSet::from([world.key.fingerprint()]),
        ..Revoked::default()
    };
    assert_eq!(question(LATE).revoking(revoked).answer(), "revoked");
}

#[test]
fn attempts_at_attestations_are_limited() {
    let world = World::new();
    let by_stranger = || {
        let stranger = Key::generate();
        super::forge::attestation(&stranger, &world.digest, SCAN, &good(), None).candidate()
    };
    for quantifier in EACH {
        let mut question = Question::new(
            vec![attested_by(clean(&world, quantifier))],
            vec![
                by_stranger(),
                by_stranger(),
                world.attestation(&good(), LATE),
            ],
        );
        question.limits.attempts_max = 2;
        assert_eq!(question.answer(), "limit_exceeded");
    }
}

#[test]
fn any_of_several_authorities_may_attest() {
    let world = World::new();
    let mut requirement = clean(&world, Quantifier::All);
    let other = authority("second", &world.other, &world.root);
    requirement.authorities = vec![other, world.authority.clone()];
    let candidates = scans(&world, &[(good(), LATE)]);
    let evaluation = Question::new(vec![attested_by(requirement)], candidates).ask();
    let vouched: Vec<_> = evaluation.policies[0]
        .authorities
        .iter()
        .map(|authority| (authority.name.as_str(), authority.satisfied))
        .collect();
    assert_eq!(vouched, [("second", false), ("first", true)]);
}
