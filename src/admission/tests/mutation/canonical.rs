//! What a layer says, read by another reader than the one under test: lenient about spelling, strict about keys given
//! twice. Two layers that are equal here hold the same bytes wherever anything is signed, hashed or compared.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::world::{Repository, Slot};
use crate::oci::media_type;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canonical {
    /// The layer exactly: type, bytes, annotations.
    pub(super) raw: (String, Vec<u8>, BTreeMap<String, String>),
    pub(super) shape: Shape,
    pub(super) payload_type: String,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) hint: Option<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) timestamps: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    SimpleSigning,
    Attestation,
    /// With the digit after `0.`.
    Bundle(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) log: Vec<u8>,
    pub(super) index: i128,
    pub(super) kind: (String, String),
    pub(super) time: i128,
    pub(super) promise: Option<Vec<u8>>,
    pub(super) body: Vec<u8>,
    pub(super) proof: Option<Proof>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) index: i128,
    pub(super) size: i128,
    pub(super) root: Vec<u8>,
    pub(super) hashes: Vec<Vec<u8>>,
    pub(super) checkpoint: String,
}

/// What a layer holds; nothing if this reader cannot tell.
pub(super) fn read(repository: &Repository, slot: &Slot) -> Option<Canonical> {
    let manifest = repository.manifests.get(&slot.artifact)?.json();
    let layer = &manifest["layers"][slot.layer];
    let blob = repository.blobs.get(layer["digest"].as_str()?)?;
    if layer["size"].as_u64() != Some(blob.len() as u64) {
        return None;
    }
    let annotations: BTreeMap<String, String> = layer["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let raw = (slot.media_type.clone(), blob.to_vec(), annotations);
    match slot.media_type.as_str() {
        media_type::SIMPLE_SIGNING => {
            let signature = text_base64(raw.2.get("dev.cosignproject.cosign/signature")?)?;
            legacy(
                raw,
                Shape::SimpleSigning,
                String::new(),
                blob.to_vec(),
                signature,
            )
        }
        media_type::DSSE_ENVELOPE => {
            let (kind, payload, signature) = envelope(&unique(blob)?)?;
            legacy(raw, Shape::Attestation, kind, payload, signature)
        }
        _ => bundle(raw, &unique(blob)?),
    }
}

type Raw = (String, Vec<u8>, BTreeMap<String, String>);

fn legacy(
    raw: Raw,
    shape: Shape,
    payload_type: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
) -> Option<Canonical> {
    let annotation = |name: &str| {
        let value = raw.2.get(&format!("dev.sigstore.cosign/{name}"));
        value.filter(|value| !value.is_empty())
    };
    let mut leaf = annotation("certificate").map_or(Some(Vec::new()), |text| certificates(text))?;
    let chain = annotation("chain").map_or(Some(Vec::new()), |text| certificates(text))?;
    if leaf.len() > 1 {
        return None;
    }
    let entries = match annotation("bundle") {
        Some(text) => vec![annotated_entry(&unique(text.as_bytes())?)?],
        None => Vec::new(),
    };
    let timestamps = match annotation("rfc3161timestamp") {
        Some(text) => {
            let token = unique(text.as_bytes())?;
            vec![base64(&token["SignedRFC3161Timestamp"])?]
        }
        None => Vec::new(),
    };
    Some(Canonical {
        shape,
        payload_type,
        payload,
        signature,
        certificate: leaf.pop(),
        chain,
        hint: None,
        entries,
        timestamps,
        raw,
    })
}

fn bundle(raw: Raw, bundle: &Value) -> Option<Canonical> {
    let version = |text: &str| {
        (1..=3).find(|digit| {
            let spellings = [
                format!("application/vnd.dev.sigstore.bundle+json;version=0.{digit}"),
                format!("application/vnd.dev.sigstore.bundle.v0.{digit}+json"),
            ];
            spellings.iter().any(|spelling| spelling == text)
        })
    };
    let said: u8 = version(bundle["mediaType"].as_str()?)?;
    if version(&raw.0) != Some(said) || !bundle["messageSignature"].is_null() {
        return None;
    }
    let material = &bundle["verificationMaterial"];
    let (payload_type, payload, signature) = envelope(&bundle["dsseEnvelope"])?;
    let mut chain = match (
        material["certificate"].is_null(),
        &material["x509CertificateChain"],
    ) {
        (false, Value::Null) => vec![base64(&material["certificate"]["rawBytes"])?],
        (true, Value::Object(chain)) => list(chain.get("certificates")?)
            .iter()
            .map(|certificate| base64(&certificate["rawBytes"]))
            .collect::<Option<_>>()?,
        (true, Value::Null) => Vec::new(),
        _ => return None,
    };
    let leaf = (!chain.is_empty()).then(|| chain.remove(0));
    Some(Canonical {
        shape: Shape::Bundle(said),
        payload_type,
        payload,
        signature,
        certificate: leaf,
        chain,
        hint: material["publicKey"].as_object().map(|key| {
            key.get("hint")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        }),
        entries: list(&material["tlogEntries"])
            .iter()
            .map(bundled_entry)
            .collect::<Option<_>>()?,
        timestamps: list(&material["timestampVerificationData"]["rfc3161Timestamps"])
            .iter()
            .map(|timestamp| base64(&timestamp["signedTimestamp"]))
            .collect::<Option<_>>()?,
        raw,
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn envelope(envelope: &Value) -> Option<(String, Vec<u8>, Vec<u8>)> {
    let [signature] = list(&envelope["signatures"]) else {
        return None;
    };
    Some((
        envelope["payloadType"].as_str()?.to_owned(),
        base64(&envelope["payload"])?,
        base64(&signature["sig"])?,
    ))
}

fn annotated_entry(annotation: &Value) -> Option<Entry> {
    let payload = &annotation["Payload"];
    let body = base64(&payload["body"])?;
    let header: Value = unique(&body)?;
    let text = |key: &str| Some(header[key].as_str()?.to_owned());
    Some(Entry {
        log: hex::decode(payload["logID"].as_str()?).ok()?,
        index: integer(&payload["logIndex"])?,
        kind: (text("kind")?, text("apiVersion")?),
        time: integer(&payload["integratedTime"])?,
        promise: Some(base64(&annotation["SignedEntryTimestamp"])?),
        body,
        proof: None,
    })
}

fn bundled_entry(entry: &Value) -> Option<Entry> {
    let text = |key: &str| Some(entry["kindVersion"][key].as_str()?.to_owned());
    let proof = &entry["inclusionProof"];
    let promise = &entry["inclusionPromise"]["signedEntryTimestamp"];
    Some(Entry {
        log: base64(&entry["logId"]["keyId"])?,
        index: integer(&entry["logIndex"])?,
        kind: (text("kind")?, text("version")?),
        time: integer(&entry["integratedTime"])?,
        promise: if promise.is_null() {
            None
        } else {
            Some(base64(promise)?)
        },
        body: base64(&entry["canonicalizedBody"])?,
        proof: if proof.is_null() {
            None
        } else {
            Some(Proof {
                index: integer(&proof["logIndex"])?,
                size: integer(&proof["treeSize"])?,
                root: base64(&proof["rootHash"])?,
                hashes: list(&proof["hashes"])
                    .iter()
                    .map(base64)
                    .collect::<Option<_>>()?,
                checkpoint: proof["checkpoint"]["envelope"].as_str()?.to_owned(),
            })
        },
    })
}

/// A protobuf integer: a number, the same as text, or absent for 0.
fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Null => Some(0),
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The bytes of base64 in any alphabet, with any padding and any white space.
pub(super) fn base64(value: &Value) -> Option<Vec<u8>> {
    text_base64(value.as_str()?)
}

fn text_base64(text: &str) -> Option<Vec<u8>> {
    let plain: String = text
        .chars()
        .filter(|character| !character.is_ascii_whitespace())
        .map(|character| match character {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config).decode(plain).ok()
}

/// The certificates in PEM. Text around them and headers within them do not count, as in Go's `encoding/pem`.
fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    let mut blocks = pem.split("-----BEGIN CERTIFICATE-----");
    blocks.next();
    blocks
        .map(|block| {
            let (contents, _) = block.split_once("-----END CERTIFICATE-----")?;
            let lines = contents.lines().filter(|line| !line.contains(':'));
            text_base64(&lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// JSON in which no object has a key twice.
pub(super) fn unique(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    (members(&value) == written_members(bytes)).then_some(value)
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(list) => list.iter().map(members).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Colons outside strings.
fn written_members(json: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}
