//! `countersign man`.

use std::io;
use std::path::{Path, PathBuf};

use super::output::{print, tell};
use super::{EXIT_USAGE, chain};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign man | man -l -
  countersign man --write /usr/local/share/man/man1

Exit status: 0, or 64 when the pages cannot be written.")]
pub(super) struct Arguments {
    /// Write the page of every command to this directory, instead of the main page to standard output.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let mut command = super::command();
    command.build();
    let written = match &arguments.write {
        Some(directory) => write_all(&command, "countersign", directory),
        None => page(&command, "countersign").map(|page| {
            print(&String::from_utf8_lossy(&page));
        }),
    };
    match written {
        Ok(()) => 0,
        Err(error) => {
            tell(&format!("cannot write the manual pages: {}", chain(&error)));
            EXIT_USAGE
        }
    }
}

/// The page of a command, whose title is its full name, such as `countersign-policy-check`.
fn page(command: &clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .render(&mut page)?;
    Ok(page)
}

fn write_all(command: &clap::Command, name: &str, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join(format!("{name}.1")), page(command, name)?)?;
    for command in command.get_subcommands() {
        if command.get_name() != "help" {
            write_all(
                command,
                &format!("{name}-{}", command.get_name()),
                directory,
            )?;
        }
    }
    Ok(())
}
