//! Stored evidence: when it serves, when the upstream is asked again, and what damage to it does.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::forge::{Signature, attestation};
use super::house::{House, Settings, after, subject};
use super::question::{SCAN, World, now, signed_by, signers};
use super::registry::{Pushed, Trouble, described};
use crate::limits::Limits;
use crate::oci::{Digest, RepositoryName};
use crate::policy::{AttestationRequirement, Condition, Mode, Policy, Quantifier, Requirement};
use crate::upstream::Purpose;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn enforcing(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

fn by_other(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.other_authority], 1)]
}

fn at(seconds: i64) -> Timestamp {
    after(now(), seconds)
}

/// An image that was admitted once, by a process that is gone.
struct Admitted {
    world: World,
    house: House,
    image: Pushed,
    signature: Pushed,
    payload: Digest,
}

async fn admitted() -> Admitted {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let layer = Signature::default().by(&world.key, &image.digest);
    let payload = layer.descriptor.digest;
    let signature = house.registry.attach(&image, ".sig", layer);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&image).await, "signature");
    assert!(house.registry.was_asked_for_signatures());
    Admitted {
        world,
        house,
        image,
        signature,
        payload,
    }
}

#[tokio::test]
async fn it_serves_until_signatures_are_to_be_looked_for_again() {
    for (seconds, asks) in [(0, false), (DAY - 1, false), (DAY, true)] {
        let Admitted {
            world,
            house,
            image,
            ..
        } = admitted().await;
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide_at(&image, at(seconds)).await, "signature");
        assert_eq!(house.registry.was_asked_for_signatures(), asks, "{seconds}");
    }
}

#[tokio::test]
async fn another_policy_decides_from_it() {
    let Admitted {
        world,
        house,
        image,
        ..
    } = admitted().await;
    let process = house.process(by_other(&world));
    assert_eq!(process.decide(&image).await, "untrusted_key");
    assert!(!house.registry.was_asked_for_signatures());
}

#[tokio::test]
async fn a_policy_that_looks_elsewhere_asks_again() {
    let Admitted {
        world,
        house,
        image,
        ..
    } = admitted().await;
    let elsewhere = Policy {
        signature_repositories: vec![
            RepositoryName::new("registry.example", "signatures").unwrap(),
        ],
        ..signed_by(&[&world.authority], 1)
    };
    let attested = Policy {
        requirement: Requirement::All(vec![
            signers(&[&world.authority], 1),
            Requirement::Attestation(AttestationRequirement {
                predicate_type: SCAN.to_owned(),
                authorities: vec![world.authority.clone()],
                quantifier: Quantifier::Any,
                condition: None,
            }),
        ]),
        ..signed_by(&[&world.authority], 1)
    };
    for (policy, answer) in [(elsewhere, "signature"), (attested, "attestation_missing")] {
        let process = house.process(vec![policy]);
        assert_eq!(process.decide(&image).await, answer);
        assert!(house.registry.was_asked_for_signatures(), "{answer}");
    }
}

#[tokio::test]
async fn what_is_absent_or_altered_counts_as_absent() {
    for altered in [false, true] {
        for of_payload in [false, true] {
            let Admitted {
                world,
                house,
                image,
                signature,
                payload,
            } = admitted().await;
            let digest = if of_payload {
                payload
            } else {
                signature.digest
            };
            let hex = digest.to_hex();
            let file = house
                .directory
                .path()
                .join("content/sha256")
                .join(&hex[..2])
                .join(&hex);
            if altered {
                fs::write(&file, b"{\"something\": \"else\"}").unwrap();
            } else {
                fs::remove_file(&file).unwrap();
            }
            house.registry.fail_at(
                &[
                    Purpose::CosignTag,
                    Purpose::Referrers,
                    Purpose::ReferrersTag,
                ],
                Trouble::Unreachable,
            );
            let process = house.process(enforcing(&world));
            assert_eq!(process.decide(&image).await, "unavailable");
            house.registry.recover();
            let process = house.process(enforcing(&world));
            assert_eq!(process.decide(&image).await, "signature");
            assert!(house.registry.was_asked_for_signatures());
        }
    }
}

#[tokio::test]
async fn evidence_of_one_digest_says_nothing_of_another() {
    let Admitted {
        world,
        house,
        image,
        ..
    } = admitted().await;
    let evil = house.registry.push_image("evil");
    let evidence = house.state.evidence(&subject(&image.digest)).await.unwrap();
    let batch = crate::state::Batch {
        evidence: vec![(subject(&evil.digest), evidence.unwrap())],
        ..crate::state::Batch::default()
    };
    house.state.write(batch).await.unwrap();
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&evil).await, "wrong_subject");
}

