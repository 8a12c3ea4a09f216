//! What the record of a decision says about its reasons.

use std::collections::BTreeMap;
use std::time::Instant;

use super::forge::Layer;
use super::house::{House, after, asked, subject};
use super::question::{World, now, signed_by};
use super::registry::Trouble;
use crate::admission::denial::{Denial, Kind};
use crate::decision_log::{Basis, Mode as Recorded, SourceOutcome};
use crate::policy::{Mode, Policy};
use crate::signature::Source;
use crate::upstream::Purpose;

fn enforcing(world: &World) -> Policy {
    signed_by(&[&world.authority], 1)
}

#[tokio::test]
async fn what_an_enforcing_policy_admits_is_no_audit_though_another_one_warns() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let auditing = || Policy {
        name: "other".to_owned(),
        mode: Mode::Audit,
        ..signed_by(&[&world.other_authority], 1)
    };
    for policies in [
        vec![enforcing(&world), auditing()],
        vec![auditing(), enforcing(&world)],
    ] {
        let process = house.process(policies);
        assert_eq!(process.decide(&image).await, "signature");
        let record = process.last_record();
        assert_eq!(record.basis, Some(Basis::Signature));
        assert_eq!(record.mode, Recorded::Enforce);
        assert_eq!(record.denial.unwrap().kind, "untrusted_key");
        // It holds as long as what nobody warns of.
        let later = after(now(), 3600);
        let remembered = process.admission.remembered(&subject(&image.digest), later);
        assert!(remembered.is_some());
    }
}

#[tokio::test]
async fn each_source_is_named_with_what_it_gave() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    house
        .registry
        .fail_at(&[Purpose::ReferrersTag], Trouble::Unreachable);
    let process = house.process(vec![enforcing(&world)]);
    assert_eq!(process.decide(&image).await, "signature");
    let sources = process.last_record().sources;
    let said: Vec<_> = sources
        .iter()
        .map(|source| (source.source, source.outcome, source.found))
        .collect();
    let expected = [
        (Source::CosignTag, SourceOutcome::Found, 1),
        (Source::Referrers, SourceOutcome::None, 0),
        (Source::ReferrersTag, SourceOutcome::Failed, 0),
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn what_is_missing_is_said_by_source_and_repository() {
    for (purpose, words) in [
        (
            Purpose::CosignTag,
            "the cosign tag of registry.example/apps/web: ",
        ),
        (
            Purpose::Referrers,
            "the referrers API of registry.example/apps/web: ",
        ),
        (
            Purpose::ReferrersTag,
            "the referrers tag of registry.example/apps/web: ",
        ),
    ] {
        let (world, house) = (World::new(), House::new().await);
        let image = house.registry.push_image("unsigned");
        house.registry.fail_at(&[purpose], Trouble::Unreachable);
        let process = house.process(vec![enforcing(&world)]);
        assert_eq!(process.decide(&image).await, "unavailable");
        let said = process.last_record().denial.unwrap().message;
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn what_a_decision_rests_on_and_how_long_it_took_is_said() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(vec![enforcing(&world)]);
    let started = Instant::now();
    assert_eq!(process.decide(&image).await, "signature");
    let spent = started.elapsed().as_secs_f64() * 1e3;
    let record = process.last_record();
    assert_eq!(record.trusted_root, Some(world.root.digest.to_string()));
    let timing = record.timing_ms;
    assert!(timing.verification > 0.0, "{timing:?}");
    assert!(timing.verification < timing.total, "{timing:?}");
    assert!(timing.total < spent, "{timing:?} of {spent} ms");
    // A refusal without a signature rests on no root.
    let unsigned = house.registry.push_image("unsigned");
    assert_eq!(process.decide(&unsigned).await, "unsigned");
    assert_eq!(process.last_record().trusted_root, None);
}

#[tokio::test]
async fn policies_that_material_was_not_judged_by_are_named() {
    let (world, house) = (World::new(), House::new().await);
    let document = br#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","packages":[]}"#;
    let layer = Layer::new("text/spdx+json", document.to_vec(), BTreeMap::new());
    let material = house.registry.push_layers(&[layer]);
    let process = house.process(vec![enforcing(&world)]);
    assert_eq!(process.decide(&material).await, "signature_artifact");
    let policies = process.last_record().policies;
    let named: Vec<_> = policies
        .iter()
        .map(|policy| (policy.name.as_str(), policy.satisfied))
        .collect();
    assert_eq!(named, [("apps", false)]);
}

#[tokio::test]
async fn pulls_that_reused_a_decision_are_counted_when_it_is_replaced() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(vec![enforcing(&world)]);
    assert_eq!(process.decide(&image).await, "signature");
    let remembered = process.admission.remembered(&subject(&image.digest), now());
    let first = remembered.unwrap();
    for _ in 0..3 {
        first.count_reuse();
    }
    let later = after(now(), 24 * 3600);
    assert_eq!(process.decide_at(&image, later).await, "signature");
    let records = house.records().await;
    let counts: Vec<_> = records
        .iter()
        .map(|it| (it.id == first.id, it.count))
        .collect();
    assert_eq!(counts, [(false, 0), (true, 3)]);
}

#[tokio::test]
async fn a_refusal_without_a_decision_is_recorded() {
    let (world, house) = (World::new(), House::new().await);
    let process = house.process(vec![enforcing(&world)]);
    let mut denial = Denial {
        kind: Kind::ClientDenied,
        message: "alice may not read it".into(),
        policy: None,
        digest: None,
    };
    let (asked, repository) = (asked(now()), "registry.example/apps/web");
    let admission = &process.admission;
    let refused = admission.record_refusal(repository, &asked, &mut denial);
    let id = refused.await.unwrap();
    let records = house.records().await;
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!(record.id, id);
    assert_eq!(record.denial.as_ref().unwrap().kind, "client_denied");
    assert!(denial.message.contains(&id.to_string()), "{denial:?}");
}
