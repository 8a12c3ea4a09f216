//! The public-good root that is built in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;

use super::repository::{FIRST, NAME, Publication, Repository, digest, in_force, max_stale, text};
use crate::oci::Digest;
use crate::trust::mirror::SharedClient;
use crate::trust::repository::Repository as Client;
use crate::trust::repository::{EMBEDDED_DIGEST, EMBEDDED_SINCE};
use crate::trust::roots::{Roots, Source};
use crate::verify::TrustedRoot;

fn since(days: i64) -> Timestamp {
    EMBEDDED_SINCE + SignedDuration::from_hours(24 * days)
}

async fn with_empty_mirror(directory: Option<&Path>, now: Timestamp) -> (Repository, Roots) {
    let mirror = Repository::start().await;
    mirror.clear();
    let source = Source::BuiltIn {
        mirror: Some(mirror.url.clone()),
    };
    let sources = BTreeMap::from([(NAME.to_owned(), source)]);
    let roots = Roots::open(sources, directory, max_stale(), now).unwrap();
    (mirror, roots)
}

#[test]
fn day_belongs_to_the_embedded_root() {
    // Another root came with a dependency: say since when it is current, then put its digest here.
    let embedded = Digest::sha256(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes());
    assert_eq!(embedded.to_string(), EMBEDDED_DIGEST);
}

#[tokio::test]
async fn serves_when_its_repository_has_nothing() {
    let (mirror, roots) = with_empty_mirror(None, since(5)).await;
    assert_eq!(in_force(&roots), digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT));
    let error = roots.refresh(NAME, since(5)).await.unwrap_err();
    assert!(
        text(&error).contains("timestamp.json not found"),
        "{}",
        text(&error)
    );
    assert_eq!(in_force(&roots), digest(SIGSTORE_PRODUCTION_TRUSTED_ROOT));
    assert!(mirror.asked().contains(&"/tuf/17.root.json".to_owned()));
    let status = roots.status(since(5)).remove(0);
    assert!(status.usable && status.failure.is_some() && status.metadata.is_none());
    assert!(!status.authorities.is_empty());
}

#[tokio::test]
async fn age_counts_from_the_first_start_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let data = Some(directory.path());
    let (_mirror, roots) = with_empty_mirror(data, since(100)).await;
    assert!(roots.status(since(100))[0].warnings.is_empty());
    assert!(roots.refresh(NAME, since(129)).await.is_err());
    assert!(in_force(&roots).is_some());
    let (_mirror, roots) = with_empty_mirror(data, since(129)).await;
    assert!(in_force(&roots).is_some());
    assert!(!roots.status(since(129))[0].warnings.is_empty());
    let (_mirror, roots) = with_empty_mirror(data, since(131)).await;
    assert_eq!(in_force(&roots), None);
}

#[tokio::test]
async fn nothing_counts_longer_than_its_signers_said() {
    // The embedded TUF root is signed until 2027-04-22; a new directory does not make it younger.
    let expires: Timestamp = "2027-04-22T19:27:31Z".parse().unwrap();
    let late = expires + SignedDuration::from_hours(24 * 29);
    let (_mirror, roots) = with_empty_mirror(None, late).await;
    assert!(in_force(&roots).is_some());
    let later = expires + SignedDuration::from_hours(24 * 31);
    let (_mirror, roots) = with_empty_mirror(None, later).await;
    assert_eq!(in_force(&roots), None);
}

#[tokio::test]
async fn what_an_older_release_fetched_gives_way() {
    let repository = Repository::start().await;
    repository.publish(&Publication::new(1, FIRST));
    let client = SharedClient::default();
    let initial = repository.roles.root(1);
    let mut client = Client::new(&repository.url, initial, Source::TARGET, client).unwrap();
    client.embedded = Some(Arc::new(TrustedRoot::public_good().unwrap()));
    for (day, in_force) in [(-1, SIGSTORE_PRODUCTION_TRUSTED_ROOT), (1, FIRST)] {
        let nothing = client.open(since(day)).unwrap();
        let (known, outcome) = client.fetch(&nothing, since(day)).await;
        outcome.unwrap();
        let root = client.standing(&known).root.unwrap();
        assert_eq!(Some(root.digest), digest(in_force));
    }
}
