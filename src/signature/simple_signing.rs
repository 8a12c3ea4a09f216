//! The simple-signing payload (cosign's `SIGNATURE_SPEC`): which digest is signed, under which name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{ParseFailure, json};

/// The only type that a cosign signature has; another one belongs to another protocol.
const PAYLOAD_TYPE: &str = "cosign container image signature";

/// What a simple-signing payload claims.
#[derive(Debug)]
pub(crate) struct Payload {
    /// The digest as it stands in the payload, compared byte for byte.
    pub(crate) digest: String,
    /// The name the signer gave the image, if any.
    pub(crate) docker_reference: Option<String>,
    /// `optional`, scalars only.
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Wire {
    critical: WireCritical,
    #[serde(default)]
    optional: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct WireCritical {
    #[serde(default)]
    identity: Option<WireIdentity>,
    image: WireImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct WireIdentity {
    #[serde(rename = "docker-reference", default)]
    docker_reference: Option<String>,
}

#[derive(Deserialize)]
struct WireImage {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: String,
}

/// Reads a payload; anything else than exactly this protocol's type is malformed.
pub(super) fn parse(bytes: &[u8]) -> Result<Payload, ParseFailure> {
    let wire: Wire = json::parse(bytes).map_err(|error| {
        ParseFailure::malformed(format!(
            "the signed payload is not a simple-signing payload: {error}"
        ))
    })?;
    if wire.critical.kind != PAYLOAD_TYPE {
        return Err(ParseFailure::malformed(format!(
            "the signed payload is a `{}`, not a `{PAYLOAD_TYPE}`",
            wire.critical.kind
        )));
    }
    Ok(Payload {
        digest: wire.critical.image.docker_manifest_digest,
        docker_reference: wire
            .critical
            .identity
            .and_then(|identity| identity.docker_reference)
            .filter(|reference| !reference.is_empty()),
        annotations: scalars(wire.optional.unwrap_or_default()),
    })
}

/// Strings as they are, numbers and booleans as JSON writes them; what has no one spelling is left out.
pub(super) fn scalars(values: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    values
        .into_iter()
        .filter_map(|(key, value)| {
            let text = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some((key, text))
        })
        .collect()
}
