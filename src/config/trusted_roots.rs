//! `trusted_roots:`

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::reader::{Field, Reader, Section, describe};
use crate::policy::Root;
use crate::trust::{self, InitialRoot, Source};
use crate::verify::TrustedRoot;

pub(super) const KEYS: &[&str] = &["file", "tuf", "mirror"];
pub(super) const TUF_KEYS: &[&str] = &["url", "root", "target"];

/// The root that authorities use when they name none.
pub const PUBLIC_GOOD: &str = "public-good";

/// The roots by name; one that does not load is known, so that its users are not reported too.
#[derive(Debug, Default)]
pub(super) struct TrustedRoots {
    roots: BTreeMap<String, Option<Known>>,
    /// The public-good root is there because nothing else was written under its name.
    has_default: bool,
}

/// A root as it is known while the configuration is read, and where it comes from.
#[derive(Debug)]
struct Known {
    root: Root,
    source: Source,
}

impl TrustedRoots {
    pub(super) fn read(field: Option<&Field<'_>>, root: &Field<'_>, reader: &mut Reader) -> Self {
        let mut roots = BTreeMap::new();
        let entries = field.map(|field| field.entries(reader)).unwrap_or_default();
        for (name, field) in entries {
            roots.insert(name.name.clone(), read_root(&field, reader));
        }
        let has_default = !roots.contains_key(PUBLIC_GOOD);
        if has_default {
            roots.insert(PUBLIC_GOOD.to_owned(), load_built_in(None, root, reader));
        }
        Self { roots, has_default }
    }

    /// The names, known and loaded or not.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.roots.keys().map(String::as_str)
    }

    /// Returns true if the configuration itself names this root.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.roots.contains_key(name) && !(self.has_default && name == PUBLIC_GOOD)
    }

    /// `None` where the name is not known; `Some(None)` where it did not load.
    pub(super) fn find(&self, name: &str) -> Option<Option<Root>> {
        let known = self.roots.get(name)?;
        Some(known.as_ref().map(|known| known.root.clone()))
    }

    pub(super) fn into_sources(self) -> BTreeMap<String, Source> {
        self.roots
            .into_iter()
            .filter_map(|(name, known)| Some((name, known?.source)))
            .collect()
    }
}

fn read_root(field: &Field<'_>, reader: &mut Reader) -> Option<Known> {
    if field.scalar().is_some() {
        field.choice(&[("builtin", ())], reader)?;
        return load_built_in(None, field, reader);
    }
    let help = "write builtin, {mirror: https://…}, {file: trusted_root.json} or {tuf: {url: …, root: root.json}}";
    let section = field.section(KEYS, reader);
    match (
        section.get("file"),
        section.get("tuf"),
        section.get("mirror"),
    ) {
        (Some(file), None, None) => read_file(&file, reader),
        (None, Some(tuf), None) => read_tuf(&tuf, reader),
        (None, None, Some(mirror)) => {
            let mirror = read_url(&mirror, reader)?;
            load_built_in(Some(mirror), field, reader)
        }
        _ => {
            reader.problem(field, "no one place where the root comes from", help);
            None
        }
    }
}

fn read_file(file: &Field<'_>, reader: &mut Reader) -> Option<Known> {
    let path = file.path(reader)?;
    match trust::load_trusted_root(&path) {
        Ok(root) => {
            for note in root.notes() {
                reader.warn(file, WarningName::PartLeftOut, note);
            }
            Some(Known {
                root: Root::usable(root),
                source: Source::File { path },
            })
        }
        Err(error) => {
            reader.problem(
                file,
                describe(&error),
                "name a Sigstore trusted_root.json, as `cosign trusted-root create` writes it",
            );
            None
        }
    }
}

/// A TUF repository. Nothing is asked for while the configuration is read.
fn read_tuf(field: &Field<'_>, reader: &mut Reader) -> Option<Known> {
    let section = field.section(TUF_KEYS, reader);
    let url = section
        .required("url", "write the address of the TUF repository", reader)
        .and_then(|field| read_url(&field, reader));
    let root = read_initial_root(&section, reader);
    let target = match section.get("target") {
        Some(field) => field.text(reader)?.to_owned(),
        None => Source::TARGET.to_owned(),
    };
    let url = url?;
    Some(Known {
        root: Root::Unusable {
            reason: format!("the trusted root at {url} has not been fetched yet"),
        },
        source: Source::Tuf {
            url,
            root: InitialRoot::File(root?),
            target,
        },
    })
}

fn read_initial_root(section: &Section<'_>, reader: &mut Reader) -> Option<std::path::PathBuf> {
    let help = "name a copy of the repository's root.json, which is believed from the start";
    let field = section.required("root", help, reader)?;
    let path = field.path(reader)?;
    if let Err(error) = trust::read_text(&path) {
        reader.problem(&field, describe(&error), help);
        return None;
    }
    Some(path)
}

pub(super) fn read_url(field: &Field<'_>, reader: &mut Reader) -> Option<Url> {
    field.parse(
        "write an https address; plain http only on loopback",
        reader,
    )
}

fn load_built_in(mirror: Option<Url>, field: &Field<'_>, reader: &mut Reader) -> Option<Known> {
    match trust::built_in_trusted_root() {
        Ok(root) => Some(Known {
            root: Root::usable(Arc::<TrustedRoot>::clone(&root)),
            source: Source::BuiltIn { mirror },
        }),
        Err(error) => {
            reader.problem(field, describe(&error), "name a file instead");
            None
        }
    }
}
