//! Registries made of the corpus, one per derived input, and the policies of its cases.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::corpus::{exact, holder, identity};
use super::super::question::{policy, signers};
use crate::oci::{Digest, media_type};
use crate::policy::{AttestationRequirement, Authority, Policy, Quantifier, Requirement};
use crate::verify::TrustedRoot;

/// A case that is admitted as it stands.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) repository: String,
    pub(super) reference: String,
    policy: Value,
    expect: String,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
struct Step {
    reference: String,
}

/// A repository as a registry holds it. Digests are text.
#[derive(Debug, Clone, Default)]
pub(super) struct Repository {
    pub(super) has_referrers_api: bool,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) manifests: BTreeMap<String, Stored>,
    pub(super) blobs: BTreeMap<String, Bytes>,
    /// What the referrers API lists beside what its manifests say: subject and referrer.
    pub(super) listed: Vec<(String, String)>,
}

/// A manifest and the type it is served with.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default)]
    referrers_api: bool,
    tags: BTreeMap<String, String>,
    manifests: BTreeMap<String, ListedManifest>,
    blobs: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ListedManifest {
    #[serde(rename = "mediaType")]
    media_type: String,
}

/// One layer of a signature artifact in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) repository: String,
    pub(super) artifact: String,
    pub(super) layer: usize,
    pub(super) media_type: String,
}

/// What a case demands of a signature beside the signature.
#[derive(Debug, Clone, Default)]
pub(super) struct Demands {
    pub(super) identity: bool,
    pub(super) transparency_log: bool,
    pub(super) signed_timestamp: bool,
    /// The ids of the logs that the trusted roots have.
    pub(super) known_logs: HashSet<Vec<u8>>,
}

pub(super) struct Corpus {
    pub(super) cases: Vec<Case>,
    pub(super) repositories: BTreeMap<String, Repository>,
    roots: HashMap<String, Arc<TrustedRoot>>,
}

const PUBLIC_GOOD: &str = "public-good";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus")
}

fn parsed<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    serde_json::from_slice(&fs::read(folder().join(name)).unwrap()).unwrap()
}

