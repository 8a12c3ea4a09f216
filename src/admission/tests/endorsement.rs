//! What an admitted index vouches for, and what no hint in the state can add to that.

use std::time::Duration;

use serde_json::json;

use super::house::{House, Settings, after, asked, subject};
use super::question::{World, now, signed_by};
use super::registry::{Pushed, Trouble};
use crate::admission::{Freshness, Outcome};
use crate::limits::Limits;
use crate::oci::media_type;
use crate::policy::{Mode, Policy};
use crate::state::{Batch, ManifestRow};
use crate::upstream::{self, Purpose};

fn enforcing(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

#[tokio::test]
async fn an_admitted_index_vouches_for_what_it_lists() {
    let (world, house) = (World::new(), House::new().await);
    let (child, stray) = (
        house.registry.push_image("a child"),
        house.registry.push_image("a stray"),
    );
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&child).await, "unsigned");
    assert_eq!(process.decide(&index).await, "signature");
    // The refusal from before does not outlast the want of a parent.
    assert_eq!(process.decide(&child).await, "endorsement");
    assert_eq!(process.last_record().endorsed_by, Some(index.digest));
    assert_eq!(process.decide(&stray).await, "unsigned");
}

#[tokio::test]
async fn type_and_size_must_be_what_the_index_says() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let right = child.descriptor();
    let mut other_type = right.clone();
    other_type["mediaType"] = json!(media_type::DOCKER_MANIFEST);
    let mut other_size = right.clone();
    other_size["size"] = json!(child.bytes.len() + 1);
    for (descriptor, answer) in [
        (other_type, "malformed"),
        (other_size, "malformed"),
        (right, "endorsement"),
    ] {
        let index = house.registry.push_index_of(&[descriptor]);
        house.registry.sign(&index, &world.key);
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide(&index).await, "signature");
        assert_eq!(process.decide(&child).await, answer);
    }
}

/// Under other tags another policy may demand less of the manifest.
#[tokio::test]
async fn a_refusal_for_another_size_in_the_index_depends_on_tags() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let mut other_size = child.descriptor();
    other_size["size"] = json!(child.bytes.len() + 1);
    let index = house.registry.push_index_of(&[other_size]);
    house.registry.sign(&index, &world.key);
    let broken = house
        .registry
        .push(media_type::OCI_INDEX, &json!({"manifests": "none"}));
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&index).await, "signature");
    for (manifest, depends_on_tags) in [(&child, true), (&broken, false)] {
        assert_eq!(process.decide(manifest).await, "malformed");
        let remembered = process
            .admission
            .remembered(&subject(&manifest.digest), now());
        let decision = remembered.unwrap();
        let Outcome::Deny(denial) = &decision.outcome else {
            panic!("{decision:?}");
        };
        assert_eq!(denial.depends_on_tags(), depends_on_tags, "{denial:?}");
    }
}

/// Some registries refuse what was deleted, and an unsigned child must not stay undecided for ever.
#[tokio::test]
async fn a_parent_that_stays_unreadable_leaves_the_child_decided() {
    let host = || "registry.example".to_owned();
    let denied = || upstream::Error::Denied {
        host: host(),
        status: 403,
    };
    let wrong_digest = || upstream::Error::WrongDigest { host: host() };
    let too_large = || upstream::Error::TooLarge {
        host: host(),
        limit_bytes: 4,
    };
    let unreachable = || upstream::Error::Failed {
        host: host(),
        reason: "no connection".to_owned(),
    };
    let week = i64::try_from(Freshness::default().stale_for.as_secs()).unwrap();
    for (error, seconds, answer) in [
        (denied(), 0, "unavailable"),
        (denied(), week - 1, "unavailable"),
        (denied(), week, "unsigned"),
        (wrong_digest(), week - 1, "unavailable"),
        (wrong_digest(), week, "unsigned"),
        (too_large(), 0, "unsigned"),
        (unreachable(), 2 * week, "unavailable"),
    ] {
        let (world, house) = (World::new(), House::new().await);
        let child = house.registry.push_image("a child");
        let index = house.registry.push_index(&[&child]);
        let row = ManifestRow {
            media_type: media_type::OCI_INDEX.to_owned(),
            confirmed_at: now(),
        };
        let batch = Batch {
            manifests: vec![(subject(&index.digest), row)],
            parents: vec![(subject(&index.digest), vec![child.digest])],
            ..Batch::default()
        };
        house.state.write(batch).await.unwrap();
        house.registry.fail_for(&index, error.clone());
        let process = house.process(enforcing(&world));
        let decided = process.decide_at(&child, after(now(), seconds)).await;
        assert_eq!(decided, answer, "{error} after {seconds} s");
    }
}

