//! Policies that compare the tag asked for with the one that was signed.

use std::sync::Arc;

use super::forge::{Key, Layer, Signature};
use super::house::{House, Process, after, asked, subject};
use super::question::{Question, World, now, signature, signed_by, unsigned_tag, words};
use super::registry::{Pushed, Trouble};
use crate::admission::{Decision, UnsignedTag};
use crate::oci::Tag;
use crate::policy::{Mode, Policy, Requirement, SignedName};
use crate::upstream::Purpose;

const NAME: &str = "registry.example/apps/web";

fn comparing(world: &World) -> Policy {
    Policy {
        signed_name: SignedName::RepositoryAndTag,
        ..signed_by(&[&world.authority], 1)
    }
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn named(name: &str, key: &Key, image: &crate::oci::Digest) -> Layer {
    let signature = Signature {
        name,
        ..Signature::default()
    };
    signature.by(key, image)
}

/// The answers to the digest and to the tag `v1`.
fn answers(policy: &Policy, names: &[(&str, &Key)], world: &World) -> [String; 2] {
    let candidates = names.iter();
    let candidates = candidates.map(|(name, key)| named(name, key, &world.digest).candidate());
    let question = Question::new(vec![policy.clone()], candidates.collect());
    let subject = question.subject.clone();
    let evaluation = question.ask();
    let digest = words(&evaluation);
    let tag = unsigned_tag(&evaluation, &subject, &tag("v1")).unwrap_or_else(|| digest.clone());
    [digest, tag]
}

#[test]
fn a_tag_is_admitted_that_a_counted_signature_names() {
    let world = World::new();
    let stranger = Key::generate();
    let digest = world.digest.to_string();
    let (key, satisfied, wrong) = (&world.key, "satisfied", "wrong_name");
    for (name, expected) in [
        ("NAME:v1", [satisfied, satisfied]),
        ("NAME:v2", [satisfied, wrong]),
        ("NAME:V1", [satisfied, wrong]),
        ("NAME@DIGEST", [satisfied, wrong]),
        // The name as a whole is another one.
        ("NAME:v1@DIGEST", [satisfied, wrong]),
        ("NAME", [wrong, wrong]),
        ("NAME:", [wrong, wrong]),
        ("NAME:-v1", [wrong, wrong]),
        ("NAME@v1", [wrong, wrong]),
        ("NAME:-v1@DIGEST", [wrong, wrong]),
        ("registry.example/apps/other:v1", [wrong, wrong]),
        ("", [wrong, wrong]),
    ] {
        let name = name.replace("NAME", NAME).replace("DIGEST", &digest);
        let policy = comparing(&world);
        assert_eq!(
            answers(&policy, &[(&name, key)], &world),
            expected,
            "{name}"
        );
        // Nor does it help who is not counted.
        let v2 = format!("{NAME}:v2");
        let signatures = [(v2.as_str(), key), (&name, &stranger)];
        assert_eq!(
            answers(&policy, &signatures, &world),
            [satisfied, wrong],
            "{name}"
        );
    }
    // One of several names it, whichever is tried first.
    let (v1, v2) = (format!("{NAME}:v1"), format!("{NAME}:v2"));
    for names in [[&v1, &v2], [&v2, &v1]] {
        let signatures = names.map(|name| (name.as_str(), key));
        let found = answers(&comparing(&world), &signatures, &world);
        assert_eq!(found, [satisfied, satisfied]);
    }
}

#[test]
fn all_who_must_sign_must_name_the_tag() {
    let world = World::new();
    let (v1, v2) = (format!("{NAME}:v1"), format!("{NAME}:v2"));
    let authorities = [&world.authority, &world.other_authority];
    let all = authorities.map(|it| Requirement::Signature(signature(it)));
    let (satisfied, wrong) = ("satisfied", "wrong_name");
    for requirement in [
        Requirement::All(all.to_vec()),
        signed_by(&authorities, 2).requirement,
    ] {
        let policy = Policy {
            requirement,
            ..comparing(&world)
        };
        let first = [(v1.as_str(), &world.key), (&v2, &world.other)];
        assert_eq!(answers(&policy, &first, &world), [satisfied, wrong]);
        let both = [first[0], first[1], (&v1, &world.other)];
        assert_eq!(answers(&policy, &both, &world), [satisfied, satisfied]);
    }
}

#[test]
fn only_enforcing_policies_that_compare_tags_refuse_one() {
    let world = World::new();
    let v2 = format!("{NAME}:v2");
    let signatures = [(v2.as_str(), &world.key)];
    for (signed_name, mode, by_tag) in [
        (SignedName::RepositoryAndTag, Mode::Enforce, "wrong_name"),
        (SignedName::RepositoryAndTag, Mode::Audit, "satisfied"),
        (SignedName::Repository, Mode::Enforce, "satisfied"),
        (SignedName::Any, Mode::Enforce, "satisfied"),
    ] {
        let policy = Policy {
            signed_name,
            mode,
            ..comparing(&world)
        };
        let found = answers(&policy, &signatures, &world);
        assert_eq!(found, ["satisfied", by_tag], "{signed_name:?} {mode:?}");
    }
}

#[test]
fn a_source_that_fails_may_have_the_tag() {
    let world = World::new();
    let candidate = named(&format!("{NAME}:v2"), &world.key, &world.digest).candidate();
    let question = Question::new(vec![comparing(&world)], vec![candidate]).failing();
    let subject = question.subject.clone();
    let evaluation = question.ask();
    assert_eq!(words(&evaluation), "satisfied");
    let unsigned = |text| unsigned_tag(&evaluation, &subject, &tag(text));
    assert_eq!(unsigned("v1").as_deref(), Some("undecided"));
    assert_eq!(unsigned("v2"), None);
}

async fn decided(process: &Process<'_>, image: &Pushed, seconds: i64) -> Arc<Decision> {
    process.decide_at(image, after(now(), seconds)).await;
    let remembered = process
        .admission
        .remembered(&subject(&image.digest), after(now(), seconds));
    remembered.unwrap()
}

/// The decision about the tag, as a pull by it comes to it.
async fn by_tag(process: &Process<'_>, image: &Pushed, text: &str, seconds: i64) -> &'static str {
    let decision = decided(process, image, seconds).await;
    let decision = match decision.unsigned_tag(&tag(text)) {
        None => decision,
        Some(_) => {
            let asked = asked(after(now(), seconds));
            process
                .admission
                .decide_anew(decision, &asked)
                .await
                .unwrap()
        }
    };
    match decision.unsigned_tag(&tag(text)) {
        None => "admitted",
        Some(UnsignedTag::Refused(_)) => "refused",
        Some(UnsignedTag::Undecided(_)) => "undecided",
    }
}

#[tokio::test]
async fn every_source_is_waited_for() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed twice");
    let layer = |tag: &str| named(&format!("{NAME}:{tag}"), &world.key, &image.digest);
    house.registry.attach(&image, ".sig", layer("v1"));
    house.registry.last(Purpose::Referrers);
    let referrer = house.registry.push_layers(&[layer("v2")]);
    house.registry.refer(&image, &referrer);
    let process = house.process(vec![comparing(&world)]);
    let decision = decided(&process, &image, 0).await;
    assert!(decision.unsigned_tag(&tag("v1")).is_none());
    assert!(decision.unsigned_tag(&tag("v2")).is_none());
    assert!(decision.unsigned_tag(&tag("v3")).is_some());
}

#[tokio::test]
async fn a_tag_that_is_signed_later_is_admitted_after_a_while() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let layer = |tag: &str| named(&format!("{NAME}:{tag}"), &world.key, &image.digest);
    house.registry.attach(&image, ".sig", layer("v1"));
    let process = house.process(vec![comparing(&world)]);
    assert_eq!(by_tag(&process, &image, "v2", 0).await, "refused");
    let both = house.registry.push_layers(&[layer("v1"), layer("v2")]);
    let under = format!("{}.sig", image.digest.to_tag_prefix());
    house.registry.tag(&under, &both);
    assert_eq!(by_tag(&process, &image, "v2", 29).await, "refused");
    assert_eq!(by_tag(&process, &image, "v2", 30).await, "admitted");
    assert_eq!(by_tag(&process, &image, "v1", 30).await, "admitted");
}

