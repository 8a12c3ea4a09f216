//! One upstream: where it is, what it trusts, and how we authenticate there.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use super::clients::{self, OwnAddress, Proxies};
use super::config::{BuildError, HostConfig, Proxy};
use super::credentials::{Credentials, Login, Secret};
use super::docker_config::DockerConfig;
use super::exchange::{Ask, Fault};
use super::lane::Lanes;
use super::token::{self, Grant, Grants, TokenAnswer};
use super::{Error, body};
use crate::limits::Limits;

/// An upstream with its connections and everything we remember about it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    /// Ends with a slash; `v2/…` follows.
    pub(super) base: Url,
    plain_http: bool,
    token_hosts: Vec<String>,
    logins: Logins,
    pub(super) own: reqwest::Client,
    pub(super) peer: reqwest::Client,
    pub(super) own_address: Arc<OwnAddress>,
    pub(super) proxies: Proxies,
    pub(super) lanes: Lanes,
    pub(super) grants: Grants,
    pub(super) limits: Arc<Limits>,
}

/// Where the credentials come from, and those that came last.
#[derive(Debug)]
struct Logins {
    source: Source,
    last: tokio::sync::Mutex<Option<(Instant, Login)>>,
}

#[derive(Debug)]
enum Source {
    Fixed(Login),
    DockerConfig(DockerConfig),
}

/// How far a token realm is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Realm {
    /// The upstream itself, or named by the operator: wherever it is, it may have the credentials.
    Named,
    /// The token host of a well-known registry: may have the credentials, and is at a public address.
    WellKnown,
    /// Any other, asked without credentials.
    Stranger,
}

/// Credentials from a file or a helper program are asked for again after this time: helpers hand out what ends.
pub(super) const LOGIN_LIFE: Duration = Duration::from_secs(180);

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ENDPOINT: &str = "https://registry-1.docker.io/";

