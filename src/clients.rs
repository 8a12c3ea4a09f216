//! The clients: who asks (authentication), and who may pull what (authorization), before any cache is looked at.

mod credentials;
mod htpasswd;
mod memory;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::oci::RepositoryName;
use crate::policy::Pattern;
use credentials::Credentials;
pub use credentials::Password;
pub use htpasswd::{HtpasswdError, HtpasswdProblem, Users};
use memory::Memory;
pub use tokens::Tokens;

/// The rules, in order. Cheap to clone; clones share the passwords that they remember.
#[derive(Clone)]
pub struct Clients {
    inner: Arc<Inner>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The repositories it is about.
    pub images: Vec<Pattern>,
    /// The clients that it lets in.
    pub admits: Admits,
}

/// The clients that a rule lets in.
#[derive(Debug, Clone)]
pub enum Admits {
    /// Everybody.
    Anonymous,
    /// Users of a password file who know their password.
    Basic(Arc<Users>),
}

/// A client after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// A client that gave no credentials.
    Anonymous {
        /// The client asked for a token first, so it would have sent credentials if it had any.
        has_token: bool,
    },
    /// A user whose password was right.
    User(User),
}

/// A user whose password was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: Arc<str>,
    /// A bit for each password file in which name and password are right.
    valid_in: u64,
}

/// Credentials that identify nobody: 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Neither `Basic` nor `Bearer` credentials.
    #[error("the Authorization header cannot be read: send Basic or Bearer credentials")]
    Unreadable,
    /// The user is unknown, or the password is not the user's.
    #[error("the user name or the password is wrong")]
    Password,
    /// The token has ended, its user was removed or got another password, or this proxy did not issue it.
    #[error("the token has expired or is not one of this proxy: ask for another")]
    Token,
}

/// The answer of the rules for one client and one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The client may have it.
    Allow,
    /// 401 with a challenge: credentials could help, and the client gave none.
    Unauthenticated,
    /// 403 `client_denied`: no rule lets this client have this repository.
    Deny,
}

/// The scheme that clients are asked to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A password with each request. Every client knows it.
    Basic,
    /// A token. A client without credentials can get one, too, so `/v2/` can ask everybody for a token.
    Bearer,
}

/// Too many passwords are being checked: 503, try again.
#[derive(Debug, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy(());

/// Passwords that are checked at the same time. bcrypt keeps a core busy for a tenth of a second or more; guessing
/// must not take all cores away from pulls.
const CHECKS_AT_ONCE_MAX: usize = 2;

/// The time that a request waits for its turn.
const CHECK_WAIT_MAX: Duration = Duration::from_secs(5);

struct Inner {
    rules: Vec<Rule>,
    /// The distinct password files of the rules, at most 64.
    files: Vec<Arc<Users>>,
    memory: Memory,
    checks: Semaphore,
    check_wait_max: Duration,
}

impl Clients {
    /// The most distinct password files.
    pub const FILES_MAX: usize = tokens::MARKS_MAX;

