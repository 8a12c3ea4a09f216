//! The connections that go through an HTTP proxy: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, and their exceptions in
//! `NO_PROXY`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use ipnet::IpNet;
use url::{Host, Url};

use super::config::Proxy;

/// The proxies, and the hosts that need none.
#[derive(Clone)]
pub(super) struct Proxies {
    matcher: Arc<Matcher>,
    exceptions: Arc<[Exception]>,
    /// The proxies' own hosts, which the operator configured and which may be anywhere.
    hosts: Arc<[String]>,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Hosts {
    All,
    Address(IpAddr),
    Network(IpNet),
    /// This name in lower case, and every name below it.
    Domain(String),
}

/// Lets a client use the proxies that the environment names, with the exceptions in `NO_PROXY`.
pub(crate) fn behind_system_proxies(client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    Proxies::new(&Proxy::System).apply(client)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the HTTP library reads the proxies themselves from the environment, too"
)]
fn no_proxy_in_environment() -> String {
    let set = ["NO_PROXY", "no_proxy"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    set.unwrap_or_default()
}

impl Proxies {
    pub(super) fn new(proxy: &Proxy) -> Self {
        let (matcher, no_proxy) = match proxy {
            Proxy::System => (Matcher::from_system(), no_proxy_in_environment()),
            Proxy::Explicit {
                http,
                https,
                no_proxy,
            } => {
                let text = |url: &Option<Url>| url.as_ref().map(Url::to_string).unwrap_or_default();
                let matcher = Matcher::builder()
                    .http(text(http))
                    .https(text(https))
                    .no(no_proxy.clone())
                    .build();
                (matcher, no_proxy.clone())
            }
        };
        let any = [
            Uri::from_static("http://a.invalid"),
            Uri::from_static("https://a.invalid"),
        ];
        let hosts = any
            .iter()
            .filter_map(|uri| matcher.intercept(uri)?.uri().host().map(str::to_owned))
            .collect();
        Self {
            matcher: Arc::new(matcher),
            exceptions: no_proxy
                .split([',', ' ', '\t'])
                .filter_map(Exception::parse)
                .collect(),
            hosts,
        }
    }

    /// Lets a client use these proxies, whatever the environment says.
    pub(super) fn apply(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        let client = client.no_proxy();
        if self.hosts.is_empty() {
            return client;
        }
        let proxies = self.clone();
        client.proxy(reqwest::Proxy::custom(move |url| {
            proxy_url(&proxies.find(url)?)
        }))
    }

    /// Returns true if a connection to `url` goes through a proxy.
    pub(super) fn intercept(&self, url: &Url) -> bool {
        self.find(url).is_some()
    }

    /// Returns true if `host` is the name of a proxy.
    pub(super) fn is_proxy(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|proxy| proxy.eq_ignore_ascii_case(host))
    }

    fn find(&self, url: &Url) -> Option<Intercept> {
        if self
            .exceptions
            .iter()
            .any(|exception| exception.covers(url))
        {
            return None;
        }
        self.matcher.intercept(&url.as_str().parse().ok()?)
    }
}

/// The address of a proxy with its user and password, which the matcher keeps apart.
fn proxy_url(proxy: &Intercept) -> Option<Url> {
    let mut url = Url::parse(&proxy.uri().to_string()).ok()?;
    let basic = proxy.basic_auth().and_then(|header| {
        let encoded = header.to_str().ok()?.strip_prefix("Basic ")?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    });
    if let Some((username, password)) = basic.as_deref().and_then(|basic| basic.split_once(':')) {
        url.set_username(username).ok()?;
        url.set_password(Some(password)).ok()?;
    }
    Some(url)
}

impl Exception {
    /// Reads an entry as Go does (`golang.org/x/net/http/httpproxy`): a name, an address or a network in CIDR notation,
    /// each with a port if only that port is meant, where an IPv6 address stands in brackets. A name includes those
    /// below it, with `.` or `*.` before it or without. `None` for an entry that is none of these.
    fn parse(entry: &str) -> Option<Self> {
        if let Ok(network) = entry.parse() {
            return Some(Self {
                hosts: Hosts::Network(network),
                port: None,
            });
        }
        let (host, port) = match entry.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                match rest.strip_prefix(':') {
                    Some(port) => (address, Some(port)),
                    None if rest.is_empty() => (address, None),
                    None => return None,
                }
            }
            None => match entry.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (entry, None),
            },
        };
        let port = match port {
            Some(port) => Some(port.parse().ok()?),
            None => None,
        };
        let hosts = Hosts::parse(host)?;
        Some(Self { hosts, port })
    }

    fn covers(&self, url: &Url) -> bool {
        let is_port = self.port.is_none() || self.port == url.port_or_known_default();
        is_port
            && match (&self.hosts, url.host()) {
                (Hosts::All, Some(_)) => true,
                (Hosts::Address(address), Some(Host::Ipv4(host))) => *address == host,
                (Hosts::Address(address), Some(Host::Ipv6(host))) => *address == host,
                (Hosts::Network(network), Some(Host::Ipv4(host))) => {
                    network.contains(&IpAddr::from(host))
                }
                (Hosts::Network(network), Some(Host::Ipv6(host))) => {
                    network.contains(&IpAddr::from(host))
                }
                (Hosts::Domain(domain), Some(Host::Domain(host))) => is_within(host, domain),
                (Hosts::Domain(_), Some(Host::Ipv4(_) | Host::Ipv6(_)))
                | (Hosts::Address(_) | Hosts::Network(_), Some(Host::Domain(_)))
                | (_, None) => false,
            }
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = text.parse() {
            return Some(Self::Network(network));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let domain = text.strip_prefix('*').unwrap_or(text);
        let domain = domain.trim_start_matches('.').trim_end_matches('.');
        let is_name = !domain.is_empty() && !domain.contains(['*', '/', ':', '@']);
        is_name.then(|| Self::Domain(domain.to_ascii_lowercase()))
    }
}

