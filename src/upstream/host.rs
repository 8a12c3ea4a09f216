//! One upstream: where it is, what it trusts, and where our credentials for it come from.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::clients::{self, OwnAddress, Reach};
use super::config::{BuildError, HostConfig, Proxy};
use super::credentials::{Credentials, Login};
use super::docker_config::{DockerConfig, LookupError};
use super::lane::Lanes;
use super::neighbours::Neighbours;
use super::proxies::Proxies;
use super::pulse::Pulse;
use super::token::Grants;
use super::{Error, body};
use crate::limits::Limits;
use crate::shares::{Ledger, Reading};

/// An upstream with its connections and everything we remember about it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    /// Ends with a slash; `v2/…` follows.
    pub(super) base: Url,
    pub(super) plain_http: bool,
    pub(super) token_hosts: Vec<String>,
    pub(super) redirect_hosts: Vec<String>,
    pub(super) logins: Logins,
    pub(super) own: reqwest::Client,
    pub(super) peer: reqwest::Client,
    /// For the hosts among `redirect_hosts`.
    pub(super) listed_peer: reqwest::Client,
    /// For the hosts that are upstreams themselves.
    pub(super) public_peer: reqwest::Client,
    pub(super) neighbours: Arc<Neighbours>,
    pub(super) own_address: Arc<OwnAddress>,
    pub(super) proxies: Proxies,
    pub(super) lanes: Lanes,
    pub(super) pulse: Pulse,
    pub(super) grants: Grants,
    /// Anonymous tokens for the registries that this upstream redirects to.
    pub(super) peer_grants: Grants,
    pub(super) limits: Arc<Limits>,
    reading: Reading,
}

/// All that upstreams share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'s> {
    pub(super) roots: &'s rustls::RootCertStore,
    pub(super) proxy: &'s Proxy,
    pub(super) neighbours: &'s Arc<Neighbours>,
    pub(super) limits: &'s Arc<Limits>,
    pub(super) ledger: &'s Ledger,
    pub(super) reading: &'s Reading,
}

/// Where the credentials come from, and those that came last.
#[derive(Debug)]
pub(super) struct Logins {
    source: Source,
    last: tokio::sync::Mutex<Option<(Instant, Login)>>,
}

#[derive(Debug)]
enum Source {
    Fixed(Login),
    DockerConfig(DockerConfig),
}

/// Credentials from a file or a helper program are asked for again after this time: helpers hand out what ends.
pub(super) const LOGIN_LIFE: Duration = Duration::from_secs(180);

/// Repositories whose grants are kept at a time, the upstream's own and those behind its redirects.
const REPOSITORIES_MAX: u64 = 10_000;
const PEER_REPOSITORIES_MAX: u64 = 1_000;

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ENDPOINT: &str = "https://registry-1.docker.io/";

