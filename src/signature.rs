//! The Sigstore vocabulary: what registries hold as signatures, parsed and not yet believed (pure).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::oci::{Descriptor, Digest};

/// Where signature material was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Legacy cosign tags `sha256-<hex>.sig` and `.att`.
    CosignTag,
    /// The referrers API.
    Referrers,
    /// The referrers tag `sha256-<hex>`.
    ReferrersTag,
}

/// The wire format of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A legacy cosign layer: simple-signing payload (signature) or DSSE envelope (attestation) plus annotations.
    SimpleSigning,
    /// A Sigstore bundle.
    Bundle,
}

/// One blob of a signature artifact as it arrived.
#[derive(Debug, Clone)]
pub enum Blob {
    /// The bytes; their digest is the descriptor's.
    Present(Bytes),
    /// The registry says it does not have the blob its manifest refers to.
    Missing,
    /// Larger than the limit for its format, or than its descriptor says; not read to its end.
    TooLarge,
    /// Its media type is none that signatures are written with, so it was not fetched.
    OtherType,
}

/// One signature artifact: an image manifest found in a source, with the blobs of all its layers.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Where it was found.
    pub source: Source,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its layers, in manifest order, each with its blob.
    pub layers: Vec<(Descriptor, Blob)>,
}

/// One signature or attestation to try: a layer of an artifact in one of the known formats.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it was found.
    pub source: Source,
    /// The digest of the artifact's manifest.
    pub artifact: Digest,
    /// The layer within the artifact, from 0.
    pub layer: usize,
    /// The wire format.
    pub format: Format,
    // OWNER `verify` adds: the parsed content (simple signing / legacy DSSE attestation / bundle / malformed with reason).
}

/// Whether a layer's media type is one that cosign writes signatures or attestations with.
///
/// Nothing is believed because of it; it only keeps file systems from being downloaded as if they were signatures.
#[must_use]
pub fn is_worth_reading(layer: &Descriptor) -> bool {
    use crate::oci::media_type::{DSSE_ENVELOPE, SIGSTORE_BUNDLE_PREFIX, SIMPLE_SIGNING};
    let media_type = layer.media_type.as_str();
    matches!(media_type, SIMPLE_SIGNING | DSSE_ENVELOPE)
        || media_type.starts_with(SIGSTORE_BUNDLE_PREFIX)
}

/// The candidates in `artifact`, in layer order. A layer of another shape yields none; a broken layer of the right
/// shape yields a candidate that every attempt refuses as malformed.
#[must_use]
pub fn candidates(artifact: &Artifact, limits: &Limits) -> Vec<Candidate> {
    let _ = (artifact, limits);
    todo!("owner: verify")
}

/// Whether a blob is signature material by its content: a simple-signing payload, a DSSE envelope, a Sigstore bundle,
/// an SPDX or a CycloneDX document (JSON). Names and declared types do not count.
#[must_use]
pub fn is_signature_material(blob: &[u8]) -> bool {
    let _ = blob;
    todo!("owner: verify")
}
