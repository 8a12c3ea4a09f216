//! `azurekms://`: keys in Azure Key Vault and Managed HSM.

mod answer;
mod identity;
mod key_id;
mod transport;

use std::sync::Arc;

use azure_core::http::Transport;
use futures::FutureExt as _;
use http::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::rest;
use super::versions::{self, Refusal};
use super::wire::Wire;
use super::{BuildError, Error, KeyService, Reference};
use crate::policy::KeyVersion;
use answer::{Bundle, Expected, Page};
use identity::Identities;

pub use identity::Settings;
pub use key_id::{KeyId, parse};

const SERVICE: &str = "Azure Key Vault";

const API_VERSION: &str = "7.4";

/// Pages of a list of versions that are read. A page has 25 versions.
const PAGES_MAX: usize = 20;

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
            Some(version) => match session.version(version).await {
                Ok(version) => Ok(vec![version]),
                Err(refusal) => Err(refusal.into_error()),
            },
            None => session.versions().await,
        }
    }

    fn is_fixed(&self, reference: &Reference) -> bool {
        parse(reference.as_str()).is_ok_and(|key| key.version().is_some())
    }
}

impl Session<'_> {
    async fn version(&self, version: &str) -> Result<KeyVersion, Refusal> {
        let path = format!("/keys/{}/{version}", self.expected.key.name());
        let bundle: Bundle = self.get(&path, None).await.map_err(|error| match error {
            Error::NotFound { .. } => Refusal::Disabled(error),
            Error::Credentials { .. }
            | Error::Denied { .. }
            | Error::Unavailable { .. }
            | Error::Malformed { .. } => Refusal::Failed(error),
        })?;
        let host = rest::host(&self.endpoint);
        let key = bundle.check(&self.expected, version, crate::clock::now(), &host)?;
        Ok(KeyVersion {
            version: Some(version.to_owned()),
            key,
        })
    }

    /// Every version that may be used now, the newest first by the time it was made.
    async fn versions(&self) -> Result<Vec<KeyVersion>, Error> {
        let mut usable = self.list().await?;
        usable.sort_by(|(left, _), (right, _)| right.cmp(left));
        let key = self.expected.key;
        let key = format!("{}/{}", key.host(), key.name());
        let newest = versions::newest(&key, usable).into_iter();
        let asking = newest.map(|(_, version)| {
            async move {
                let asked = self.version(&version).await;
                (version, asked)
            }
            .boxed()
        });
        let none = Error::NotFound {
            host: rest::host(&self.endpoint),
            message: "no version of the key is enabled and within its time".to_owned(),
        };
        versions::that_vouch(&key, asking.collect(), none).await
    }

    /// The versions that may be used now, with the time each was made.
    async fn list(&self) -> Result<Vec<(i64, String)>, Error> {
        let host = rest::host(&self.endpoint);
        let path = format!("/keys/{}/versions", self.expected.key.name());
        let mut usable = Vec::new();
        let mut query = None;
        for _ in 0..PAGES_MAX {
            let page: Page = self.get(&path, query.as_deref()).await?;
            let next = page.next_query(&self.expected, &path, &host)?;
            usable.extend(page.usable(&self.expected, crate::clock::now(), &host)?);
            if next.is_none() {
                return Ok(usable);
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

#[cfg(test)]
mod tests;
