//! `compat:`

use super::reader::{Field, Reader};

/// Concessions to clients that do not follow the specification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compat {
    /// Whether `HEAD` answers 200 for refused manifests, for containerd up to 2.2, which hides why a `HEAD` failed.
    /// `GET` refuses all the same.
    pub head_allows: bool,
}

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
