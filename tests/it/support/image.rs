//! Images made of given bytes.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A manifest or index, with the blobs it refers to.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
    pub(crate) digest: String,
    pub(crate) blobs: Vec<Bytes>,
}

/// The digest of bytes as it is written.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(digest(&SHA256, bytes)))
}

/// The SHA-512 digest of bytes as it is written.
pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(digest(&SHA512, bytes)))
}

/// A descriptor of bytes.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

impl Image {
    /// An image unlike any other: its configuration and two small layers are made from `seed`.
    pub(crate) fn new(seed: &str) -> Self {
        let layers = ["first", "second"].map(|layer| {
            Bytes::from(
                format!("{layer} layer of {seed}\n")
                    .repeat(200)
                    .into_bytes(),
            )
        });
        Self::with_layers(seed, &layers)
    }

    /// An image with these layers.
    pub(crate) fn with_layers(seed: &str, layers: &[Bytes]) -> Self {
        let config = Bytes::from(
            json!({"architecture": "amd64", "os": "linux", "config": {"Labels": {"seed": seed}}})
                .to_string()
                .into_bytes(),
        );
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor(OCI_LAYER, layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config), "layers": described,
        });
        let mut image = Self::raw(OCI_MANIFEST, manifest.to_string());
        image.blobs.push(config);
        image.blobs.extend(layers.iter().cloned());
        image
    }

    /// An image with one layer of `size` bytes that do not repeat.
    pub(crate) fn large(seed: &str, size: usize) -> Self {
        Self::with_layers(seed, &[noise(seed, size)])
    }

    /// An index that lists these as its platforms.
    pub(crate) fn index(children: &[&Self]) -> Self {
        let listed: Vec<Value> = children
            .iter()
            .enumerate()
            .map(|(position, child)| {
                let mut listed = child.descriptor();
                listed["platform"] =
                    json!({"os": "linux", "architecture": format!("arch{position}")});
                listed
            })
            .collect();
        Self::index_of(&listed)
    }

    /// An index with these entries.
    pub(crate) fn index_of(entries: &[Value]) -> Self {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        Self::raw(OCI_INDEX, index.to_string())
    }

    /// A manifest of these bytes.
    pub(crate) fn raw(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = Bytes::from(bytes.into());
        Self {
            media_type: media_type.to_owned(),
            digest: sha256(&bytes),
            bytes,
            blobs: Vec::new(),
        }
    }

    /// Its own descriptor.
    pub(crate) fn descriptor(&self) -> Value {
        descriptor(&self.media_type, &self.bytes)
    }

    /// The digest of the configuration.
    pub(crate) fn config(&self) -> String {
        sha256(&self.blobs[0])
    }

    /// The digest of the layer at `position`.
    pub(crate) fn layer(&self, position: usize) -> String {
        sha256(&self.blobs[position + 1])
    }

    /// The hex part of its digest, as in the tags made from digests.
    pub(crate) fn hex(&self) -> &str {
        self.digest.split_once(':').unwrap().1
    }

    /// The tag that cosign files something under: `sig`, `att` or `sbom`.
    pub(crate) fn cosign_tag(&self, suffix: &str) -> String {
        format!("sha256-{}.{suffix}", self.hex())
    }

    /// The referrers tag.
    pub(crate) fn referrers_tag(&self) -> String {
        format!("sha256-{}", self.hex())
    }
}

/// Bytes that do not repeat, the same for the same seed.
pub(crate) fn noise(seed: &str, size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size + 64);
    let mut block = digest(&SHA512, seed.as_bytes());
    while bytes.len() < size {
        bytes.extend_from_slice(block.as_ref());
        block = digest(&SHA512, block.as_ref());
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}
