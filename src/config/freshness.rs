//! `freshness:`

use std::time::Duration;

use super::reader::{Field, Reader};

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

pub(super) const KEYS: &[&str] = &["tag_ttl", "reverify_after", "stale_for"];

pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Freshness {
    let mut freshness = Freshness::default();
    let Some(section) = field.map(|field| field.section(KEYS, reader)) else {
        return freshness;
    };
    if let Some(value) = section
        .get("tag_ttl")
        .and_then(|field| field.duration(reader))
    {
        freshness.tag_ttl = value;
    }
    if let Some(field) = section.get("reverify_after")
        && let Some(value) = field.duration(reader)
    {
        if value.is_zero() {
            reader.problem(
                &field,
                "zero would look for signatures on every pull",
                "write a duration such as 24h",
            );
        }
        freshness.reverify_after = value;
    }
    if let Some(value) = section
        .get("stale_for")
        .and_then(|field| field.duration(reader))
    {
        freshness.stale_for = value;
    }
    freshness
}
