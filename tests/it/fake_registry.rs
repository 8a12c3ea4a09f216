//! The fake registry does what the other tests rely on.

use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::image::{OCI_INDEX, noise};
use crate::support::*;

async fn get(registry: &FakeRegistry, path: &str) -> Answer {
    send(registry.port(), "GET", path, &[]).await
}

#[tokio::test]
async fn serves_what_it_holds() {
    let registry = FakeRegistry::start().await;
    let (image, key) = (Image::new("one"), SigningKey::generate());
    registry.push_tagged("apps/web", "v1", &image);
    let signature = registry.sign_bundle("apps/web", &image, &key);

    for reference in ["v1", &image.digest] {
        let answer = get(&registry, &format!("/v2/apps/web/manifests/{reference}")).await;
        assert_eq!((answer.status, &answer.body), (200, &image.bytes));
        assert_eq!(answer.header("docker-content-digest"), image.digest);
        assert_eq!(answer.header("content-type"), image.media_type);
    }
    let referrers = get(
        &registry,
        &format!("/v2/apps/web/referrers/{}", image.digest),
    )
    .await;
    assert_eq!(referrers.header("content-type"), OCI_INDEX);
    assert_eq!(referrers.json()["manifests"][0]["digest"], signature.digest);
    let missing = get(&registry, "/v2/apps/web/manifests/v2").await;
    assert_not_found(&missing, "MANIFEST_UNKNOWN");
    assert_eq!(registry.count("^GET /v2/apps/web/manifests/"), 3);
}

#[tokio::test]
async fn serves_parts_of_blobs_and_pages_of_tags() {
    let registry = FakeRegistry::start().await;
    let image = Image::new("one");
    for tag in ["a", "b", "c"] {
        registry.push_tagged("apps/web", tag, &image);
    }
    let path = format!("/v2/apps/web/blobs/{}", image.layer(0));
    let part = send(registry.port(), "GET", &path, &[("Range", "bytes=10-19")]).await;
    assert_eq!(
        (part.status, &part.body[..]),
        (206, &image.blobs[1][10..20])
    );
    let page = get(&registry, "/v2/apps/web/tags/list?n=2").await;
    assert_eq!(page.json()["tags"], serde_json::json!(["a", "b"]));
    assert!(page.header("link").contains("last=b"), "{page}");
    let page = get(&registry, "/v2/apps/web/tags/list?n=2&last=b").await;
    assert_eq!(page.json()["tags"], serde_json::json!(["c"]));
}

#[tokio::test]
async fn fails_as_told() {
    let registry = FakeRegistry::start().await;
    let blob = noise("blob", 100_000);
    registry.put_blob("apps/web", &blob);
    let path = format!("/v2/apps/web/blobs/{}", sha256(&blob));
    let with = async |fault: Fault| {
        registry.fault_times("/blobs/", 1, fault);
        get(&registry, &path).await
    };

    assert_eq!(with(Fault::Status(500)).await.status, 500);
    let throttled = with(Fault::Throttled(7)).await;
    assert_eq!(
        (throttled.status, throttled.header("retry-after")),
        (429, "7")
    );
    let reset = with(Fault::Reset).await;
    assert_eq!(reset.status, 0, "{reset}");
    let short = with(Fault::Truncate(1000)).await;
    assert!(short.broken.is_some());
    assert_eq!(
        (short.body.len(), short.header("content-length")),
        (1000, "100000")
    );
    let wrong = with(Fault::WrongBytes).await;
    assert!(wrong.is_whole_success() && wrong.body.len() == blob.len() && wrong.body != blob);
    assert_eq!(
        with(Fault::ContentType("text/html"))
            .await
            .header("content-type"),
        "text/html"
    );
    let late = with(Fault::Delay(Duration::from_millis(300))).await;
    assert!(late.elapsed >= Duration::from_millis(300) && late.body == blob);
    let slow = with(Fault::Trickle(25_000, Duration::from_millis(100))).await;
    assert!(slow.elapsed >= Duration::from_millis(400) && slow.body == blob);
    assert_eq!(
        get(&registry, &path).await.body,
        blob,
        "each fault happened once"
    );
}

#[tokio::test]
async fn hangs_stalls_and_never_ends_as_told() {
    let registry = FakeRegistry::start().await;
    let blob = noise("blob", 100_000);
    registry.put_blob("apps/web", &blob);
    let path = format!("/v2/apps/web/blobs/{}", sha256(&blob));
    let wait = Duration::from_millis(300);

    registry.fault_times("/blobs/", 1, Fault::Hang);
    let hung = tokio::time::timeout(wait, get(&registry, &path)).await;
    assert!(hung.is_err());
    registry.fault_times("/blobs/", 1, Fault::StallAfter(5000));
    let mut stalled = open(registry.port(), "GET", &path, &[]).await.unwrap();
    assert_eq!(stalled.read_at_least(5000).await, blob[..5000]);
    assert!(tokio::time::timeout(wait, stalled.chunk()).await.is_err());
    registry.fault_times("/blobs/", 1, Fault::Endless);
    let mut endless = open(registry.port(), "GET", &path, &[]).await.unwrap();
    assert!(endless.read_at_least(3_000_000).await.len() >= 3_000_000);
}

#[tokio::test]
async fn can_be_down_and_come_back() {
    let registry = FakeRegistry::start().await;
    registry.push_tagged("apps/web", "v1", &Image::new("one"));
    let path = "/v2/apps/web/manifests/v1";
    registry.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(get(&registry, path).await.status, 0);
    registry.resume().await;
    assert_eq!(get(&registry, path).await.status, 200);
    registry.set_latency(Duration::from_millis(200));
    let asked = Instant::now();
    get(&registry, path).await;
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn gives_tokens_out_and_wants_them_back() {
    let (registry, service) = FakeRegistry::start_with_tokens().await;
    registry.push_tagged("apps/web", "v1", &Image::new("one"));
    let path = "/v2/apps/web/manifests/v1";
    let refused = get(&registry, path).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").contains(&service.name()));
    let token = get(&service, "/token?service=fake").await.json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let answer = send(registry.port(), "GET", path, &[("Authorization", &bearer)]).await;
    assert_eq!(answer.status, 200);
}

#[test]
fn signatures_are_signatures_of_the_image() {
    let (image, key) = (Image::new("one"), SigningKey::generate());
    let pem = key.public_pem();
    let signature = key.legacy_signature(&image.digest);
    let manifest: serde_json::Value = serde_json::from_slice(&signature.bytes).unwrap();
    let layer = &manifest["layers"][0];
    assert_eq!(layer["digest"], sha256(&signature.blobs[1]));
    let signed = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str();
    let signed = STANDARD.decode(signed.unwrap()).unwrap();
    let der = STANDARD.decode(
        pem.lines()
            .filter(|line| !line.starts_with('-'))
            .collect::<String>(),
    );
    // The point is the last 65 bytes of the SubjectPublicKeyInfo of a P-256 key.
    let der = der.unwrap();
    let point = &der[der.len() - 65..];
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(&signature.blobs[1], &signed)
        .unwrap();
    let bundle: serde_json::Value =
        serde_json::from_slice(&key.bundle_signature(&image).blobs[1]).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let statement: serde_json::Value =
        serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], image.hex());
}
