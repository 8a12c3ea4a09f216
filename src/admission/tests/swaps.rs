//! Policies change while decisions are asked for.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::house::{House, asked, subject};
use super::question::{World, now, signed_by};
use super::registry::Pushed;
use crate::admission::{Admission, Outcome};
use crate::oci::{Digest, Manifest};
use crate::policy::{Policy, Revoked};

fn loose(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

fn tight(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.other_authority], 1)]
}

fn layer(image: &Pushed) -> Digest {
    let manifest = Manifest::parse(&image.bytes, image.media_type).unwrap();
    manifest.blobs().last().unwrap().digest
}

#[tokio::test]
async fn what_was_decided_before_counts_no_longer() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    let process = house.process(loose(&world));
    assert_eq!(process.decide(&index).await, "signature");
    assert_eq!(process.decide(&child).await, "endorsement");
    assert_eq!(process.grants(&layer(&child)).await, "granted");
    let blob = subject(&layer(&child));
    assert!(process.admission.remembered_blob(&blob, now()).is_some());
    process.reconfigure(tight(&world), Revoked::default());
    for pushed in [&index, &child] {
        let subject = subject(&pushed.digest);
        assert!(process.admission.remembered(&subject, now()).is_none());
    }
    assert!(process.admission.remembered_blob(&blob, now()).is_none());
    assert_eq!(process.grants(&layer(&child)).await, "not_endorsed");
    assert_eq!(process.decide(&child).await, "unsigned");
    assert_eq!(process.decide(&index).await, "untrusted_key");
}

#[tokio::test]
async fn a_grant_is_good_for_the_policies_that_it_was_made_under() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(loose(&world));
    process.decide(&image).await;
    let blob = layer(&image);
    let granted = process.grant(&blob, now()).await.unwrap().unwrap();
    let blob = subject(&blob);
    assert!(process.admission.still_grants(&granted, &blob));
    process.reconfigure(tight(&world), Revoked::default());
    assert!(!process.admission.still_grants(&granted, &blob));
}

#[tokio::test]
async fn a_blob_that_is_revoked_meanwhile_is_not_granted_from_memory() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(loose(&world));
    process.decide(&image).await;
    let blob = layer(&image);
    assert_eq!(process.grants(&blob).await, "granted");
    let revoked = Revoked {
        digests: HashSet::from([blob]),
        ..Revoked::default()
    };
    process.reconfigure(loose(&world), revoked);
    // Its manifest is admitted under the new policies, and the way to it is remembered.
    assert_eq!(process.decide(&image).await, "signature");
    let remembered = process.admission.remembered_blob(&subject(&blob), now());
    assert!(remembered.is_none());
    assert_eq!(process.grants(&blob).await, "revoked");
}

#[tokio::test]
async fn a_name_that_is_no_longer_covered_is_refused_as_such() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(loose(&world));
    process.decide(&image).await;
    assert_eq!(process.grants(&layer(&image)).await, "granted");
    process.reconfigure(Vec::new(), Revoked::default());
    assert_eq!(process.grants(&layer(&image)).await, "no_policy");
}

/// The policies change after the decision has begun, and before anything is known.
#[tokio::test]
async fn a_decision_is_made_again_when_the_policies_change_meanwhile() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(loose(&world));
    let subject = subject(&image.digest);
    let asked = asked(now());
    let (decided, ()) = tokio::join!(process.admission.decide(&subject, None, &asked), async {
        process.reconfigure(tight(&world), Revoked::default())
    },);
    let decided = decided.unwrap();
    assert!(matches!(decided.outcome, Outcome::Deny(_)), "{decided:?}");
    // It was made under both.
    let records = house.records().await;
    assert_eq!(records.len(), 2, "{records:?}");
}

/// The parent is remembered under the policies that are in force, and the child is still decided under others.
#[tokio::test]
async fn a_parent_is_decided_under_the_policies_of_its_child() {
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    let process = house.process(loose(&world));
    let before = process.admission.inner.in_force.snapshot();
    let renamed = Policy {
        name: "renamed".to_owned(),
        ..loose(&world).remove(0)
    };
    process.reconfigure(vec![renamed], Revoked::default());
    assert_eq!(process.decide(&index).await, "signature");
    let (subject, asked) = (subject(&child.digest), asked(now()));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let deciding = process
        .admission
        .decide_under(before, &subject, None, &asked, deadline);
    let decided = deciding.await.unwrap();
    assert!(
        matches!(decided.outcome, Outcome::Admit { .. }),
        "{decided:?}"
    );
}

/// Swaps that have begun and ended; an even number of them leaves the loose policies.
#[derive(Default)]
struct Swaps {
    begun: AtomicUsize,
    ended: AtomicUsize,
    answers: AtomicUsize,
    over: AtomicBool,
}

impl Swaps {
    /// Asks until it is over; each answer must be by policies that were in force while it was made.
    async fn ask(&self, admission: &Admission, image: &Digest, blob: Option<&Digest>) {
        while !self.over.load(Ordering::SeqCst) {
            let before = self.ended.load(Ordering::SeqCst);
            let admitted = match blob {
                None => manifest(admission, image).await,
                Some(blob) => granted(admission, blob).await,
            };
            let after = self.begun.load(Ordering::SeqCst);
            // With a swap in between, both are right.
            if before == after {
                assert_eq!(admitted, before.is_multiple_of(2), "after {before} swaps");
                self.answers.fetch_add(1, Ordering::SeqCst);
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn manifest(admission: &Admission, image: &Digest) -> bool {
    let (subject, asked) = (subject(image), asked(now()));
    let decided = match admission.remembered(&subject, now()) {
        Some(decision) => decision,
        None => admission.decide(&subject, None, &asked).await.unwrap(),
    };
    match decided.outcome {
        Outcome::Admit { .. } => true,
        Outcome::Deny(_) => false,
        Outcome::Unavailable { .. } => panic!("{decided:?}"),
    }
}

async fn granted(admission: &Admission, blob: &Digest) -> bool {
    let subject = subject(blob);
    admission.remembered_blob(&subject, now()).is_some()
        || (admission.grant_blob(&subject, &asked(now())).await)
            .unwrap()
            .is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answer_is_by_policies_that_were_replaced() {
    const SWAPS: usize = 1000;
    let (world, house) = (World::new(), House::new().await);
    let child = house.registry.push_image("a child");
    let index = house.registry.push_index(&[&child]);
    house.registry.sign(&index, &world.key);
    let process = house.process(loose(&world));
    assert_eq!(process.decide(&index).await, "signature");
    assert_eq!(process.decide(&child).await, "endorsement");
    let (admission, blob, swaps) = (&process.admission, layer(&child), Swaps::default());
    let swapping = async {
        for number in 1..=SWAPS {
            let policies = if number % 2 == 0 {
                loose(&world)
            } else {
                tight(&world)
            };
            swaps.begun.store(number, Ordering::SeqCst);
            process.reconfigure(policies, Revoked::default());
            let seen = swaps.answers.load(Ordering::SeqCst);
            swaps.ended.store(number, Ordering::SeqCst);
            while number % 10 == 0 && swaps.answers.load(Ordering::SeqCst) < seen + 4 {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        }
        swaps.over.store(true, Ordering::SeqCst);
    };
    tokio::join!(
        swapping,
        swaps.ask(admission, &index.digest, None),
        swaps.ask(admission, &child.digest, None),
        swaps.ask(admission, &child.digest, Some(&blob)),
        swaps.ask(admission, &index.digest, None),
    );
}
