//! Blobs come out through an admitted manifest that refers to them.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use super::house::{House, Process, Settings, after, in_force, subject};
use super::question::{World, now, signed_by};
use super::registry::{Pushed, TAR, Trouble};
use crate::admission::Error;
use crate::in_force::Configured;
use crate::limits::Limits;
use crate::oci::{Digest, Manifest};
use crate::policy::exception::Scope;
use crate::policy::{DefaultAction, Exception, Policy, Revoked};
use crate::upstream::Purpose;

fn enforcing(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

fn blobs(pushed: &Pushed) -> Vec<Digest> {
    let manifest = Manifest::parse(&pushed.bytes, pushed.media_type).unwrap();
    manifest.blobs().map(|blob| blob.digest).collect()
}

#[tokio::test]
async fn config_and_layers_of_an_admitted_image_are_granted() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(enforcing(&world));
    for blob in blobs(&image) {
        assert_eq!(process.grants(&blob).await, "not_endorsed");
    }
    process.decide(&image).await;
    for blob in blobs(&image) {
        assert!(
            process
                .admission
                .remembered_blob(&subject(&blob), now())
                .is_none()
        );
        let granted = process.grant(&blob, now()).await.unwrap().unwrap();
        assert_eq!(granted.content().descriptor().digest, blob);
        assert_eq!(granted.decision().subject.digest, image.digest);
        assert!(
            process
                .admission
                .remembered_blob(&subject(&blob), now())
                .is_some()
        );
    }
    // The hint suffices to decide again after a restart.
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.grants(&blobs(&image)[0]).await, "granted");
}

#[tokio::test]
async fn hints_grant_nothing_by_themselves() {
    let (world, house) = (World::new(), House::new().await);
    let registry = &house.registry;
    let (image, evil) = (registry.push_image("signed"), registry.push_image("evil"));
    let index = registry.push_index(&[&image]);
    for signed in [&image, &index] {
        registry.sign(signed, &world.key);
    }
    let process = house.process(enforcing(&world));
    for signed in [&image, &index] {
        assert_eq!(process.decide(signed).await, "signature");
    }
    let secret = registry.push_blob(b"what nobody refers to");
    house.hint(&image.digest, &secret).await;
    assert_eq!(process.grants(&secret).await, "not_endorsed");
    // A refused image refers to it.
    let of_evil = blobs(&evil)[1];
    house.hint(&evil.digest, &of_evil).await;
    assert_eq!(process.grants(&of_evil).await, "not_endorsed");
    // A manifest is no blob, although an admitted index lists it.
    assert_eq!(process.grants(&image.digest).await, "not_endorsed");
}

#[tokio::test]
async fn a_grant_ends_with_its_decision() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let process = house.process(enforcing(&world));
    process.decide(&image).await;
    let blob = blobs(&image)[1];
    process.grant(&blob, now()).await.unwrap().unwrap();
    let remembered = |seconds| {
        process
            .admission
            .remembered_blob(&subject(&blob), after(now(), seconds))
    };
    const DAY: i64 = 24 * 3600;
    assert!(remembered(DAY - 1).is_some());
    assert!(remembered(DAY).is_none());
}

#[tokio::test]
async fn what_is_revoked_or_not_covered_is_refused() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    house.process(enforcing(&world)).decide(&image).await;
    let blob = blobs(&image)[1];
    assert_eq!(house.process(vec![]).grants(&blob).await, "no_policy");
    let revoking = |digest| {
        let settings = Settings {
            revoked: Revoked {
                digests: HashSet::from([digest]),
                ..Revoked::default()
            },
            ..Settings::default()
        };
        house.process_with(enforcing(&world), settings)
    };
    assert_eq!(revoking(blob).grants(&blob).await, "revoked");
    assert_eq!(revoking(image.digest).grants(&blob).await, "not_endorsed");
}

#[tokio::test]
async fn what_cannot_be_decided_is_no_refusal() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("signed");
    house.registry.sign(&image, &world.key);
    let blob = blobs(&image)[1];
    house.hint(&image.digest, &blob).await;
    house.registry.fail(Trouble::Unreachable);
    let process = house.process(enforcing(&world));
    let failed = process.grant(&blob, now()).await.unwrap_err();
    assert!(
        matches!(failed.as_ref(), Error::UpstreamUnavailable(_)),
        "{failed:?}"
    );
    house.registry.recover();
    house
        .registry
        .fail_at(&[Purpose::CosignTag], Trouble::Unreachable);
    assert_eq!(process.grants(&blob).await, "undecided");
    // Another parent that is admitted grants it all the same.
    house.registry.recover();
    let Manifest::Image(second) = Manifest::parse(&image.bytes, image.media_type).unwrap() else {
        panic!("{image:?}");
    };
    let layer =
        json!({"mediaType": TAR, "digest": blob.to_string(), "size": second.layers[0].size});
    let second = house.registry.push_image_of(&[layer.clone(), layer]);
    house.registry.sign(&second, &world.key);
    assert_eq!(
        house.process(enforcing(&world)).decide(&second).await,
        "signature"
    );
    house
        .registry
        .fail_at(&[Purpose::CosignTag], Trouble::Unreachable);
    let fresh = house.process(enforcing(&world));
    assert_eq!(fresh.grants(&blob).await, "granted");
}

/// Puts enforcing policies and exceptions in force while the process runs.
fn enforce(process: &Process<'_>, world: &World, exceptions: Vec<Exception>) {
    let limits = Arc::new(Limits::default());
    let policies = in_force(enforcing(world), None, Revoked::default(), &limits);
    let exceptions = exceptions.into_iter().map(Arc::new).collect();
    process.admission.inner.in_force.replace(Configured {
        policies: Arc::new(policies.excepting(exceptions)),
        limits,
        keys: None,
        roots: None,
    });
}

#[tokio::test]
async fn grants_of_an_audited_index_end_with_the_audit() {
    for is_signed in [true, false] {
        let (world, house) = (World::new(), House::new().await);
        let listed = house.registry.push_blob(b"a layer of a build cache");
        let entry = json!({"mediaType": TAR, "digest": listed.to_string(), "size": 24});
        let cache = house.registry.push_index_of(&[entry]);
        let settings = Settings {
            default: Some(DefaultAction::Audit),
            ..Settings::default()
        };
        let process = house.process_with(Vec::new(), settings);
        assert_eq!(process.decide(&cache).await, "audit");
        assert_eq!(process.grants(&listed).await, "granted");
        let remembered = || {
            let remembered = process.admission.remembered_blob(&subject(&listed), now());
            remembered.is_some()
        };
        assert!(remembered());
        let exceptions = if is_signed {
            house.registry.sign(&cache, &world.key);
            Vec::new()
        } else {
            vec![Exception {
                scope: Scope::Digests(HashSet::from([cache.digest])),
                reason: "the pipeline moves".to_owned(),
                by: "somebody@example.com".to_owned(),
                until: after(now(), 1000),
            }]
        };
        enforce(&process, &world, exceptions);
        // Evidence without a signature is gathered anew after a while.
        let later = after(now(), 31);
        let basis = if is_signed { "signature" } else { "audit" };
        assert_eq!(process.decide_at(&cache, later).await, basis);
        let remembered = process.admission.remembered_blob(&subject(&listed), later);
        assert!(remembered.is_none(), "{basis}");
        let granted = process.grant(&listed, later).await.unwrap();
        assert_eq!(granted.unwrap_err().kind.as_str(), "not_endorsed");
    }
}
