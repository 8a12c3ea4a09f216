//! What judging costs, from the bytes of the signatures to the decision, without network and disk.
//!
//! Each benchmark parses the manifests of the signatures, makes candidates of them and evaluates a policy, as the proxy
//! does for a digest that it has not seen before. Nothing is kept from one iteration to the next but policies, keys and
//! trusted roots. Most of it is the corpus under `tests/fixtures/corpus`, signed by real cosign.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "material that is not as it must be has no cost worth knowing"
)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use countersign::admission::evaluate::{Finding, Known, evaluate};
use countersign::decision_log::Subject;
use countersign::limits::Limits;
use countersign::oci::{Digest, Manifest, RepositoryName, media_type};
use countersign::policy::{
    AttestationRequirement, Authority, AuthoritySigner, Coverage, DefaultAction,
    IdentityRequirement, KeySet, Matcher, Mode, Policies, Policy, Quantifier, Requirement, Revoked,
    Root, SignatureRequirement, SignedName, Tags,
};
use countersign::signature::{Artifact, Blob, Source, candidates};
use countersign::verify::{PublicKey, TrustedRoot};
use divan::Bencher;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Cases of the corpus and what each shows.
const CASES: [(&str, &str); 9] = [
    ("legacy P-256", "kl-k1"),
    ("legacy P-256, log entry", "kt-legacy"),
    ("bundle P-256", "kb-k1"),
    ("bundle P-256, Rekor v2", "kt-bundle-r2"),
    ("keyless legacy, Rekor v1", "kf-legacy-gh"),
    ("keyless bundle, Rekor v1, timestamp", "kf-bundle-r1tsa"),
    ("keyless bundle, Rekor v2, timestamp", "kfb-r2-control"),
    ("attestation legacy P-256", "att-legacy-slsaprovenance1"),
    (
        "attestation keyless bundle",
        "att-keyless-bundle-slsaprovenance1",
    ),
];

/// One question with everything that arrives for it.
struct Question {
    subject: Subject,
    policies: Policies,
    manifests: Vec<Arrived>,
    blobs: HashMap<Digest, Bytes>,
    limits: Limits,
    now: Timestamp,
}

/// The manifest of signatures as it comes from a registry.
struct Arrived {
    source: Source,
    digest: Digest,
    bytes: Vec<u8>,
    media_type: String,
}

impl Question {
    /// From bytes to the decision; tells whether it is to admit.
    fn decide(&self) -> bool {
        let mut found = Vec::new();
        for arrived in &self.manifests {
            let Ok(Manifest::Image(image)) = Manifest::parse(&arrived.bytes, &arrived.media_type)
            else {
                return false;
            };
            let layers = image.layers.into_iter().map(|layer| {
                let blob = self.blobs.get(&layer.digest);
                let blob = blob.map_or(Blob::Missing, |bytes| Blob::Present(bytes.clone()));
                (layer, blob)
            });
            let artifact = Artifact {
                source: arrived.source,
                digest: arrived.digest,
                layers: layers.collect(),
            };
            // The newest first: cosign appends.
            found.extend(candidates(&artifact, &self.limits).into_iter().rev());
        }
        let known = Known {
            candidates: &found,
            failed_sources: &[],
            absent_referrer: None,
            tags: &Tags::default(),
            limit_exceeded: None,
            stale: false,
            witnessed: true,
        };
        let evaluation = evaluate(
            &self.subject,
            &self.policies,
            &known,
            &self.limits,
            self.now,
        );
        matches!(evaluation.finding, Finding::Satisfied)
    }
}

fn main() {
    divan::main();
}

#[divan::bench(args = CASES.map(|(name, _case)| name))]
fn one_signature(bencher: Bencher<'_, '_>, name: &str) {
    let (_name, case) = CASES.into_iter().find(|(known, _)| *known == name).unwrap();
    let question = Corpus::load().question(case);
    assert!(question.decide(), "{case} must be admitted");
    bencher.bench_local(|| question.decide());
}

#[divan::bench]
fn newest_of_500_by_keys(bencher: Bencher<'_, '_>) {
    let question = accumulated_keys(500, true);
    assert!(question.decide(), "the newest is good");
    bencher.bench_local(|| question.decide());
}

#[divan::bench]
fn newest_of_500_keyless(bencher: Bencher<'_, '_>) {
    let question = Corpus::load().accumulated_keyless(500);
    assert!(question.decide(), "the newest is good");
    bencher.bench_local(|| question.decide());
}

