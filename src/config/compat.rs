//! `compat:`

use super::reader::{Field, Reader};
use crate::server::Compat;

pub(super) const KEYS: &[&str] = &["head_allows"];

pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Compat {
    let Some(section) = field.map(|field| field.section(KEYS, reader)) else {
        return Compat::default();
    };
    Compat {
        head_allows: section
            .get("head_allows")
            .and_then(|field| field.boolean(reader))
            .unwrap_or_default(),
    }
}