/// The index that was pulled last is asked first.
#[tokio::test]
async fn a_parent_that_lists_the_child_wrongly_hides_no_other() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let mut other_type = child.descriptor();
    other_type["mediaType"] = json!(media_type::DOCKER_MANIFEST);
    let mut other_size = child.descriptor();
    other_size["size"] = json!(child.bytes.len() + 1);
    let indexes = [child.descriptor(), other_type, other_size]
        .map(|descriptor| house.registry.push_index_of(&[descriptor]));
    for index in &indexes {
        house.registry.sign(index, &world.key);
    }
    let process = house.process(enforcing(&world));
    for index in &indexes {
        assert_eq!(process.decide(index).await, "signature");
    }
    assert_eq!(process.decide(&child).await, "endorsement");
    assert_eq!(process.last_record().endorsed_by, Some(indexes[0].digest));
    // The limit on parents bounds the search.
    let settings = Settings {
        limits: Limits {
            endorsement_parents_max: 2,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let process = house.process_with(enforcing(&world), settings);
    assert_eq!(process.decide(&child).await, "malformed");
}

#[tokio::test]
async fn hints_are_read_again_from_the_parent() {
    let (world, house) = (World::new(), House::new().await);
    let registry = &house.registry;
    let (evil, child) = (registry.push_image("evil"), registry.push_image("a child"));
    let index = registry.push_index(&[&child]);
    let image = registry.push_image("signed");
    for signed in [&index, &image] {
        registry.sign(signed, &world.key);
    }
    // An index that does not list it, an image, itself, and something that does not exist.
    let absent = crate::oci::Digest::sha256(b"nowhere");
    for parent in [&index.digest, &image.digest, &evil.digest, &absent] {
        house.hint(parent, &evil.digest).await;
    }
    let process = house.process(enforcing(&world));
    for signed in [&index, &image] {
        assert_eq!(process.decide(signed).await, "signature");
    }
    assert_eq!(process.decide(&evil).await, "unsigned");
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.decide(&evil).await, "unsigned");
}

#[tokio::test]
async fn hints_in_a_circle_end() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let listed = [child.descriptor()];
    let first = house.registry.push_index_of(&listed);
    let second = house
        .registry
        .push_index(&[&house.registry.push_image("another child")]);
    for (parent, of) in [(&first, &second), (&second, &first), (&first, &first)] {
        house.hint(&parent.digest, &of.digest).await;
    }
    let process = house.process(enforcing(&world));
    for index in [&first, &second] {
        let deciding = tokio::time::timeout(Duration::from_secs(5), process.decide(index));
        assert_eq!(deciding.await.unwrap(), "unsigned");
    }
}

#[tokio::test]
async fn depth_is_limited() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("the innermost");
    let mut chain: Vec<Pushed> = vec![image];
    for _ in 0..3 {
        let inner = chain.last().unwrap().clone();
        chain.push(house.registry.push_index(&[&inner]));
    }
    chain.reverse();
    house.registry.sign(&chain[0], &world.key);
    for (depth, answers) in [
        (0, ["signature", "unsigned", "unsigned", "unsigned"]),
        (1, ["signature", "endorsement", "unsigned", "unsigned"]),
        (2, ["signature", "endorsement", "endorsement", "unsigned"]),
        (
            3,
            ["signature", "endorsement", "endorsement", "endorsement"],
        ),
    ] {
        let settings = Settings {
            limits: Limits {
                endorsement_depth_max: depth,
                ..Limits::default()
            },
            ..Settings::default()
        };
        let process = house.process_with(enforcing(&world), settings);
        for (manifest, answer) in chain.iter().zip(answers) {
            assert_eq!(process.decide(manifest).await, answer, "depth {depth}");
        }
    }
}

