//! Reading keys from Google Cloud KMS, against a server that speaks its protocol.

mod environment;
mod fake_kms;
mod refused;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::KeySize;
use google_cloud_auth::credentials::{
    AccessToken, AccessTokenCredentials, AccessTokenCredentialsProvider, CacheableResource,
    CredentialsProvider, EntityTag,
};
use google_cloud_auth::errors::CredentialsError;
use http::{Extensions, HeaderMap, HeaderValue};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::keys::limits::REQUESTS_AT_ONCE_MAX;
use crate::keys::tests::{Reply, Server, ec_p256, ec_p384, ed25519, pem_of, rsa};
use crate::keys::{Keys, NoObserver, Schedule, Scheme, VERSIONS_MAX};
use crate::verify::PublicKey;
use fake_kms::{FakeKms, KEY, TOKEN, Version, status};

/// Credentials that are just there.
#[derive(Debug)]
struct Fixed;

impl CredentialsProvider for Fixed {
    async fn headers(
        &self,
        _extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let value = HeaderValue::from_str(&format!("Bearer {TOKEN}")).unwrap();
        let data = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        Ok(CacheableResource::New {
            entity_tag: EntityTag::new(),
            data,
        })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

impl AccessTokenCredentialsProvider for Fixed {
    async fn access_token(&self) -> Result<AccessToken, CredentialsError> {
        Ok(AccessToken {
            token: TOKEN.to_owned(),
        })
    }
}

fn token() -> GoogleToken {
    GoogleToken::from_credentials(AccessTokenCredentials::from(Fixed))
}

fn service(url: &Url) -> CloudKms {
    CloudKms::new(Some(url.clone()), token()).unwrap()
}

fn unpinned() -> Reference {
    format!("gcpkms://{KEY}").parse().unwrap()
}

fn pinned(number: u64) -> Reference {
    format!("gcpkms://{KEY}/versions/{number}").parse().unwrap()
}

async fn fetch(kms: &FakeKms, reference: &Reference) -> Result<Vec<KeyVersion>, Error> {
    let deadline = Instant::now() + Duration::from_secs(5);
    kms.service.fetch(reference, deadline).await
}

/// The names of the versions that may vouch.
async fn versions(kms: &FakeKms) -> Vec<String> {
    names(&fetch(kms, &unpinned()).await.unwrap())
}

fn names(versions: &[KeyVersion]) -> Vec<String> {
    let versions = versions.iter();
    versions
        .map(|known| known.version.clone().unwrap())
        .collect()
}

fn public_key(number: u64) -> String {
    format!("GET /v1/{KEY}/cryptoKeyVersions/{number}/publicKey")
}

fn list() -> String {
    format!(
        "GET /v1/{KEY}/cryptoKeyVersions?filter=state%3DENABLED&orderBy=name%20desc&pageSize=100"
    )
}

#[tokio::test]
async fn a_pinned_version_is_one_request() {
    let kms = FakeKms::with(1..=2).await;
    let mut pem = String::new();
    kms.change_version(1, |version| pem.clone_from(&version.pem));
    for spelling in ["versions", "cryptoKeyVersions"] {
        let reference = format!("gcpkms://{KEY}/{spelling}/1").parse().unwrap();
        let found = fetch(&kms, &reference).await.unwrap();
        assert_eq!(names(&found), ["1"]);
        let expected = PublicKey::from_pem(&pem).unwrap();
        assert_eq!(found[0].key.fingerprint, expected.fingerprint);
        let asked = kms.server.take();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].line, public_key(1));
        assert_eq!(asked[0].header("authorization"), format!("Bearer {TOKEN}"));
        let agent = asked[0].header("user-agent");
        assert!(agent.starts_with("countersign/"), "{agent}");
    }
}

#[tokio::test]
async fn every_enabled_version_counts_the_newest_first_by_number() {
    let kms = FakeKms::with(1..=11).await;
    for number in [3, 7] {
        kms.change_version(number, |version| version.state = "DISABLED");
    }
    let expected = ["11", "10", "9", "8", "6", "5", "4", "2", "1"];
    assert_eq!(versions(&kms).await, expected);
    let mut lines = kms.server.lines();
    assert_eq!(lines.remove(0), list());
    lines.sort();
    let mut expected: Vec<_> = expected
        .iter()
        .map(|number| public_key(number.parse().unwrap()))
        .collect();
    expected.sort();
    assert_eq!(lines, expected, "one request for each, and no other");
}

