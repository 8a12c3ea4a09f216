//! The names of the admin listener, against web pages that misuse an operator's browser.
//!
//! The listener answers on loopback without a token. A page whose own name is made to resolve to 127.0.0.1 (DNS
//! rebinding) could read the answers, so every request must name this listener as its `Host`: a name of the page's own
//! is refused. A page can send a `POST` to any address without reading the answer, so a request that changes something
//! must not come from another origin.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State as Extract};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use url::Url;

use super::Admin;

/// The configured names of the admin listener. Addresses and `localhost` need no configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Host names, in any letter case.
    pub hosts: Vec<String>,
    /// Scheme, host and port under which browsers reach the listener through a proxy that changes `Host`.
    pub console_url: Option<String>,
}

const MISDIRECTED: &str = "this listener has no such name: ask for it by address or as localhost, or add the name to \
                           `server.admin_hosts`\n";
const FOREIGN_ORIGIN: &str =
    "requests that change something are taken from pages of this listener only\n";

/// Answers 421 to a request for another host, and 403 to a change that another origin asks for.
pub(super) async fn guard(
    Extract(admin): Extract<Admin>,
    request: Request,
    next: Next,
) -> Response {
    let names = &admin.inner.names;
    if !names.include_host_of(&request) {
        return (StatusCode::MISDIRECTED_REQUEST, MISDIRECTED).into_response();
    }
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if changes && !names.include_origin_of(request.headers()) {
        return (StatusCode::FORBIDDEN, FOREIGN_ORIGIN).into_response();
    }
    next.run(request).await
}

impl Names {
    /// Returns true when the request names this listener. Programs that speak HTTP/1.0 may name no host, as load
    /// balancers' probes do; a browser always names one.
    fn include_host_of(&self, request: &Request) -> bool {
        let authority = request.uri().authority();
        let named = match single(request.headers(), &HOST) {
            Ok(Some(host)) => self.include(host),
            Ok(None) => authority.is_some() || request.version() <= Version::HTTP_10,
            Err(Unreadable) => false,
        };
        named && authority.is_none_or(|authority| self.include(authority.as_str()))
    }

    fn include(&self, text: &str) -> bool {
        let Ok(authority) = text.parse::<Authority>() else {
            return false;
        };
        if text.contains('@') {
            return false;
        }
        let host = authority.host();
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']');
            return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        host.parse::<Ipv4Addr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|name| host.eq_ignore_ascii_case(name))
    }

    /// Returns true when there is no `Origin`, as from programs, or when it is this listener's.
    fn include_origin_of(&self, headers: &HeaderMap) -> bool {
        let origin = match single(headers, &ORIGIN) {
            Ok(None) => return true,
            Ok(Some(origin)) => Url::parse(origin),
            Err(Unreadable) => return false,
        };
        let Ok(origin) = origin else { return false };
        let host = single(headers, &HOST).ok().flatten();
        let own = host.map(|host| format!("{}://{host}", origin.scheme()));
        let mut own = own
            .as_deref()
            .into_iter()
            .chain(self.console_url.as_deref());
        let origin = origin.origin();
        origin.is_tuple() && own.any(|own| Url::parse(own).is_ok_and(|own| own.origin() == origin))
    }
}

/// A header that is no text, or that stands there twice.
struct Unreadable;

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Unreadable);
    }
    value.to_str().map(Some).map_err(|_not_text| Unreadable)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn names() -> Names {
        Names {
            hosts: vec!["countersign.monitoring.svc".to_owned()],
            console_url: Some("https://console.example".to_owned()),
        }
    }

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request {
        let mut request = http::Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn address_localhost_and_configured_names_pass() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:5081",
            "10.1.2.3:8080",
            "[::1]:5081",
            "[fd00::1]",
            "localhost",
            "LOCALHOST:5081",
            "localhost.",
            "countersign.monitoring.svc:5081",
            "Countersign.Monitoring.svc.",
        ] {
            let request = request(Version::HTTP_11, "/metrics", &[host]);
            assert!(names().include_host_of(&request), "{host}");
        }
    }

    #[test]
    fn every_other_host_is_refused() {
        for host in [
            "",
            "evil.example",
            "evil.example:5081",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "2130706433",
            "127.1",
            "[localhost]",
            "[::1",
            "countersign.monitoring",
            "x.countersign.monitoring.svc",
            "localhost..",
            "localhost/",
        ] {
            let request = request(Version::HTTP_11, "/metrics", &[host]);
            assert!(!names().include_host_of(&request), "{host}");
        }
        let twice = request(Version::HTTP_11, "/", &["localhost", "evil.example"]);
        assert!(!names().include_host_of(&twice));
    }

    #[test]
    fn host_and_request_line_must_both_name_the_listener() {
        for (target, host, passes) in [
            ("http://127.0.0.1/metrics", "127.0.0.1", true),
            ("http://127.0.0.1/metrics", "evil.example", false),
            ("http://evil.example/metrics", "127.0.0.1", false),
        ] {
            let request = request(Version::HTTP_11, target, &[host]);
            assert_eq!(names().include_host_of(&request), passes, "{target} {host}");
        }
        // In HTTP/2 the request line alone names it.
        for (target, passes) in [
            ("http://[::1]:5081/", true),
            ("http://evil.example/", false),
        ] {
            let request = request(Version::HTTP_2, target, &[]);
            assert_eq!(names().include_host_of(&request), passes, "{target}");
        }
    }

    #[test]
    fn only_http_1_0_may_name_no_host() {
        for (version, passes) in [(Version::HTTP_10, true), (Version::HTTP_11, false)] {
            let request = request(version, "/readyz", &[]);
            assert_eq!(names().include_host_of(&request), passes, "{version:?}");
        }
    }

    #[test]
    fn origin_must_be_the_listeners() {
        for (host, origin, passes) in [
            ("127.0.0.1:5081", None, true),
            ("127.0.0.1:5081", Some("http://127.0.0.1:5081"), true),
            ("127.0.0.1", Some("http://127.0.0.1"), true),
            ("127.0.0.1", Some("http://127.0.0.1:80"), true),
            (
                "countersign.monitoring.svc",
                Some("https://countersign.monitoring.svc"),
                true,
            ),
            ("10.0.0.1:5081", Some("https://console.example"), true),
            ("127.0.0.1:5081", Some("http://127.0.0.1:5080"), false),
            ("127.0.0.1:5081", Some("http://127.0.0.1"), false),
            ("127.0.0.1:5081", Some("https://evil.example"), false),
            ("127.0.0.1:5081", Some("http://console.example"), false),
            ("127.0.0.1:5081", Some("null"), false),
            ("127.0.0.1:5081", Some(""), false),
            ("127.0.0.1:5081", Some("file://127.0.0.1:5081"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(
                names().include_origin_of(&headers),
                passes,
                "{host} {origin:?}"
            );
        }
    }
}
