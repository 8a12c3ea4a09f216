//! `countersign policy audit`: what policies that only audit would break if they enforced.

mod summary;

use comfy_table::{Cell, CellAlignment};
use jiff::Timestamp;

use crate::cli::log::{Place, SourceError, newest_of, past};
use crate::cli::output::{Format, log_table, print, print_json, tell};
use crate::cli::{EXIT_NO, block_on, chain};
use crate::decision_log::Query;
use summary::{PolicySummary, Summary, summarise};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy audit                                # by the log of the proxy on this machine
  countersign policy audit --since 7d --policy apps
  countersign policy audit --data-dir /var/lib/countersign --output json | \\
      jq '.policies[].repositories'

What `mode: audit` and `default: audit` served and would have refused, for each policy: how many images and pulls, of which
kinds, where, since when, and an example. An image counts as it was last decided about, so one that has been signed since
counts as mended. Exceptions are no audits, and what is refused already is not counted.

Exit status: 0 nothing would be refused, 1 something would, 2 the log cannot be read, 64 bad usage.")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Only this policy.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// The repository, or the beginning of names followed by `*`.
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Only what was decided since: RFC 3339, a date, or how long ago (2h, 30m, 7d).
    #[arg(long, value_name = "TIME", value_parser = past)]
    since: Option<Timestamp>,
    /// Only what was decided before, written likewise.
    #[arg(long, value_name = "TIME", value_parser = past)]
    until: Option<Timestamp>,
    /// So many decisions of the log at most, the newest.
    #[arg(long, default_value_t = DECISIONS_MAX)]
    limit: usize,
    /// So many repositories for each policy.
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

const DECISIONS_MAX: usize = 100_000;

pub(super) fn run(arguments: &Arguments) -> u8 {
    block_on(async {
        let mut summary = match read(arguments).await {
            Ok(summary) => summary,
            Err(error) => {
                tell(&chain(&error));
                return error.exit_code();
            }
        };
        if let Some(name) = &arguments.policy {
            summary
                .policies
                .retain(|policy| policy.policy.as_ref() == Some(name));
        }
        match arguments.output {
            Format::Json => print_json(&summary),
            Format::Text => print(&render(&summary)),
        };
        let mut policies = summary.policies.iter();
        match policies.any(|policy| policy.would_refuse.images > 0) {
            true => EXIT_NO,
            false => 0,
        }
    })
}

async fn read(arguments: &Arguments) -> Result<Summary, SourceError> {
    let query = Query {
        // Endorsed manifests name no policy of their own, so the filter for policies cannot choose here.
        repository: arguments.repository.clone(),
        since: arguments.since,
        until: arguments.until,
        ..Query::default()
    };
    let source = arguments.place.open()?;
    let (records, complete) = newest_of(&source, &query, arguments.limit).await?;
    Ok(summarise(&records, complete, arguments.top))
}

fn render(summary: &Summary) -> String {
    let bound = if summary.complete { "" } else { " newest" };
    let decisions = format!("the{bound} {} decisions", summary.decisions);
    if summary.policies.is_empty() {
        return format!("nothing that an audit let through in {decisions}\n");
    }
    let mut table = log_table();
    table.set_header([
        "POLICY",
        "WOULD REFUSE",
        "PULLS",
        "MENDED",
        "ADMITS",
        "KINDS",
        "FIRST",
        "LAST",
    ]);
    for policy in &summary.policies {
        let kinds = policy.kinds.iter();
        let kinds: Vec<_> = kinds
            .map(|(kind, count)| format!("{kind} {}", count.images))
            .collect();
        let number =
            |number: &dyn std::fmt::Display| Cell::new(number).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(policy.name()),
            number(&policy.would_refuse.images),
            number(&policy.would_refuse.pulls),
            number(&policy.mended),
            number(&policy.admits.images),
            Cell::new(kinds.join(", ")),
            Cell::new(format!("{:.0}", policy.first_seen)),
            Cell::new(format!("{:.0}", policy.last_seen)),
        ]);
    }
    let mut text = format!("{}\n\n", table.trim_fmt());
    for policy in &summary.policies {
        text.push_str(&format!("{}\n", policy.name()));
        for repository in &policy.repositories {
            text.push_str(&format!(
                "  {}: {} images, {} pulls\n",
                repository.repository, repository.count.images, repository.count.pulls
            ));
        }
        let example = &policy.example;
        text.push_str(&format!("  decision {}: {}\n", example.id, example.message));
    }
    text.push_str(&format!("\nfrom {decisions}\n"));
    text
}

impl PolicySummary {
    fn name(&self) -> &str {
        self.policy
            .as_deref()
            .unwrap_or("(no policy: default audit)")
    }
}