impl Corpus {
    pub(super) fn load() -> Self {
        let mut cases: Vec<Case> = parsed("cases.json");
        cases.retain(|case| case.expect == "admit");
        let registry: HashMap<String, BTreeMap<String, Listed>> = {
            let mut whole: HashMap<String, Value> = parsed("registry.json");
            whole.retain(|key, _| key == "repositories");
            whole
                .into_iter()
                .map(|(key, value)| (key, serde_json::from_value(value).unwrap()))
                .collect()
        };
        let objects: HashMap<String, Bytes> = fs::read_dir(folder().join("blobs/sha256"))
            .unwrap()
            .map(|file| {
                let file = file.unwrap();
                let digest = format!("sha256:{}", file.file_name().to_str().unwrap());
                (digest, fs::read(file.path()).unwrap().into())
            })
            .collect();
        let [repositories] =
            <[_; 1]>::try_from(registry.into_values().collect::<Vec<_>>()).unwrap();
        let mut roots = HashMap::new();
        roots.insert(
            PUBLIC_GOOD.to_owned(),
            Arc::new(TrustedRoot::public_good().unwrap()),
        );
        for file in fs::read_dir(folder().join("trust")).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".json") {
                let text = fs::read_to_string(folder().join("trust").join(&name)).unwrap();
                let root = TrustedRoot::from_json(&text).unwrap();
                roots.insert(format!("trust/{name}"), Arc::new(root));
            }
        }
        Self {
            cases,
            repositories: repositories
                .into_iter()
                .map(|(name, listed)| (name, repository(listed, &objects)))
                .collect(),
            roots,
        }
    }

    /// The files with trusted roots, certificates and keys.
    pub(super) fn trust() -> Vec<Vec<u8>> {
        ["trust", "keys"]
            .iter()
            .flat_map(|name| fs::read_dir(folder().join(name)).unwrap())
            .map(|file| fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    /// What is asked for, in this order; the last one is what the case is about.
    pub(super) fn asks(&self, case: &Case) -> Vec<String> {
        let repository = &self.repositories[&case.repository];
        let references: Vec<&String> = if case.steps.is_empty() {
            vec![&case.reference]
        } else {
            case.steps.iter().map(|step| &step.reference).collect()
        };
        references
            .into_iter()
            .map(|reference| repository.resolve(reference))
            .collect()
    }

    /// The repositories that the case can see.
    pub(super) fn hub(&self, case: &Case) -> BTreeMap<String, Repository> {
        [Some(case.repository.as_str()), case.signature_repository()]
            .into_iter()
            .flatten()
            .map(|name| (name.to_owned(), self.repositories[name].clone()))
            .collect()
    }

    /// The policy of the case for names below `prefix`.
    pub(super) fn policy(&self, case: &Case, prefix: &str) -> Policy {
        let authorities = self.authorities(&case.policy["authorities"]);
        let borrowed: Vec<_> = authorities.iter().collect();
        let mut required = Vec::new();
        if !borrowed.is_empty() {
            let threshold = case.policy["threshold"].as_u64().unwrap_or(1);
            let mut signed = signers(&borrowed, usize::try_from(threshold).unwrap());
            if let (Some(demanded), Requirement::Signers { of, .. }) =
                (case.policy["annotations"].as_object(), &mut signed)
            {
                let demanded: BTreeMap<_, _> = demanded
                    .iter()
                    .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                    .collect();
                for signature in of {
                    signature.annotations.clone_from(&demanded);
                }
            }
            required.push(signed);
        }
        for wanted in case.policy["attestations"].as_array().into_iter().flatten() {
            required.push(Requirement::Attestation(AttestationRequirement {
                predicate_type: wanted["predicate_type"].as_str().unwrap().to_owned(),
                authorities: self.authorities(&wanted["authorities"]),
                quantifier: Quantifier::Any,
                condition: None,
            }));
        }
        let elsewhere = case.signature_repository();
        Policy {
            requirement: Requirement::all(required),
            signature_repositories: elsewhere
                .map(|name| format!("{prefix}/{name}").parse().unwrap())
                .into_iter()
                .collect(),
            ..policy("apps")
        }
    }

    fn authorities(&self, neutral: &Value) -> Vec<Arc<Authority>> {
        let neutral = neutral.as_array().into_iter().flatten();
        neutral.map(|neutral| self.authority(neutral)).collect()
    }

    fn authority(&self, neutral: &Value) -> Arc<Authority> {
        let root = neutral["trusted_root"].as_str().unwrap_or(PUBLIC_GOOD);
        let root = &self.roots[root];
        let made = if let Some(path) = neutral["key"].as_str() {
            let name = path.strip_prefix("keys/").unwrap();
            Arc::into_inner(holder(name.strip_suffix(".pub").unwrap(), root)).unwrap()
        } else {
            let of = |key: &str| exact(neutral[key].as_str().unwrap());
            let who = identity(
                of("certificate_identity"),
                of("certificate_oidc_issuer"),
                root,
            );
            Authority {
                sct: neutral["require_sct"].as_bool().unwrap_or(true),
                ..who
            }
        };
        Arc::new(Authority {
            transparency_log: neutral["require_tlog"].as_bool().unwrap_or(true),
            signed_timestamp: neutral["require_signed_timestamp"] == true,
            ..made
        })
    }
}

impl Case {
    pub(super) fn signature_repository(&self) -> Option<&str> {
        self.policy["signature_repository"].as_str()
    }

    pub(super) fn demands(&self) -> Demands {
        let lists = std::iter::once(&self.policy["authorities"]).chain(
            self.policy["attestations"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|wanted| &wanted["authorities"]),
        );
        let mut demands = Demands::default();
        for neutral in lists.filter_map(Value::as_array).flatten() {
            demands.identity |= neutral["key"].is_null();
            demands.transparency_log |= neutral["require_tlog"].as_bool().unwrap_or(true);
            demands.signed_timestamp |= neutral["require_signed_timestamp"] == true;
            if let Some(root) = neutral["trusted_root"].as_str() {
                let root: Value = parsed(root);
                demands.known_logs.extend(
                    root["tlogs"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|log| super::canonical::base64(&log["logId"]["keyId"])),
                );
            }
        }
        demands
    }
}

fn repository(listed: Listed, objects: &HashMap<String, Bytes>) -> Repository {
    Repository {
        has_referrers_api: listed.referrers_api,
        tags: listed.tags,
        manifests: listed
            .manifests
            .into_iter()
            .filter_map(|(digest, entry)| {
                let bytes = objects.get(&digest)?.clone();
                let media_type = entry.media_type;
                Some((digest, Stored { media_type, bytes }))
            })
            .collect(),
        blobs: listed
            .blobs
            .into_iter()
            .filter_map(|digest| objects.get(&digest).cloned().map(|bytes| (digest, bytes)))
            .collect(),
        listed: Vec::new(),
    }
}

impl Stored {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

impl Repository {
    /// The digest that a tag or digest means.
    pub(super) fn resolve(&self, reference: &str) -> String {
        self.tags
            .get(reference)
            .map_or_else(|| reference.to_owned(), Clone::clone)
    }

    pub(super) fn put_blob(&mut self, bytes: Vec<u8>) -> String {
        let digest = Digest::sha256(&bytes).to_string();
        self.blobs.insert(digest.clone(), bytes.into());
        digest
    }

    pub(super) fn put_manifest(&mut self, media_type: &str, bytes: impl Into<Bytes>) -> String {
        let (media_type, bytes) = (media_type.to_owned(), bytes.into());
        let digest = Digest::sha256(&bytes).to_string();
        self.manifests
            .insert(digest.clone(), Stored { media_type, bytes });
        digest
    }

    /// Puts another manifest in the place of `old`, wherever a tag or an index names it; gives its digest.
    pub(super) fn replace(&mut self, old: &str, media_type: &str, bytes: Vec<u8>) -> String {
        self.manifests.remove(old);
        let size = bytes.len();
        let new = self.put_manifest(media_type, bytes);
        if new == old {
            return new;
        }
        for digest in self.tags.values_mut().filter(|digest| **digest == old) {
            digest.clone_from(&new);
        }
        let parents: Vec<_> = self
            .manifests
            .iter()
            .filter(|(_, stored)| {
                let listed = &stored.json()["manifests"];
                let mut listed = listed.as_array().into_iter().flatten();
                listed.any(|child| child["digest"] == old)
            })
            .map(|(digest, stored)| (digest.clone(), stored.clone()))
            .collect();
        for (digest, stored) in parents {
            let mut index = stored.json();
            for child in index["manifests"].as_array_mut().unwrap() {
                if child["digest"] == old {
                    child["digest"] = json!(new);
                    child["size"] = json!(size);
                    child["mediaType"] = json!(media_type);
                }
            }
            self.replace(&digest, &stored.media_type, index.to_string().into_bytes());
        }
        new
    }

    pub(super) fn referrers(&self, digest: &str) -> Vec<Value> {
        let explicit = |referrer: &String| {
            let listed = (digest.to_owned(), referrer.clone());
            self.listed.contains(&listed)
        };
        self.manifests
            .iter()
            .filter_map(|(referrer, stored)| {
                let manifest = stored.json();
                if manifest["subject"]["digest"] != digest && !explicit(referrer) {
                    return None;
                }
                let artifact_type = match manifest["artifactType"].as_str() {
                    Some(artifact_type) => json!(artifact_type),
                    None => manifest["config"]["mediaType"].clone(),
                };
                Some(json!({
                    "mediaType": stored.media_type, "digest": referrer,
                    "size": stored.bytes.len(), "artifactType": artifact_type,
                }))
            })
            .collect()
    }
}

/// Every layer in these repositories that has the type of a signature.
pub(super) fn slots(hub: &BTreeMap<String, Repository>) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (name, repository) in hub {
        for (artifact, stored) in &repository.manifests {
            let manifest = stored.json();
            let layers = manifest["layers"].as_array().into_iter().flatten();
            for (layer, descriptor) in layers.enumerate() {
                let kind = descriptor["mediaType"].as_str().unwrap_or_default();
                if matches!(kind, media_type::SIMPLE_SIGNING | media_type::DSSE_ENVELOPE)
                    || media_type::is_sigstore_bundle(kind)
                {
                    slots.push(Slot {
                        repository: name.clone(),
                        artifact: artifact.clone(),
                        layer,
                        media_type: kind.to_owned(),
                    });
                }
            }
        }
    }
    slots
}
