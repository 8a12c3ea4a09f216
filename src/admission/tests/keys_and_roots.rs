//! Keys with versions, and keys and trusted roots that are not to be had.

use std::sync::Arc;

use serde_json::json;

use super::forge::{Key, Signature};
use super::question::{
    Question, SCAN, World, attested_by, authority, policy, signature, signed_by, signers,
};
use crate::admission::evaluate::Finding;
use crate::oci::Digest;
use crate::policy::material::Material;
use crate::policy::{
    AttestationRequirement, Authority, AuthoritySigner, DefaultAction, KeySet, KeyVersion, Mode,
    Policies, Policy, Quantifier, Requirement, Revoked, Root,
};
use crate::signature::Candidate;
use crate::verify::TrustedRoot;

pub(super) fn versions(keys: &[&Key]) -> Arc<KeySet> {
    let numbered = keys.iter().zip((1..=keys.len()).rev());
    let versions = numbered.map(|(key, number)| KeyVersion {
        version: Some(number.to_string()),
        key: key.public(),
    });
    Arc::new(KeySet::Known(versions.collect()))
}

fn missing() -> Arc<KeySet> {
    Arc::new(KeySet::Unusable {
        reason: "the key service did not answer".to_owned(),
    })
}

pub(super) fn with_keys(
    world: &World,
    name: &str,
    reference: &str,
    keys: Arc<KeySet>,
) -> Arc<Authority> {
    Arc::new(Authority {
        name: name.to_owned(),
        signer: AuthoritySigner::Key {
            reference: reference.to_owned(),
            keys,
        },
        ..world.authority.as_ref().clone()
    })
}

pub(super) fn without_key(world: &World) -> Arc<Authority> {
    with_keys(world, "remote", "kms://remote", missing())
}

pub(super) fn without_root(world: &World) -> Arc<Authority> {
    Arc::new(Authority {
        transparency_log: true,
        trusted_root: Root::Unusable {
            reason: "refreshed 40 days ago".to_owned(),
        },
        ..world.authority.as_ref().clone()
    })
}

/// When the log saw a signature.
const LOGGED: &str = "2026-11-20T00:00:00Z";

fn by(authority: &Arc<Authority>) -> Requirement {
    Requirement::Signature(signature(authority))
}

fn requiring(requirement: Requirement) -> Policy {
    Policy {
        requirement,
        ..policy("apps")
    }
}

#[test]
fn any_version_may_vouch_and_the_report_names_it() {
    let world = World::new();
    let [newest, middle, oldest] = [&world.key, &world.other, &Key::generate()];
    let keys = versions(&[newest, middle, oldest]);
    let rotated = with_keys(&world, "rotated", "kms://key", keys);
    for (key, version) in [(newest, "3"), (middle, "2"), (oldest, "1")] {
        let policy = signed_by(&[&rotated], 1);
        let evaluation = Question::new(vec![policy], vec![world.by(key)]).ask();
        assert!(matches!(evaluation.finding, Finding::Satisfied));
        assert_eq!(evaluation.attempts.len(), 1);
        let reported = evaluation.attempts[0].key.as_ref().unwrap();
        assert_eq!(reported.reference, "kms://key");
        assert_eq!(reported.version.as_deref(), Some(version));
        assert_eq!(reported.fingerprint, key.fingerprint());
        assert!(evaluation.unmatched_keys.is_empty());
    }
    let stranger = Question::new(
        vec![signed_by(&[&rotated], 1)],
        vec![world.by(&Key::generate())],
    )
    .ask();
    assert!(matches!(stranger.finding, Finding::Refused(_)));
    // It may be by a version that is not known yet.
    assert_eq!(stranger.unmatched_keys, ["kms://key"]);
}

