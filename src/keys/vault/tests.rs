use serde_json::{Value, json};

use super::*;
use crate::keys::fake_service::{Asked, FakeService, Reply, der_of, keys, reference, soon};
use crate::keys::{Scheme, VERSIONS_MAX};
use crate::verify::PublicKey;

const ROOT_TOKEN: &str = "hvs.the-token";
const LOGIN_TOKEN: &str = "hvs.from-the-login";
const JWT: &str = "the-jwt";

fn with_token() -> Settings {
    Settings {
        token: Some(Secret::new(ROOT_TOKEN.to_owned())),
        ..Settings::default()
    }
}

fn transit(service: &FakeService, settings: Settings) -> Transit {
    Transit::with_settings(Some(service.url.clone()), settings).unwrap()
}

async fn fetch(transit: &Transit) -> Result<Vec<KeyVersion>, Error> {
    let reference = reference(Scheme::Vault, "hashivault://release");
    transit.fetch(&reference, soon()).await
}

async fn outcome(reply: Reply) -> Result<Vec<KeyVersion>, Error> {
    let service = FakeService::start(move |_| reply.clone()).await;
    fetch(&transit(&service, with_token())).await
}

/// What Vault says about a key with these versions.
fn key(kind: &str, min_decryption_version: u64, versions: &[(u64, &str)]) -> Value {
    let version = |public_key: &str| {
        json!({ "certificate_chain": "", "creation_time": "2026-01-01T00:00:00Z",
            "hybrid_public_key": "", "name": "P-256", "public_key": public_key })
    };
    let versions: serde_json::Map<String, Value> = versions
        .iter()
        .map(|(number, public_key)| (number.to_string(), version(public_key)))
        .collect();
    json!({ "request_id": "0", "lease_id": "", "renewable": false, "data": {
        "allow_plaintext_backup": false, "deletion_allowed": false, "derived": false, "exportable": false,
        "keys": versions, "latest_version": 1, "min_available_version": 0,
        "min_decryption_version": min_decryption_version, "min_encryption_version": 0, "name": "release",
        "supports_signing": true, "type": kind,
    }})
}

fn p256() -> Reply {
    Reply::ok(key("ecdsa-p256", 1, &[(1, keys::P256)]))
}

fn version_names(versions: &[KeyVersion]) -> Vec<&str> {
    versions
        .iter()
        .map(|version| version.version.as_deref().unwrap())
        .collect()
}

#[test]
fn reads_references() {
    for name in ["release", "a", "_a.b-c_", "A1"] {
        assert_eq!(parse(&format!("hashivault://{name}")).unwrap().name(), name);
    }
    let long = format!("hashivault://{}", "a".repeat(257));
    for text in [
        "awskms://x",
        "hashivault://",
        "hashivault://transit/release",
        "hashivault://..",
        "hashivault://-a",
        "hashivault://a.",
        "hashivault://a b",
        "hashivault://a?b",
        "hashivault://ä",
        &long,
    ] {
        let error = parse(text).unwrap_err();
        assert!(parse(error.example).is_ok(), "{text}");
    }
}

#[test]
fn reads_the_variables_of_vaults_tools() {
    let settings = Settings::from_lookup(&|name| Some(format!("/{name}/")));
    assert_eq!(settings.address.as_deref(), Some("/VAULT_ADDR/"));
    assert_eq!(
        settings.token.as_ref().map(Secret::expose),
        Some("/VAULT_TOKEN/")
    );
    assert_eq!(settings.namespace.as_deref(), Some("/VAULT_NAMESPACE/"));
    assert_eq!(settings.mount(), "TRANSIT_SECRET_ENGINE_PATH");
    assert_eq!(settings.token_file, Some("/HOME/.vault-token".into()));
    assert_eq!(settings.ca_file, Some("/VAULT_CACERT/".into()));
    let login = settings.kubernetes.clone().unwrap();
    assert_eq!(login.role, "/VAULT_K8S_ROLE/");
    assert_eq!(login.mount, "VAULT_K8S_MOUNT_PATH");
    assert_eq!(login.token_file.to_str(), Some("/VAULT_K8S_TOKEN_FILE/"));
    assert!(settings.kubernetes_login().is_none(), "a token comes first");

    let settings = Settings::from_lookup(&|name| match name {
        "VAULT_K8S_ROLE" => Some("keys".to_owned()),
        _ => None,
    });
    let login = settings.kubernetes_login().unwrap();
    assert_eq!(
        (login.role.as_str(), login.mount.as_str()),
        ("keys", "kubernetes")
    );
    assert_eq!(
        login.token_file.to_str(),
        Some(settings::SERVICE_ACCOUNT_TOKEN)
    );
    assert_eq!(settings.mount(), "transit");
}

