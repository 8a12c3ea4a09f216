//! `upstreams:`

use std::path::PathBuf;

use url::Url;

use super::Secret;

/// How to reach one registry.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// Where the connection goes instead of to the name: scheme, host and port only.
    pub endpoint: Option<Url>,
    /// PEM certificates that are trusted for this upstream in addition to the system's.
    pub ca: Option<Vec<u8>>,
    /// Whether the connection is plain HTTP.
    pub plain_http: bool,
    /// What the proxy authenticates with.
    pub credentials: Credentials,
    /// Hosts, besides the upstream's own, whose token endpoints may see the credentials.
    pub token_hosts: Vec<String>,
}

/// What the proxy authenticates with.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// Nothing; anonymous tokens where the upstream hands them out.
    #[default]
    Anonymous,
    /// The Docker configuration, its credential helpers included.
    DockerConfig {
        /// The file; absent for `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
        path: Option<PathBuf>,
    },
    /// A user name and a password.
    Basic {
        /// The user name.
        username: Secret,
        /// The password.
        password: Secret,
    },
}
