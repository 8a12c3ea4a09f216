//! What a person lets through for a while, and what nobody lets through.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::house::{House, Process, Settings, after, subject};
use super::keys_and_roots::without_key;
use super::question::{Question, World, now, signed_by};
use super::registry::Pushed;
use crate::admission::evaluate::Finding;
use crate::decision_log::Mode as Recorded;
use crate::limits::Limits;
use crate::oci::Digest;
use crate::policy::exception::Scope;
use crate::policy::{Authority, AuthoritySigner, Exception, KeySet, Mode, Policy, Revoked, Root};

fn exception(scope: Scope, seconds: i64) -> Exception {
    Exception {
        scope,
        reason: "the pipeline moves".to_owned(),
        by: "somebody@example.com".to_owned(),
        until: after(now(), seconds),
    }
}

fn of_images(pattern: &str) -> Scope {
    Scope::Images(vec![pattern.parse().unwrap()])
}

fn of_digest(pushed: &Pushed) -> Scope {
    Scope::Digests(HashSet::from([pushed.digest]))
}

fn enforcing(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

fn excepting<'h>(house: &'h House, world: &World, exceptions: Vec<Exception>) -> Process<'h> {
    let settings = Settings {
        exceptions,
        ..Settings::default()
    };
    house.process_with(enforcing(world), settings)
}

#[tokio::test]
async fn an_exception_serves_with_a_warning_and_ends_by_itself() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("unsigned");
    let process = excepting(
        &house,
        &world,
        vec![exception(of_images("registry.example/apps/*"), 10)],
    );
    assert_eq!(process.decide(&image).await, "audit");
    let record = process.last_record();
    assert_eq!(record.mode, Recorded::Audit);
    let denial = record.denial.unwrap();
    assert_eq!(denial.kind, "unsigned");
    for part in [
        "somebody@example.com",
        "the pipeline moves",
        "2026-11-24T00:00:10Z",
    ] {
        assert!(denial.message.contains(part), "{}", denial.message);
    }
    let subject = subject(&image.digest);
    let remembered = |seconds| {
        process
            .admission
            .remembered(&subject, after(now(), seconds))
    };
    assert!(remembered(9).is_some_and(|decision| decision.warning().is_some()));
    assert!(remembered(10).is_none());
    assert_eq!(
        process.decide_at(&image, after(now(), 10)).await,
        "unsigned"
    );
}

#[tokio::test]
async fn it_is_about_what_it_says_and_nothing_else() {
    let (world, house) = (World::new(), House::new().await);
    let (image, other) = (
        house.registry.push_image("a"),
        house.registry.push_image("b"),
    );
    let of_other_name = exception(of_images("registry.example/other/*"), 1000);
    let process = excepting(&house, &world, vec![of_other_name]);
    assert_eq!(process.decide(&image).await, "unsigned");
    let process = excepting(&house, &world, vec![exception(of_digest(&image), 1000)]);
    assert_eq!(process.decide(&image).await, "audit");
    assert_eq!(process.decide(&other).await, "unsigned");
}

#[tokio::test]
async fn what_is_signed_is_admitted_as_such() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = excepting(&house, &world, vec![exception(of_digest(&image), 1000)]);
    assert_eq!(process.decide(&image).await, "signature");
    assert!(process.last_record().denial.is_none());
}

#[tokio::test]
async fn two_exceptions_are_not_put_together() {
    let (world, house) = (World::new(), House::new().await);
    let (image, other) = (
        house.registry.push_image("a"),
        house.registry.push_image("b"),
    );
    // One is wide and over, one is narrow and long, one is about another image.
    let exceptions = vec![
        exception(of_images("registry.example/**"), 0),
        exception(of_digest(&other), 1000),
        exception(of_digest(&image), 10),
    ];
    let process = excepting(&house, &world, exceptions);
    assert_eq!(process.decide(&image).await, "audit");
    assert_eq!(
        process.decide_at(&image, after(now(), 10)).await,
        "unsigned"
    );
    assert_eq!(process.decide_at(&other, after(now(), 10)).await, "audit");
}

