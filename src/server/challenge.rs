//! The challenge of a 401, and the address that it sends clients to for a token.

use http::HeaderValue;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use super::route::TOKEN_PATH;
use crate::clients::{Rejection, Scheme};

/// The address under which clients reach the registry API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicAddress {
    /// Scheme, host and port, if they are configured (`server.public_url`). Otherwise each request says which address
    /// it was sent to.
    pub configured: Option<String>,
    /// The listener speaks TLS.
    pub tls: bool,
}

/// The reason for a 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// There were no credentials.
    Missing,
    /// There was a token for clients without credentials, which does not suffice here.
    Insufficient,
    /// The credentials identify nobody.
    Rejected(Rejection),
}

/// The challenge for passwords (RFC 7617).
pub(super) const BASIC: HeaderValue =
    HeaderValue::from_static("Basic realm=\"countersign\", charset=\"UTF-8\"");

/// The name of this service in challenges. It does not depend on the address, because a token does not either.
const SERVICE: &str = "countersign";

/// The longest `host:port` that is repeated: a name has at most 253 characters.
const AUTHORITY_BYTES_MAX: usize = 260;

/// The value of `WWW-Authenticate` for this request: one challenge, because clients differ in which of several they
/// choose (oras reads the first header alone, Docker needs a password for each `Basic` that it sees).
pub(super) fn challenge(
    scheme: Scheme,
    address: &PublicAddress,
    request: &Parts,
    reason: Reason,
) -> HeaderValue {
    let realm = match scheme {
        Scheme::Basic => None,
        Scheme::Bearer => address.realm(request),
    };
    // Without an address to go to, a password still works.
    realm
        .and_then(|realm| bearer(&realm, request, reason))
        .unwrap_or(BASIC)
}

/// The challenge of the distribution project's token specification, with the errors of RFC 6750 §3.1.
fn bearer(realm: &str, request: &Parts, reason: Reason) -> Option<HeaderValue> {
    let mut text = format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"");
    if let Some(name) = requested_name(request.uri.path()) {
        text.push_str(",scope=\"repository:");
        text.push_str(name);
        text.push_str(":pull\"");
    }
    match reason {
        Reason::Missing | Reason::Rejected(Rejection::Password | Rejection::Unreadable) => {}
        // containerd asks for another token once it reads this, and gives up when that one does not help either.
        Reason::Rejected(Rejection::Token) => text.push_str(",error=\"invalid_token\""),
        Reason::Insufficient => text.push_str(",error=\"insufficient_scope\""),
    }
    HeaderValue::try_from(text).ok()
}

/// The repository as the client spells it, which is how it asks for a token. The path was parsed before.
fn requested_name(path: &str) -> Option<&str> {
    let (rest, _reference) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
    let (name, _endpoint) = rest.rsplit_once('/')?;
    Some(name)
}

impl PublicAddress {
    /// The absolute address of the token endpoint (containerd and go-containerregistry take no relative one), for a
    /// client that sent this request.
    ///
    /// Without a configured address it repeats the host that the client asked for. Only the client itself, or a proxy
    /// that already sees its password, can choose that host. TLS is never taken back: behind a TLS listener the scheme
    /// is `https` whatever the headers say.
    fn realm(&self, request: &Parts) -> Option<String> {
        if let Some(configured) = &self.configured {
            return Some(format!("{configured}{TOKEN_PATH}"));
        }
        let forwarded = |name: &str| {
            let value = request.headers.get(name)?.to_str().ok()?;
            // Each proxy appends what it saw, so the first value is what the client asked for.
            let first = value.split(',').next()?.trim();
            (!first.is_empty()).then_some(first)
        };
        let https = self.tls
            || forwarded("x-forwarded-proto")
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let scheme = if https { "https" } else { "http" };
        let host = forwarded("x-forwarded-host")
            .filter(|host| is_authority(host))
            .or_else(|| requested_host(request))?;
        Some(format!("{scheme}://{host}{TOKEN_PATH}"))
    }
}

fn requested_host(request: &Parts) -> Option<&str> {
    let host = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(HOST)?.to_str().ok()?,
    };
    is_authority(host).then_some(host)
}

