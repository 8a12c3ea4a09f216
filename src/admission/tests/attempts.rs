//! Which attempts are made, what they cost, and how those that fail are told.

use std::sync::Arc;

use serde_json::json;

use super::corpus::{GITHUB, RELEASE, exact, expression, holder, identity, root, signed};
use super::forge::{Key, Signature, attestation};
use super::keys_and_roots::{versions, with_keys};
use super::question::{
    Question, SCAN, World, attested_by, authority, policy, signature, signed_by, words,
};
use crate::admission::evaluate::Evaluation;
use crate::limits::Limits;
use crate::policy::{
    AttestationRequirement, Authority, AuthoritySigner, Mode, Policy, Quantifier, Requirement,
    Revoked,
};
use crate::signature::{Artifact, Blob, Candidate, Source, candidates};
use crate::verify::CertificateAuthorities;

/// A signature by a workflow.
const CASE: &str = "kf-legacy-gh";

fn scanned(world: &World, quantifier: Quantifier) -> AttestationRequirement {
    AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![Arc::clone(&world.authority)],
        quantifier,
        condition: None,
    }
}

fn scan_by(world: &World, key: &Key) -> Candidate {
    attestation(key, &world.digest, SCAN, &json!({}), None).candidate()
}

fn requiring(requirement: Requirement) -> Policy {
    Policy {
        requirement,
        ..policy("apps")
    }
}

/// The signatures of a case of the corpus under one policy.
fn of_corpus(case: &str, policy: Policy) -> Question {
    let found = signed(case);
    let mut question = Question::new(vec![policy], found.candidates);
    question.subject.digest = found.digest;
    question
}

#[test]
fn of_versions_that_fail_alike_the_first_is_told() {
    let world = World::new();
    let keys = versions(&[&world.key, &world.other]);
    let rotated = with_keys(&world, "rotated", "kms://key", keys);
    let by_stranger = vec![world.by(&Key::generate())];
    let evaluation = Question::new(vec![signed_by(&[&rotated], 1)], by_stranger).ask();
    let told = evaluation.attempts[0].key.as_ref().unwrap();
    assert_eq!(told.fingerprint, world.key.fingerprint());
}

#[test]
fn services_that_may_have_a_newer_version_are_named_once_each() {
    let world = World::new();
    let strangers = || vec![world.by(&Key::generate()), world.by(&Key::generate())];
    let unmatched = |authorities: &[&Arc<Authority>]| {
        let policy = signed_by(authorities, 1);
        Question::new(vec![policy], strangers())
            .ask()
            .unmatched_keys
    };
    let of = |name, reference: &str| with_keys(&world, name, reference, versions(&[&world.key]));
    let (first, second) = (of("first", "kms://first"), of("second", "kms://second"));
    assert_eq!(
        unmatched(&[&first, &second]),
        ["kms://first", "kms://second"]
    );
    // A file has no versions.
    assert!(unmatched(&[&of("file", "keys/first.pub")]).is_empty());
}

#[test]
fn certificates_use_up_attempts() {
    let root = root();
    let nobody = Arc::new(identity(exact("nobody"), exact(GITHUB), &root));
    for (attempts, answer, made) in [(3, "wrong_identity", 3), (2, "limit_exceeded", 2)] {
        let mut question = of_corpus(CASE, signed_by(&[&nobody], 1));
        let one = question.candidates.remove(0);
        question.candidates = vec![one; 3];
        question.limits.attempts_max = attempts;
        let evaluation = question.ask();
        assert_eq!(words(&evaluation), answer);
        assert_eq!(evaluation.attempts.len(), made);
    }
}

#[test]
fn what_a_failed_attempt_found_is_told() {
    let root = root();
    let evaluation = of_corpus(CASE, signed_by(&[&holder("k1", &root)], 1)).ask();
    assert_eq!(words(&evaluation), "untrusted_key");
    let attempt = &evaluation.attempts[0];
    assert_eq!(attempt.certificate.as_ref().unwrap().identity, RELEASE);
    assert!(attempt.transparency_log.is_some());
    let world = World::new();
    let scan = scan_by(&world, &world.other);
    let policy = attested_by(scanned(&world, Quantifier::Any));
    let evaluation = Question::new(vec![policy], vec![scan]).ask();
    assert_eq!(evaluation.attempts[0].predicate_type.as_deref(), Some(SCAN));
}

