//! A TUF repository over HTTP: bounded in bytes, from one origin only. The time is bounded by who asks.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::redirect;
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, Repository};
use url::{Host, Url};

use crate::upstream;

/// Bytes that one refresh reads at most, all files together.
pub(super) const REFRESH_BYTES_MAX: u64 = 16 * 1024 * 1024;
const REDIRECTS_MAX: usize = 3;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// The address of a TUF repository cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not a web address.
    #[error("a TUF repository is at an https address")]
    Scheme,
    /// It is plain HTTP beyond this machine.
    #[error("plain http is for loopback only")]
    PlainHttp,
    /// It has a query, a fragment or credentials.
    #[error("an address of a TUF repository has no query, fragment, user or password")]
    Extra,
}

/// One visit to a repository; its budget of bytes is for the whole visit.
#[derive(Debug)]
pub(super) struct Mirror {
    base: Url,
    client: reqwest::Client,
    bytes_left: Mutex<u64>,
}

/// The base address, ending in a slash.
pub(super) fn base(url: &Url) -> Result<Url, AddressError> {
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) => {}
        "http" => return Err(AddressError::PlainHttp),
        _other => return Err(AddressError::Scheme),
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::Extra);
    }
    let mut base = url.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", url.path()));
    }
    Ok(base)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A client for a repository: the system's proxy, the platform's certificates, and redirects within one origin.
pub(super) fn client(
    base: &Url,
) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
    let tls = upstream::tls(upstream::platform_roots())?;
    let mut builder = reqwest::Client::builder();
    builder = if is_direct(base) {
        builder.no_proxy()
    } else {
        upstream::behind_system_proxies(builder)
    };
    let client = builder
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .referer(false)
        .connect_timeout(CONNECT_TIME_MAX)
        .redirect(redirect::Policy::custom(within_one_origin))
        .build()?;
    Ok(client)
}

/// Returns true if a proxy must not be used: plain HTTP is for loopback only, so it must not leave the machine.
pub(super) fn is_direct(base: &Url) -> bool {
    base.scheme() == "http" && is_loopback(base)
}

fn within_one_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let first = attempt.previous().first().map(Url::origin);
    if first != Some(attempt.url().origin()) {
        return attempt.error("redirected to another origin");
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("redirected too often");
    }
    attempt.follow()
}

impl Mirror {
    pub(super) fn new(base: Url, client: reqwest::Client) -> Self {
        Self {
            base,
            client,
            bytes_left: Mutex::new(REFRESH_BYTES_MAX),
        }
    }

    async fn get(&self, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let failed = |error: reqwest::Error| {
            Error::transport_with_source(format!("cannot get {path}"), error.without_url())
        };
        let url = self.base.join(path).map_err(|error| {
            Error::transport_with_source(format!("{path:?} is no address"), error)
        })?;
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            // Object stores say 403 for what they do not have.
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => return Ok(None),
            status => return Err(Error::transport(format!("{path}: {status}"))),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let length = chunk.len() as u64;
            if bytes.len() as u64 + length > bytes_max || !self.may_read(length) {
                return Err(Error::transport(format!("{path} is too large")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }

    fn may_read(&self, length: u64) -> bool {
        let mut left = self
            .bytes_left
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let rest = left.checked_sub(length);
        *left = rest.unwrap_or_default();
        rest.is_some()
    }
}

impl Repository for Mirror {
    fn fetch_metadata<'a>(&'a self, name: &'a str, bytes_max: u64) -> FetchFuture<'a> {
        Box::pin(self.get(name, bytes_max))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, bytes_max: u64) -> FetchFuture<'a> {
        Box::pin(async move { self.get(&format!("targets/{path}"), bytes_max).await })
    }
}

/// The clients, made when they are first needed: reading the platform's certificates takes a while.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedClient(Arc<Clients>);

#[derive(Debug, Default)]
struct Clients {
    proxied: tokio::sync::OnceCell<reqwest::Client>,
    direct: tokio::sync::OnceCell<reqwest::Client>,
}

impl SharedClient {
    pub(super) async fn get(
        &self,
        base: &Url,
    ) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
        let clients = &self.0;
        let cell = if is_direct(base) {
            &clients.direct
        } else {
            &clients.proxied
        };
        let made = cell.get_or_try_init(|| async { client(base) }).await?;
        Ok(made.clone())
    }
}
