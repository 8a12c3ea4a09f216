//! Who must have signed: keys, thresholds, annotations, names, age, and what is revoked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, ToSpan};

use super::forge::{Key, Signature};
use super::question::{Question, World, authority, now, signed_by, words};
use crate::admission::evaluate::Finding;
use crate::decision_log::AttemptOutcome;
use crate::limits::Limits;
use crate::oci::Digest;
use crate::policy::{Mode, Policy, Requirement, Revoked, SignedName};

fn annotated_policy(world: &World, annotations: &[(&str, &str)]) -> Policy {
    let mut policy = signed_by(&[&world.authority, &world.other_authority], 1);
    let Requirement::Signers { of, .. } = &mut policy.requirement else {
        panic!("signers");
    };
    for signature in of {
        signature.annotations = annotations
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
    }
    policy
}

#[test]
fn one_authority_suffices() {
    let world = World::new();
    let stranger = Key::generate();
    let both = || vec![signed_by(&[&world.authority, &world.other_authority], 1)];
    for (candidates, answer) in [
        (vec![world.signature()], "satisfied"),
        (vec![world.by(&world.other)], "satisfied"),
        (vec![world.by(&stranger), world.signature()], "satisfied"),
        (vec![world.by(&stranger)], "untrusted_key"),
        (vec![], "unsigned"),
    ] {
        assert_eq!(Question::new(both(), candidates).answer(), answer);
    }
}

#[test]
fn a_signature_of_another_digest_is_none() {
    let world = World::new();
    let of_another = Signature::default().by(&world.key, &Digest::sha256(b"another image"));
    let question = Question::new(
        vec![signed_by(&[&world.authority], 1)],
        vec![of_another.candidate()],
    );
    assert_eq!(question.answer(), "wrong_subject");
}

#[test]
fn a_threshold_counts_distinct_keys() {
    let world = World::new();
    let same_key = authority("the first under another name", &world.key, &world.root);
    let (first, second) = (&world.authority, &world.other_authority);
    let (by_first, by_second) = (world.signature(), world.by(&world.other));
    let by_first_again = world.annotated(&world.key, &[("again", "yes")]);
    for (authorities, candidates, answer) in [
        (
            vec![first, second],
            vec![&by_first, &by_second],
            "satisfied",
        ),
        // One key that signs twice.
        (
            vec![first, second],
            vec![&by_first, &by_first_again],
            "threshold_not_met",
        ),
        // One key under two names.
        (
            vec![first, &same_key],
            vec![&by_first, &by_first_again],
            "threshold_not_met",
        ),
        (
            vec![first, &same_key, second],
            vec![&by_first, &by_second],
            "satisfied",
        ),
        (vec![first, second], vec![&by_second], "threshold_not_met"),
        (vec![first, second], vec![], "unsigned"),
    ] {
        let candidates = candidates.into_iter().cloned().collect();
        let question = Question::new(vec![signed_by(&authorities, 2)], candidates);
        assert_eq!(question.answer(), answer);
    }
}

#[test]
fn an_unmet_threshold_stays_open_while_a_source_fails() {
    let world = World::new();
    let two = || vec![signed_by(&[&world.authority, &world.other_authority], 2)];
    let one = || Question::new(two(), vec![world.signature()]);
    assert_eq!(one().failing().answer(), "undecided");
    assert_eq!(one().limited().answer(), "limit_exceeded");
}

#[test]
fn annotations_stand_exactly_under_the_counted_signature() {
    let world = World::new();
    let both = [("env", "prod"), ("team", "a")];
    for (demanded, found, answer) in [
        (&both[..], &both[..], "satisfied"),
        (&both[..1], &both[..], "satisfied"),
        (&both[..], &both[..1], "annotation_mismatch"),
        (
            &both[..1],
            &[("env", "production")][..],
            "annotation_mismatch",
        ),
        (&both[..1], &[("env", "")][..], "annotation_mismatch"),
        (&both[..1], &[][..], "annotation_mismatch"),
    ] {
        let candidates = vec![world.annotated(&world.key, found)];
        let question = Question::new(vec![annotated_policy(&world, demanded)], candidates);
        assert_eq!(question.answer(), answer, "{demanded:?} in {found:?}");
    }
}

#[test]
fn no_signature_lends_its_annotations_to_another() {
    let world = World::new();
    let stranger = Key::generate();
    let demanded = [("env", "prod")];
    // The right signer without the annotation, beside a stranger with it.
    let candidates = vec![
        world.annotated(&stranger, &demanded),
        world.annotated(&world.key, &[]),
    ];
    let question = Question::new(vec![annotated_policy(&world, &demanded)], candidates);
    assert_eq!(question.answer(), "annotation_mismatch");
    // Two signers, one of them without: one counts.
    let candidates = vec![
        world.annotated(&world.key, &demanded),
        world.annotated(&world.other, &[]),
    ];
    let mut policy = annotated_policy(&world, &demanded);
    let Requirement::Signers { count, .. } = &mut policy.requirement else {
        panic!("signers");
    };
    *count = 2;
    assert_eq!(
        Question::new(vec![policy], candidates).answer(),
        "threshold_not_met"
    );
}

