//! The catalogue of publishers who sign in public, and `catalog:`, which takes entries of it into a configuration.
//!
//! An entry is a file of `config/catalog`: who signs which images, in the form of `policies:`, and where the publisher
//! says so. What runs without any configuration is all of them.

use crate::config::WarningName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use super::check::nowhere;
use super::policies::{self, Surroundings};
use super::reader::{Field, Reader, Section};
use super::trusted_roots::TrustedRoots;
use super::yaml::{self, Source, Value};
use super::{Position, Problems};
use crate::policy::{DefaultAction, Mode, Policy};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/config/catalog");

/// The keys of an item of `catalog:` that is not just a name.
pub(super) const KEYS: &[&str] = &["name", "mode"];
pub(super) const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("audit", Mode::Audit)];

/// The keys of an entry's file.
const ENTRY_KEYS: &[&str] = &["name", "title", "source", "date", "policies"];

/// How alike two names are for one to be a slip of the other, from 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// A publisher.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is called in `catalog:`; the name of its file.
    pub name: String,
    /// The publisher.
    pub title: String,
    /// Where the publisher says who signs, or does it.
    pub source: String,
    /// The day on which that was read.
    pub date: String,
    /// Who must have signed which images.
    pub policies: Vec<Arc<Policy>>,
    /// The items of `policies:` as they are written, comments included.
    native: String,
}

/// There is no such entry.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the catalogue has no `{name}`{}", .near.as_ref().map(|near| format!("; it has {near}")).unwrap_or_default())]
pub struct Unknown {
    /// The name.
    name: String,
    /// Names that are like it.
    near: Option<String>,
}

/// What `catalog:` takes of an entry, and where it says so.
struct Choice<'n> {
    name: &'static str,
    mode: Option<Mode>,
    field: Field<'n>,
}

/// All entries by name.
///
/// # Errors
/// Never in a released build; a test reads them.
pub fn entries() -> Result<Vec<Entry>, Problems> {
    let mut reader = Reader::default();
    let nowhere = nowhere(Value::Null);
    let roots = TrustedRoots::read(None, &Field::root(&nowhere), &mut reader);
    let entries = names()
        .into_iter()
        .filter_map(|name| read_entry(name, &roots, &mut reader))
        .collect();
    if reader.problems.is_empty() {
        Ok(entries)
    } else {
        Err(Problems(reader.problems))
    }
}

/// The entries of these names, in this order.
///
/// # Errors
/// The first name that is none.
pub fn select(entries: &[Entry], chosen: &[String]) -> Result<Vec<Entry>, Unknown> {
    let find = |name: &String| {
        let found = entries.iter().find(|entry| entry.name == *name);
        found.cloned().ok_or_else(|| Unknown::new(name))
    };
    chosen.iter().map(find).collect()
}

impl Entry {
    /// The entry as items of `policies:` in a configuration, with its source.
    #[must_use]
    pub fn native(&self) -> String {
        format!(
            "  # {}: {}, read {}\n{}",
            self.title, self.source, self.date, self.native
        )
    }
}

impl Entry {
    /// The hosts that its images and their signatures lie on.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<String> {
        let names = self.policies.iter().flat_map(|policy| {
            let repositories = policy.signature_repositories.iter();
            let repositories = repositories.map(ToString::to_string);
            policy.coverage.patterns().into_iter().chain(repositories)
        });
        names
            .filter_map(|name| host(&name).map(str::to_owned))
            .collect()
    }
}

impl Unknown {
    fn new(name: &str) -> Self {
        let alike = |known: &&'static str| {
            let begins = !name.is_empty() && (known.starts_with(name) || name.starts_with(*known));
            begins || strsim::normalized_damerau_levenshtein(known, name) >= LIKENESS_MIN
        };
        let near: Vec<_> = names().into_iter().filter(alike).collect();
        Self {
            name: name.to_owned(),
            near: (!near.is_empty()).then(|| near.join(", ")),
        }
    }
}

/// The names, in order.
pub(super) fn names() -> Vec<&'static str> {
    let stems = FILES.files().filter_map(|file| file.path().file_stem());
    let mut names: Vec<_> = stems.filter_map(|stem| stem.to_str()).collect();
    names.sort_unstable();
    names
}

/// Adds the policies of the chosen entries to those that the configuration has itself.
pub(super) fn read(
    field: Option<&Field<'_>>,
    surroundings: &Surroundings<'_>,
    policies: &mut Vec<Arc<Policy>>,
    reader: &mut Reader,
) {
    let Some(field) = field else {
        return;
    };
    let takes_all = field.scalar().is_some();
    for choice in read_choices(field, reader) {
        let Some(entry) = read_entry(choice.name, surroundings.roots, reader) else {
            continue;
        };
        if !takes_all {
            check_hosts(&entry, &choice.field, surroundings, reader);
        }
        for policy in &entry.policies {
            if let Some(other) = policies.iter().find(|it| it.name == policy.name) {
                refuse_same_name(&choice.field, other, reader);
            }
            policies.push(match choice.mode {
                Some(mode) => Arc::new(with_mode(policy, mode)),
                None => Arc::clone(policy),
            });
        }
    }
}

fn with_mode(policy: &Policy, mode: Mode) -> Policy {
    let policy = Policy {
        mode,
        ..policy.clone()
    };
    policy.with_hash()
}