#[tokio::test]
async fn incomplete_evidence_asks_again() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    house
        .registry
        .fail_at(&[Purpose::Referrers], Trouble::Unreachable);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&image).await, "signature");
    assert!(house.registry.was_asked_for_signatures());
    // Remembered for half a minute, and by nobody else.
    assert_eq!(process.decide_at(&image, at(29)).await, "signature");
    assert!(!house.registry.was_asked_for_signatures());
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.decide(&image).await, "signature");
    assert!(house.registry.was_asked_for_signatures());
    house.registry.recover();
    assert_eq!(process.decide_at(&image, at(30)).await, "signature");
    assert!(house.registry.was_asked_for_signatures());
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.decide_at(&image, at(60)).await, "signature");
    assert!(!house.registry.was_asked_for_signatures());
}

#[tokio::test]
async fn what_comes_after_the_decision_completes_the_evidence() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    house.registry.last(Purpose::Referrers);
    let later = Signature::default().by(&world.other, &image.digest);
    let referrer = house.registry.push_layers(&[later]);
    house.registry.refer(&image, &referrer);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&image).await, "signature");
    let found: Vec<_> = process
        .last_record()
        .sources
        .iter()
        .map(|source| source.found)
        .collect();
    assert_eq!(found, [1, 0, 0]);
    assert!(house.registry.was_asked_for_signatures());
    for policies in [enforcing(&world), by_other(&world)] {
        let fresh = house.process(policies);
        assert_eq!(fresh.decide_at(&image, at(HOUR)).await, "signature");
        assert!(!house.registry.was_asked_for_signatures());
    }
}

#[tokio::test]
async fn old_evidence_serves_while_the_upstream_cannot_be_asked() {
    let Admitted {
        world,
        house,
        image,
        ..
    } = admitted().await;
    for (trouble, seconds, answer, stale) in [
        (Trouble::Unreachable, DAY, "signature", true),
        (Trouble::Unreachable, 7 * DAY, "signature", true),
        (Trouble::Unreachable, 7 * DAY + 1, "unavailable", false),
        // A refusal is an answer.
        (Trouble::Refusing, DAY, "unavailable", false),
        (Trouble::Unusable, DAY, "unavailable", false),
    ] {
        let house = &house;
        house.registry.fail(trouble);
        let process = house.process(enforcing(&world));
        let answered = process.decide_at(&image, at(seconds)).await;
        assert_eq!(answered, answer, "{trouble:?} after {seconds} s");
        assert_eq!(process.last_record().stale, stale);
        if stale {
            // It is asked again soon.
            let subject = subject(&image.digest);
            let remembered = |later| process.admission.remembered(&subject, at(seconds + later));
            assert!(remembered(29).is_some());
            assert!(remembered(30).is_none());
        }
        restore(house, &world, &image).await;
    }
}

/// Evidence as it was when the image was first admitted.
async fn restore(house: &House, world: &World, image: &Pushed) {
    house.registry.recover();
    let settings = Settings::default();
    let evidence_is_old = crate::admission::Freshness {
        reverify_after: Duration::ZERO,
        ..settings.freshness
    };
    let process = house.process_with(
        enforcing(world),
        Settings {
            freshness: evidence_is_old,
            ..settings
        },
    );
    assert_eq!(process.decide(image).await, "signature");
}

#[tokio::test]
async fn sources_slower_than_a_stale_answer_bring_new_evidence_behind_it() {
    let Admitted {
        world,
        house,
        image,
        ..
    } = admitted().await;
    house.registry.sign(&image, &world.other);
    house.registry.delay(Duration::from_millis(300));
    let impatient = Settings {
        limits: Limits {
            stale_decision_time_max: Duration::from_millis(50),
            ..Limits::default()
        },
        ..Settings::default()
    };
    let process = house.process_with(by_other(&world), impatient);
    assert_eq!(process.decide_at(&image, at(DAY)).await, "untrusted_key");
    assert!(process.last_record().stale);
    assert!(house.registry.was_asked_for_signatures());
    let fresh = house.process(by_other(&world));
    assert_eq!(fresh.decide_at(&image, at(DAY + 30)).await, "signature");
    assert!(!fresh.last_record().stale);
    assert!(!house.registry.was_asked_for_signatures());
}

#[tokio::test]
async fn sources_that_fail_behind_a_stale_answer_replace_no_evidence() {
    let Admitted {
        world,
        house,
        image,
        ..
    } = admitted().await;
    // Incomplete evidence holds the signature all the same.
    house
        .registry
        .fail_at(&[Purpose::Referrers], Trouble::Unreachable);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide_at(&image, at(DAY)).await, "signature");
    house.registry.fail(Trouble::Unreachable);
    house.registry.delay(Duration::from_millis(100));
    for day in 2..5 {
        let impatient = Settings {
            limits: Limits {
                stale_decision_time_max: Duration::from_millis(20),
                ..Limits::default()
            },
            ..Settings::default()
        };
        let process = house.process_with(enforcing(&world), impatient);
        assert_eq!(process.decide_at(&image, at(day * DAY)).await, "signature");
        assert!(process.last_record().stale);
    }
}

