//! Image manifests and indexes, parsed so that they can mean one thing only.
//!
//! A manifest is judged by this parser and run by another one (mostly Go's `encoding/json`). Whatever two parsers could
//! read differently is refused: a document that is image and index at once (CVE-2021-41190), a `mediaType` that is not
//! the `Content-Type`, keys given twice, and keys that equal a known one but for letter case, which Go would accept.

mod content;
mod keys;

use oci_spec::image::{Descriptor as SpecDescriptor, ImageIndex, ImageManifest};
use serde::de::Error as _;

use keys::Seen;

pub use content::{is_other_content, media_type};

use super::{Descriptor, Digest, annotation, media_type as types};

/// The most bytes of memory for each byte of a manifest: for its text, and for what is made of it.
pub const MEMORY_PER_BYTE: u64 = 3;

/// A manifest that a runtime can only read as this parser did.
#[derive(Debug, Clone)]
pub enum Manifest {
    /// An image or artifact: a config and layers.
    Image(Box<Image>),
    /// A list of manifests, usually one per platform.
    Index(Index),
}

/// An image manifest.
#[derive(Debug, Clone)]
pub struct Image {
    /// The configuration blob.
    pub config: Descriptor,
    /// The layer blobs, in order.
    pub layers: Vec<Descriptor>,
    /// The manifest this one is about, for signatures and other referrers. It endorses nothing.
    pub subject: Option<Descriptor>,
    /// The kind of artifact; for a plain image absent.
    pub artifact_type: Option<String>,
}

/// An image index.
#[derive(Debug, Clone)]
pub struct Index {
    /// The manifests listed, in order.
    pub manifests: Vec<Descriptor>,
}

/// Why bytes are no manifest that could be served.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The type that the document names, or else its `Content-Type`, is none of the four manifest types.
    #[error("`{0}` is not the media type of a manifest")]
    MediaType(String),
    /// The document names another type than the one it was served with.
    #[error("the document says it is `{document}`, but it was served as `{served}`")]
    MediaTypeMismatch {
        /// The `mediaType` in the document.
        document: String,
        /// The `Content-Type` of the answer.
        served: String,
    },
    /// The document could be read as an image and as an index.
    #[error(
        "the document has both `{0}` and `{1}`, so it could be read as an image and as an index (CVE-2021-41190)"
    )]
    Ambiguous(&'static str, &'static str),
    /// A key that differs from a known one in letter case only.
    #[error("the key `{0}` differs from a known key only in letter case")]
    KeyCase(String),
    /// A key that occurs twice.
    #[error("the key `{0}` occurs twice")]
    KeyTwice(String),
    /// Not JSON, or not the shape that its type has.
    #[error("the document is not a valid manifest")]
    Json(#[source] serde_json::Error),
    /// A digest of another algorithm or form.
    #[error("`{0}` is not a sha256 or sha512 digest")]
    Digest(String),
}

impl Manifest {
    /// Reads `bytes` as the type that [`media_type`] finds for them.
    ///
    /// # Errors
    /// Returns an error if the bytes are not exactly one manifest of that type, or could be read as something else.
    pub fn parse(bytes: &[u8], declared: &str) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| ParseError::Json(serde_json::Error::custom(error)))?;
        match media_type(bytes, declared)? {
            content_type @ (types::OCI_INDEX | types::DOCKER_MANIFEST_LIST) => {
                let (mut seen, index) = Seen::read::<ImageIndex>(text);
                seen.check()?;
                check_media_type(&seen, content_type)?;
                seen.forbid("manifests", &["layers", "config", "fsLayers"])?;
                let index = index.map_err(ParseError::Json)?;
                let manifests = index
                    .manifests()
                    .iter()
                    .map(descriptor)
                    .collect::<Result<_, _>>()?;
                Ok(Self::Index(Index { manifests }))
            }
            content_type @ (types::OCI_MANIFEST | types::DOCKER_MANIFEST) => {
                let (mut seen, image) = Seen::read::<ImageManifest>(text);
                seen.check()?;
                check_media_type(&seen, content_type)?;
                seen.forbid("layers", &["manifests", "fsLayers"])?;
                seen.forbid("config", &["manifests"])?;
                let image = image.map_err(ParseError::Json)?;
                Ok(Self::Image(Box::new(Image {
                    config: descriptor(image.config())?,
                    layers: image
                        .layers()
                        .iter()
                        .map(descriptor)
                        .collect::<Result<_, _>>()?,
                    subject: image.subject().as_ref().map(descriptor).transpose()?,
                    artifact_type: image.artifact_type().as_ref().map(ToString::to_string),
                })))
            }
            other => Err(ParseError::MediaType(other.to_owned())),
        }
    }

    /// The manifests this one endorses when it is admitted: those an index lists. A `subject` is not endorsed.
    #[must_use]
    pub fn children(&self) -> &[Descriptor] {
        match self {
            Self::Image(_) => &[],
            Self::Index(index) => &index.manifests,
        }
    }

    /// The entries of an index that are blobs by their type. The registry cache of `BuildKit` is such an index: it lists
    /// layers and a cache configuration, which clients then ask for as blobs.
    pub fn listed_blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.children()
            .iter()
            .filter(|entry| types::manifest_type(&entry.media_type).is_none())
    }

    /// Returns the bytes of memory that it takes up beside the text that it was read from.
    #[must_use]
    pub fn weight(&self) -> usize {
        let listed = self.children().iter().chain(self.blobs());
        let listed: usize = listed.map(Descriptor::weight).sum();
        let subject = match self {
            Self::Image(image) => image.subject.as_ref().map_or(0, Descriptor::weight),
            Self::Index(_) => 0,
        };
        listed + subject
    }

    /// The blobs this one endorses when it is admitted: an image's config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match self {
            Self::Image(image) => (Some(&image.config), image.layers.as_slice()),
            Self::Index(_) => (None, [].as_slice()),
        };
        config.into_iter().chain(layers)
    }
}

