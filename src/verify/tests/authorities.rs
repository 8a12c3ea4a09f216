//! Certificates by authorities of one's own, without Fulcio.

use serde_json::json;

use super::chains::fulcio_root;
use super::forge::{
    Key, LOG_TIME, annotation, base64, candidate, entry_of, envelope, hashed_rekord, now, payload,
    pem, statement, subject,
};
use super::issue::{Issuer, Request};
use super::world::{World, failed, proven};
use crate::oci::{Digest, media_type};
use crate::signature::Candidate;
use crate::verify::{
    CertificateAuthorities, CertificateAuthoritiesError, Demand, FailedCheck, ProvenSigner, Signer,
    TrustedRoot, extension_name, extension_names,
};

const BUILDER: &str = "https://builds.example/release";

/// A log, and a root that trusts it and these authorities.
pub(super) struct Own {
    pub(super) world: World,
    root: TrustedRoot,
    pub(super) signer: Key,
}

impl Own {
    pub(super) fn new(authorities: &[&Issuer]) -> Self {
        let world = World::new();
        let root = own(&world.root, authorities);
        Self {
            world,
            root,
            signer: Key::generate(),
        }
    }

    pub(super) fn demand(&self) -> Demand<'_> {
        Demand {
            signer: Signer::Certificate,
            trusted_root: &self.root,
            sct: false,
            ..self.world.demand()
        }
    }

    /// A legacy signature with its certificate, its chain and its log entry.
    pub(super) fn legacy(&self, leaf: &[u8], chain: &[&Issuer]) -> Candidate {
        let payload = payload(&subject().to_string(), "ghcr.io/org/app");
        let signature = self.signer.sign(&payload);
        let certificate = pem("CERTIFICATE", leaf);
        let body = hashed_rekord(&payload, &signature, &certificate);
        let log = annotation(&self.world.log, &body, LOG_TIME);
        let mut annotations = vec![
            ("dev.cosignproject.cosign/signature", base64(&signature)),
            ("dev.sigstore.cosign/certificate", certificate),
            ("dev.sigstore.cosign/bundle", log.to_string()),
        ];
        if !chain.is_empty() {
            annotations.push(("dev.sigstore.cosign/chain", text(chain)));
        }
        candidate(media_type::SIMPLE_SIGNING, &payload, &annotations)
    }

    /// A bundle, which holds the leaf only.
    pub(super) fn bundle(&self, leaf: &[u8]) -> Candidate {
        let statement = statement(super::forge::SIGN_V1, &subject()).to_string();
        let envelope = envelope(&self.signer, statement.as_bytes());
        let verifier = base64(pem("CERTIFICATE", leaf).as_bytes());
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": {
                "algorithm": "sha256",
                "value": Digest::sha256(envelope.to_string().as_bytes()).to_hex(),
            },
            "payloadHash": {
                "algorithm": "sha256",
                "value": Digest::sha256(statement.as_bytes()).to_hex(),
            },
            "signatures": [{
                "signature": envelope["signatures"][0]["sig"],
                "verifier": verifier,
            }],
        }});
        let log = &self.world.log;
        let mut entry = entry_of(log, &body);
        let promise = log.promise(body.to_string().as_bytes(), LOG_TIME, 0);
        entry["integratedTime"] = json!(LOG_TIME.to_string());
        entry["inclusionPromise"] = json!({ "signedEntryTimestamp": base64(&promise) });
        super::forge::bundle_candidate(&json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": base64(leaf) },
                "tlogEntries": [entry],
            },
            "dsseEnvelope": envelope,
        }))
    }

    pub(super) fn leaf(&self, issuer: &Issuer) -> Vec<u8> {
        issuer.issue(&Request::leaf(BUILDER), &self.signer)
    }
}

pub(super) fn text(issuers: &[&Issuer]) -> String {
    issuers.iter().map(|issuer| issuer.pem.as_str()).collect()
}

fn own(root: &TrustedRoot, authorities: &[&Issuer]) -> TrustedRoot {
    let authorities = CertificateAuthorities::from_pem(&text(authorities)).unwrap();
    root.with_certificate_authorities(&authorities).unwrap()
}

fn identity(candidate: &Candidate, demand: &Demand<'_>) -> (String, String) {
    match proven(candidate, demand).signer {
        ProvenSigner::Certificate(certificate) => (certificate.identity, certificate.oidc_issuer),
        ProvenSigner::Key(key) => panic!("by the key {key}"),
    }
}

