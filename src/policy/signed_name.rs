//! What the name inside a signature must be.

use std::borrow::Cow;

use crate::oci::{Digest, RepositoryName, Tag};
use crate::verify::NamedVersion;

/// What the name inside a signature must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SignedName {
    /// Whatever it is.
    #[default]
    Any,
    /// The image's repository, with any tag or none (`signed_name: match`, `matchRepository`).
    Repository,
    /// The image's repository with a tag or digest, and with exactly the tag that is asked for where one is
    /// (`matchRepoDigestOrExact`).
    RepositoryAndTag,
    /// The same of the name that the image's repository gets (`remapIdentity`).
    Renamed(Renaming),
    /// This repository, whatever the image is called, with any tag or none (`exactRepository`).
    OtherRepository(RepositoryName),
    /// Exactly this, whatever the image is called (`exactReference`).
    OtherReference(NamedImage),
}

/// A name of which the beginning is replaced by another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renaming {
    /// A host, namespace or repository. A name that does not begin so stays what it is.
    pub prefix: String,
    /// What takes its place.
    pub signed_prefix: String,
}

/// A repository with a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Option<Tag>,
    /// The digest.
    pub digest: Option<Digest>,
}

impl SignedName {
    /// Whether a pull by tag depends on which tag was signed.
    #[must_use]
    pub fn compares_tags(&self) -> bool {
        match self {
            Self::RepositoryAndTag | Self::Renamed(_) => true,
            Self::Any | Self::Repository | Self::OtherRepository(_) | Self::OtherReference(_) => {
                false
            }
        }
    }

    /// The repository that a signature of an image of `repository` must name; nothing where it may be any. What is no
    /// canonical name is that of no signature.
    #[must_use]
    pub fn repository<'n>(&'n self, repository: &'n RepositoryName) -> Option<Cow<'n, str>> {
        match self {
            Self::Any => None,
            Self::Repository | Self::RepositoryAndTag => Some(repository.as_str().into()),
            Self::Renamed(renaming) => Some(renaming.apply(repository.as_str())),
            Self::OtherRepository(other) => Some(other.as_str().into()),
            Self::OtherReference(named) => Some(named.repository.as_str().into()),
        }
    }

    /// What must follow the repository in the name.
    #[must_use]
    pub fn version(&self) -> NamedVersion<'_> {
        match self {
            Self::Any | Self::Repository | Self::OtherRepository(_) => NamedVersion::Any,
            Self::RepositoryAndTag | Self::Renamed(_) => NamedVersion::Some,
            Self::OtherReference(named) => NamedVersion::Exactly {
                tag: named.tag.as_ref(),
                digest: named.digest.as_ref(),
            },
        }
    }
}

impl Renaming {
    /// What a name becomes: a prefix ends where a component does.
    fn apply<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match name.strip_prefix(self.prefix.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                format!("{}{rest}", self.signed_prefix).into()
            }
            Some(_) | None => name.into(),
        }
    }
}

impl std::fmt::Display for NamedImage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of `TestPRMRemapIdentityRefMatchesPrefix` and `TestPRMRemapIdentityRemapReferencePrefix` of containers,
    /// without tags and digests.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn a_name_is_rewritten_as_containers_does() {
        const SIGNED: &str = "signed.example/prefix";
        for (prefix, signed_prefix, name, expected) in [
            (
                "docker.io",
                SIGNED,
                "docker.io/library/image",
                "signed.example/prefix/library/image",
            ),
            (
                "example.com",
                SIGNED,
                "docker.io/library/image",
                "docker.io/library/image",
            ),
            (
                "example.com:5000",
                SIGNED,
                "example.com:5000/image",
                "signed.example/prefix/image",
            ),
            (
                "example.com:5000",
                SIGNED,
                "example.com:50000/image",
                "example.com:50000/image",
            ),
            (
                "example.com",
                SIGNED,
                "example.com:5000/image",
                "example.com:5000/image",
            ),
            (
                "example.com",
                SIGNED,
                "example.com/foo/bar",
                "signed.example/prefix/foo/bar",
            ),
            (
                "docker.io/library",
                SIGNED,
                "docker.io/ns/image",
                "docker.io/ns/image",
            ),
            (
                "docker.io/library",
                SIGNED,
                "docker.io/libraryy/image",
                "docker.io/libraryy/image",
            ),
            (
                "docker.io/library",
                SIGNED,
                "docker.io/library/busybox",
                "signed.example/prefix/busybox",
            ),
            (
                "example.com/ns",
                SIGNED,
                "example.com/ns/image",
                "signed.example/prefix/image",
            ),
            (
                "example.com/ns",
                SIGNED,
                "example.com/ns2/image",
                "example.com/ns2/image",
            ),
            (
                "example.com/ns",
                SIGNED,
                "example.com/n2/image",
                "example.com/n2/image",
            ),
            (
                "example.com/ns",
                SIGNED,
                "example.com:5000/ns/image",
                "example.com:5000/ns/image",
            ),
            (
                "example.com:5000/ns",
                SIGNED,
                "example.com/ns/image",
                "example.com/ns/image",
            ),
            (
                "example.com/ns/image",
                SIGNED,
                "example.com/ns/image",
                SIGNED,
            ),
            (
                "example.com/ns/image",
                SIGNED,
                "example.com/ns/imag2",
                "example.com/ns/imag2",
            ),
            (
                "example.com/ns/image",
                SIGNED,
                "example.com/ns/imagee",
                "example.com/ns/imagee",
            ),
            (
                "mirror.example",
                "vendor.example",
                "prefixmirror.example/ns/image",
                "prefixmirror.example/ns/image",
            ),
            (
                "example.com/mirror",
                "example.com/vendor",
                "example.com/mirror/image",
                "example.com/vendor/image",
            ),
            // Only once, and only at the beginning.
            (
                "a.example/a.example",
                "b.example",
                "a.example/a.example/a.example",
                "b.example/a.example",
            ),
            // No canonical name, so that no signature has it.
            (
                "mirror.example/ns/image",
                "vendor.example:5000",
                "mirror.example/ns/image",
                "vendor.example:5000",
            ),
        ] {
            let renamed = SignedName::Renamed(Renaming {
                prefix: prefix.to_owned(),
                signed_prefix: signed_prefix.to_owned(),
            });
            let repository: RepositoryName = name.parse().unwrap();
            let found = renamed.repository(&repository).unwrap();
            assert_eq!(found, expected, "{name}");
        }
    }
}