fn check_media_type(seen: &Seen<'_>, content_type: &str) -> Result<(), ParseError> {
    match seen.media_type.as_deref() {
        Some(document) if !types::same(document, content_type) => {
            Err(ParseError::MediaTypeMismatch {
                document: document.to_owned(),
                served: content_type.to_owned(),
            })
        }
        Some(_) | None => Ok(()),
    }
}

fn descriptor(spec: &SpecDescriptor) -> Result<Descriptor, ParseError> {
    let digest: Digest = spec
        .digest()
        .to_string()
        .parse()
        .map_err(|_not_a_digest| ParseError::Digest(spec.digest().to_string()))?;
    Ok(Descriptor {
        media_type: spec.media_type().to_string(),
        digest,
        size: spec.size(),
        artifact_type: spec.artifact_type().as_ref().map(ToString::to_string),
        annotations: spec
            .annotations()
            .iter()
            .flatten()
            .filter(|(key, _value)| annotation::is_read(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::media_type;
    use super::*;

    const DESCRIPTOR: &str = r#"{"mediaType":"application/x","size":2,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#;

    fn image(extra: &str) -> String {
        format!(r#"{{"schemaVersion":2{extra},"config":{DESCRIPTOR},"layers":[{DESCRIPTOR}]}}"#)
    }

    fn index(extra: &str) -> String {
        format!(r#"{{"schemaVersion":2{extra},"manifests":[{DESCRIPTOR}]}}"#)
    }

    fn parse(text: &str, content_type: &str) -> Result<Manifest, ParseError> {
        Manifest::parse(text.as_bytes(), content_type)
    }

    #[test]
    fn reads_images_and_indexes() {
        let parsed = parse(&image(""), media_type::OCI_MANIFEST).unwrap();
        assert_eq!(parsed.blobs().count(), 2);
        assert!(parsed.children().is_empty());
        let parsed = parse(&index(""), media_type::DOCKER_MANIFEST_LIST).unwrap();
        assert_eq!(parsed.children().len(), 1);
        assert_eq!(parsed.blobs().count(), 0);
    }

    #[test]
    fn keeps_no_annotations_that_nobody_reads() {
        let signature = format!(r#""{}":"s""#, annotation::SIGNATURE);
        let others: String = (0..1000)
            .map(|number| format!(r#","k{number}":"""#))
            .collect();
        let annotations = format!(r#","annotations":{{{signature}{others}}}"#);
        let with = DESCRIPTOR.replace('}', &format!("{annotations}}}"));
        let text = image(&annotations).replace(&format!("[{DESCRIPTOR}]"), &format!("[{with}]"));
        let parsed = parse(&text, media_type::OCI_MANIFEST).unwrap();
        let kept: Vec<_> = parsed.blobs().flat_map(|it| &it.annotations).collect();
        assert_eq!(kept, [(&annotation::SIGNATURE.to_owned(), &"s".to_owned())]);
        assert!(parsed.weight() < 1000, "{}", parsed.weight());
    }

    #[test]
    fn weighs_what_it_lists() {
        let many = vec![DESCRIPTOR; 1000].join(",");
        let text = image("").replace(&format!("[{DESCRIPTOR}]"), &format!("[{many}]"));
        let parsed = parse(&text, media_type::OCI_MANIFEST).unwrap();
        assert!(parsed.weight() > 1000 * size_of::<Descriptor>());
    }

    #[test]
    fn refuses_two_meanings() {
        let both =
            format!(r#"{{"schemaVersion":2,"config":{DESCRIPTOR},"layers":[],"manifests":[]}}"#);
        for content_type in [media_type::OCI_MANIFEST, media_type::OCI_INDEX] {
            assert!(matches!(
                parse(&both, content_type),
                Err(ParseError::Ambiguous(..))
            ));
        }
        let layers = format!(r#","layers":[{DESCRIPTOR}]"#);
        assert!(matches!(
            parse(&index(&layers), media_type::OCI_INDEX),
            Err(ParseError::Ambiguous(..))
        ));
        assert!(matches!(
            parse(&image(r#","layers":[]"#), media_type::OCI_MANIFEST),
            Err(ParseError::KeyTwice(_))
        ));
        assert!(matches!(
            parse(&image(r#","Layers":[]"#), media_type::OCI_MANIFEST),
            Err(ParseError::KeyCase(_))
        ));
        assert!(matches!(
            parse(&image(r#","manifest\u017f":[]"#), media_type::OCI_MANIFEST),
            Err(ParseError::KeyCase(_))
        ));
    }

    #[test]
    fn refuses_two_meanings_of_a_descriptor() {
        let other =
            r#""Digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000""#;
        let twice =
            r#""digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000""#;
        let with = |extra: &str| DESCRIPTOR.replace('}', &format!(",{extra}}}"));
        for extra in [other, twice] {
            for text in [
                image("").replacen(DESCRIPTOR, &with(extra), 1),
                image("").replace(&format!("[{DESCRIPTOR}]"), &format!("[{}]", with(extra))),
                image(&format!(r#","subject":{}"#, with(extra))),
            ] {
                assert!(
                    matches!(
                        parse(&text, media_type::OCI_MANIFEST),
                        Err(ParseError::KeyCase(_) | ParseError::KeyTwice(_))
                    ),
                    "{text}"
                );
            }
            let text = index("").replace(DESCRIPTOR, &with(extra));
            assert!(parse(&text, media_type::OCI_INDEX).is_err(), "{text}");
        }
    }

    #[test]
    fn looks_at_every_descriptor_of_a_list() {
        let twice = DESCRIPTOR.replace('}', r#","size":2}"#);
        let text = image("").replace(
            &format!("[{DESCRIPTOR}]"),
            &format!("[{DESCRIPTOR},{twice}]"),
        );
        assert!(matches!(
            parse(&text, media_type::OCI_MANIFEST),
            Err(ParseError::KeyTwice(key)) if key == "size"
        ));
        // An escaped key is the key that it spells.
        let escaped = DESCRIPTOR.replace('}', r#","di\u0067est":2}"#);
        let text = image("").replacen(DESCRIPTOR, &escaped, 1);
        assert!(matches!(
            parse(&text, media_type::OCI_MANIFEST),
            Err(ParseError::KeyTwice(key)) if key == "digest"
        ));
    }

    #[test]
    fn refuses_what_is_not_unicode_wherever_it_stands() {
        let mut bytes = image(r#","other":["x"]"#).into_bytes();
        let within = bytes
            .windows(3)
            .position(|bytes| bytes == b"\"x\"")
            .unwrap()
            + 1;
        *bytes.get_mut(within).unwrap() = 0xff;
        assert!(matches!(
            Manifest::parse(&bytes, media_type::OCI_MANIFEST),
            Err(ParseError::Json(_))
        ));
    }

    #[test]
    fn refuses_a_type_that_is_not_the_one_served() {
        let mismatched = image(&format!(r#","mediaType":"{}""#, media_type::OCI_INDEX));
        assert!(matches!(
            parse(&mismatched, media_type::OCI_MANIFEST),
            Err(ParseError::MediaTypeMismatch { .. })
        ));
        assert!(matches!(
            parse(&image(""), media_type::OCI_INDEX),
            Err(ParseError::Ambiguous(..))
        ));
        assert!(matches!(
            parse("[]", media_type::OCI_INDEX),
            Err(ParseError::Json(_))
        ));
        assert!(matches!(
            parse(&format!("{} x", image("")), media_type::OCI_MANIFEST),
            Err(ParseError::Json(_))
        ));
    }

    #[test]
    fn refuses_lists_where_keys_belong() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let listed = format!(r#"["application/x","{digest}",2]"#);
        for text in [
            image("").replacen(DESCRIPTOR, &listed, 1),
            image("").replace(&format!("[{DESCRIPTOR}]"), &format!("[{listed}]")),
            format!("[2,null,null,{DESCRIPTOR},[{DESCRIPTOR}],null,null]"),
        ] {
            let parsed = parse(&text, media_type::OCI_MANIFEST);
            assert!(matches!(parsed, Err(ParseError::Json(_))), "{text}");
        }
        let text = format!("[2,null,null,[{DESCRIPTOR}],null,null]");
        assert!(parse(&text, media_type::OCI_INDEX).is_err());
    }

    #[test]
    fn refuses_unknown_digests() {
        let text = image("").replace("sha256:e3b0", "sha384:e3b0");
        assert!(parse(&text, media_type::OCI_MANIFEST).is_err());
    }
}