#[test]
fn versions_of_one_key_count_once() {
    let world = World::new();
    let third = Key::generate();
    let both = versions(&[&world.key, &world.other]);
    let rotated = with_keys(&world, "rotated", "kms://key", Arc::clone(&both));
    let renamed = with_keys(&world, "renamed", "kms://alias", both);
    let part = with_keys(&world, "part", "part.pub", versions(&[&world.other]));
    let other = authority("other", &third, &world.root);
    let signed = [world.by(&world.key), world.by(&world.other)];
    let with_third: Vec<_> = signed.iter().cloned().chain([world.by(&third)]).collect();
    for authorities in [
        vec![&rotated],
        vec![&rotated, &renamed],
        vec![&rotated, &part],
        vec![&part, &renamed, &rotated],
    ] {
        for requirement in both_ways(&authorities) {
            let question = Question::new(vec![requiring(requirement)], signed.to_vec());
            assert_eq!(question.answer(), "threshold_not_met");
        }
        let with_other: Vec<_> = authorities.into_iter().chain([&other]).collect();
        for requirement in both_ways(&with_other) {
            let question = Question::new(vec![requiring(requirement)], with_third.clone());
            assert_eq!(question.answer(), "satisfied");
        }
    }
}

/// Two of these, by `threshold` and by `at_least`.
fn both_ways(authorities: &[&Arc<Authority>]) -> [Requirement; 2] {
    [
        signers(authorities, 2),
        Requirement::AtLeast {
            count: 2,
            of: authorities.iter().map(|it| by(it)).collect(),
        },
    ]
}

#[test]
fn each_version_that_is_tried_is_an_attempt() {
    let world = World::new();
    let keys: Vec<_> = (0..5).map(|_| Key::generate()).collect();
    let keys: Vec<_> = keys.iter().collect();
    let rotated = with_keys(&world, "rotated", "kms://key", versions(&keys));
    let signatures = vec![world.signature(), world.signature(), world.by(keys[4])];
    for (max, answer) in [(14, "limit_exceeded"), (15, "satisfied")] {
        let mut question = Question::new(vec![signed_by(&[&rotated], 1)], signatures.clone());
        question.limits.attempts_max = max;
        assert_eq!(question.answer(), answer);
    }
    // What says by which one it is, is tried with that one.
    let logged = Signature {
        logged: Some((&world.log, "2026-11-20T00:00:00Z".parse().unwrap())),
        ..Signature::default()
    };
    let signature = logged.by(keys[4], &world.digest).candidate();
    let mut question = Question::new(vec![signed_by(&[&rotated], 1)], vec![signature]);
    question.limits.attempts_max = 1;
    assert_eq!(question.answer(), "satisfied");
}

#[test]
fn what_demands_nothing_is_not_met() {
    let world = World::new();
    let one = || by(&world.authority);
    for requirement in [
        Requirement::All(vec![]),
        Requirement::Any(vec![]),
        Requirement::AtLeast {
            count: 0,
            of: vec![one()],
        },
        signers(&[&world.authority], 0),
        Requirement::All(vec![one(), Requirement::All(vec![])]),
        Requirement::AtLeast {
            count: 2,
            of: vec![one(), Requirement::All(vec![])],
        },
    ] {
        let question = Question::new(
            vec![requiring(requirement.clone())],
            vec![world.signature()],
        );
        assert_ne!(question.answer(), "satisfied", "{requirement:?}");
    }
    let question = Question::new(vec![requiring(Requirement::Nothing)], vec![]);
    assert_eq!(question.answer(), "satisfied");
}

