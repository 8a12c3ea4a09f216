use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::*;
use crate::keys::Scheme;
use crate::keys::fake_service::{Asked, FakeService, Reply, der_of, keys, reference, soon};

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION_TOKEN: &str = "the-session-token";

const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_ARN: &str =
    "arn:aws:kms:eu-central-1:111122223333:key/aaaaaaaa-12ab-34cd-56ef-1234567890ab";

fn kms(service: &FakeService) -> Kms {
    let token = Some(SESSION_TOKEN.to_owned());
    let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, token, None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    let region = Some("us-east-1".to_owned());
    Kms::with_credentials(Some(service.url.clone()), credentials, region).unwrap()
}

fn described(arn: &str, state: &str) -> Reply {
    Reply::ok(json!({"KeyMetadata": {
        "AWSAccountId": "111122223333", "Arn": arn, "CreationDate": 1.7e9, "Enabled": state == "Enabled",
        "KeyId": ID, "KeySpec": "ECC_NIST_P256", "KeyState": state, "KeyUsage": "SIGN_VERIFY",
    }}))
}

fn published(arn: &str, spec: &str, usage: &str, pem: &str) -> Reply {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    Reply::ok(json!({
        "CustomerMasterKeySpec": spec, "KeyId": arn, "KeySpec": spec, "KeyUsage": usage,
        "PublicKey": BASE64_STANDARD.encode(der_of(pem)), "SigningAlgorithms": ["ECDSA_SHA_256"],
    }))
}

fn p256(arn: &str) -> Reply {
    published(arn, "ECC_NIST_P256", "SIGN_VERIFY", keys::P256)
}

async fn fetch(service: &FakeService, text: &str) -> Result<Vec<KeyVersion>, Error> {
    kms(service)
        .fetch(&reference(Scheme::Aws, text), soon())
        .await
}

/// What comes of these two answers.
async fn outcome(text: &str, describe: Reply, publish: Reply) -> Result<Vec<KeyVersion>, Error> {
    let service = FakeService::with_replies([describe, publish]).await;
    fetch(&service, text).await
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// The signature that the request should have, computed from the request alone (Signature Version 4).
fn signature_of(asked: &Asked, region: &str) -> String {
    let authorization = asked.header("authorization");
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap();
    let signed = signed.split(',').next().unwrap();
    let lines: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", asked.header(name)))
        .collect();
    let hash = |text: &str| hex::encode(digest(&SHA256, text.as_bytes()));
    let body = hash(&asked.body);
    let canonical = format!(
        "{}\n{}\n\n{lines}\n{signed}\n{body}",
        asked.method,
        asked.path()
    );
    let time = asked.header("x-amz-date");
    let date = &time[..8];
    let scope = format!("{date}/{region}/kms/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(&canonical));
    let key = [date, region, "kms", "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| {
            hmac_sha256(&key, part)
        });
    format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, Signature={}",
        hex::encode(hmac_sha256(&key, &text))
    )
}

