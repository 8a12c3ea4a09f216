//! Registries derived from the one of a case: its signatures altered, exchanged with others of the corpus, put in other
//! places; its manifests altered, with digests that are right again.

mod places;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::random::Random;
use super::world::{Corpus, Repository, Slot, slots};
use super::{derive, json};
use crate::oci::media_type;

/// A layer of any signature in the corpus.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) descriptor: Value,
    pub(super) blob: Bytes,
}

/// What is asked for in which registry.
#[derive(Debug, Clone)]
pub(super) struct Mutant {
    pub(super) hub: BTreeMap<String, Repository>,
    /// Digests in the repository of the case, in this order.
    pub(super) asks: Vec<String>,
    pub(super) how: String,
    /// Whether what is asked for last is what was signed. Nothing else is equivalent to it.
    pub(super) is_subject: bool,
}

/// Every layer of a signature in these repositories.
pub(super) fn layers(hub: &BTreeMap<String, Repository>) -> Vec<Layer> {
    slots(hub)
        .iter()
        .filter_map(|slot| layer(&hub[&slot.repository], slot))
        .collect()
}

pub(super) fn layer(repository: &Repository, slot: &Slot) -> Option<Layer> {
    let descriptor = repository.manifests[&slot.artifact].json()["layers"][slot.layer].clone();
    let blob = repository
        .blobs
        .get(descriptor["digest"].as_str()?)?
        .clone();
    Some(Layer { descriptor, blob })
}

/// The registry with these and no other signatures of everything asked for.
pub(super) fn signed_by_only(
    hub: &BTreeMap<String, Repository>,
    repository: &str,
    asks: &[String],
    signatures: &[Layer],
) -> BTreeMap<String, Repository> {
    let mut hub = hub.clone();
    for slot in slots(&hub) {
        hub.get_mut(&slot.repository)
            .unwrap()
            .manifests
            .remove(&slot.artifact);
    }
    for held in hub.values_mut() {
        held.tags.retain(|tag, _| !tag.starts_with("sha256-"));
    }
    let held = hub.get_mut(repository).unwrap();
    held.has_referrers_api = true;
    let is_bundle = |layer: &&Layer| {
        let kind = layer.descriptor["mediaType"].as_str().unwrap();
        media_type::is_sigstore_bundle(kind)
    };
    for layer in signatures {
        held.put_blob(layer.blob.to_vec());
    }
    for (suffix, kind) in [
        (".sig", media_type::SIMPLE_SIGNING),
        (".att", media_type::DSSE_ENVELOPE),
    ] {
        let layers: Vec<_> = signatures
            .iter()
            .filter(|layer| layer.descriptor["mediaType"] == kind)
            .map(|layer| &layer.descriptor)
            .collect();
        if layers.is_empty() {
            continue;
        }
        let digest = put_artifact(held, &json!(layers));
        for asked in asks {
            held.tags.insert(
                format!("{}{suffix}", asked.replace(':', "-")),
                digest.clone(),
            );
        }
    }
    for bundle in signatures.iter().filter(is_bundle) {
        let digest = put_artifact(held, &json!([bundle.descriptor]));
        held.listed
            .extend(asks.iter().map(|asked| (asked.clone(), digest.clone())));
    }
    hub
}

fn put_artifact(repository: &mut Repository, layers: &Value) -> String {
    let config = repository.put_blob(b"{}".to_vec());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": layers,
    });
    repository.put_manifest(media_type::OCI_MANIFEST, manifest.to_string())
}

/// Derives one registry from that of a case.
pub(super) struct Deriving<'a> {
    pub(super) corpus: &'a Corpus,
    /// Signatures of the whole corpus.
    pub(super) donors: &'a [Layer],
    pub(super) repository: &'a str,
    pub(super) hub: BTreeMap<String, Repository>,
    pub(super) asks: Vec<String>,
}

