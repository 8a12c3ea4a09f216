//! Answering a challenge: what for, where, and with what we ask for a token.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use url::Url;

use super::challenge::Challenge;
use super::credentials::Login;
use super::exchange::{Ask, Fault, is_redirect};
use super::host::Host;
use super::peer::{authority, is_listed};
use super::token::{Grant, Renewed};
use super::token_answer::TokenAnswer;
use super::{Error, body, scope};
use crate::secret::Secret;

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
/// Time to wait for the budget that the answer of a token endpoint is read within.
const TOKEN_ROOM_TIME_MAX: Duration = Duration::from_secs(2);
const CLIENT_ID: &str = "countersign";

/// A request for a token.
struct TokenRequest<'a> {
    client: &'a reqwest::Client,
    realm: Url,
    service: Option<&'a str>,
    scopes: &'a [String],
    login: &'a Login,
}

impl Host {
    /// A grant other than `rejected`, as the upstream's challenge demands.
    pub(super) async fn authorize(
        &self,
        ask: &Ask<'_>,
        challenge: &Challenge,
        rejected: Option<&Grant>,
    ) -> Result<Renewed, Fault> {
        let known = rejected.map_or(&[][..], |rejected| &rejected.scopes);
        let slot = self.grants.slot(ask.repository);
        slot.renew(rejected, self.obtain(ask, challenge, known))
            .await
    }

    /// Asks for a token that allows what the challenge demands, and what is `known` to have been demanded before.
    async fn obtain(
        &self,
        ask: &Ask<'_>,
        challenge: &Challenge,
        known: &[String],
    ) -> Result<Grant, Fault> {
        let login = self.logins.get(&self.name).await;
        let login = login.map_err(|error| Fault::definite(self.failed(error.to_string())))?;
        let (realm, service, scope) = match (challenge, &login) {
            (Challenge::Basic, Login::Password { username, password }) => {
                return Grant::basic(username, password.expose()).ok_or_else(|| self.denied());
            }
            (Challenge::Basic, Login::Anonymous | Login::IdentityToken(_)) => {
                return Err(self.denied());
            }
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                    ..
                },
                _,
            ) => (realm, service.as_deref(), scope.as_deref()),
        };
        let (realm, trust) = self.check_realm(realm, &login).map_err(Fault::definite)?;
        let client = match trust {
            Realm::Named => &self.own,
            Realm::WellKnown | Realm::Stranger => self.peer_client(&realm)?,
        };
        let scopes = scope::union(known, scope::requested(scope, ask.repository));
        let demanded = scope::requested(scope, "");
        let mut request = TokenRequest {
            client,
            realm,
            service,
            scopes: &scopes,
            login: &login,
        };
        let mut fetched = self.fetch_token(ask, &request).await;
        // Some token hosts refuse the whole request for one scope, such as a name that only the upstream knows.
        if fetched.as_ref().is_err_and(Fault::is_denied)
            && !demanded.is_empty()
            && demanded != scopes
        {
            request.scopes = &demanded;
            fetched = self.fetch_token(ask, &request).await;
        }
        if fetched.as_ref().is_err_and(Fault::is_denied) {
            self.logins.forget().await;
        }
        fetched
    }

    /// An anonymous token for a registry that the upstream redirected to, at the realm that this registry names.
    pub(super) async fn fetch_token_of_peer(
        &self,
        ask: &Ask<'_>,
        peer: &Url,
        realm: &str,
        service: Option<&str>,
        scopes: Vec<String>,
    ) -> Result<Grant, Fault> {
        let realm = self
            .parse_realm(realm, peer.scheme() == "http")
            .map_err(Fault::definite)?;
        let request = TokenRequest {
            client: self.peer_client(&realm)?,
            realm,
            service,
            scopes: &scopes,
            login: &Login::Anonymous,
        };
        self.fetch_token(ask, &request).await
    }

    async fn fetch_token(&self, ask: &Ask<'_>, request: &TokenRequest<'_>) -> Result<Grant, Fault> {
        let response = self.send_token_request(request).await?;
        let response = self.check_status(response, ask)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            // RFC 6749 §5.2: a refresh token that is no longer good is answered with 400.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => return Err(self.denied()),
            StatusCode::FORBIDDEN => {
                return Err(Fault::definite(Error::Denied {
                    host: self.name.clone(),
                    status: 403,
                }));
            }
            other => {
                let reason = format!("its token host answered with status {}", other.as_u16());
                return Err(Fault::definite(if other.is_server_error() {
                    self.failed(reason)
                } else {
                    self.unexpected(reason)
                }));
            }
        }
        let headers = response.headers().clone();
        let limit_bytes = self.limits.token_bytes_max;
        let read = self
            .read(response, limit_bytes, 1, TOKEN_ROOM_TIME_MAX)
            .await;
        let answer = TokenAnswer::parse(&headers, &read.map_err(Fault::definite)?.bytes);
        let grant = answer.and_then(|answer| Grant::bearer(&answer, request.scopes.to_vec()));
        grant.ok_or_else(|| {
            Fault::definite(self.unexpected("its token host answered without a token"))
        })
    }

    /// Sends the request, and follows redirects that stay at the token host, because credentials may be in it.
    async fn send_token_request(&self, request: &TokenRequest<'_>) -> Result<Response, Fault> {
        let unexpected = |reason: &str| Fault::definite(self.unexpected(reason));
        let mut url = request.url();
        for _ in 0..=self.limits.redirects_max {
            let sent = request
                .at(url.clone())
                .ok_or_else(|| unexpected("the credentials do not fit into a request"))?;
            let response = self.send(request.client, sent).await?;
            let status = response.status();
            if !is_redirect(status) {
                return Ok(response);
            }
            // RFC 9110 §15.4: only these two keep the method.
            let keeps_method = matches!(
                status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            );
            if request.is_post() && !keeps_method {
                return Err(unexpected("its token host redirects a POST to a GET"));
            }
            let next = self
                .location(&url, response.headers())
                .map_err(Fault::definite)?;
            if !is_same_host(&url, &next) {
                return Err(unexpected("its token host redirects to another host"));
            }
            body::drain(response).await;
            url = next;
        }
        Err(unexpected("its token host redirects too often"))
    }

    /// The answer of a token host that gives us no token.
    pub(super) fn denied(&self) -> Fault {
        Fault::definite(Error::Denied {
            host: self.name.clone(),
            status: 401,
        })
    }

    /// The URL of a token realm, which is a peer's text.
    fn parse_realm(&self, realm: &str, may_be_plain: bool) -> Result<Url, Error> {
        let url = Url::parse(realm)
            .ok()
            .filter(|url| url.username().is_empty() && url.password().is_none());
        let mut url = url.ok_or_else(|| self.unexpected("its token realm is not a URL"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && may_be_plain) {
            return Err(self.unexpected("its token realm is not https"));
        }
        url.set_fragment(None);
        Ok(url)
    }

    /// Where the challenge sends us for a token, and how far that is trusted. The challenge is the upstream's text:
    /// credentials follow it only to hosts known beforehand (CVE-2026-33540).
    fn check_realm(&self, realm: &str, login: &Login) -> Result<(Url, Realm), Error> {
        let url = self.parse_realm(realm, self.plain_http)?;
        let authority = authority(&url);
        let is_named = url.origin() == self.base.origin()
            || (url.scheme() == "https" && authority == self.name)
            || is_listed(&self.token_hosts, &url);
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
        Err(self.unexpected(reason))
    }
}