/// Returns true if `host` is `domain` or below it.
fn is_within(host: &str, domain: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Proxies")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_direct(no_proxy: &str, url: &str) -> bool {
        let proxy = Proxy::Explicit {
            http: Some("http://proxy.example:3128".parse().unwrap()),
            https: Some("http://proxy.example:3128".parse().unwrap()),
            no_proxy: no_proxy.to_owned(),
        };
        !Proxies::new(&proxy).intercept(&url.parse().unwrap())
    }

    #[test]
    fn exceptions_may_name_a_port() {
        for (no_proxy, url, expected) in [
            ("registry.corp:5000", "https://registry.corp:5000/v2/", true),
            ("registry.corp:5000", "https://registry.corp/v2/", false),
            (
                "registry.corp:5000",
                "https://registry.corp:5001/v2/",
                false,
            ),
            ("registry.corp:443", "https://registry.corp/v2/", true),
            ("registry.corp:443", "http://registry.corp/v2/", false),
            ("registry.corp:80", "http://registry.corp/v2/", true),
            ("Registry.Corp:5000", "https://registry.corp:5000/", true),
            ("corp:5000", "https://registry.corp:5000/", true),
            (".corp:5000", "https://registry.corp:5000/", true),
            ("*.corp:5000", "https://a.registry.corp:5000/", true),
            ("corp:5000", "https://registrycorp:5000/", false),
            ("10.1.2.3:5000", "http://10.1.2.3:5000/", true),
            ("10.1.2.3:5000", "http://10.1.2.3:5001/", false),
            ("10.0.0.0/8:5000", "http://10.1.2.3:5000/", true),
            ("10.0.0.0/8:5000", "http://11.1.2.3:5000/", false),
            ("[fd00::1]:5000", "http://[fd00::1]:5000/", true),
            ("[fd00::1]:5000", "http://[fd00::1]/", false),
            ("*:5000", "http://anything.example:5000/", true),
            ("registry.corp:many", "https://registry.corp/", false),
            (":5000", "https://registry.corp:5000/", false),
        ] {
            assert_eq!(is_direct(no_proxy, url), expected, "{no_proxy}: {url}");
        }
    }

    #[test]
    fn exceptions_without_port_are_names_addresses_and_networks() {
        for (no_proxy, url, expected) in [
            ("", "https://ghcr.io/", false),
            ("*", "https://ghcr.io/", true),
            ("ghcr.io", "https://ghcr.io/", true),
            ("ghcr.io", "https://pkg.ghcr.io:8443/", true),
            ("ghcr.io", "https://notghcr.io/", false),
            (".ghcr.io", "https://ghcr.io/", true),
            ("*.ghcr.io", "https://pkg.ghcr.io/", true),
            ("a.example, ghcr.io", "https://ghcr.io/", true),
            ("a.example ghcr.io\tb.example", "https://ghcr.io/", true),
            ("10.0.0.0/8", "http://10.1.2.3:5000/", true),
            ("10.0.0.0/8", "http://192.168.0.1/", false),
            ("fd00::/8", "http://[fd12::1]:5000/", true),
            ("[fd12::1]", "http://[fd12::1]:5000/", true),
            ("fd12::1", "http://[fd12::1]/", true),
            ("ghcr.io.", "https://ghcr.io/", true),
            ("*hcr.io", "https://ghcr.io/", false),
        ] {
            assert_eq!(is_direct(no_proxy, url), expected, "{no_proxy}: {url}");
        }
    }

    #[test]
    fn proxy_keeps_its_user_and_password() {
        let proxy = Proxy::Explicit {
            http: Some("http://us%40er:pa%3Ass@proxy.example:3128".parse().unwrap()),
            https: None,
            no_proxy: String::new(),
        };
        let proxies = Proxies::new(&proxy);
        let found = proxies.find(&"http://ghcr.io/".parse().unwrap()).unwrap();
        let url = proxy_url(&found).unwrap();
        assert_eq!(url.as_str(), "http://us%40er:pa%3Ass@proxy.example:3128/");
        assert!(proxies.find(&"https://ghcr.io/".parse().unwrap()).is_none());
    }
}