#[tokio::test]
async fn an_excepted_index_lets_through_what_it_lists_and_no_longer() {
    let (world, house) = (World::new(), House::new().await);
    let (child, stray) = (
        house.registry.push_image("a child"),
        house.registry.push_image("a stray"),
    );
    let index = house.registry.push_index(&[&child]);
    let process = excepting(&house, &world, vec![exception(of_digest(&index), 10)]);
    assert_eq!(process.decide(&child).await, "unsigned");
    assert_eq!(process.decide(&index).await, "audit");
    assert_eq!(process.decide(&child).await, "audit");
    assert_eq!(process.last_record().endorsed_by, Some(index.digest));
    assert_eq!(process.decide(&stray).await, "unsigned");
    let child_subject = subject(&child.digest);
    let remembered = process
        .admission
        .remembered(&child_subject, after(now(), 10));
    assert!(remembered.is_none());
    assert_eq!(
        process.decide_at(&child, after(now(), 10)).await,
        "unsigned"
    );
    // Without the exception the index endorses nothing, whatever was served by it.
    process.reconfigure(enforcing(&world), Revoked::default());
    assert_eq!(process.decide(&child).await, "unsigned");
}

#[tokio::test]
async fn an_index_that_is_not_excepted_stands_in_nobodys_way() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    let other = house
        .registry
        .push_index(&[&child, &house.registry.push_image("another child")]);
    // Whichever of them is asked first.
    for order in [[&index, &other], [&other, &index]] {
        let process = excepting(&house, &world, vec![exception(of_digest(&index), 10)]);
        for parent in order {
            house.hint(&parent.digest, &child.digest).await;
        }
        assert_eq!(process.decide(&child).await, "audit");
        assert_eq!(process.last_record().endorsed_by, Some(index.digest));
    }
}

#[tokio::test]
async fn an_exception_reaches_no_deeper_than_a_signature() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("the innermost");
    let inner = house.registry.push_index(&[&image]);
    let outer = house.registry.push_index(&[&inner]);
    for (depth, answers) in [
        (0, ["audit", "unsigned", "unsigned"]),
        (1, ["audit", "audit", "unsigned"]),
        (2, ["audit", "audit", "audit"]),
    ] {
        let settings = Settings {
            exceptions: vec![exception(of_digest(&outer), 10)],
            limits: Limits {
                endorsement_depth_max: depth,
                ..Limits::default()
            },
            ..Settings::default()
        };
        let process = house.process_with(enforcing(&world), settings);
        for (manifest, answer) in [&outer, &inner, &image].into_iter().zip(answers) {
            assert_eq!(process.decide(manifest).await, answer, "depth {depth}");
        }
    }
}

#[tokio::test]
async fn type_and_size_must_be_what_the_excepted_index_says() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let mut wrong = child.descriptor();
    wrong["size"] = serde_json::json!(child.bytes.len() + 1);
    let index = house.registry.push_index_of(&[wrong]);
    let process = excepting(&house, &world, vec![exception(of_digest(&index), 10)]);
    assert_eq!(process.decide(&index).await, "audit");
    assert_eq!(process.decide(&child).await, "unsigned");
}

#[tokio::test]
async fn nobody_waives_what_is_revoked_or_covered_by_no_policy() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let everything = || vec![exception(of_images("registry.example/**"), 1000)];
    let key = world.key.public().fingerprint;
    for revoked in [
        Revoked {
            digests: HashSet::from([image.digest]),
            ..Revoked::default()
        },
        Revoked {
            keys: HashSet::from([key]),
            ..Revoked::default()
        },
    ] {
        let settings = Settings {
            exceptions: everything(),
            revoked,
            ..Settings::default()
        };
        let process = house.process_with(enforcing(&world), settings);
        assert_eq!(process.decide(&image).await, "revoked");
    }
    let settings = Settings {
        exceptions: everything(),
        ..Settings::default()
    };
    let process = house.process_with(Vec::new(), settings);
    assert_eq!(process.decide(&image).await, "no_policy");
}