#[test]
fn a_revoked_version_does_not_count_and_the_others_do() {
    let world = World::new();
    let both = versions(&[&world.key, &world.other]);
    let rotated = with_keys(&world, "rotated", "kms://key", both);
    let revoked = || Revoked {
        keys: [world.key.fingerprint()].into(),
        ..Revoked::default()
    };
    for (key, answer) in [(&world.key, "revoked"), (&world.other, "satisfied")] {
        let question = Question::new(vec![signed_by(&[&rotated], 1)], vec![world.by(key)]);
        assert_eq!(question.revoking(revoked()).answer(), answer);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_cannot_be_had_leaves_a_signed_image_undecided() {
    let world = World::new();
    let second = &world.other_authority;
    for unusable in [without_key(&world)] {
        let any = |of: &[&Arc<Authority>]| Requirement::Any(of.iter().map(|it| by(it)).collect());
        let all = |of: &[&Arc<Authority>]| Requirement::All(of.iter().map(|it| by(it)).collect());
        let at_least = |count, of: &[&Arc<Authority>]| Requirement::AtLeast {
            count,
            of: of.iter().map(|it| by(it)).collect(),
        };
        let third = authority("third", &Key::generate(), &world.root);
        let nothing: fn(&World) -> Vec<Candidate> = |_| vec![];
        let first: fn(&World) -> Vec<Candidate> = |world| vec![world.signature()];
        let by_second: fn(&World) -> Vec<Candidate> = |world| vec![world.by(&world.other)];
        let rows = [
            (signers(&[&unusable], 1), nothing, "unsigned"),
            (signers(&[&unusable], 1), first, "undecided"),
            (signers(&[&unusable, second], 1), by_second, "satisfied"),
            (signers(&[&unusable, second], 2), by_second, "undecided"),
            // Whatever the key would say, it is one signer at most.
            (signers(&[&unusable, second], 2), first, "untrusted_key"),
            (any(&[&unusable, second]), nothing, "unsigned"),
            (any(&[&unusable, second]), first, "undecided"),
            (any(&[&unusable, second]), by_second, "satisfied"),
            (all(&[&unusable, second]), by_second, "undecided"),
            // The other one is certainly missing.
            (all(&[&unusable, second]), first, "untrusted_key"),
            (all(&[&unusable, second]), nothing, "unsigned"),
            (at_least(1, &[&unusable, second]), by_second, "satisfied"),
            (at_least(2, &[&unusable, second]), by_second, "undecided"),
            (at_least(2, &[&unusable, second]), first, "untrusted_key"),
            (
                at_least(2, &[&unusable, second, &third]),
                by_second,
                "undecided",
            ),
            (
                Requirement::Any(vec![by(second), Requirement::All(vec![by(&unusable)])]),
                first,
                "undecided",
            ),
            (
                Requirement::AtLeast {
                    count: 2,
                    of: vec![
                        by(second),
                        Requirement::Any(vec![by(second), by(&unusable)]),
                    ],
                },
                by_second,
                "undecided",
            ),
            (
                Requirement::All(vec![
                    Requirement::Any(vec![by(&third)]),
                    Requirement::Any(vec![by(&unusable)]),
                ]),
                first,
                "untrusted_key",
            ),
        ];
        for (requirement, candidates, answer) in rows {
            let question = |mode| {
                let policy = Policy {
                    mode,
                    ..requiring(requirement.clone())
                };
                Question::new(vec![policy], candidates(&world))
            };
            assert_eq!(question(Mode::Enforce).answer(), answer, "{requirement:?}");
            let audited = question(Mode::Audit).answer();
            assert!(audited.starts_with("satisfied"), "{audited}");
            assert_eq!(audited == "satisfied", answer == "satisfied");
        }
    }
}

/// An authority whose root is unusable, changed.
fn rootless(world: &World, change: impl FnOnce(&mut Authority)) -> Arc<Authority> {
    let mut authority = without_root(world).as_ref().clone();
    authority.transparency_log = false;
    change(&mut authority);
    Arc::new(authority)
}

#[test]
fn unusable_root_leaves_only_attempts_that_use_it_undecided() {
    let world = World::new();
    let stranger = Key::generate();
    let plain = rootless(&world, |_| {});
    let logged = rootless(&world, |it| it.transparency_log = true);
    let stamped = rootless(&world, |it| it.signed_timestamp = true);
    let two = |first: &Arc<Authority>| signers(&[first, &world.other_authority], 2);
    let one = |of: &Arc<Authority>| signers(&[of], 1);
    let rows = [
        // No log and no timestamp are demanded, so the root decides nothing.
        (one(&plain), world.signature(), "satisfied"),
        (one(&plain), world.signed_at(LOGGED), "satisfied"),
        (one(&plain), world.by(&stranger), "untrusted_key"),
        (two(&plain), world.signature(), "threshold_not_met"),
        // The key decides before the log does.
        (one(&logged), world.by(&stranger), "untrusted_key"),
        (one(&logged), world.signed_at(LOGGED), "undecided"),
        // Without an entry the log need not be known.
        (one(&logged), world.signature(), "transparency_log"),
        (one(&stamped), world.signature(), "undecided"),
        (one(&stamped), world.by(&stranger), "untrusted_key"),
    ];
    for (position, (requirement, candidate, answer)) in rows.into_iter().enumerate() {
        let question = Question::new(vec![requiring(requirement)], vec![candidate]);
        assert_eq!(question.answer(), answer, "row {position}");
    }
    let another = Digest::sha256(b"another image");
    let of_another = Signature::default().by(&world.key, &another).candidate();
    let question = Question::new(vec![requiring(one(&logged))], vec![of_another]);
    assert_eq!(question.answer(), "wrong_subject");
}

#[test]
fn age_is_undecided_without_the_root_that_proves_it() {
    let world = World::new();
    for candidate in [world.signature(), world.signed_at(LOGGED)] {
        let policy = Policy {
            max_signature_age: Some(std::time::Duration::from_secs(30 * 24 * 3600)),
            ..requiring(signers(&[&rootless(&world, |_| {})], 1))
        };
        assert_eq!(
            Question::new(vec![policy], vec![candidate]).answer(),
            "undecided"
        );
    }
}

#[test]
fn newest_attestation_is_undecided_without_the_root_that_dates_it() {
    let world = World::new();
    for (quantifier, answer) in [
        (Quantifier::Any, "satisfied"),
        (Quantifier::All, "satisfied"),
        (Quantifier::Newest, "undecided"),
    ] {
        let policy = attested_by(AttestationRequirement {
            predicate_type: SCAN.to_owned(),
            authorities: vec![rootless(&world, |_| {})],
            quantifier,
            condition: None,
        });
        let found = vec![world.attestation(&json!({}), Some(LOGGED))];
        assert_eq!(Question::new(vec![policy], found).answer(), answer);
    }
}

#[test]
fn own_logs_suffice_without_the_shared_root() {
    let world = World::new();
    let other = super::forge::Log::new();
    for (log, answer) in [(&world.log, "satisfied"), (&other, "undecided")] {
        let document = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log.trusted()],
        });
        let parts = crate::verify::RootParts::from_json(&document.to_string()).unwrap();
        let own = rootless(&world, |it| {
            it.transparency_log = true;
            it.root_parts = Some(Arc::new(parts));
        });
        assert!(!own.needs_shared_root());
        let policy = signed_by(&[&own], 1);
        let question = Question::new(vec![policy], vec![world.signed_at(LOGGED)]);
        assert_eq!(question.answer(), answer);
    }
}

