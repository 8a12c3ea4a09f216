//! Signature material, recognised by what it is.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{bundle, json, simple_signing};

/// Whether a blob is signature material by its content: a simple-signing payload, a DSSE envelope, a Sigstore bundle,
/// an SPDX or a `CycloneDX` document (JSON). Names and declared types do not count.
#[must_use]
pub fn is_signature_material(blob: &[u8]) -> bool {
    // Anything but a JSON object is settled by its first byte; layers of images are large.
    let starts_an_object = blob
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte == b'{');
    starts_an_object
        && (simple_signing::parse(blob).is_ok()
            || json::parse::<Envelope>(blob).is_ok_and(|envelope| !envelope.signatures.is_empty())
            || bundle::is_bundle(blob)
            || json::parse::<Spdx>(blob).is_ok_and(|document| document.is_one())
            || json::parse::<CycloneDx>(blob).is_ok_and(|document| document.format == "CycloneDX"))
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "payloadType")]
    #[expect(dead_code, reason = "its presence is what tells an envelope")]
    payload_type: String,
    #[expect(dead_code, reason = "its presence is what tells an envelope")]
    payload: sigstore_types::PayloadBytes,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    #[expect(dead_code, reason = "its presence is what tells an envelope")]
    sig: sigstore_types::SignatureBytes,
}

#[derive(Deserialize)]
struct Spdx {
    /// SPDX 2.
    #[serde(rename = "spdxVersion", default)]
    version: Option<String>,
    #[serde(rename = "SPDXID", default)]
    id: Option<String>,
    /// SPDX 3 is JSON-LD.
    #[serde(rename = "@context", default)]
    context: Option<String>,
    #[serde(rename = "@graph", default)]
    graph: Option<Vec<IgnoredAny>>,
}

impl Spdx {
    fn is_one(&self) -> bool {
        let second = self.id.is_some()
            && self
                .version
                .as_deref()
                .is_some_and(|version| version.starts_with("SPDX-2."));
        let third = self.graph.is_some()
            && self
                .context
                .as_deref()
                .is_some_and(|context| context.starts_with("https://spdx.org/rdf/3."));
        second || third
    }
}

#[derive(Deserialize)]
struct CycloneDx {
    #[serde(rename = "bomFormat")]
    format: String,
    #[serde(rename = "specVersion")]
    #[expect(dead_code, reason = "its presence is what tells a document")]
    version: String,
}