#[test]
fn certificates_lead_to_one_of_the_roots() {
    let (first, second) = (Issuer::root("first"), Issuer::root("second"));
    let between = second.intermediate(Request::authority("between"));
    let own = Own::new(&[&first, &second, &between]);
    let expected = (BUILDER.to_owned(), String::new());
    for issuer in [&first, &second, &between] {
        let leaf = own.leaf(issuer);
        for candidate in [own.legacy(&leaf, &[]), own.bundle(&leaf)] {
            assert_eq!(identity(&candidate, &own.demand()), expected);
        }
    }
    // An intermediate that is not in the file may come along with the signature.
    let other = first.intermediate(Request::authority("other").for_code());
    let leaf = own.leaf(&other);
    let candidate = own.legacy(&leaf, &[&other, &first]);
    assert_eq!(identity(&candidate, &own.demand()), expected);
    let missing = failed(&own.legacy(&leaf, &[]), &own.demand());
    assert_eq!(missing.check, FailedCheck::InvalidCertificate);
}

#[test]
fn other_authorities_are_refused() {
    let (first, stranger) = (Issuer::root("root"), Issuer::root("stranger"));
    // Of the same name, with another key.
    let impostor = Issuer::root("root");
    let own = Own::new(&[&first]);
    let below = stranger.intermediate(Request::authority("root"));
    for issuer in [&stranger, &impostor, &below] {
        let leaf = own.leaf(issuer);
        for candidate in [
            own.legacy(&leaf, &[]),
            own.legacy(&leaf, &[issuer, &stranger]),
            own.bundle(&leaf),
        ] {
            let failure = failed(&candidate, &own.demand());
            assert_eq!(failure.check, FailedCheck::InvalidCertificate);
        }
    }
}

#[test]
fn an_intermediate_must_be_valid_when_the_log_saw_the_signature() {
    let root = Issuer::root("root");
    for (valid, is_valid) in [
        ((-1000, 1000), true),
        ((-1000, -1), false),
        ((1, 1000), false),
        // Valid at the time of signing, but not yet when the certificate was issued.
        ((-30, 1000), false),
    ] {
        let request = Request {
            valid,
            ..Request::authority("between").for_code()
        };
        let between = root.intermediate(request);
        let in_file = Own::new(&[&root, &between]);
        let along = Own::new(&[&root]);
        let leaf = in_file.leaf(&between);
        let found = [
            (&in_file, in_file.legacy(&leaf, &[])),
            (&in_file, in_file.bundle(&leaf)),
            (&along, along.legacy(&along.leaf(&between), &[&between])),
        ];
        for (own, candidate) in found {
            if is_valid {
                proven(&candidate, &own.demand());
            } else {
                let failure = failed(&candidate, &own.demand());
                assert_eq!(failure.check, FailedCheck::InvalidCertificate, "{valid:?}");
            }
        }
    }
}

#[test]
fn a_root_must_be_valid_too() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let leaf = Request {
        // The log's time is past the root's.
        valid: (-2_000_000, 600),
        ..Request::leaf(BUILDER)
    };
    let failure = failed(
        &own.legacy(&root.issue(&leaf, &own.signer), &[]),
        &own.demand(),
    );
    assert_eq!(failure.check, FailedCheck::InvalidCertificate);
    assert!(now().as_second() > LOG_TIME);
}

#[test]
fn usage_names_and_times_of_the_certificate() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let leaf = || Request::leaf(BUILDER);
    let rows = [
        Request {
            usage: None,
            ..leaf()
        },
        leaf().for_servers(),
        Request {
            identities: vec![],
            ..leaf()
        },
        Request {
            identities: vec![BUILDER, "https://other.example"],
            ..leaf()
        },
        Request {
            valid: (-600, -1),
            ..leaf()
        },
        Request {
            valid: (1, 600),
            ..leaf()
        },
        Request {
            is_authority: true,
            ..leaf()
        },
    ];
    proven(&own.legacy(&own.leaf(&root), &[]), &own.demand());
    for request in rows {
        let leaf = root.issue(&request, &own.signer);
        for candidate in [own.legacy(&leaf, &[]), own.bundle(&leaf)] {
            let failure = failed(&candidate, &own.demand());
            assert_eq!(failure.check, FailedCheck::InvalidCertificate);
        }
    }
}

