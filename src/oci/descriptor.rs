//! Descriptors: what a manifest says of the content it refers to.

use std::collections::BTreeMap;

use super::Digest;

/// A reference from one document to content: its type, digest and size (image specification, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The type the content claims to have.
    pub media_type: String,
    /// The digest of the content's bytes.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// The kind of artifact; a hint that registries fill in as they please, so nothing is decided by it.
    pub artifact_type: Option<String>,
    /// Key-value pairs, such as cosign's signature on a layer: those that are read here ([`super::annotation`]).
    pub annotations: BTreeMap<String, String>,
}

/// Bytes that a map keeps for each entry beside its text.
const ENTRY_BYTES: usize = 96;

impl Descriptor {
    /// Returns the bytes of memory that it takes up.
    #[must_use]
    pub fn weight(&self) -> usize {
        let artifact_type = self.artifact_type.as_ref().map_or(0, String::capacity);
        let annotations = self.annotations.iter();
        let annotations =
            annotations.map(|(key, value)| ENTRY_BYTES + key.capacity() + value.capacity());
        size_of::<Self>() + self.media_type.capacity() + artifact_type + annotations.sum::<usize>()
    }
}
