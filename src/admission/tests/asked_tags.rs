//! Policies about tags cover a digest by the tags it was asked for through.

use std::sync::Arc;

use serde_json::{Value, json};

use super::house::{House, Process, after, asked, subject};
use super::question::{World, now, signed_by};
use super::registry::Pushed;
use crate::admission::Asked;
use crate::oci::{Manifest, RepositoryName, Tag};
use crate::policy::kyverno::ImageCoverage;
use crate::policy::{Coverage, Doubt, ImportedCoverage, Mode, Policy, Revoked, Tags};
use crate::state::{ASKED_TAGS_MAX, Batch};

/// Covers what was asked for through a tag with this prefix.
#[derive(Debug)]
struct Prefixed(&'static str);

impl ImportedCoverage for Prefixed {
    fn covers(&self, _repository: &RepositoryName, tags: &Tags) -> bool {
        let known = tags.known();
        known.is_empty() || known.iter().any(|tag| tag.starts_with(self.0))
    }

    fn matches(&self, _reference: &str) -> bool {
        false
    }

    fn is_about_tags(&self) -> bool {
        true
    }

    fn describe(&self) -> Value {
        json!({ "prefix": self.0 })
    }

    fn patterns(&self) -> Vec<String> {
        vec![format!("**:{}*", self.0)]
    }
}

/// Everything is to be signed by the first key, and what is asked for through `prod-…` by the second as well.
fn policies(world: &World) -> Vec<Policy> {
    let of_production = Policy {
        name: "production".to_owned(),
        coverage: Coverage::Imported(Arc::new(Prefixed("prod-"))),
        ..signed_by(&[&world.other_authority], 1)
    };
    vec![signed_by(&[&world.authority], 1), of_production]
}

fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

async fn ask_through(process: &Process<'_>, pushed: &Pushed, name: &str) {
    let (subject, tag) = (subject(&pushed.digest), tag(name));
    let admission = &process.admission;
    admission.asked_through(&subject, &tag).await.unwrap();
    assert!(admission.knows_tag(&subject, &tag));
}

async fn admit_through_dev(process: &Process<'_>, index: &Pushed) {
    ask_through(process, index, "dev-1").await;
    assert_eq!(process.decide(index).await, "signature");
}

async fn signed(house: &House, world: &World) -> (Pushed, Pushed) {
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    (index, child)
}

#[tokio::test]
async fn without_a_known_tag_every_policy_for_the_repository_covers() {
    let (world, house) = (World::new(), House::new().await);
    let (index, _) = signed(&house, &world).await;
    let process = house.process(policies(&world));
    assert_eq!(process.decide(&index).await, "untrusted_key");
    admit_through_dev(&process, &index).await;
    let subject = subject(&index.digest);
    assert!(process.admission.remembered(&subject, now()).is_some());
}

#[tokio::test]
async fn another_tag_decides_again_about_everything_below() {
    let (world, house) = (World::new(), House::new().await);
    let (index, child) = signed(&house, &world).await;
    let process = house.process(policies(&world));
    admit_through_dev(&process, &index).await;
    assert_eq!(process.decide(&child).await, "endorsement");
    let manifest = Manifest::parse(&child.bytes, child.media_type).unwrap();
    let blob = manifest.blobs().next().unwrap().digest;
    let granted = process.grant(&blob, now()).await.unwrap().unwrap();
    let still_grants = || process.admission.still_grants(&granted, &subject(&blob));
    assert!(still_grants());
    // A tag that adds no policy changes nothing but the memory.
    ask_through(&process, &index, "dev-2").await;
    assert_eq!(process.decide(&child).await, "endorsement");
    assert!(!still_grants(), "what it was made by is another one now");
    ask_through(&process, &index, "prod-1").await;
    let remembered = |pushed: &Pushed| {
        let subject = subject(&pushed.digest);
        process.admission.remembered(&subject, now())
    };
    assert!(remembered(&index).is_none() && remembered(&child).is_none());
    let of_blob = process.admission.remembered_blob(&subject(&blob), now());
    assert!(of_blob.is_none());
    assert_eq!(process.decide(&child).await, "unsigned");
    assert_eq!(process.grants(&blob).await, "not_endorsed");
    assert_eq!(process.decide(&index).await, "untrusted_key");
    // Whoever asks through the other tag again takes nothing away.
    ask_through(&process, &index, "dev-1").await;
    assert_eq!(process.decide(&index).await, "untrusted_key");
}

/// What an index vouches for was judged by the policies about the index's tags, and by no others.
#[tokio::test]
async fn a_child_with_a_tag_of_its_own_needs_what_that_tag_demands() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let inner = house.registry.push_index(&[&child]);
    let index = house.registry.push_index(&[&inner]);
    house.registry.sign(&index, &world.key);
    let process = house.process(policies(&world));
    ask_through(&process, &index, "dev-1").await;
    for (pushed, basis) in [
        (&index, "signature"),
        (&inner, "endorsement"),
        (&child, "endorsement"),
    ] {
        assert_eq!(process.decide(pushed).await, basis);
    }
    ask_through(&process, &child, "dev-1-amd64").await;
    assert_eq!(process.decide(&child).await, "endorsement");
    // The index in between has no tags, so that every policy covers it, and none has judged it.
    ask_through(&process, &child, "prod-1").await;
    assert_eq!(process.decide(&child).await, "unsigned");
}

