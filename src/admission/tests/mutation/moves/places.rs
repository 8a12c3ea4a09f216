//! Registries in which signatures and images are in other places, or are not what their digests say.

use serde_json::{Value, json};

use super::super::derive;
use super::super::random::Random;
use super::super::world::Slot;
use super::{Deriving, layer};

impl Deriving<'_> {
    /// A tag that leads to signatures leads elsewhere, or its index is altered.
    pub(super) fn list(&mut self, random: &mut Random, slot: &Slot) -> String {
        let held = self.held(slot);
        let tags: Vec<String> = held
            .tags
            .keys()
            .filter(|tag| tag.starts_with("sha256-"))
            .cloned()
            .collect();
        let Some(tag) = random.maybe_one(&tags) else {
            held.has_referrers_api = false;
            return "no referrers API".to_owned();
        };
        let digest = held.tags[tag].clone();
        if random.chance(30) {
            let all: Vec<String> = held.manifests.keys().cloned().collect();
            let other = random.one(&all).clone();
            held.tags.insert(tag.clone(), other.clone());
            return format!("{tag} leads to {other}");
        }
        let Some(stored) = held.manifests.get(&digest).cloned() else {
            return "nothing: the tag leads nowhere".to_owned();
        };
        let (bytes, how) = derive::derived(random, &stored.bytes);
        held.replace(&digest, &stored.media_type, bytes);
        format!("{tag}: {how}")
    }

    /// The registry gives other bytes under the same digest.
    pub(super) fn corrupt(&mut self, random: &mut Random, slot: &Slot) -> String {
        let blob = layer(&self.hub[&slot.repository], slot)
            .map(|layer| layer.descriptor["digest"].clone());
        let held = self.held(slot);
        if let Some(Value::String(digest)) = blob
            && random.chance(60)
        {
            let (bytes, how) = derive::derived(random, &held.blobs[&digest]);
            held.blobs.insert(digest, bytes.into());
            return format!("the blob behind its digest: {how}");
        }
        let stored = held.manifests.get_mut(&slot.artifact).unwrap();
        let (bytes, how) = derive::derived(random, &stored.bytes);
        stored.bytes = bytes.into();
        format!("the manifest behind its digest: {how}")
    }

    /// The signatures are put where those of another image would be, and that one is asked for.
    pub(super) fn transplant(&mut self, random: &mut Random, slot: &Slot) -> String {
        let images: Vec<_> = self
            .corpus
            .repositories
            .values()
            .flat_map(|repository| {
                let images = repository.manifests.iter();
                images.map(move |(digest, stored)| (repository, digest, stored))
            })
            .filter(|(_, digest, stored)| {
                let is_file_system = |layer: &Value| {
                    let kind = layer["mediaType"].as_str().unwrap_or_default();
                    kind.contains("image.layer") || kind.contains("image.rootfs")
                };
                let manifest = stored.json();
                let layers = manifest["layers"].as_array();
                layers.is_some_and(|layers| layers.iter().any(is_file_system))
                    && !self.asks.contains(digest)
                    && self
                        .hub
                        .values()
                        .all(|held| !held.manifests.contains_key(*digest))
            })
            .collect();
        let (from, other, stored) = *random.one(&images);
        let (other, stored, blobs) = (other.clone(), stored.clone(), from.blobs.clone());
        let signed = self.asks.last().unwrap().clone();
        let held = self.hub.get_mut(self.repository).unwrap();
        held.manifests.insert(other.clone(), stored);
        held.blobs.extend(blobs);
        for held in self.hub.values_mut() {
            for (tag, digest) in held.tags.clone() {
                if let Some(rest) = tag.strip_prefix(&signed.replace(':', "-")) {
                    held.tags
                        .insert(format!("{}{rest}", other.replace(':', "-")), digest);
                }
            }
        }
        let held = self.hub.get_mut(&slot.repository).unwrap();
        held.listed.push((other.clone(), slot.artifact.clone()));
        if random.chance(50) {
            self.edit(slot, |manifest| {
                manifest["subject"]["digest"] = json!(other)
            });
        }
        self.asks.push(other.clone());
        format!("signatures of {signed} put at {other}")
    }

    /// What is asked for is altered; the signatures are where its digest wants them.
    pub(super) fn image(&mut self, random: &mut Random) -> String {
        let signed = self.asks.last().unwrap().clone();
        let held = self.hub.get_mut(self.repository).unwrap();
        let stored = held.manifests[&signed].clone();
        let (bytes, how) = derive::derived(random, &stored.bytes);
        if bytes == stored.bytes {
            let bytes = [&stored.bytes[..], b" "].concat();
            return self.altered(&signed, &stored.media_type, bytes, &how);
        }
        self.altered(&signed, &stored.media_type, bytes, &how)
    }

    fn altered(&mut self, signed: &str, kind: &str, bytes: Vec<u8>, how: &str) -> String {
        let held = self.hub.get_mut(self.repository).unwrap();
        let referrers: Vec<String> = held
            .referrers(signed)
            .iter()
            .filter_map(|listed| Some(listed["digest"].as_str()?.to_owned()))
            .collect();
        let new = held.put_manifest(kind, bytes);
        held.listed.extend(
            referrers
                .into_iter()
                .map(|referrer| (new.clone(), referrer)),
        );
        for held in self.hub.values_mut() {
            for (tag, digest) in held.tags.clone() {
                if let Some(rest) = tag.strip_prefix(&signed.replace(':', "-")) {
                    held.tags
                        .insert(format!("{}{rest}", new.replace(':', "-")), digest);
                }
            }
        }
        self.asks.push(new.clone());
        format!("{signed} altered to {new}: {how}")
    }
}
