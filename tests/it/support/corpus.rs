//! The corpus under `tests/fixtures/corpus` as a registry and as policies.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::configuration::Configuration;
use super::image::Image;
use super::registry::{FakeRegistry, Repository};

/// One case. Keys as in `cases.json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) repository: String,
    pub(crate) reference: String,
    pub(crate) policy: Value,
    pub(crate) expect: String,
    #[serde(default)]
    pub(crate) kinds: Vec<String>,
    #[serde(default)]
    pub(crate) or: Vec<String>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

/// One request of a case.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Step {
    pub(crate) reference: String,
    pub(crate) repository: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) expect: Option<String>,
    pub(crate) or: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    referrers_api: bool,
    tags: BTreeMap<String, String>,
    manifests: BTreeMap<String, ListedManifest>,
    blobs: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedManifest {
    media_type: String,
}

/// Where the corpus is.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus")
}

/// All cases, each with at least one step.
pub(crate) fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(directory().join("cases.json")).unwrap();
    let mut cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    for case in &mut cases {
        if case.steps.is_empty() {
            case.steps.push(Step {
                reference: case.reference.clone(),
                ..Step::default()
            });
        }
    }
    cases
}

/// The registry: `c/<case id>/<repository>` for any case id.
pub(crate) async fn registry() -> FakeRegistry {
    FakeRegistry::start_holding(repositories(), 2).await
}

/// Puts what a repository of the corpus holds into another repository, with `tag` in the place of `v1`, and returns the
/// image.
pub(crate) fn copy(from: &str, registry: &FakeRegistry, repository: &str, tag: &str) -> Image {
    let held = repositories().remove(from).unwrap();
    registry.set_referrers_api(repository, held.has_referrers_api);
    for blob in held.blobs.values() {
        registry.put_blob(repository, blob);
    }
    let manifests = held.manifests.values();
    let images = manifests.map(|(media_type, bytes)| Image::raw(media_type, bytes.clone()));
    let images: Vec<Image> = images.collect();
    for image in &images {
        registry.push(repository, image);
    }
    for (name, digest) in &held.tags {
        let name = if name == "v1" { tag } else { name };
        registry.tag(repository, name, digest);
    }
    let subject = |image: &Image| image.digest == held.tags["v1"];
    images.into_iter().find(subject).unwrap()
}

fn repositories() -> HashMap<String, Repository> {
    let text = std::fs::read_to_string(directory().join("registry.json")).unwrap();
    let listed: Repositories = serde_json::from_str(&text).unwrap();
    let mut objects: HashMap<String, Bytes> = HashMap::new();
    for file in std::fs::read_dir(directory().join("blobs/sha256")).unwrap() {
        let file = file.unwrap();
        let digest = format!("sha256:{}", file.file_name().to_str().unwrap());
        objects.insert(digest, std::fs::read(file.path()).unwrap().into());
    }
    let repositories = listed.repositories.into_iter();
    repositories
        .map(|(name, listed)| (name, repository(listed, &objects)))
        .collect()
}

fn repository(listed: Listed, objects: &HashMap<String, Bytes>) -> Repository {
    let manifests = listed.manifests.into_iter().filter_map(|(digest, entry)| {
        let bytes = objects.get(&digest)?.clone();
        Some((digest, (entry.media_type, bytes)))
    });
    let blobs = listed.blobs.into_iter().filter_map(|digest| {
        let bytes = objects.get(&digest)?.clone();
        Some((digest, bytes))
    });
    Repository {
        tags: listed.tags,
        manifests: manifests.collect(),
        blobs: blobs.collect(),
        has_referrers_api: listed.referrers_api,
        ..Repository::default()
    }
}

/// A policy for each case.
pub(crate) fn configuration(cases: &[Case], registry: &FakeRegistry) -> Configuration {
    let mut roots = json!({});
    let mut configuration = Configuration::new(&[registry]);
    for case in cases {
        let base = format!("{}/c/{}", registry.name(), case.id);
        let neutral = &case.policy;
        let mut policy = json!({"name": case.id, "images": [format!("{base}/**")]});
        let authorities = authorities(&neutral["authorities"], &mut roots);
        if !authorities.is_empty() {
            policy["authorities"] = json!(authorities);
        }
        copy_keys(neutral, &mut policy, &["threshold", "annotations"]);
        if let Some(repository) = neutral["signature_repository"].as_str() {
            policy["signature_repository"] = json!(format!("{base}/{repository}"));
        }
        if let Some(wanted) = neutral["attestations"].as_array() {
            policy["attestations"] = wanted
                .iter()
                .map(|wanted| attestation(wanted, &mut roots))
                .collect();
        }
        configuration = configuration.policy(policy);
    }
    configuration.set("trusted_roots", roots)
}

fn attestation(wanted: &Value, roots: &mut Value) -> Value {
    let mut attestation = json!({
        "predicate_type": wanted["predicate_type"],
        "authorities": authorities(&wanted["authorities"], roots),
    });
    copy_keys(wanted, &mut attestation, &["match", "condition"]);
    attestation
}

fn authorities(neutral: &Value, roots: &mut Value) -> Vec<Value> {
    let Some(neutral) = neutral.as_array() else {
        return Vec::new();
    };
    let authorities = neutral.iter().enumerate();
    authorities
        .map(|(position, neutral)| authority(neutral, position, roots))
        .collect()
}

fn authority(neutral: &Value, position: usize, roots: &mut Value) -> Value {
    let name = neutral["name"].as_str().unwrap_or("authority");
    let mut authority = json!({"name": format!("{name}-{position}")});
    let names = [
        "certificate_identity",
        "certificate_identity_regexp",
        "certificate_oidc_issuer",
        "certificate_oidc_issuer_regexp",
        "certificate_extensions",
    ];
    copy_keys(neutral, &mut authority, &names);
    if let Some(path) = neutral["trusted_root"].as_str() {
        let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
        let root = stem.replace('_', "-");
        roots[&root] = json!({"file": directory().join(path)});
        authority["trusted_root"] = json!(root);
    }
    let demand = |wanted: &Value, default: bool| {
        let is_required = wanted.as_bool().unwrap_or(default);
        json!(if is_required {
            "required"
        } else {
            "not_required"
        })
    };
    authority["transparency_log"] = demand(&neutral["require_tlog"], true);
    if let Some(path) = neutral["key"].as_str() {
        authority["key"] = json!(directory().join(path));
    } else {
        authority["sct"] = demand(&neutral["require_sct"], true);
    }
    let is_timestamp_required = neutral["require_signed_timestamp"] == true;
    authority["signed_timestamp"] = json!(if is_timestamp_required {
        "required"
    } else {
        "accepted"
    });
    authority
}

fn copy_keys(from: &Value, to: &mut Value, keys: &[&str]) {
    for key in keys {
        if !from[*key].is_null() {
            to[*key] = from[*key].clone();
        }
    }
}
