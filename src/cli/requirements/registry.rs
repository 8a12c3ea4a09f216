//! How the image's registry is reached.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::environment;
use crate::secret::Secret;

/// How the image's registry is reached, in cosign's words.
#[derive(Debug, clap::Args)]
pub(super) struct Access {
    /// Speak plain HTTP to the image's registry, as for one on loopback.
    #[arg(long, visible_alias = "plain-http", conflicts_with = "config")]
    allow_http_registry: bool,
    /// PEM file with certificate authorities to trust for the registry, besides the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    registry_cacert: Option<String>,
    /// User name at the registry; without one, what `docker login` has left behind.
    #[arg(
        long,
        value_name = "NAME",
        requires = "registry_password",
        conflicts_with = "config"
    )]
    registry_username: Option<String>,
    /// Password at the registry.
    #[arg(long, value_name = "PASSWORD", requires = "registry_username", conflicts_with = "config",
        value_parser = secret)]
    registry_password: Option<Secret>,
}

impl Access {
    pub(super) fn is_given(&self) -> bool {
        self.allow_http_registry
            || self.registry_cacert.is_some()
            || self.registry_username.is_some()
            || self.registry_password.is_some()
    }

    /// As one of the configuration's `upstreams`.
    pub(super) fn to_upstream(&self) -> Map<String, Value> {
        let mut upstream = Map::new();
        let mut set = |key: &str, value: Value| upstream.insert(key.to_owned(), value);
        if self.allow_http_registry {
            set("plain_http", json!(true));
        }
        if let Some(path) = &self.registry_cacert {
            set("ca", json!(path));
        }
        if let (Some(username), Some(password)) = (&self.registry_username, &self.registry_password)
        {
            set(
                "credentials",
                json!({"username": username, "password": password.expose()}),
            );
        } else if let Some(path) = docker_config() {
            set(
                "credentials",
                json!({ "docker_config": path.to_string_lossy() }),
            );
        }
        upstream
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of a parser of arguments"
)]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

/// What `docker login` has left behind, as cosign takes it.
fn docker_config() -> Option<PathBuf> {
    let directory = environment("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
    // Relative paths in a configuration are relative to it, and this one has no place.
    let path = std::path::absolute(directory.join("config.json")).ok()?;
    path.is_file().then_some(path)
}