#[tokio::test]
async fn as_many_parents_are_asked_as_the_limit_says() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let signed = house.registry.push_index(&[&child]);
    house.registry.sign(&signed, &world.key);
    house.hint(&signed.digest, &child.digest).await;
    let unsigned = house.registry.push_index(&[&child, &signed]);
    house.hint(&unsigned.digest, &child.digest).await;
    // One index beyond the limit may vouch for it, so that it is not known to be unsigned.
    for (parents, answer) in [
        (0, "limit_exceeded"),
        (1, "limit_exceeded"),
        (2, "endorsement"),
    ] {
        let settings = Settings {
            limits: Limits {
                endorsement_parents_max: parents,
                ..Limits::default()
            },
            ..Settings::default()
        };
        let process = house.process_with(enforcing(&world), settings);
        assert_eq!(process.decide(&child).await, answer);
    }
}

#[tokio::test]
async fn what_is_served_under_audit_vouches_for_nothing() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    let auditing = Policy {
        mode: Mode::Audit,
        ..signed_by(&[&world.authority], 1)
    };
    let process = house.process(vec![auditing]);
    assert_eq!(process.decide(&index).await, "audit");
    assert_eq!(process.decide(&child).await, "audit");
    assert_eq!(process.last_record().endorsed_by, None);
    let enforcing = house.process(enforcing(&world));
    assert_eq!(enforcing.decide(&child).await, "unsigned");
}

#[tokio::test]
async fn a_refused_index_vouches_for_nothing() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.other);
    house.hint(&index.digest, &child.digest).await;
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&index).await, "untrusted_key");
    assert_eq!(process.decide(&child).await, "unsigned");
}

#[tokio::test]
async fn signature_material_vouches_for_no_manifest() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    let signature = house.registry.sign(&image, &world.key);
    let index = house.registry.push_index(&[&signature]);
    let process = house.process(enforcing(&world));
    let material = asked(now());
    assert_eq!(
        process.decide_as(&index, &material).await,
        "signature_artifact"
    );
    // What the index lists is material by its own content, which can now not be seen.
    house
        .registry
        .fail_at(&[Purpose::Blob], Trouble::Unreachable);
    assert_eq!(process.decide(&signature).await, "unavailable");
    house.registry.recover();
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.decide(&signature).await, "signature_artifact");
}

#[tokio::test]
async fn it_ends_with_the_decision_about_the_index() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    let signature = super::forge::Signature {
        logged: Some((&world.log, after(now(), -3600))),
        ..super::forge::Signature::default()
    };
    let layer = signature.by(&world.key, &index.digest);
    house.registry.attach(&index, ".sig", layer);
    let policy = Policy {
        max_signature_age: Some(Duration::from_secs(2 * 3600)),
        ..signed_by(&[&world.authority], 1)
    };
    let process = house.process(vec![policy]);
    for (seconds, of_index, of_child) in [
        (0, "signature", "endorsement"),
        (3599, "signature", "endorsement"),
        (3600, "signature_too_old", "unsigned"),
    ] {
        let time = after(now(), seconds);
        assert_eq!(process.decide_at(&index, time).await, of_index);
        assert_eq!(process.decide_at(&child, time).await, of_child);
    }
}

#[tokio::test]
async fn the_childs_own_signature_serves_where_a_parent_cannot_be_decided_about() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    house.registry.sign(&child, &world.key);
    let absent = crate::oci::Digest::sha256(b"nowhere");
    house.hint(&absent, &child.digest).await;
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide(&child).await, "signature");
}

#[tokio::test]
async fn nothing_is_known_without_a_parent_that_cannot_be_read() {
    for (trouble, answer) in [
        (Some(Trouble::Unreachable), "unavailable"),
        (Some(Trouble::Refusing), "unavailable"),
        (Some(Trouble::Unusable), "unavailable"),
        (None, "unsigned"),
    ] {
        let (world, house) = (World::new(), House::new().await);
        let child = house.registry.push_image("a child");
        let index = house.registry.push_index(&[&child]);
        house.registry.sign(&index, &world.key);
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide(&child).await, "unsigned");
        assert_eq!(process.decide(&index).await, "signature");
        // The parent was evicted, and its upstream either gives no usable answer or says that it is gone.
        house.store.remove(&index.digest).await.unwrap();
        match trouble {
            None => house.registry.remove(&index),
            Some(trouble) => house.registry.fail_at(&[Purpose::Manifest], trouble),
        }
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide(&child).await, answer);
    }
}
