//! Material in the forms in which others write it, and cosign reads it.

use serde_json::{Value, json};

use super::authorities::{Own, text};
use super::forge::{LOG_TIME, annotation, base64, bundle, bundle_candidate, candidate};
use super::forge::{hashed_rekord, payload, pem, subject};
use super::issue::{Issuer, Request};
use super::world::{World, failed, proven};
use crate::oci::media_type;
use crate::signature::Candidate;
use crate::verify::{Demand, FailedCheck};

/// As `openssl base64` writes it.
fn wrapped(text: &str, line_break: &str) -> String {
    let lines = text.as_bytes().chunks(64);
    let lines = lines.map(|line| format!("{}{line_break}", std::str::from_utf8(line).unwrap()));
    lines.collect()
}

/// The annotations of a signature with a certificate, a chain and a log entry.
struct Annotations {
    signature: String,
    certificate: String,
    chain: String,
    log: Value,
}

fn signed(own: &Own, issuer: &Issuer) -> (Vec<u8>, Annotations) {
    let payload = payload(&subject().to_string(), "ghcr.io/org/app");
    let signature = own.signer.sign(&payload);
    let leaf = own.leaf(issuer);
    let certificate = pem("CERTIFICATE", &leaf);
    let body = hashed_rekord(&payload, &signature, &certificate);
    let annotations = Annotations {
        signature: base64(&signature),
        certificate,
        chain: text(&[issuer]),
        log: annotation(&own.world.log, &body, LOG_TIME),
    };
    (payload, annotations)
}

fn layer(payload: &[u8], annotations: &Annotations) -> Candidate {
    let annotations = [
        (
            "dev.cosignproject.cosign/signature",
            annotations.signature.clone(),
        ),
        (
            "dev.sigstore.cosign/certificate",
            annotations.certificate.clone(),
        ),
        ("dev.sigstore.cosign/chain", annotations.chain.clone()),
        ("dev.sigstore.cosign/bundle", annotations.log.to_string()),
    ];
    candidate(media_type::SIMPLE_SIGNING, payload, &annotations)
}

#[test]
fn annotations_are_read_as_go_reads_them() {
    let root = Issuer::root("root");
    let between = root.intermediate(Request::authority("between"));
    let own = Own::new(&[&root]);
    let changes: [fn(&mut Annotations); 8] = [
        |_| {},
        |it| it.signature = wrapped(&it.signature, "\n"),
        |it| it.signature = wrapped(&it.signature, "\r\n"),
        |it| it.certificate = it.certificate.replace('\n', "\r\n"),
        |it| it.certificate = format!("subject=CN = leaf\n\n{}after it\n", it.certificate),
        |it| it.chain = it.chain.replace("-----\n", "-----\nNote: a header\n\n"),
        |it| it.chain = format!("{}\n\n", it.chain.replace('\n', " \n")),
        |it| {
            let promise = it.log["SignedEntryTimestamp"].as_str().unwrap();
            it.log["SignedEntryTimestamp"] = json!(wrapped(promise, "\n"));
        },
    ];
    for change in changes {
        let (payload, mut annotations) = signed(&own, &between);
        change(&mut annotations);
        proven(&layer(&payload, &annotations), &own.demand());
    }
}

#[test]
fn annotations_that_go_does_not_read_are_malformed() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let changes: [fn(&mut Annotations); 6] = [
        |it| it.signature.insert(8, ' '),
        |it| it.signature.insert(8, '\t'),
        |it| it.signature.push('='),
        |it| it.signature.replace_range(8..9, "_"),
        |it| it.certificate = it.certificate.replace("-----END", "----END"),
        |it| it.certificate = it.certificate.repeat(2),
    ];
    for (position, change) in changes.into_iter().enumerate() {
        let (payload, mut annotations) = signed(&own, &root);
        change(&mut annotations);
        let failure = failed(&layer(&payload, &annotations), &own.demand());
        assert_eq!(failure.check, FailedCheck::Malformed, "change {position}");
    }
}

#[test]
fn envelope_in_wrapped_or_url_safe_base64_is_read() {
    let world = World::new();
    let demand = Demand {
        transparency_log: false,
        ..world.demand()
    };
    let url_safe = |text: &str| text.replace('+', "-").replace('/', "_");
    let lines = |text: &str| wrapped(text, "\n");
    let forms: [&dyn Fn(&str) -> String; 3] = [&str::to_owned, &lines, &url_safe];
    for form in forms {
        let mut envelope = world.envelope();
        for place in ["/payload", "/signatures/0/sig"] {
            let text = form(envelope.pointer(place).unwrap().as_str().unwrap());
            *envelope.pointer_mut(place).unwrap() = json!(text);
        }
        proven(
            &bundle_candidate(&bundle(&world.signer, &envelope)),
            &demand,
        );
    }
    let mut spaced = world.envelope();
    let text = spaced["payload"].as_str().unwrap().to_owned();
    spaced["payload"] = json!(format!("{} {}", &text[..4], &text[4..]));
    let failure = failed(&bundle_candidate(&bundle(&world.signer, &spaced)), &demand);
    assert_eq!(failure.check, FailedCheck::Malformed);
}