#[tokio::test]
async fn the_list_is_read_to_its_end() {
    let kms = FakeKms::with(1..=12).await;
    kms.change(|kms| kms.page = 5);
    let found = versions(&kms).await;
    assert_eq!(found.len(), 12);
    assert_eq!(found[..3], ["12", "11", "10"]);
    let lines = kms.server.lines();
    assert_eq!(lines[1], format!("{}&pageToken=p%2B%2F%3D5", list()));
    assert_eq!(lines[2], format!("{}&pageToken=p%2B%2F%3D10", list()));
}

#[tokio::test]
async fn a_list_without_end_is_refused() {
    let kms = FakeKms::with([1]).await;
    let page = json!({"cryptoKeyVersions": [], "nextPageToken": "again"});
    kms.change(|kms| kms.list = Some(Reply::Json(200, page)));
    let error = fetch(&kms, &unpinned()).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert_eq!(kms.server.take().len(), LIST_PAGES_MAX);
}

#[tokio::test]
async fn at_most_the_newest_sixteen_count() {
    let kms = FakeKms::with(1..=20).await;
    let found = versions(&kms).await;
    assert_eq!(found.len(), VERSIONS_MAX);
    assert_eq!((found[0].as_str(), found[15].as_str()), ("20", "5"));
    assert_eq!(kms.server.take().len(), 1 + VERSIONS_MAX);
}

#[tokio::test]
async fn a_version_that_is_listed_as_disabled_is_not_asked_for() {
    let kms = FakeKms::with(1..=2).await;
    kms.change(|kms| kms.filters = false);
    kms.change_version(2, |version| version.state = "DESTROY_SCHEDULED");
    assert_eq!(versions(&kms).await, ["1"]);
    assert_eq!(kms.server.lines(), [list(), public_key(1)]);
}

#[tokio::test]
async fn a_version_that_is_disabled_after_the_list_does_not_count() {
    let kms = FakeKms::with(1..=2).await;
    let gone = status(400, "FAILED_PRECONDITION", "it is not enabled");
    kms.change_version(2, |version| version.reply = Some(gone));
    assert_eq!(versions(&kms).await, ["1"]);
    let gone = status(404, "NOT_FOUND", "it is not there");
    kms.change_version(2, |version| version.reply = Some(gone));
    assert_eq!(versions(&kms).await, ["1"]);
}

