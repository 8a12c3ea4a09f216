//! The registries and trusted roots beside the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::text::scalar;
use crate::cli::read_file;
use crate::config::{Config, Credentials, PUBLIC_GOOD, Upstream};
use crate::oci::repository::{DOCKER_HUB, OTHER_DOCKER_HUBS};
use crate::trust::{InitialRoot, Source};

/// The most bytes of Docker's configuration.
const DOCKER_CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// The addresses of registries and the sources of trusted roots.
#[derive(Debug)]
pub(super) struct Surroundings {
    upstreams: BTreeMap<String, Upstream>,
    roots: BTreeMap<String, Source>,
}

impl Surroundings {
    /// Those of `config`, for these hosts.
    pub(super) fn of(config: &Config, hosts: &BTreeSet<String>) -> Self {
        let upstreams = config.upstreams.iter();
        Self {
            upstreams: upstreams
                .filter(|(host, _)| hosts.contains(*host))
                .map(|(host, upstream)| (host.clone(), upstream.clone()))
                .collect(),
            roots: config.root_sources.clone(),
        }
    }

    /// Adds the sections `upstreams` and `trusted_roots`. Secrets are not written.
    pub(super) fn write(&self, roots: &BTreeSet<&str>, text: &mut String) {
        text.push_str("\nupstreams:\n");
        for (host, upstream) in &self.upstreams {
            let (settings, notes) = settings(host, upstream);
            for note in notes {
                text.push_str(&format!("  # {note}\n"));
            }
            let settings = settings.join(", ");
            text.push_str(&format!("  {}: {{{settings}}}\n", scalar(host)));
        }
        let named = self.roots.iter().filter_map(|(name, source)| {
            let is_default = name == PUBLIC_GOOD && *source == Source::BuiltIn { mirror: None };
            (roots.contains(name.as_str()) && !is_default).then_some((name, source))
        });
        let mut lines =
            named.map(|(name, source)| format!("  {}: {}\n", scalar(name), root(source)));
        if let Some(first) = lines.next() {
            text.push_str("\ntrusted_roots:\n");
            text.push_str(&first);
            text.extend(lines);
        }
    }
}

fn root(source: &Source) -> String {
    let path = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_error| path.to_owned());
        scalar(&path.to_string_lossy())
    };
    match source {
        Source::BuiltIn { mirror: None } => "builtin".to_owned(),
        Source::BuiltIn { mirror: Some(url) } => format!("{{mirror: {}}}", scalar(url.as_str())),
        Source::File { path: file } => format!("{{file: {}}}", path(file)),
        Source::Tuf { url, root, target } => {
            let root = match root {
                InitialRoot::File(file) => path(file),
                // It stands in a document, from which it has to be saved.
                InitialRoot::Inline(_) => scalar("root.json"),
            };
            format!(
                "{{tuf: {{url: {}, root: {root}, target: {}}}}}",
                scalar(url.as_str()),
                scalar(target)
            )
        }
    }
}

/// The settings of an upstream, and what has to be added by hand.
fn settings(host: &str, upstream: &Upstream) -> (Vec<String>, Vec<&'static str>) {
    let (mut settings, mut notes) = (Vec::new(), Vec::new());
    if let Some(endpoint) = &upstream.endpoint {
        settings.push(format!("endpoint: {}", scalar(endpoint.as_str())));
    }
    if upstream.plain_http {
        settings.push("plain_http: true".to_owned());
    }
    if upstream.ca.is_some() {
        notes.push("Its certificate authority was given to `init`: name it under `ca` here too.");
    }
    if !upstream.token_hosts.is_empty() {
        notes.push("Its `token_hosts` were given to `init`: name them here too.");
    }
    match &upstream.credentials {
        Credentials::DockerConfig { path: Some(path) } if keeps_login(path, host) => {
            let path = std::path::absolute(path).unwrap_or_else(|_error| path.clone());
            let path = scalar(&path.to_string_lossy());
            settings.push(format!("credentials: {{docker_config: {path}}}"));
        }
        Credentials::Anonymous | Credentials::DockerConfig { .. } => {}
        Credentials::Basic { .. } => notes.push(
            "It was asked with credentials: add `credentials: {username: …, password: \"${PASSWORD}\"}`.",
        ),
    }
    (settings, notes)
}

/// Tells if `docker login` left something for the host.
fn keeps_login(path: &Path, host: &str) -> bool {
    let file = read_file(path, DOCKER_CONFIG_BYTES_MAX).ok();
    let file = file.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(file) = file else {
        return false;
    };
    let sections = ["auths", "credHelpers"].map(|section| file.get(section));
    let is_hub = |name: &str| {
        host == DOCKER_HUB && OTHER_DOCKER_HUBS.iter().any(|other| name.contains(other))
    };
    let mut sections = sections.into_iter().flatten().filter_map(Value::as_object);
    sections.any(|section| section.keys().any(|name| name == host || is_hub(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_of_docker_is_found_for_its_host_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let text = r#"{"auths": {"https://index.docker.io/v1/": {}, "ghcr.io": {}}, "credHelpers": {"gcr.io": "gcloud"}}"#;
        std::fs::write(&path, text).unwrap();
        for host in ["docker.io", "ghcr.io", "gcr.io"] {
            assert!(keeps_login(&path, host), "{host}");
        }
        assert!(!keeps_login(&path, "quay.io"));
        assert!(!keeps_login(&directory.path().join("absent"), "ghcr.io"));
    }

    #[test]
    fn passwords_are_not_written() {
        let secret = |text: &str| crate::secret::Secret::new(text.to_owned());
        let upstream = Upstream {
            credentials: Credentials::Basic {
                username: secret("robot"),
                password: secret("hunter2"),
            },
            ..Upstream::default()
        };
        let surroundings = Surroundings {
            upstreams: BTreeMap::from([("quay.io".to_owned(), upstream)]),
            roots: BTreeMap::new(),
        };
        let mut text = String::new();
        surroundings.write(&BTreeSet::new(), &mut text);
        assert!(
            !text.contains("hunter2") && !text.contains("robot"),
            "{text}"
        );
        assert!(text.contains("  quay.io: {}\n"), "{text}");
    }
}