#[test]
fn reads_references() {
    let mrk = "mrk-1234abcd12ab34cd56ef1234567890ab";
    for (text, id, endpoint, region, is_alias) in [
        (format!("awskms:///{ID}"), ID, None, None, false),
        (format!("awskms:///{mrk}"), mrk, None, None, false),
        (
            format!("awskms:///{ARN}"),
            ARN,
            None,
            Some("eu-central-1"),
            false,
        ),
        (
            "awskms:///alias/a/b_c-1".to_owned(),
            "alias/a/b_c-1",
            None,
            None,
            true,
        ),
        (
            "awskms:///arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a".to_owned(),
            "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a",
            None,
            Some("us-gov-west-1"),
            true,
        ),
        (
            format!("awskms://localhost:4566/{ID}"),
            ID,
            Some("http://localhost:4566/"),
            None,
            false,
        ),
        (
            format!("awskms://kms.example/{ID}"),
            ID,
            Some("https://kms.example/"),
            None,
            false,
        ),
    ] {
        let key = parse(&text).unwrap();
        assert_eq!(key.id(), id, "{text}");
        assert_eq!(key.endpoint().map(Url::as_str), endpoint, "{text}");
        assert_eq!(key.region(), region, "{text}");
        assert_eq!(key.is_alias(), is_alias, "{text}");
    }
    for text in [
        "gcpkms://x",
        "awskms://",
        "awskms:///",
        &format!("awskms://{ID}"),
        "awskms:///my-key",
        "awskms:///alias/",
        "awskms:///alias/a b",
        &format!("awskms:///{ID}0"),
        &format!("awskms:///key/{ID}"),
        "awskms:///mrk-12",
        &format!("awskms:///arn:aws:s3:eu-central-1:111122223333:key/{ID}"),
        &format!("awskms:///arn:aws:kms::111122223333:key/{ID}"),
        &format!("awskms:///arn:aws:kms:eu-central-1:1111:key/{ID}"),
        &format!("awskms:///arn:aws:kms:eu-central-1:111122223333:{ID}"),
        &format!("awskms:///arn:evil:kms:eu-central-1:111122223333:key/{ID}"),
        &format!("awskms://user@kms.example/{ID}"),
        &format!("awskms://kms.example?x/{ID}"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(parse(error.example).is_ok());
    }
}

#[tokio::test]
async fn asks_twice_and_signs_both() {
    let service = FakeService::with_replies([described(ARN, "Enabled"), p256(ARN)]).await;
    let versions = fetch(&service, &format!("awskms:///{ARN}")).await.unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].version.as_deref(), Some(ARN));
    let expected = crate::verify::PublicKey::from_pem(keys::P256).unwrap();
    assert_eq!(versions[0].key.fingerprint, expected.fingerprint);
    let asked = service.asked();
    let targets: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header("x-amz-target"))
        .collect();
    assert_eq!(
        targets,
        ["TrentService.DescribeKey", "TrentService.GetPublicKey"]
    );
    for asked in &asked {
        assert_eq!((asked.method.as_str(), asked.path()), ("POST", "/"));
        assert_eq!(asked.header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(asked.header("x-amz-security-token"), SESSION_TOKEN);
        assert_eq!(asked.json(), json!({ "KeyId": ARN }));
        // The ARN's region, not the default one.
        assert_eq!(
            asked.header("authorization"),
            signature_of(asked, "eu-central-1")
        );
        for name in [
            "host",
            "content-type",
            "x-amz-date",
            "x-amz-target",
            "x-amz-security-token",
        ] {
            let signed = asked
                .header("authorization")
                .split("SignedHeaders=")
                .nth(1)
                .unwrap();
            let signed = signed.split(',').next().unwrap();
            assert!(signed.split(';').any(|header| header == name), "{name}");
        }
    }
}

#[tokio::test]
async fn signs_for_the_default_region_when_the_reference_has_none() {
    let service = FakeService::with_replies([described(ARN, "Enabled"), p256(ARN)]).await;
    fetch(&service, &format!("awskms:///{ID}")).await.unwrap();
    let asked = &service.asked()[0];
    assert_eq!(
        asked.header("authorization"),
        signature_of(asked, "us-east-1")
    );
}

#[tokio::test]
async fn an_endpoint_in_the_reference_yields_to_the_configured_one() {
    let service = FakeService::with_replies([described(ARN, "Enabled"), p256(ARN)]).await;
    fetch(&service, &format!("awskms://localhost:1/{ID}"))
        .await
        .unwrap();
    let service = FakeService::with_replies([described(ARN, "Enabled"), p256(ARN)]).await;
    let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    let kms = Kms::with_credentials(None, credentials, Some("us-east-1".to_owned())).unwrap();
    let text = format!("awskms://{}/{ID}", rest::host(&service.url));
    kms.fetch(&reference(Scheme::Aws, &text), soon())
        .await
        .unwrap();
}