/// A host with or without a port, and nothing that could end the quotes around it.
fn is_authority(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    text.len() <= AUTHORITY_BYTES_MAX
        && text.bytes().all(known)
        && text
            .parse::<Authority>()
            .is_ok_and(|authority| !authority.host().is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn realm(address: &PublicAddress, headers: &[(&str, &str)]) -> Option<String> {
        address.realm(&request("/v2/", headers))
    }

    #[test]
    fn realm_is_where_the_client_sent_its_request() {
        let plain = PublicAddress::default();
        let tls = PublicAddress {
            tls: true,
            ..PublicAddress::default()
        };
        for (headers, over_plain, over_tls) in [
            (
                &[("host", "proxy.example")][..],
                "http://proxy.example",
                "https://proxy.example",
            ),
            (
                &[("host", "10.0.0.1:5080")],
                "http://10.0.0.1:5080",
                "https://10.0.0.1:5080",
            ),
            (
                &[("host", "[::1]:5080")],
                "http://[::1]:5080",
                "https://[::1]:5080",
            ),
            (
                &[("host", "proxy.example"), ("x-forwarded-proto", "HTTPS")],
                "https://proxy.example",
                "https://proxy.example",
            ),
            // A header cannot take TLS back.
            (
                &[("host", "proxy.example"), ("x-forwarded-proto", "http")],
                "http://proxy.example",
                "https://proxy.example",
            ),
            (
                &[
                    ("host", "countersign.internal:5080"),
                    ("x-forwarded-proto", "https, http"),
                    ("x-forwarded-host", "images.example:8443, inner"),
                ],
                "https://images.example:8443",
                "https://images.example:8443",
            ),
            (
                &[
                    ("host", "proxy.example"),
                    ("x-forwarded-host", "x\",scope=\"y"),
                ],
                "http://proxy.example",
                "https://proxy.example",
            ),
        ] {
            for (address, expected) in [(&plain, over_plain), (&tls, over_tls)] {
                let expected = format!("{expected}/v2/token");
                assert_eq!(realm(address, headers), Some(expected), "{headers:?}");
            }
        }
        let absolute = request("http://named.example:81/v2/", &[("host", "other.example")]);
        let expected = "http://named.example:81/v2/token";
        assert_eq!(plain.realm(&absolute).as_deref(), Some(expected));
    }

    #[test]
    fn realm_is_the_configured_address_whatever_the_request_says() {
        let address = PublicAddress {
            configured: Some("https://images.example".to_owned()),
            tls: false,
        };
        for headers in [
            &[("host", "10.0.0.1")][..],
            &[],
            &[("host", "a"), ("x-forwarded-host", "b")],
        ] {
            let expected = "https://images.example/v2/token";
            assert_eq!(realm(&address, headers).as_deref(), Some(expected));
        }
    }

    #[test]
    fn host_that_is_none_leads_to_a_basic_challenge() {
        let long = "a".repeat(AUTHORITY_BYTES_MAX + 1);
        for host in [
            "",
            "a\"b",
            "user@host",
            "a/b",
            "a b",
            ":5080",
            long.as_str(),
        ] {
            let request = request("/v2/", &[("host", host)]);
            let address = PublicAddress::default();
            let challenge = challenge(Scheme::Bearer, &address, &request, Reason::Missing);
            assert_eq!(challenge, BASIC, "{host}");
        }
    }

    #[test]
    fn challenge_names_repository_and_error() {
        let name = "up/org/app";
        let tags = format!("/v2/{name}/tags/list?n=5");
        let manifest = format!("/v2/{name}/manifests/v1?ns=ghcr.io");
        for (target, reason, rest) in [
            ("/v2/", Reason::Missing, ""),
            (
                "/v2/",
                Reason::Rejected(Rejection::Token),
                ",error=\"invalid_token\"",
            ),
            ("/v2/", Reason::Rejected(Rejection::Password), ""),
            (
                tags.as_str(),
                Reason::Missing,
                ",scope=\"repository:up/org/app:pull\"",
            ),
            (
                manifest.as_str(),
                Reason::Insufficient,
                ",scope=\"repository:up/org/app:pull\",error=\"insufficient_scope\"",
            ),
        ] {
            let request = request(target, &[("host", "h")]);
            let challenge = challenge(Scheme::Bearer, &PublicAddress::default(), &request, reason);
            let expected =
                format!("Bearer realm=\"http://h/v2/token\",service=\"countersign\"{rest}");
            assert_eq!(challenge, expected.as_str(), "{target}");
        }
    }
}