impl Deriving<'_> {
    pub(super) fn mutant(mut self, random: &mut Random) -> Mutant {
        let found = slots(&self.hub);
        let slot = random.one(&found).clone();
        let mut is_subject = true;
        let how = match random.below(100) {
            0..=46 => self.field(random, &slot),
            47..=61 => self.exchange(random, &slot),
            62..=69 => self.entries(random, &slot),
            70..=76 => self.artifact(random, &slot),
            77..=80 => self.list(random, &slot),
            81..=83 => self.corrupt(random, &slot),
            84..=91 => {
                is_subject = false;
                self.transplant(random, &slot)
            }
            _ => {
                is_subject = false;
                self.image(random)
            }
        };
        Mutant {
            hub: self.hub,
            asks: self.asks,
            how,
            is_subject,
        }
    }

    fn held(&mut self, slot: &Slot) -> &mut Repository {
        self.hub.get_mut(&slot.repository).unwrap()
    }

    /// Changes the manifest of an artifact, wherever it is named.
    fn edit(&mut self, slot: &Slot, edit: impl FnOnce(&mut Value)) {
        let held = self.held(slot);
        let stored = held.manifests[&slot.artifact].clone();
        let mut manifest = stored.json();
        edit(&mut manifest);
        held.replace(
            &slot.artifact,
            &stored.media_type,
            manifest.to_string().into_bytes(),
        );
    }

    fn put_in_layer(&mut self, slot: &Slot, blob: Vec<u8>) {
        let size = blob.len();
        let digest = self.held(slot).put_blob(blob);
        self.edit(slot, |manifest| {
            manifest["layers"][slot.layer]["digest"] = json!(digest);
            manifest["layers"][slot.layer]["size"] = json!(size);
        });
    }

    /// A part of one signature is altered, at any depth.
    fn field(&mut self, random: &mut Random, slot: &Slot) -> String {
        let Some(Layer { descriptor, blob }) = layer(&self.hub[&slot.repository], slot) else {
            return "nothing: the blob is missing".to_owned();
        };
        let annotations: Vec<String> = descriptor["annotations"]
            .as_object()
            .into_iter()
            .flat_map(|annotations| annotations.keys().cloned())
            .collect();
        let in_annotation = !annotations.is_empty() && random.chance(75);
        if !in_annotation {
            let (derived, how) = derive::derived(random, &blob);
            self.put_in_layer(slot, derived);
            return format!("blob: {how}");
        }
        let name = random.one(&annotations);
        let (derived, how) = derive::derived(
            random,
            descriptor["annotations"][name]
                .as_str()
                .unwrap_or_default()
                .as_bytes(),
        );
        let derived = String::from_utf8_lossy(&derived).into_owned();
        self.edit(slot, |manifest| {
            manifest["layers"][slot.layer]["annotations"][name] = json!(derived);
        });
        format!("{name}: {how}")
    }

    /// A part of one signature becomes that of another signature of the corpus.
    fn exchange(&mut self, random: &mut Random, slot: &Slot) -> String {
        let Some(own) = layer(&self.hub[&slot.repository], slot) else {
            return "nothing: the blob is missing".to_owned();
        };
        let others: Vec<_> = self
            .donors
            .iter()
            .filter(|donor| donor.descriptor["mediaType"] == own.descriptor["mediaType"])
            .collect();
        let donor = (*random.one(&others)).clone();
        let of = |layer: &Layer| {
            layer.descriptor["annotations"]
                .as_object()
                .cloned()
                .unwrap_or_default()
        };
        let names: Vec<String> = of(&donor).keys().chain(of(&own).keys()).cloned().collect();
        let from = donor.descriptor["digest"].as_str().unwrap().to_owned();
        if !names.is_empty() && random.chance(70) {
            let name = random.one(&names).clone();
            let value = donor.descriptor["annotations"][&name].clone();
            self.edit(slot, |manifest| {
                manifest["layers"][slot.layer]["annotations"][&name] = value;
            });
            return format!("{name} of {from}");
        }
        let (Ok(mut mine), Ok(theirs)) = (
            serde_json::from_slice::<Value>(&own.blob),
            serde_json::from_slice::<Value>(&donor.blob),
        ) else {
            self.put_in_layer(slot, donor.blob.to_vec());
            return format!("the blob of {from}");
        };
        let path = random.one(&json::paths(&mine, |_| true)).clone();
        let Some(theirs) = theirs.pointer(&path).filter(|_| random.chance(85)) else {
            self.put_in_layer(slot, donor.blob.to_vec());
            return format!("the blob of {from}");
        };
        *mine.pointer_mut(&path).unwrap() = theirs.clone();
        self.put_in_layer(slot, mine.to_string().into_bytes());
        format!("{path} of {from}")
    }

    /// Layers come, go, change places, and are described otherwise.
    fn entries(&mut self, random: &mut Random, slot: &Slot) -> String {
        let (choice, other) = (random.below(9), random.one(self.donors).clone());
        let digest = self.held(slot).put_blob(other.blob.to_vec());
        let at = slot.layer;
        let mut how = "";
        self.edit(slot, |manifest| {
            let layers = manifest["layers"].as_array_mut().unwrap();
            how = match choice {
                0 => {
                    layers.push(layers[at].clone());
                    "the layer twice"
                }
                1 => {
                    layers.reverse();
                    layers.push(other.descriptor);
                    "another signature before and after"
                }
                2 => {
                    layers.remove(at);
                    "without the layer"
                }
                3 => {
                    layers[at]["size"] = json!(layers[at]["size"].as_u64().unwrap_or_default() + 1);
                    "described as one byte larger"
                }
                4 => {
                    layers[at]["digest"] = json!(digest);
                    "with the digest of another blob"
                }
                5 => {
                    layers[at]["mediaType"] = other.descriptor["mediaType"].clone();
                    "with another type"
                }
                6 => {
                    let kind = layers[at]["mediaType"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned();
                    layers[at]["mediaType"] =
                        json!(kind.replace(".v0.3+json", "+json;version=0.3"));
                    "with the other spelling of the type"
                }
                7 => {
                    layers[at]["annotations"]["org.example.unread"] = json!("x");
                    "with an annotation nobody reads"
                }
                _ => {
                    layers.insert(0, other.descriptor);
                    "another signature first"
                }
            };
        });
        how.to_owned()
    }

    /// The manifest of the artifact is another one, or has another type.
    fn artifact(&mut self, random: &mut Random, slot: &Slot) -> String {
        let held = self.held(slot);
        let stored = held.manifests[&slot.artifact].clone();
        let (kind, bytes, how) = match random.below(5) {
            0 => {
                let kinds = [
                    media_type::DOCKER_MANIFEST,
                    media_type::OCI_INDEX,
                    "application/json",
                    "",
                ];
                let kind = *random.one(&kinds);
                (
                    kind.to_owned(),
                    stored.bytes.to_vec(),
                    format!("served as {kind:?}"),
                )
            }
            1 => {
                let mut manifest = stored.json();
                manifest["artifactType"] = json!("application/vnd.example");
                manifest["config"]["mediaType"] = json!("application/vnd.example.config");
                let bytes = manifest.to_string().into_bytes();
                (
                    stored.media_type,
                    bytes,
                    "of another artifact type".to_owned(),
                )
            }
            2 => {
                let mut manifest = stored.json();
                manifest["subject"] = json!({
                    "mediaType": media_type::OCI_MANIFEST, "size": 3,
                    "digest": format!("sha256:{}", "0".repeat(64)),
                });
                let bytes = manifest.to_string().into_bytes();
                (stored.media_type, bytes, "with another subject".to_owned())
            }
            _ => {
                let (bytes, how) = derive::derived(random, &stored.bytes);
                (stored.media_type, bytes, how)
            }
        };
        held.replace(&slot.artifact, &kind, bytes);
        format!("manifest of the signature: {how}")
    }
}
