//! Who may pull what, decided before any cache is looked at.

mod htpasswd;
mod memory;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use crate::oci::RepositoryName;
use crate::policy::Pattern;
pub use htpasswd::{HtpasswdError, HtpasswdProblem, Users};
use memory::Memory;

/// The rules, in order. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Clients {
    inner: Arc<Inner>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The repositories it is about.
    pub images: Vec<Pattern>,
    /// Whom it lets in.
    pub admits: Admits,
}

/// Whom a rule lets in.
#[derive(Debug, Clone)]
pub enum Admits {
    /// Everybody.
    Anonymous,
    /// Users of a password file who know their password.
    Basic(Arc<Users>),
}

/// Whether a request may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Allow {
        /// The authenticated user; absent for anonymous requests.
        identity: Option<String>,
    },
    /// 401 with [`CHALLENGE`]: credentials are missing or wrong.
    Unauthenticated,
    /// 403 `client_denied`: no rule lets this client have this repository.
    Deny,
}

/// So many passwords are being checked that this one had to give up: 503, try again.
#[derive(Debug, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy(());

/// The value of `WWW-Authenticate` in a 401.
pub const CHALLENGE: &str = "Basic realm=\"countersign\", charset=\"UTF-8\"";

/// Passwords that are checked at the same time. bcrypt keeps a core busy for a tenth of a second or more; guessing
/// must not take all cores away from pulls.
const CHECKS_AT_ONCE_MAX: usize = 2;

/// How long a request waits for its turn.
const CHECK_WAIT_MAX: Duration = Duration::from_secs(5);

struct Inner {
    rules: Vec<Rule>,
    /// The distinct password files of the rules, at most 64.
    files: Vec<Arc<Users>>,
    memory: Memory,
    checks: Semaphore,
    check_wait_max: Duration,
}

struct Credentials {
    user: String,
    password: String,
}

impl Clients {
    /// The most distinct password files.
    pub const FILES_MAX: usize = 64;

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

    /// Whether any rule asks for a password.
    #[must_use]
    pub fn has_passwords(&self) -> bool {
        !self.inner.files.is_empty()
    }

    /// Whether a request with this `Authorization` header may have `repository` (`None` for `/v2/` itself).
    ///
    /// The first rule that covers the repository decides. Wrong credentials are refused even
    /// where anybody may pull, so that a wrong password shows. Passwords that were right are remembered for some
    /// minutes; others are checked off the caller's thread, a few at a time.
    ///
    /// # Errors
    /// When no turn to check the password came in time.
    pub async fn authorize(
        &self,
        authorization: Option<&str>,
        repository: Option<&RepositoryName>,
    ) -> Result<Access, Busy> {
        if let Some(access) = self.check_cached(authorization, repository) {
            return Ok(access);
        }
        let turn = tokio::time::timeout(self.inner.check_wait_max, self.inner.checks.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            return Err(Busy(()));
        };
        // Another request with the same password may have been checked meanwhile.
        if let Some(access) = self.check_cached(authorization, repository) {
            return Ok(access);
        }
        let clients = self.clone();
        let authorization = authorization.map(str::to_owned);
        let repository = repository.cloned();
        tokio::task::spawn_blocking(move || {
            clients.check_slow(authorization.as_deref(), repository.as_ref())
        })
        .await
        .map_err(|_stopped| Busy(()))
    }

    /// The answer, if it takes no password check: microseconds.
    #[must_use]
    pub fn check_cached(
        &self,
        authorization: Option<&str>,
        repository: Option<&RepositoryName>,
    ) -> Option<Access> {
        // Without password files there is nothing to check credentials against: they are somebody else's.
        let Some(authorization) = authorization.filter(|_| self.has_passwords()) else {
            return Some(self.without_credentials(repository));
        };
        let Some(credentials) = Credentials::from_header(authorization) else {
            return Some(Access::Unauthenticated);
        };
        let valid_in = self
            .inner
            .memory
            .recall(&credentials.user, &credentials.password)?;
        Some(self.with_credentials(credentials.user, valid_in, repository))
    }

    /// The answer, checking the password against every file: a tenth of a second or more of processor time. An unknown
    /// user costs as much as a known one.
    #[must_use]
    pub fn check_slow(
        &self,
        authorization: Option<&str>,
        repository: Option<&RepositoryName>,
    ) -> Access {
        let Some(authorization) = authorization.filter(|_| self.has_passwords()) else {
            return self.without_credentials(repository);
        };
        let Some(Credentials { user, password }) = Credentials::from_header(authorization) else {
            return Access::Unauthenticated;
        };
        let valid_in = self
            .inner
            .files
            .iter()
            .enumerate()
            .filter(|(_, users)| users.verify(&user, &password))
            .fold(0, |valid_in, (index, _)| valid_in | 1_u64 << index);
        if valid_in == 0 {
            return Access::Unauthenticated;
        }
        self.inner.memory.remember(&user, &password, valid_in);
        self.with_credentials(user, valid_in, repository)
    }

    fn without_credentials(&self, repository: Option<&RepositoryName>) -> Access {
        let anonymous = match repository {
            Some(repository) => matches!(
                self.rule_for(repository),
                Some(Rule {
                    admits: Admits::Anonymous,
                    ..
                })
            ),
            None => self
                .inner
                .rules
                .iter()
                .any(|rule| matches!(rule.admits, Admits::Anonymous)),
        };
        if anonymous {
            Access::Allow { identity: None }
        } else if self.inner.files.is_empty() {
            // A challenge that nobody can meet would only make the client ask for a password.
            Access::Deny
        } else {
            Access::Unauthenticated
        }
    }

    /// The first rule that covers the repository. It alone decides: a later one that lets everybody in does not open
    /// what an earlier one closes.
    fn rule_for(&self, repository: &RepositoryName) -> Option<&Rule> {
        self.inner.rules.iter().find(|rule| rule.covers(repository))
    }

    /// `valid_in` has a bit for each file in which user and password are right.
    fn with_credentials(
        &self,
        user: String,
        valid_in: u64,
        repository: Option<&RepositoryName>,
    ) -> Access {
        let file_admits = |users: &Arc<Users>| {
            let index = self
                .inner
                .files
                .iter()
                .position(|known| Arc::ptr_eq(known, users));
            index.is_some_and(|index| valid_in & (1 << index) != 0)
        };
        let allowed = repository.is_none_or(|repository| {
            self.rule_for(repository)
                .is_some_and(|rule| match &rule.admits {
                    Admits::Anonymous => true,
                    Admits::Basic(users) => file_admits(users),
                })
        });
        if allowed {
            Access::Allow {
                identity: Some(user),
            }
        } else {
            Access::Deny
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

impl Credentials {
    /// RFC 7617: `Basic` and the base64 of `user:password`; the scheme's letter case does not matter.
    fn from_header(header: &str) -> Option<Self> {
        let (scheme, encoded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
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