#[tokio::test]
async fn sends_token_and_namespace() {
    let service = FakeService::start(|_| p256()).await;
    let settings = Settings {
        namespace: Some("team/a".to_owned()),
        mount: Some("engines/sign/".to_owned()),
        ..with_token()
    };
    let versions = fetch(&transit(&service, settings)).await.unwrap();
    assert_eq!(version_names(&versions), ["1"]);
    let expected = PublicKey::from_pem(keys::P256).unwrap();
    assert_eq!(versions[0].key.fingerprint, expected.fingerprint);
    let asked = &service.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path()),
        ("GET", "/v1/engines/sign/keys/release")
    );
    assert_eq!(asked.query(), "");
    assert_eq!(asked.header("x-vault-token"), ROOT_TOKEN);
    assert_eq!(asked.header("x-vault-namespace"), "team/a");
    assert_eq!(asked.header("x-vault-request"), "true");
}

#[tokio::test]
async fn the_endpoint_comes_before_vault_addr() {
    let service = FakeService::start(|_| p256()).await;
    let settings = Settings {
        address: Some("https://vault.invalid".to_owned()),
        ..with_token()
    };
    fetch(&transit(&service, settings)).await.unwrap();
    let settings = Settings {
        address: Some(service.url.to_string()),
        ..with_token()
    };
    fetch(&Transit::with_settings(None, settings).unwrap())
        .await
        .unwrap();
    assert_eq!(service.asked().len(), 2);

    for address in ["http://vault.example", "vault.example:8200", ""] {
        let settings = Settings {
            address: Some(address.to_owned()),
            ..with_token()
        };
        assert!(Transit::with_settings(None, settings).is_err(), "{address}");
    }
    let nowhere = Transit::with_settings(None, with_token()).unwrap();
    let error = fetch(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("VAULT_ADDR"), "{error}");
}

#[tokio::test]
async fn newest_first_by_number() {
    let versions: Vec<(u64, &str)> = (1..=11).map(|number| (number, keys::P256)).collect();
    let reply = Reply::ok(key("ecdsa-p256", 8, &versions));
    let versions = outcome(reply).await.unwrap();
    assert_eq!(version_names(&versions), ["11", "10", "9", "8"]);
}

#[tokio::test]
async fn each_version_has_its_own_key() {
    let versions = [(1, keys::P256), (2, keys::P256_OTHER)];
    let versions = outcome(Reply::ok(key("ecdsa-p256", 1, &versions)))
        .await
        .unwrap();
    for (version, pem) in versions.iter().zip([keys::P256_OTHER, keys::P256]) {
        let expected = PublicKey::from_pem(pem).unwrap();
        assert_eq!(version.key.fingerprint, expected.fingerprint);
    }
}

#[tokio::test]
async fn no_more_versions_than_may_vouch() {
    let versions: Vec<(u64, &str)> = (1..=40).map(|number| (number, keys::P256)).collect();
    let versions = outcome(Reply::ok(key("ecdsa-p256", 1, &versions)))
        .await
        .unwrap();
    assert_eq!(versions.len(), VERSIONS_MAX);
    assert_eq!(version_names(&versions)[0], "40");
}