#[divan::bench]
fn a_thousand_bad_by_keys(bencher: Bencher<'_, '_>) {
    let question = accumulated_keys(1000, false);
    assert!(!question.decide(), "none is good");
    bencher.bench_local(|| question.decide());
}

/// A legacy manifest of `count` signatures of one image by keys nobody trusts; with `good`, the newest is the authority's.
fn accumulated_keys(count: usize, good: bool) -> Question {
    let (trusted, other) = (key(), key());
    let digest = Digest::sha256(b"an image");
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example/apps/web"},
            "image": {"docker-manifest-digest": digest.to_string()},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string();
    let layers = (1..=count).map(|index| {
        let key = if good && index == count {
            &trusted
        } else {
            &other
        };
        let signature = key.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        json!({
            "mediaType": media_type::SIMPLE_SIGNING,
            "digest": Digest::sha256(payload.as_bytes()).to_string(),
            "size": payload.len(),
            "annotations": {
                "dev.cosignproject.cosign/signature": BASE64_STANDARD.encode(signature.as_ref()),
            },
        })
    });
    let manifest = legacy_manifest(&layers.collect::<Vec<_>>());
    let signer = AuthoritySigner::Key {
        reference: "inline".to_owned(),
        keys: Arc::new(KeySet::of(PublicKey::from_pem(&pem(&trusted)).unwrap())),
    };
    let authority = Authority {
        transparency_log: false,
        ..authority(signer, TrustedRoot::public_good().unwrap())
    };
    let blobs = [Bytes::from(payload)];
    question(digest, signature_by(vec![authority]), vec![manifest], blobs)
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()
}

fn pem(key: &EcdsaKeyPair) -> String {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let text = BASE64_STANDARD.encode(der.as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn legacy_manifest(layers: &[Value]) -> Arrived {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::sha256(b"{}").to_string(),
            "size": 2,
        },
        "layers": layers,
    });
    let bytes = manifest.to_string().into_bytes();
    Arrived {
        source: Source::CosignTag,
        digest: Digest::sha256(&bytes),
        bytes,
        media_type: media_type.to_owned(),
    }
}

fn question(
    digest: Digest,
    requirement: Requirement,
    manifests: Vec<Arrived>,
    blobs: impl IntoIterator<Item = Bytes>,
) -> Question {
    let limits = Limits::default();
    let policies = vec![Arc::new(policy(requirement).with_hash())];
    Question {
        subject: Subject {
            repository: RepositoryName::new("registry.example", "apps/web").unwrap(),
            digest,
        },
        policies: Policies::new(policies, DefaultAction::Deny, Revoked::default(), &limits),
        manifests,
        blobs: blobs
            .into_iter()
            .map(|bytes| (Digest::sha256(&bytes), bytes))
            .collect(),
        limits,
        // The end of the day on which the corpus was made.
        now: "2026-11-24T00:00:00Z".parse().unwrap(),
    }
}

fn policy(requirement: Requirement) -> Policy {
    Policy {
        name: "apps".to_owned(),
        hash: Digest::sha256(b"set later"),
        origin: None,
        coverage: Coverage::Names {
            images: vec!["registry.example/**".parse().unwrap()],
            exclude: Vec::new(),
        },
        mode: Mode::Enforce,
        requirement,
        signature_repositories: Vec::new(),
        signed_name: SignedName::Any,
        max_signature_age: None,
    }
}

/// A signature by one of the authorities.
fn signature_by(authorities: Vec<Authority>) -> Requirement {
    let of = authorities
        .into_iter()
        .map(|authority| SignatureRequirement {
            authority: Arc::new(authority),
            annotations: BTreeMap::new(),
        });
    Requirement::Signers {
        count: 1,
        of: of.collect(),
    }
}

fn authority(signer: AuthoritySigner, trusted_root: TrustedRoot) -> Authority {
    Authority {
        name: "authority".to_owned(),
        signer,
        trusted_root_name: "private".to_owned(),
        trusted_root: Root::usable(Arc::new(trusted_root)),
        root_parts: None,
        transparency_log: true,
        signed_timestamp: false,
        sct: true,
    }
}

/// The recorded registry and its cases.
struct Corpus {
    cases: Value,
    registry: Value,
}

impl Corpus {
    fn load() -> Self {
        let read = |name: &str| serde_json::from_slice(&file(name)).unwrap();
        Self {
            cases: read("cases.json"),
            registry: read("registry.json"),
        }
    }

