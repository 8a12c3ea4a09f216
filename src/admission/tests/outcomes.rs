//! Several policies, what they do together, and what is not known.

use super::question::{Question, World, signed_by, words};
use crate::policy::{Coverage, DefaultAction, Mode, Policy};
use crate::signature::Candidate;

fn enforcing(world: &World) -> Policy {
    signed_by(&[&world.authority], 1)
}

fn by_other(world: &World, mode: Mode) -> Policy {
    Policy {
        name: "other".to_owned(),
        mode,
        ..signed_by(&[&world.other_authority], 1)
    }
}

#[test]
fn every_enforcing_policy_must_hold() {
    let world = World::new();
    let (first, second) = (world.signature(), world.by(&world.other));
    let rows: [(&[&Candidate], &str); 4] = [
        (&[&first, &second], "satisfied"),
        (&[&first], "untrusted_key"),
        (&[&second], "untrusted_key"),
        (&[], "unsigned"),
    ];
    for (found, answer) in rows {
        let candidates: Vec<_> = found.iter().copied().cloned().collect();
        for policies in [
            vec![enforcing(&world), by_other(&world, Mode::Enforce)],
            vec![by_other(&world, Mode::Enforce), enforcing(&world)],
        ] {
            let question = Question::new(policies, candidates.clone());
            assert_eq!(question.answer(), answer);
        }
    }
}

#[test]
fn audit_waives_its_own_refusals_only() {
    let world = World::new();
    let (first, second) = (world.signature(), world.by(&world.other));
    let rows: [(&[&Candidate], &str); 4] = [
        (&[&first, &second], "satisfied"),
        (&[&first], "satisfied (audit: untrusted_key)"),
        (&[&second], "untrusted_key"),
        (&[], "unsigned (audit: unsigned)"),
    ];
    for (found, answer) in rows {
        let candidates: Vec<_> = found.iter().copied().cloned().collect();
        for policies in [
            vec![enforcing(&world), by_other(&world, Mode::Audit)],
            vec![by_other(&world, Mode::Audit), enforcing(&world)],
        ] {
            let question = Question::new(policies, candidates.clone());
            assert_eq!(question.answer(), answer);
        }
    }
}

#[test]
fn audit_does_not_wait_for_what_is_missing() {
    let world = World::new();
    let policies = || vec![by_other(&world, Mode::Audit)];
    let question = || Question::new(policies(), vec![world.signature()]);
    assert_eq!(question().failing().answer(), "satisfied (audit: unsigned)");
    assert_eq!(
        question().limited().answer(),
        "satisfied (audit: limit_exceeded)"
    );
}

#[test]
fn a_source_that_fails_hides_no_signature_and_settles_no_refusal() {
    let world = World::new();
    let question = |candidates| Question::new(vec![enforcing(&world)], candidates);
    let (signed, by_stranger) = (world.signature(), world.by(&world.other));
    assert_eq!(
        question(vec![signed.clone()]).failing().answer(),
        "satisfied"
    );
    assert_eq!(
        question(vec![by_stranger.clone()]).failing().answer(),
        "undecided"
    );
    assert_eq!(question(vec![]).failing().answer(), "undecided");
    assert_eq!(question(vec![signed]).limited().answer(), "satisfied");
    assert_eq!(
        question(vec![by_stranger]).limited().answer(),
        "limit_exceeded"
    );
    assert_eq!(question(vec![]).limited().answer(), "limit_exceeded");
    assert_eq!(question(vec![]).limited().failing().answer(), "undecided");
}

#[test]
fn one_undecided_policy_leaves_the_whole_open() {
    let world = World::new();
    for policies in [
        vec![enforcing(&world), by_other(&world, Mode::Enforce)],
        vec![by_other(&world, Mode::Enforce), enforcing(&world)],
    ] {
        let question = Question::new(policies, vec![world.signature()]);
        assert_eq!(question.failing().answer(), "undecided");
    }
}

#[test]
fn policies_decide_about_the_names_they_cover() {
    let world = World::new();
    let covering = |images: &str, exclude: &[&str]| Policy {
        coverage: Coverage::Names {
            images: vec![images.parse().unwrap()],
            exclude: exclude.iter().map(|text| text.parse().unwrap()).collect(),
        },
        ..enforcing(&world)
    };
    for (policy, answer) in [
        (covering("registry.example/**", &[]), "unsigned"),
        (covering("registry.example/apps/web", &[]), "unsigned"),
        (covering("registry.example/other/**", &[]), "no_policy"),
        (
            covering("registry.example/**", &["registry.example/apps/*"]),
            "no_policy",
        ),
        (
            covering("registry.example/**", &["registry.example/other/*"]),
            "unsigned",
        ),
    ] {
        assert_eq!(Question::new(vec![policy], vec![]).answer(), answer);
    }
}

#[test]
fn what_no_policy_covers_is_refused_or_only_noted() {
    let world = World::new();
    let question = |default| {
        let mut question = Question::new(vec![], vec![world.signature()]);
        question.default = default;
        question
    };
    assert_eq!(question(DefaultAction::Deny).answer(), "no_policy");
    assert_eq!(
        question(DefaultAction::Audit).answer(),
        "satisfied (audit: no_policy)"
    );
    // The default says nothing where a policy does.
    let mut covered = question(DefaultAction::Audit);
    covered.policies = vec![by_other(&world, Mode::Enforce)];
    assert_eq!(covered.answer(), "untrusted_key");
    let mut satisfied = question(DefaultAction::Deny);
    satisfied.policies = vec![enforcing(&world)];
    assert_eq!(satisfied.answer(), "satisfied");
}

#[test]
fn how_each_policy_fared_is_reported() {
    let world = World::new();
    let policies = vec![enforcing(&world), by_other(&world, Mode::Audit)];
    let evaluation = Question::new(policies, vec![world.signature()]).ask();
    let fared: Vec<_> = evaluation
        .policies
        .iter()
        .map(|policy| (policy.name.as_str(), policy.satisfied))
        .collect();
    assert_eq!(fared, [("apps", true), ("other", false)]);
    let audit = evaluation.audit.as_ref().unwrap();
    assert_eq!(audit.policy.as_deref(), Some("other"));
    assert_eq!(audit.digest, Some(world.digest));
    assert_eq!(words(&evaluation), "satisfied (audit: untrusted_key)");
}
