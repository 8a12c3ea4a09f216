//! Identities and expressions that say something else than it seems: they let in who is not meant, or nobody.

use super::reader::{Field, Reader};
use crate::config::WarningName;
use crate::policy::Matcher;

/// Warns of an asterisk, which stands for any text in expressions and in other projects' patterns, and not here.
pub(super) fn note_exact(text: &str, field: &Field<'_>, reader: &mut Reader) {
    if text.contains('*') {
        reader.warn(
            field, WarningName::LiteralAsterisk,
            format!(
                "`{}` is compared as it is: `*` stands for itself; to allow any text there, write an expression",
                field.written()
            ),
        );
    }
}

/// Warns of an expression that lets in others beside those that its author has in mind.
pub(super) fn note_expression(matcher: &Matcher, field: &Field<'_>, reader: &mut Reader) {
    let source = matcher.source();
    if matcher.constrains_little() {
        let message = format!("`{}` matches almost anybody", field.written());
        reader.warn(field, WarningName::AlsoAccepts, message);
    } else if let Some(other) = beside(&source).filter(|it| matcher.matches(it)) {
        // What the expression says may have come from a variable of the environment.
        let other = if field.written() == source {
            format!("`{other}`")
        } else {
            "identities of others whose names begin alike".to_owned()
        };
        reader.warn(
            field,
            WarningName::AlsoAccepts,
            format!("`{}` also accepts {other}", field.written()),
        );
    } else if let Some((host, escaped)) = host_with_open_dot(&source)
        && field.written() == source
    {
        reader.warn(
            field,
            WarningName::AlsoAccepts,
            format!("a dot stands for any character in `{host}`: write `{escaped}`"),
        );
    }
}

/// Warns of an expression that probably revokes nobody: it must match the whole identity.
pub(super) fn note_revoking(matcher: &Matcher, field: &Field<'_>, reader: &mut Reader) {
    let source = matcher.source();
    let open = [".*", ".+"];
    let is_open = open
        .iter()
        .any(|it| source.starts_with(it) || source.ends_with(it));
    if !is_open && !source.contains("://") && !source.contains('@') {
        let written = field.written();
        reader.warn(
            field, WarningName::CoversNothing,
            format!(
                "an expression must match the whole identity, and none is just `{written}`: write `.*{written}.*` to \
                 revoke every identity with it"
            ),
        );
    }
}

/// What stands for text of somebody's choice.
const WILDCARDS: [&str; 6] = [".*", ".+", "[^/]*", "[^/]+", "\\S*", "\\S+"];

/// An identity of somebody else at the same host, or at a host whose name begins alike, that may match: in
/// `https://github\.com/org.*` the name of the owner goes on.
fn beside(source: &str) -> Option<String> {
    let source = source.strip_prefix('^').unwrap_or(source);
    let source = source.strip_suffix('$').unwrap_or(source);
    let source = first_alternatives(source);
    let found = WILDCARDS
        .iter()
        .filter_map(|it| Some((source.find(it)?, it.len())));
    let (start, length) = found.min()?;
    let before = plain(source.get(..start)?)?;
    let after = source.get(start + length..)?;
    let after = WILDCARDS
        .iter()
        .fold(after.to_owned(), |text, it| text.replace(it, "x"));
    let after = plain(&after)?;
    let Some((scheme, name)) = before.split_once("://") else {
        // The host of an address goes on.
        let goes_on = before.contains('@') && !before.ends_with('@') && after.is_empty();
        return goes_on.then(|| format!("{before}.evil.example"));
    };
    if !["http", "https"].contains(&scheme) {
        return None;
    }
    match name.split_once('/') {
        None if name.is_empty() || !after.is_empty() => None,
        None => Some(format!("{before}.evil.example/x")),
        Some((_, "")) => Some(format!("{before}somebody-else/x{after}")),
        Some((_, owner)) if owner.contains('/') => None,
        Some(_) if after.is_empty() => Some(format!(
            "{before}-evil/x/.github/workflows/x.yml@refs/heads/x"
        )),
        Some(_) => Some(format!("{before}-evil{after}")),
    }
}