#[test]
fn undecided_answer_names_the_settings_that_help() {
    let world = World::new();
    let policy = signed_by(&[&without_root(&world)], 1);
    let finding = Question::new(vec![policy], vec![world.signed_at(LOGGED)])
        .ask()
        .finding;
    let Finding::Undecided { missing } = finding else {
        panic!("{finding:?}");
    };
    for named in [
        "refreshed 40 days ago",
        "trusted_roots: {private: {file:",
        "root_max_stale",
    ] {
        assert!(missing.contains(named), "{missing}");
    }
}

#[test]
fn unusable_key_decides_nothing_about_a_signature_that_names_another_key() {
    let world = World::new();
    let unusable = without_key(&world);
    let first = &world.authority;
    let two = || requiring(signers(&[first, &unusable], 2));
    // The log entry names the key that signed.
    let named = Question::new(vec![two()], vec![world.signed_at(LOGGED)]);
    assert_eq!(named.answer(), "threshold_not_met");
    let unnamed = Question::new(vec![two()], vec![world.signature()]);
    assert_eq!(unnamed.answer(), "undecided");
    let unknown = Question::new(
        vec![requiring(signers(&[&world.other_authority, &unusable], 1))],
        vec![world.signed_at(LOGGED)],
    );
    assert_eq!(unknown.answer(), "undecided");
}

