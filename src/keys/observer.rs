//! Who is told about fetches of keys.

use std::fmt::Debug;
use std::time::Duration;

use super::{Error, Reference};

/// Is told how every fetch ended.
pub trait Observer: Debug + Send + Sync {
    /// A fetch of the key ended after `elapsed` with `outcome`: `ok`, or the word for its error.
    fn refreshed(&self, reference: &Reference, outcome: &'static str, elapsed: Duration);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn refreshed(&self, _reference: &Reference, _outcome: &'static str, _elapsed: Duration) {}
}

/// The word for an error in the metrics.
pub(super) fn outcome(error: &Error) -> &'static str {
    match error {
        Error::Credentials { .. } => "credentials",
        Error::Denied { .. } => "denied",
        Error::NotFound { .. } => "not_found",
        Error::Unavailable { .. } => "unavailable",
        Error::Malformed { .. } => "malformed",
    }
}
