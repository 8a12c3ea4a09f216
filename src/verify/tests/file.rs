//! Bundles over files, by the rules of the client protocol.

use std::fs;
use std::path::Path;

use base64::prelude::{BASE64_STANDARD as STANDARD, Engine as _};
use serde_json::{Value, json};

use super::corpus::{Corpus, root_json};
use crate::oci::Digest;
use crate::signature::Blob;
use crate::verify::file::{Artifact, Error, Signer, verify_bundle};
use crate::verify::{NoAuthority, TrustedRoot};

const IDENTITY: &str = "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The bundle of a case, and the digest it is for.
fn bundle(corpus: &Corpus, id: &str) -> (String, Digest) {
    let case = corpus.case(id);
    let artifact = corpus.artifacts(case).remove(0);
    let Some((_, Blob::Present(bytes))) = artifact.layers.first() else {
        panic!("{artifact:?}");
    };
    (
        String::from_utf8(bytes.to_vec()).unwrap(),
        corpus.digest(case),
    )
}

fn identity<'a>(identity: &'a str, oidc_issuer: &'a str) -> Signer<'a> {
    Signer::Identity {
        identity,
        oidc_issuer,
    }
}

#[test]
fn identities() {
    let corpus = Corpus::load();
    let root = corpus.root("trusted_root.json");
    let (json, digest) = bundle(&corpus, "kfb-r2-control");
    let artifact = Artifact::Digest(digest);
    let right = identity(IDENTITY, ISSUER);
    verify_bundle(&json, artifact, right, root).unwrap();
    let public_good = TrustedRoot::public_good().unwrap();
    let other = Artifact::Digest(Digest::sha256(b"another file"));
    for (artifact, signer, root) in [
        (other, right, root),
        (Artifact::Bytes(b"another file"), right, root),
        (artifact, identity("somebody", ISSUER), root),
        (
            artifact,
            identity(IDENTITY, "https://accounts.google.com"),
            root,
        ),
        (artifact, right, &public_good),
    ] {
        let refused = verify_bundle(&json, artifact, signer, root);
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    let broken = verify_bundle("{}", artifact, right, root);
    assert!(matches!(broken, Err(Error::Bundle(_))), "{broken:?}");
    let (altered, digest) = bundle(&corpus, "n-kfb-r2-proof");
    let refused = verify_bundle(&altered, Artifact::Digest(digest), right, root);
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[test]
fn keys() {
    let corpus = Corpus::load();
    let root = corpus.root("trusted_root.json");
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus/keys");
    let pem = |name: &str| fs::read_to_string(keys.join(name)).unwrap();
    let (json, digest) = bundle(&corpus, "kt-bundle-r2");
    let artifact = Artifact::Digest(digest);
    let judge = |pem: &str| verify_bundle(&json, artifact, Signer::Key { pem }, root);
    judge(&pem("k1.pub")).unwrap();
    assert!(matches!(judge(&pem("k2.pub")), Err(Error::Refused(_))));
    assert!(matches!(judge("no key"), Err(Error::Key(_))));
}

/// The chain that came along, and a root whose path length is this.
#[test]
fn what_stands_above_a_certificate() {
    const CONSTRAINTS: [u8; 8] = [0x30, 6, 1, 1, 0xff, 2, 1, 1];
    let corpus = Corpus::load();
    let (json, digest) = bundle(&corpus, "kf-bundle-c304-r1");
    let mut bundle: Value = serde_json::from_str(&json).unwrap();
    let mut root = root_json();
    let authority = &mut root["certificateAuthorities"][0];
    let certificates = &mut authority["certChain"]["certificates"];
    let between = certificates.as_array_mut().unwrap().remove(0);
    bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
    let material = bundle["verificationMaterial"].as_object_mut().unwrap();
    let leaf = material.remove("certificate").unwrap();
    let chain = json!({ "certificates": [leaf, between] });
    material.insert("x509CertificateChain".to_owned(), chain);
    let log_time = &bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"];
    let log_time: i64 = log_time.as_str().unwrap().parse().unwrap();
    let signed_at = jiff::Timestamp::from_second(log_time).unwrap();
    let judge = |root: &Value| {
        let root = TrustedRoot::from_json(&root.to_string()).unwrap();
        let artifact = Artifact::Digest(digest);
        let bundle = bundle.to_string();
        verify_bundle(&bundle, artifact, identity(IDENTITY, ISSUER), &root)
    };
    judge(&root).unwrap();

    let mut late = root.clone();
    late["certificateAuthorities"][0]["validFor"]["start"] = json!(signed_at.to_string());
    let refused = judge(&late).unwrap_err();
    let at_issue = matches!(refused, Error::Authority(NoAuthority::AtIssue(_)));
    assert!(at_issue, "{refused:?}");

    let certificate = &mut root["certificateAuthorities"][0]["certChain"]["certificates"][0];
    let der = STANDARD.decode(certificate["rawBytes"].as_str().unwrap());
    let mut der = der.unwrap();
    let place = der.windows(8).position(|it| it == CONSTRAINTS).unwrap();
    der[place + 7] = 0;
    certificate["rawBytes"] = json!(STANDARD.encode(&der));
    let refused = judge(&root).unwrap_err();
    let too_deep = matches!(refused, Error::Authority(NoAuthority::PathLength));
    assert!(too_deep, "{refused:?}");
}