impl Host {
    /// Sets up everything that can be set up without asking the upstream.
    pub(super) fn new(
        name: &str,
        config: HostConfig,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, BuildError> {
        let Surroundings {
            roots,
            proxy,
            neighbours,
            limits,
            ledger,
            reading,
        } = *surroundings;
        let host = name.to_owned();
        let base = base(name, &config)?;
        let roots = match &config.ca_pem {
            None => roots.clone(),
            Some(pem) => clients::add_certificates(roots.clone(), pem)
                .ok_or_else(|| BuildError::Certificate { host: host.clone() })?,
        };
        let tls = clients::tls(roots)?;
        let own_address: Arc<OwnAddress> = Arc::default();
        let proxies = Proxies::new(&proxy.towards(&base));
        let peer_client =
            |reach| clients::peer_client(tls.clone(), reach, &proxies, &own_address, limits);
        Ok(Self {
            base,
            plain_http: config.plain_http,
            token_hosts: config.token_hosts,
            redirect_hosts: config.redirect_hosts,
            logins: Logins {
                source: source(&host, config.credentials)?,
                last: tokio::sync::Mutex::default(),
            },
            own: clients::own_client(tls.clone(), &proxies, limits)?,
            peer: peer_client(Reach::Any)?,
            listed_peer: peer_client(Reach::Listed)?,
            public_peer: peer_client(Reach::Public)?,
            neighbours: Arc::clone(neighbours),
            own_address,
            proxies,
            lanes: Lanes::new(limits, ledger),
            pulse: Pulse::default(),
            grants: Grants::new(REPOSITORIES_MAX),
            peer_grants: Grants::new(PEER_REPOSITORIES_MAX),
            limits: Arc::clone(limits),
            reading: reading.clone(),
            name: host,
        })
    }

    /// Reads a whole body of at most `limit_bytes`. Takes `weight` bytes of the budget for each before it is read, and
    /// waits for them for at most `wait_max`.
    ///
    /// # Errors
    /// As [`body::read`].
    pub(super) async fn read(
        &self,
        response: reqwest::Response,
        limit_bytes: u64,
        weight: u64,
        wait_max: Duration,
    ) -> Result<body::Whole, Error> {
        let bounds = body::Bounds {
            limit_bytes,
            idle_time_max: self.limits.body_idle_time_max,
            reading: &self.reading,
            weight,
            wait_until: Instant::now() + wait_max,
        };
        body::read(&self.name, response, bounds).await
    }

    /// Makes the error of an upstream that could not be asked, which may go away.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Failed {
            host: self.name.clone(),
            reason: reason.into(),
        }
    }

    /// Makes the error of an upstream whose answer cannot be used.
    pub(super) fn unexpected(&self, reason: impl Into<String>) -> Error {
        Error::Unexpected {
            host: self.name.clone(),
            reason: reason.into(),
        }
    }
}

impl Logins {
    /// The credentials for `host`, at most [`LOGIN_LIFE`] old.
    pub(super) async fn get(&self, host: &str) -> Result<Login, LookupError> {
        let config = match &self.source {
            Source::Fixed(login) => return Ok(login.clone()),
            Source::DockerConfig(config) => config,
        };
        let mut last = self.last.lock().await;
        if let Some((at, login)) = last.as_ref()
            && at.elapsed() < LOGIN_LIFE
        {
            return Ok(login.clone());
        }
        let login = config.login(host).await?;
        *last = Some((Instant::now(), login.clone()));
        Ok(login)
    }

    /// What came last was refused, so the next one asks again.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

/// The address of an upstream, which ends with a slash.
pub(super) fn base(name: &str, config: &HostConfig) -> Result<Url, BuildError> {
    let invalid = || BuildError::Endpoint {
        host: name.to_owned(),
    };
    let mut base = match &config.endpoint {
        Some(endpoint) => endpoint.clone(),
        None if name == DOCKER_HUB => Url::parse(DOCKER_HUB_ENDPOINT).map_err(|_url| invalid())?,
        None => {
            let scheme = if config.plain_http { "http" } else { "https" };
            Url::parse(&format!("{scheme}://{name}/")).map_err(|_url| invalid())?
        }
    };
    let plain = !matches!(base.scheme(), "http" | "https")
        || !base.has_host()
        || !base.username().is_empty()
        || base.password().is_some()
        || base.query().is_some()
        || base.fragment().is_some();
    if plain {
        return Err(invalid());
    }
    if base.scheme() == "http" && !config.plain_http {
        return Err(BuildError::PlainHttp {
            host: name.to_owned(),
        });
    }
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    Ok(base)
}

fn source(host: &str, credentials: Credentials) -> Result<Source, BuildError> {
    Ok(match credentials {
        Credentials::Anonymous => Source::Fixed(Login::Anonymous),
        Credentials::Basic { username, password } => {
            if username.contains(':') {
                return Err(BuildError::Username {
                    host: host.to_owned(),
                });
            }
            Source::Fixed(Login::Password { username, password })
        }
        Credentials::DockerConfig { path } => {
            let path = path.ok_or_else(|| BuildError::DockerConfig {
                host: host.to_owned(),
            })?;
            Source::DockerConfig(DockerConfig::new(path))
        }
    })
}
