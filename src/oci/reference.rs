//! The last path element of `/manifests/<reference>`: a tag or a digest.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::digest::{self, Digest};

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution specification, "Pulling manifests").
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that the upstream may move.
    Tag(Tag),
    /// The digest of the manifest's bytes.
    Digest(Digest),
}

/// The text is neither a tag nor a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a tag by the specification's grammar.
    #[error("not a tag: letters, digits, `_`, `.` and `-`, at most 128 characters")]
    Tag,
    /// Has a colon, so it claims to be a digest, and is none.
    #[error(transparent)]
    Digest(#[from] digest::ParseError),
}

impl Tag {
    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = text.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let rest =
            bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if first && rest && text.len() <= 128 {
            Ok(Self(text.into()))
        } else {
            Err(ParseError::Tag)
        }
    }
}

impl Reference {
    /// The digest, if asked for by digest.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(digest),
        }
    }

    /// The tag, if asked for by tag.
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.contains(':') {
            Ok(Self::Digest(text.parse()?))
        } else {
            Ok(Self::Tag(text.parse()?))
        }
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

/// Name, tag and digest of an image reference, whatever each is.
#[must_use]
pub fn parts(reference: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    match name.rsplit_once(':') {
        // A colon before the last slash belongs to a port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag), digest),
        Some(_) | None => (name, None, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        for (reference, expected) in [
            ("a.io/b", ("a.io/b", None, None)),
            ("a.io/b:v1", ("a.io/b", Some("v1"), None)),
            ("a.io:5000/b", ("a.io:5000/b", None, None)),
            ("a.io:5000/b:v1", ("a.io:5000/b", Some("v1"), None)),
            ("b@sha256:00", ("b", None, Some("sha256:00"))),
            ("b:v1@sha256:00", ("b", Some("v1"), Some("sha256:00"))),
            ("b:@", ("b", Some(""), Some(""))),
        ] {
            assert_eq!(parts(reference), expected);
        }
    }

    #[test]
    fn tells_tags_from_digests() {
        assert!(matches!("v1.2_x-3".parse(), Ok(Reference::Tag(_))));
        assert!(matches!("_".parse(), Ok(Reference::Tag(_))));
        let digest = Digest::sha256(b"").to_string();
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        let too_long = "a".repeat(129);
        for text in [
            "",
            ".a",
            "-a",
            "a/b",
            "a b",
            "a%2f",
            "é",
            "sha256:00",
            too_long.as_str(),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
    }
}
