//! A registry that answers from memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::forge::{Key, Layer, Signature};
use crate::oci::{Digest, PageQuery, Reference, RepositoryName, media_type};
use crate::shares::Hold;
use crate::upstream::{
    self, FetchedBlob, FetchedManifest, ManifestHead, NextPage, Page, Purpose, Upstream,
};

pub(super) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A manifest in the registry.
#[derive(Debug, Clone)]
pub(super) struct Pushed {
    pub(super) digest: Digest,
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
}

impl Pushed {
    pub(super) fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.digest.to_string(),
            "size": self.bytes.len(),
        })
    }
}

/// How the registry fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It does not answer.
    Unreachable,
    /// It refuses us.
    Refusing,
    /// It answers with a status that says nothing.
    Unusable,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    manifests: HashMap<Digest, Pushed>,
    tags: HashMap<String, Digest>,
    blobs: HashMap<Digest, Bytes>,
    referrers: HashMap<Digest, Vec<Value>>,
    trouble: HashMap<Purpose, Trouble>,
    /// Manifests in place of which there is an error.
    errors: HashMap<Digest, upstream::Error>,
    asked: Vec<Purpose>,
    /// The source that answers last; the cosign tag where nothing else is said.
    last: Option<Purpose>,
    /// The time that each source takes.
    delay: Duration,
}

const EVERY: [Purpose; 6] = [
    Purpose::Manifest,
    Purpose::Blob,
    Purpose::Tags,
    Purpose::Referrers,
    Purpose::ReferrersTag,
    Purpose::CosignTag,
];
const SOURCES: [Purpose; 3] = [
    Purpose::CosignTag,
    Purpose::Referrers,
    Purpose::ReferrersTag,
];

impl Registry {
    pub(super) fn push(&self, media_type: &'static str, manifest: &Value) -> Pushed {
        let bytes = Bytes::from(manifest.to_string());
        let pushed = Pushed {
            digest: Digest::sha256(&bytes),
            media_type,
            bytes,
        };
        self.contents()
            .manifests
            .insert(pushed.digest, pushed.clone());
        pushed
    }

    /// An image with one layer of a file system.
    pub(super) fn push_image(&self, seed: &str) -> Pushed {
        self.push_layers(&[Layer::new(
            TAR,
            format!("the files of {seed}").into_bytes(),
            BTreeMap::new(),
        )])
    }

    pub(super) fn push_layers(&self, layers: &[Layer]) -> Pushed {
        let described: Vec<_> = layers.iter().map(described).collect();
        for layer in layers {
            self.push_blob(&layer.blob);
        }
        self.push_image_of(&described)
    }

    /// An image with these descriptors as its layers.
    pub(super) fn push_image_of(&self, layers: &[Value]) -> Pushed {
        let config = self.push_blob(b"{}");
        self.push(
            media_type::OCI_MANIFEST,
            &json!({
                "schemaVersion": 2,
                "config": {"mediaType": media_type::OCI_IMAGE_CONFIG, "digest": config.to_string(), "size": 2},
                "layers": layers,
            }),
        )
    }

    pub(super) fn push_index(&self, listed: &[&Pushed]) -> Pushed {
        let listed: Vec<_> = listed.iter().map(|pushed| pushed.descriptor()).collect();
        self.push_index_of(&listed)
    }

    pub(super) fn push_index_of(&self, listed: &[Value]) -> Pushed {
        let index = json!({"schemaVersion": 2, "manifests": listed});
        self.push(media_type::OCI_INDEX, &index)
    }

    pub(super) fn push_blob(&self, blob: &[u8]) -> Digest {
        let digest = Digest::sha256(blob);
        self.contents()
            .blobs
            .insert(digest, Bytes::copy_from_slice(blob));
        digest
    }

    pub(super) fn remove(&self, pushed: &Pushed) {
        self.contents().manifests.remove(&pushed.digest);
    }

    pub(super) fn restore(&self, pushed: &Pushed) {
        let pushed = pushed.clone();
        self.contents().manifests.insert(pushed.digest, pushed);
    }

    pub(super) fn remove_blob(&self, digest: &Digest) {
        self.contents().blobs.remove(digest);
    }

    pub(super) fn tag(&self, tag: &str, pushed: &Pushed) {
        self.contents().tags.insert(tag.to_owned(), pushed.digest);
    }

    /// A legacy signature of `image`.
    pub(super) fn sign(&self, image: &Pushed, key: &Key) -> Pushed {
        self.attach(image, ".sig", Signature::default().by(key, &image.digest))
    }

    /// What lies under cosign's tag for `image`.
    pub(super) fn attach(&self, image: &Pushed, suffix: &str, layer: Layer) -> Pushed {
        let manifest = self.push_layers(&[layer]);
        self.tag(
            &format!("{}{suffix}", image.digest.to_tag_prefix()),
            &manifest,
        );
        manifest
    }

    /// Lists `referrer` among the referrers of `image`.
    pub(super) fn refer(&self, image: &Pushed, referrer: &Pushed) {
        self.refer_as(image, referrer, None);
    }

    /// Lists `referrer` among the referrers of `image` with this artifact type.
    pub(super) fn refer_as(&self, image: &Pushed, referrer: &Pushed, artifact_type: Option<&str>) {
        let mut descriptor = referrer.descriptor();
        if let Some(artifact_type) = artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        let mut contents = self.contents();
        let listed = contents.referrers.entry(image.digest).or_default();
        listed.push(descriptor);
    }

    /// From now on the other sources answer before this one.
    pub(super) fn last(&self, source: Purpose) {
        self.contents().last = Some(source);
    }

    /// From now on each source takes this time for its answer.
    pub(super) fn delay(&self, delay: Duration) {
        self.contents().delay = delay;
    }