/// It is known by the tag that it is asked for through now, before anything took note of that.
#[tokio::test]
async fn the_tag_that_a_child_is_asked_for_through_counts_at_once() {
    let (world, house) = (World::new(), House::new().await);
    let (index, child) = signed(&house, &world).await;
    for (reference, answer) in [
        ("dev-1-amd64", "endorsement"),
        ("prod-1", "unsigned"),
        (&*child.digest.to_string(), "endorsement"),
    ] {
        let process = house.process(policies(&world));
        admit_through_dev(&process, &index).await;
        let asked = Asked {
            reference: reference.to_owned(),
            ..asked(now())
        };
        assert_eq!(
            process.decide_as(&child, &asked).await,
            answer,
            "{reference}"
        );
    }
}

/// What this process has seen itself counts whatever becomes of the database.
#[tokio::test]
async fn tags_of_a_child_that_are_gone_from_the_state_count() {
    let (world, house) = (World::new(), House::new().await);
    let (index, child) = signed(&house, &world).await;
    let process = house.process(policies(&world));
    admit_through_dev(&process, &index).await;
    ask_through(&process, &child, "prod-1").await;
    let path = house.directory.path().join(crate::state::FILE);
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch("DELETE FROM asked_tags").unwrap();
    assert_eq!(process.decide(&child).await, "unsigned");
}

#[tokio::test]
async fn another_tag_decides_again_by_what_was_found() {
    let (world, house) = (World::new(), House::new().await);
    let (index, _) = signed(&house, &world).await;
    let process = house.process(policies(&world));
    admit_through_dev(&process, &index).await;
    assert!(house.registry.was_asked_for_signatures());
    ask_through(&process, &index, "dev-2").await;
    let later = after(now(), 3600);
    assert_eq!(process.decide_at(&index, later).await, "signature");
    assert!(!house.registry.was_asked_for_signatures());
}

/// Whoever may push tags could else lift what one of them demands by pushing more.
#[tokio::test]
async fn too_many_tags_of_a_child_are_those_of_every_policy() {
    let (world, house) = (World::new(), House::new().await);
    let (index, child) = signed(&house, &world).await;
    let process = house.process(policies(&world));
    admit_through_dev(&process, &index).await;
    ask_through(&process, &child, "prod-1").await;
    assert_eq!(process.decide(&child).await, "unsigned");
    for number in 1..=ASKED_TAGS_MAX {
        ask_through(&process, &child, &format!("dev-{number}")).await;
    }
    assert_eq!(process.decide(&child).await, "unsigned");
    // And by the word of the state alone, as after a restart.
    for child_tags in ["prod-2", "dev-2"] {
        let (index, child) = (house.registry.push_image(child_tags), &child);
        let index_of = house.registry.push_index(&[&index, child]);
        house.registry.sign(&index_of, &world.key);
        let first = house.process(policies(&world));
        ask_through(&first, &index, child_tags).await;
        let second = house.process(policies(&world));
        ask_through(&second, &index_of, "dev-1").await;
        assert_eq!(second.decide(&index_of).await, "signature");
        let expected = if child_tags == "dev-2" {
            "endorsement"
        } else {
            "unsigned"
        };
        assert_eq!(second.decide(&index).await, expected);
    }
}

#[tokio::test]
async fn tags_that_only_the_state_has_add_policies_and_take_none_away() {
    let (world, house) = (World::new(), House::new().await);
    let (index, _) = signed(&house, &world).await;
    let first = house.process(policies(&world));
    ask_through(&first, &index, "dev-1").await;
    assert_eq!(first.decide(&index).await, "signature");
    // By the word of the state alone, the other policy would not cover it.
    let second = house.process(policies(&world));
    assert_eq!(second.decide(&index).await, "untrusted_key");
    ask_through(&second, &index, "dev-1").await;
    assert_eq!(second.decide(&index).await, "signature");
    ask_through(&second, &index, "prod-1").await;
    let third = house.process(policies(&world));
    ask_through(&third, &index, "dev-1").await;
    assert_eq!(third.decide(&index).await, "untrusted_key");
}

