//! How Kyverno reads the name of an image.

use std::fmt;

/// The registry of names that have none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The longest name of a repository, registry not included (distribution, "reference").
const PATH_LENGTH_MAX: usize = 255;
/// The longest tag.
const TAG_LENGTH_MAX: usize = 128;

/// An image as Kyverno names it. Unlike elsewhere, `nginx` is `docker.io/nginx`, without `library/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `docker.io` where the name has none.
    pub registry: String,
    /// Everything between registry and tag.
    pub path: String,
    /// `latest` where the name has neither tag nor digest.
    pub tag: Option<String>,
    /// With its algorithm.
    pub digest: Option<String>,
}

impl Image {
    /// The image that a Pod would run under this name; nothing if it is no name of an image.
    #[must_use]
    pub fn parse(reference: &str) -> Option<Self> {
        let (name, digest) = match reference.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (reference, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let valid = path.len() <= PATH_LENGTH_MAX
            && is_host(registry)
            && path.split('/').all(is_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if !valid {
            return None;
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        Some(Self {
            registry: registry.to_owned(),
            path: path.to_owned(),
            tag: tag.map(ToOwned::to_owned),
            digest: digest.map(ToOwned::to_owned),
        })
    }
}

/// The text that patterns are compared with: a digest displaces the tag.
impl fmt::Display for Image {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.path)?;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(formatter, "@{digest}"),
            (None, Some(tag)) => write!(formatter, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

fn is_registry(component: &str) -> bool {
    component.contains(['.', ':'])
        || component == "localhost"
        || component.chars().any(char::is_uppercase)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return is_address_and_port(address);
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let labels = name.split('.').all(|label| {
        label.starts_with(|first: char| first.is_ascii_alphanumeric())
            && label.ends_with(|last: char| last.is_ascii_alphanumeric())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    labels && port.is_none_or(is_port)
}

/// An address of IPv6 after its opening bracket.
fn is_address_and_port(rest: &str) -> bool {
    let Some((address, rest)) = rest.split_once(']') else {
        return false;
    };
    let in_address = |it: char| it.is_ascii_hexdigit() || it == ':';
    !address.is_empty()
        && address.chars().all(in_address)
        && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit())
}

/// Letters and digits, in between `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_letter = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let between = component.split(is_letter).filter(|it| !it.is_empty());
    component.starts_with(is_letter)
        && component.ends_with(is_letter)
        && between
            .into_iter()
            .all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_LENGTH_MAX
        && tag.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_digest(digest: &str) -> bool {
    let length = match digest.split_once(':') {
        Some(("sha256", hex)) => (hex, 64),
        Some(("sha384", hex)) => (hex, 96),
        Some(("sha512", hex)) => (hex, 128),
        _ => return false,
    };
    let (hex, length) = length;
    hex.len() == length
        && hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
