mod credentials;
mod versions;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};

use super::*;
use crate::keys::fake_service::{Asked, FakeService, Reply, der_of, keys, reference, soon};
use crate::keys::{Scheme, VERSIONS_MAX};
use crate::verify::PublicKey;

const UNPINNED: &str = "azurekms://my-vault.vault.azure.net/release";
const V1: &str = "11111111111111111111111111111111";
const PINNED: &str = "azurekms://my-vault.vault.azure.net/release/11111111111111111111111111111111";

fn key_vault(service: &FakeService) -> KeyVault {
    KeyVault::with_settings(Some(service.url.clone()), Settings::default()).unwrap()
}

async fn fetch(service: &FakeService, text: &str) -> Result<Vec<KeyVersion>, Error> {
    let reference = reference(Scheme::Azure, text);
    key_vault(service).fetch(&reference, soon()).await
}

async fn outcome(text: &str, reply: Reply) -> Result<Vec<KeyVersion>, Error> {
    let service = FakeService::start(move |_| reply.clone()).await;
    fetch(&service, text).await
}

fn kid(version: &str) -> String {
    format!("https://my-vault.vault.azure.net/keys/release/{version}")
}

fn version_names(versions: &[KeyVersion]) -> Vec<&str> {
    versions
        .iter()
        .map(|version| version.version.as_deref().unwrap())
        .collect()
}

/// The members of a JWK that hold the key.
fn numbers(kty: &str, crv: &str, pem: &str) -> Value {
    let der = der_of(pem);
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let length = match crv {
        "P-384" => 48,
        "P-521" => 66,
        _ => 32,
    };
    match kty {
        "RSA" | "RSA-HSM" => {
            // Besides the modulus there are 38 bytes of structure, of which the exponent is the last five.
            let length = der.len() - 38;
            let modulus = &der[der.len() - 5 - length..der.len() - 5];
            json!({ "kty": kty, "n": encode(modulus), "e": "AQAB" })
        }
        _ => {
            let (x, y) = der[der.len() - 2 * length..].split_at(length);
            json!({ "kty": kty, "crv": crv, "x": encode(x), "y": encode(y) })
        }
    }
}

fn bundle_of(version: &str, numbers: Value) -> Value {
    let mut key = numbers;
    key["kid"] = json!(kid(version));
    key["key_ops"] = json!(["sign", "verify"]);
    json!({ "key": key, "attributes": {
        "enabled": true, "created": 1_700_000_000, "updated": 1_700_000_000, "recoveryLevel": "Recoverable",
        "recoverableDays": 90, "exportable": false,
    }})
}

fn bundle(version: &str) -> Value {
    bundle_of(version, numbers("EC", "P-256", keys::P256))
}

fn item(version: &str, created: i64) -> Value {
    json!({ "kid": kid(version), "attributes": { "enabled": true, "created": created, "updated": created } })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "literals read better without `&`"
)]
fn page(items: &[Value], next_link: Value) -> Reply {
    Reply::ok(json!({ "value": items, "nextLink": next_link }))
}

/// Lists these pages and has every version.
async fn vault_with(pages: Vec<Reply>) -> FakeService {
    FakeService::start(move |asked| {
        if asked.path() == "/keys/release/versions" {
            let number = asked.query().split_once("skiptoken=");
            let number: usize = number.map_or(0, |(_, number)| number.parse().unwrap());
            return pages[number].clone();
        }
        let version = asked.path().strip_prefix("/keys/release/").unwrap();
        Reply::ok(bundle(version))
    })
    .await
}