    fn question(&self, id: &str) -> Question {
        let case = self.case(id);
        let policy = &case["policy"];
        let requirement = match policy["attestations"].as_array().map(Vec::as_slice) {
            Some([wanted, ..]) => Requirement::Attestation(AttestationRequirement {
                predicate_type: wanted["predicate_type"].as_str().unwrap().to_owned(),
                authorities: authorities(&wanted["authorities"])
                    .into_iter()
                    .map(Arc::new)
                    .collect(),
                quantifier: Quantifier::Any,
                condition: None,
            }),
            Some([]) | None => signature_by(authorities(&policy["authorities"])),
        };
        let digest: Digest = case["reference"].as_str().unwrap().parse().unwrap();
        let manifests = self.manifests(&case["repository"], &digest);
        let blobs = manifests
            .iter()
            .flat_map(|arrived| layers(&arrived.bytes))
            .map(|layer| blob(layer["digest"].as_str().unwrap()));
        let blobs: Vec<_> = blobs.collect();
        question(digest, requirement, manifests, blobs)
    }

    /// The keyless signature of one case after those of others, again and again, as the layers of one manifest.
    fn accumulated_keyless(&self, count: usize) -> Question {
        let mut good = self.question("kf-legacy-gh");
        let others = self.question("kf-legacy-multi");
        let newest = layers(&good.manifests.first().unwrap().bytes);
        let older = layers(&others.manifests.first().unwrap().bytes);
        let accumulated = older.into_iter().cycle().take(count - newest.len());
        good.manifests = vec![legacy_manifest(
            &accumulated.chain(newest).collect::<Vec<_>>(),
        )];
        good.blobs.extend(others.blobs);
        good
    }

    fn case(&self, id: &str) -> &Value {
        let cases = self.cases.as_array().unwrap();
        cases.iter().find(|case| case["id"] == id).expect(id)
    }

    /// What discovery finds: the legacy tags and the referrers.
    fn manifests(&self, repository: &Value, digest: &Digest) -> Vec<Arrived> {
        let repository = &self.registry["repositories"][repository.as_str().unwrap()];
        let tags = [".sig", ".att"]
            .map(|suffix| &repository["tags"][format!("{}{suffix}", digest.to_tag_prefix())]);
        let legacy = tags.iter().filter_map(|tag| tag.as_str());
        let manifests = repository["manifests"].as_object().unwrap();
        let referrers = manifests.keys().map(String::as_str).filter(|name| {
            let manifest: Value = serde_json::from_slice(&blob(name)).unwrap();
            manifest["subject"]["digest"] == digest.to_string()
        });
        legacy
            .map(|name| (Source::CosignTag, name))
            .chain(referrers.map(|name| (Source::Referrers, name)))
            .map(|(source, name)| Arrived {
                source,
                digest: name.parse().unwrap(),
                bytes: blob(name).to_vec(),
                media_type: manifests[name]["mediaType"].as_str().unwrap().to_owned(),
            })
            .collect()
    }
}

fn layers(manifest: &[u8]) -> Vec<Value> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    manifest["layers"].as_array().unwrap().clone()
}

fn authorities(wanted: &Value) -> Vec<Authority> {
    let wanted = wanted.as_array().map(Vec::as_slice).unwrap_or_default();
    wanted.iter().map(configured).collect()
}

fn configured(wanted: &Value) -> Authority {
    let text = |name: &str| wanted[name].as_str();
    let demanded = |name: &str| wanted[name] == true;
    let signer = match text("key") {
        Some(name) => AuthoritySigner::Key {
            reference: name.to_owned(),
            keys: Arc::new(KeySet::of(
                PublicKey::from_pem(std::str::from_utf8(&file(name)).unwrap()).unwrap(),
            )),
        },
        None => AuthoritySigner::Identity(IdentityRequirement {
            identity: Matcher::Exact(text("certificate_identity").unwrap().to_owned()),
            oidc_issuer: text("certificate_oidc_issuer").map(|it| Matcher::Exact(it.to_owned())),
            extensions: BTreeMap::new(),
            certificate_authorities: None,
        }),
    };
    let root = file(text("trusted_root").unwrap_or("trust/trusted_root.json"));
    Authority {
        transparency_log: demanded("require_tlog"),
        signed_timestamp: demanded("require_signed_timestamp"),
        sct: demanded("require_sct"),
        ..authority(
            signer,
            TrustedRoot::from_json(std::str::from_utf8(&root).unwrap()).unwrap(),
        )
    }
}

fn blob(digest: &str) -> Bytes {
    let hex = digest.strip_prefix("sha256:").unwrap();
    file(&format!("blobs/sha256/{hex}")).into()
}

fn file(name: &str) -> Vec<u8> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus");
    fs::read(corpus.join(name)).expect(name)
}
