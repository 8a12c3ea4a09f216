//! The corpus of signed images, judged candidate by candidate; what needs a registry is left to the proxy's own tests.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::policy::{Authority, Policy, kind, suffices};
use crate::limits::Limits;
use crate::oci::{Digest, Manifest};
use crate::signature::{self, Blob, Candidate, Source};
use crate::verify::{
    Attempt, Demand, FailedCheck, PublicKey, Purpose, Signer, TrustedRoot, verify,
};

/// The trusted root of the corpus, to be altered.
pub(super) fn root_json() -> Value {
    let text = include_str!("../../../tests/fixtures/corpus/trust/trusted_root.json");
    serde_json::from_str(text).unwrap()
}

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) id: String,
    repository: String,
    reference: String,
    policy: Policy,
    expect: String,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default, rename = "or")]
    also: Vec<String>,
    #[serde(default)]
    steps: Vec<Value>,
}

#[derive(Deserialize)]
struct Registry {
    repositories: HashMap<String, Repository>,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    referrers_api: bool,
    tags: HashMap<String, String>,
    manifests: BTreeMap<String, ManifestEntry>,
    blobs: Vec<String>,
}

#[derive(Deserialize)]
struct ManifestEntry {
    #[serde(rename = "mediaType")]
    media_type: String,
}

pub(super) struct Corpus {
    folder: PathBuf,
    pub(super) cases: Vec<Case>,
    registry: Registry,
    roots: HashMap<String, TrustedRoot>,
    keys: HashMap<String, PublicKey>,
}

/// Cases about what a registry answers or about the manifest asked for, not about a signature.
const NOT_ABOUT_SIGNATURES: [&str; 9] = [
    "n-absent",
    "n-sigtag-runnable",
    "n-ambiguous-as-image",
    "n-ambiguous-as-index",
    "n-mediatype-mismatch",
    "n-mediatype-mismatch2",
    "n-fb-dangling",
    "n-kl-layer-missing",
    "n-manifest-as-blob-get",
];