#[tokio::test]
async fn retired_versions_do_not_vouch() {
    let versions = [(1, keys::P256), (2, keys::P256)];
    let error = outcome(Reply::ok(key("ecdsa-p256", 3, &versions)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(
        error.to_string().contains("min_decryption_version"),
        "{error}"
    );
}

#[tokio::test]
async fn the_key_must_be_what_the_service_says() {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    // Vault sends Ed25519 keys bare.
    let der = der_of(keys::ED25519);
    let bare = BASE64_STANDARD.encode(&der[der.len() - 32..]);
    let all = [
        ("ecdsa-p256", keys::P256),
        ("ecdsa-p384", keys::P384),
        ("ecdsa-p521", keys::P521),
        ("rsa-2048", keys::RSA_2048),
        ("rsa-3072", keys::RSA_3072),
        ("rsa-4096", keys::RSA_4096),
        ("ed25519", bare.as_str()),
    ];
    for (kind, _) in all {
        for (actual, public_key) in all {
            let outcome = outcome(Reply::ok(key(kind, 1, &[(1, public_key)]))).await;
            assert_eq!(outcome.is_ok(), kind == actual, "{kind} {actual}");
        }
    }
    let versions = outcome(Reply::ok(key("ed25519", 1, &[(1, &bare)])))
        .await
        .unwrap();
    let expected = PublicKey::from_pem(keys::ED25519).unwrap();
    assert_eq!(versions[0].key.fingerprint, expected.fingerprint);
}

#[tokio::test]
async fn believes_only_what_was_asked_for() {
    let good = key("ecdsa-p256", 1, &[(1, keys::P256)]);
    let changed = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        Reply::ok(changed)
    };
    for (reply, reason) in [
        (changed("/data/name", json!("other")), "another key"),
        (changed("/data/type", json!("aes256-gcm96")), "do not sign"),
        (changed("/data/keys", json!({ "one": {} })), "not a number"),
        (
            changed("/data/keys", json!({ "1": 1_700_000_000 })),
            "no public key",
        ),
        (changed("/data/keys/1/public_key", json!("")), "not PEM"),
        (
            changed("/data/min_decryption_version", json!(null)),
            "not what was asked for",
        ),
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
        let error = outcome(reply).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(outcome(Reply::ok(good)).await.is_ok());
}

#[tokio::test]
async fn says_what_a_refusal_means() {
    let errors = |status: u16, text: &str| Reply::new(status, json!({ "errors": [text] }));
    let cases = [
        (
            errors(403, "permission denied"),
            "denied",
            "`read` on `transit/keys/release`",
        ),
        (errors(400, "bad namespace"), "denied", "bad namespace"),
        (
            Reply::new(404, json!({ "errors": [] })),
            "not_found",
            "transit/keys/release",
        ),
        (
            errors(404, "no handler for route"),
            "not_found",
            "no handler for route",
        ),
        (errors(472, ""), "unavailable", "standby"),
        (errors(473, ""), "unavailable", "standby"),
        (
            errors(500, "internal error"),
            "unavailable",
            "internal error",
        ),
        (
            errors(503, "Vault is sealed"),
            "unavailable",
            "Vault is sealed",
        ),
        (errors(429, "rate limit"), "unavailable", "rate limit"),
    ];
    for (reply, expected, part) in cases {
        let error = outcome(reply).await.unwrap_err();
        let actual = match &error {
            Error::NotFound { .. } => "not_found",
            Error::Denied { .. } => "denied",
            Error::Unavailable { .. } => "unavailable",
            Error::Malformed { .. } | Error::Credentials { .. } => "other",
        };
        let shown = format!("{error} {error:?}");
        assert_eq!(actual, expected, "{shown}");
        assert!(
            shown.contains(part) && !shown.contains(ROOT_TOKEN),
            "{shown}"
        );
    }
}

/// Settings for a login with a token in `directory`.
fn with_login(directory: &std::path::Path) -> Settings {
    let token_file = directory.join("token");
    std::fs::write(&token_file, format!("{JWT}\n")).unwrap();
    Settings {
        kubernetes: Some(KubernetesLogin {
            role: "keys".to_owned(),
            mount: "clusters/a".to_owned(),
            token_file,
        }),
        namespace: Some("team".to_owned()),
        ..Settings::default()
    }
}

fn login(lease_duration: u64) -> Reply {
    Reply::ok(json!({ "auth": {
        "client_token": LOGIN_TOKEN, "accessor": "a", "policies": ["keys"], "lease_duration": lease_duration,
        "renewable": true,
    }}))
}

fn is_login(asked: &Asked) -> bool {
    asked.path() == "/v1/auth/clusters/a/login"
}

fn logins(service: &FakeService) -> usize {
    service
        .asked()
        .iter()
        .filter(|asked| is_login(asked))
        .count()
}

#[tokio::test]
async fn logs_in_with_the_pods_token_and_remembers() {
    let directory = tempfile::tempdir().unwrap();
    let service = FakeService::start(|asked| match is_login(asked) {
        true => login(3600),
        false => p256(),
    })
    .await;
    let transit = transit(&service, with_login(directory.path()));
    fetch(&transit).await.unwrap();
    fetch(&transit).await.unwrap();
    let asked = service.asked();
    assert_eq!(asked.len(), 3, "the login is remembered");
    assert_eq!(
        (asked[0].method.as_str(), is_login(&asked[0])),
        ("POST", true)
    );
    assert_eq!(asked[0].json(), json!({ "role": "keys", "jwt": JWT }));
    assert_eq!(asked[0].header("x-vault-namespace"), "team");
    assert_eq!(asked[1].header("x-vault-token"), LOGIN_TOKEN);
}

#[tokio::test]
async fn logs_in_again_at_two_thirds_of_the_lease() {
    let directory = tempfile::tempdir().unwrap();
    let service = FakeService::start(|asked| match is_login(asked) {
        true => login(3),
        false => p256(),
    })
    .await;
    let transit = transit(&service, with_login(directory.path()));
    fetch(&transit).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    fetch(&transit).await.unwrap();
    assert_eq!(logins(&service), 2);
}

#[tokio::test]
async fn a_refused_login_token_is_replaced_once() {
    let directory = tempfile::tempdir().unwrap();
    let denied = || Reply::new(403, json!({ "errors": ["permission denied"] }));
    let replies = [login(3600), denied(), login(3600), p256()];
    let service = FakeService::with_replies(replies).await;
    fetch(&transit(&service, with_login(directory.path())))
        .await
        .unwrap();
    assert_eq!(logins(&service), 2);

    let replies = [
        login(3600),
        denied(),
        login(3600),
        denied(),
        login(3600),
        p256(),
    ];
    let service = FakeService::with_replies(replies).await;
    let fetched = fetch(&transit(&service, with_login(directory.path()))).await;
    let error = fetched.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 403, .. }),
        "{error}"
    );
    assert_eq!(logins(&service), 2);
}

