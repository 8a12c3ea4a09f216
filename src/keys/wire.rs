//! Talking to key services: bounded in bytes and time, never redirected, trusted as the platform says.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use reqwest::{Client, Request, Response};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::{Host, Url};

use super::{BuildError, Error};

/// Bytes of one answer that are read at most.
pub(super) const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Characters of what a service says that are repeated in an error.
const MESSAGE_CHARS_MAX: usize = 400;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// Before the one repetition of a request that failed for a reason that may pass.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// Sends requests to one service.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    service: &'static str,
    client: Client,
}

/// An answer that was read whole. Its status is neither a redirect nor one that says to try again later.
pub(super) struct Answer {
    pub(super) host: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why an answer could not be read.
enum Unread {
    /// It may come when asked again.
    ForNow(String),
    Unusable(String),
}

impl Wire {
    /// Trusts the platform's certificates, and those in `extra_roots_pem`; goes through the system's proxy.
    pub(super) fn new(
        service: &'static str,
        extra_roots_pem: Option<&[u8]>,
    ) -> Result<Self, BuildError> {
        let tls = tls(extra_roots_pem).map_err(|source| BuildError::Client { service, source })?;
        let client = builder(tls).build().map_err(|error| BuildError::Client {
            service,
            source: error.into(),
        })?;
        Ok(Self { service, client })
    }

    /// The HTTP client, for libraries that send requests themselves.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The answer to the request. One that fails for a reason that may pass (no connection, 429, 5xx) is sent a second
    /// time.
    pub(super) async fn send(&self, request: Request, deadline: Instant) -> Result<Answer, Error> {
        let host = host_of(request.url());
        let again = request.try_clone();
        let first = self.attempt(request, &host, deadline).await;
        let Err(Unread::ForNow(reason)) = first else {
            return first.map_err(|unread| unread.into_error(host));
        };
        let Some(again) = again.filter(|_| Instant::now() + RETRY_DELAY < deadline) else {
            return Err(Error::Unavailable { host, reason });
        };
        tokio::time::sleep(RETRY_DELAY).await;
        self.attempt(again, &host, deadline)
            .await
            .map_err(|unread| unread.into_error(host))
    }

    async fn attempt(
        &self,
        request: Request,
        host: &str,
        deadline: Instant,
    ) -> Result<Answer, Unread> {
        let exchange = async {
            // The error's own text holds the whole address, and addresses can hold secrets.
            let sent = self.client.execute(request).await;
            let response = sent.map_err(|error| Unread::ForNow(cause_of(error)))?;
            let status = response.status();
            let headers = response.headers().clone();
            if status.is_redirection() {
                return Err(Unread::Unusable(format!(
                    "it redirects ({status}), and redirects are not followed"
                )));
            }
            let body = read(response).await?;
            if status.is_server_error() || status.as_u16() == 429 {
                let said = shorten(&String::from_utf8_lossy(&body));
                return Err(Unread::ForNow(
                    format!("{status} {said}").trim_end().to_owned(),
                ));
            }
            Ok(Answer {
                host: host.to_owned(),
                status: status.as_u16(),
                headers,
                body,
            })
        };
        let in_time = tokio::time::timeout_at(deadline, exchange).await;
        in_time.unwrap_or_else(|_elapsed| {
            Err(Unread::ForNow(format!(
                "{} did not answer in time",
                self.service
            )))
        })
    }
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            self.malformed(format!("the answer is not what was asked for: {error}"))
        })
    }

    pub(super) fn malformed(&self, reason: impl Into<String>) -> Error {
        malformed(&self.host, reason)
    }
}

impl Unread {
    fn into_error(self, host: String) -> Error {
        match self {
            Self::ForNow(reason) => Error::Unavailable { host, reason },
            Self::Unusable(reason) => Error::Malformed { host, reason },
        }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A login's body is a secret.
        formatter
            .debug_struct("Answer")
            .field("host", &self.host)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

pub(super) fn malformed(host: &str, reason: impl Into<String>) -> Error {
    Error::Malformed {
        host: host.to_owned(),
        reason: reason.into(),
    }
}

/// An endpoint that may be asked: `https`, or `http` on this machine, and nothing but host, port and path.
pub(super) fn check_endpoint(service: &'static str, url: Url) -> Result<Url, BuildError> {
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_safe && is_plain && url.has_host() {
        Ok(url)
    } else {
        Err(BuildError::Endpoint { service })
    }
}

/// Whether the URL leads to this machine for certain.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // RFC 6761 §6.3: this name and those under it are loopback everywhere.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// `path`, which begins with `/`, under the endpoint.
pub(super) fn under(endpoint: &Url, path: &str) -> Url {
    let mut url = endpoint.clone();
    let prefix = endpoint.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{prefix}{path}"));
    url
}

/// Host and port, as errors name a service.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The first characters of what a service says, on one line.
pub(super) fn shorten(text: &str) -> String {
    let text = text.trim();
    let one_line = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let mut short: String = text.chars().take(MESSAGE_CHARS_MAX).map(one_line).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

async fn read(mut response: Response) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| Unread::ForNow(cause_of(error)))? else {
            return Ok(body);
        };
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Unread::Unusable(format!(
                "the answer is longer than {ANSWER_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
}

/// Why a request failed, without the address it went to.
fn cause_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    shorten(&text)
}

fn builder(tls: ClientConfig) -> reqwest::ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIME_MAX)
}

fn tls(
    extra_roots_pem: Option<&[u8]>,
) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // An image made from scratch has none.
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for certificate in extra_roots_pem
        .map(CertificateDer::pem_slice_iter)
        .into_iter()
        .flatten()
    {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
