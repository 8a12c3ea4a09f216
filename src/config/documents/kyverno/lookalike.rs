//! Identities that a wildcard or an unanchored expression lets through beside those that its author had in mind.

use super::super::super::reader::{Field, Reader};
use crate::config::WarningName;
use crate::policy::Matcher;

/// Warns where somebody else can have an identity that matches, and shows one.
pub(super) fn note(matcher: &Matcher, written: &str, field: &Field<'_>, reader: &mut Reader) {
    match matcher {
        Matcher::Wildcard { .. } => {
            if let Some(identity) = beside_wildcard(written).filter(|it| matcher.matches(it)) {
                reader.warn(
                    field,
                    WarningName::AlsoAccepts,
                    format!("`{written}` also accepts `{identity}`"),
                );
            }
        }
        Matcher::Search { .. } => {
            let anchored = written.starts_with('^') && written.ends_with('$');
            let identity = beside_expression(written).filter(|it| matcher.matches(it));
            match identity {
                Some(identity) => {
                    reader.warn(field, WarningName::AlsoAccepts, format!("`{written}` also accepts `{identity}`"));
                }
                None if !anchored => reader.warn(
                    field, WarningName::Unanchored,
                    format!("`{written}` is not anchored with ^ and $: it accepts any text around what it matches"),
                ),
                None => {}
            }
        }
        Matcher::Exact(_) | Matcher::Expression { .. } | Matcher::Any(_) | Matcher::All(_) => {}
    }
}

/// `https://github.com/org*` is also what begins with `https://github.com/org-evil`.
fn beside_wildcard(written: &str) -> Option<String> {
    let star = written.find('*')?;
    let (before, after) = written.split_at_checked(star)?;
    let host_only = before
        .split_once("://")
        .is_some_and(|(_, rest)| !rest.trim_end_matches('/').contains('/'));
    let inserted = if before.ends_with(['/', '@', ':', '.', '=']) {
        if !host_only {
            return None;
        }
        "somebody-else/x"
    } else if after.len() > 1 {
        "-evil/x"
    } else {
        "-evil/.github/workflows/x.yml@refs/heads/x"
    };
    let after = after.replace('*', "").replace('?', "x");
    Some(format!("{before}{inserted}{after}").replace('?', "x"))
}

/// The expression's own text, with something before or after it.
fn beside_expression(written: &str) -> Option<String> {
    let core = written.strip_prefix('^').unwrap_or(written);
    let core = core.strip_suffix('$').unwrap_or(core);
    let core = core
        .replace("[^/]+", "x")
        .replace("[^/]*", "x")
        .replace(".*", "x")
        .replace(".+", "x")
        .replace('\\', "");
    if core.contains(['(', '[', '|', '{', '*', '+', '?']) {
        return None;
    }
    match (written.starts_with('^'), written.ends_with('$')) {
        (false, _) => Some(format!("https://evil.example/?{core}")),
        (true, false) => Some(format!("{core}-evil")),
        (true, true) => None,
    }
}
