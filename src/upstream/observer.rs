//! How calls to upstreams ended, for the metrics.

use std::fmt::Debug;
use std::time::Duration;

use super::{Error, Purpose};
use crate::shares::Ledger;

/// Is told how every call ended.
pub trait Observer: Debug + Send + Sync {
    /// A call of [`super::Upstream`] ended after `elapsed`, retries included, with `outcome`: `ok`, or [`outcome`] of its
    /// error. A blob's call ends with its headers.
    fn finished(&self, host: &str, purpose: Purpose, outcome: &'static str, elapsed: Duration);

    /// Returns the ledger in which the budgets of upstreams are opened, so that their use can be seen.
    fn ledger(&self) -> Ledger {
        Ledger::default()
    }
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

/// The word for an error in the metrics.
#[must_use]
pub fn outcome(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "not_found",
        Error::Denied { .. } => "denied",
        Error::Unsupported { .. } => "unsupported",
        Error::Throttled { .. } => "throttled",
        Error::Congested { .. } => "congested",
        Error::Failed { .. } => "failed",
        Error::Unexpected { .. } => "unexpected",
        Error::TooLarge { .. } => "too_large",
        Error::WrongDigest { .. } => "wrong_digest",
        Error::OtherContent { .. } => "other_content",
        Error::Truncated { .. } => "truncated",
        Error::NotConfigured { .. } => "not_configured",
    }
}

impl Observer for NoObserver {
    fn finished(&self, _host: &str, _purpose: Purpose, _outcome: &'static str, _elapsed: Duration) {
    }
}