    /// The sources are polled in turn: who has to be woken comes after those who answer at once.
    async fn wait(&self, purpose: Purpose) {
        let delay = self.contents().delay;
        if SOURCES.contains(&purpose) && !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let last = self.contents().last.unwrap_or(Purpose::CosignTag);
        if purpose == last {
            tokio::task::yield_now().await;
        }
    }

    /// From now on this error comes in place of a manifest.
    pub(super) fn fail_for(&self, pushed: &Pushed, error: upstream::Error) {
        self.contents().errors.insert(pushed.digest, error);
    }

    /// From now on the manifest does not exist.
    pub(super) fn hide(&self, pushed: &Pushed) {
        let absent = upstream::Error::NotFound {
            host: "registry".to_owned(),
            name_unknown: false,
        };
        self.fail_for(pushed, absent);
    }

    /// From now on the manifest exists again.
    pub(super) fn show(&self, pushed: &Pushed) {
        self.contents().errors.remove(&pushed.digest);
    }

    /// Returns the number of requests so far.
    pub(super) fn requests(&self) -> usize {
        self.contents().asked.len()
    }

    /// From now on nothing is answered.
    pub(super) fn fail(&self, trouble: Trouble) {
        self.fail_at(&EVERY, trouble);
    }

    pub(super) fn fail_at(&self, purposes: &[Purpose], trouble: Trouble) {
        let failing = purposes.iter().map(|purpose| (*purpose, trouble));
        self.contents().trouble.extend(failing);
    }

    pub(super) fn recover(&self) {
        self.contents().trouble.clear();
    }

    /// Whether any source of signatures was asked since the last call.
    pub(super) fn was_asked_for_signatures(&self) -> bool {
        let asked: HashSet<_> = self.contents().asked.drain(..).collect();
        SOURCES.iter().any(|source| asked.contains(source))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    fn answer<T>(
        &self,
        purpose: Purpose,
        look: impl FnOnce(&Contents) -> Option<T>,
    ) -> Result<T, upstream::Error> {
        let mut contents = self.contents();
        contents.asked.push(purpose);
        let host = "registry.example".to_owned();
        match contents.trouble.get(&purpose) {
            Some(Trouble::Unreachable) => Err(upstream::Error::Failed {
                host,
                reason: "no connection".to_owned(),
            }),
            Some(Trouble::Refusing) => Err(upstream::Error::Denied { host, status: 403 }),
            Some(Trouble::Unusable) => Err(upstream::Error::Unexpected {
                host,
                reason: "status 418".to_owned(),
            }),
            None => look(&contents).ok_or(upstream::Error::NotFound {
                host,
                name_unknown: false,
            }),
        }
    }
}

/// Nothing is answered once the time for it is over.
fn in_time(deadline: Instant) -> Result<(), upstream::Error> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(upstream::Error::Failed {
        host: "registry.example".to_owned(),
        reason: "out of time".to_owned(),
    })
}

/// The descriptor of a layer as it stands in a manifest.
pub(super) fn described(layer: &Layer) -> Value {
    json!({
        "mediaType": layer.descriptor.media_type,
        "digest": layer.descriptor.digest.to_string(),
        "size": layer.descriptor.size,
        "annotations": layer.descriptor.annotations,
    })
}

#[async_trait]
impl Upstream for Registry {
    fn is_configured(&self, _host: &str) -> bool {
        true
    }

    async fn manifest(
        &self,
        _repository: &RepositoryName,
        reference: &Reference,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<FetchedManifest, upstream::Error> {
        self.wait(purpose).await;
        in_time(deadline)?;
        if let Reference::Digest(digest) = reference
            && let Some(error) = self.contents().errors.get(digest)
        {
            return Err(error.clone());
        }
        self.answer(purpose, |contents| {
            let digest = match reference {
                Reference::Digest(digest) => digest,
                Reference::Tag(tag) => contents.tags.get(tag.as_str())?,
            };
            contents
                .manifests
                .get(digest)
                .map(|pushed| FetchedManifest {
                    bytes: pushed.bytes.clone(),
                    digest: pushed.digest,
                    content_type: pushed.media_type.to_owned(),
                    hold: Hold::default(),
                })
        })
    }

    async fn head_manifest(
        &self,
        _repository: &RepositoryName,
        _reference: &Reference,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<ManifestHead, upstream::Error> {
        unimplemented!("tags are not resolved here")
    }

    async fn blob(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _offset: u64,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<FetchedBlob, upstream::Error> {
        unimplemented!("blobs are not transferred here")
    }

    async fn small_blob(
        &self,
        _repository: &RepositoryName,
        digest: &Digest,
        _limit_bytes: u64,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Bytes, upstream::Error> {
        in_time(deadline)?;
        self.answer(purpose, |contents| contents.blobs.get(digest).cloned())
    }

    async fn confirm_blob(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _size: u64,
        _deadline: Instant,
    ) -> Result<(), upstream::Error> {
        unimplemented!("blobs are not transferred here")
    }

    async fn referrers(
        &self,
        _repository: &RepositoryName,
        digest: &Digest,
        _query: Option<&PageQuery>,
        deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        self.wait(Purpose::Referrers).await;
        in_time(deadline)?;
        self.answer(Purpose::Referrers, |contents| {
            let listed = contents.referrers.get(digest).cloned().unwrap_or_default();
            Some(Page {
                bytes: json!({"schemaVersion": 2, "manifests": listed})
                    .to_string()
                    .into(),
                content_type: media_type::OCI_INDEX.to_owned(),
                next: NextPage::None,
                hold: Hold::default(),
            })
        })
    }

    async fn tags(
        &self,
        _repository: &RepositoryName,
        _query: Option<&PageQuery>,
        _deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        unimplemented!("tags are not listed here")
    }
}