#[test]
fn a_signature_with_each_of_two_annotations_apart_has_not_both() {
    let world = World::new();
    let candidates = vec![
        world.annotated(&world.key, &[("env", "prod")]),
        world.annotated(&world.key, &[("team", "a")]),
    ];
    let policy = annotated_policy(&world, &[("env", "prod"), ("team", "a")]);
    assert_eq!(
        Question::new(vec![policy], candidates).answer(),
        "annotation_mismatch"
    );
}

#[test]
fn the_name_in_the_signature_must_match_where_that_is_demanded() {
    let world = World::new();
    for (name, must_match, answer) in [
        ("registry.example/apps/web", true, "satisfied"),
        ("registry.example/apps/web:v1", true, "satisfied"),
        ("registry.example/apps/other", true, "wrong_name"),
        ("", true, "wrong_name"),
        ("registry.example/apps/other", false, "satisfied"),
    ] {
        let signature = Signature {
            name,
            ..Signature::default()
        };
        let policy = Policy {
            signed_name: if must_match {
                SignedName::Repository
            } else {
                SignedName::Any
            },
            ..signed_by(&[&world.authority], 1)
        };
        let candidates = vec![signature.by(&world.key, &world.digest).candidate()];
        assert_eq!(
            Question::new(vec![policy], candidates).answer(),
            answer,
            "{name}"
        );
    }
}

fn of_age(days: u64, world: &World) -> Policy {
    Policy {
        max_signature_age: Some(Duration::from_secs(days * 86_400)),
        ..signed_by(&[&world.authority], 1)
    }
}

#[test]
fn the_age_of_a_signature_counts_from_its_proven_time() {
    let world = World::new();
    for (candidate, answer) in [
        (world.signed_at("2026-11-20T00:00:00Z"), "satisfied"),
        (world.signed_at("2026-11-14T00:00:01Z"), "satisfied"),
        (world.signed_at("2026-11-14T00:00:00Z"), "signature_too_old"),
        (world.signed_at("2025-11-20T00:00:00Z"), "signature_too_old"),
        // Without a time nothing says that it is young.
        (world.signature(), "signature_too_old"),
    ] {
        let question = Question::new(vec![of_age(10, &world)], vec![candidate]);
        assert_eq!(question.answer(), answer);
    }
}

#[test]
fn the_decision_lasts_until_its_first_signature_is_too_old() {
    let world = World::new();
    let candidates = || vec![world.signed_at("2026-11-20T00:00:00Z")];
    let until = |policies| Question::new(policies, candidates()).ask().valid_until;
    assert_eq!(until(vec![signed_by(&[&world.authority], 1)]), None);
    let signed: jiff::Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
    let in_days = |days: i64| signed.checked_add((days * 24).hours()).unwrap();
    assert_eq!(until(vec![of_age(10, &world)]), Some(in_days(10)));
    // Of two policies the stricter ends first, in any order.
    for days in [[10, 7], [7, 10]] {
        let policies = days.map(|days| of_age(days, &world)).into();
        assert_eq!(until(policies), Some(in_days(7)));
    }
    assert!(in_days(7) > now());
}

#[test]
fn what_a_revoked_key_made_counts_for_nothing() {
    let world = World::new();
    let revoked = || Revoked {
        keys: HashSet::from([world.key.fingerprint()]),
        ..Revoked::default()
    };
    let policy = |threshold| signed_by(&[&world.authority, &world.other_authority], threshold);
    let both = || vec![world.signature(), world.by(&world.other)];
    for (threshold, candidates, answer) in [
        (1, vec![world.signature()], "revoked"),
        (1, both(), "satisfied"),
        (2, both(), "revoked"),
    ] {
        let question = Question::new(vec![policy(threshold)], candidates).revoking(revoked());
        assert_eq!(question.answer(), answer);
    }
}

#[test]
fn what_is_revoked_is_refused_in_audit_mode_too() {
    let world = World::new();
    let auditing = || Policy {
        mode: Mode::Audit,
        ..signed_by(&[&world.authority], 1)
    };
    let question = || Question::new(vec![auditing()], vec![world.signature()]);
    let key = || Revoked {
        keys: HashSet::from([world.key.fingerprint()]),
        ..Revoked::default()
    };
    let digest = || Revoked {
        digests: HashSet::from([world.digest]),
        ..Revoked::default()
    };
    assert_eq!(question().answer(), "satisfied");
    assert_eq!(question().revoking(key()).answer(), "revoked");
    assert_eq!(question().revoking(digest()).answer(), "revoked");
    // Neither a source that fails nor a limit turns it into something that audit waives.
    assert_eq!(question().revoking(key()).failing().answer(), "undecided");
    assert_eq!(question().revoking(key()).limited().answer(), "revoked");
    let mut exhausted = question().revoking(key());
    exhausted.limits.attempts_max = 1;
    exhausted.candidates.push(world.by(&world.other));
    assert_eq!(exhausted.answer(), "revoked");
}