#[test]
fn one_attestation_that_holds_is_enough_though_more_could_be_tried() {
    let world = World::new();
    for (quantifier, answer) in [
        (Quantifier::Any, "satisfied"),
        (Quantifier::All, "limit_exceeded"),
    ] {
        let found = vec![
            scan_by(&world, &world.key),
            scan_by(&world, &Key::generate()),
        ];
        let mut question = Question::new(vec![attested_by(scanned(&world, quantifier))], found);
        question.limits.attempts_max = 1;
        assert_eq!(question.answer(), answer);
    }
}

/// No mode waives what is revoked, so that a limit must not hide it.
#[test]
fn a_revoked_attestation_is_told_though_attempts_run_out() {
    let world = World::new();
    for quantifier in [Quantifier::Any, Quantifier::All, Quantifier::Newest] {
        let found = vec![
            scan_by(&world, &world.key),
            scan_by(&world, &Key::generate()),
        ];
        let policy = attested_by(scanned(&world, quantifier));
        let revoked = Revoked {
            keys: [world.key.fingerprint()].into(),
            ..Revoked::default()
        };
        let mut question = Question::new(vec![policy], found).revoking(revoked);
        question.limits.attempts_max = 1;
        assert_eq!(question.answer(), "revoked", "{quantifier:?}");
    }
}

/// What was cut off ranks before what was refused: nobody knows what it would have shown.
#[test]
fn of_several_reasons_a_limit_is_told_first() {
    let world = World::new();
    let layer = world.attestation_layer(&json!({}), None);
    let artifact = Artifact {
        source: Source::CosignTag,
        digest: crate::oci::Digest::sha256(b"a signature manifest"),
        layers: vec![(layer.descriptor, Blob::TooLarge)],
    };
    let cut = candidates(&artifact, &Limits::default()).remove(0);
    let either = Requirement::Any(vec![
        Requirement::Signature(signature(&world.other_authority)),
        Requirement::Attestation(scanned(&world, Quantifier::All)),
    ]);
    let question = Question::new(vec![requiring(either)], vec![world.signature(), cut]);
    assert_eq!(question.answer(), "limit_exceeded");
}

#[test]
fn one_of_own_authorities_needs_no_issuer() {
    let root = root();
    let pem = include_str!("../../config/tests/own_authority.pem");
    let own = Arc::new(CertificateAuthorities::from_pem(pem).unwrap());
    for (authorities, answer) in [(Some(own), "satisfied"), (None, "wrong_issuer")] {
        let mut release = identity(exact(RELEASE), exact(GITHUB), &root);
        let AuthoritySigner::Identity(requirement) = &mut release.signer else {
            panic!("{:?}", release.signer);
        };
        requirement.oidc_issuer = None;
        requirement.certificate_authorities = authorities;
        let question = of_corpus(CASE, signed_by(&[&Arc::new(release)], 1));
        assert_eq!(question.answer(), answer);
    }
}

/// In a threshold, a group is satisfied by each of its signers, not only by the first that is found.
#[test]
fn every_signer_of_a_group_counts() {
    let root = root();
    let anyone = Arc::new(identity(expression("https://.+"), expression(".+"), &root));
    let by = |authority: &Arc<Authority>| Requirement::Signature(signature(authority));
    let several: Evaluation = of_corpus("kf-legacy-multi", signed_by(&[&anyone], 99)).ask();
    let first = several.attempts[0].certificate.as_ref().unwrap();
    let (name, issuer) = (exact(&first.identity), exact(&first.oidc_issuer));
    let that_one = Arc::new(identity(name, issuer, &root));
    for group in [
        Requirement::All(vec![by(&anyone)]),
        Requirement::Any(vec![by(&anyone)]),
    ] {
        let both = Requirement::AtLeast {
            count: 2,
            of: vec![group, by(&that_one)],
        };
        let question = of_corpus("kf-legacy-multi", requiring(both));
        assert_eq!(question.answer(), "satisfied");
    }
}

#[test]
fn every_member_of_a_threshold_in_a_threshold_counts() {
    let world = World::new();
    let by = |authority: &Arc<Authority>| Requirement::Signature(signature(authority));
    let all_of = |authority| Requirement::All(vec![by(authority)]);
    // The first one is needed outside, so that the other one must be found inside.
    let inner = Requirement::AtLeast {
        count: 1,
        of: vec![all_of(&world.authority), all_of(&world.other_authority)],
    };
    let outer = Requirement::AtLeast {
        count: 2,
        of: vec![inner, by(&world.authority)],
    };
    let found = vec![world.by(&world.key), world.by(&world.other)];
    let question = Question::new(vec![requiring(outer)], found);
    assert_eq!(question.answer(), "satisfied");
}

