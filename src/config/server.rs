//! `server:`

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::Secret;

/// The listeners.
#[derive(Debug, Clone)]
pub struct Server {
    /// The registry API.
    pub listen: SocketAddr,
    /// Probes, metrics, the JSON API and the console.
    pub admin_listen: SocketAddr,
    /// The certificate of the registry API; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// What opens the admin listener beyond loopback; without it, only probes are served there.
    pub admin_token: Option<Secret>,
}

/// A certificate and its key, both PEM, both readable when the configuration was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key of the leaf.
    pub private_key: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5080)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5081)),
            tls: None,
            admin_token: None,
        }
    }
}