#[test]
fn a_revoked_digest_is_refused_whatever_vouches_for_it() {
    let world = World::new();
    let revoked = Revoked {
        digests: HashSet::from([world.digest]),
        ..Revoked::default()
    };
    let question = Question::new(
        vec![signed_by(&[&world.authority], 1)],
        vec![world.signature()],
    );
    let evaluation = question.revoking(revoked).ask();
    assert_eq!(words(&evaluation), "revoked");
    assert!(evaluation.attempts.is_empty());
}

#[test]
fn a_log_entry_is_demanded_per_authority() {
    let world = World::new();
    let mut strict = authority("strict", &world.key, &world.root);
    Arc::get_mut(&mut strict).unwrap().transparency_log = true;
    let question = |candidate| Question::new(vec![signed_by(&[&strict], 1)], vec![candidate]);
    assert_eq!(
        question(world.signed_at("2026-11-20T00:00:00Z")).answer(),
        "satisfied"
    );
    assert_eq!(question(world.signature()).answer(), "transparency_log");
}

#[test]
fn the_attempt_that_got_furthest_gives_the_kind() {
    let world = World::new();
    let by_stranger = || world.by(&Key::generate());
    let of_another = || {
        Signature::default()
            .by(&world.key, &Digest::sha256(b"another image"))
            .candidate()
    };
    let too_old = || world.signed_at("2025-11-20T00:00:00Z");
    for (candidates, answer) in [
        (vec![by_stranger(), of_another()], "wrong_subject"),
        (vec![of_another(), by_stranger()], "wrong_subject"),
        (
            vec![too_old(), of_another(), by_stranger()],
            "signature_too_old",
        ),
        (
            vec![by_stranger(), of_another(), too_old()],
            "signature_too_old",
        ),
    ] {
        let question = Question::new(vec![of_age(10, &world)], candidates);
        assert_eq!(question.answer(), answer);
    }
}

#[test]
fn of_equal_attempts_the_first_gives_the_reason() {
    let world = World::new();
    let at = |time| world.signed_at(time);
    let candidates = vec![at("2025-01-02T00:00:00Z"), at("2025-01-01T00:00:00Z")];
    let evaluation = Question::new(vec![of_age(10, &world)], candidates).ask();
    let Finding::Refused(denial) = evaluation.finding else {
        panic!("{:?}", evaluation.finding);
    };
    assert!(denial.message.contains("2025-01-02"), "{}", denial.message);
}

#[test]
fn attempts_are_limited_and_counted_once() {
    let world = World::new();
    let strangers = |count| (0..count).map(|_| world.by(&Key::generate()));
    let ask = |policy, attempts_max, strangers_first: usize| {
        let mut candidates: Vec<_> = strangers(strangers_first).collect();
        candidates.push(world.signature());
        let mut question = Question::new(vec![policy], candidates);
        question.limits = Limits {
            attempts_max,
            ..Limits::default()
        };
        question.ask()
    };
    let one = || signed_by(&[&world.authority], 1);
    assert_eq!(words(&ask(one(), 3, 2)), "satisfied");
    let evaluation = ask(one(), 3, 3);
    assert_eq!(words(&evaluation), "limit_exceeded");
    assert_eq!(evaluation.attempts.len(), 3);
    // Every key is an attempt of its own.
    let two = || signed_by(&[&world.other_authority, &world.authority], 1);
    assert_eq!(words(&ask(two(), 6, 2)), "satisfied");
    assert_eq!(words(&ask(two(), 5, 2)), "limit_exceeded");
}

#[test]
fn every_attempt_and_authority_is_reported() {
    let world = World::new();
    let policy = signed_by(&[&world.authority, &world.other_authority], 1);
    let candidates = vec![world.by(&Key::generate()), world.by(&world.other)];
    let evaluation = Question::new(vec![policy], candidates).ask();
    let outcomes: Vec<_> = evaluation
        .attempts
        .iter()
        .map(|attempt| {
            (
                attempt.authority.as_str(),
                attempt.outcome,
                attempt.kind.as_deref(),
            )
        })
        .collect();
    let untrusted = Some("untrusted_key");
    assert_eq!(
        outcomes,
        [
            ("first", AttemptOutcome::Failed, untrusted),
            ("second", AttemptOutcome::Failed, untrusted),
            ("first", AttemptOutcome::Failed, untrusted),
            ("second", AttemptOutcome::Verified, None),
        ]
    );
    let report = &evaluation.policies[0];
    assert!(report.satisfied);
    let vouched: Vec<_> = report
        .authorities
        .iter()
        .map(|authority| (authority.name.as_str(), authority.satisfied))
        .collect();
    assert_eq!(vouched, [("first", false), ("second", true)]);
    assert_eq!(evaluation.trusted_roots, [world.root.digest]);
}

#[test]
fn a_time_in_the_future_is_no_time() {
    let world = World::new();
    let later = now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let question = Question::new(
        vec![of_age(10, &world)],
        vec![world.signed_at(&later.to_string())],
    );
    assert_ne!(question.answer(), "satisfied");
}
