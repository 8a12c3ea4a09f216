//! The Sigstore vocabulary: what registries hold as signatures, parsed and not yet believed (pure).
//!
//! [`candidates`] parses everything once; nothing here is a verdict. A layer whose shape is right and whose content is
//! broken stays visible as a broken candidate, so that a refusal can say so.

mod base64;
mod bundle;
mod certificate;
mod json;
mod lazy;
mod legacy;
mod log_entry;
mod material;
pub(crate) mod pem;
mod simple_signing;
mod statement;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::oci::{Descriptor, Digest, media_type};

pub use certificate::CertificateError;
pub(crate) use certificate::{
    FULCIO_EXTENSIONS, Intermediate, SigningCertificate, read_certificate,
};
use lazy::LazyContent;
pub(crate) use log_entry::{EntryKind, LogEntry, LoggedVerifier, SignedPart};
pub use material::is_signature_material;
pub(crate) use simple_signing::Payload;
pub(crate) use statement::Statement;

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
    /// The number of bytes that are read when it is first tried: its blob and its annotations.
    pub bytes: u64,
    /// What the layer holds, read when it is first tried.
    pub(crate) content: LazyContent,
}

/// What a layer of a known shape holds.
#[derive(Debug)]
pub(crate) enum Content {
    /// Something with a signature over it.
    Signed(Box<Signed>),
    /// Nothing that could be tried.
    Broken(Broken),
}

/// Why a layer of the right shape cannot be tried.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) defect: Defect,
    /// One sentence without the final stop.
    pub(crate) reason: String,
    /// What it would have been, as far as the layer's type says.
    pub(crate) role: Role,
}

/// The ways of being broken that a refusal tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The registry lists it and does not have it.
    Absent,
    Malformed,
    LimitExceeded,
}

/// What a layer can serve as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Signature,
    Attestation,
    /// A bundle is what its statement says.
    Either,
}

/// Why parsing stopped, before it is known which role the layer has.
#[derive(Debug)]
pub(crate) struct ParseFailure {
    pub(crate) defect: Defect,
    pub(crate) reason: String,
}

/// A claim, the signature over it and everything that came along; nothing in it is proven.
#[derive(Debug)]
pub(crate) struct Signed {
    /// What its carrier allows it to be.
    pub(crate) role: Role,
    pub(crate) claim: Claim,
    /// The bytes of the claim: the simple-signing payload or the in-toto statement.
    pub(crate) payload: Bytes,
    /// The bytes that the signature covers: the payload itself, or its DSSE pre-authentication encoding.
    pub(crate) message: Bytes,
    pub(crate) signature: Vec<u8>,
    pub(crate) certificate: Option<SigningCertificate>,
    /// The hint of a bundle signed with a key; cosign writes the base64 SHA-256 of the key.
    pub(crate) key_hint: Option<String>,
    pub(crate) log_entries: Vec<LogEntry>,
    /// What every log entry must come with.
    pub(crate) log_evidence: LogEvidence,
    pub(crate) signed_timestamps: Vec<sigstore_types::TimestampToken>,
}

/// What is signed.
#[derive(Debug)]
pub(crate) enum Claim {
    SimpleSigning(Payload),
    Statement(Statement),
}

/// What a log entry must come with, by the version of its carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogEvidence {
    /// A signed entry timestamp: cosign annotations, bundles v0.1.
    Promise,
    /// An inclusion proof with a checkpoint: bundles from v0.2.
    Proof,
}

/// Whether a layer's media type is one that cosign writes signatures or attestations with.
///
/// Nothing is believed because of it; it only keeps file systems from being downloaded as if they were signatures.
#[must_use]
pub fn is_worth_reading(layer: &Descriptor) -> bool {
    Shape::of(&layer.media_type).is_some()
}