#[test]
fn policies_know_which_shared_roots_they_need() {
    let world = World::new();
    let need = |authority: Arc<Authority>| {
        let policy = Arc::new(signed_by(&[&authority], 1).with_hash());
        let limits = crate::limits::Limits::default();
        let policies = Policies::new(
            vec![policy],
            DefaultAction::Deny,
            Revoked::default(),
            &limits,
        );
        [
            policies.need_root("private"),
            policies.need_root("public-good"),
        ]
    };
    assert_eq!(need(rootless(&world, |_| {})), [false, false]);
    assert_eq!(
        need(rootless(&world, |it| it.transparency_log = true)),
        [true, false]
    );
    assert_eq!(
        need(rootless(&world, |it| it.signed_timestamp = true)),
        [true, false]
    );
    let identity = |certificate_authorities| {
        AuthoritySigner::Identity(crate::policy::IdentityRequirement {
            identity: super::corpus::exact("x"),
            oidc_issuer: Some(super::corpus::exact("y")),
            extensions: std::collections::BTreeMap::new(),
            certificate_authorities,
        })
    };
    assert_eq!(
        need(rootless(&world, |it| it.signer = identity(None))),
        [true, false]
    );
    let pem = include_str!("../../config/tests/own_authority.pem");
    let own = Arc::new(crate::verify::CertificateAuthorities::from_pem(pem).unwrap());
    let signer = || identity(Some(Arc::clone(&own)));
    assert_eq!(
        need(rootless(&world, |it| it.signer = signer())),
        [false, false]
    );
    let stamped = rootless(&world, |it| {
        it.signer = signer();
        it.signed_timestamp = true;
    });
    assert_eq!(need(stamped), [true, false]);
}

/// What an authority has of its own in place of a shared root.
fn parts(log: &super::forge::Log, has_clock: bool) -> Arc<crate::verify::RootParts> {
    let text = include_str!("../../../tests/fixtures/corpus/trust/trusted_root.json");
    let root: serde_json::Value = serde_json::from_str(text).unwrap();
    let clocks = if has_clock {
        root["timestampAuthorities"].clone()
    } else {
        json!([])
    };
    let document = json!({
        "mediaType": root["mediaType"],
        "tlogs": [log.trusted()],
        "timestampAuthorities": clocks,
    });
    Arc::new(crate::verify::RootParts::from_json(&document.to_string()).unwrap())
}

#[test]
fn root_that_dates_signatures_is_needed_and_fetched() {
    let world = World::new();
    let limits = crate::limits::Limits::default();
    let needs = |policy: Policy| {
        let of_policy = policy.needing_shared_root().count() > 0;
        let policies = vec![Arc::new(policy.with_hash())];
        let policies = Policies::new(policies, DefaultAction::Deny, Revoked::default(), &limits);
        assert_eq!(policies.need_root("private"), of_policy);
        assert!(!policies.need_root("public-good"));
        of_policy
    };
    let aged = |authority: &Arc<Authority>, days: Option<u64>| Policy {
        max_signature_age: days.map(|days| std::time::Duration::from_secs(days * 24 * 3600)),
        ..signed_by(&[authority], 1)
    };
    let attested = |authority: &Arc<Authority>, quantifier| {
        attested_by(AttestationRequirement {
            predicate_type: SCAN.to_owned(),
            authorities: vec![Arc::clone(authority)],
            quantifier,
            condition: None,
        })
    };
    for (own, dates_itself) in [
        (None, false),
        (Some(parts(&world.log, false)), false),
        (Some(parts(&world.log, true)), true),
    ] {
        let authority = rootless(&world, |it| it.root_parts = own);
        assert!(!needs(aged(&authority, None)));
        assert_eq!(needs(aged(&authority, Some(90))), !dates_itself);
        assert!(!needs(attested(&authority, Quantifier::Any)));
        assert!(!needs(attested(&authority, Quantifier::All)));
        assert_eq!(
            needs(attested(&authority, Quantifier::Newest)),
            !dates_itself
        );
        // The decision says the same.
        let answer = if dates_itself {
            "satisfied"
        } else {
            "undecided"
        };
        let signed = Question::new(
            vec![aged(&authority, Some(90))],
            vec![world.signed_at(LOGGED)],
        );
        assert_eq!(signed.answer(), answer);
        let newest = Question::new(
            vec![attested(&authority, Quantifier::Newest)],
            vec![world.attestation(&json!({}), Some(LOGGED))],
        );
        assert_eq!(newest.answer(), answer);
    }
}