#[tokio::test]
async fn stale_evidence_refuses_as_it_admits() {
    let Admitted {
        world,
        house,
        image,
        ..
    } = admitted().await;
    house.registry.fail(Trouble::Unreachable);
    let process = house.process(by_other(&world));
    assert_eq!(process.decide_at(&image, at(DAY)).await, "untrusted_key");
}

#[tokio::test]
async fn a_refusal_looks_again_after_half_a_minute() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed late");
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&image).await, "unsigned");
    house.registry.sign(&image, &world.other);
    assert_eq!(process.decide_at(&image, at(29)).await, "unsigned");
    // Another process neither asks so soon: it was found that there is none.
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.decide_at(&image, at(29)).await, "unsigned");
    assert_eq!(process.decide_at(&image, at(30)).await, "untrusted_key");
    house.registry.sign(&image, &world.key);
    assert_eq!(process.decide_at(&image, at(59)).await, "untrusted_key");
    assert_eq!(process.decide_at(&image, at(60)).await, "signature");
}

#[tokio::test]
async fn that_there_was_no_signature_is_not_believed_for_long() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed late");
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&image).await, "unsigned");
    house.registry.sign(&image, &world.key);
    for (seconds, answer) in [(29, "unsigned"), (30, "signature")] {
        let fresh = house.process(enforcing(&world));
        assert_eq!(fresh.decide_at(&image, at(seconds)).await, answer);
    }
}

#[tokio::test]
async fn what_audit_let_through_looks_again_after_half_a_minute() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed late");
    house.registry.sign(&image, &world.other);
    let auditing = Policy {
        mode: Mode::Audit,
        ..signed_by(&[&world.authority], 1)
    };
    let process = house.process(vec![auditing]);
    assert_eq!(process.decide(&image).await, "audit");
    let remembered = |seconds| {
        process
            .admission
            .remembered(&subject(&image.digest), at(seconds))
    };
    assert!(remembered(29).is_some());
    assert!(remembered(30).is_none());
}

#[tokio::test]
async fn a_failure_to_decide_is_remembered_for_a_second() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    house
        .registry
        .fail_at(&[Purpose::CosignTag], Trouble::Unreachable);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&image).await, "unavailable");
    house.registry.recover();
    assert_eq!(process.decide(&image).await, "unavailable");
    assert_eq!(process.decide_at(&image, at(1)).await, "signature");
}

#[tokio::test]
async fn what_was_cut_by_a_limit_stays_cut() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("with many referrers");
    for name in ["first", "second"] {
        let signature = Signature {
            name,
            ..Signature::default()
        };
        let layer = signature.by(&world.other, &image.digest);
        let referrer = house.registry.push_layers(&[layer]);
        house.registry.refer(&image, &referrer);
    }
    let settings = || Settings {
        limits: Limits {
            referrers_opened_max: 1,
            ..Limits::default()
        },
        ..Settings::default()
    };
    for asks in [true, false] {
        let process = house.process_with(enforcing(&world), settings());
        assert_eq!(process.decide(&image).await, "limit_exceeded");
        assert_eq!(house.registry.was_asked_for_signatures(), asks);
    }
}

/// The material that was left out for one policy may be what another one requires.
#[tokio::test]
async fn evidence_that_was_cut_for_one_policy_refuses_nothing_under_another() {
    for by_count in [true, false] {
        let (world, house) = (World::new(), House::new().await);
        let image = house.registry.push_image("with many referrers");
        let scan = attestation(&world.key, &image.digest, SCAN, &json!({}), None);
        let scan_bytes = scan.descriptor.size;
        let signature = Signature::default().by(&world.key, &image.digest);
        for (layer, artifact_type) in [
            (scan, None),
            (
                signature,
                Some("application/vnd.dev.cosign.artifact.sig.v1+json"),
            ),
        ] {
            let referrer = house.registry.push_layers(&[layer]);
            house.registry.refer_as(&image, &referrer, artifact_type);
        }
        let limits = || match by_count {
            true => Limits {
                referrers_opened_max: 1,
                ..Limits::default()
            },
            // A quarter of it is kept for what is required.
            false => Limits {
                discovery_bytes_max: scan_bytes * 4 / 3 + 8,
                ..Limits::default()
            },
        };
        let process = |policies: Vec<Policy>| {
            let settings = Settings {
                limits: limits(),
                ..Settings::default()
            };
            house.process_with(policies, settings)
        };
        let scanned = Requirement::Attestation(AttestationRequirement {
            predicate_type: SCAN.to_owned(),
            authorities: vec![world.authority.clone()],
            quantifier: Quantifier::Any,
            condition: None,
        });
        let requiring = |requirement: Requirement| {
            vec![Policy {
                requirement,
                ..signed_by(&[&world.authority], 1)
            }]
        };
        let attested = process(requiring(scanned.clone()));
        assert_eq!(attested.decide(&image).await, "signature", "{by_count}");
        assert!(house.registry.was_asked_for_signatures());
        // The scan suffices for another policy, too.
        let either = Requirement::Any(vec![scanned, signers(&[&world.authority], 1)]);
        let either = process(requiring(either));
        assert_eq!(either.decide(&image).await, "signature", "{by_count}");
        assert!(!house.registry.was_asked_for_signatures());
        house.registry.fail(Trouble::Unreachable);
        let signed = process(enforcing(&world));
        assert_eq!(signed.decide(&image).await, "unavailable", "{by_count}");
        house.registry.recover();
        let signed = process(enforcing(&world));
        assert_eq!(signed.decide(&image).await, "signature", "{by_count}");
        // The signature was read first for this policy.
        house.registry.was_asked_for_signatures();
        let kind = if by_count {
            "limit_exceeded"
        } else {
            "untrusted_key"
        };
        let other = process(by_other(&world));
        assert_eq!(other.decide(&image).await, kind, "{by_count}");
        assert!(!house.registry.was_asked_for_signatures());
    }
}

