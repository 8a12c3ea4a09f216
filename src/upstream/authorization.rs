//! Answering a challenge: what for, where, and with what we ask for a token.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use super::credentials::{Login, Secret};
use super::exchange::{Ask, Fault};
use super::host::Host;
use super::token::{self, Grant, TokenAnswer};
use super::{Error, body};

/// How far a token realm is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Realm {
    /// The upstream itself, or named by the operator: wherever it is, it may have the credentials.
    Named,
    /// The token host of a well-known registry: may have the credentials, and is at a public address.
    WellKnown,
    /// Any other, asked without credentials.
    Stranger,
}

/// Token hosts of registries whose tokens do not come from the registry's own host.
const TOKEN_HOSTS: [(&str, &str); 3] = [
    ("docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
];

/// The name under which we ask for tokens with a refresh token.
const CLIENT_ID: &str = "countersign";

impl Host {
    /// A grant other than `rejected`, as the challenge demands. However many ask, one fetches; those who waited for it
    /// share its outcome.
    pub(super) async fn authorize(
        &self,
        ask: &Ask<'_>,
        challenge: &Challenge,
        rejected: Option<&Grant>,
    ) -> Result<Arc<Grant>, Fault> {
        let slot = self.grants.slot(ask.repository);
        let asked_at = Instant::now();
        let mut last_failure = slot.fetching.lock().await;
        if let Some(newer) = slot.newer_than(rejected) {
            return Ok(newer);
        }
        if let Some((_, fault)) = last_failure.as_ref().filter(|(at, _)| *at > asked_at) {
            return Err(fault.clone());
        }
        match self.obtain(ask, challenge).await {
            Ok(grant) => {
                let grant = Arc::new(grant);
                slot.keep(&grant);
                Ok(grant)
            }
            Err(fault) => {
                *last_failure = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    async fn obtain(&self, ask: &Ask<'_>, challenge: &Challenge) -> Result<Grant, Fault> {
        let login = self.logins.get(&self.name).await;
        let login = login.map_err(|error| Fault::definite(self.failed(error.to_string())))?;
        let denied = || {
            Fault::definite(Error::Denied {
                host: self.name.clone(),
                status: 401,
            })
        };
        match (challenge, &login) {
            (Challenge::Basic, Login::Password { username, password }) => {
                Grant::basic(username, password.expose()).ok_or_else(denied)
            }
            (Challenge::Basic, Login::Anonymous | Login::IdentityToken(_)) => Err(denied()),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                login,
            ) => {
                let scopes = token::pull_scopes(scope.as_deref(), ask.repository);
                self.fetch_token(ask, realm, service.as_deref(), &scopes, login)
                    .await
            }
        }
    }

    async fn fetch_token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        login: &Login,
    ) -> Result<Grant, Fault> {
        let (url, trust) = self.check_realm(realm, login).map_err(Fault::definite)?;
        if trust != Realm::Named {
            self.check_peer(&url)?;
        }
        let client = if trust == Realm::Named {
            &self.own
        } else {
            &self.peer
        };
        let request = token_request(client, url, service, scopes, login).ok_or_else(|| {
            Fault::definite(self.failed("the credentials do not fit into a request"))
        })?;
        let response = self.send(client, request).await?;
        let response = self.check_status(response, ask.purpose)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            // RFC 6749 §5.2: a refresh token that is no longer good is answered with 400.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.logins.forget().await;
                let status = if status == StatusCode::FORBIDDEN {
                    403
                } else {
                    401
                };
                return Err(Fault::definite(Error::Denied {
                    host: self.name.clone(),
                    status,
                }));
            }
            other => {
                let reason = format!("its token host answered with status {}", other.as_u16());
                return Err(Fault::definite(self.failed(reason)));
            }
        }
        let limit = self.limits.token_bytes_max;
        let bytes = body::read(&self.name, response, limit, self.limits.body_idle_time_max).await;
        let bytes = bytes.map_err(Fault::definite)?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
        let grant = answer.as_ref().and_then(Grant::bearer);
        grant.ok_or_else(|| Fault::definite(self.failed("its token host answered without a token")))
    }

    /// Where the challenge sends us for a token, and how far that is trusted. The challenge is the upstream's text:
    /// credentials follow it only to hosts known beforehand (CVE-2026-33540).
    fn check_realm(&self, realm: &str, login: &Login) -> Result<(Url, Realm), Error> {
        let url = Url::parse(realm)
            .ok()
            .filter(|url| url.username().is_empty() && url.password().is_none());
        let url = url.ok_or_else(|| self.failed("its token realm is not a URL"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && self.plain_http) {
            return Err(self.failed("its token realm is not https"));
        }
        let authority = authority(&url);
        let is_named = url.origin() == self.base.origin()
            || (url.scheme() == "https" && authority == self.name)
            || self
                .token_hosts
                .iter()
                .any(|host| host.eq_ignore_ascii_case(&authority));
        if is_named {
            return Ok((url, Realm::Named));
        }
        if url.scheme() == "https"
            && TOKEN_HOSTS.contains(&(self.name.as_str(), authority.as_str()))
        {
            return Ok((url, Realm::WellKnown));
        }
        if *login == Login::Anonymous {
            return Ok((url, Realm::Stranger));
        }
        let reason =
            format!("its token realm is at {authority}, which is not among its token_hosts");
        Err(self.failed(reason))
    }
}

/// Host, and port unless it is the scheme's.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// GET as the token specification has it, with Basic credentials if there are any; POST as its OAuth 2 part has it for
/// a refresh token. `None` if the credentials do not fit into a header.
fn token_request(
    client: &reqwest::Client,
    mut url: Url,
    service: Option<&str>,
    scopes: &[String],
    login: &Login,
) -> Option<reqwest::RequestBuilder> {
    url.set_fragment(None);
    if let Login::IdentityToken(token) = login {
        let form = refresh_form(service, scopes, token);
        let request = client
            .request(Method::POST, url)
            .header(ACCEPT, "application/json");
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        return Some(request.header(CONTENT_TYPE, form_type).body(form));
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
    }
    let request = client
        .request(Method::GET, url)
        .header(ACCEPT, "application/json");
    match login {
        Login::Password { username, password } => {
            let grant = Grant::basic(username, password.expose())?;
            Some(request.header(AUTHORIZATION, grant.header))
        }
        Login::Anonymous | Login::IdentityToken(_) => Some(request),
    }
}

fn refresh_form(service: Option<&str>, scopes: &[String], token: &Secret) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("client_id", CLIENT_ID);
    form.append_pair("service", service.unwrap_or_default());
    form.append_pair("scope", &scopes.join(" "));
    form.append_pair("refresh_token", token.expose());
    form.finish()
}