#[test]
fn an_issuer_is_kept_and_may_be_absent_only_here() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let request = Request {
        oidc_issuer: Some("https://issuer.example"),
        ..Request::leaf(BUILDER)
    };
    let leaf = root.issue(&request, &own.signer);
    let (_, issuer) = identity(&own.legacy(&leaf, &[]), &own.demand());
    assert_eq!(issuer, "https://issuer.example");

    // The same authority in a trusted root is taken for a Fulcio, whose certificates name an issuer.
    let fulcio = fulcio_root(&own, &root);
    let demand = Demand {
        trusted_root: &fulcio,
        ..own.demand()
    };
    proven(&own.legacy(&leaf, &[]), &demand);
    let failure = failed(&own.legacy(&own.leaf(&root), &[]), &demand);
    assert_eq!(failure.check, FailedCheck::WrongIssuer);
}

#[test]
fn authorities_of_the_trusted_root_are_not_believed_any_more() {
    let (fulcio, mine) = (Issuer::root("fulcio"), Issuer::root("mine"));
    let mut setting = Own::new(&[&mine]);
    let before = fulcio_root(&setting, &fulcio);
    setting.root = own(&before, &[&mine]);
    let request = Request {
        oidc_issuer: Some("https://issuer.example"),
        ..Request::leaf(BUILDER)
    };
    let candidate = setting.legacy(&fulcio.issue(&request, &setting.signer), &[&fulcio]);
    let demand = Demand {
        trusted_root: &before,
        ..setting.demand()
    };
    proven(&candidate, &demand);
    let failure = failed(&candidate, &setting.demand());
    assert_eq!(failure.check, FailedCheck::InvalidCertificate);
}

#[test]
fn the_digest_covers_root_and_authorities() {
    let (first, second) = (Issuer::root("first"), Issuer::root("second"));
    let (world, other) = (World::new(), World::new());
    let one = own(&world.root, &[&first]).digest;
    assert_eq!(one, own(&world.root, &[&first]).digest);
    let different = [
        world.root.digest,
        own(&world.root, &[&second]).digest,
        own(&world.root, &[&first, &second]).digest,
        own(&other.root, &[&first]).digest,
    ];
    assert!(!different.contains(&one), "{different:?}");
}

#[test]
fn only_certificates_of_authorities_with_a_root_load() {
    let root = Issuer::root("root");
    let between = root.intermediate(Request::authority("between"));
    let load = |text: &str| CertificateAuthorities::from_pem(text).map(|_| ());
    let leaf = pem(
        "CERTIFICATE",
        &root.issue(&Request::leaf(BUILDER), &Key::generate()),
    );
    load(&text(&[&root, &between])).unwrap();
    load(&text(&[&between, &root])).unwrap();
    assert!(matches!(
        load(&between.pem),
        Err(CertificateAuthoritiesError::NoRoot)
    ));
    assert!(matches!(
        load(&text(&[&Issuer::root("other"), &between])),
        Err(CertificateAuthoritiesError::NoIssuer { subject }) if subject == "CN=between"
    ));
    assert!(matches!(load(""), Err(CertificateAuthoritiesError::NoRoot)));
    assert!(matches!(
        load(&format!("{}{leaf}", root.pem)),
        Err(CertificateAuthoritiesError::NotAnAuthority { position: 2 })
    ));
    assert!(matches!(
        load(&pem("CERTIFICATE", b"nothing")),
        Err(CertificateAuthoritiesError::Broken { position: 1, .. })
    ));
    assert!(matches!(
        load("-----BEGIN CERTIFICATE-----\n"),
        Err(CertificateAuthoritiesError::NotPem(_))
    ));
    assert!(matches!(
        load(&root.pem.repeat(33)),
        Err(CertificateAuthoritiesError::TooMany)
    ));
}

#[test]
fn extensions_by_name_and_by_identifier() {
    assert_eq!(extension_names().count(), 22);
    for name in extension_names() {
        assert_eq!(extension_name(name), Some(name));
    }
    for (identifier, name) in [
        ("1", Some("issuer")),
        ("6", Some("github_workflow_ref")),
        ("8", Some("issuer")),
        ("14", Some("source_repository_ref")),
        ("23", Some("deployment_environment")),
        ("24", Some("token_subject")),
        // The name of a user is no extension.
        ("7", None),
        ("25", None),
        ("014", None),
        ("", None),
    ] {
        let identifier = format!("1.3.6.1.4.1.57264.1.{identifier}");
        assert_eq!(extension_name(&identifier), name, "{identifier}");
    }
    assert_eq!(extension_name("sourceRepositoryRef"), None);
}