/// The candidates in `artifact`, in layer order. A layer of another shape yields none; a broken layer of the right
/// shape yields a candidate that every attempt refuses as malformed.
#[must_use]
pub fn candidates(artifact: &Artifact, limits: &Limits) -> Vec<Candidate> {
    let shapes: Vec<_> = artifact
        .layers
        .iter()
        .enumerate()
        .filter_map(|(layer, (descriptor, blob))| {
            Shape::of(&descriptor.media_type).map(|shape| (layer, shape, descriptor, blob))
        })
        .collect();
    let candidate = |layer, format, bytes, content| Candidate {
        source: artifact.source,
        artifact: artifact.digest,
        layer,
        format,
        bytes,
        content,
    };
    if let Some(&(layer, shape, ..)) = shapes.first()
        && artifact.layers.len() > limits.signature_layers_max
    {
        let failure = ParseFailure::limit(format!(
            "the signature manifest has {} layers, more than {} are not read",
            artifact.layers.len(),
            limits.signature_layers_max
        ));
        return vec![candidate(
            layer,
            shape.format(),
            0,
            LazyContent::known(failure.content(shape.role())),
        )];
    }
    let lone = artifact.layers.len() == 1;
    shapes
        .into_iter()
        .map(|(layer, shape, descriptor, blob)| {
            let content = LazyContent::of(shape, descriptor, blob, lone, limits);
            candidate(layer, shape.format(), bytes_of(descriptor, blob), content)
        })
        .collect()
}

fn bytes_of(descriptor: &Descriptor, blob: &Blob) -> u64 {
    let blob = match blob {
        Blob::Present(bytes) => bytes.len(),
        Blob::Missing | Blob::TooLarge | Blob::OtherType => 0,
    };
    let annotations = descriptor.annotations.values().map(String::len);
    u64::try_from(blob + annotations.sum::<usize>()).unwrap_or(u64::MAX)
}

/// The known shapes of a layer, told by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    SimpleSigning,
    DsseEnvelope,
    Bundle,
}

impl Shape {
    fn of(media_type: &str) -> Option<Self> {
        if media_type::same(media_type, media_type::SIMPLE_SIGNING) {
            Some(Self::SimpleSigning)
        } else if media_type::same(media_type, media_type::DSSE_ENVELOPE) {
            Some(Self::DsseEnvelope)
        } else {
            media_type::is_sigstore_bundle(media_type).then_some(Self::Bundle)
        }
    }

    fn format(self) -> Format {
        match self {
            Self::SimpleSigning | Self::DsseEnvelope => Format::SimpleSigning,
            Self::Bundle => Format::Bundle,
        }
    }

    fn role(self) -> Role {
        match self {
            Self::SimpleSigning => Role::Signature,
            Self::DsseEnvelope => Role::Attestation,
            Self::Bundle => Role::Either,
        }
    }
}

fn parse(
    shape: Shape,
    descriptor: &Descriptor,
    blob: &Blob,
    lone: bool,
    limits: &Limits,
) -> Result<Signed, ParseFailure> {
    let bytes = match blob {
        Blob::Present(bytes) => bytes,
        Blob::Missing => {
            return Err(ParseFailure {
                defect: Defect::Absent,
                reason: "the registry does not have the blob that the signature manifest refers to"
                    .to_owned(),
            });
        }
        Blob::OtherType => {
            return Err(ParseFailure::malformed(
                "the blob of the signature was not fetched",
            ));
        }
        Blob::TooLarge => {
            return Err(ParseFailure::limit(
                "the blob of the signature is larger than its limit (`limits.payload_bytes_max`, \
                 `limits.bundle_bytes_max`, `limits.discovery_bytes_max`) or than its descriptor says",
            ));
        }
    };
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found != descriptor.size {
        return Err(ParseFailure::malformed(format!(
            "the blob of the signature has {found} bytes, its descriptor says {}",
            descriptor.size
        )));
    }
    match shape {
        Shape::SimpleSigning => legacy::simple_signing(descriptor, bytes, limits),
        Shape::DsseEnvelope => legacy::attestation(descriptor, bytes, limits),
        // One bundle, one manifest: cosign reads only the first layer, so a second one would be read by us alone.
        Shape::Bundle if !lone => Err(ParseFailure::malformed(
            "the manifest of a Sigstore bundle must have exactly one layer",
        )),
        Shape::Bundle => bundle::parse(&descriptor.media_type, bytes, limits),
    }
}

impl ParseFailure {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self {
            defect: Defect::Malformed,
            reason: reason.into(),
        }
    }

    pub(crate) fn limit(reason: impl Into<String>) -> Self {
        Self {
            defect: Defect::LimitExceeded,
            reason: reason.into(),
        }
    }

    fn content(self, role: Role) -> Content {
        Content::Broken(Broken {
            defect: self.defect,
            reason: self.reason,
            role,
        })
    }
}

#[cfg(test)]
mod tests;