/// Token hosts of registries whose tokens do not come from the registry's own host.
const TOKEN_HOSTS: [(&str, &str); 3] = [
    (DOCKER_HUB, "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
];

/// The name under which we ask for tokens with a refresh token.
const CLIENT_ID: &str = "countersign";

impl Host {
    /// Sets up everything that can be set up without asking the upstream.
    pub(super) fn new(
        name: &str,
        config: HostConfig,
        roots: &rustls::RootCertStore,
        proxy: &Proxy,
        limits: &Arc<Limits>,
    ) -> Result<Self, BuildError> {
        let host = name.to_owned();
        let base = base(name, &config)?;
        let roots = match &config.ca_pem {
            None => roots.clone(),
            Some(pem) => clients::add_certificates(roots.clone(), pem)
                .ok_or_else(|| BuildError::Certificate { host: host.clone() })?,
        };
        let tls = clients::tls(roots)?;
        let own_address = Arc::default();
        let proxies = Proxies::new(proxy);
        Ok(Self {
            base,
            plain_http: config.plain_http,
            token_hosts: config.token_hosts,
            logins: Logins {
                source: source(&host, config.credentials)?,
                last: tokio::sync::Mutex::default(),
            },
            own: clients::own_client(tls.clone(), proxy, limits)?,
            peer: clients::peer_client(tls, proxy, &proxies, &own_address, limits)?,
            own_address,
            proxies,
            lanes: Lanes::new(limits.upstream_requests_max),
            grants: Grants::new(),
            limits: Arc::clone(limits),
            name: host,
        })
    }

    /// An error that may go away.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Failed {
            host: self.name.clone(),
            reason: reason.into(),
        }
    }

    /// A grant other than `rejected`, as the challenge demands. However many ask, one fetches; those who waited for it
    /// share its outcome.
    pub(super) async fn authorize(
        &self,
        ask: &Ask<'_>,
        challenge: &Challenge,
        rejected: Option<&Grant>,
    ) -> Result<Arc<Grant>, Fault> {
        let slot = self.grants.slot(ask.repository);
        let asked_at = Instant::now();
        let mut last_failure = slot.fetching.lock().await;
        if let Some(newer) = slot.newer_than(rejected) {
            return Ok(newer);
        }
        if let Some((_, fault)) = last_failure.as_ref().filter(|(at, _)| *at > asked_at) {
            return Err(fault.clone());
        }
        match self.obtain(ask, challenge).await {
            Ok(grant) => {
                let grant = Arc::new(grant);
                slot.keep(&grant);
                Ok(grant)
            }
            Err(fault) => {
                *last_failure = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    async fn obtain(&self, ask: &Ask<'_>, challenge: &Challenge) -> Result<Grant, Fault> {
        let login = self.logins.get(&self.name).await;
        let login = login.map_err(|error| Fault::definite(self.failed(error.to_string())))?;
        let denied = || {
            Fault::definite(Error::Denied {
                host: self.name.clone(),
                status: 401,
            })
        };
        match (challenge, &login) {
            (Challenge::Basic, Login::Password { username, password }) => {
                Grant::basic(username, password.expose()).ok_or_else(denied)
            }
            (Challenge::Basic, Login::Anonymous | Login::IdentityToken(_)) => Err(denied()),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                login,
            ) => {
                let scopes = token::pull_scopes(scope.as_deref(), ask.repository);
                self.fetch_token(ask, realm, service.as_deref(), &scopes, login)
                    .await
            }
        }
    }

    async fn fetch_token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        login: &Login,
    ) -> Result<Grant, Fault> {
        let (url, trust) = self.check_realm(realm, login).map_err(Fault::definite)?;
        if trust != Realm::Named {
            self.check_peer(&url)?;
        }
        let client = if trust == Realm::Named {
            &self.own
        } else {
            &self.peer
        };
        let request = token_request(client, url, service, scopes, login).ok_or_else(|| {
            Fault::definite(self.failed("the credentials do not fit into a request"))
        })?;
        let response = self.send(client, request).await?;
        let response = self.check_status(response, ask.purpose)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            // RFC 6749 §5.2: a refresh token that is no longer good is answered with 400.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.logins.forget().await;
                let status = if status == StatusCode::FORBIDDEN {
                    403
                } else {
                    401
                };
                return Err(Fault::definite(Error::Denied {
                    host: self.name.clone(),
                    status,
                }));
            }
            other => {
                let reason = format!("its token host answered with status {}", other.as_u16());
                return Err(Fault::definite(self.failed(reason)));
            }
        }
        let limit = self.limits.token_bytes_max;
        let bytes = body::read(&self.name, response, limit, self.limits.body_idle_time_max).await;
        let bytes = bytes.map_err(Fault::definite)?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
        let grant = answer.as_ref().and_then(Grant::bearer);
        grant.ok_or_else(|| Fault::definite(self.failed("its token host answered without a token")))
    }

    /// Where the challenge sends us for a token, and how far that is trusted. The challenge is the upstream's text:
    /// credentials follow it only to hosts known beforehand (CVE-2026-33540).
    fn check_realm(&self, realm: &str, login: &Login) -> Result<(Url, Realm), Error> {
        let url = Url::parse(realm)
            .ok()
            .filter(|url| url.username().is_empty() && url.password().is_none());
        let url = url.ok_or_else(|| self.failed("its token realm is not a URL"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && self.plain_http) {
            return Err(self.failed("its token realm is not https"));
        }
        let authority = authority(&url);
        let is_named = url.origin() == self.base.origin()
            || (url.scheme() == "https" && authority == self.name)
            || self
                .token_hosts
                .iter()
                .any(|host| host.eq_ignore_ascii_case(&authority));
        if is_named {
            return Ok((url, Realm::Named));
        }
        if url.scheme() == "https"
            && TOKEN_HOSTS.contains(&(self.name.as_str(), authority.as_str()))
        {
            return Ok((url, Realm::WellKnown));
        }
        if *login == Login::Anonymous {
            return Ok((url, Realm::Stranger));
        }
        let reason =
            format!("its token realm is at {authority}, which is not among its token_hosts");
        Err(self.failed(reason))
    }
}

impl Logins {
    async fn get(&self, host: &str) -> Result<Login, super::docker_config::LookupError> {
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
    async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

fn base(name: &str, config: &HostConfig) -> Result<Url, BuildError> {
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

/// Host, and port unless it is the scheme's.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// GET as the token specification has it, with Basic credentials if there are any; POST as its OAuth 2 part has it for
/// a refresh token. `None` if the credentials do not fit into a header.
fn token_request(
    client: &reqwest::Client,
    mut url: Url,
    service: Option<&str>,
    scopes: &[String],
    login: &Login,
) -> Option<reqwest::RequestBuilder> {
    url.set_fragment(None);
    if let Login::IdentityToken(token) = login {
        let form = refresh_form(service, scopes, token);
        let request = client
            .request(Method::POST, url)
            .header(ACCEPT, "application/json");
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        return Some(request.header(CONTENT_TYPE, form_type).body(form));
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
    }
    let request = client
        .request(Method::GET, url)
        .header(ACCEPT, "application/json");
    match login {
        Login::Password { username, password } => {
            let grant = Grant::basic(username, password.expose())?;
            Some(request.header(http::header::AUTHORIZATION, grant.header))
        }
        Login::Anonymous | Login::IdentityToken(_) => Some(request),
    }
}

fn refresh_form(service: Option<&str>, scopes: &[String], token: &Secret) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("client_id", CLIENT_ID);
    form.append_pair("service", service.unwrap_or_default());
    form.append_pair("scope", &scopes.join(" "));
    form.append_pair("refresh_token", token.expose());
    form.finish()
}
