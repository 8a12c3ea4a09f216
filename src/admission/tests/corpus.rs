//! Images of the corpus whose signatures are by identities, with what discovery would find for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::limits::Limits;
use crate::oci::{Digest, Manifest};
use crate::policy::{Authority, AuthoritySigner, IdentityRequirement, KeySet, Matcher, Root};
use crate::signature::{Artifact, Blob, Candidate, Source, candidates};
use crate::verify::{PublicKey, TrustedRoot};

/// The identity that most of the corpus is signed by, and its issuer.
pub(super) const RELEASE: &str = "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/main";
pub(super) const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// A digest of the corpus with its signatures.
pub(super) struct Signed {
    pub(super) digest: Digest,
    pub(super) candidates: Vec<Candidate>,
}

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus")
}

pub(super) fn json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder().join(name)).unwrap()).unwrap()
}

fn blob(digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").unwrap();
    fs::read(folder().join("blobs/sha256").join(hex)).unwrap()
}

/// What the case asks about, and the signatures under its legacy tag and among its referrers.
pub(super) fn signed(case: &str) -> Signed {
    let cases = json("cases.json");
    let case = cases
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["id"] == case)
        .unwrap();
    let digest: Digest = case["reference"].as_str().unwrap().parse().unwrap();
    let registry = json("registry.json");
    let repository = &registry["repositories"][case["repository"].as_str().unwrap()];
    let mut found = Vec::new();
    if let Some(legacy) = repository["tags"][format!("{}.sig", digest.to_tag_prefix())].as_str() {
        found.push((Source::CosignTag, legacy.to_owned()));
    }
    for name in repository["manifests"].as_object().unwrap().keys() {
        if let Manifest::Image(image) = manifest(repository, name)
            && image
                .subject
                .is_some_and(|subject| subject.digest == digest)
        {
            found.push((Source::Referrers, name.clone()));
        }
    }
    let candidates = found
        .iter()
        .flat_map(|(source, name)| {
            candidates(&artifact(repository, *source, name), &Limits::default())
        })
        .collect();
    Signed { digest, candidates }
}

fn manifest(repository: &Value, name: &str) -> Manifest {
    let media_type = &repository["manifests"][name]["mediaType"];
    Manifest::parse(&blob(name), media_type.as_str().unwrap()).unwrap()
}

fn artifact(repository: &Value, source: Source, name: &str) -> Artifact {
    let Manifest::Image(image) = manifest(repository, name) else {
        panic!("{name} is no image");
    };
    let layers = image.layers.into_iter().map(|layer| {
        let bytes = blob(&layer.digest.to_string());
        (layer, Blob::Present(bytes.into()))
    });
    Artifact {
        source,
        digest: name.parse().unwrap(),
        layers: layers.collect(),
    }
}

pub(super) fn root() -> Arc<TrustedRoot> {
    let text = json("trust/trusted_root.json").to_string();
    Arc::new(TrustedRoot::from_json(&text).unwrap())
}

/// The holder of one of the keys of the corpus.
pub(super) fn holder(key: &str, root: &Arc<TrustedRoot>) -> Arc<Authority> {
    let pem = fs::read_to_string(folder().join(format!("keys/{key}.pub"))).unwrap();
    Arc::new(Authority {
        signer: AuthoritySigner::Key {
            reference: key.to_owned(),
            keys: Arc::new(KeySet::of(PublicKey::from_pem(&pem).unwrap())),
        },
        transparency_log: false,
        sct: false,
        ..unnamed(key, root)
    })
}

pub(super) fn exact(text: &str) -> Matcher {
    Matcher::Exact(text.to_owned())
}

pub(super) fn expression(text: &str) -> Matcher {
    Matcher::expression(text).unwrap()
}

/// Whoever is certified under this identity by this issuer.
pub(super) fn identity(
    identity: Matcher,
    oidc_issuer: Matcher,
    root: &Arc<TrustedRoot>,
) -> Authority {
    let name = identity.source();
    Authority {
        signer: AuthoritySigner::Identity(IdentityRequirement {
            identity,
            oidc_issuer: Some(oidc_issuer),
            extensions: BTreeMap::new(),
            certificate_authorities: None,
        }),
        ..unnamed(&name, root)
    }
}

fn unnamed(name: &str, root: &Arc<TrustedRoot>) -> Authority {
    Authority {
        name: name.to_owned(),
        signer: AuthoritySigner::Identity(IdentityRequirement {
            identity: exact(""),
            oidc_issuer: Some(exact("")),
            extensions: BTreeMap::new(),
            certificate_authorities: None,
        }),
        trusted_root_name: "private".to_owned(),
        trusted_root: Root::usable(Arc::clone(root)),
        root_parts: None,
        transparency_log: true,
        signed_timestamp: false,
        sct: true,
    }
}
