//! `exceptions:`

use crate::config::WarningName;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::policies::read_patterns;
use super::reader::{Field, Reader, Section};
use crate::clock;
use crate::oci::Digest;
use crate::policy::exception::{Exception, Scope};

pub(super) const KEYS: &[&str] = &["images", "digests", "reason", "by", "until"];

/// The exceptions; those whose time is over are among them, and do nothing.
pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Vec<Arc<Exception>> {
    let items = field.map(|field| field.items(reader)).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| read_one(item, reader))
        .map(Arc::new)
        .collect()
}

fn read_one(field: &Field<'_>, reader: &mut Reader) -> Option<Exception> {
    let section = field.section(KEYS, reader);
    let scope = read_scope(&section, reader);
    let mut words = |key, help| {
        let field = section.required(key, help, reader)?;
        let text = field.text(reader)?.trim();
        if text.is_empty() {
            reader.problem(&field, "empty", help);
            return None;
        }
        Some(text.to_owned())
    };
    let reason = words("reason", "say why, such as the ticket");
    let by = words("by", "say who answers for it");
    let until = section
        .required("until", UNTIL_HELP, reader)
        .and_then(|field| read_until(&field, reader));
    let exception = Exception {
        scope: scope?,
        reason: reason?,
        by: by?,
        until: until?,
    };
    note(&exception, field, clock::now(), reader);
    Some(exception)
}

/// What its author may have forgotten, or not have considered.
fn note(exception: &Exception, field: &Field<'_>, now: Timestamp, reader: &mut Reader) {
    let Exception { scope, until, .. } = exception;
    if !exception.runs(now) {
        reader.warn(
            field,
            WarningName::ExceptionOver,
            format!("over since {until}: it lets nothing through"),
        );
        return;
    }
    let patterns = match scope {
        Scope::Images(patterns) => patterns.as_slice(),
        Scope::Digests(_) => &[],
    };
    let registry = patterns.iter().find(|it| it.covers_registry());
    if let Some(pattern) = registry.filter(|_| until.duration_since(now) > FOR_A_REGISTRY_MAX) {
        let days = FOR_A_REGISTRY_MAX.as_hours() / 24;
        let message =
            format!("`{pattern}` is a whole registry, excepted for more than {days} days");
        reader.warn(field, WarningName::ExceptionTooWide, message);
    }
}

/// How long a whole registry may be excepted without a warning.
const FOR_A_REGISTRY_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);

fn read_scope(section: &Section<'_>, reader: &mut Reader) -> Option<Scope> {
    let help = "write `images: [host/repository]` or `digests: [sha256:…]`";
    let (field, scope) = match (section.get("images"), section.get("digests")) {
        (Some(field), None) => {
            let patterns = read_patterns(&field, reader);
            let everything = patterns.iter().find(|it| it.covers_everything());
            if let Some(pattern) = everything {
                let message = format!("`{pattern}` excepts every image from every policy");
                reader.problem(&field, message, "name the repositories");
            }
            let scope = (!patterns.is_empty()).then_some(Scope::Images(patterns));
            (field, scope)
        }
        (None, Some(field)) => {
            let help = "write sha256: and 64 lower-case hex digits";
            let items = field.items(reader);
            let digests: std::collections::HashSet<_> = items
                .iter()
                .filter_map(|item| item.parse::<Digest>(help, reader))
                .collect();
            let scope = (!digests.is_empty()).then_some(Scope::Digests(digests));
            (field, scope)
        }
        (Some(_), Some(_)) => {
            let message = "both `images` and `digests`";
            reader.problem(section.field(), message, "make two exceptions of it");
            return None;
        }
        (None, None) => {
            let message = "the exception does not say what it is about";
            reader.problem(section.field(), message, help);
            return None;
        }
    };
    if scope.is_none() && field.items(&mut Reader::default()).is_empty() {
        reader.problem(&field, "the exception is about nothing", help);
    }
    scope
}

const UNTIL_HELP: &str =
    "write a time such as 2027-01-31T12:00:00Z, or a date, whose first moment (UTC) is the end";

/// A time, or a date for its first moment in UTC: an exception never lasts longer than it reads.
fn read_until(field: &Field<'_>, reader: &mut Reader) -> Option<Timestamp> {
    let text = field.text(reader)?;
    let of_date = || {
        let date: Date = text.parse().ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    // A date with a time and no offset is a date to the parser: half of what is written must not be dropped.
    let until = if text.len() == "2027-01-31".len() {
        of_date()
    } else {
        text.parse().ok()
    };
    if until.is_none() {
        let message = format!("`{}` is no time", field.written());
        reader.problem(field, message, UNTIL_HELP);
    }
    until
}