#[tokio::test]
async fn says_why_a_login_failed_and_nothing_secret() {
    let directory = tempfile::tempdir().unwrap();
    for (reply, part) in [
        (
            Reply::new(403, json!({ "errors": ["service account not allowed"] })),
            "not allowed",
        ),
        (
            Reply::ok(json!({ "auth": { "client_token": LOGIN_TOKEN } })),
            "no token",
        ),
    ] {
        let service = FakeService::start(move |_| reply.clone()).await;
        let fetched = fetch(&transit(&service, with_login(directory.path()))).await;
        let error = fetched.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(part), "{shown}");
        assert!(
            !shown.contains(JWT) && !shown.contains(LOGIN_TOKEN),
            "{shown}"
        );
        assert_eq!(logins(&service), service.asked().len());
    }
    let settings = with_login(directory.path());
    std::fs::write(directory.path().join("token"), " \n").unwrap();
    let service = FakeService::start(|_| p256()).await;
    let error = fetch(&transit(&service, settings)).await.unwrap_err();
    assert!(error.to_string().contains("is empty"), "{error}");
}

#[tokio::test]
async fn takes_the_token_that_vault_login_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(".vault-token");
    let settings = Settings {
        token_file: Some(file.clone()),
        ..Settings::default()
    };
    let service = FakeService::start(|_| p256()).await;
    let transit = transit(&service, settings);
    fetch(&transit).await.unwrap();
    for token in ["first", "second"] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        fetch(&transit).await.unwrap();
    }
    let asked = service.asked();
    let tokens: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header("x-vault-token"))
        .collect();
    assert_eq!(
        tokens,
        ["", "first", "second"],
        "none is needed on this machine"
    );
}

#[tokio::test]
async fn asks_nobody_elsewhere_without_a_token() {
    let address = Url::parse("https://vault.invalid/").unwrap();
    let transit = Transit::with_settings(Some(address), Settings::default()).unwrap();
    let error = fetch(&transit).await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    assert!(error.to_string().contains("VAULT_TOKEN"), "{error}");
}

#[test]
fn secrets_do_not_print() {
    let service = Url::parse("http://127.0.0.1:1/").unwrap();
    let transit = Transit::with_settings(Some(service), with_token()).unwrap();
    assert!(!format!("{transit:?}").contains(ROOT_TOKEN));
}
