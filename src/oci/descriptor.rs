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
    /// Key-value pairs, such as cosign's signature on a layer.
    pub annotations: BTreeMap<String, String>,
}