#[tokio::test]
async fn too_many_tags_are_as_good_as_none() {
    let (world, house) = (World::new(), House::new().await);
    let (index, _) = signed(&house, &world).await;
    let process = house.process(policies(&world));
    for number in 1..=ASKED_TAGS_MAX {
        ask_through(&process, &index, &format!("dev-{number}")).await;
    }
    assert_eq!(process.decide(&index).await, "signature");
    for number in 1..=3 {
        ask_through(&process, &index, &format!("dev-more-{number}")).await;
        assert_eq!(process.decide(&index).await, "untrusted_key");
    }
    // What is kept is bounded, in memory and in the state, and says so.
    let another = tag("dev-more-4");
    let admission = &process.admission;
    assert!(admission.knows_tag(&subject(&index.digest), &another));
    let kept = house.state.asked_tags(&subject(&index.digest)).await;
    assert_eq!(kept.unwrap(), None);
}

#[tokio::test]
async fn tags_cost_nothing_while_no_policy_is_about_them() {
    let (world, house) = (World::new(), House::new().await);
    let (index, _) = signed(&house, &world).await;
    let process = house.process(vec![signed_by(&[&world.authority], 1)]);
    assert_eq!(process.decide(&index).await, "signature");
    ask_through(&process, &index, "prod-1").await;
    let subject = subject(&index.digest);
    assert!(process.admission.remembered(&subject, now()).is_some());
    let kept = house.state.asked_tags(&subject).await.unwrap();
    assert_eq!(kept, Some(Vec::new()));
    // What was decided then does not count once there is one.
    process.reconfigure(policies(&world), Revoked::default());
    assert_eq!(process.decide(&index).await, "untrusted_key");
}

#[tokio::test]
async fn tags_in_the_state_are_told_apart_by_subject() {
    let house = House::new().await;
    let (one, other) = (
        house.registry.push_image("1"),
        house.registry.push_image("2"),
    );
    let batch = Batch {
        asked_tags: vec![
            (subject(&one.digest), tag("v1")),
            (subject(&one.digest), tag("v1")),
            (subject(&other.digest), tag("v2")),
        ],
        ..Batch::default()
    };
    house.state.write(batch).await.unwrap();
    let kept = house.state.asked_tags(&subject(&one.digest)).await.unwrap();
    assert_eq!(kept, Some(vec!["v1".to_owned()]));
}

/// Everything is to be signed by the first key, and by the second as well, but for what is asked for through `dev-…`.
fn skipping_policies(world: &World) -> Vec<Policy> {
    let all = ImageCoverage::new(
        vec!["*".to_owned()],
        vec!["*:dev-*".to_owned()],
        Doubt::Covers,
    );
    let of_others = Policy {
        name: "others".to_owned(),
        coverage: Coverage::Imported(Arc::new(all)),
        ..signed_by(&[&world.other_authority], 1)
    };
    vec![signed_by(&[&world.authority], 1), of_others]
}

#[tokio::test]
async fn a_digest_is_skipped_while_it_was_only_asked_for_through_skipped_tags() {
    let (world, house) = (World::new(), House::new().await);
    let (index, _) = signed(&house, &world).await;
    let process = house.process(skipping_policies(&world));
    assert_eq!(process.decide(&index).await, "untrusted_key");
    // Whoever asks through a skipped tag asks for its digest next.
    admit_through_dev(&process, &index).await;
    ask_through(&process, &index, "dev-2").await;
    assert_eq!(process.decide(&index).await, "signature");
    ask_through(&process, &index, "v1").await;
    assert_eq!(process.decide(&index).await, "untrusted_key");
    ask_through(&process, &index, "dev-3").await;
    assert_eq!(process.decide(&index).await, "untrusted_key");
}

#[tokio::test]
async fn what_is_certain_through_a_tag_only_may_be_asked_for() {
    let (world, house) = (World::new(), House::new().await);
    let unsigned = house.registry.push_image("unsigned");
    let through_dev = ImageCoverage::new(
        vec!["*/web:dev-*".to_owned()],
        Vec::new(),
        Doubt::DoesNotCover,
    );
    let policy = Policy {
        mode: Mode::Audit,
        coverage: Coverage::Imported(Arc::new(through_dev)),
        ..signed_by(&[&world.authority], 1)
    };
    let process = house.process(vec![policy]);
    let subject = subject(&unsigned.digest);
    assert!(process.admission.covers(&subject.repository).is_ok());
    let other = "ghcr.io/org/other".parse().unwrap();
    assert!(process.admission.covers(&other).is_err());
    assert_eq!(process.decide(&unsigned).await, "no_policy");
    ask_through(&process, &unsigned, "dev-1").await;
    assert_eq!(process.decide(&unsigned).await, "audit");
    ask_through(&process, &unsigned, "v1").await;
    assert_eq!(process.decide(&unsigned).await, "no_policy");
}