/// Each group of plain alternatives is the first of them.
fn first_alternatives(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source;
    while let Some((before, group)) = rest.split_once('(') {
        text.push_str(before);
        let inner = group
            .split_once(')')
            .filter(|(inner, _)| !inner.contains('('));
        let Some((inner, after)) = inner else {
            text.push('(');
            rest = group;
            continue;
        };
        let inner = inner.strip_prefix("?:").unwrap_or(inner);
        text.push_str(inner.split('|').next().unwrap_or_default());
        rest = after;
    }
    text.push_str(rest);
    text
}

/// What an expression without wildcards says; nothing if it says more than one thing.
fn plain(source: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().filter(|it| !it.is_alphanumeric())?),
            '[' | ']' | '(' | ')' | '{' | '}' | '*' | '+' | '?' | '|' | '^' | '$' => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

/// The first host in which a dot is not escaped, and how it should be written.
fn host_with_open_dot(source: &str) -> Option<(String, String)> {
    let starts = ["://", "@"];
    let starts = starts
        .iter()
        .filter_map(|it| Some(source.find(it)? + it.len()));
    let host = source.get(starts.min()?..)?;
    let in_host = |it: char| it.is_ascii_alphanumeric() || ".-\\".contains(it);
    let end = host.find(|it| !in_host(it)).unwrap_or(host.len());
    let (host, rest) = host.split_at_checked(end)?;
    // The last dot is repeated, and stands for any text.
    let host = match rest.chars().next() {
        Some('*' | '+' | '?' | '{') => host.strip_suffix('.').unwrap_or(host),
        Some(_) | None => host,
    };
    let mut escaped = String::new();
    let mut before = ' ';
    for character in host.chars() {
        if character == '.' && before != '\\' {
            escaped.push('\\');
        }
        escaped.push(character);
        before = character;
    }
    (escaped != host).then(|| (host.to_owned(), escaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_else_an_expression_lets_in() {
        for (source, expected) in [
            (
                "https://github\\.com/org.*",
                Some("https://github.com/org-evil/x/.github/workflows/x.yml@refs/heads/x"),
            ),
            (
                "^https://github.com/org[^/]*/app/.*$",
                Some("https://github.com/org-evil/app/x"),
            ),
            (
                "https://github\\.com/(org|other).+",
                Some("https://github.com/org-evil/x/.github/workflows/x.yml@refs/heads/x"),
            ),
            (
                "https://github\\.com/.*",
                Some("https://github.com/somebody-else/x"),
            ),
            (
                "https://github\\.com/.+/release\\.yml",
                Some("https://github.com/somebody-else/x/release.yml"),
            ),
            (
                "https://github\\.com.*",
                Some("https://github.com.evil.example/x"),
            ),
            ("ci@corp\\.example.*", Some("ci@corp.example.evil.example")),
            ("https://github\\.com/org/.*", None),
            ("https://github\\.com/org/app.*", None),
            ("https://github\\.com/(org|other)/.+", None),
            ("https://.+\\.corp\\.example/org/.*", None),
            (".*@corp\\.example", None),
            ("spiffe://corp\\.example/ns.*", None),
            ("https://github\\.com/[a-z]+.*", None),
        ] {
            assert_eq!(beside(source).as_deref(), expected, "{source}");
            if let Some(other) = expected {
                assert!(Matcher::expression(source).unwrap().matches(other));
            }
        }
    }

    #[test]
    fn finds_a_dot_that_stands_for_any_character() {
        for (source, expected) in [
            (
                "https://github.com/org/.*",
                Some(("github.com", "github\\.com")),
            ),
            (
                "https://gitlab\\.corp.example/.*",
                Some(("gitlab\\.corp.example", "gitlab\\.corp\\.example")),
            ),
            (".*@corp.example", Some(("corp.example", "corp\\.example"))),
            ("https://github\\.com/org/a.b", None),
            ("https://github\\.com.*", None),
            ("https://.*\\.corp\\.example/.*", None),
            ("a.b", None),
        ] {
            let found = host_with_open_dot(source);
            let found = found
                .as_ref()
                .map(|(host, it)| (host.as_str(), it.as_str()));
            assert_eq!(found, expected, "{source}");
        }
    }
}
