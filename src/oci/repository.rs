//! Canonical repository names: `<upstream host>/<repository>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A canonical name: the host of the upstream as it is configured, a slash, and the repository at that upstream.
///
/// Computed once per request and then fetched, matched against policies, logged and shown; there is no second
/// interpretation. Docker Hub's host is always `docker.io`, and its one-component repositories carry `library/`.
#[derive(Clone)]
pub struct RepositoryName {
    full: Arc<str>,
    host_bytes: usize,
}

/// Why a text is no repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The part before the first slash is no host name with an optional port.
    #[error("`{0}` is not a registry host")]
    Host(String),
    /// The rest is no `<name>` of the distribution specification.
    #[error(
        "`{0}` is not a repository name: lower-case letters and digits, separated by `.`, `_`, `__`, `-` or `/`"
    )]
    Repository(String),
}

/// The most characters of a canonical name: 255, as registries and runtimes limit `host/repository` in practice.
const NAME_CHARACTERS_MAX: usize = 255;

/// The host of Docker Hub in canonical names.
pub const DOCKER_HUB: &str = "docker.io";
/// Its other names. Whoever compares names as they are written has to know all of them: a policy for one of them is a
/// policy for Docker Hub.
pub const OTHER_DOCKER_HUBS: [&str; 3] = [
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];

impl RepositoryName {
    /// The canonical name of `repository` at `host`.
    ///
    /// # Errors
    /// When either part is not of its grammar, or both together are longer than 255 characters.
    pub fn new(host: &str, repository: &str) -> Result<Self, ParseError> {
        let host = canonical_host(host)?;
        let valid = repository.split('/').all(is_path_component);
        if !valid || host.len() + 1 + repository.len() > NAME_CHARACTERS_MAX {
            return Err(ParseError::Repository(repository.to_owned()));
        }
        let library = if host == DOCKER_HUB && !repository.contains('/') {
            "library/"
        } else {
            ""
        };
        let full = format!("{host}/{library}{repository}").into();
        Ok(Self {
            full,
            host_bytes: host.len(),
        })
    }

    /// The canonical name of what people write: without a host it is Docker Hub's.
    ///
    /// # Errors
    /// As [`RepositoryName::new`].
    pub fn completed(name: &str) -> Result<Self, ParseError> {
        match name.split_once('/') {
            Some((host, repository)) if looks_like_host(host) => Self::new(host, repository),
            Some(_) | None => Self::new(DOCKER_HUB, name),
        }
    }

    /// The upstream's host as configured, such as `ghcr.io` or `127.0.0.1:5000`.
    #[must_use]
    pub fn host(&self) -> &str {
        self.full.get(..self.host_bytes).unwrap_or_default()
    }

    /// The `<name>` at the upstream, such as `org/app`.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.full.get(self.host_bytes + 1..).unwrap_or_default()
    }

    /// The whole canonical name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }
}

/// The one spelling of a registry host: `docker.io` for all of Docker Hub's, otherwise as given.
///
/// # Errors
/// When the text is not a lower-case host name or address with an optional port.
pub fn canonical_host(host: &str) -> Result<&str, ParseError> {
    if !is_host(host) {
        return Err(ParseError::Host(host.to_owned()));
    }
    Ok(match host {
        other if OTHER_DOCKER_HUBS.contains(&other) => DOCKER_HUB,
        other => other,
    })
}

/// Whether the first component of a path names a registry host rather than a part of a repository: it has a `.` or a
/// `:`, or is `localhost` (the rule of the Docker reference grammar).
#[must_use]
pub fn looks_like_host(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':'])
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => (address, Some(rest.strip_prefix(':').unwrap_or("-"))),
        None => host
            .split_once(':')
            .map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let bracketed = host.starts_with('[');
    let name_valid = if bracketed {
        name.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !name.is_empty()
            && name.split('.').all(|label| {
                let bytes = label.as_bytes();
                let edge =
                    |byte: Option<&u8>| byte.is_some_and(|byte| is_lower_alphanumeric(*byte));
                edge(bytes.first())
                    && edge(bytes.last())
                    && bytes
                        .iter()
                        .all(|byte| is_lower_alphanumeric(*byte) || *byte == b'-')
            })
    };
    let port_valid = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    name_valid && port_valid
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (distribution specification, "Pulling manifests").
fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let edges = [bytes.first(), bytes.last()]
        .into_iter()
        .all(|byte| byte.is_some_and(|byte| is_lower_alphanumeric(*byte)));
    edges
        && component
            .split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit())
            .all(is_separator)
}

