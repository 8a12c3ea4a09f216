//! Expressions in the syntax of RE2, as Go and so the other projects have them.

/// The same expression in the syntax of `regex`, where that reads something else. Perl's classes are of ASCII in Go, and
/// of Unicode here, which would match more; brackets in brackets, `&&`, `--` and `~~` are plain characters in Go, and
/// operations on classes here; `\<` is an angle bracket in Go, and the start of a word here.
pub(crate) fn translated(source: &str) -> String {
    let mut translated = String::new();
    let mut characters = source.chars().peekable();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => translated.push_str(&escaped(characters.next())),
            '[' if !in_class => {
                in_class = true;
                translated.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    translated.push('^');
                }
                if characters.next_if_eq(&']').is_some() {
                    translated.push_str("\\]");
                }
            }
            '[' if characters.peek() == Some(&':') => {
                // A class by name, up to its own bracket.
                translated.push('[');
                for character in characters.by_ref() {
                    translated.push(character);
                    if character == ']' {
                        break;
                    }
                }
            }
            ']' if in_class => {
                in_class = false;
                translated.push(']');
            }
            '[' | '&' | '~' if in_class => translated.extend(['\\', character]),
            '-' if in_class && translated.ends_with('-') => translated.push_str("\\-"),
            other => translated.push(other),
        }
    }
    translated
}

/// What stands after a backslash.
fn escaped(character: Option<char>) -> String {
    let class = match character {
        Some('d') => "[0-9]",
        Some('D') => "[^0-9]",
        Some('w') => "[0-9A-Za-z_]",
        Some('W') => "[^0-9A-Za-z_]",
        Some('s') => "[\\t\\n\\f\\r ]",
        Some('S') => "[^\\t\\n\\f\\r ]",
        Some('b') => "(?-u:\\b)",
        Some('B') => "(?-u:\\B)",
        Some(angle @ ('<' | '>')) => return angle.to_string(),
        Some(other) => return format!("\\{other}"),
        None => "\\",
    };
    class.to_owned()
}

#[cfg(test)]
mod tests {
    use crate::policy::Matcher;

    #[test]
    fn classes_are_those_of_the_projects() {
        let matches = |source: &str, text: &str| Matcher::search(source).unwrap().matches(text);
        for (source, text, expected) in [
            ("^\\d+$", "123", true),
            ("^\\d+$", "\u{0661}", false),
            ("^\\w$", "\u{e9}", false),
            ("^\\s$", "\u{a0}", false),
            ("^[\\w.]+$", "a.b", true),
            ("^[^\\d]$", "\u{0661}", true),
            ("^a\\.b\\\\d$", "a.b\\d", true),
            // Go's classes have no operations and no brackets of their own.
            ("^[a&&b]$", "&", true),
            ("^[a&&b]$", "b", true),
            ("^[x[^y]$", "^", true),
            ("^[x[^y]$", "z", false),
            ("^[x[^y]]$", "z", false),
            ("^[x[^y]]$", "x]", true),
            ("^[]a]$", "]", true),
            ("^[^]a]$", "b", true),
            ("^[[:alpha:]1]$", "z", true),
            ("^[[:alpha:]&&1]$", "&", true),
            ("^[[:alpha:]&&1]$", "1", true),
            ("^[a]&[b]$", "a&b", true),
            ("^[a]]$", "a]", true),
            ("^[+--]$", ",", true),
            ("^[a~~b]$", "~", true),
            ("\\<a\\>", "<a>", true),
            ("\\<a\\>", "a", false),
            ("^\\ba\\b$", "a", true),
        ] {
            assert_eq!(matches(source, text), expected, "{source} {text}");
        }
        assert!(Matcher::search("(").is_err());
    }
}
