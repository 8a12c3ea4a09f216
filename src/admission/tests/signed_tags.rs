//! Policies that compare the tag asked for with the one that was signed.

use std::sync::Arc;

use super::forge::{Key, Layer, Signature};
use super::house::{House, Process, after, asked, subject};
use super::keys_and_roots::without_key;
use super::question::{Question, World, now, signature, signed_by, unsigned_tag, words};
use super::registry::{Pushed, Trouble};
use crate::admission::{Decision, UnsignedTag};
use crate::oci::Tag;
use crate::policy::scope::{ScopeCoverage, Scopes};
use crate::policy::signed_name::{NamedImage, Renaming};
use crate::policy::{Coverage, Mode, Policy, Requirement, SignedName, Tags};
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

/// A signature that was left out may name the tag.
#[test]
fn a_tag_that_no_read_signature_names_is_refused_as_a_limit_where_one_cut() {
    let world = World::new();
    let ask = |name: &str, is_limited: bool| {
        let name = format!("{NAME}:{name}");
        let candidates = vec![named(&name, &world.key, &world.digest).candidate()];
        let question = Question::new(vec![comparing(&world)], candidates);
        let question = match is_limited {
            true => question.limited(),
            false => question,
        };
        let subject = question.subject.clone();
        unsigned_tag(&question.ask(), &subject, &tag("v1"))
    };
    for (name, is_limited, kind) in [
        ("v1", false, None),
        ("v1", true, None),
        ("v2", false, Some("wrong_name")),
        ("v2", true, Some("limit_exceeded")),
    ] {
        assert_eq!(ask(name, is_limited).as_deref(), kind, "{name}");
    }
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

/// What begins like the mirror is signed as it is called by its publisher.
fn renamed(prefix: &str) -> SignedName {
    SignedName::Renamed(Renaming {
        prefix: prefix.to_owned(),
        signed_prefix: "publisher.example/web".to_owned(),
    })
}

#[test]
fn a_renamed_image_is_compared_under_its_other_name() {
    let world = World::new();
    let (satisfied, wrong) = ("satisfied", "wrong_name");
    for (prefix, name, expected) in [
        (
            "registry.example",
            "publisher.example/web/apps/web:v1",
            [satisfied; 2],
        ),
        (
            "registry.example/apps",
            "publisher.example/web/web:v1",
            [satisfied; 2],
        ),
        (NAME, "publisher.example/web:v1", [satisfied; 2]),
        (NAME, "publisher.example/web:v2", [satisfied, wrong]),
        (NAME, "publisher.example/web", [wrong; 2]),
        // Its own name is then that of another image.
        (NAME, "registry.example/apps/web:v1", [wrong; 2]),
        (
            "registry.example",
            "publisher.example/web/apps/other:v1",
            [wrong; 2],
        ),
        (
            "registry.example",
            "publisher.example/apps/web:v1",
            [wrong; 2],
        ),
        // What only looks like the beginning of the name renames nothing.
        (
            "registry.example/app",
            "registry.example/apps/web:v1",
            [satisfied; 2],
        ),
        (
            "registry.example/app",
            "publisher.example/webs/web:v1",
            [wrong; 2],
        ),
        (
            "registry.example/apps/web/sub",
            "registry.example/apps/web:v1",
            [satisfied; 2],
        ),
        (
            "registry.example:80",
            "registry.example/apps/web:v1",
            [satisfied; 2],
        ),
    ] {
        let policy = Policy {
            signed_name: renamed(prefix),
            ..comparing(&world)
        };
        let found = answers(&policy, &[(name, &world.key)], &world);
        assert_eq!(found, expected, "{prefix} {name}");
    }
    // No image is called as this one would be.
    let policy = Policy {
        signed_name: SignedName::Renamed(Renaming {
            prefix: NAME.to_owned(),
            signed_prefix: "publisher.example".to_owned(),
        }),
        ..comparing(&world)
    };
    for name in [
        "publisher.example:v1",
        "docker.io/library/publisher.example:v1",
        "x",
    ] {
        assert_eq!(answers(&policy, &[(name, &world.key)], &world), [wrong; 2]);
    }
}

#[test]
fn a_renamed_image_is_to_be_signed_under_its_other_name() {
    let world = World::new();
    let policy = Policy {
        signed_name: renamed(NAME),
        ..comparing(&world)
    };
    let candidate = named("publisher.example/web:v2", &world.key, &world.digest).candidate();
    let question = Question::new(vec![policy], vec![candidate]);
    let subject = question.subject.clone();
    let evaluation = question.ask();
    let unsigned = evaluation.signed_tags[0].unsigned(&subject, &tag("v1"));
    let Some(UnsignedTag::Refused(denial)) = unsigned else {
        panic!("{unsigned:?}");
    };
    let message = &denial.message;
    assert!(
        message.contains("sign it as publisher.example/web:v1,"),
        "{message}"
    );
}

#[test]
fn another_name_is_that_of_no_other_image() {
    let world = World::new();
    let other = "publisher.example/web";
    let reference = |tag: &str| {
        SignedName::OtherReference(NamedImage {
            repository: other.parse().unwrap(),
            tag: Some(tag.parse().unwrap()),
            digest: None,
        })
    };
    let repository = || SignedName::OtherRepository(other.parse().unwrap());
    for (signed_name, name, expected) in [
        (repository(), "publisher.example/web", "satisfied"),
        (repository(), "publisher.example/web:v7", "satisfied"),
        (repository(), "publisher.example/webs:v7", "wrong_name"),
        (repository(), "registry.example/apps/web:v1", "wrong_name"),
        (repository(), "", "wrong_name"),
        (reference("v7"), "publisher.example/web:v7", "satisfied"),
        (reference("v7"), "publisher.example/web:v1", "wrong_name"),
        (reference("v7"), "publisher.example/web", "wrong_name"),
        (
            reference("v7"),
            "registry.example/apps/web:v7",
            "wrong_name",
        ),
        (reference("v7"), "", "wrong_name"),
    ] {
        let policy = Policy {
            signed_name,
            ..comparing(&world)
        };
        // By whichever tag it is asked for.
        let found = answers(&policy, &[(name, &world.key)], &world);
        assert_eq!(found, [expected; 2], "{:?} {name}", policy.signed_name);
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
fn a_policy_after_one_that_compares_tags_sees_every_signature() {
    let world = World::new();
    let (v1, v2) = (format!("{NAME}:v1"), format!("{NAME}:v2"));
    let signatures = [(&v2, &world.key), (&v1, &world.other)];
    let candidates = signatures.map(|(name, key)| named(name, key, &world.digest).candidate());
    let by_other = Policy {
        name: "others".to_owned(),
        ..signed_by(&[&world.other_authority], 1)
    };
    let policies = vec![comparing(&world), by_other];
    let question = Question::new(policies, candidates.to_vec());
    assert_eq!(question.answer(), "satisfied");
}

#[test]
fn only_enforcing_policies_that_compare_tags_refuse_one() {
    let world = World::new();
    let v2 = format!("{NAME}:v2");
    let signatures = [(v2.as_str(), &world.key)];
    for (signed_name, mode, by_tag) in [
        (SignedName::RepositoryAndTag, Mode::Enforce, "wrong_name"),
        (SignedName::RepositoryAndTag, Mode::Audit, "satisfied"),
        (renamed("registry.invalid"), Mode::Enforce, "wrong_name"),
        (renamed("registry.invalid"), Mode::Audit, "satisfied"),
        (SignedName::Repository, Mode::Enforce, "satisfied"),
        (
            SignedName::OtherRepository(NAME.parse().unwrap()),
            Mode::Enforce,
            "satisfied",
        ),
        (SignedName::Any, Mode::Enforce, "satisfied"),
    ] {
        let policy = Policy {
            signed_name,
            mode,
            ..comparing(&world)
        };
        let found = answers(&policy, &signatures, &world);
        assert_eq!(found, ["satisfied", by_tag], "{policy:?}");
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

#[test]
fn what_was_stored_does_not_show_that_a_tag_was_not_signed() {
    let world = World::new();
    let candidate = named(&format!("{NAME}:v2"), &world.key, &world.digest).candidate();
    let mut question = Question::new(vec![comparing(&world)], vec![candidate]);
    question.stale = true;
    let subject = question.subject.clone();
    let evaluation = question.ask();
    let unsigned = |text| unsigned_tag(&evaluation, &subject, &tag(text));
    assert_eq!(unsigned("v1").as_deref(), Some("undecided"));
    assert_eq!(unsigned("v2"), None);
}

/// What becomes of some of the tags that `signers` gave the image, the newest first.
fn tags_of(world: &World, signers: &[(usize, &Key)], asked: &[&str]) -> Vec<Option<String>> {
    let mut count = 0;
    let mut candidates = Vec::new();
    for (times, key) in signers {
        for _ in 0..*times {
            count += 1;
            candidates.push(named(&format!("{NAME}:v{count}"), key, &world.digest).candidate());
        }
    }
    let question = Question::new(vec![comparing(world)], candidates);
    let subject = question.subject.clone();
    let evaluation = question.ask();
    assert_eq!(words(&evaluation), "satisfied");
    assert!(evaluation.attempts.len() <= 100, "each is reported once");
    let asked = asked.iter();
    asked
        .map(|text| unsigned_tag(&evaluation, &subject, &tag(text)))
        .collect()
}

#[test]
fn as_many_tags_as_were_signed_are_admitted() {
    let world = World::new();
    let found = tags_of(
        &world,
        &[(300, &world.key)],
        &["v1", "v150", "v300", "v301"],
    );
    assert_eq!(found, [None, None, None, Some("wrong_name".to_owned())]);
}

#[test]
fn older_signatures_that_do_not_count_hide_no_newer_one() {
    let world = World::new();
    let stranger = Key::generate();
    let signers = [(2, &world.key), (900, &stranger), (1, &world.key)];
    let found = tags_of(&world, &signers, &["v1", "v2", "v3", "v903", "v904"]);
    let [cut, wrong] = ["limit_exceeded", "wrong_name"].map(|kind| Some(kind.to_owned()));
    assert_eq!(found, [None, None, wrong.clone(), cut, wrong]);
}

#[test]
fn a_policy_that_does_not_decide_about_a_tag_does_not_compare_it() {
    let world = World::new();
    let scopes: Scopes = Arc::new([NAME.to_owned(), format!("{NAME}:v1")].into());
    let policies = [NAME.to_owned(), format!("{NAME}:v1")].map(|scope| Policy {
        coverage: Coverage::Imported(Arc::new(ScopeCoverage::scope(&scope, scopes.clone()))),
        signed_name: if scope == NAME {
            SignedName::RepositoryAndTag
        } else {
            SignedName::Repository
        },
        ..comparing(&world)
    });
    let candidate = named(&format!("{NAME}:v2"), &world.key, &world.digest).candidate();
    let mut question = Question::new(policies.to_vec(), vec![candidate]);
    question.tags = Tags::new(["v1", "v2", "v3"].map(str::to_owned));
    let subject = question.subject.clone();
    let evaluation = question.ask();
    assert_eq!(words(&evaluation), "satisfied");
    let unsigned = |text| unsigned_tag(&evaluation, &subject, &tag(text));
    // Only the policy for the one tag decides about it, as for containers.
    assert_eq!(unsigned("v1"), None);
    assert_eq!(unsigned("v2"), None);
    assert_eq!(unsigned("v3").as_deref(), Some("wrong_name"));
}

#[test]
fn who_cannot_be_told_to_have_signed_the_tag_may_have() {
    let world = World::new();
    let (v1, v2) = (format!("{NAME}:v1"), format!("{NAME}:v2"));
    let policy = Policy {
        requirement: signed_by(&[&world.authority, &without_key(&world)], 1).requirement,
        ..comparing(&world)
    };
    let signatures = [(v2.as_str(), &world.key), (&v1, &world.other)];
    let found = answers(&policy, &signatures, &world);
    assert_eq!(found, ["satisfied", "undecided"]);
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
            match process.admission.decide_anew(decision, &asked).await {
                Ok(decision) => decision,
                Err(_undecided) => return "undecided",
            }
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
    // What was found serves whoever asks next.
    assert_eq!(by_tag(&process, &image, "v2", 31).await, "admitted");
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
async fn nobody_is_asked_again_for_a_tag_within_the_while() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let layer = named(&format!("{NAME}:v1"), &world.key, &image.digest);
    house.registry.attach(&image, ".sig", layer);
    let process = house.process(vec![comparing(&world)]);
    decided(&process, &image, 0).await;
    assert!(house.registry.was_asked_for_signatures());
    // What cannot be found replaces nothing, but it was looked for.
    house
        .registry
        .fail_at(&[Purpose::CosignTag], Trouble::Refusing);
    for (seconds, is_asked) in [(29, false), (30, true), (59, false), (60, true)] {
        let answer = if is_asked { "undecided" } else { "refused" };
        assert_eq!(by_tag(&process, &image, "v2", seconds).await, answer);
        assert_eq!(
            house.registry.was_asked_for_signatures(),
            is_asked,
            "{seconds}"
        );
    }
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
