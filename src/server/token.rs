//! The token endpoint: `GET` and `POST /v2/token`.
//!
//! `GET` is the form of the distribution project's token specification (Docker, containers/image, go-containerregistry,
//! oras, containerd without credentials): the password arrives as Basic credentials. `POST` is the form of its OAuth 2
//! specification (containerd with credentials, oras): the password arrives in the body. The other parameters (`service`,
//! `scope`, `account`, `client_id`, `offline_token`, `access_type`) change nothing, because a token says who asks and
//! the rules in force decide about each request. There are no refresh tokens: each client keeps its password where the
//! answer has none.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Method;
use http::request::Parts;

use super::answer::{Answer, Asking};
use super::challenge::BASIC;
use super::route::{self, TOKEN_PATH};
use super::{Rules, Server, respond};
use crate::clients::{Access, Client, Clients, Password, Tokens};

/// The most bytes of a form: names, a password, and scopes that are not looked at.
const FORM_BYTES_MAX: usize = 8 * 1024;
const NO_ANONYMOUS: &str = "this proxy serves only users with a password";

/// The user and the password in the body of a `POST`, where it has them.
pub(super) type FormCredentials = Result<Option<Password>, FormError>;

/// A form that cannot be used: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// Too long, broken off, or too slow.
    #[error("the form is longer than {FORM_BYTES_MAX} bytes or did not arrive whole in time")]
    Body,
    /// Two readers could choose different ones.
    #[error("a field of the form stands there twice")]
    Twice,
    /// A grant type other than `password`.
    #[error("only the grant type `password` is supported: this proxy issues no refresh tokens")]
    GrantType,
}

impl FormError {
    /// The error code of RFC 6749 §5.2.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Body | Self::Twice => "invalid_request",
            Self::GrantType => "unsupported_grant_type",
        }
    }
}

/// Reads the form of a `POST` to the token endpoint. Leaves every other body alone. The rules do not matter here, because
/// a reload may change them before the answer.
pub(super) async fn read_form(
    request: &Parts,
    body: Body,
    time_max: Duration,
) -> Option<FormCredentials> {
    if request.method != Method::POST || request.uri.path() != TOKEN_PATH {
        return None;
    }
    let read = axum::body::to_bytes(body, FORM_BYTES_MAX);
    Some(match tokio::time::timeout(time_max, read).await {
        Ok(Ok(bytes)) => parse_form(&bytes),
        Ok(Err(_)) | Err(_) => Err(FormError::Body),
    })
}

fn parse_form(bytes: &[u8]) -> FormCredentials {
    let (mut grant_type, mut username, mut password) = (None, None, None);
    for (key, value) in url::form_urlencoded::parse(bytes) {
        let field = match key.as_ref() {
            "grant_type" => &mut grant_type,
            "username" => &mut username,
            "password" => &mut password,
            _ => continue,
        };
        if field.replace(value.into_owned()).is_some() {
            return Err(FormError::Twice);
        }
    }
    if grant_type.as_deref() != Some("password") {
        return Err(FormError::GrantType);
    }
    if username.is_none() && password.is_none() {
        return Ok(None);
    }
    Ok(Some(Password {
        user: username.unwrap_or_default(),
        password: password.unwrap_or_default(),
    }))
}

/// The rules, if tokens mean anything under them.
fn password_rules(rules: &Rules) -> Option<&Clients> {
    rules
        .clients
        .as_ref()
        .filter(|clients| clients.has_passwords())
}

impl Server {
    /// Issues a token: to a user for the right password, and to anybody where a rule lets everybody in.
    pub(super) async fn token(&self, asking: &mut Asking<'_>) -> Answer {
        asking.identity = None;
        let rules = Arc::clone(&asking.rules);
        let Some(clients) = password_rules(&rules) else {
            return Answer::plain(respond::unroutable(&route::Error::Path));
        };
        let authenticated = match &asking.posted {
            Some(Err(problem)) => return Answer::plain(respond::bad_form(*problem)),
            Some(Ok(Some(password))) => clients.authenticate_password(password.clone()).await,
            // A token buys no other token, or it would never end.
            Some(Ok(None)) | None => {
                clients
                    .authenticate(None, asking.authorization(), asking.now)
                    .await
            }
        };
        let client = match authenticated {
            Ok(Ok(Client::Anonymous { .. })) => Client::Anonymous { has_token: true },
            Ok(Ok(user)) => user,
            Ok(Err(rejected)) => {
                return Answer::plain(respond::unauthenticated(BASIC, &rejected.to_string()));
            }
            Err(unchecked) => return Answer::unchecked(unchecked),
        };
        asking.identity = client.name().cloned();
        if clients.authorize(&client, None) != Access::Allow {
            return Answer::plain(respond::unauthenticated(BASIC, NO_ANONYMOUS));
        }
        let token = clients.issue(&self.inner.tokens, &client, asking.now);
        Answer::plain(respond::token(&token, Tokens::LIFETIME, asking.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(form: &str) -> Result<Option<(String, String)>, FormError> {
        let given = parse_form(form.as_bytes())?;
        Ok(given.map(|given| (given.user, given.password)))
    }

    #[test]
    fn form_holds_user_and_password() {
        for (form, user, password) in [
            ("grant_type=password&username=a&password=b", "a", "b"),
            (
                "scope=repository%3Ax%3Apull&client_id=containerd-client&grant_type=password&service=countersign&username=j%C3%BCrgen&password=p%26q+r",
                "jürgen",
                "p&q r",
            ),
            ("grant_type=password&password=b", "", "b"),
            ("grant_type=password&username=a", "a", ""),
        ] {
            let expected = Some((user.to_owned(), password.to_owned()));
            assert_eq!(posted(form), Ok(expected), "{form}");
        }
        assert_eq!(posted("grant_type=password&service=x"), Ok(None));
    }

    #[test]
    fn form_with_another_grant_or_a_field_twice_is_refused() {
        for (form, problem) in [
            (
                "grant_type=refresh_token&refresh_token=x",
                FormError::GrantType,
            ),
            (
                "grant_type=Password&username=a&password=b",
                FormError::GrantType,
            ),
            ("username=a&password=b", FormError::GrantType),
            ("", FormError::GrantType),
            (
                "grant_type=password&username=a&username=b&password=c",
                FormError::Twice,
            ),
            (
                "grant_type=password&username=a&password=b&password=c",
                FormError::Twice,
            ),
            (
                "grant_type=password&grant_type=refresh_token&username=a",
                FormError::Twice,
            ),
        ] {
            assert_eq!(posted(form), Err(problem), "{form}");
        }
    }
}
