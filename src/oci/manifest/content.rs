//! The type of a manifest whose `Content-Type` says little, and answers that are not the manifest at all.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::ParseError;
use crate::oci::media_type as types;

/// Body prefixes of compressed content: gzip and Zstandard.
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];

/// The keys of a document that say what it may be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    media_type: Option<String>,
    schema_version: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Returns the manifest type of `bytes` that a registry sent as `declared`.
///
/// A `Content-Type` that is one of the four manifest types is taken at its word; [`super::Manifest::parse`] refuses it if
/// the document contradicts (CVE-2021-41190). With any other, or with none, the document's own `mediaType` counts, and
/// without that its shape: `config` and `layers` make an OCI image manifest, `manifests` an OCI index. Static file servers
/// and some registries send `application/json`, `text/plain` or nothing (moby#31318, containerd/cri#787).
///
/// # Errors
/// Returns an error if neither tells which manifest it is.
pub fn media_type(bytes: &[u8], declared: &str) -> Result<&'static str, ParseError> {
    if let Some(known) = types::manifest_type(declared) {
        return Ok(known);
    }
    let outline: Outline = serde_json::from_slice(bytes).map_err(ParseError::Json)?;
    if let Some(own) = &outline.media_type {
        return types::manifest_type(own).ok_or_else(|| ParseError::MediaType(own.clone()));
    }
    let is_image = outline.config.is_some() && outline.layers.is_some();
    match (is_image, outline.manifests.is_some()) {
        (true, true) => Err(ParseError::Ambiguous("layers", "manifests")),
        (true, false) => Ok(types::OCI_MANIFEST),
        (false, true) => Ok(types::OCI_INDEX),
        (false, false) => Err(ParseError::MediaType(declared.to_owned())),
    }
}

/// Returns true if `bytes`, sent as `declared`, are certainly something else than a manifest.
///
/// That is nothing at all, a web page, compressed bytes, or an error in JSON. Such an answer comes from a captive portal, a
/// login page or a broken cache, so it says nothing about the manifest. A document that tries to be a manifest is not
/// other content, however broken it is.
#[must_use]
pub fn is_other_content(bytes: &[u8], declared: &str) -> bool {
    let is_declared = types::manifest_type(declared).is_some();
    let text = bytes.trim_ascii_start();
    match text.first() {
        None | Some(b'<') => true,
        Some(b'{') => match serde_json::from_slice::<Outline>(text) {
            Ok(outline) => !outline.names_a_part() && !is_empty_object(text),
            // Valid JSON has a manifest's keys with wrong values or twice.
            Err(_) => !is_declared && serde_json::from_slice::<IgnoredAny>(text).is_err(),
        },
        Some(_) => !is_declared || COMPRESSED.iter().any(|prefix| bytes.starts_with(prefix)),
    }
}

/// Returns true for an empty object, which is a document without content and not an error message.
fn is_empty_object(text: &[u8]) -> bool {
    let mut bytes = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    bytes.next() == Some(&b'{') && bytes.next() == Some(&b'}')
}

impl Outline {
    fn names_a_part(&self) -> bool {
        self.media_type.is_some()
            || self.schema_version.is_some()
            || self.config.is_some()
            || self.layers.is_some()
            || self.manifests.is_some()
            || self.fs_layers.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERIC: [&str; 5] = [
        "",
        "application/json",
        "text/plain; charset=utf-8",
        "text/html",
        "application/octet-stream",
    ];

    fn found(document: &str, declared: &str) -> Result<&'static str, ParseError> {
        media_type(document.as_bytes(), declared)
    }

    #[test]
    fn the_document_tells_its_type_when_the_content_type_does_not() {
        for declared in GENERIC {
            for own in [
                types::OCI_INDEX,
                types::OCI_MANIFEST,
                types::DOCKER_MANIFEST_LIST,
                types::DOCKER_MANIFEST,
            ] {
                let document = format!(r#"{{"mediaType":"{own}"}}"#);
                assert_eq!(found(&document, declared).unwrap(), own, "{declared}");
            }
            let image = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
            assert_eq!(found(image, declared).unwrap(), types::OCI_MANIFEST);
            let index = r#"{"schemaVersion":2,"manifests":[]}"#;
            assert_eq!(found(index, declared).unwrap(), types::OCI_INDEX);
        }
        let upper = r#"{"mediaType":"Application/vnd.OCI.image.index.v1+json; charset=utf-8"}"#;
        assert_eq!(found(upper, "").unwrap(), types::OCI_INDEX);
    }

    #[test]
    fn a_document_that_does_not_tell_its_type_is_refused() {
        for document in [
            "{}",
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            r#"{"config":{}}"#,
            r#"{"layers":[],"config":null}"#,
            r#"{"config":{},"layers":[],"manifests":[]}"#,
            r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","config":{},"layers":[]}"#,
            r#"{"mediaType":"application/vnd.oci.image.index.v1+json","mediaType":"x"}"#,
            "[]",
            "",
        ] {
            assert!(found(document, "application/json").is_err(), "{document}");
        }
    }

    #[test]
    fn pages_errors_and_compressed_bytes_are_no_manifest() {
        for declared in GENERIC.into_iter().chain([types::OCI_MANIFEST]) {
            for other in [
                &b""[..],
                b" \n",
                b"<!DOCTYPE html><html>login</html>",
                b"\n <html>",
                b"\x1f\x8b\x08\x00",
                b"\x28\xb5\x2f\xfd",
                br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#,
                br#"{"message":"try again"}"#,
            ] {
                assert!(is_other_content(other, declared), "{declared}: {other:?}");
            }
            for manifest in [
                &br#"{"schemaVersion":2}"#[..],
                br#" {"mediaType":"x"}"#,
                br#"{"mediaType":7}"#,
                br#"{"layers":[],"layers":[]}"#,
                br#"{"manifests":[],"errors":[]}"#,
                br#"{"fsLayers":[]}"#,
                b"{ }",
            ] {
                assert!(
                    !is_other_content(manifest, declared),
                    "{declared}: {manifest:?}"
                );
            }
        }
    }

    #[test]
    fn broken_bytes_are_a_broken_manifest_only_if_declared_as_one() {
        for broken in [
            &b"{\"schemaVersion\":2,"[..],
            b"please log in",
            b"[]",
            b"\xff",
        ] {
            assert!(
                !is_other_content(broken, types::DOCKER_MANIFEST),
                "{broken:?}"
            );
            assert!(is_other_content(broken, "application/json"), "{broken:?}");
        }
    }
}
