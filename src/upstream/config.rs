//! What the operator says about the upstreams, validated when [`super::http::HttpUpstream`] is built.

use std::collections::HashMap;

use url::{Host, Url};

use super::credentials::Credentials;

/// All upstreams. A host that is not here is never asked for anything.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// By host as it stands in canonical names, such as `ghcr.io` or `127.0.0.1:5000`.
    pub hosts: HashMap<String, HostConfig>,
    /// The proxy that connections go through.
    pub proxy: Proxy,
}

/// One upstream.
#[derive(Debug, Clone, Default)]
pub struct HostConfig {
    /// Where the connection goes, if not to the host of the name. The name stays. May have a path, which goes before
    /// `/v2/`.
    pub endpoint: Option<Url>,
    /// Whether HTTP without TLS may be spoken with it; without `endpoint` it then is.
    pub plain_http: bool,
    /// Certificates, PEM, that are trusted for this upstream in addition to the platform's. In addition, since
    /// redirects lead to storage hosts with public certificates; a host that only a private CA knows is no less exact.
    pub ca_pem: Option<Vec<u8>>,
    /// What we authenticate with.
    pub credentials: Credentials,
    /// Hosts, with port unless it is the scheme's, to which the credentials may go to be turned into tokens, besides
    /// the upstream itself and the token hosts of well-known registries. They may be anywhere, private networks
    /// included.
    pub token_hosts: Vec<String>,
    /// Hosts, with port unless it is the scheme's, to which redirects and the token realms behind them may lead although
    /// their addresses are private, shared (RFC 6598) or loopback. They never get the credentials.
    pub redirect_hosts: Vec<String>,
}

/// Which HTTP proxy connections go through.
///
/// Where there is one, it looks names up, so the addresses of redirects by name are its affair; literal addresses are
/// still checked here.
#[derive(Debug, Clone, Default)]
pub enum Proxy {
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, read when the upstreams are built.
    #[default]
    System,
    /// These, whatever the environment says.
    Explicit {
        /// For plain HTTP.
        http: Option<Url>,
        /// For HTTPS.
        https: Option<Url>,
        /// In the format of `NO_PROXY`.
        no_proxy: String,
    },
}

impl Proxy {
    /// What leads to `endpoint`: to this machine's own loopback, no proxy that the environment names for the rest of the
    /// world.
    pub(super) fn towards(&self, endpoint: &Url) -> Self {
        let is_loopback = match endpoint.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        match self {
            Self::System if is_loopback => Self::Explicit {
                http: None,
                https: None,
                no_proxy: String::new(),
            },
            Self::System | Self::Explicit { .. } => self.clone(),
        }
    }
}

/// What is wrong with the configuration of an upstream.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Neither `http` nor `https`, or with a user, query or fragment.
    #[error("upstream {host}: the endpoint must be http(s)://host[:port][/path]")]
    Endpoint {
        /// The upstream.
        host: String,
    },
    /// The endpoint has no TLS and nobody said that this is meant.
    #[error("upstream {host}: an http:// endpoint needs plain_http")]
    PlainHttp {
        /// The upstream.
        host: String,
    },
    /// No certificate can be read from `ca_pem`.
    #[error("upstream {host}: no usable certificate in its CA file")]
    Certificate {
        /// The upstream.
        host: String,
    },
    /// Credentials from Docker's configuration, and nowhere a file.
    #[error("upstream {host}: there is no Docker configuration file to take credentials from")]
    DockerConfig {
        /// The upstream.
        host: String,
    },
    /// User names cannot contain `:` in HTTP Basic authentication (RFC 7617 §2).
    #[error("upstream {host}: a user name cannot contain a colon")]
    Username {
        /// The upstream.
        host: String,
    },
    /// The TLS or HTTP library refuses its settings.
    #[error("set up TLS and HTTP for upstreams")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}