#[tokio::test]
async fn believes_only_the_key_that_was_asked_for() {
    let alias = "awskms:///alias/release";
    let alias_arn = "awskms:///arn:aws:kms:eu-central-1:111122223333:alias/release";
    let elsewhere = ARN.replace("eu-central-1", "eu-west-1");
    for (text, described_arn, published_arn, is_good) in [
        (format!("awskms:///{ID}"), ARN, ARN, true),
        (format!("awskms:///{ID}"), OTHER_ARN, OTHER_ARN, false),
        (format!("awskms:///{ARN}"), OTHER_ARN, OTHER_ARN, false),
        (format!("awskms:///{ARN}"), &elsewhere, &elsewhere, false),
        (format!("awskms:///{ARN}"), ARN, OTHER_ARN, false),
        (alias.to_owned(), OTHER_ARN, OTHER_ARN, true),
        (alias.to_owned(), ARN, OTHER_ARN, false),
        (alias.to_owned(), "alias/release", "alias/release", false),
        (alias_arn.to_owned(), ARN, ARN, true),
        (alias_arn.to_owned(), &elsewhere, &elsewhere, false),
    ] {
        let describe = described(described_arn, "Enabled");
        let outcome = outcome(&text, describe, p256(published_arn)).await;
        match outcome {
            Ok(versions) => {
                assert!(is_good, "{text} {described_arn}");
                assert_eq!(versions[0].version.as_deref(), Some(described_arn));
            }
            Err(error) => {
                assert!(matches!(error, Error::Malformed { .. }), "{error}");
                assert!(!is_good, "{text} {described_arn}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_enabled_does_not_vouch() {
    for (state, vouches) in [
        ("Enabled", true),
        ("Updating", true),
        ("Disabled", false),
        ("PendingDeletion", false),
        ("PendingImport", false),
        ("PendingReplicaDeletion", false),
        ("Creating", false),
        ("Unavailable", false),
        ("", false),
    ] {
        let outcome = outcome(
            &format!("awskms:///{ARN}"),
            described(ARN, state),
            p256(ARN),
        )
        .await;
        match outcome {
            Ok(_) => assert!(vouches, "{state}"),
            Err(Error::NotFound { message, .. }) => {
                assert!(!vouches && message.contains(state), "{state}");
            }
            Err(error) => panic!("{state}: {error}"),
        }
    }
}

#[tokio::test]
async fn the_key_must_be_what_the_service_says() {
    let all = [
        ("ECC_NIST_P256", keys::P256),
        ("ECC_NIST_P384", keys::P384),
        ("ECC_NIST_P521", keys::P521),
        ("ECC_NIST_EDWARDS25519", keys::ED25519),
        ("RSA_2048", keys::RSA_2048),
        ("RSA_3072", keys::RSA_3072),
        ("RSA_4096", keys::RSA_4096),
    ];
    let text = format!("awskms:///{ARN}");
    for (spec, _) in all {
        for (actual, pem) in all {
            let publish = published(ARN, spec, "SIGN_VERIFY", pem);
            let outcome = outcome(&text, described(ARN, "Enabled"), publish).await;
            assert_eq!(outcome.is_ok(), spec == actual, "{spec} {actual}");
        }
    }
    let not_base64 = json!({
        "KeyId": ARN, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "PublicKey": "%",
    });
    for (publish, reason) in [
        (
            published(ARN, "ECC_SECG_P256K1", "SIGN_VERIFY", keys::P256K),
            "not supported",
        ),
        (
            published(ARN, "RSA_2048", "ENCRYPT_DECRYPT", keys::RSA_2048),
            "not for SIGN_VERIFY",
        ),
        (
            published(ARN, "ECC_NIST_P256", "KEY_AGREEMENT", keys::P256),
            "not for SIGN_VERIFY",
        ),
        (Reply::ok(not_base64), "not base64"),
        (Reply::ok(json!({ "KeyId": ARN })), "not what was asked for"),
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
        let outcome = outcome(&text, described(ARN, "Enabled"), publish).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn says_what_a_refusal_means() {
    let refusal = |kind: &str| Reply::new(400, json!({ "__type": kind, "message": "said so" }));
    let in_header = Reply::new(400, json!({ "Message": "said so" })).with_header(
        "x-amzn-errortype",
        "NotFoundException:http://internal.amazon.com/",
    );
    let text = format!("awskms:///{ARN}");
    for (reply, expected, part) in [
        (refusal("NotFoundException"), "not_found", "said so"),
        (
            refusal("com.amazonaws.kms#NotFoundException"),
            "not_found",
            "said so",
        ),
        (in_header, "not_found", "said so"),
        (
            refusal("DisabledException"),
            "not_found",
            "DisabledException",
        ),
        (refusal("KMSInvalidStateException"), "not_found", "said so"),
        (
            refusal("AccessDeniedException"),
            "denied",
            "kms:DescribeKey and kms:GetPublicKey",
        ),
        (
            refusal("UnrecognizedClientException"),
            "denied",
            "UnrecognizedClientException: said so",
        ),
        (
            refusal("ThrottlingException"),
            "unavailable",
            "ThrottlingException",
        ),
        (
            Reply::new(500, json!({ "__type": "KMSInternalException" })),
            "unavailable",
            "500",
        ),
    ] {
        let service = FakeService::with_replies([reply.clone(), reply]).await;
        let error = fetch(&service, &text).await.unwrap_err();
        let actual = match &error {
            Error::NotFound { .. } => "not_found",
            Error::Denied { .. } => "denied",
            Error::Unavailable { .. } => "unavailable",
            Error::Malformed { .. } | Error::Credentials { .. } => "other",
        };
        let shown = format!("{error} {error:?}");
        assert_eq!(actual, expected, "{shown}");
        assert!(shown.contains(part), "{shown}");
        for secret in [ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, "Signature="] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn only_an_alias_can_lead_to_another_key() {
    let service = FakeService::with_replies([]).await;
    let is_fixed = |text: &str| kms(&service).is_fixed(&reference(Scheme::Aws, text));
    assert!(is_fixed(&format!("awskms:///{ARN}")));
    assert!(!is_fixed("awskms:///alias/release"));
}

#[test]
fn knows_the_address_in_every_partition() {
    for (region, address) in [
        ("us-east-1", "https://kms.us-east-1.amazonaws.com/"),
        ("us-gov-west-1", "https://kms.us-gov-west-1.amazonaws.com/"),
        ("cn-north-1", "https://kms.cn-north-1.amazonaws.com.cn/"),
        ("us-iso-east-1", "https://kms.us-iso-east-1.c2s.ic.gov/"),
        (
            "us-isob-east-1",
            "https://kms.us-isob-east-1.sc2s.sgov.gov/",
        ),
    ] {
        let endpoint = credentials::regional_endpoint(region).unwrap();
        assert_eq!(endpoint.as_str(), address);
    }
    for region in ["", "us-east-1.evil.example/", "us_east"] {
        assert!(credentials::regional_endpoint(region).is_err(), "{region}");
    }
}

/// Fetches a key with what its environment says. Not a test of its own: the tests below run it in another process.
#[tokio::test]
#[ignore = "run by other tests, each with its own environment"]
async fn with_the_environment() {
    let endpoint = std::env::var_os("TEST_ENDPOINT").unwrap();
    let endpoint = Url::parse(endpoint.to_str().unwrap()).unwrap();
    let kms = Kms::new(Some(endpoint)).unwrap();
    let text = format!("awskms:///{ID}");
    let fetched = kms.fetch(&reference(Scheme::Aws, &text), soon()).await;
    match fetched {
        Ok(versions) => println!("fetched {:?}", versions[0].version),
        Err(error) => println!("failed: {error}"),
    }
    if std::env::var_os("TEST_SYSTEM_CHAIN").is_some() {
        let found = CredentialSource::of_the_system().find(None, false).await;
        let (credentials, region) = found.unwrap();
        println!(
            "system chain: {} {}",
            credentials.unwrap().access_key_id(),
            region.unwrap()
        );
    }
}

/// What [`with_the_environment`] prints in this environment.
async fn printed_with(service: &FakeService, variables: &[(&str, String)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "keys::aws::tests::with_the_environment",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env_clear()
        .env("HOME", home.path())
        .env("TEST_ENDPOINT", service.url.as_str())
        // A machine in EC2 that runs the tests must not show through.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().map(|(name, value)| (name, value)));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "literals read better without `&`"
)]
fn variable(name: &'static str, value: impl ToString) -> (&'static str, String) {
    (name, value.to_string())
}

fn answer_kms(asked: &Asked) -> Reply {
    match asked.header("x-amz-target") {
        "TrentService.DescribeKey" => described(ARN, "Enabled"),
        _ => p256(ARN),
    }
}

#[tokio::test]
async fn asks_an_endpoint_on_this_machine_unsigned_without_credentials() {
    let service = FakeService::start(answer_kms).await;
    let printed = printed_with(&service, &[]).await;
    assert!(printed.contains("fetched"), "{printed}");
    assert_eq!(service.asked().len(), 2);
    assert_eq!(service.asked()[0].header("authorization"), "");
}

#[tokio::test]
async fn takes_keys_and_region_from_variables() {
    let service = FakeService::start(answer_kms).await;
    let variables = [
        variable("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        variable("AWS_SESSION_TOKEN", SESSION_TOKEN),
        variable("AWS_REGION", "ap-south-1"),
    ];
    let printed = printed_with(&service, &variables).await;
    assert!(printed.contains("fetched"), "{printed}");
    let asked = &service.asked()[0];
    assert_eq!(
        asked.header("authorization"),
        signature_of(asked, "ap-south-1")
    );
    assert_eq!(asked.header("x-amz-security-token"), SESSION_TOKEN);
}

#[tokio::test]
async fn takes_a_profile() {
    let service = FakeService::start(answer_kms).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    let profile = format!(
        "[profile ci]\nregion = ap-south-1\ncredential_process = echo '{{\"Version\": 1, \
         \"AccessKeyId\": \"{ACCESS_KEY}\", \"SecretAccessKey\": \"{SECRET_KEY}\"}}'\n"
    );
    std::fs::write(&file, profile).unwrap();
    let variables = [
        variable("PATH", "/usr/bin:/bin"),
        variable("AWS_CONFIG_FILE", file.display()),
        variable("AWS_PROFILE", "ci"),
    ];
    let printed = printed_with(&service, &variables).await;
    assert!(printed.contains("fetched"), "{printed}");
    let asked = &service.asked()[0];
    assert_eq!(
        asked.header("authorization"),
        signature_of(asked, "ap-south-1")
    );
}

/// IRSA: the pod's token for the role's temporary keys.
#[tokio::test]
async fn exchanges_a_web_identity() {
    let service = FakeService::start(answer_kms).await;
    let tokens = FakeService::start(|_| {
        Reply::ok(format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{ACCESS_KEY}</AccessKeyId>\
             <SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>{SESSION_TOKEN}</SessionToken>\
             <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/keys/x</Arn>\
             <AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ))
        .with_header("content-type", "text/xml")
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "the-jwt").unwrap();
    let variables = [
        variable("AWS_WEB_IDENTITY_TOKEN_FILE", file.display()),
        variable("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/keys"),
        variable("AWS_REGION", "ap-south-1"),
        variable("AWS_ENDPOINT_URL_STS", &tokens.url),
        variable("TEST_SYSTEM_CHAIN", 1),
    ];
    let printed = printed_with(&service, &variables).await;
    assert!(printed.contains("fetched"), "{printed}");
    let chain = format!("system chain: {ACCESS_KEY} ap-south-1");
    assert!(printed.contains(&chain), "{printed}");
    let asked = &service.asked()[0];
    assert_eq!(
        asked.header("authorization"),
        signature_of(asked, "ap-south-1")
    );
    assert_eq!(asked.header("x-amz-security-token"), SESSION_TOKEN);
    let exchange = &tokens.asked()[0].body;
    assert!(
        exchange.contains("Action=AssumeRoleWithWebIdentity"),
        "{exchange}"
    );
    assert!(exchange.contains("WebIdentityToken=the-jwt"), "{exchange}");
    assert!(exchange.contains("role%2Fkeys"), "{exchange}");
}

/// ECS and EKS Pod Identity.
#[tokio::test]
async fn asks_the_container_credentials_endpoint() {
    let service = FakeService::start(answer_kms).await;
    let container = FakeService::start(|_| {
        Reply::ok(json!({
            "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": SESSION_TOKEN,
            "Expiration": "2099-01-01T00:00:00Z",
        }))
        .with_header("content-type", "application/json")
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "pod-token").unwrap();
    let variables = [
        variable(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("{}v1/credentials", container.url),
        ),
        variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.display()),
        variable("AWS_REGION", "ap-south-1"),
    ];
    let printed = printed_with(&service, &variables).await;
    assert!(printed.contains("fetched"), "{printed}");
    let asked = &service.asked()[0];
    assert_eq!(
        asked.header("authorization"),
        signature_of(asked, "ap-south-1")
    );
    let exchange = &container.asked()[0];
    assert_eq!(exchange.path(), "/v1/credentials");
    assert_eq!(exchange.header("authorization"), "pod-token");
    assert_eq!(container.asked().len(), 1, "what expires is remembered");
}
