//! `hashivault://`: keys in the transit engine of Vault and its kin.

mod answer;
mod key_id;
mod settings;

use http::header::{HeaderName, HeaderValue};
use reqwest::{Method, Request};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};
use url::Url;

use super::rest::{self, Answer};
use super::wire::Wire;
use super::{BuildError, Error, KeyService, Reference};
use crate::policy::KeyVersion;
use crate::secret::Secret;
use answer::{Login, TransitKey};

pub use key_id::{KeyId, parse};
pub use settings::{KubernetesLogin, Settings};

const SERVICE: &str = "Vault";

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault's guard against requests that a browser or proxy was tricked into.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The transit engine of one Vault.
#[derive(Debug)]
pub struct Transit {
    wire: Wire,
    address: Option<Url>,
    settings: Settings,
    login: Mutex<Option<LoggedIn>>,
}

/// The name by which the other key services' types go, too.
pub type Kms = Transit;

/// A token that a login gave.
#[derive(Debug, Clone)]
struct LoggedIn {
    token: Secret,
    until: Instant,
}

impl Transit {
    /// Finds address and credentials in the environment; see [`Settings::from_environment`]. `endpoint` takes the place
    /// of `VAULT_ADDR`.
    ///
    /// # Errors
    /// When the address is neither `https` nor on this machine, or no HTTP client can be made.
    pub fn new(endpoint: Option<Url>) -> Result<Self, BuildError> {
        Self::with_settings(endpoint, Settings::from_environment())
    }

    /// Like [`Self::new`], with these settings.
    ///
    /// # Errors
    /// Like [`Self::new`].
    pub fn with_settings(endpoint: Option<Url>, settings: Settings) -> Result<Self, BuildError> {
        let configured = settings.address.as_deref().map(|address| {
            Url::parse(address).map_err(|_invalid| BuildError::Endpoint { service: SERVICE })
        });
        let address = match endpoint {
            Some(endpoint) => Some(endpoint),
            None => configured.transpose()?,
        };
        let address = address
            .map(|url| rest::check_endpoint(SERVICE, &url).map(|()| url))
            .transpose()?;
        let roots = settings.ca_file.as_ref().map(std::fs::read).transpose();
        let roots = roots.map_err(|error| BuildError::Client {
            service: SERVICE,
            source: error.into(),
        })?;
        Ok(Self {
            wire: Wire::new(SERVICE, roots.as_deref())?,
            address,
            settings,
            login: Mutex::new(None),
        })
    }

    fn address(&self) -> Result<&Url, Error> {
        self.address.as_ref().ok_or_else(|| Error::Unavailable {
            host: SERVICE.to_owned(),
            reason: "its address is not known: set VAULT_ADDR or key_providers.hashivault.endpoint"
                .to_owned(),
        })
    }
}

#[async_trait::async_trait]
impl KeyService for Transit {
    async fn fetch(
        &self,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<Vec<KeyVersion>, Error> {
        let key = parse(reference.as_str()).map_err(|error| Error::NotFound {
            host: SERVICE.to_owned(),
            message: error.to_string(),
        })?;
        let token = self.token(deadline).await?;
        let mut answer = self.read(&key, token, deadline).await?;
        if answer.status == 403 && self.settings.kubernetes_login().is_some() {
            // Logins can be revoked before their lease ends.
            *self.login.lock().await = None;
            let token = self.token(deadline).await?;
            answer = self.read(&key, token, deadline).await?;
        }
        if !answer.is_success() {
            return Err(answer::error(&answer, &self.key_path(&key)));
        }
        let transit_key: TransitKey = answer.json()?;
        transit_key.versions(key.name(), &answer.host)
    }
}

impl Transit {
    fn key_path(&self, key: &KeyId) -> String {
        format!("{}/keys/{}", self.settings.mount(), key.name())
    }

