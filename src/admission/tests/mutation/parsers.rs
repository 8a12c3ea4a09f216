//! What a peer sends, altered by the same generator, before every parser that may meet it: none panics, none takes long.

use std::time::{Duration, Instant};

use super::derive;
use super::random::Random;
use super::world::Corpus;
use crate::limits::Limits;
use crate::oci::{Descriptor, Digest, Manifest, Reference, RepositoryName, media_type};
use crate::signature::{Artifact, Blob, Source, candidates, is_signature_material};
use crate::verify::{PublicKey, TrustedRoot};

/// Far more than parsing one document of the corpus takes, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(2);

/// Derived documents, each read as everything, unless the environment says otherwise.
const DOCUMENTS: usize = 1500;

const MANIFEST_TYPES: [&str; 4] = [
    media_type::OCI_MANIFEST,
    media_type::OCI_INDEX,
    media_type::DOCKER_MANIFEST,
    media_type::DOCKER_MANIFEST_LIST,
];

const LAYER_TYPES: [&str; 3] = [
    media_type::SIMPLE_SIGNING,
    media_type::DSSE_ENVELOPE,
    "application/vnd.dev.sigstore.bundle.v0.3+json",
];

#[test]
fn no_parser_panics_or_takes_long() {
    let corpus = Corpus::load();
    let documents: Vec<Vec<u8>> = corpus
        .repositories
        .values()
        .flat_map(|repository| {
            let manifests = repository.manifests.values();
            let manifests = manifests.map(|stored| stored.bytes.to_vec());
            manifests.chain(repository.blobs.values().map(|blob| blob.to_vec()))
        })
        .chain(Corpus::trust())
        .collect();
    let count = super::number("COUNTERSIGN_MUTANTS")
        .map_or(DOCUMENTS, |count| usize::try_from(count).unwrap() * 40);
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        let mut random = Random::of(super::SEED, "parsers", number);
        let mut bytes = random.one(&documents).clone();
        for _ in 0..=random.below(3) {
            bytes = derive::derived(&mut random, &bytes).0;
        }
        let started = Instant::now();
        parse_as_everything(&bytes);
        let taken = started.elapsed();
        assert!(taken < PATIENCE, "document {number} took {taken:?}");
        slowest = slowest.max(taken);
    }
    eprintln!("{count} documents, the slowest took {slowest:?}");
}

fn parse_as_everything(bytes: &[u8]) {
    for media_type in MANIFEST_TYPES {
        if let Ok(manifest) = Manifest::parse(bytes, media_type) {
            layers(&manifest);
        }
    }
    assert!(!bytes.is_empty() || !is_signature_material(bytes));
    let text = String::from_utf8_lossy(bytes);
    for media_type in LAYER_TYPES {
        let annotations = [
            "dev.cosignproject.cosign/signature",
            "dev.sigstore.cosign/certificate",
            "dev.sigstore.cosign/chain",
            "dev.sigstore.cosign/bundle",
            "dev.sigstore.cosign/rfc3161timestamp",
        ];
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::sha256(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: annotations
                .iter()
                .map(|name| ((*name).to_owned(), text.clone().into_owned()))
                .collect(),
        };
        found(vec![(descriptor, bytes.to_vec())]);
    }
    // Short texts that stand in paths, headers and manifests.
    let short: String = text.chars().take(300).collect();
    drop(short.parse::<Digest>());
    drop(short.parse::<Reference>());
    drop(short.parse::<RepositoryName>());
    drop(PublicKey::from_pem(&text));
    drop(TrustedRoot::from_json(&text));
}

/// The annotations of a manifest that could still be read are read too.
fn layers(manifest: &Manifest) {
    if let Manifest::Image(image) = manifest {
        let layers = image.layers.iter();
        found(
            layers
                .map(|layer| (layer.clone(), payload(layer)))
                .collect(),
        );
    }
}

/// Something that a layer of this type may hold, so that its annotations are read.
fn payload(layer: &Descriptor) -> Vec<u8> {
    let payload = format!(
        r#"{{"critical":{{"image":{{"docker-manifest-digest":"{}"}},"type":"cosign container image signature"}}}}"#,
        layer.digest
    );
    payload.into_bytes()
}

fn found(layers: Vec<(Descriptor, Vec<u8>)>) {
    let artifact = Artifact {
        source: Source::Referrers,
        digest: Digest::sha256(b"a manifest"),
        layers: layers
            .into_iter()
            .map(|(mut descriptor, blob)| {
                descriptor.size = blob.len() as u64;
                (descriptor, Blob::Present(blob.into()))
            })
            .collect(),
    };
    drop(candidates(&artifact, &Limits::default()));
}