#[tokio::test]
async fn a_missing_blob_is_remembered_as_missing() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let layer = Signature::default().by(&world.key, &image.digest);
    let manifest = house.registry.push_image_of(&[described(&layer)]);
    let tag = format!("{}.sig", image.digest.to_tag_prefix());
    house.registry.tag(&tag, &manifest);
    for asks in [true, false] {
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide(&image).await, "malformed");
        assert_eq!(house.registry.was_asked_for_signatures(), asks);
    }
}

#[tokio::test]
async fn legacy_attestations_are_asked_for_where_a_policy_wants_them() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("attested");
    let layer = attestation(
        &world.key,
        &image.digest,
        SCAN,
        &json!({"clean": true}),
        None,
    );
    house.registry.attach(&image, ".att", layer);
    let requirement = AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![world.authority.clone()],
        quantifier: Quantifier::All,
        condition: None,
    };
    let process = house.process(vec![super::question::attested_by(requirement)]);
    assert_eq!(process.decide(&image).await, "signature");
    let signed = house.process(enforcing(&world));
    assert_eq!(signed.decide(&image).await, "unsigned");
}

/// It may be the attestation that does not hold. Once it is there, or is listed no more, it is decided.
#[tokio::test]
async fn a_referrer_that_is_listed_and_not_there_leaves_rules_about_all_undecided() {
    let world = World::new();
    let clean = |quantifier| AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: vec![world.authority.clone()],
        quantifier,
        condition: Some(Arc::new(Condition::new("predicate.clean").unwrap())),
    };
    let scan = |clean: bool, image: &Pushed| {
        let predicate = json!({ "clean": clean });
        attestation(&world.key, &image.digest, SCAN, &predicate, None)
    };
    for (quantifier, lacking, there) in [
        (Quantifier::Any, "signature", "signature"),
        (Quantifier::All, "unavailable", "attestation_rejected"),
        (Quantifier::Newest, "unavailable", "attestation_rejected"),
    ] {
        let house = House::new().await;
        let image = house.registry.push_image("scanned");
        let good = house.registry.push_layers(&[scan(true, &image)]);
        house.registry.refer(&image, &good);
        let bad = house.registry.push_layers(&[scan(false, &image)]);
        house.registry.refer(&image, &bad);
        house.registry.remove(&bad);
        let policies = || vec![super::question::attested_by(clean(quantifier))];
        let process = house.process(policies());
        assert_eq!(process.decide(&image).await, lacking, "{quantifier:?}");
        // What was found is not taken for all of it later, by this process or the next.
        house.registry.was_asked_for_signatures();
        for process in [&process, &house.process(policies())] {
            assert_eq!(process.decide_at(&image, at(1)).await, lacking);
            let asks = quantifier != Quantifier::Any;
            assert_eq!(house.registry.was_asked_for_signatures(), asks);
        }
        house.registry.restore(&bad);
        let later = at(2 * DAY);
        assert_eq!(process.decide_at(&image, later).await, there);
    }
    // A plain signature is found all the same.
    let house = House::new().await;
    let image = house.registry.push_image("signed");
    let layer = Signature::default().by(&world.key, &image.digest);
    house.registry.attach(&image, ".sig", layer);
    let gone = house.registry.push_layers(&[scan(true, &image)]);
    house.registry.refer(&image, &gone);
    house.registry.remove(&gone);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&image).await, "signature");
    let process = house.process(by_other(&world));
    assert_eq!(process.decide(&image).await, "untrusted_key");
}
