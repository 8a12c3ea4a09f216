//! The hosts that an upstream redirects to: storage, and registries behind a name of the publisher's own.

use http::StatusCode;
use reqwest::Response;
use url::Url;

use super::challenge::Challenge;
use super::clients::{self, Reach};
use super::exchange::{Ask, Fault, request};
use super::host::Host;
use super::token::Grant;
use super::{body, scope};

/// Tokens that the hosts behind the redirects of one request may make us fetch.
pub(super) const PEER_TOKENS_MAX: usize = 2;

impl Host {
    /// The client for a host that the upstream named.
    ///
    /// # Errors
    /// When the upstream may not send us to its address.
    pub(super) fn peer_client(&self, url: &Url) -> Result<&reqwest::Client, Fault> {
        let is_listed = self
            .redirect_hosts
            .iter()
            .any(|host| host.eq_ignore_ascii_case(&authority(url)));
        let (client, reach) = if is_listed {
            (&self.listed_peer, Reach::Listed)
        } else {
            (&self.peer, Reach::Any)
        };
        clients::check_peer_url(url, reach, &self.own_address, &self.proxies)
            .map_err(|error| Fault::definite(self.unexpected(error.to_string())))?;
        Ok(client)
    }

    /// Sends the request to a host that a redirect led to. If that is a registry that wants a token, it gets an
    /// anonymous one of its own token host; the upstream's credentials never go there.
    pub(super) async fn ask_peer(
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
        self.fetch_token_of_peer(ask.purpose, peer, realm, service.as_deref(), scopes)
            .await
    }
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
