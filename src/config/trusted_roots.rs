//! `trusted_roots:`

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::{Field, Reader, describe};
use crate::trust;
use crate::verify::TrustedRoot;

pub(super) const KEYS: &[&str] = &["file"];

/// The root that authorities use when they name none.
pub(super) const PUBLIC_GOOD: &str = "public-good";

/// The roots by name; one that does not load is known, so that its users are not reported too.
#[derive(Debug, Default)]
pub(super) struct TrustedRoots {
    roots: BTreeMap<String, Option<Arc<TrustedRoot>>>,
}

impl TrustedRoots {
    pub(super) fn read(field: Option<&Field<'_>>, root: &Field<'_>, reader: &mut Reader) -> Self {
        let mut roots = BTreeMap::new();
        let entries = field.map(|field| field.entries(reader)).unwrap_or_default();
        for (name, field) in entries {
            roots.insert(name.name.clone(), read_root(&field, reader));
        }
        if !roots.contains_key(PUBLIC_GOOD) {
            roots.insert(PUBLIC_GOOD.to_owned(), load_built_in(root, reader));
        }
        Self { roots }
    }

    /// The names, known and loaded or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.roots.keys().map(String::as_str)
    }

    /// `None` where the name is not known; `Some(None)` where it did not load.
    pub(super) fn find(&self, name: &str) -> Option<Option<Arc<TrustedRoot>>> {
        self.roots.get(name).cloned()
    }

    pub(super) fn into_loaded(self) -> BTreeMap<String, Arc<TrustedRoot>> {
        self.roots
            .into_iter()
            .filter_map(|(name, root)| Some((name, root?)))
            .collect()
    }
}

fn read_root(field: &Field<'_>, reader: &mut Reader) -> Option<Arc<TrustedRoot>> {
    if field.scalar().is_some() {
        field.choice(&[("builtin", ())], reader)?;
        return load_built_in(field, reader);
    }
    let help = "write builtin or {file: trusted_root.json}";
    let section = field.section(KEYS, reader);
    let file = section.required("file", help, reader)?;
    match trust::load_trusted_root(&file.path(reader)?) {
        Ok(root) => Some(root),
        Err(error) => {
            reader.problem(
                &file,
                describe(&error),
                "name a Sigstore trusted_root.json, as `cosign trusted-root create` writes it",
            );
            None
        }
    }
}

fn load_built_in(field: &Field<'_>, reader: &mut Reader) -> Option<Arc<TrustedRoot>> {
    match trust::built_in_trusted_root() {
        Ok(root) => Some(root),
        Err(error) => {
            reader.problem(field, describe(&error), "name a file instead");
            None
        }
    }
}
