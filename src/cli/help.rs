//! The help of all commands, fitted to the width of the terminal.

use clap::builder::StyledStr;

/// The longest example that stays on one line with the remark behind it.
const EXAMPLE_COLUMNS: usize = 78;

/// The command with the paragraphs after its help in one line each, so that only clap wraps them.
pub(super) fn fitted(command: clap::Command) -> clap::Command {
    let after = command.get_after_help().map(StyledStr::to_string);
    let command = match after {
        Some(text) => command.after_help(reflow(&text)),
        None => command,
    };
    command.mut_subcommands(fitted)
}

/// Joins the lines of each paragraph, and puts remarks behind long examples above them. Lines with an indent are examples.
fn reflow(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut is_in_paragraph = false;
    for line in text.lines() {
        let is_example = line.starts_with(' ');
        match lines.last_mut() {
            Some(last) if is_in_paragraph && !is_example && !line.is_empty() => {
                last.push(' ');
                last.push_str(line);
            }
            Some(_) | None if is_example => lines.extend(example(line)),
            Some(_) | None => lines.push(line.to_owned()),
        }
        is_in_paragraph = !is_example && !line.is_empty() && !line.ends_with(':');
    }
    lines.join("\n")
}

fn example(line: &str) -> Vec<String> {
    match line.split_once("  # ") {
        Some((command, remark)) if line.chars().count() > EXAMPLE_COLUMNS => {
            vec![format!("  # {remark}"), command.trim_end().to_owned()]
        }
        Some(_) | None => vec![line.to_owned()],
    }
}

/// The command that was meant by a word that is no command, such as `policy check` by `check`.
pub(super) fn meant(root: &clap::Command, word: &str) -> Option<String> {
    root.get_subcommands().find_map(|command| {
        let names = command.get_subcommands().map(clap::Command::get_name);
        let near = crate::config::suggestion::nearest(word, names)?;
        Some(format!("{} {near}", command.get_name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_become_one_line_and_examples_stay() {
        let text = "Examples:\n  a b     # short\n  a c \\\n      --d\n\nOne sentence that\ngoes on.\nAnd on.\n\nStatus: 0.";
        assert_eq!(
            reflow(text),
            "Examples:\n  a b     # short\n  a c \\\n      --d\n\nOne sentence that goes on. And on.\n\nStatus: 0."
        );
    }

    #[test]
    fn long_remarks_stand_above_their_examples() {
        let remark = "r".repeat(EXAMPLE_COLUMNS);
        let text = format!("Examples:\n  a b     # {remark}");
        assert_eq!(reflow(&text), format!("Examples:\n  # {remark}\n  a b"));
    }

    #[test]
    fn subcommands_are_found_from_the_root() {
        let check = clap::Command::new("check");
        let root =
            clap::Command::new("x").subcommand(clap::Command::new("policy").subcommand(check));
        assert_eq!(meant(&root, "check").as_deref(), Some("policy check"));
        assert_eq!(meant(&root, "chekc").as_deref(), Some("policy check"));
        assert_eq!(meant(&root, "serve"), None);
    }
}
