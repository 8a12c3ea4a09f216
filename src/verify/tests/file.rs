//! Bundles over files, by the rules of the client protocol.

use std::fs;
use std::path::Path;

use super::corpus::Corpus;
use crate::oci::Digest;
use crate::signature::Blob;
use crate::verify::TrustedRoot;
use crate::verify::file::{Artifact, Error, Signer, verify_bundle};

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
