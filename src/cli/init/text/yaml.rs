//! Values and comments in YAML. Both may hold text from a registry or a certificate, and neither may end its line.

/// A value. A reference to the environment in it is escaped.
pub(in crate::cli::init) fn scalar(text: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "./@_+-".contains(character);
    let starts =
        text.starts_with(|character: char| character.is_ascii_alphabetic() || character == '/');
    let colons = text.replace("://", "//");
    let is_word = matches!(text, "null" | "true" | "false" | "yes" | "no");
    if starts && !is_word && colons.chars().all(is_plain) {
        return text.to_owned();
    }
    quoted(text)
}

/// A value in quotes.
pub(super) fn quoted(text: &str) -> String {
    let text = text.replace("${", "$${");
    if text.chars().any(ends_line) {
        let mut quoted = String::from("\"");
        for character in text.chars() {
            match character {
                '"' | '\\' => quoted.extend(['\\', character]),
                character if ends_line(character) => push_escape(character, &mut quoted),
                character => quoted.push(character),
            }
        }
        quoted.push('"');
        return quoted;
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Adds a comment of one line. A line of configuration is taken in by removing the `# `.
pub(super) fn comment(to: &mut String, indent: &str, text: &str) {
    to.push_str(indent);
    to.push_str("# ");
    for character in text.chars() {
        match ends_line(character) {
            true => push_escape(character, to),
            false => to.push(character),
        }
    }
    to.push('\n');
}

/// Tells if a character ends a line for some reader of YAML, or does not print.
fn ends_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn push_escape(character: char, to: &mut String) {
    to.push_str(&format!("\\u{:04x}", u32::from(character)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::tree;

    #[test]
    fn values_are_read_back_as_they_were() {
        for text in [
            "release",
            "https://github.com/org/app/.github/workflows/release.yml@refs/heads/main",
            r"https://github\.com/org/app/\.github/workflows/r\.yml@refs/tags/.+",
            "it's: # a \"test\"",
            "127.0.0.1:5000/app",
            "true",
            "1.10",
            "a\nb\u{2028}c\u{85}\\",
            "",
            " x ",
            "- a",
            "@a",
        ] {
            let document = format!("key: {}\n", scalar(text));
            let read = tree::documents(&document).unwrap();
            assert_eq!(read[0]["key"], text, "{document}");
        }
    }

    #[test]
    fn values_do_not_refer_to_the_environment() {
        assert_eq!(scalar("${HOME}"), "'$${HOME}'");
    }

    #[test]
    fn comment_is_one_line_whatever_it_says() {
        let mut text = String::new();
        comment(&mut text, "  ", "a\ndefault: audit\r\u{85}\u{2028}b");
        assert_eq!(text, "  # a\\u000adefault: audit\\u000d\\u0085\\u2028b\n");
    }
}
