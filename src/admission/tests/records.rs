//! What the record of a decision says about its reasons.

use super::house::{House, after, subject};
use super::question::{World, now, signed_by};
use super::registry::Trouble;
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