#[tokio::test]
async fn looking_for_a_tag_takes_nothing_from_others() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let layer = |tag: &str| named(&format!("{NAME}:{tag}"), &world.key, &image.digest);
    house.registry.attach(&image, ".sig", layer("v1"));
    let referrer = house.registry.push_layers(&[layer("v2")]);
    house.registry.refer(&image, &referrer);
    let process = house.process(vec![comparing(&world)]);
    let before = decided(&process, &image, 0).await;
    // One source refuses us; then all signatures are gone.
    house
        .registry
        .fail_at(&[Purpose::CosignTag], Trouble::Refusing);
    assert_eq!(by_tag(&process, &image, "v3", 40).await, "undecided");
    let after_failure = decided(&process, &image, 40).await;
    assert_eq!(after_failure.id, before.id);
    house.registry.recover();
    let nothing = house.registry.push_layers(&[]);
    house
        .registry
        .tag(&format!("{}.sig", image.digest.to_tag_prefix()), &nothing);
    house.registry.remove(&referrer);
    assert_eq!(by_tag(&process, &image, "v3", 80).await, "refused");
    assert_eq!(decided(&process, &image, 80).await.id, before.id);
    assert_eq!(by_tag(&process, &image, "v2", 80).await, "admitted");
}

#[tokio::test]
async fn an_endorsement_is_for_no_tag_and_an_own_signature_is() {
    let (world, house) = (World::new(), House::new().await);
    let (bare, signed) = (
        house.registry.push_image("a child"),
        house.registry.push_image("a signed child"),
    );
    let index = house.registry.push_index(&[&bare, &signed]);
    let layer = |image: &Pushed| named(&format!("{NAME}:v1"), &world.key, &image.digest);
    for image in [&index, &signed] {
        house.registry.attach(image, ".sig", layer(image));
    }
    let process = house.process(vec![comparing(&world)]);
    assert_eq!(process.decide(&index).await, "signature");
    for (child, by_own_tag) in [(&bare, "refused"), (&signed, "admitted")] {
        assert_eq!(process.decide(child).await, "endorsement");
        assert_eq!(by_tag(&process, child, "v1", 0).await, by_own_tag);
        assert_eq!(by_tag(&process, child, "v2", 0).await, "refused");
        // By its digest it stays what it is.
        assert!(decided(&process, child, 0).await.document().is_some());
    }
}