impl TokenRequest<'_> {
    /// The realm with the query of a GET.
    fn url(&self) -> Url {
        let mut url = self.realm.clone();
        if !self.is_post() {
            let mut query = url.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scopes {
                query.append_pair("scope", scope);
            }
        }
        url
    }

    fn is_post(&self) -> bool {
        matches!(self.login, Login::IdentityToken(_))
    }

    /// GET as the token specification has it, with Basic credentials if there are any; POST as its OAuth 2 part has it
    /// for a refresh token. `None` if the credentials do not fit into a header.
    fn at(&self, url: Url) -> Option<RequestBuilder> {
        let method = if self.is_post() {
            Method::POST
        } else {
            Method::GET
        };
        let request = self
            .client
            .request(method, url)
            .header(ACCEPT, "application/json");
        match self.login {
            Login::Anonymous => Some(request),
            Login::Password { username, password } => {
                let grant = Grant::basic(username, password.expose())?;
                Some(request.header(AUTHORIZATION, grant.header))
            }
            Login::IdentityToken(token) => {
                let form = refresh_form(self.service, self.scopes, token);
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                Some(request.header(CONTENT_TYPE, form_type).body(form))
            }
        }
    }
}

/// Returns true if a redirect stays at its host: at its origin, or the same name over https.
fn is_same_host(from: &Url, to: &Url) -> bool {
    let is_upgrade = from.scheme() == "http"
        && to.scheme() == "https"
        && from.host() == to.host()
        && from.port().is_none()
        && to.port().is_none();
    from.origin() == to.origin() || is_upgrade
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
    use std::sync::Arc;

    use super::super::config::{HostConfig, Proxy};
    use super::super::credentials::Credentials;
    use super::super::host::Surroundings;
    use super::*;
    use crate::limits::Limits;
    use crate::shares::{Ledger, Reading};

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
        let (limits, ledger) = (Limits::default(), Ledger::default());
        let surroundings = Surroundings {
            roots: &roots,
            proxy: &Proxy::System,
            neighbours: &Arc::default(),
            reading: &Reading::open(&ledger, &limits),
            limits: &Arc::new(limits),
            ledger: &ledger,
        };
        let host = Host::new(name, config, &surroundings).unwrap();
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
