//! CVE-2026-39984: a timestamp with the certificate of somebody else injected.

use sigstore_types::TimestampToken;

use crate::verify::TrustedRoot;
use crate::verify::timestamp::{self, Unproven};

#[test]
fn cve_2026_39984_the_certificate_that_signed_decides() {
    let directory = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/timestamp-authority/"
    );
    let read = |name: &str| std::fs::read(format!("{directory}{name}")).unwrap();
    let token = TimestampToken::new(read("response-injected-certs.tsr"));
    // The published response is over these bytes, which no signature of an image can be.
    let message = b"hello";
    // The file has no authority above the genuine certificate, so neither root can believe it; but only the certificate
    // that really signed gets as far as its chain.
    for (root, expected) in [
        ("root_genuine.json", "its issuer is unknown"),
        ("root_spoofed.json", "by another authority"),
    ] {
        let text = String::from_utf8(read(root)).unwrap();
        let root = TrustedRoot::from_json(&text).unwrap();
        let outcome = timestamp::check_token(&token, message, &root);
        let Err(Unproven::Unknown(reason) | Unproven::Wrong(reason)) = outcome else {
            panic!("believed: {text}");
        };
        assert!(reason.contains(expected), "{reason}");
    }
}
