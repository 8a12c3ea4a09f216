//! Exceptions: what a person lets through for a while, although a policy refuses it.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Pattern, Policies, hash};
use crate::oci::{Digest, RepositoryName};

/// What a person lets through until a certain time, although a policy refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// What it is about.
    pub scope: Scope,
    /// Why, in the words of who wrote it.
    pub reason: String,
    /// Who answers for it.
    pub by: String,
    /// From then on it lets nothing through.
    pub until: Timestamp,
}

/// What an exception is about: names or digests, never both, so that it is never wider than it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every image whose canonical name matches one of these.
    Images(Vec<Pattern>),
    /// These digests, in any repository, with what they list.
    Digests(HashSet<Digest>),
}

impl Exception {
    /// Whether it lets this through at this time.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName, digest: &Digest, now: Timestamp) -> bool {
        self.runs(now)
            && match &self.scope {
                Scope::Images(patterns) => patterns
                    .iter()
                    .any(|pattern| pattern.matches(repository.as_str())),
                Scope::Digests(digests) => digests.contains(digest),
            }
    }

    /// Whether its time has not come yet.
    #[must_use]
    pub fn runs(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scope: _,
            reason,
            by,
            until,
        } = self;
        write!(formatter, "an exception by {by} until {until}: {reason}")
    }
}

impl Policies {
    /// The same policies with these exceptions, which are part of the hash. Without any, nothing changes.
    #[must_use]
    pub fn excepting(mut self, exceptions: Vec<Arc<Exception>>) -> Self {
        self.hash = hash::with_exceptions(self.hash, &exceptions);
        self.configured = self.hash;
        self.exceptions = exceptions;
        self
    }

    /// The first exception that alone lets this through at this time. Several are never put together: none lets
    /// through, or for longer, what it would not by itself (GHSA-gg4x-fgg2-h9w9).
    #[must_use]
    pub fn exception(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        now: Timestamp,
    ) -> Option<&Arc<Exception>> {
        self.exceptions
            .iter()
            .find(|exception| exception.covers(repository, digest, now))
    }
}
