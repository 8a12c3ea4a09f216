//! `clients:`

use crate::config::WarningName;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::policies::read_patterns;
use super::reader::{Field, Reader, Section, describe};
use crate::clients::{Admits, Clients, Rule, Users};
use crate::limits::Limits;
use crate::trust;

pub(super) const KEYS: &[&str] = &["basic", "anonymous", "images"];
pub(super) const BASIC_KEYS: &[&str] = &["htpasswd"];

/// Password files that have been read, so that two rules with the same file share its users.
type Files = HashMap<PathBuf, Option<Arc<Users>>>;

pub(super) fn read(field: &Field<'_>, limits: &Limits, reader: &mut Reader) -> Clients {
    let mut files = Files::new();
    let items = field.items(reader);
    if items.is_empty() {
        reader.warn(
            field,
            WarningName::NobodyMayPull,
            "an empty list: nobody may pull anything",
        );
    }
    let rules = items
        .iter()
        .filter_map(|item| read_rule(item, &mut files, reader))
        .collect();
    if files.len() > Clients::FILES_MAX {
        reader.problem(
            field,
            format!("more than {} password files", Clients::FILES_MAX),
            "put users with the same rights into one file",
        );
    }
    Clients::new(rules, limits.password_failures_max)
}

fn read_rule(field: &Field<'_>, files: &mut Files, reader: &mut Reader) -> Option<Rule> {
    let section = field.section(KEYS, reader);
    let images = section
        .required(
            "images",
            "list the repositories, such as ghcr.io/**; `**` is all",
            reader,
        )
        .map(|field| (read_patterns(&field, reader), field));
    if let Some((patterns, field)) = &images
        && patterns.is_empty()
        && field.items(&mut Reader::default()).is_empty()
    {
        reader.problem(
            field,
            "the rule is about no image",
            "list the repositories, such as ghcr.io/**",
        );
    }
    let admits = read_admits(&section, files, reader);
    let (images, _) = images?;
    Some(Rule {
        images,
        admits: admits?,
    })
}

fn read_admits(section: &Section<'_>, files: &mut Files, reader: &mut Reader) -> Option<Admits> {
    let help = "write `basic: {htpasswd: FILE}` or `anonymous: true`";
    match (section.get("basic"), section.get("anonymous")) {
        (Some(field), None) => {
            let basic = field.section(BASIC_KEYS, reader);
            let file = basic.required("htpasswd", help, reader)?;
            read_users(&file, files, reader).map(Admits::Basic)
        }
        (None, Some(field)) => {
            if field.boolean(reader)? {
                return Some(Admits::Anonymous);
            }
            reader.problem(
                &field,
                "a rule that lets nobody in",
                "remove the rule: what no rule allows is refused",
            );
            None
        }
        (Some(_), Some(_)) => {
            reader.problem(
                section.field(),
                "both `basic` and `anonymous`",
                "make two rules of it",
            );
            None
        }
        (None, None) => {
            reader.problem(
                section.field(),
                "the rule does not say whom it is about",
                help,
            );
            None
        }
    }
}

fn read_users(field: &Field<'_>, files: &mut Files, reader: &mut Reader) -> Option<Arc<Users>> {
    let path = field.path(reader)?;
    if let Some(known) = files.get(&path) {
        return known.clone();
    }
    let users = load_users(field, &path, reader);
    files.insert(path, users.clone());
    users
}

fn load_users(field: &Field<'_>, path: &Path, reader: &mut Reader) -> Option<Arc<Users>> {
    let text = match trust::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            reader.problem(
                field,
                describe(&error),
                "make the file with `htpasswd -B -c FILE USER`",
            );
            return None;
        }
    };
    match Users::from_text(&text) {
        Ok(users) => {
            if users.is_empty() {
                reader.warn(
                    field,
                    WarningName::NobodyMayPull,
                    format!("{} has no users", path.display()),
                );
            }
            Some(Arc::new(users))
        }
        Err(errors) => {
            for error in errors {
                reader.problem(
                    field,
                    format!("{}: {error}", path.display()),
                    "make the entry anew with `htpasswd -B FILE USER`",
                );
            }
            None
        }
    }
}