#[cfg(test)]
mod tests {
    use super::super::config::{HostConfig, Proxy};
    use super::super::credentials::Credentials;
    use super::*;
    use crate::limits::Limits;

    fn realm(
        name: &str,
        endpoint: Option<&str>,
        credentials: Credentials,
        realm: &str,
    ) -> Option<Realm> {
        let config = HostConfig {
            endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
            token_hosts: vec!["sso.internal:8443".to_owned()],
            ..HostConfig::default()
        };
        let login = match credentials {
            Credentials::Anonymous => Login::Anonymous,
            Credentials::Basic { username, password } => Login::Password { username, password },
            Credentials::DockerConfig { .. } => Login::IdentityToken(Secret::new("t".to_owned())),
        };
        let roots = rustls::RootCertStore::empty();
        let host = Host::new(
            name,
            config,
            &roots,
            &Proxy::System,
            &Arc::new(Limits::default()),
        )
        .unwrap();
        host.check_realm(realm, &login).ok().map(|(_, trust)| trust)
    }

    fn basic() -> Credentials {
        Credentials::Basic {
            username: "u".to_owned(),
            password: Secret::new("p".to_owned()),
        }
    }

    #[test]
    fn credentials_go_to_known_realms_only() {
        let (named, well_known) = (Some(Realm::Named), Some(Realm::WellKnown));
        for (name, endpoint, url, expected) in [
            ("ghcr.io", None, "https://ghcr.io/token", named),
            ("ghcr.io", None, "https://GHCR.io:443/token", named),
            ("ghcr.io", None, "https://ghcr.io:444/token", None),
            ("ghcr.io", None, "https://token.ghcr.io/", None),
            ("ghcr.io", None, "https://ghcr.io.evil.example/", None),
            ("ghcr.io", None, "https://ghcr.io@evil.example/", None),
            ("ghcr.io", None, "http://ghcr.io/token", None),
            ("ghcr.io", None, "https://auth.docker.io/token", None),
            ("ghcr.io", None, "token", None),
            (
                "docker.io",
                None,
                "https://auth.docker.io/token",
                well_known,
            ),
            ("docker.io", None, "https://auth.docker.io:8443/token", None),
            ("docker.io", None, "http://auth.docker.io/token", None),
            (
                "docker.io",
                None,
                "https://registry-1.docker.io/token",
                named,
            ),
            (
                "quay.io",
                Some("https://quay.internal:8443/"),
                "https://quay.internal:8443/t",
                named,
            ),
            (
                "quay.io",
                Some("https://quay.internal:8443/"),
                "https://quay.internal/t",
                None,
            ),
            (
                "quay.io",
                Some("https://quay.internal:8443/"),
                "https://quay.io/t",
                named,
            ),
            ("quay.io", None, "https://sso.internal:8443/t", named),
            ("quay.io", None, "https://sso.internal/t", None),
        ] {
            assert_eq!(
                realm(name, endpoint, basic(), url),
                expected,
                "{name} {url}"
            );
            let token = Credentials::DockerConfig { path: None };
            assert_eq!(realm(name, endpoint, token, url), expected, "{name} {url}");
        }
    }

    #[test]
    fn without_credentials_any_realm_may_be_asked() {
        let stranger = Some(Realm::Stranger);
        for (url, expected) in [
            ("https://ghcr.io/token", Some(Realm::Named)),
            ("https://evil.example/token", stranger),
            ("http://evil.example/token", None),
            ("https://user@evil.example/token", None),
        ] {
            assert_eq!(
                realm("ghcr.io", None, Credentials::Anonymous, url),
                expected,
                "{url}"
            );
        }
    }
}
