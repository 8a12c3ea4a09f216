//! Images as people write them: `nginx`, `ghcr.io/org/app:v1`, `localhost:5000/app@sha256:…`.

use std::fmt;
use std::str::FromStr;

use crate::oci::{Reference, RepositoryName, Tag, reference, repository};

/// A canonical repository name and what is asked for in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageReference {
    pub(super) repository: RepositoryName,
    pub(super) reference: Reference,
}

/// The text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    /// The name is not of its grammar.
    #[error(transparent)]
    Name(#[from] repository::ParseError),
    /// The part after the colon is no tag.
    #[error("`{0}` is not a tag")]
    Tag(String),
    /// The part after the `@` is no digest.
    #[error("`{0}` is not a sha256 or sha512 digest in lower-case hex")]
    Digest(String),
    /// The proxy has no such upstream or route.
    #[error(
        "`{rest}` names no upstream of the proxy at {proxy}: write {proxy}/HOST/{rest}, with the registry's host, or \
         configure a route"
    )]
    Unrouted {
        /// The proxy's address, as written.
        proxy: String,
        /// The name behind it.
        rest: String,
    },
    /// It has a scheme.
    #[error("an image has no scheme: write {0}")]
    Scheme(String),
}

const LATEST: &str = "latest";

impl FromStr for ImageReference {
    type Err = ParseError;

    /// By the rules of `docker pull`: without a host it is Docker Hub's, without tag or digest it is `latest`, and with
    /// both the digest counts.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let Some((_, rest)) = text.split_once("://") {
            return Err(ParseError::Scheme(rest.to_owned()));
        }
        let (name, tag, digest) = reference::parts(text);
        let repository = RepositoryName::completed(name)?;
        // A wrong tag is a mistake even where the digest counts.
        let tag = tag.unwrap_or(LATEST);
        let tag = tag
            .parse::<Tag>()
            .map(Reference::Tag)
            .map_err(|_not_a_tag| ParseError::Tag(tag.to_owned()))?;
        let reference = match digest {
            None => tag,
            Some(digest) => Reference::Digest(
                digest
                    .parse()
                    .map_err(|_not_a_digest| ParseError::Digest(digest.to_owned()))?,
            ),
        };
        Ok(Self {
            repository,
            reference,
        })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(
            formatter,
            "{}{separator}{}",
            self.repository, self.reference
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn reads_images_as_docker_does() {
        let digest = Digest::sha256(b"");
        for (text, canonical) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.29", "docker.io/library/nginx:1.29".to_owned()),
            ("org/app", "docker.io/org/app:latest".to_owned()),
            (
                "docker.io/nginx",
                "docker.io/library/nginx:latest".to_owned(),
            ),
            ("ghcr.io/org/app:v1", "ghcr.io/org/app:v1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app", "localhost:5000/app:latest".to_owned()),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c".to_owned()),
            ("[::1]:5000/app:v1", "[::1]:5000/app:v1".to_owned()),
        ] {
            let image: ImageReference = text.parse().unwrap();
            assert_eq!(image.to_string(), canonical, "{text}");
        }
        for named in ["ghcr.io/org/app", "ghcr.io/org/app:v1"] {
            let image: ImageReference = format!("{named}@{digest}").parse().unwrap();
            assert_eq!(image.to_string(), format!("ghcr.io/org/app@{digest}"));
        }
    }

    #[test]
    fn refuses_what_is_no_image() {
        let digest = Digest::sha256(b"");
        for text in [
            "".to_owned(),
            "ghcr.io/".to_owned(),
            "Nginx".to_owned(),
            "ghcr.io/org/app:".to_owned(),
            "ghcr.io/org/app:v 1".to_owned(),
            "ghcr.io/org/app@".to_owned(),
            "ghcr.io/org/app@sha256:00".to_owned(),
            format!("ghcr.io/org/app:a/b@{digest}"),
            format!("ghcr.io/org/app:-@{digest}"),
            format!("ghcr.io/org/app@{digest}@{digest}"),
            "docker://nginx".to_owned(),
            "https://ghcr.io/org/app".to_owned(),
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?}");
        }
    }
}