fn refuse_same_name(field: &Field<'_>, other: &Policy, reader: &mut Reader) {
    let place = other.origin.as_ref().map(ToString::to_string);
    reader.problem(
        field,
        format!("`{}` is the name of two policies", other.name),
        format!(
            "the other one is at {}; rename that one, or leave this entry out",
            place.unwrap_or_default()
        ),
    );
}

/// `all`, or a list of names and of `{name, mode}`.
fn read_choices<'n>(field: &Field<'n>, reader: &mut Reader) -> Vec<Choice<'n>> {
    if field.scalar().is_some() {
        let all = field.choice(&[("all", ())], reader);
        let all = all.map(|()| names()).unwrap_or_default();
        return all
            .into_iter()
            .map(|name| Choice {
                name,
                mode: None,
                field: field.clone(),
            })
            .collect();
    }
    let mut first: BTreeMap<&str, Position> = BTreeMap::new();
    let mut choices = Vec::new();
    for item in field.items(reader) {
        let Some(choice) = read_choice(&item, reader) else {
            continue;
        };
        let position = item.node.position.clone();
        match first.insert(choice.name, position) {
            None => choices.push(choice),
            Some(first) => reader.problem(
                &item,
                format!("`{}` is there twice", choice.name),
                format!("the first time is at {first}; remove one of them"),
            ),
        }
    }
    choices
}

fn read_choice<'n>(item: &Field<'n>, reader: &mut Reader) -> Option<Choice<'n>> {
    if item.scalar().is_some() {
        return Some(Choice {
            name: read_name(item, reader)?,
            mode: None,
            field: item.clone(),
        });
    }
    let section = item.section(KEYS, reader);
    let help = "write the name of an entry, or {name: …, mode: audit}";
    let name = section.required("name", help, reader);
    let mode = section.get("mode");
    let mode = mode.and_then(|field| field.choice(&MODES, reader));
    Some(Choice {
        name: read_name(&name?, reader)?,
        mode,
        field: item.clone(),
    })
}

fn read_name(field: &Field<'_>, reader: &mut Reader) -> Option<&'static str> {
    let text = field.text(reader)?;
    let known = names().into_iter().find(|name| *name == text);
    if known.is_none() {
        let help = match Unknown::new(text).near {
            Some(near) => format!("near it are {near}; `countersign policy catalog` lists all"),
            None => "`countersign policy catalog` lists the names".to_owned(),
        };
        let message = format!("the catalogue has no `{}`", field.written());
        reader.problem(field, message, help);
    }
    known
}

/// An entry covers what is pulled, and its signatures can be had.
fn check_hosts(
    entry: &Entry,
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let mut covers_something = false;
    for policy in &entry.policies {
        let patterns = policy.coverage.patterns();
        let hosts = patterns.iter().filter_map(|it| host(it));
        if !hosts
            .into_iter()
            .any(|host| surroundings.hosts.contains(&host))
        {
            continue;
        }
        covers_something = true;
        for repository in &policy.signature_repositories {
            if !surroundings.hosts.contains(&repository.host()) {
                let message = format!(
                    "the signatures of `{}` lie in {repository}, whose host is not among the upstreams",
                    policy.name
                );
                reader.problem(field, message, "add it under `upstreams`");
            }
        }
    }
    if !covers_something {
        let name = &entry.name;
        let message = format!("`{name}` covers nothing: none of its hosts is among the upstreams");
        reader.warn(field, WarningName::CoversNothing, message);
    }
}

fn host(name: &str) -> Option<&str> {
    name.split_once('/').map(|(host, _)| host)
}

fn read_entry(name: &'static str, roots: &TrustedRoots, reader: &mut Reader) -> Option<Entry> {
    let path = format!("{name}.yaml");
    let text = FILES.get_file(&path)?.contents_utf8()?;
    let source = Source {
        path: Path::new("catalog").join(&path),
        text: text.to_owned(),
    };
    match yaml::parse(&source) {
        Ok(root) => read_root(&Field::root(&root), text, roots, reader),
        Err(problems) => {
            reader.problems.extend(problems);
            None
        }
    }
}

fn read_root(
    root: &Field<'_>,
    text: &str,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Entry> {
    let section = root.section(ENTRY_KEYS, reader);
    let field = section.required("policies", "say who must have signed what", reader)?;
    let hosts = hosts(&field);
    let surroundings = Surroundings {
        roots,
        hosts: hosts.iter().map(String::as_str).collect(),
        default: DefaultAction::Deny,
    };
    let (_, native) = text.split_once("\npolicies:\n")?;
    Some(Entry {
        name: read_text(&section, "name", reader)?,
        title: read_text(&section, "title", reader)?,
        source: read_text(&section, "source", reader)?,
        date: read_text(&section, "date", reader)?,
        policies: policies::read(Some(&field), &surroundings, reader),
        native: native.to_owned(),
    })
}

fn read_text(section: &Section<'_>, key: &'static str, reader: &mut Reader) -> Option<String> {
    let field = section.required(key, "every entry has one", reader)?;
    field.text(reader).map(str::to_owned)
}

/// The hosts that an entry names itself: which of them are configured is not its business.
fn hosts(policies: &Field<'_>) -> Vec<String> {
    let mut ignored = Reader::default();
    let mut names = Vec::new();
    for policy in policies.items(&mut ignored) {
        for (key, field) in policy.entries(&mut ignored) {
            match key.name.as_str() {
                "images" => names.extend(field.items(&mut ignored)),
                "signature_repository" => names.push(field),
                _ => {}
            }
        }
    }
    let written = names.iter().map(Field::written);
    written.filter_map(host).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
