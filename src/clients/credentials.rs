//! The `Authorization` header of a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The credentials that a header holds.
#[derive(Debug)]
pub(super) enum Credentials<'h> {
    /// Neither a user nor a password. Clients built on containers/image send this when they have no credentials and are
    /// asked for some.
    Empty,
    /// A user and a password.
    Password(Password),
    /// A bearer token.
    Token(&'h str),
}

/// A user name and a password, not checked yet.
#[derive(Clone)]
pub struct Password {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl<'h> Credentials<'h> {
    /// Reads `Basic` (RFC 7617: the base64 of `user:password`) and `Bearer` (RFC 6750) credentials. The letter case of
    /// the scheme does not matter. Returns nothing for any other text.
    pub(super) fn from_header(header: &'h str) -> Option<Self> {
        let (scheme, value) = header.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token(value));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        let password = Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        Some(if password.is_empty() {
            Self::Empty
        } else {
            Self::Password(password)
        })
    }
}

impl Password {
    /// Returns true when both parts are empty.
    pub(super) fn is_empty(&self) -> bool {
        self.user.is_empty() && self.password.is_empty()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Password")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