/// Anybody can write the name of a key into a bundle.
#[test]
fn false_key_hint_leaves_the_outcome_undecided_while_a_key_is_unusable() {
    let world = World::new();
    let unusable = without_key(&world);
    let two = || requiring(signers(&[&world.authority, &unusable], 2));
    let one = || requiring(signers(&[&world.authority, &unusable], 1));
    let stranger = Key::generate();
    for (signer, hint, of_two, of_one) in [
        // By the known key, as it says.
        (&world.key, &world.key, "threshold_not_met", "satisfied"),
        // By a key that may be the unusable one. One signature is never enough for two.
        (&stranger, &world.key, "invalid_signature", "undecided"),
        (&stranger, &stranger, "untrusted_key", "undecided"),
    ] {
        let candidate = super::forge::hinted(signer, hint, &world.digest);
        let question = Question::new(vec![two()], vec![candidate.clone()]);
        assert_eq!(question.answer(), of_two);
        assert_eq!(Question::new(vec![one()], vec![candidate]).answer(), of_one);
    }
    let second = super::forge::hinted(&stranger, &world.key, &world.digest);
    let both = Question::new(vec![two()], vec![world.signature(), second]);
    assert_eq!(both.answer(), "undecided");
}

#[test]
fn verifying_a_key_hint_is_one_attempt_and_undecided_beyond_the_limit() {
    let world = World::new();
    let unusable = without_key(&world);
    let policy = || requiring(signers(&[&world.authority, &unusable], 2));
    let hinted = || super::forge::hinted(&world.key, &world.key, &world.digest);
    for (attempts_max, answer) in [(1, "undecided"), (2, "threshold_not_met")] {
        let mut question = Question::new(vec![policy()], vec![hinted()]);
        question.limits.attempts_max = attempts_max;
        assert_eq!(question.answer(), answer, "{attempts_max}");
    }
}

#[test]
fn what_is_undecided_and_revoked_is_waived_by_no_mode() {
    let world = World::new();
    let unusable = without_key(&world);
    let revoked = || Revoked {
        keys: [world.key.fingerprint()].into(),
        ..Revoked::default()
    };
    let first = &world.authority;
    for requirement in [
        signers(&[first, &unusable], 1),
        Requirement::Any(vec![by(first), by(&unusable)]),
        Requirement::Any(vec![Requirement::Any(vec![by(first), by(&unusable)])]),
        Requirement::All(vec![
            by(&unusable),
            Requirement::Any(vec![by(first), by(&unusable)]),
        ]),
        Requirement::AtLeast {
            count: 1,
            of: vec![Requirement::Any(vec![by(first), by(&unusable)])],
        },
    ] {
        let policy = Policy {
            mode: Mode::Audit,
            ..requiring(requirement)
        };
        let question = Question::new(vec![policy], vec![world.signature()]);
        assert_eq!(question.revoking(revoked()).answer(), "undecided");
    }
}

#[test]
fn attestations_by_authorities_that_cannot_be_had() {
    let world = World::new();
    let scan = |clean: bool| world.attestation(&json!({ "clean": clean }), None);
    let condition = crate::policy::Condition::new("predicate.clean").unwrap();
    let condition: Arc<dyn crate::policy::Rule> = Arc::new(condition);
    for unusable in [without_key(&world)] {
        for (quantifier, both, one_bad) in [
            (Quantifier::Any, "satisfied", "undecided"),
            (Quantifier::All, "undecided", "undecided"),
            (Quantifier::Newest, "undecided", "undecided"),
        ] {
            let ask = |authorities: &[&Arc<Authority>], found: Vec<Candidate>| {
                let policy = attested_by(AttestationRequirement {
                    predicate_type: SCAN.to_owned(),
                    authorities: authorities.iter().map(|it| Arc::clone(it)).collect(),
                    quantifier,
                    condition: Some(Arc::clone(&condition)),
                });
                Question::new(vec![policy], found).answer()
            };
            let authorities = [&unusable, &world.authority];
            assert_eq!(ask(&[&unusable], vec![]), "attestation_missing");
            assert_eq!(ask(&[&unusable], vec![scan(true)]), "undecided");
            // A signature is no attestation, whoever made it.
            assert_eq!(
                ask(&[&unusable], vec![world.signature()]),
                "attestation_missing"
            );
            assert_eq!(ask(&authorities, vec![scan(true)]), both);
            assert_eq!(ask(&authorities, vec![scan(false)]), one_bad);
        }
    }
}