#[test]
fn reads_references() {
    for (text, scope) in [
        (UNPINNED, "https://vault.azure.net/.default"),
        (PINNED, "https://vault.azure.net/.default"),
        (
            "azurekms://My-Vault.VAULT.azure.net/k",
            "https://vault.azure.net/.default",
        ),
        (
            "azurekms://v.vault.azure.cn/k",
            "https://vault.azure.cn/.default",
        ),
        (
            "azurekms://v.vault.usgovcloudapi.net/k",
            "https://vault.usgovcloudapi.net/.default",
        ),
        (
            "azurekms://v.managedhsm.azure.net/k",
            "https://managedhsm.azure.net/.default",
        ),
    ] {
        assert_eq!(parse(text).unwrap().cloud().scope(), scope, "{text}");
    }
    let key = parse(PINNED).unwrap();
    assert_eq!((key.name(), key.version()), ("release", Some(V1)));
    assert_eq!(
        key.vault_url().as_str(),
        "https://my-vault.vault.azure.net/"
    );
    let long = format!("{UNPINNED}{}", "a".repeat(121));
    for text in [
        "awskms://x",
        "azurekms://",
        "azurekms://my-vault.vault.azure.net",
        "azurekms://my-vault.vault.azure.net/",
        "azurekms://my-vault.vault.azure.net/release/",
        "azurekms://my-vault.vault.azure.net/release/1/2",
        "azurekms://my-vault.vault.azure.net/release/1-2",
        "azurekms://my-vault.vault.azure.net/a.b",
        "azurekms://my-vault.vault.azure.net:8443/release",
        "azurekms://vault.azure.net/release",
        "azurekms://.vault.azure.net/release",
        "azurekms://a.b.vault.azure.net/release",
        "azurekms://a@b.vault.azure.net/release",
        "azurekms://my-vaultvault.azure.net/release",
        "azurekms://my-vault.vault.azure.net.evil.example/release",
        "azurekms://evil.example/release",
        &long,
    ] {
        let error = parse(text).unwrap_err();
        assert!(parse(error.example).is_ok(), "{text}");
    }
}

#[tokio::test]
async fn asks_once_for_a_pinned_version() {
    let service = FakeService::start(|_| Reply::ok(bundle(V1))).await;
    let versions = fetch(&service, PINNED).await.unwrap();
    assert_eq!(version_names(&versions), [V1]);
    let expected = PublicKey::from_pem(keys::P256).unwrap();
    assert_eq!(versions[0].key.fingerprint, expected.fingerprint);
    let asked = service.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].method.as_str(), asked[0].query()),
        ("GET", "api-version=7.4")
    );
    assert_eq!(asked[0].path(), format!("/keys/release/{V1}"));
    assert_eq!(
        asked[0].header("authorization"),
        "",
        "there are no credentials"
    );
    let is_fixed = |text| key_vault(&service).is_fixed(&reference(Scheme::Azure, text));
    assert!(is_fixed(PINNED) && !is_fixed(UNPINNED));
}

#[tokio::test]
async fn every_usable_version_newest_first() {
    let mut disabled = item("disabled", 99);
    disabled["attributes"]["enabled"] = json!(false);
    let mut expired = item("expired", 99);
    expired["attributes"]["exp"] = json!(1_700_000_000);
    let mut future = item("future", 99);
    future["attributes"]["nbf"] = json!(9_999_999_999_i64);
    let mut within = item("within", 9);
    within["attributes"]["nbf"] = json!(1_700_000_000);
    within["attributes"]["exp"] = json!(9_999_999_999_i64);
    let next =
        "https://my-vault.vault.azure.net:443/keys/release/versions?api-version=7.4&$skiptoken=1";
    let service = vault_with(vec![
        page(
            &[item("b", 10), disabled, item("a", 2), expired],
            json!(next),
        ),
        page(&[future, item("c", 11), within], Value::Null),
    ])
    .await;
    let versions = fetch(&service, UNPINNED).await.unwrap();
    assert_eq!(version_names(&versions), ["c", "b", "within", "a"]);
    let asked = service.asked();
    assert_eq!(asked[0].query(), "api-version=7.4");
    assert_eq!(asked[1].query(), "api-version=7.4&$skiptoken=1");
    assert_eq!(asked.len(), 2 + 4);
}

