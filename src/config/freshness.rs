//! `freshness:`

use std::time::Duration;

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// After this a tag is looked up again; zero asks every time.
    pub tag_ttl: Duration,
    /// After this signatures are looked for again.
    pub reverify_after: Duration,
    /// How old evidence and tags may be while the upstream cannot be asked; zero never serves stale.
    pub stale_for: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            tag_ttl: Duration::from_secs(60),
            reverify_after: Duration::from_secs(24 * HOUR),
            stale_for: Duration::from_secs(7 * 24 * HOUR),
        }
    }
}