    /// The rules in order. Password files beyond [`Self::FILES_MAX`] never let anybody in.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self::waiting_at_most(CHECK_WAIT_MAX, rules)
    }

    fn waiting_at_most(check_wait_max: Duration, rules: Vec<Rule>) -> Self {
        let mut files: Vec<Arc<Users>> = Vec::new();
        for rule in &rules {
            if let Admits::Basic(users) = &rule.admits
                && !files.iter().any(|known| Arc::ptr_eq(known, users))
            {
                files.push(users.clone());
            }
        }
        files.truncate(Self::FILES_MAX);
        Self {
            inner: Arc::new(Inner {
                rules,
                files,
                memory: Memory::new(),
                checks: Semaphore::new(CHECKS_AT_ONCE_MAX),
                check_wait_max,
            }),
        }
    }

    /// Returns true when a rule asks for a password.
    #[must_use]
    pub fn has_passwords(&self) -> bool {
        !self.inner.files.is_empty()
    }

    /// Returns true when a rule lets everybody in.
    fn has_anonymous(&self) -> bool {
        let mut rules = self.inner.rules.iter();
        rules.any(|rule| matches!(rule.admits, Admits::Anonymous))
    }

    /// The scheme of challenges. Passwords alone need no tokens. Passwords beside rules for everybody do: many clients
    /// (containers/image, Docker) learn from `/v2/` alone how to authenticate, so `/v2/` must ask for credentials there
    /// without shutting out those who have none.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        if self.has_passwords() && self.has_anonymous() {
            Scheme::Bearer
        } else {
            Scheme::Basic
        }
    }

    /// Finds out who sends this `Authorization` header. Wrong credentials are rejected even where everybody may pull,
    /// so that a wrong password shows. Empty ones (`Basic Og==`) count as none. Without password files there is nothing
    /// to check credentials against, so they count as none, too.
    ///
    /// A token costs one HMAC, and so does a password that was right within five minutes. Any other password is checked
    /// off the caller's thread, a few at a time. Without `tokens`, every token is rejected.
    ///
    /// # Errors
    /// When no turn to check the password came in time.
    pub async fn authenticate(
        &self,
        tokens: Option<&Tokens>,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<Result<Client, Rejection>, Busy> {
        let Some(authorization) = authorization.filter(|_| self.has_passwords()) else {
            return Ok(Ok(Client::Anonymous { has_token: false }));
        };
        match Credentials::from_header(authorization) {
            None => Ok(Err(Rejection::Unreadable)),
            Some(Credentials::Empty) => Ok(Ok(Client::Anonymous { has_token: false })),
            Some(Credentials::Token(token)) => {
                let client = tokens.and_then(|tokens| self.bearer(tokens, token, now));
                Ok(client.ok_or(Rejection::Token))
            }
            Some(Credentials::Password(password)) => self.check(password).await,
        }
    }

    /// Finds out who gives this user and password. Both empty count as no credentials.
    ///
    /// # Errors
    /// When no turn to check the password came in time.
    pub async fn authenticate_password(
        &self,
        password: Password,
    ) -> Result<Result<Client, Rejection>, Busy> {
        if password.is_empty() || !self.has_passwords() {
            return Ok(Ok(Client::Anonymous { has_token: false }));
        }
        self.check(password).await
    }

    /// A token for `client`.
    #[must_use]
    pub fn issue(&self, tokens: &Tokens, client: &Client, now: Timestamp) -> String {
        let Client::User(user) = client else {
            return tokens.issue("", &[], now);
        };
        let marks: Vec<_> = self
            .files()
            .filter(|(bit, _)| user.valid_in & bit != 0)
            .filter_map(|(_, file)| file.entry(&user.name).map(|(_, mark)| *mark))
            .collect();
        tokens.issue(&user.name, &marks, now)
    }

    /// The answer of the rules for `client`, and `repository` (`None` for `/v2/` itself). The first rule that covers the
    /// repository decides alone: a later rule that lets everybody in does not open what an earlier one closes.
    #[must_use]
    pub fn authorize(&self, client: &Client, repository: Option<&RepositoryName>) -> Access {
        let allows = match repository {
            Some(repository) => self.allows(client, repository),
            None => self.may_begin(client),
        };
        match client {
            _ if allows => Access::Allow,
            Client::Anonymous { .. } if self.has_passwords() => Access::Unauthenticated,
            // A challenge that no client can meet would only make it ask for a password.
            Client::Anonymous { .. } | Client::User(_) => Access::Deny,
        }
    }

    fn allows(&self, client: &Client, repository: &RepositoryName) -> bool {
        let rule = self.inner.rules.iter().find(|rule| rule.covers(repository));
        match (rule.map(|rule| &rule.admits), client) {
            (Some(Admits::Anonymous), _) => true,
            (Some(Admits::Basic(users)), Client::User(user)) => self
                .files()
                .any(|(bit, file)| user.valid_in & bit != 0 && Arc::ptr_eq(file, users)),
            (Some(Admits::Basic(_)), Client::Anonymous { .. }) | (None, _) => false,
        }
    }

    /// Returns true when `/v2/` answers 200 for this client. Where passwords and rules for everybody stand side by side,
    /// a client without a token learns there that it can authenticate.
    fn may_begin(&self, client: &Client) -> bool {
        match client {
            Client::User(_) => true,
            Client::Anonymous { has_token } => {
                self.has_anonymous() && (*has_token || !self.has_passwords())
            }
        }
    }

    /// The client that a token stands for.
    fn bearer(&self, tokens: &Tokens, token: &str, now: Timestamp) -> Option<Client> {
        let mut buffer = tokens::buffer();
        let claims = tokens.read(token, now, &mut buffer)?;
        let Some(user) = claims.user() else {
            return Some(Client::Anonymous { has_token: true });
        };
        let mut name = None;
        let mut valid_in = 0;
        for (bit, file) in self.files() {
            if let Some((known, mark)) = file.entry(user)
                && claims.names(mark)
            {
                valid_in |= bit;
                name = Some(known);
            }
        }
        let name = Arc::clone(name?);
        Some(Client::User(User { name, valid_in }))
    }

    async fn check(&self, password: Password) -> Result<Result<Client, Rejection>, Busy> {
        if let Some(client) = self.recall(&password) {
            return Ok(Ok(client));
        }
        let turn = tokio::time::timeout(self.inner.check_wait_max, self.inner.checks.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            return Err(Busy(()));
        };
        // Another request with the same password may have been checked meanwhile.
        if let Some(client) = self.recall(&password) {
            return Ok(Ok(client));
        }
        let clients = self.clone();
        tokio::task::spawn_blocking(move || {
            clients.check_slow(&password).ok_or(Rejection::Password)
        })
        .await
        .map_err(|_stopped| Busy(()))
    }

    /// The client, if its password was right within the last minutes: microseconds.
    fn recall(&self, password: &Password) -> Option<Client> {
        let Password { user, password } = password;
        let valid_in = self.inner.memory.recall(user, password)?;
        self.user(user, valid_in)
    }

    /// The client, after a check of the password against every file: a tenth of a second or more of processor time. An
    /// unknown user costs as much as a known one.
    fn check_slow(&self, password: &Password) -> Option<Client> {
        let Password { user, password } = password;
        let valid_in = self
            .files()
            .filter(|(_, file)| file.verify(user, password))
            .fold(0, |valid_in, (bit, _)| valid_in | bit);
        let client = self.user(user, valid_in)?;
        self.inner.memory.remember(user, password, valid_in);
        Some(client)
    }

    fn user(&self, name: &str, valid_in: u64) -> Option<Client> {
        let mut files = self.files().filter(|(bit, _)| valid_in & bit != 0);
        let (name, _) = files.find_map(|(_, file)| file.entry(name))?;
        let name = Arc::clone(name);
        Some(Client::User(User { name, valid_in }))
    }

    /// The password files, each with its bit.
    fn files(&self) -> impl Iterator<Item = (u64, &Arc<Users>)> {
        let files = self.inner.files.iter().enumerate();
        files.map(|(index, file)| (1_u64 << index, file))
    }
}

impl Client {
    /// The user's name, if the client has one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Anonymous { .. } => None,
            Self::User(user) => Some(&user.name),
        }
    }
}

impl Rule {
    fn covers(&self, repository: &RepositoryName) -> bool {
        self.images
            .iter()
            .any(|pattern| pattern.matches(repository.as_str()))
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Clients")
            .field("rules", &self.inner.rules)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