#[tokio::test]
async fn no_more_versions_than_may_vouch() {
    let items: Vec<Value> = (1..=25)
        .map(|number| item(&format!("v{number}"), number))
        .collect();
    let service = vault_with(vec![page(&items, json!(""))]).await;
    let versions = fetch(&service, UNPINNED).await.unwrap();
    assert_eq!(versions.len(), VERSIONS_MAX);
    assert_eq!(version_names(&versions)[..2], ["v25", "v24"]);
}

#[tokio::test]
async fn a_key_without_usable_versions_does_not_vouch() {
    let mut disabled = item("disabled", 99);
    disabled["attributes"]["enabled"] = json!(false);
    let service = vault_with(vec![page(&[disabled], Value::Null)]).await;
    let error = fetch(&service, UNPINNED).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_list_stays_where_it_is_and_ends() {
    let good = "https://my-vault.vault.azure.net/keys/release/versions?$skiptoken=1";
    for (next, is_good) in [
        (good, true),
        (
            "https://my-vault.vault.azure.net:8443/keys/release/versions?$skiptoken=1",
            false,
        ),
        (
            "http://my-vault.vault.azure.net/keys/release/versions?$skiptoken=1",
            false,
        ),
        (
            "https://other-vault.vault.azure.net/keys/release/versions?$skiptoken=1",
            false,
        ),
        (
            "https://evil.example/keys/release/versions?$skiptoken=1",
            false,
        ),
        (
            "https://my-vault.vault.azure.net/keys/other/versions?$skiptoken=1",
            false,
        ),
        (
            "https://my-vault.vault.azure.net/secrets?$skiptoken=1",
            false,
        ),
        (
            "https://my-vault.vault.azure.net/keys/release/versions",
            false,
        ),
        ("/keys/release/versions?$skiptoken=1", false),
    ] {
        let first = page(&[item("a", 1)], json!(next));
        let service = vault_with(vec![first, page(&[], Value::Null)]).await;
        match fetch(&service, UNPINNED).await {
            Ok(_) => assert!(is_good, "{next}"),
            Err(error) => {
                assert!(
                    !is_good && matches!(error, Error::Malformed { .. }),
                    "{next} {error}"
                );
                assert_eq!(service.asked().len(), 1, "{next}");
            }
        }
    }
    let endless = page(&[item("a", 1)], json!(good));
    let service = vault_with(vec![endless.clone(), endless]).await;
    let error = fetch(&service, UNPINNED).await.unwrap_err();
    assert!(error.to_string().contains("more than 20 pages"), "{error}");
    assert_eq!(service.asked().len(), PAGES_MAX);
}

#[tokio::test]
async fn a_link_may_name_the_endpoint_in_the_vaults_place() {
    let service = FakeService::with_replies([]).await;
    let mut next = service.url.clone();
    next.set_path("/keys/release/versions");
    next.set_query(Some("$skiptoken=1"));
    let key = parse(UNPINNED).unwrap();
    let page: Page =
        serde_json::from_value(json!({ "value": [], "nextLink": next.as_str() })).unwrap();
    for (endpoint, is_good) in [(Some(&service.url), true), (None, false)] {
        let expected = Expected {
            key: &key,
            endpoint,
        };
        let query = page.next_query(&expected, "/keys/release/versions", "h");
        assert_eq!(query.is_ok(), is_good);
    }
}

#[tokio::test]
async fn lists_of_another_key_are_not_believed() {
    for other in [
        "https://other-vault.vault.azure.net/keys/release/a",
        "https://my-vault.vault.azure.net/keys/other/a",
        "https://my-vault.vault.azure.net/keys/release/",
        "https://my-vault.vault.azure.net/keys/release/../other/a",
        "a",
    ] {
        let mut item = item("a", 1);
        item["kid"] = json!(other);
        let service = vault_with(vec![page(&[item], Value::Null)]).await;
        let error = fetch(&service, UNPINNED).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{other} {error}");
    }
}

#[tokio::test]
async fn reads_every_kind_of_key() {
    for (kty, crv, pem) in [
        ("EC", "P-256", keys::P256),
        ("EC-HSM", "P-256", keys::P256),
        ("EC", "P-384", keys::P384),
        ("EC", "P-521", keys::P521),
        ("RSA", "", keys::RSA_2048),
        ("RSA-HSM", "", keys::RSA_3072),
        ("RSA", "", keys::RSA_4096),
    ] {
        let reply = Reply::ok(bundle_of(V1, numbers(kty, crv, pem)));
        let versions = outcome(PINNED, reply).await.unwrap();
        let expected = PublicKey::from_pem(pem).unwrap();
        assert_eq!(
            versions[0].key.fingerprint, expected.fingerprint,
            "{kty} {crv}"
        );
    }
}

#[tokio::test]
async fn believes_only_what_was_asked_for() {
    let good = bundle(V1);
    let changed = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[member] = value;
        Reply::ok(changed)
    };
    let other_vault = kid(V1).replace("my-vault", "other-vault");
    let other_key = kid(V1).replace("release", "other");
    for (reply, reason) in [
        (changed("/key/kid", json!(other_vault)), "another key"),
        (changed("/key/kid", json!(other_key)), "another key"),
        (changed("/key/kid", json!(kid("2"))), "another key"),
        (changed("/key/key_ops", json!(["encrypt"])), "key_ops"),
        (changed("/key/key_ops", json!([])), "key_ops"),
        (changed("/key/kty", json!("oct-HSM")), "not supported"),
        (changed("/key/crv", json!("P-256K")), "not supported"),
        (changed("/key/crv", json!("P-384")), "not as long"),
        (changed("/key/x", Value::Null), "no `x`"),
        (changed("/key/x", json!("+/+/")), "not base64url"),
        (changed("/key/x", json!("AAAA")), "not as long"),
        (changed("/attributes", json!({})), "not what was asked for"),
        (Reply::ok("<html>"), "not what was asked for"),
        (
            Reply::ok(" ".repeat(crate::keys::limits::ANSWER_BYTES_MAX + 1)),
            "longer than",
        ),
        (
            Reply::new(307, "").with_header("location", "http://127.0.0.1:1/"),
            "redirects",
        ),
    ] {
        let error = outcome(PINNED, reply).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    for reply in [
        changed("/attributes/enabled", json!(false)),
        changed("/attributes/exp", json!(1_700_000_000)),
        changed("/attributes/nbf", json!(9_999_999_999_i64)),
    ] {
        let error = outcome(PINNED, reply).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    for good in [
        changed("/key/key_ops", json!(["sign"])),
        changed("/key/key_ops", json!(["verify"])),
        changed("/attributes/exp", json!(9_999_999_999_i64)),
    ] {
        outcome(PINNED, good).await.unwrap();
    }
}

#[tokio::test]
async fn says_what_a_refusal_means() {
    let refusal = |status: u16, inner: &str| {
        Reply::new(
            status,
            json!({ "error": {
                "code": "Forbidden", "message": "said so", "innererror": { "code": inner },
            }}),
        )
    };
    for (reply, expected, part) in [
        (refusal(404, "KeyNotFound"), "not_found", "said so"),
        (refusal(403, "KeyDisabled"), "not_found", "said so"),
        (refusal(403, "KeyExpired"), "not_found", "said so"),
        (
            refusal(403, "ForbiddenByRbac"),
            "denied",
            "Key Vault Crypto User",
        ),
        (refusal(401, ""), "denied", "tenant"),
        (refusal(400, ""), "denied", "said so"),
        (Reply::new(403, "<html>"), "denied", "keys/get"),
        (refusal(429, ""), "unavailable", "said so"),
        (refusal(503, ""), "unavailable", "said so"),
    ] {
        let error = outcome(PINNED, reply).await.unwrap_err();
        let actual = match &error {
            Error::NotFound { .. } => "not_found",
            Error::Denied { .. } => "denied",
            Error::Unavailable { .. } => "unavailable",
            Error::Malformed { .. } | Error::Credentials { .. } => "other",
        };
        assert_eq!(actual, expected, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

fn is_token_request(asked: &Asked) -> bool {
    asked.path().ends_with("/token")
}
