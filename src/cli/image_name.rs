//! Names of images as they stand in a Pod: with the proxy's host in front, or through a route.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::image::{ImageReference, ParseError};
use crate::config::{Config, RepositoryPrefix};
use crate::oci::repository::{canonical_host, looks_like_host};
use crate::oci::{RepositoryName, reference};

/// An image as a person writes it. Its meaning depends on the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageName(String);

/// The hosts and routes that give a name its meaning.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Hosts of the upstreams, in canonical spelling.
    pub(super) upstreams: BTreeSet<String>,
    /// First path components that stand for a part of an upstream.
    pub(super) routes: BTreeMap<String, RepositoryPrefix>,
    /// The address of the proxy's registry API.
    pub(super) listen: SocketAddr,
}

/// The image that a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// The canonical name and the tag or digest.
    pub(super) image: ImageReference,
    /// The same with tag and digest as they are written; the text itself where it already is a plain name.
    pub(super) text: String,
    /// A sentence about a name that could be read in another way, or that was not written as it is read.
    pub(super) remark: Option<String>,
}

impl Names {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            upstreams: config.upstreams.keys().cloned().collect(),
            routes: config.routes.clone(),
            listen: config.server.listen,
        }
    }

    fn has_upstream(&self, host: &str) -> bool {
        canonical_host(host).is_ok_and(|host| self.upstreams.contains(host))
    }

    /// Returns true if the configuration itself says that the proxy listens there.
    fn is_proxy(&self, host: &str) -> bool {
        let (ip, port) = (self.listen.ip(), self.listen.port());
        let is_local = ip.is_loopback() || ip.is_unspecified();
        match host.parse::<SocketAddr>() {
            Ok(address) => address.port() == port && (address.ip() == ip || ip.is_unspecified()),
            Err(_is_a_name) => is_local && host == format!("localhost:{port}"),
        }
    }
}

impl ImageName {
    /// The image by the rules of `docker pull`, without any configuration.
    ///
    /// # Errors
    /// When it is not a name by these rules.
    pub(super) fn read_plainly(&self) -> Result<Reading, ParseError> {
        Ok(Reading {
            image: self.0.parse()?,
            text: self.0.clone(),
            remark: None,
        })
    }

    /// The image that the proxy would serve under this name, or `docker pull` would ask its registry for.
    ///
    /// # Errors
    /// When no part of it is a name.
    pub(super) fn read(&self, names: &Names) -> Result<Reading, ParseError> {
        let text = &self.0;
        let (name, tag, digest) = reference::parts(text);
        let (repository, reason) = read_repository(name, names)?;
        // The part after the name has the same rules whatever the name means.
        let rest = text.strip_prefix(name).unwrap_or_default();
        let completed = format!("{repository}{rest}");
        let image: ImageReference = completed.parse()?;
        let is_plain = text.parse::<ImageReference>().is_ok_and(|it| it == image);
        let mut remarks = Vec::new();
        if let Some(reason) = reason {
            remarks.push(format!("`{text}` is read as {image}: {reason}"));
        }
        if let (Some(tag), Some(_)) = (tag, digest) {
            remarks.push(format!("the digest counts, not the tag `{tag}`"));
        }
        Ok(Reading {
            image,
            text: if is_plain { text.clone() } else { completed },
            remark: (!remarks.is_empty()).then(|| remarks.join("; ")),
        })
    }
}

/// The canonical name, and the reason for it where there is more than one way to read it.
fn read_repository(
    name: &str,
    names: &Names,
) -> Result<(RepositoryName, Option<String>), ParseError> {
    let as_written = || RepositoryName::completed(name);
    let Some((first, rest)) = name.split_once('/') else {
        return Ok((as_written()?, None));
    };
    let (second, remainder) = rest.split_once('/').unwrap_or((rest, ""));
    if names.has_upstream(first) {
        let reason = names
            .has_upstream(second)
            .then(|| format!("both {first} and {second} are upstreams, and the first one counts"));
        return Ok((as_written()?, reason));
    }
    if !looks_like_host(first) {
        return Ok(match names.routes.get(first) {
            Some(prefix) => {
                let reason =
                    format!("`{first}` is a route; Docker Hub's image is docker.io/{name}");
                (prefix.join(rest)?, Some(reason))
            }
            None => (as_written()?, None),
        });
    }
    let behind_proxy = |reason: String| {
        let repository = RepositoryName::new(second, remainder)?;
        Ok((repository, Some(reason)))
    };
    if names.has_upstream(second) {
        return behind_proxy(format!(
            "{second} is an upstream and {first} is not, so {first} is taken for the proxy"
        ));
    }
    if let Some(prefix) = names.routes.get(second)
        && !remainder.is_empty()
    {
        let reason = format!("`{second}` is a route, so {first} is taken for the proxy");
        return Ok((prefix.join(remainder)?, Some(reason)));
    }
    if names.is_proxy(first) {
        return if looks_like_host(second) {
            behind_proxy(format!("the proxy itself is at {first}"))
        } else {
            Err(ParseError::Unrouted {
                proxy: first.to_owned(),
                rest: rest.to_owned(),
            })
        };
    }
    if looks_like_host(second) && !remainder.is_empty() {
        return behind_proxy(format!(
            "neither {first} nor {second} is an upstream, and a proxy's host stands in front"
        ));
    }
    Ok((as_written()?, None))
}