#[test]
fn a_missing_attestation_names_what_there_is_instead() {
    let world = World::new();
    let mut policy = attested_by(AttestationRequirement {
        predicate_type: "https://slsa.dev/provenance/v1".to_owned(),
        authorities: vec![world.authority.clone()],
        quantifier: Quantifier::Any,
        condition: None,
    });
    policy.name = "provenance".to_owned();
    let found = vec![world.signature(), world.attestation(&json!({}), None)];
    let Finding::Refused(denial) = Question::new(vec![policy], found).ask().finding else {
        panic!("it is not refused");
    };
    assert!(
        denial.message.ends_with(
            "no attestation of the type https://slsa.dev/provenance/v1 was found, only of https://scan.example/v1"
        ),
        "{}",
        denial.message
    );
}

/// One key service and one root, as they are known now.
#[derive(Debug)]
struct Now {
    keys: Arc<KeySet>,
    root: Option<Root>,
}

impl Material for Now {
    fn keys(&self, reference: &str) -> Option<Arc<KeySet>> {
        (reference == "kms://remote").then(|| Arc::clone(&self.keys))
    }

    fn trusted_root(&self, name: &str) -> Option<Root> {
        self.root.clone().filter(|_| name == "private")
    }
}

#[test]
fn new_material_makes_new_policies() {
    let world = World::new();
    let remote = without_key(&world);
    let attested = Requirement::Attestation(AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![remote.clone(), world.authority.clone()],
        quantifier: Quantifier::Any,
        condition: None,
    });
    let everywhere = Requirement::All(vec![
        Requirement::Any(vec![by(&remote)]),
        Requirement::AtLeast {
            count: 1,
            of: vec![by(&remote)],
        },
        signers(&[&remote], 1),
        attested,
    ]);
    let limits = crate::limits::Limits::default();
    let policy = Arc::new(requiring(everywhere).with_hash());
    let before = Policies::new(
        vec![policy],
        DefaultAction::Deny,
        Revoked::default(),
        &limits,
    );
    let other_root: TrustedRoot = super::forge::Log::new().trusted_root();
    let now = Now {
        keys: versions(&[&world.key, &world.other]),
        root: Some(Root::usable(Arc::new(other_root))),
    };
    let after = before.with_material(&now, &limits);
    assert_ne!(after.hash, before.hash);
    assert_ne!(after.policies[0].hash, before.policies[0].hash);
    assert_eq!(after.configured, before.configured);
    for authority in after.policies[0].requirement.authorities() {
        let AuthoritySigner::Key { reference, keys } = &authority.signer else {
            panic!("{authority:?}");
        };
        let expected = if reference == "kms://remote" { 2 } else { 1 };
        assert_eq!(keys.versions().len(), expected);
        let Root::Usable { root, .. } = &authority.trusted_root else {
            panic!("{authority:?}");
        };
        assert_ne!(root.digest, world.root.digest);
    }
    // The same material gives the same hash, another version another one.
    assert_eq!(after.with_material(&now, &limits).hash, after.hash);
    let nothing_new = Now {
        root: None,
        keys: Arc::clone(&now.keys),
    };
    assert_eq!(after.with_material(&nothing_new, &limits).hash, after.hash);
    let fewer = Now {
        keys: versions(&[&world.key]),
        root: None,
    };
    assert_ne!(after.with_material(&fewer, &limits).hash, after.hash);
    let gone = Now {
        keys: missing(),
        root: None,
    };
    assert_ne!(after.with_material(&gone, &limits).hash, after.hash);
}

