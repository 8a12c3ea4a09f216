//! `freshness:`

use super::reader::{Field, Reader};
use crate::admission::Freshness;

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
