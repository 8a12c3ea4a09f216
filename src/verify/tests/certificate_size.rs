//! Certificates beyond 64 KiB, in every place from which one is read.

use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::authorities::Own;
use super::forge::{Key, base64, pem};
use super::issue::{Issuer, Request};
use super::stamp::{Stamp, certificates};
use super::world::{failed, proven};
use crate::signature::{CertificateError, Intermediate, read_certificate};
use crate::verify::timestamp_token::TokenError;
use crate::verify::{
    CertificateAuthorities, FailedCheck, PublicKey, TrustedRoot, timestamp_chains,
};

/// The words that only the check of the size writes.
const TOO_LARGE: &str = "a certificate has at most 65536";
const PADDING: usize = 66 * 1024;

/// A reason with those below it.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |it| it.source());
    sources.fold(error.to_string(), |text, source| {
        format!("{text}: {source}")
    })
}

#[test]
fn certificate_of_64_kib_is_read_and_a_larger_one_is_not_parsed() {
    let root = Issuer::root("root");
    let sized = |padding| {
        let request = Request {
            padding,
            ..Request::leaf("https://builds.example/release")
        };
        root.issue(&request, &Key::generate())
    };
    let limit = 64 * 1024;
    // The signature has 70 to 72 bytes, by chance.
    let near = sized(limit - 2000).len() - (limit - 2000);
    let largest = (0..200)
        .map(|_try| sized(limit - near))
        .find(|der| der.len() == limit)
        .expect("one of the signatures has the right length");
    read_certificate(&largest).unwrap();
    for bytes in [[largest.as_slice(), &[0]].concat(), vec![0; limit + 1]] {
        let refused = read_certificate(&bytes);
        assert!(
            matches!(refused, Err(CertificateError::TooLarge(found)) if found == limit + 1),
            "{refused:?}"
        );
    }
}

#[test]
fn large_certificate_of_a_signature_is_refused_by_its_size() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let leaf = |padding| {
        let request = Request {
            padding,
            ..Request::leaf("https://builds.example/release")
        };
        root.issue(&request, &own.signer)
    };
    let large = root.intermediate(Request {
        padding: PADDING,
        ..Request::authority("large")
    });
    proven(&own.bundle(&leaf(60 * 1024)), &own.demand());
    proven(&own.legacy(&leaf(0), &[&root]), &own.demand());
    for candidate in [
        own.bundle(&leaf(PADDING)),
        own.legacy(&leaf(PADDING), &[]),
        own.legacy(&leaf(0), &[&large]),
    ] {
        let failure = failed(&candidate, &own.demand());
        assert_eq!(failure.check, FailedCheck::Malformed);
        assert!(failure.reason.contains(TOO_LARGE), "{}", failure.reason);
    }
}

#[test]
fn large_certificate_of_the_configuration_is_refused_by_its_size() {
    let large = Issuer::root_of(&Request {
        padding: PADDING,
        ..Request::authority("large")
    });
    let refused = CertificateAuthorities::from_pem(&large.pem).unwrap_err();
    assert!(chain(&refused).contains(TOO_LARGE), "{}", chain(&refused));
    let refused = timestamp_chains(&large.pem).unwrap_err();
    assert!(chain(&refused).contains(TOO_LARGE), "{}", chain(&refused));
    assert!(PublicKey::from_certificate(&large.pem).is_err());
    let small = Issuer::root("small");
    PublicKey::from_certificate(&small.pem).unwrap();
    for list in ["certificateAuthorities", "timestampAuthorities"] {
        let certificates: Vec<Value> = certificates(&large.pem)
            .iter()
            .map(|der| json!({ "rawBytes": base64(der) }))
            .collect();
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            list: [{ "uri": "", "certChain": { "certificates": certificates } }],
        });
        let refused = TrustedRoot::from_json(&root.to_string()).unwrap_err();
        assert!(
            chain(&refused).contains(TOO_LARGE),
            "{list}: {}",
            chain(&refused)
        );
    }
}

#[test]
fn large_certificate_in_a_token_is_not_read() {
    let root = Issuer::root("clock root");
    for (padding, counts) in [(60 * 1024, true), (PADDING, false)] {
        let stamp = Stamp {
            request: Request {
                padding,
                ..Stamp::new().request
            },
            ..Stamp::new()
        };
        let verified = stamp.verified_below(&[&root]);
        assert_eq!(verified.is_ok(), counts, "{verified:?}");
        assert!(counts || matches!(verified, Err(TokenError::NoCertificate)));
    }
}

#[test]
fn large_certificate_is_refused_as_any_other_that_is_no_certificate() {
    let der = CertificateDer::from(vec![0x30; PADDING]);
    let refused = Intermediate::parse(&sigstore_types::DerCertificate::from_bytes(&der));
    assert!(matches!(refused, Err(CertificateError::TooLarge(PADDING))));
    assert!(PublicKey::from_certificate(&pem("CERTIFICATE", &der)).is_err());
}