/// A signature of `digest` by `key` with a log entry, which names the key.
fn logged(world: &World, key: &Key, digest: &crate::oci::Digest) -> Candidate {
    let signature = Signature {
        logged: Some((&world.log, "2026-11-20T00:00:00Z".parse().unwrap())),
        ..Signature::default()
    };
    signature.by(key, digest).candidate()
}

#[test]
fn signatures_that_claim_another_signer_are_tried_last() {
    let world = World::new();
    let strangers = || (0..3).map(|_| logged(&world, &Key::generate(), &world.digest));
    for own in [world.signature(), logged(&world, &world.key, &world.digest)] {
        let candidates = strangers().chain([own]).collect();
        let mut question = Question::new(vec![signed_by(&[&world.authority], 1)], candidates);
        question.limits.attempts_max = 1;
        assert_eq!(question.answer(), "satisfied");
    }
    // A claim excludes nothing.
    let mut question = Question::new(
        vec![signed_by(&[&world.authority], 1)],
        strangers().collect(),
    );
    question.limits.attempts_max = 2;
    let evaluation = question.ask();
    assert_eq!(words(&evaluation), "limit_exceeded");
    assert_eq!(evaluation.attempts.len(), 2);
    // Signatures that claim to be ours use up the limit.
    let another = crate::oci::Digest::sha256(b"another image");
    let candidates = (0..3).map(|_| logged(&world, &world.key, &another));
    let candidates = candidates.chain([logged(&world, &world.key, &world.digest)]);
    let mut question = Question::new(
        vec![signed_by(&[&world.authority], 1)],
        candidates.collect(),
    );
    question.limits.attempts_max = 3;
    assert_eq!(question.answer(), "limit_exceeded");
}

#[test]
fn certificates_that_claim_another_identity_are_tried_last() {
    let root = root();
    let anyone = Arc::new(identity(expression("https://.+"), expression(".+"), &root));
    let several = of_corpus("kf-legacy-multi", signed_by(&[&anyone], 99)).ask();
    let signers: Vec<_> = several
        .attempts
        .iter()
        .filter_map(|attempt| attempt.certificate.as_ref())
        .map(|certificate| {
            (
                certificate.identity.clone(),
                certificate.oidc_issuer.clone(),
            )
        })
        .collect();
    let distinct: std::collections::BTreeSet<_> = signers.iter().collect();
    assert!(distinct.len() > 1, "{signers:?}");
    for (name, issuer) in &signers {
        let that_one = Arc::new(identity(exact(name), exact(issuer), &root));
        let mut question = of_corpus("kf-legacy-multi", signed_by(&[&that_one], 1));
        question.limits.attempts_max = 1;
        let evaluation = question.ask();
        assert_eq!(words(&evaluation), "satisfied", "{name}");
        assert_eq!(evaluation.attempts.len(), 1);
    }
}

#[test]
fn attestations_by_others_do_not_use_up_the_limit() {
    let world = World::new();
    let by = |key: &Key| {
        let time = "2026-11-20T00:00:00Z".parse().unwrap();
        let (predicate, entry) = (json!({"clean": true}), Some((&world.log, time)));
        attestation(key, &world.digest, SCAN, &predicate, entry).candidate()
    };
    let strangers = (0..3).map(|_| by(&Key::generate()));
    let candidates: Vec<_> = strangers.chain([by(&world.key)]).collect();
    for (quantifier, answer) in [
        (Quantifier::Any, "satisfied"),
        // Every attestation of the type matters.
        (Quantifier::All, "limit_exceeded"),
        (Quantifier::Newest, "limit_exceeded"),
    ] {
        let policy = attested_by(scanned(&world, quantifier));
        let mut question = Question::new(vec![policy], candidates.clone());
        question.limits.attempts_max = 1;
        assert_eq!(question.answer(), answer, "{quantifier:?}");
    }
}

#[test]
fn attempts_for_an_auditing_policy_take_none_from_an_enforcing_one() {
    let world = World::new();
    let auditing = Policy {
        mode: Mode::Audit,
        ..signed_by(&[&authority("nobody", &Key::generate(), &world.root)], 1)
    };
    let candidates = vec![
        world.by(&Key::generate()),
        world.by(&Key::generate()),
        world.signature(),
    ];
    let policies = vec![auditing, signed_by(&[&world.authority], 1)];
    let mut question = Question::new(policies, candidates);
    question.limits.attempts_max = 3;
    assert_eq!(question.answer(), "satisfied (audit: untrusted_key)");
}