fn is_separator(text: &str) -> bool {
    matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-')
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

// === impl RepositoryName ===

impl FromStr for RepositoryName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (host, repository) = text
            .split_once('/')
            .ok_or_else(|| ParseError::Host(text.to_owned()))?;
        Self::new(host, repository)
    }
}

impl PartialEq for RepositoryName {
    fn eq(&self, other: &Self) -> bool {
        self.full == other.full
    }
}

impl Eq for RepositoryName {}

impl std::hash::Hash for RepositoryName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.full.hash(state);
    }
}

impl PartialOrd for RepositoryName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RepositoryName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.full.cmp(&other.full)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.full)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.full)
    }
}

impl Serialize for RepositoryName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.full)
    }
}

impl<'de> Deserialize<'de> for RepositoryName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn normalises_docker_hub() {
        for (host, repository) in [
            ("docker.io", "nginx"),
            ("index.docker.io", "library/nginx"),
            ("registry-1.docker.io", "nginx"),
        ] {
            let name = RepositoryName::new(host, repository).unwrap();
            assert_eq!(name.as_str(), "docker.io/library/nginx");
            assert_eq!(
                (name.host(), name.repository()),
                ("docker.io", "library/nginx")
            );
        }
        assert_eq!(
            RepositoryName::new("docker.io", "org/app")
                .unwrap()
                .as_str(),
            "docker.io/org/app"
        );
    }

    #[test]
    fn refuses_what_the_specification_does_not_allow() {
        for repository in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", ".a", "a.", "-a", "a-",
            "a/../b", "a/./b", "a%2fb", "a b", "a:b", "ä",
        ] {
            assert!(
                RepositoryName::new("ghcr.io", repository).is_err(),
                "{repository:?}"
            );
        }
        for repository in ["a", "a/b/c/d/e/f", "a.b_c__d-e---f", "0/1"] {
            assert!(
                RepositoryName::new("ghcr.io", repository).is_ok(),
                "{repository:?}"
            );
        }
        for host in [
            "",
            "Ghcr.io",
            "ghcr..io",
            "-a.io",
            "a.io:",
            "a.io:0",
            "a.io:99999",
            "a.io:+5",
            "a/b",
            "a@b",
            "[::1",
            "[zz]",
            "a.io:1:2",
        ] {
            assert!(RepositoryName::new(host, "a").is_err(), "{host:?}");
        }
        for host in [
            "ghcr.io",
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
            "xn--a-1.io",
        ] {
            assert!(RepositoryName::new(host, "a").is_ok(), "{host:?}");
        }
        assert!(RepositoryName::new("ghcr.io", &"a".repeat(247)).is_ok());
        assert!(RepositoryName::new("ghcr.io", &"a".repeat(248)).is_err());
    }

    proptest! {
        #[test]
        fn a_name_survives_its_own_text(host in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,5}){1,2}(:[1-9][0-9]{0,3})?", repository in "[a-z0-9]{1,5}((\\.|_|__|-{1,3}|/)[a-z0-9]{1,5}){0,5}") {
            let name = RepositoryName::new(&host, &repository).unwrap();
            let parsed: RepositoryName = name.as_str().parse().unwrap();
            prop_assert_eq!(&parsed, &name);
            prop_assert_eq!(format!("{}/{}", name.host(), name.repository()), name.as_str());
        }

        #[test]
        fn nothing_else_gets_in(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                prop_assert!(name.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/:[]".contains(&byte)));
                prop_assert!(!name.as_str().contains("..") && !name.as_str().contains("//"));
            }
        }
    }
}