    async fn read(
        &self,
        key: &KeyId,
        token: Option<Secret>,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let url = rest::under(self.address()?, &format!("/v1/{}", self.key_path(key)));
        let mut request = self.request(Method::GET, url)?;
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose())
                .map_err(|_invalid| refused("the token is not one line of text"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(TOKEN, value);
        }
        self.wire.send(request, deadline).await
    }

    fn request(&self, method: Method, url: Url) -> Result<Request, Error> {
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.settings.namespace {
            let value = HeaderValue::from_str(namespace)
                .map_err(|_invalid| refused("VAULT_NAMESPACE is not one line of text"))?;
            headers.insert(NAMESPACE, value);
        }
        Ok(request)
    }

    /// The token to send; none for a Vault on this machine that asks for none, such as its agent.
    async fn token(&self, deadline: Instant) -> Result<Option<Secret>, Error> {
        if let Some(token) = &self.settings.token {
            return Ok(Some(token.clone()));
        }
        if let Some(kubernetes) = self.settings.kubernetes_login() {
            return self.logged_in(kubernetes, deadline).await.map(Some);
        }
        if let Some(file) = &self.settings.token_file
            && tokio::fs::try_exists(file).await.unwrap_or(false)
        {
            return read_token(file).await.map(Some);
        }
        if rest::is_loopback(self.address()?) {
            return Ok(None);
        }
        Err(refused(
            "set VAULT_TOKEN, log in with VAULT_K8S_ROLE, or write ~/.vault-token",
        ))
    }

    /// The token of the Kubernetes auth method. Who comes while a login is under way waits for it.
    async fn logged_in(
        &self,
        kubernetes: &KubernetesLogin,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        let mut login = self.login.lock().await;
        if let Some(known) = login.as_ref().filter(|known| Instant::now() < known.until) {
            return Ok(known.token.clone());
        }
        *login = None;
        let jwt = read_token(&kubernetes.token_file).await?;
        let path = format!("/v1/auth/{}/login", kubernetes.mount);
        let mut request = self.request(Method::POST, rest::under(self.address()?, &path))?;
        let body = json!({ "role": kubernetes.role, "jwt": jwt.expose() });
        *request.body_mut() = Some(body.to_string().into());
        let json = HeaderValue::from_static("application/json");
        request
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, json);
        let asked_at = Instant::now();
        let answer = self.wire.send(request, deadline).await?;
        if !answer.is_success() {
            let said = answer::errors(&answer);
            let role = &kubernetes.role;
            return Err(refused(&format!(
                "the login as role {role} at auth/{} failed ({}): {said}",
                kubernetes.mount, answer.status
            )));
        }
        // What cannot be parsed is not repeated: it can hold the token.
        let Ok(Login { auth }) = serde_json::from_slice(&answer.body) else {
            return Err(answer.malformed("the login gave no token"));
        };
        let lease = Duration::from_secs(auth.lease_duration);
        let token = Secret::new(auth.client_token);
        *login = Some(LoggedIn {
            token: token.clone(),
            // Renewed early: a token that ends on its way is refused.
            until: asked_at + lease.min(LEASE_MAX) * 2 / 3,
        });
        Ok(token)
    }
}

/// Longer leases are not relied on.
const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The one token in a file.
async fn read_token(file: &std::path::Path) -> Result<Secret, Error> {
    use tokio::io::AsyncReadExt as _;
    let read = async {
        let mut text = String::new();
        let opened = tokio::fs::File::open(file).await?;
        opened
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .await?;
        std::io::Result::Ok(text)
    };
    let text = read
        .await
        .map_err(|error| refused(&format!("{} cannot be read: {error}", file.display())))?;
    match text.trim() {
        "" => Err(refused(&format!("{} is empty", file.display()))),
        token => Ok(Secret::new(token.to_owned())),
    }
}

fn refused(reason: &str) -> Error {
    Error::Credentials {
        service: SERVICE,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