#[test]
fn every_case_has_its_outcome() {
    let corpus = Corpus::load();
    let mut wrong = Vec::new();
    let mut judged = 0;
    for case in &corpus.cases {
        if !case.steps.is_empty()
            || case.policy.threshold.is_some()
            || NOT_ABOUT_SIGNATURES.contains(&case.id.as_str())
        {
            continue;
        }
        judged += 1;
        let outcome = corpus.judge(case);
        let right = match &outcome {
            Ok(()) => case.expect == "admit" || case.also.contains(&"admit".to_owned()),
            Err((kind, _)) if case.expect == "deny" => {
                case.kinds.is_empty() || case.kinds.contains(kind)
            }
            Err(_) => case.also.contains(&"deny".to_owned()),
        };
        if !right {
            wrong.push(format!(
                "{}: expected {} {:?}, got {outcome:?}",
                case.id, case.expect, case.kinds
            ));
        }
        // Where more than one outcome is right, this program takes the more useful one for keys it supports, and the
        // stricter one for logs.
        if !case.also.is_empty() && outcome.is_ok() != (case.expect == "admit") {
            wrong.push(format!(
                "{}: allowed but not preferred: {outcome:?}",
                case.id
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 220, "only {judged} cases were judged");
}

/// The trusted root of authorities that name none.
const PUBLIC_GOOD: &str = "public-good";

type Refused = (String, String);

impl Corpus {
    pub(super) fn load() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus");
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let cases: Vec<Case> = serde_json::from_slice(&read("cases.json")).unwrap();
        let mut roots = HashMap::new();
        let mut keys = HashMap::new();
        for file in fs::read_dir(folder.join("trust")).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".json") {
                let text = String::from_utf8(read(&format!("trust/{name}"))).unwrap();
                let root = TrustedRoot::from_json(&text).unwrap();
                roots.insert(format!("trust/{name}"), root);
            }
        }
        roots.insert(PUBLIC_GOOD.to_owned(), TrustedRoot::public_good().unwrap());
        for file in fs::read_dir(folder.join("keys")).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let text = String::from_utf8(read(&format!("keys/{name}"))).unwrap();
            keys.insert(format!("keys/{name}"), PublicKey::from_pem(&text).unwrap());
        }
        Self {
            registry: serde_json::from_slice(&read("registry.json")).unwrap(),
            cases,
            roots,
            keys,
            folder,
        }
    }

    pub(super) fn root(&self, name: &str) -> &TrustedRoot {
        &self.roots[&format!("trust/{name}")]
    }

    pub(super) fn key(&self, name: &str) -> &PublicKey {
        &self.keys[&format!("keys/{name}")]
    }

    pub(super) fn case(&self, id: &str) -> &Case {
        self.cases.iter().find(|case| case.id == id).unwrap()
    }

    pub(super) fn digest(&self, case: &Case) -> Digest {
        let repository = &self.registry.repositories[&case.repository];
        repository
            .tags
            .get(&case.reference)
            .unwrap_or(&case.reference)
            .parse()
            .unwrap()
    }

    /// What discovery finds for a case.
    pub(super) fn artifacts(&self, case: &Case) -> Vec<signature::Artifact> {
        let subject = self.digest(case);
        let mut found = Vec::new();
        let names = [
            Some(&case.repository),
            case.policy.signature_repository.as_ref(),
        ];
        for repository in names
            .into_iter()
            .flatten()
            .map(|name| &self.registry.repositories[name])
        {
            for suffix in [".sig", ".att"] {
                let tag = format!("{}{suffix}", subject.to_tag_prefix());
                if let Some(digest) = repository.tags.get(&tag) {
                    found.extend(self.artifact(repository, Source::CosignTag, digest));
                }
            }
            if repository.referrers_api {
                for digest in repository.manifests.keys() {
                    if let Some(Manifest::Image(image)) = self.manifest(repository, digest)
                        && image.subject.is_some_and(|of| of.digest == subject)
                    {
                        found.extend(self.artifact(repository, Source::Referrers, digest));
                    }
                }
            }
            if let Some(index) = repository.tags.get(&subject.to_tag_prefix())
                && let Some(Manifest::Index(index)) = self.manifest(repository, index)
            {
                for entry in index.manifests {
                    let digest = entry.digest.to_string();
                    found.extend(self.artifact(repository, Source::ReferrersTag, &digest));
                }
            }
        }
        found
    }

    pub(super) fn candidates(&self, case: &Case) -> Vec<Candidate> {
        self.artifacts(case)
            .iter()
            .flat_map(|artifact| signature::candidates(artifact, &Limits::default()))
            .collect()
    }

    fn manifest(&self, repository: &Repository, digest: &str) -> Option<Manifest> {
        let entry = repository.manifests.get(digest)?;
        Manifest::parse(&self.blob(digest)?, &entry.media_type).ok()
    }

    fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let hex = digest.strip_prefix("sha256:")?;
        fs::read(self.folder.join("blobs/sha256").join(hex)).ok()
    }

    fn artifact(
        &self,
        repository: &Repository,
        source: Source,
        digest: &str,
    ) -> Option<signature::Artifact> {
        let Manifest::Image(image) = self.manifest(repository, digest)? else {
            return None;
        };
        let layers = image.layers.into_iter().map(|layer| {
            let name = layer.digest.to_string();
            let blob = match self
                .blob(&name)
                .filter(|_| repository.blobs.contains(&name))
            {
                Some(bytes) => Blob::Present(bytes.into()),
                None => Blob::Missing,
            };
            (layer, blob)
        });
        Some(signature::Artifact {
            source,
            digest: digest.parse().unwrap(),
            layers: layers.collect(),
        })
    }

    fn judge(&self, case: &Case) -> Result<(), Refused> {
        let candidates = self.candidates(case);
        let policy = &case.policy;
        if !policy.authorities.is_empty() {
            self.require(
                case,
                &candidates,
                Purpose::Signature,
                &policy.authorities,
                "unsigned",
            )?;
        }
        for wanted in &policy.attestations {
            let purpose = Purpose::Attestation {
                predicate_type: &wanted.predicate_type,
            };
            self.require(
                case,
                &candidates,
                purpose,
                &wanted.authorities,
                "attestation_missing",
            )?;
        }
        Ok(())
    }

    fn require(
        &self,
        case: &Case,
        candidates: &[Candidate],
        purpose: Purpose<'_>,
        authorities: &[Authority],
        nothing: &str,
    ) -> Result<(), Refused> {
        let mut furthest: Option<(FailedCheck, String)> = None;
        for (candidate, authority) in candidates.iter().flat_map(|candidate| {
            authorities
                .iter()
                .map(move |authority| (candidate, authority))
        }) {
            match self.attempt(case, candidate, purpose, authority) {
                None => {}
                Some(Ok(())) => return Ok(()),
                Some(Err(failure)) => furthest = furthest.max(Some(failure)),
            }
        }
        Err(match furthest {
            Some((check, reason)) => (kind(check).to_owned(), reason),
            None => (nothing.to_owned(), String::new()),
        })
    }

    fn attempt(
        &self,
        case: &Case,
        candidate: &Candidate,
        purpose: Purpose<'_>,
        authority: &Authority,
    ) -> Option<Result<(), (FailedCheck, String)>> {
        let root = authority.trusted_root.as_deref().unwrap_or(PUBLIC_GOOD);
        let demand = Demand {
            signer: authority
                .key
                .as_ref()
                .map_or(Signer::Certificate, |key| Signer::Key(&self.keys[key])),
            purpose,
            trusted_root: &self.roots[root],
            transparency_log: authority.require_tlog,
            signed_timestamp: authority.require_signed_timestamp,
            sct: authority.require_sct,
            signed_name: None,
        };
        match verify(
            candidate,
            &self.digest(case),
            &demand,
            &Limits::default(),
            now(),
        ) {
            Attempt::NotApplicable => None,
            Attempt::Failed(failure) => Some(Err((failure.check, failure.reason))),
            Attempt::Proven(proof) => Some(suffices(&proof, &case.policy, authority)),
        }
    }
}

/// The end of the day on which the corpus was made.
pub(super) fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}
