//! The other services, one admission and one refusal each.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::policy;
use crate::support::service::{Asked, FakeService, Reply};
use crate::support::*;

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn der(key: &SigningKey) -> Vec<u8> {
    let pem = key.public_pem();
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

/// What the key signed is admitted under the reference, what another signed is refused.
async fn decides(scheme: &str, reference: &str, key: &SigningKey, service: &FakeService) -> Value {
    let registry = FakeRegistry::start().await;
    let images = format!("{}/apps/**", registry.name());
    let configuration = Configuration::new(&[&registry])
        .policy(policy(&images, reference))
        .set(
            "key_providers",
            json!({scheme: {"endpoint": service.url()}}),
        );
    let proxy = Proxy::new(configuration);
    proxy.without_credentials();
    proxy.set_variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    proxy.set_variable(
        "AWS_SECRET_ACCESS_KEY",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    );
    proxy.set_variable("VAULT_TOKEN", "hvs.the-token");
    proxy.run().await;
    let path = |name: &str| format!("/v2/{}/{name}/manifests/v1", registry.name());
    let (image, foreign) = (Image::new("good"), Image::new("foreign"));
    registry.push_tagged("apps/good", "v1", &image);
    registry.sign_legacy("apps/good", &image, key);
    registry.push_tagged("apps/foreign", "v1", &foreign);
    registry.sign_legacy("apps/foreign", &foreign, &SigningKey::generate());
    assert_serves(&proxy.get(&path("apps/good")).await, &image);
    let answer = proxy.get(&path("apps/foreign")).await;
    assert_denied_by(&answer, "untrusted_key", "apps", &foreign.digest);
    let query = format!("repository={}/apps/good", registry.name());
    let record = proxy.decisions(&query).await.remove(0);
    let used = record["attempts"][0]["key"].clone();
    assert_eq!(used["reference"], reference);
    assert_eq!(used["fingerprint"], key.fingerprint());
    used
}

#[tokio::test]
async fn aws() {
    let key = SigningKey::generate();
    let public = STANDARD.encode(der(&key));
    let service = FakeService::start(move |asked: &Asked| {
        let authorization = asked.header("authorization");
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
        assert!(authorization.contains("/eu-central-1/kms/aws4_request"), "{authorization}");
        Reply::json(200, &match asked.header("x-amz-target") {
            "TrentService.DescribeKey" => json!({"KeyMetadata": {
                "Arn": ARN, "KeyState": "Enabled", "KeyUsage": "SIGN_VERIFY",
            }}),
            "TrentService.GetPublicKey" => json!({
                "KeyId": ARN, "PublicKey": public, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY",
            }),
            other => panic!("{other}"),
        })
    })
    .await;
    let used = decides("awskms", &format!("awskms:///{ARN}"), &key, &service).await;
    assert_eq!(used["version"], ARN);
}

#[tokio::test]
async fn azure() {
    let key = SigningKey::generate();
    let version = "11111111111111111111111111111111";
    let point = der(&key);
    let (x, y) = point[point.len() - 64..].split_at(32);
    let kid = format!("https://my-vault.vault.azure.net/keys/release/{version}");
    let attributes = json!({"enabled": true, "created": 1_700_000_000, "updated": 1_700_000_000});
    let bundle = json!({"key": {
        "kid": kid, "kty": "EC", "crv": "P-256", "key_ops": ["sign", "verify"],
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }, "attributes": attributes});
    let page = json!({"value": [{"kid": kid, "attributes": attributes}], "nextLink": null});
    let service = FakeService::start(move |asked: &Asked| {
        Reply::json(
            200,
            match asked.path() {
                "/keys/release/versions" => &page,
                "/keys/release/11111111111111111111111111111111" => &bundle,
                other => panic!("{other}"),
            },
        )
    })
    .await;
    let reference = "azurekms://my-vault.vault.azure.net/release";
    let used = decides("azurekms", reference, &key, &service).await;
    assert_eq!(used["version"], version);
}

#[tokio::test]
async fn vault() {
    let key = SigningKey::generate();
    let answer = json!({"data": {
        "name": "release", "type": "ecdsa-p256", "latest_version": 3, "min_decryption_version": 3,
        "keys": {"3": {"public_key": key.public_pem(), "name": "P-256"}},
    }});
    let service = FakeService::start(move |asked: &Asked| {
        assert_eq!(asked.path(), "/v1/transit/keys/release");
        assert_eq!(asked.header("x-vault-token"), "hvs.the-token");
        Reply::json(200, &answer)
    })
    .await;
    let used = decides("hashivault", "hashivault://release", &key, &service).await;
    assert_eq!(used["version"], "3");
}

#[tokio::test]
async fn kubernetes() {
    let key = SigningKey::generate();
    let answer = json!({
        "kind": "Secret", "metadata": {"name": "cosign", "namespace": "signing"},
        "data": {"cosign.pub": STANDARD.encode(key.public_pem()), "cosign.key": "c2VjcmV0"},
    });
    let service = FakeService::start(move |asked: &Asked| {
        assert_eq!(asked.path(), "/api/v1/namespaces/signing/secrets/cosign");
        Reply::json(200, &answer)
    })
    .await;
    let used = decides("k8s", "k8s://signing/cosign", &key, &service).await;
    assert_eq!(used["version"], Value::Null);
}
