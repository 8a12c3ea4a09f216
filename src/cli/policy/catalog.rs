//! `countersign policy catalog`.

use std::collections::BTreeSet;

use serde::Serialize;

use super::check::PolicyReport;
use crate::cli::EXIT_USAGE;
use crate::cli::output::{Format, log_table, print, print_json, tell};
use crate::config::catalog::{Entry, entries, select};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy catalog
  countersign policy catalog kubernetes distroless > policies.yaml
  countersign policy check config.yaml policies.yaml
  countersign policy catalog --output json trivy | jq .

The printed entries are a configuration file. A configuration with policies of its own takes entries by name,
`catalog: [kubernetes, distroless]`, or gets the items pasted under its `policies`. Without a configuration all entries
are in force.

Exit status: 0, or 64 when there is no such entry.")]
pub(super) struct Arguments {
    /// Entries to print as configuration; none lists all.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    name: &'a str,
    title: &'a str,
    source: &'a str,
    date: &'a str,
    policies: Vec<PolicyReport>,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let all = match entries() {
        Ok(all) => all,
        Err(problems) => {
            tell(&problems.to_string());
            return EXIT_USAGE;
        }
    };
    let lists = arguments.names.is_empty();
    let chosen = if lists {
        all
    } else {
        match select(&all, &arguments.names) {
            Ok(chosen) => chosen,
            Err(unknown) => {
                tell(&format!(
                    "{unknown}\n    `countersign policy catalog` lists all"
                ));
                return EXIT_USAGE;
            }
        }
    };
    match arguments.output {
        Format::Json => print_json(&chosen.iter().map(Report::new).collect::<Vec<_>>()),
        Format::Text if lists => print(&list(&chosen)),
        Format::Text => print(&native(&chosen)),
    };
    0
}

fn list(entries: &[Entry]) -> String {
    let mut table = log_table();
    table.set_header(["NAME", "PUBLISHER", "IMAGES", "READ", "SOURCE"]);
    for entry in entries {
        table.add_row([
            entry.name.clone(),
            entry.title.clone(),
            images(entry),
            entry.date.clone(),
            entry.source.clone(),
        ]);
    }
    format!("{table}\n")
}

/// The first pattern, and how many more there are.
fn images(entry: &Entry) -> String {
    let policies = entry.policies.iter();
    let patterns: Vec<_> = policies.flat_map(|it| it.coverage.patterns()).collect();
    match patterns.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

/// Entries as a configuration has them. The comment names the upstreams, because a file with `upstreams` of its own could
/// not be pasted into one that has them.
fn native(entries: &[Entry]) -> String {
    let hosts: BTreeSet<_> = entries.iter().flat_map(Entry::hosts).collect();
    let upstreams: Vec<_> = hosts.iter().map(|host| format!("{host}: {{}}")).collect();
    let items: Vec<_> = entries.iter().map(Entry::native).collect();
    format!(
        "# Needs these hosts under `upstreams`: {{{}}}\n\
         # A configuration that has `policies` already takes the items below it, or `catalog: [{}]` instead.\n\
         policies:\n{}",
        upstreams.join(", "),
        entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
        items.join("\n")
    )
}

impl<'a> Report<'a> {
    fn new(entry: &'a Entry) -> Self {
        Self {
            name: &entry.name,
            title: &entry.title,
            source: &entry.source,
            date: &entry.date,
            policies: entry
                .policies
                .iter()
                .map(|policy| PolicyReport::new(policy))
                .collect(),
        }
    }
}