#[tokio::test]
async fn a_failure_of_one_version_is_a_failure_of_the_key() {
    for reply in [
        status(503, "UNAVAILABLE", "try again"),
        status(403, "PERMISSION_DENIED", "no"),
        Reply::Text(200, "{".to_owned()),
    ] {
        let kms = FakeKms::with(1..=2).await;
        kms.change_version(1, |version| version.reply = Some(reply));
        fetch(&kms, &unpinned()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_key_without_enabled_version_is_not_found() {
    let kms = FakeKms::with([1]).await;
    kms.change_version(1, |version| version.state = "DISABLED");
    let error = fetch(&kms, &unpinned()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("no version of"), "{error}");
    let error = fetch(&kms, &pinned(1)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("DISABLED"), "{error}");
    let error = fetch(&kms, &pinned(2)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn what_does_not_match_its_request_or_checksum_is_discarded() {
    let other = format!("{KEY}/cryptoKeyVersions/2");
    let relative = "cryptoKeyVersions/1";
    let other_pem = ec_p256();
    let crc = crc32c::crc32c(other_pem.as_bytes());
    for (overrides, said) in [
        (json!({"name": other}), "asked for"),
        (json!({"name": relative}), "asked for"),
        (json!({"name": null}), "asked for"),
        (json!({"pem": other_pem}), "checksum"),
        (json!({"pemCrc32c": crc.to_string()}), "checksum"),
        (json!({"pemCrc32c": "x"}), "checksum"),
        (json!({"pemCrc32c": null}), "no checksum"),
    ] {
        let kms = FakeKms::with([1]).await;
        kms.change_version(1, |version| version.overrides = overrides.clone());
        for reference in [pinned(1), unpinned()] {
            let error = fetch(&kms, &reference).await.unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{error}");
            assert!(error.to_string().contains(said), "{overrides}: {error}");
        }
        // Both together are right.
        let both = json!({"pem": other_pem, "pemCrc32c": crc, "new": {"field": 1}});
        kms.change_version(1, |version| version.overrides = both);
        fetch(&kms, &pinned(1)).await.unwrap();
    }
}

#[tokio::test]
async fn the_list_is_of_versions_of_the_key() {
    for name in [
        format!("{KEY}2/cryptoKeyVersions/1"),
        format!("{KEY}/cryptoKeyVersions/1/publicKey"),
        String::new(),
    ] {
        let kms = FakeKms::with([1]).await;
        let page = json!({"cryptoKeyVersions": [{"name": name, "state": "ENABLED"}]});
        kms.change(|kms| kms.list = Some(Reply::Json(200, page)));
        let error = fetch(&kms, &unpinned()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_version_that_is_listed_twice_counts_once() {
    let kms = FakeKms::with([1]).await;
    let version = json!({"name": format!("{KEY}/cryptoKeyVersions/1"), "state": "ENABLED"});
    let page = json!({"cryptoKeyVersions": [version, version]});
    kms.change(|kms| kms.list = Some(Reply::Json(200, page)));
    assert_eq!(versions(&kms).await, ["1"]);
    assert_eq!(kms.server.take().len(), 2);
}

#[tokio::test]
async fn few_versions_are_asked_for_at_once() {
    let kms = FakeKms::with(1..=16).await;
    assert_eq!(versions(&kms).await.len(), 16);
    assert_eq!(kms.server.busiest(), REQUESTS_AT_ONCE_MAX);
}

#[tokio::test]
async fn the_algorithm_says_what_key_there_is() {
    let (p256, p384, ed) = (ec_p256(), ec_p384(), ed25519());
    let (rsa2, rsa3) = (rsa(KeySize::Rsa2048), rsa(KeySize::Rsa3072));
    let rsa4 = rsa(KeySize::Rsa4096);
    let right = [
        ("EC_SIGN_P256_SHA256", &p256),
        ("EC_SIGN_P384_SHA384", &p384),
        ("EC_SIGN_ED25519", &ed),
        ("RSA_SIGN_PKCS1_2048_SHA256", &rsa2),
        ("RSA_SIGN_PKCS1_3072_SHA256", &rsa3),
        ("RSA_SIGN_PKCS1_4096_SHA256", &rsa4),
        ("RSA_SIGN_PKCS1_4096_SHA512", &rsa4),
        ("RSA_SIGN_PSS_2048_SHA256", &rsa2),
        ("RSA_SIGN_PSS_3072_SHA256", &rsa3),
        ("RSA_SIGN_PSS_4096_SHA256", &rsa4),
        ("RSA_SIGN_PSS_4096_SHA512", &rsa4),
    ];
    let kms = FakeKms::with([1]).await;
    for (algorithm, pem) in right {
        for (_, other) in right {
            let version = Version::new(other.clone(), algorithm);
            kms.change_version(1, |kept| *kept = version);
            let found = fetch(&kms, &pinned(1)).await;
            assert_eq!(found.is_ok(), other == pem, "{algorithm}: {found:?}");
        }
    }
}

#[tokio::test]
async fn other_algorithms_are_named_and_do_not_hide_usable_versions() {
    for algorithm in [
        "EC_SIGN_SECP256K1_SHA256",
        "RSA_SIGN_RAW_PKCS1_2048",
        "RSA_DECRYPT_OAEP_2048_SHA256",
        "HMAC_SHA256",
        "PQ_SIGN_ML_DSA_65",
        "GOOGLE_SYMMETRIC_ENCRYPTION",
        "",
    ] {
        let kms = FakeKms::with([1]).await;
        kms.change_version(1, |version| version.algorithm = algorithm);
        for reference in [pinned(1), unpinned()] {
            let error = fetch(&kms, &reference).await.unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{error}");
            assert!(error.to_string().contains(algorithm), "{error}");
        }
        kms.change(|kms| {
            let version = Version::new(ec_p256(), "EC_SIGN_P256_SHA256");
            kms.versions.insert(2, version);
        });
        assert_eq!(versions(&kms).await, ["2"]);
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let kms = FakeKms::with([1]).await;
    for pem in [
        String::new(),
        "not a key".to_owned(),
        pem_of("PUBLIC KEY", b"not a key"),
        ec_p256().replace("PUBLIC KEY", "CERTIFICATE"),
        format!("{}{}", ec_p256(), ec_p256()),
    ] {
        let version = Version::new(pem, "EC_SIGN_P256_SHA256");
        kms.change_version(1, |kept| *kept = version);
        let error = fetch(&kms, &pinned(1)).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}

#[test]
fn endpoints_are_https_or_on_this_machine() {
    for right in [
        "https://cloudkms.googleapis.com",
        "https://kms.example:8443/path",
        "http://127.0.0.1:1234",
        "http://[::1]:1234",
        "http://localhost:1234",
    ] {
        CloudKms::new(Some(Url::parse(right).unwrap()), token()).expect(right);
    }
    CloudKms::new(None, token()).unwrap();
    for wrong in [
        "http://cloudkms.googleapis.com",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "https://user@kms.example",
        "https://kms.example?a=b",
        "https://kms.example#a",
        "unix:/run/kms",
    ] {
        CloudKms::new(Some(Url::parse(wrong).unwrap()), token()).expect_err(wrong);
    }
}

#[test]
fn only_a_pinned_version_is_fixed() {
    let service = CloudKms::new(None, token()).unwrap();
    assert!(service.is_fixed(&pinned(1)));
    assert!(!service.is_fixed(&unpinned()));
}

/// The whole way: rotation, disablement, outage, and what a thousand bad signatures a second cost.
#[tokio::test]
async fn rotation_and_refresh_over_the_wire() {
    let kms = FakeKms::with([9]).await;
    let schedule = Schedule {
        interval_min: Duration::from_millis(300),
        ..Schedule::default()
    };
    let service: Arc<dyn KeyService> = Arc::clone(&kms.service) as _;
    let keys = Keys::with_schedule(
        BTreeMap::from([(Scheme::Google, service)]),
        Arc::new(NoObserver),
        TaskTracker::new(),
        &CancellationToken::new(),
        schedule,
    );
    let key = unpinned();
    keys.want([key.clone()].into());
    let deadline = Instant::now() + Duration::from_secs(60);
    keys.settled(std::slice::from_ref(&key), deadline).await;
    assert_eq!(names(keys.current(&key).versions()), ["9"]);
    assert_eq!(kms.server.lines(), [list(), public_key(9)]);

    let version = Version::new(ec_p256(), "EC_SIGN_P256_SHA256");
    kms.change(|kms| drop(kms.versions.insert(10, version)));
    tokio::time::sleep(schedule.interval_min).await;
    let refreshes = (0..1000).map(|_| keys.refresh(&key, deadline));
    let changed = futures::future::join_all(refreshes).await;
    assert!(changed.iter().all(|changed| *changed));
    assert_eq!(names(keys.current(&key).versions()), ["10", "9"]);
    let mut lines = kms.server.lines();
    lines.sort();
    let mut expected = vec![list(), public_key(10), public_key(9)];
    expected.sort();
    assert_eq!(lines, expected, "a list and one request for each version");

    kms.change_version(9, |version| version.state = "DISABLED");
    tokio::time::sleep(schedule.interval_min).await;
    assert!(keys.refresh(&key, deadline).await);
    assert_eq!(names(keys.current(&key).versions()), ["10"]);

    kms.change(|kms| kms.token = Some("another"));
    tokio::time::sleep(schedule.interval_min).await;
    assert!(!keys.refresh(&key, deadline).await);
    assert_eq!(names(keys.current(&key).versions()), ["10"]);
}
