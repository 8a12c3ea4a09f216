//! Requests to key services that answer with JSON.

use std::error::Error as _;
use std::fmt;

use reqwest::header::HeaderMap;
use reqwest::{Method, Request};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::limits::{ANSWER_BYTES_MAX, CONNECT_TIME_MAX, MESSAGE_CHARS_MAX};
use super::{BuildError, Error};
use crate::upstream;

const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// An HTTP client for `endpoint` that trusts the platform's certificates and those in `certificates` (PEM), uses the
/// proxies of the environment unless the endpoint is on this machine, which a proxy cannot reach, and never follows a
/// redirect: a key comes from where the operator said, or not at all.
pub(super) fn client(
    service: &'static str,
    endpoint: &Url,
    certificates: Option<&[u8]>,
) -> Result<reqwest::Client, BuildError> {
    let tls = tls(service, certificates)?;
    build(service, tls, !is_loopback(endpoint))
}

/// The same for endpoints that are not known yet: one for those elsewhere, and one for those on this machine.
pub(super) fn clients(
    service: &'static str,
    certificates: Option<&[u8]>,
) -> Result<(reqwest::Client, reqwest::Client), BuildError> {
    let tls = tls(service, certificates)?;
    let direct = build(service, tls.clone(), false)?;
    Ok((build(service, tls, true)?, direct))
}

fn tls(
    service: &'static str,
    certificates: Option<&[u8]>,
) -> Result<rustls::ClientConfig, BuildError> {
    let mut roots = upstream::platform_roots();
    if let Some(pem) = certificates {
        roots = upstream::add_certificates(roots, pem).ok_or_else(|| BuildError::Client {
            service,
            source: "the CA certificates are not readable".into(),
        })?;
    }
    upstream::tls(roots).map_err(|error| BuildError::Client {
        service,
        source: error.into(),
    })
}

fn build(
    service: &'static str,
    tls: rustls::ClientConfig,
    may_use_proxies: bool,
) -> Result<reqwest::Client, BuildError> {
    let mut builder = reqwest::Client::builder();
    builder = if may_use_proxies {
        upstream::behind_system_proxies(builder)
    } else {
        builder.no_proxy()
    };
    builder
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIME_MAX)
        .build()
        .map_err(|error| BuildError::Client {
            service,
            source: error.into(),
        })
}

/// Checks that requests to `endpoint` cannot be read or changed on their way.
pub(super) fn check_endpoint(service: &'static str, endpoint: &Url) -> Result<(), BuildError> {
    let is_bare = endpoint.username().is_empty()
        && endpoint.password().is_none()
        && endpoint.query().is_none()
        && endpoint.fragment().is_none();
    let is_safe = match endpoint.scheme() {
        "https" => endpoint.has_host(),
        "http" => is_loopback(endpoint),
        _ => false,
    };
    if is_bare && is_safe {
        Ok(())
    } else {
        Err(BuildError::Endpoint { service })
    }
}

/// Whether `endpoint` is on this machine.
pub(super) fn is_loopback(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `endpoint` with `segments` after its path.
pub(super) fn url<'a>(endpoint: &Url, segments: impl Iterator<Item = &'a str>) -> Url {
    let mut url = endpoint.clone();
    // Only a URL that cannot have a path has no segments, and `check_endpoint` wants a host.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// `path`, which begins with `/`, under the endpoint.
pub(super) fn under(endpoint: &Url, path: &str) -> Url {
    url(endpoint, path.trim_start_matches('/').split('/'))
}

/// Whom errors are about: the host of `endpoint`, and its port where it is not the scheme's own.
pub(super) fn host(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    match endpoint.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// What a service answered, read to its end.
pub(super) struct Answer {
    pub(super) host: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
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

pub(super) fn malformed(host: &str, reason: impl Into<String>) -> Error {
    Error::Malformed {
        host: host.to_owned(),
        reason: reason.into(),
    }
}

/// Asks for `url`, once.
///
/// # Errors
/// As [`send`].
pub(super) async fn get(
    client: &reqwest::Client,
    url: Url,
    headers: HeaderMap,
    deadline: Instant,
) -> Result<Answer, Error> {
    let mut request = Request::new(Method::GET, url);
    *request.headers_mut() = headers;
    send(client, request, deadline).await
}

/// Sends the request, once. Whatever its status is, an answer is one.
///
/// # Errors
/// [`Error::Unavailable`] when there is no complete answer by the deadline, [`Error::Malformed`] when it is too long.
pub(super) async fn send(
    client: &reqwest::Client,
    request: Request,
    deadline: Instant,
) -> Result<Answer, Error> {
    let host = host(request.url());
    let answer = async {
        let response = client.execute(request).await;
        let response = response.map_err(|error| unreachable(&host, &error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = read(response, &host).await?;
        Ok(Answer {
            host: host.clone(),
            status,
            headers,
            body,
        })
    };
    match timeout_at(deadline, answer).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Error::Unavailable {
            host: host.clone(),
            reason: "it did not answer in time".to_owned(),
        }),
    }
}

async fn read(mut response: reqwest::Response, host: &str) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable(host, &error))?
    {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let reason = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(malformed(host, reason));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The connection failed. The innermost cause says why; the outer ones only say that a request was being sent.
fn unreachable(host: &str, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // Without the URL, which is long and says nothing more.
    let reason = if error.source().is_none() {
        "the request failed".to_owned()
    } else {
        shortened(&cause.to_string())
    };
    Error::Unavailable {
        host: host.to_owned(),
        reason,
    }
}

/// The first characters of what a service says, on one line.
pub(super) fn shortened(message: &str) -> String {
    let message = message.trim();
    let printable = message.chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    let mut short: String = printable.take(MESSAGE_CHARS_MAX).collect();
    if short.len() < message.len() {
        short.push('…');
    }
    short
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Answer")
            .field("host", &self.host)
            .field("status", &self.status)
            // A login's body is a secret.
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
