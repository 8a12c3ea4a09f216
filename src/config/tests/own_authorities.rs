//! `certificate_authorities`, `revoked.certificates` and extensions by identifier.

use super::requirements::{authority, policy};
use super::*;
use crate::policy::Root;
use crate::verify::TrustedRoot;

/// A self-signed P-256 certificate made for this test with `openssl req -x509`, valid until 2126.
const CA: &str = include_str!("own_authority.pem");

const OWN: &str = "certificate_identity: x, certificate_authorities: ca.pem";

fn directory() -> Directory {
    let directory = Directory::new();
    directory.write("ca.pem", CA);
    directory
}

#[test]
fn the_issuer_is_optional_and_no_sct_is_demanded() {
    let directory = directory();
    let config = directory.load(&authority(OWN)).unwrap();
    let authority_read = config.policies.policies[0].requirement.authorities()[0].clone();
    let AuthoritySigner::Identity(requirement) = &authority_read.signer else {
        panic!("{authority_read:?}");
    };
    assert!(requirement.oidc_issuer.is_none() && requirement.certificate_authorities.is_some());
    assert!(authority_read.transparency_log && !authority_read.sct);
    let Root::Usable { root, .. } = &authority_read.trusted_root else {
        panic!("{authority_read:?}");
    };
    assert_ne!(root.digest, TrustedRoot::public_good().unwrap().digest);

    let with_issuer = authority(&format!("{OWN}, certificate_oidc_issuer: y, sct: required"));
    let config = directory.load(&with_issuer).unwrap();
    let authority_read = config.policies.policies[0].requirement.authorities()[0].clone();
    let AuthoritySigner::Identity(requirement) = &authority_read.signer else {
        panic!("{authority_read:?}");
    };
    assert!(requirement.oidc_issuer.is_some() && authority_read.sct);
}

#[test]
fn the_text_itself_means_the_same_as_a_file() {
    let directory = directory();
    let hash = |text: &str| directory.load(text).unwrap().policies.hash;
    let inline = CA.replace('\n', "\\n");
    let written = format!("certificate_identity: x, certificate_authorities: \"{inline}\"");
    let from_file = hash(&authority(OWN));
    assert_eq!(hash(&authority(&written)), from_file);
    let fulcio = "certificate_identity: x, certificate_oidc_issuer: y";
    let issuer = format!("{OWN}, certificate_oidc_issuer: y");
    assert_ne!(hash(&authority(fulcio)), hash(&authority(&issuer)));
    assert_ne!(hash(&authority(&issuer)), from_file);
}

#[test]
fn what_does_not_suffice_does_not_load() {
    let directory = directory();
    directory.write("empty.pem", "");
    directory.write(
        "private.json",
        r#"{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#,
    );
    let private = "trusted_roots: {private: {file: private.json}}\n";
    for (text, part) in [
        (
            "certificate_identity: x, certificate_authorities: none.pem",
            "cannot read",
        ),
        (
            "certificate_identity: x, certificate_authorities: empty.pem",
            "no self-signed root",
        ),
        (
            "certificate_identity: x, certificate_authorities: a.pub",
            "no self-signed root",
        ),
        (
            "key: a.pub, certificate_authorities: ca.pem",
            "a key has no certificate_authorities",
        ),
        (
            "certificate_authorities: ca.pem",
            "neither `certificate_identity`",
        ),
        (
            "certificate_identity: x, certificate_authorities: ca.pem, transparency_log: not_required",
            "needs a verified time",
        ),
        (
            "certificate_identity: x, certificate_authorities: ca.pem, trusted_root: private, sct: required",
            "knows no certificate-transparency log",
        ),
    ] {
        let problems = directory.problems(&format!("{private}{}", authority(text)));
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{text}: {problems:?}"
        );
    }
    let without = format!("{OWN}, trusted_root: private");
    directory
        .load(&format!("{private}{}", authority(&without)))
        .unwrap();
}

#[test]
fn extensions_have_names_and_identifiers() {
    let directory = Directory::new();
    let with = |extensions: &str| {
        authority(&format!(
            "certificate_identity: x, certificate_oidc_issuer: y, certificate_extensions: {{{extensions}}}"
        ))
    };
    let hash = |extensions: &str| directory.load(&with(extensions)).unwrap().policies.hash;
    assert_eq!(
        hash("1.3.6.1.4.1.57264.1.14: main, 1.3.6.1.4.1.57264.1.24: x"),
        hash("source_repository_ref: main, token_subject: x")
    );
    for (extensions, part) in [
        ("1.3.6.1.4.1.57264.1.7: a", "no certificate extension"),
        ("1.3.6.1.4.1.57264.2: a", "no certificate extension"),
        ("source_repository: a", "no certificate extension"),
        (
            "source_repository_ref: a, 1.3.6.1.4.1.57264.1.14: a",
            "`source_repository_ref` is there twice",
        ),
    ] {
        let problems = directory.problems(&with(extensions));
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{extensions}: {problems:?}"
        );
    }
}

#[test]
fn revoked_certificates_have_a_fingerprint_or_a_serial_number() {
    let directory = Directory::new();
    let hex = "a".repeat(64);
    let base = policy("authorities: [{key: a.pub}]");
    let revoked = |items: &str| format!("revoked: {{certificates: [{items}]}}\n{base}");
    let items = format!("'sha256:{hex}', '0A:bC:01', 'FF'");
    let config = directory.load(&revoked(&items)).unwrap();
    let read = &config.policies.revoked;
    assert_eq!(read.certificates.len(), 1);
    let mut serials: Vec<_> = read.serial_numbers.iter().map(String::as_str).collect();
    serials.sort_unstable();
    assert_eq!(serials, ["abc01", "ff"]);
    let hash = |text: &str| directory.load(text).unwrap().policies.hash;
    assert_ne!(hash(&revoked("'ff'")), hash(&base));
    assert_ne!(hash(&revoked("'ff'")), hash(&revoked("'fe'")));
    assert_eq!(hash(&revoked("'ff'")), hash(&revoked("'00:FF'")));
    assert_ne!(
        hash(&revoked(&format!("'sha256:{hex}'"))),
        hash(&revoked("'ff'"))
    );
    assert_eq!(hash(&revoked("'0x12'")), hash(&revoked("'00:12'")));
    // These digits may be meant in decimal.
    let problems = directory.problems(&revoked("'', 'xyz', 'sha256:00', ':', '4711'"));
    assert_eq!(problems.len(), 5, "{problems:#?}");
}
