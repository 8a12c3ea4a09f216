//! `azurekms://`: keys in Azure Key Vault and Managed HSM.

mod answer;
mod identity;
mod key_id;
mod transport;

use std::sync::Arc;

use azure_core::http::Transport;
use futures::{StreamExt as _, TryStreamExt as _};
use http::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::rest;
use super::wire::Wire;
use super::{BuildError, Error, KeyService, Reference, VERSIONS_MAX};
use crate::policy::KeyVersion;
use answer::{Bundle, Expected, Page};
use identity::Identities;

pub use identity::Settings;
pub use key_id::{KeyId, parse};

const SERVICE: &str = "Azure Key Vault";

const API_VERSION: &str = "7.4";

/// Pages of a list of versions that are read. A page has 25 versions.
const PAGES_MAX: usize = 20;

/// Versions of one key that are asked for at once.
const REQUESTS_AT_ONCE_MAX: usize = 4;

/// Azure Key Vault in all clouds.
#[derive(Debug)]
pub struct KeyVault {
    wire: Wire,
    endpoint: Option<Url>,
    identities: Identities,
}

/// The name by which the other key services' types go, too.
pub type Kms = KeyVault;

/// Where one key is asked for, and with which token.
struct Session<'a> {
    wire: &'a Wire,
    expected: Expected<'a>,
    endpoint: Url,
    token: Option<HeaderValue>,
    deadline: Instant,
}

impl KeyVault {
    /// Finds credentials where the vendor's tools do; see [`Settings::from_environment`]. `endpoint` takes the place of
    /// every vault's own address.
    ///
    /// # Errors
    /// When the endpoint is neither `https` nor on this machine, or no HTTP client can be made.
    pub fn new(endpoint: Option<Url>) -> Result<Self, BuildError> {
        Self::with_settings(endpoint, Settings::from_environment())
    }

    /// Like [`Self::new`], with these settings.
    ///
    /// # Errors
    /// Like [`Self::new`].
    pub fn with_settings(endpoint: Option<Url>, settings: Settings) -> Result<Self, BuildError> {
        let wire = Wire::new(SERVICE, None)?;
        let transport = transport::Bounded::new(wire.client().clone())?;
        let transport = Transport::new(Arc::new(transport));
        Self::with_transport(endpoint, settings, wire, transport)
    }

    fn with_transport(
        endpoint: Option<Url>,
        settings: Settings,
        wire: Wire,
        transport: Transport,
    ) -> Result<Self, BuildError> {
        let endpoint = endpoint
            .map(|url| rest::check_endpoint(SERVICE, &url).map(|()| url))
            .transpose()?;
        Ok(Self {
            wire,
            endpoint,
            identities: Identities::new(settings, transport),
        })
    }

    async fn session<'a>(
        &'a self,
        key: &'a KeyId,
        deadline: Instant,
    ) -> Result<Session<'a>, Error> {
        let is_local = self.endpoint.as_ref().is_some_and(rest::is_loopback);
        let token = match is_local && !self.identities.is_any_named() {
            true => None,
            false => Some(self.identities.token(key.cloud(), deadline).await?),
        };
        let endpoint = self.endpoint.clone();
        Ok(Session {
            wire: &self.wire,
            expected: Expected {
                key,
                endpoint: self.endpoint.as_ref(),
            },
            endpoint: endpoint.unwrap_or_else(|| key.vault_url()),
            token,
            deadline,
        })
    }
}

#[async_trait::async_trait]
impl KeyService for KeyVault {
    async fn fetch(
        &self,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<Vec<KeyVersion>, Error> {
        let key = parse(reference.as_str()).map_err(|error| Error::NotFound {
            host: SERVICE.to_owned(),
            message: error.to_string(),
        })?;
        let session = self.session(&key, deadline).await?;
        match key.version() {
            Some(version) => Ok(vec![session.version(version).await?]),
            None => session.versions().await,
        }
    }

    fn is_fixed(&self, reference: &Reference) -> bool {
        parse(reference.as_str()).is_ok_and(|key| key.version().is_some())
    }
}

impl Session<'_> {
    async fn version(&self, version: &str) -> Result<KeyVersion, Error> {
        let path = format!("/keys/{}/{version}", self.expected.key.name());
        let bundle: Bundle = self.get(&path, None).await?;
        let host = rest::host(&self.endpoint);
        let key = bundle.check(&self.expected, version, crate::clock::now(), &host)?;
        Ok(KeyVersion {
            version: Some(version.to_owned()),
            key,
        })
    }

    /// Every version that may be used now, the newest first.
    async fn versions(&self) -> Result<Vec<KeyVersion>, Error> {
        let newest = self.list().await?;
        futures::stream::iter(newest)
            .map(|version| async move { self.version(&version).await })
            .buffered(REQUESTS_AT_ONCE_MAX)
            .try_collect()
            .await
    }

    async fn list(&self) -> Result<Vec<String>, Error> {
        let host = rest::host(&self.endpoint);
        let path = format!("/keys/{}/versions", self.expected.key.name());
        let mut usable = Vec::new();
        let mut query = None;
        for _ in 0..PAGES_MAX {
            let page: Page = self.get(&path, query.as_deref()).await?;
            let next = page.next_query(&self.expected, &path, &host)?;
            usable.extend(page.usable(&self.expected, crate::clock::now(), &host)?);
            if next.is_none() {
                return newest(usable, host);
            }
            query = next;
        }
        Err(rest::malformed(
            &host,
            format!("the list of versions has more than {PAGES_MAX} pages"),
        ))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Option<&str>) -> Result<T, Error> {
        let mut url = rest::under(&self.endpoint, path);
        match query {
            Some(query) => url.set_query(Some(query)),
            None => drop(
                url.query_pairs_mut()
                    .append_pair("api-version", API_VERSION),
            ),
        }
        let mut request = Request::new(Method::GET, url);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let answer = self.wire.send(request, self.deadline).await?;
        if !answer.is_success() {
            return Err(answer::error(&answer));
        }
        answer.json()
    }
}

/// The newest versions by the time they were made, of which at most [`VERSIONS_MAX`] vouch.
fn newest(mut usable: Vec<(i64, String)>, host: String) -> Result<Vec<String>, Error> {
    if usable.is_empty() {
        return Err(Error::NotFound {
            host,
            message: "no version of the key is enabled and within its time".to_owned(),
        });
    }
    usable.sort_by(|(left, _), (right, _)| right.cmp(left));
    usable.truncate(VERSIONS_MAX);
    Ok(usable.into_iter().map(|(_, version)| version).collect())
}

#[cfg(test)]
mod tests;
