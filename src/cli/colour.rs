//! Colour for people at a terminal: the outcome and the headings stand out, and every word stays.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use clap::builder::styling::{AnsiColor, Effects, Style};

/// The choice for the whole process, made once by the command line.
static CHOICE: OnceLock<When> = OnceLock::new();

/// When output has colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// At a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always, in pipes too.
    Always,
    /// Never.
    Never,
}

/// Words that begin a line, or the text after a heading, with their colours.
const WORDS: [(&str, AnsiColor); 11] = [
    ("admitted", AnsiColor::Green),
    ("refused", AnsiColor::Red),
    ("cannot be decided", AnsiColor::Yellow),
    ("problem:", AnsiColor::Red),
    ("warning:", AnsiColor::Yellow),
    ("note:", AnsiColor::Cyan),
    ("ok ", AnsiColor::Green),
    ("PROBLEM", AnsiColor::Red),
    ("WARNING", AnsiColor::Yellow),
    ("UNKNOWN", AnsiColor::Yellow),
    ("policy ", AnsiColor::Blue),
];

/// Outcomes as they stand in a column of a table.
const CELLS: [(&str, AnsiColor); 3] = [
    ("admit", AnsiColor::Green),
    ("deny", AnsiColor::Red),
    ("unavailable", AnsiColor::Yellow),
];

impl When {
    /// Makes this the choice for the process.
    pub(super) fn choose(self) {
        // A second choice would come from a second command line.
        let _first = CHOICE.get_or_init(|| self);
    }
}

/// Returns true if text on standard output gets colour.
pub(super) fn is_on() -> bool {
    decide(
        CHOICE.get().copied().unwrap_or_default(),
        io::stdout().is_terminal(),
        &super::environment,
    )
}

/// `NO_COLOR` counts if it is not empty (no-color.org).
fn decide(choice: When, is_terminal: bool, environment: &dyn Fn(&str) -> Option<String>) -> bool {
    match choice {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            let is_refused = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
            let is_dumb = environment("TERM").as_deref() == Some("dumb");
            is_terminal && !is_refused && !is_dumb
        }
    }
}

/// The text with its outcomes and headings in colour.
pub(super) fn paint(text: &str) -> String {
    text.split_inclusive('\n').map(paint_line).collect()
}

fn paint_line(line: &str) -> String {
    let (heading, rest) = split_heading(line);
    let bold = Style::new().effects(Effects::BOLD);
    let heading = if heading.is_empty() {
        String::new()
    } else {
        format!("{bold}{heading}{bold:#}")
    };
    let text = rest.trim_start();
    let indent = rest.get(..rest.len() - text.len()).unwrap_or_default();
    for (word, colour) in WORDS {
        if let Some(after) = text.strip_prefix(word) {
            let style = Style::new()
                .fg_color(Some(colour.into()))
                .effects(Effects::BOLD);
            return format!("{heading}{indent}{style}{word}{style:#}{after}");
        }
    }
    paint_cell(line).unwrap_or_else(|| format!("{heading}{rest}"))
}

/// The number and name of a step, such as `1. image`.
fn split_heading(line: &str) -> (&str, &str) {
    let text = line.trim_start();
    let is_numbered = text.split_once(". ").is_some_and(|(number, _)| {
        number.len() == 1 && number.bytes().all(|it| it.is_ascii_digit())
    });
    match text.find("  ") {
        Some(end) if is_numbered => line.split_at(line.len() - text.len() + end),
        Some(_) | None => ("", line),
    }
}

/// A row of the log, whose second column is the outcome.
fn paint_cell(line: &str) -> Option<String> {
    let (time, rest) = line.trim_start().split_once(' ')?;
    time.starts_with(|character: char| character.is_ascii_digit())
        .then_some(())?;
    let cell = rest.trim_start();
    let (word, colour) = CELLS
        .into_iter()
        .find(|(word, _)| cell.starts_with(&format!("{word} ")))?;
    let start = line.len() - cell.len();
    let (before, after) = (line.get(..start)?, line.get(start + word.len()..)?);
    let style = Style::new().fg_color(Some(colour.into()));
    Some(format!("{before}{style}{word}{style:#}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_and_for_those_who_want_it() {
        let nothing = |_: &str| None;
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".to_owned());
        let empty = |name: &str| (name == "NO_COLOR").then(String::new);
        let dumb = |name: &str| (name == "TERM").then(|| "dumb".to_owned());
        assert!(decide(When::Auto, true, &nothing));
        assert!(decide(When::Auto, true, &empty));
        assert!(!decide(When::Auto, false, &nothing));
        assert!(!decide(When::Auto, true, &no_color));
        assert!(!decide(When::Auto, true, &dumb));
        assert!(decide(When::Always, false, &no_color));
        assert!(!decide(When::Never, true, &nothing));
    }

    #[test]
    fn outcomes_and_headings_are_painted_and_no_word_changes() {
        for (line, painted) in [
            (
                "admitted: a.io/b",
                "\u{1b}[1m\u{1b}[32madmitted\u{1b}[0m: a.io/b",
            ),
            (
                "problem: c.yaml:1",
                "\u{1b}[1m\u{1b}[31mproblem:\u{1b}[0m c.yaml:1",
            ),
            (
                " 5. decision     refused (unsigned)",
                "\u{1b}[1m 5. decision\u{1b}[0m     \u{1b}[1m\u{1b}[31mrefused\u{1b}[0m (unsigned)",
            ),
            (
                "2026-11-23T14:00:00Z  deny  unsigned",
                "2026-11-23T14:00:00Z  \u{1b}[31mdeny\u{1b}[0m  unsigned",
            ),
            ("  signed by refused@example", "  signed by refused@example"),
            ("", ""),
        ] {
            assert_eq!(paint_line(line), painted, "{line}");
        }
        assert_eq!(paint("a\n\nb\n"), "a\n\nb\n");
    }
}