#[test]
fn a_new_trusted_root_keeps_an_authoritys_own_certificate_authorities() {
    let world = World::new();
    let pem = include_str!("../../config/tests/own_authority.pem");
    let authorities = Arc::new(crate::verify::CertificateAuthorities::from_pem(pem).unwrap());
    let own = Arc::new(Authority {
        signer: AuthoritySigner::Identity(crate::policy::IdentityRequirement {
            identity: super::corpus::exact("x"),
            oidc_issuer: None,
            extensions: std::collections::BTreeMap::new(),
            certificate_authorities: Some(Arc::clone(&authorities)),
        }),
        // As after a start without the root: nothing of the authorities is in it.
        ..without_root(&world).as_ref().clone()
    });
    let limits = crate::limits::Limits::default();
    let policy = Arc::new(signed_by(&[&own], 1).with_hash());
    let before = Policies::new(
        vec![policy],
        DefaultAction::Deny,
        Revoked::default(),
        &limits,
    );
    let now = Now {
        keys: missing(),
        root: Some(Root::usable(Arc::clone(&world.root))),
    };
    let after = before.with_material(&now, &limits);
    let Root::Usable { root, .. } = &after.policies[0].requirement.authorities()[0].trusted_root
    else {
        panic!("the root is there again");
    };
    let expected = world.root.with_certificate_authorities(&authorities);
    assert_eq!(root.digest, expected.unwrap().digest);
}

#[test]
fn a_new_trusted_root_keeps_an_authoritys_own_logs() {
    let world = World::new();
    let logs = [&world.log, &super::forge::Log::new()];
    let roots = logs.map(|log| Arc::new(log.trusted_root()));
    let parts = logs.map(|log| {
        let document = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log.trusted()],
        });
        Arc::new(crate::verify::RootParts::from_json(&document.to_string()).unwrap())
    });
    let limits = crate::limits::Limits::default();
    // The signature is in the first log. Whichever the new root knows, the authority's own is the one that counts.
    for (root, parts, answer) in [
        (&roots[0], None, "satisfied"),
        (&roots[1], None, "transparency_log"),
        (&roots[0], Some(&parts[0]), "satisfied"),
        (&roots[1], Some(&parts[0]), "satisfied"),
        (&roots[0], Some(&parts[1]), "transparency_log"),
        (&roots[1], Some(&parts[1]), "transparency_log"),
    ] {
        let own = Arc::new(Authority {
            root_parts: parts.cloned(),
            // As after a start without the root: nothing of the parts is in it.
            ..without_root(&world).as_ref().clone()
        });
        let before = Policies::new(
            vec![Arc::new(signed_by(&[&own], 1).with_hash())],
            DefaultAction::Deny,
            Revoked::default(),
            &limits,
        );
        let now = Now {
            keys: missing(),
            root: Some(Root::usable(Arc::clone(root))),
        };
        let after = before.with_material(&now, &limits);
        let policy = after.policies[0].as_ref().clone();
        let candidate = world.signed_at("2026-11-20T00:00:00Z");
        assert_eq!(
            Question::new(vec![policy], vec![candidate]).answer(),
            answer
        );
    }
}

#[test]
fn a_root_ends_by_itself_and_the_decision_with_it() {
    let world = World::new();
    let ask = |until: jiff::Timestamp| {
        let authority = Arc::new(Authority {
            trusted_root: Root::Usable {
                root: Arc::clone(&world.root),
                until: Some(until),
            },
            transparency_log: true,
            ..world.authority.as_ref().clone()
        });
        let policy = signed_by(&[&authority], 1);
        Question::new(vec![policy], vec![world.signed_at(LOGGED)]).ask()
    };
    let now = super::question::now();
    let moment = jiff::SignedDuration::from_nanos(1);
    let evaluation = ask(now + moment);
    assert!(matches!(evaluation.finding, Finding::Satisfied));
    assert_eq!(evaluation.valid_until, Some(now + moment));
    for until in [now, now - moment] {
        let finding = ask(until).finding;
        assert!(matches!(finding, Finding::Undecided { .. }), "{finding:?}");
    }
    // It moves with every refresh: the policy stays the same.
    let (before, after) = (ask(now + moment), ask(now + moment * 2));
    assert_eq!(before.policies[0].hash, after.policies[0].hash);
}
