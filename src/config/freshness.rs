//! `freshness:`

use std::time::Duration;

use super::reader::{Field, Reader};
use crate::admission::Freshness;
use crate::trust::ROOT_MAX_STALE;

pub(super) const KEYS: &[&str] = &[
    "tag_ttl",
    "absent_ttl",
    "reverify_after",
    "stale_for",
    "root_max_stale",
];

/// Longer than this, a push would not be seen.
const ABSENT_TTL_MAX: Duration = Duration::from_secs(60);

/// A refresh and the next one after a failure fit into it.
const SHORTEST: Duration = Duration::from_secs(2 * 24 * 60 * 60);

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
    if let Some(field) = section.get("absent_ttl")
        && let Some(value) = field.duration(reader)
    {
        if value > ABSENT_TTL_MAX {
            reader.problem(
                &field,
                "what was pushed would not be found for that long",
                "write a duration of at most 60s, such as 2s",
            );
        }
        freshness.absent_ttl = value.min(ABSENT_TTL_MAX);
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

/// How long a trusted root that refreshes itself may go without.
pub(super) fn root_max_stale(field: Option<&Field<'_>>, reader: &mut Reader) -> Duration {
    let field = field.and_then(|field| {
        // What is wrong with the section is reported once, by `read`.
        field
            .section(KEYS, &mut Reader::default())
            .get("root_max_stale")
    });
    let Some(field) = field else {
        return ROOT_MAX_STALE;
    };
    let value = field.duration(reader).unwrap_or(ROOT_MAX_STALE);
    if value < SHORTEST {
        reader.problem(
            &field,
            "a root is refreshed once a day: this would stop every admission",
            "write a duration of two days or more, such as 30d",
        );
    }
    value
}
