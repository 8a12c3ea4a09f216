//! The clients: who asks (authentication), and who may pull what (authorization), before any cache is looked at.

mod credentials;
mod failures;
mod hashing;
mod htpasswd;
mod memory;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::flights::Flights;
use crate::oci::RepositoryName;
use crate::policy::Pattern;
use crate::shares::Party;
use credentials::Credentials;
pub use credentials::Password;
use failures::{Failures, TooMany};
use hashing::Hashing;
pub use hashing::places;
pub use htpasswd::{HtpasswdError, HtpasswdProblem, Users};
use memory::{Memory, Proof};
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

/// The reason why a password was not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unchecked {
    /// Too many passwords are being checked: 503, try again.
    #[error("too many passwords are being checked")]
    Busy,
    /// The user, or the address, has given too many wrong passwords: 429.
    #[error("too many wrong passwords came from this address")]
    TooManyFailures {
        /// The time until a password is checked again.
        retry_after: Duration,
    },
}

/// The time that a request waits for its turn.
const CHECK_WAIT_MAX: Duration = Duration::from_secs(5);

struct Inner {
    rules: Vec<Rule>,
    /// The distinct password files of the rules, at most 64.
    files: Vec<Arc<Users>>,
    memory: Memory,
    failures: Failures,
    hashing: Hashing,
    /// The checks under way, one for each user and password.
    checks: Flights<Proof, Checked>,
    tasks: TaskTracker,
    check_wait_max: Duration,
}

/// The files in which user and password are right.
type Checked = Result<u64, Unchecked>;

impl Clients {
    /// The most distinct password files.
    pub const FILES_MAX: usize = tokens::MARKS_MAX;

    /// The rules in order. Password files beyond [`Self::FILES_MAX`] never let anybody in.
    /// A user may give `failures_max` wrong passwords in a minute from one address.
    #[must_use]
    pub fn new(rules: Vec<Rule>, failures_max: u32) -> Self {
        Self::hashing_with(Hashing::shared(), CHECK_WAIT_MAX, rules, failures_max)
    }

    fn hashing_with(
        hashing: Hashing,
        check_wait_max: Duration,
        rules: Vec<Rule>,
        failures_max: u32,
    ) -> Self {
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
                failures: Failures::new(failures_max),
                hashing,
                checks: Flights::default(),
                tasks: TaskTracker::new(),
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
    /// A token costs one HMAC, and so does a password that was right before, or wrong a moment ago. Any other password is
    /// checked on a thread for passwords, on behalf of the current party, the address. Without `tokens`, every token is
    /// rejected.
    ///
    /// # Errors
    /// [`Unchecked`] when no turn to check the password came in time, or too many wrong ones came before it.
    pub async fn authenticate(
        &self,
        tokens: Option<&Tokens>,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<Result<Client, Rejection>, Unchecked> {
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
    /// As [`Self::authenticate`].
    pub async fn authenticate_password(
        &self,
        password: Password,
    ) -> Result<Result<Client, Rejection>, Unchecked> {
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

    async fn check(&self, password: Password) -> Result<Result<Client, Rejection>, Unchecked> {
        let proof = self.proof(&password);
        let valid_in = match self.inner.memory.recall(&proof) {
            Some(valid_in) => valid_in,
            None => self.check_once(proof, &password).await?,
        };
        Ok(self
            .user(&password.user, valid_in)
            .ok_or(Rejection::Password))
    }

    /// Checks a password, together with all who give the same one at this time.
    async fn check_once(&self, proof: Proof, password: &Password) -> Checked {
        let begin = || {
            let (clients, password) = (self.clone(), password.clone());
            async move { clients.check_slow(proof, password).await }.boxed()
        };
        let checking = self.inner.checks.join(&proof, &self.inner.tasks, begin);
        checking.await.unwrap_or(Err(Unchecked::Busy))
    }

    /// Checks a password against every file: a tenth of a second or more of processor time. An unknown user costs as much
    /// as a known one.
    async fn check_slow(&self, proof: Proof, password: Password) -> Checked {
        // It may have been checked while this check was begun.
        if let Some(valid_in) = self.inner.memory.recall(&proof) {
            return Ok(valid_in);
        }
        let user = self.inner.memory.user(&password.user);
        let attempt = self.inner.failures.begin(Party::current(), user)?;
        let files = self.inner.files.clone();
        let hash = move || {
            let Password { user, password } = &password;
            each_with_bit(&files)
                .filter(|(_, file)| file.verify(user, password))
                .fold(0, |valid_in, (bit, _)| valid_in | bit)
        };
        let deadline = Instant::now() + self.inner.check_wait_max;
        let Ok(valid_in) = self.inner.hashing.run(deadline, hash).await else {
            attempt.forgive();
            return Err(Unchecked::Busy);
        };
        if valid_in != 0 {
            attempt.forgive();
        }
        self.inner.memory.remember(proof, valid_in);
        Ok(valid_in)
    }

    fn proof(&self, password: &Password) -> Proof {
        let Password { user, password } = password;
        self.inner.memory.proof(user, password)
    }

    fn user(&self, name: &str, valid_in: u64) -> Option<Client> {
        let mut files = self.files().filter(|(bit, _)| valid_in & bit != 0);
        let (name, _) = files.find_map(|(_, file)| file.entry(name))?;
        let name = Arc::clone(name);
        Some(Client::User(User { name, valid_in }))
    }

    /// The password files, each with its bit.
    fn files(&self) -> impl Iterator<Item = (u64, &Arc<Users>)> {
        each_with_bit(&self.inner.files)
    }
}

fn each_with_bit(files: &[Arc<Users>]) -> impl Iterator<Item = (u64, &Arc<Users>)> {
    let files = files.iter().enumerate();
    files.map(|(index, file)| (1_u64 << index, file))
}

impl From<TooMany> for Unchecked {
    fn from(too_many: TooMany) -> Self {
        Self::TooManyFailures {
            retry_after: too_many.retry_after,
        }
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
