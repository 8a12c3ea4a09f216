//! Which of two times is whose, and what is not proven: left out of a proof, and repeated in short in a failure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::authorities::Own;
use super::forge::{
    Key, LOG_TIME, Log, annotation, base64, bundle, bundle_candidate, candidate, entry,
    hashed_rekord,
};
use super::issue::{Issuer, Request};
use super::world::{World, failed, proven};
use crate::limits::Limits;
use crate::oci::{Digest, media_type};
use crate::signature::Candidate;
use crate::verify::{Attempt, Demand, Purpose, Signer, TrustedRoot, verify};

/// `tests/fixtures/chains`: a signature whose certificate lives for a quarter of an hour, stamped in between.
const PAYLOAD: &[u8] = include_bytes!("../../../tests/fixtures/chains/payload.json");
const ANNOTATIONS: &str = include_str!("../../../tests/fixtures/chains/annotations.json");
const ROOT: &str = include_str!("../../../tests/fixtures/chains/trusted_root.json");
const IMAGE: &[u8] = include_bytes!("../../../tests/fixtures/chains/image.json");
const STAMPED: &str = "2026-11-23T17:33:00Z";

fn control() -> Value {
    let all: Value = serde_json::from_str(ANNOTATIONS).unwrap();
    all["control"].clone()
}

/// The same with an entry of this time in the log.
fn logged(log: &Log, time: Timestamp) -> Candidate {
    let annotations = control();
    let annotations = annotations.as_object().unwrap();
    let text = |name: &str| annotations[&format!("dev.{name}")].as_str().unwrap();
    let signature = base64_decoded(text("cosignproject.cosign/signature"));
    let certificate = text("sigstore.cosign/certificate");
    let body = hashed_rekord(PAYLOAD, &signature, certificate);
    let entry = annotation(log, &body, time.as_second()).to_string();
    let mut layer: Vec<(&str, String)> = annotations
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap().to_owned()))
        .collect();
    layer.push(("dev.sigstore.cosign/bundle", entry));
    candidate(media_type::SIMPLE_SIGNING, PAYLOAD, &layer)
}

fn base64_decoded(text: &str) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.decode(text).unwrap()
}

#[test]
fn the_time_of_the_timestamp_is_not_that_of_the_log() {
    let log = Log::new();
    let mut root: Value = serde_json::from_str(ROOT).unwrap();
    root["tlogs"] = json!([{
        "baseUrl": "https://log.example",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": base64(&log.key.der()),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        },
        "logId": {"keyId": base64(&log.id)},
    }]);
    let root = TrustedRoot::from_json(&root.to_string()).unwrap();
    let demand = Demand {
        signer: Signer::Certificate,
        purpose: Purpose::Signature,
        trusted_root: &root,
        transparency_log: true,
        signed_timestamp: true,
        sct: false,
        signed_name: None,
    };
    let stamped: Timestamp = STAMPED.parse().unwrap();
    for (time, first) in [
        ("2026-11-23T17:29:00Z", "2026-11-23T17:29:00Z"),
        ("2026-11-23T17:40:00Z", STAMPED),
        (STAMPED, STAMPED),
    ] {
        let time = time.parse().unwrap();
        let attempt = verify(
            &logged(&log, time),
            &Digest::sha256(IMAGE),
            &demand,
            &Limits::default(),
            "2026-11-23T18:00:00Z".parse().unwrap(),
        );
        let Attempt::Proven(proof) = attempt else {
            panic!("{time}: {attempt:?}");
        };
        assert_eq!(proof.signed_timestamp, Some(stamped), "{time}");
        assert_eq!(proof.transparency_log.unwrap().integrated_time, Some(time));
        assert_eq!(proof.verified_time, Some(first.parse().unwrap()), "{time}");
    }
}

/// An entry of Rekor v2 may say a time, which nothing in it proves.
#[test]
fn a_time_without_a_promise_is_left_out() {
    let world = World::new();
    let envelope = world.envelope();
    let mut entry = entry(&world.log, &world.signer, &envelope);
    entry["integratedTime"] = json!(LOG_TIME.to_string());
    let mut bundle = bundle(&world.signer, &envelope);
    bundle["verificationMaterial"]["tlogEntries"] = json!([entry]);
    let proof = proven(&bundle_candidate(&bundle), &world.demand());
    assert_eq!(proof.verified_time, None);
    assert_eq!(proof.transparency_log.unwrap().integrated_time, None);
}

#[test]
fn what_an_unproven_certificate_says_is_repeated_on_one_line_and_in_short() {
    let long = |kind: &str| -> &'static str {
        let text = format!("https://{kind}.example/\u{7}{}", "x".repeat(10_000));
        text.leak()
    };
    let stranger = Issuer::root("stranger");
    let own = Own::new(&[&Issuer::root("root")]);
    let leaf = stranger.issue(
        &Request {
            oidc_issuer: Some(long("issuer")),
            ..Request::leaf(long("identity"))
        },
        &Key::generate(),
    );
    let failure = failed(&own.legacy(&leaf, &[]), &own.demand());
    let said = failure.certificate.unwrap();
    let extensions = said.extensions.values();
    for text in [&said.identity, &said.oidc_issuer]
        .into_iter()
        .chain(extensions)
        .chain([&failure.reason])
    {
        assert!(text.chars().count() <= 512, "{text}");
        assert!(!text.contains(char::is_control), "{text}");
    }
    assert!(said.identity.starts_with("https://identity.example/"));
    assert!(said.oidc_issuer.starts_with("https://issuer.example/"));
    assert!(said.extensions["issuer"].starts_with("https://issuer.example/"));
}
