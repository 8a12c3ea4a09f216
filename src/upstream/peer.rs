//! The hosts that an upstream redirects to: storage, and registries behind a name of the publisher's own.

use http::StatusCode;
use reqwest::Response;
use url::Url;

use super::challenge::Challenge;
use super::clients::{self, Reach};
use super::exchange::{Ask, Fault, request};
use super::host::Host;
use super::token::Grant;
use super::{Error, body, scope};

/// The most tokens that one request fetches for hosts behind redirects.
pub(super) const PEER_TOKENS_MAX: usize = 2;

impl Host {
    /// The client for a host that the upstream named.
    ///
    /// # Errors
    /// When the upstream may not send us to its address.
    pub(super) fn peer_client(&self, url: &Url) -> Result<&reqwest::Client, Fault> {
        let (client, reach) = if is_listed(&self.redirect_hosts, url) {
            (&self.listed_peer, Reach::Listed)
        } else if self.neighbours.are_at(url, &self.base) {
            (&self.public_peer, Reach::Public)
        } else {
            (&self.peer, Reach::Any)
        };
        clients::check_peer_url(url, reach, &self.own_address, &self.proxies)
            .map_err(|error| Fault::definite(self.unexpected(error.to_string())))?;
        Ok(client)
    }

    /// Sends the request to a host that a redirect led to. If that is a registry that wants a token, it gets an
    /// anonymous one of its own token host; the upstream's credentials never go there.
    ///
    /// # Errors
    /// `Denied` in the name of that host when it answers 401 or 403, because the upstream's credentials are not at fault.
    pub(super) async fn ask_peer(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        tokens_left: &mut usize,
    ) -> Result<Response, Fault> {
        let response = self.send_to_peer(ask, url, tokens_left).await?;
        if let (Some(address), false) = (response.remote_addr(), self.proxies.intercept(url))
            && self.neighbours.answered(url, &self.base, address)
            && !is_listed(&self.redirect_hosts, url)
        {
            let reason =
                "it redirects to another upstream of this proxy (`redirect_hosts` allows that)";
            return Err(Fault::definite(self.unexpected(reason)));
        }
        match response.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(self.denied_by_peer(url, status))
            }
            _ => Ok(response),
        }
    }

    async fn send_to_peer(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        tokens_left: &mut usize,
    ) -> Result<Response, Fault> {
        let client = self.peer_client(url)?;
        let Some(repository) = repository_of(url) else {
            return self
                .send_for(ask, client, request(client, ask, url, None))
                .await;
        };
        let key = format!("{} {repository}", url.origin().ascii_serialization());
        let mut held = self.peer_grants.current(&key);
        loop {
            let grant = held.as_ref().map(|held| &*held.grant);
            let response = self
                .send_for(ask, client, request(client, ask, url, grant))
                .await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if let Some(rejected) = grant {
                self.peer_grants.forget(&key, rejected);
            }
            let challenge = Challenge::from_headers(response.headers())
                .filter(|challenge| challenge.is_worth_answering(held.as_ref(), ""));
            let Some(challenge @ Challenge::Bearer { .. }) = challenge else {
                return Ok(response);
            };
            if *tokens_left == 0 {
                return Ok(response);
            }
            *tokens_left -= 1;
            body::drain(response).await;
            let slot = self.peer_grants.slot(&key);
            let obtaining = self.obtain_at_peer(ask, url, repository, &challenge, grant);
            held = Some(slot.renew(grant, obtaining).await?);
        }
    }

    async fn obtain_at_peer(
        &self,
        ask: &Ask<'_>,
        peer: &Url,
        repository: &str,
        challenge: &Challenge,
        rejected: Option<&Grant>,
    ) -> Result<Grant, Fault> {
        let Challenge::Bearer {
            realm,
            service,
            scope,
            ..
        } = challenge
        else {
            return Err(self.denied());
        };
        // Its repository may have another name than the upstream's, so the challenge goes before the name in the URL.
        let mut demanded = scope::requested(scope.as_deref(), "");
        if demanded.is_empty() {
            demanded = scope::requested(None, repository);
        }
        let known = rejected.map_or(&[][..], |rejected| &rejected.scopes);
        let scopes = scope::union(known, demanded);
        let fetched = self
            .fetch_token_of_peer(ask, peer, realm, service.as_deref(), scopes)
            .await;
        fetched.map_err(|fault| {
            if fault.is_denied() {
                self.denied_by_peer(peer, StatusCode::UNAUTHORIZED)
            } else {
                fault
            }
        })
    }

    fn denied_by_peer(&self, peer: &Url, status: StatusCode) -> Fault {
        Fault::definite(Error::Denied {
            host: format!("{}, to which {} redirects,", authority(peer), self.name),
            status: status.as_u16(),
        })
    }
}

/// Returns true if `hosts` has the host of `url`, with its port unless it is the scheme's.
pub(super) fn is_listed(hosts: &[String], url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default();
    let with_port = url
        .port_or_known_default()
        .map(|port| format!("{name}:{port}"));
    hosts.iter().any(|host| {
        let is = |spelling: &str| host.eq_ignore_ascii_case(spelling);
        is(&authority(url)) || with_port.as_deref().is_some_and(is)
    })
}

/// Host, and port unless it is the scheme's.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The repository that a URL of a registry is about. `None` for every other URL, such as one of storage.
fn repository_of(url: &Url) -> Option<&str> {
    let (_, rest) = url.path().split_once("/v2/")?;
    let (rest, _reference) = rest.rsplit_once('/')?;
    let (repository, endpoint) = rest.rsplit_once('/')?;
    matches!(endpoint, "manifests" | "blobs" | "referrers" | "tags").then_some(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_of_a_listed_host_is_exact() {
        for (listed, url, expected) in [
            ("a.io", "https://a.io/", true),
            ("A.io", "https://a.io/", true),
            ("a.io:443", "https://a.io/", true),
            ("a.io:80", "http://a.io/", true),
            ("a.io:443", "http://a.io/", false),
            ("a.io", "https://a.io:8443/", false),
            ("a.io:8443", "https://a.io:8443/", true),
            ("a.io", "https://b.a.io/", false),
            ("a.io", "https://a.io.evil.example/", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(
                is_listed(&[listed.to_owned()], &url),
                expected,
                "{listed} {url}"
            );
        }
    }

    #[test]
    fn tells_registries_from_storage() {
        for (url, expected) in [
            ("https://a.io/v2/org/app/manifests/v1", Some("org/app")),
            (
                "https://a.io/api/docker/x/v2/app/blobs/sha256:1?a=b",
                Some("app"),
            ),
            ("https://a.io/v2/app/tags/list", Some("app")),
            ("https://a.io/v2/a/b/c/referrers/sha256:1", Some("a/b/c")),
            ("https://a.io/v2/", None),
            ("https://a.io/v2/manifests/v1", None),
            ("https://a.io/registry/blobs/sha256/aa/data", None),
            ("https://a.io/v2/org/app/uploads/1", None),
        ] {
            assert_eq!(repository_of(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