#[test]
fn one_policy_that_nobody_waives_is_enough() {
    let world = World::new();
    let by_other = |mode| Policy {
        name: "other".to_owned(),
        mode,
        ..signed_by(&[&world.other_authority], 1)
    };
    let revoked = || Revoked {
        keys: HashSet::from([world.key.public().fingerprint]),
        ..Revoked::default()
    };
    let question = |revoked| {
        let policies = vec![by_other(Mode::Enforce), enforcing(&world).remove(0)];
        Question::new(policies, vec![world.signature()]).revoking(revoked)
    };
    assert!(question(Revoked::default()).ask().waivable);
    assert!(!question(revoked()).ask().waivable);
    // What an auditing policy does not know yet is no reason, unless what is known so far is revoked.
    let undecided = |revoked| {
        let authorities = [&world.authority, &without_key(&world)];
        let auditing = Policy {
            mode: Mode::Audit,
            ..signed_by(&authorities, 2)
        };
        let policies = vec![by_other(Mode::Enforce), auditing];
        Question::new(policies, vec![world.signature()]).revoking(revoked)
    };
    assert!(undecided(Revoked::default()).ask().waivable);
    assert!(!undecided(revoked()).ask().waivable);
    let limited = question(Revoked::default()).limited().ask();
    assert!(!limited.waivable);
}

/// A key that is not to be had may be one that is revoked.
#[test]
fn an_exception_does_not_answer_what_cannot_be_decided() {
    let world = World::new();
    let without_root = |mode| {
        let unusable = Authority {
            trusted_root: Root::Unusable {
                reason: "refreshed 40 days ago".to_owned(),
            },
            signed_timestamp: true,
            ..world.authority.as_ref().clone()
        };
        Policy {
            name: "undecided".to_owned(),
            mode,
            ..signed_by(&[&Arc::new(unusable)], 1)
        }
    };
    for (mode, waivable) in [(Mode::Enforce, false), (Mode::Audit, true)] {
        let refusing = signed_by(&[&world.other_authority], 1);
        let policies = vec![refusing, without_root(mode)];
        let evaluation = Question::new(policies, vec![world.signature()]).ask();
        assert!(matches!(evaluation.finding, Finding::Refused(_)));
        assert_eq!(evaluation.waivable, waivable);
    }
}

/// A key may get a newer version while it is asked about, and the whole configuration another one: the exception that
/// was there before must not be joined to what is in force since.
#[tokio::test]
async fn an_exception_that_is_taken_back_while_keys_are_asked_for_is_over() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("signed by a stranger");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&child, &world.other);
    let rotating = Arc::new(Authority {
        signer: AuthoritySigner::Key {
            reference: "kms://key".to_owned(),
            keys: Arc::new(KeySet::of(world.key.public())),
        },
        ..world.authority.as_ref().clone()
    });
    let policies = || vec![signed_by(&[&rotating], 1)];
    let settings = Settings {
        exceptions: vec![exception(of_digest(&index), 1000)],
        ..Settings::default()
    };
    let process = house.process_with(policies(), settings);
    assert_eq!(process.decide(&index).await, "audit");
    house.registry.was_asked_for_signatures();
    let taking_back = async {
        while !house.registry.was_asked_for_signatures() {
            tokio::task::yield_now().await;
        }
        process.reconfigure(policies(), Revoked::default());
    };
    let (decided, ()) = tokio::join!(process.decide(&child), taking_back);
    assert_eq!(decided, "untrusted_key");
}

#[test]
fn exceptions_are_part_of_the_hash() {
    let limits = Limits::default();
    let hash = |exceptions: Vec<Exception>| -> Digest {
        let policies = super::house::in_force(Vec::new(), None, Revoked::default(), &limits);
        let exceptions = exceptions.into_iter().map(Arc::new).collect();
        policies.excepting(exceptions).hash
    };
    let one = || exception(of_images("registry.example/apps/*"), 10);
    let later = Exception {
        until: Timestamp::MAX,
        ..one()
    };
    let by_another = Exception {
        by: "another".to_owned(),
        ..one()
    };
    let wider = exception(of_images("registry.example/**"), 10);
    let hashes: HashSet<_> = [
        vec![],
        vec![one()],
        vec![later],
        vec![by_another],
        vec![wider],
    ]
    .into_iter()
    .map(hash)
    .collect();
    assert_eq!(hashes.len(), 5);
}
