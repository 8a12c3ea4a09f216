//! `countersign policy schema`.

use crate::cli::EXIT_USAGE;
use crate::cli::output::{print, tell};
use crate::config::schema::schema;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy schema > schema.json

An editor with a YAML language server checks a configuration that begins with
  # yaml-language-server: $schema=schema.json
What only the program can know, such as whether a file exists, `countersign policy check` tells.")]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments) -> u8 {
    match serde_json::to_string_pretty(&schema()) {
        Ok(text) => {
            print(&format!("{text}\n"));
            0
        }
        Err(error) => {
            tell(&format!("cannot write the schema: {error}"));
            EXIT_USAGE
        }
    }
}
