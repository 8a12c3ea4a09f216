//! What commands say: results to standard output, everything else to standard error. Nothing else in the command line
//! writes to either, and a reader that has left (`| head`) is no failure.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use super::colour;
use comfy_table::{ContentArrangement, Table, TableStyle};

/// How a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The columns of explanations; wider terminals show no more.
pub(super) const TEXT_COLUMNS: u16 = 100;

/// Writes a part of a command's result. Whether anybody is still reading.
pub(super) fn print(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != ErrorKind::BrokenPipe {
                tell(&format!("cannot write to standard output: {error}"));
            }
            false
        }
    }
}

/// Writes text for people: with colour where that is wanted. Whether anybody is still reading.
pub(super) fn print_for_people(text: &str) -> bool {
    if colour::is_on() {
        print(&colour::paint(text))
    } else {
        print(text)
    }
}

/// Writes a value as one line of JSON. Whether anybody is still reading.
pub(super) fn print_json(value: &impl serde::Serialize) -> bool {
    match serde_json::to_string(value) {
        Ok(line) => print(&format!("{line}\n")),
        Err(error) => {
            tell(&format!("cannot write the answer as JSON: {error}"));
            false
        }
    }
}

/// Tells a person something that is not the command's result.
pub(super) fn tell(text: &str) {
    // There is nobody to tell that standard error is closed.
    drop(writeln!(io::stderr(), "countersign: {text}"));
}

/// Returns true if somebody reads standard error at a terminal.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Shows several lines of text on standard error, as they are.
pub(super) fn show(text: &str) {
    // There is nobody to tell that standard error is closed.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// A table of at most [`TEXT_COLUMNS`], or as wide as the terminal if that is narrower; longer cells wrap.
pub(super) fn wrapping_table(style: TableStyle) -> Table {
    let mut table = Table::new();
    let terminal = table.width().unwrap_or(TEXT_COLUMNS);
    table
        .load_style(style)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(terminal.min(TEXT_COLUMNS));
    table
}

/// A table for logs: as wide as the terminal, and one line for each row where it goes to another program.
pub(super) fn log_table() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}