impl FromStr for ImageName {
    type Err = ParseError;

    /// Checks what does not depend on the configuration.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = text.parse::<ImageReference>();
        let behind_first = text.split_once('/').map(|(_, rest)| rest);
        let is_usable = behind_first.is_some_and(|rest| rest.parse::<ImageReference>().is_ok());
        match plain {
            Err(error) if !is_usable || matches!(error, ParseError::Scheme(_)) => Err(error),
            Ok(_) | Err(_) => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn names() -> Names {
        let prefix = RepositoryPrefix {
            host: "us-docker.pkg.dev".to_owned(),
            repository: Some("project123/apps".to_owned()),
        };
        let upstreams = [
            "docker.io",
            "ghcr.io",
            "us-docker.pkg.dev",
            "127.0.0.1:5000",
        ];
        Names {
            upstreams: upstreams.map(str::to_owned).into(),
            routes: [("apps".to_owned(), prefix)].into(),
            listen: "127.0.0.1:5080".parse().unwrap(),
        }
    }

    fn read(text: &str) -> (String, Option<String>) {
        let name: ImageName = text.parse().unwrap();
        let reading = name.read(&names()).unwrap();
        (reading.image.to_string(), reading.remark)
    }

    #[test]
    fn a_name_with_one_meaning_is_read_without_a_remark() {
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("org/app:v1", "docker.io/org/app:v1"),
            ("ghcr.io/org/app:v1", "ghcr.io/org/app:v1"),
            ("ghcr.io/apps/web", "ghcr.io/apps/web:latest"),
            ("127.0.0.1:5000/apps/web:v1", "127.0.0.1:5000/apps/web:v1"),
            ("quay.io/org/app:v1", "quay.io/org/app:v1"),
            ("localhost/app", "localhost/app:latest"),
        ] {
            assert_eq!(read(text), (expected.to_owned(), None), "{text}");
        }
    }

    #[test]
    fn the_host_of_the_proxy_is_taken_off() {
        for (text, expected, reason) in [
            (
                "proxy.example:5080/ghcr.io/org/app:v1",
                "ghcr.io/org/app:v1",
                "ghcr.io is an upstream",
            ),
            (
                "10.0.0.7:5080/docker.io/nginx",
                "docker.io/library/nginx:latest",
                "taken for the proxy",
            ),
            (
                "proxy.example/index.docker.io/nginx:1.29",
                "docker.io/library/nginx:1.29",
                "taken for the proxy",
            ),
            (
                "proxy.example/127.0.0.1:5000/app:v1",
                "127.0.0.1:5000/app:v1",
                "taken for the proxy",
            ),
            (
                "[fd00::7]:5080/ghcr.io/org/app",
                "ghcr.io/org/app:latest",
                "taken for the proxy",
            ),
            (
                "proxy.example/apps/web:v1",
                "us-docker.pkg.dev/project123/apps/web:v1",
                "`apps` is a route",
            ),
            (
                "apps/web:v1",
                "us-docker.pkg.dev/project123/apps/web:v1",
                "Docker Hub's image is docker.io/apps/web",
            ),
            (
                "ghcr.io/docker.io/nginx",
                "ghcr.io/docker.io/nginx:latest",
                "both ghcr.io and docker.io are upstreams",
            ),
            (
                "localhost:5080/quay.io/org/app",
                "quay.io/org/app:latest",
                "the proxy itself is at localhost:5080",
            ),
            (
                "proxy.example/quay.io/org/app",
                "quay.io/org/app:latest",
                "neither proxy.example nor quay.io",
            ),
        ] {
            let (image, remark) = read(text);
            assert_eq!(image, expected, "{text}");
            let remark = remark.unwrap_or_default();
            assert!(remark.contains(reason), "{text}: {remark}");
        }
    }

    #[test]
    fn the_digest_counts_beside_a_tag() {
        let digest = Digest::sha256(b"");
        let (image, remark) = read(&format!("proxy.example/apps/web:v1@{digest}"));
        assert_eq!(
            image,
            format!("us-docker.pkg.dev/project123/apps/web@{digest}")
        );
        let remark = remark.unwrap();
        assert!(remark.contains("not the tag `v1`"), "{remark}");
        let (image, _) = read(&format!("proxy.example:5080/ghcr.io/org/app@{digest}"));
        assert_eq!(image, format!("ghcr.io/org/app@{digest}"));
    }

    #[test]
    fn the_proxy_serves_nothing_without_an_upstream() {
        for text in ["127.0.0.1:5080/org/app:v1", "localhost:5080/app"] {
            let name: ImageName = text.parse().unwrap();
            let error = name.read(&names()).unwrap_err().to_string();
            assert!(error.contains("names no upstream"), "{error}");
        }
    }

    #[test]
    fn text_that_is_no_image_is_refused_before_it_is_read() {
        for text in [
            "",
            "Nginx",
            "ghcr.io/org/app:v 1",
            "proxy.example/ghcr.io/Org/app",
            "proxy.example/ghcr.io/org/app@sha256:00",
            "docker://nginx",
        ] {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
    }
}
