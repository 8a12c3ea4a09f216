//! The only place that reads the wall clock; everything else is told the time.

use jiff::Timestamp;

/// The time now. Read once per request and passed on.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    Timestamp::now()
}
