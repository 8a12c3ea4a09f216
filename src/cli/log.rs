//! `countersign log`: the verification log, from a running proxy or from its data directory.

mod record;
mod source;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use jiff::Timestamp;
use ulid::Ulid;
use url::Url;

use super::output::{Format, log_table, print_for_people, print_json, tell};
use super::{block_on, chain};
use crate::clock;
use crate::decision_log::{
    AttemptOutcome, Basis, Client, KindName, Outcome, Page, PastError, Query, Record, parse_past,
};
use crate::oci::{Digest, DigestPrefix};
pub(super) use source::{AdminApi, Error as SourceError, Source};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign log                                         # the newest decisions of the proxy on this machine
  countersign log 01KCX5Y3Q0ZZZZZZZZZZZZZZZZ               # one decision, with every attempt
  countersign log --decision deny --since 2h
  countersign log --client 10.0.3.7                       # what this node asked for or was refused
  countersign log --repository 'ghcr.io/org/*' --limit 1000 --output json | \\
      jq .denial.kind
  countersign log --admin https://countersign.internal:5081 \\
      --token \"$ADMIN_TOKEN\" --follow
  countersign log --data-dir ./countersign-data           # without a running proxy")]
pub(super) struct Arguments {
    /// Show this decision in full. Refusals name their id.
    #[arg(value_name = "ID", conflicts_with_all = ["follow", "limit", "Filters"])]
    id: Option<Ulid>,
    #[command(flatten)]
    place: Place,
    /// Show at most this many decisions, the newest.
    #[arg(long, default_value_t = Query::LIMIT_DEFAULT)]
    limit: usize,
    /// Keep showing new decisions.
    #[arg(long)]
    follow: bool,
    /// Output format: text, or one JSON object a line.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    filters: Filters,
}

/// Where the log is.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The admin API of the proxy.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5081")]
    admin: Url,
    /// What opens the admin API (`server.admin_token`).
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Read the data directory of a proxy instead of asking one.
    #[arg(long, value_name = "DIR", conflicts_with = "admin")]
    data_dir: Option<PathBuf>,
}

/// What is shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
struct Filters {
    /// The repository, or the beginning of names followed by `*`.
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// The digest, or its beginning as the table shows it.
    #[arg(long)]
    digest: Option<DigestPrefix>,
    /// The outcome: admit, deny or unavailable.
    #[arg(long, value_parser = outcome)]
    decision: Option<Outcome>,
    /// The kind of a refusal, such as unsigned.
    #[arg(long)]
    kind: Option<KindName>,
    /// A policy that covers the name.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// The signer: an identity, or the reference or fingerprint of a key.
    #[arg(long)]
    signer: Option<String>,
    /// A client that asked for it or was refused: its address or its user name.
    #[arg(long)]
    client: Option<String>,
    /// Not before this time: RFC 3339, a date, or how long ago (2h, 30m, 7d).
    #[arg(long, value_name = "TIME", value_parser = past)]
    since: Option<Timestamp>,
    /// Before this time, written likewise.
    #[arg(long, value_name = "TIME", value_parser = past)]
    until: Option<Timestamp>,
}

/// How often a log that is followed is looked at.
const FOLLOWED_EVERY: Duration = Duration::from_secs(1);
/// How far back every look at a followed log goes.
const FOLLOWED_BACK: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

pub(super) fn run(arguments: &Arguments) -> u8 {
    block_on(async {
        match show(arguments).await {
            Ok(()) => 0,
            Err(error) => {
                tell(&chain(&error));
                error.exit_code()
            }
        }
    })
}

async fn show(arguments: &Arguments) -> Result<(), source::Error> {
    let source = arguments.place.open()?;
    if let Some(id) = arguments.id {
        let record = source.record(id).await?;
        match arguments.output {
            Format::Json => print_json(&record),
            Format::Text => print_for_people(&record::render(&record)),
        };
        return Ok(());
    }
    let query = arguments.filters.to_query();
    if arguments.follow {
        return follow(&source, &query, arguments).await;
    }
    let records = newest(&source, &query, arguments.limit).await?;
    write(&records, arguments.output, true);
    Ok(())
}

/// Shows the log like a file that grows, the newest at the end, until nobody is reading.
async fn follow(
    source: &Source,
    query: &Query,
    arguments: &Arguments,
) -> Result<(), source::Error> {
    // Looked at first: what is decided between the two looks is shown once and not never.
    let mut seen = latest(source, query).await?;
    let mut shown = newest(source, query, arguments.limit).await?;
    seen.extend(shown.iter().cloned());
    shown.reverse();
    let mut reading = write(&shown, arguments.output, true);
    while reading {
        tokio::time::sleep(FOLLOWED_EVERY).await;
        let latest = latest(source, query).await?;
        let known: HashSet<Ulid> = seen.iter().map(|record| record.id).collect();
        let mut new = latest.clone();
        new.retain(|record| !known.contains(&record.id));
        new.reverse();
        seen = latest;
        reading = write(&new, arguments.output, false);
    }
    Ok(())
}

/// All records of a short time, newest first: decisions may become visible a little out of order.
async fn latest(source: &Source, query: &Query) -> Result<Vec<Record>, source::Error> {
    let since = clock::now()
        .checked_sub(FOLLOWED_BACK)
        .unwrap_or(Timestamp::MIN);
    let query = Query {
        since: Some(query.since.map_or(since, |asked| asked.max(since))),
        ..query.clone()
    };
    newest(source, &query, usize::MAX).await
}

/// The newest records that match, newest first, and whether those are all there are.
pub(super) async fn newest_of(
    source: &Source,
    query: &Query,
    limit: usize,
) -> Result<(Vec<Record>, bool), SourceError> {
    let mut records = newest(source, query, limit.saturating_add(1)).await?;
    let complete = records.len() <= limit;
    records.truncate(limit);
    Ok((records, complete))
}

/// The newest records that match, newest first, however many pages that takes.
async fn newest(
    source: &Source,
    query: &Query,
    limit: usize,
) -> Result<Vec<Record>, source::Error> {
    let mut records = Vec::new();
    let mut after = None;
    while records.len() < limit {
        let query = Query {
            limit: (limit - records.len()).min(Query::LIMIT_MAX),
            after,
            ..query.clone()
        };
        let Page { decisions, next } = source.page(&query).await?;
        records.extend(decisions);
        // A log that does not go on would be read for ever.
        if next.is_none() || next == after {
            break;
        }
        after = next;
    }
    Ok(records)
}

/// Writes records in their order. Whether anybody is still reading.
fn write(records: &[Record], format: Format, with_header: bool) -> bool {
    if records.is_empty() && !with_header {
        return true;
    }
    match format {
        Format::Json => records.iter().all(print_json),
        Format::Text if records.is_empty() => {
            tell("no decision matches");
            true
        }
        Format::Text => print_for_people(&table(records, with_header)),
    }
}

fn table(records: &[Record], with_header: bool) -> String {
    let mut table = log_table();
    if with_header {
        table.set_header([
            "TIME", "DECISION", "WHY", "IMAGE", "DIGEST", "SIGNER", "CLIENT", "PULLS", "MS",
        ]);
    }
    for record in records {
        table.add_row([
            Cell::new(format!("{:.0}", record.time)),
            Cell::new(decision(record)),
            Cell::new(why(record)),
            Cell::new(image(record)),
            Cell::new(
                record
                    .digest
                    .map_or_else(|| "-".to_owned(), |it| short(&it)),
            ),
            Cell::new(signer(record)),
            Cell::new(client(record)),
            Cell::new(record.pulls()).set_alignment(CellAlignment::Right),
            Cell::new(format!("{:.1}", record.timing_ms.total)).set_alignment(CellAlignment::Right),
        ]);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn decision(record: &Record) -> &'static str {
    match record.decision {
        Outcome::Admit => "admit",
        Outcome::Deny => "deny",
        Outcome::Unavailable => "unavailable",
    }
}

/// The basis of an admission, the kind of anything else.
fn why(record: &Record) -> String {
    let basis = record.basis.map(|basis| match basis {
        Basis::Signature => "signature",
        Basis::Endorsement => "endorsement",
        Basis::SignatureArtifact => "signature_artifact",
        Basis::Audit => "audit",
    });
    let kind = record.denial.as_ref().map(|denial| denial.kind.as_str());
    match (basis, kind) {
        (Some(basis), Some(kind)) => format!("{basis}:{kind}"),
        (Some(word), None) | (None, Some(word)) => word.to_owned(),
        (None, None) => "-".to_owned(),
    }
}

fn image(record: &Record) -> String {
    if record.reference.contains(':') || record.reference == record.repository {
        return record.repository.clone();
    }
    format!("{}:{}", record.repository, record.reference)
}

/// The beginning of a digest; `--digest` takes it.
fn short(digest: &Digest) -> String {
    digest.to_hex().chars().take(12).collect()
}

/// The first signer: an identity, or the reference of a key.
fn signer(record: &Record) -> String {
    let verified = record
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome == AttemptOutcome::Verified);
    let mut signers = verified.filter_map(|attempt| match (&attempt.certificate, &attempt.key) {
        (Some(certificate), _) => Some(certificate.identity.clone()),
        (None, Some(key)) => Some(key.reference.clone()),
        (None, None) => None,
    });
    signers.next().unwrap_or_else(|| "-".to_owned())
}

/// The client that asked first, by its user name if it has one, and the number of others.
fn client(record: &Record) -> String {
    let first = client_name(&record.client).unwrap_or("-");
    let others = record.clients.iter().flatten().filter(|refused| {
        (&refused.client.address, &refused.client.identity)
            != (&record.client.address, &record.client.identity)
    });
    match others.count() {
        0 => first.to_owned(),
        more => format!("{first} +{more}"),
    }
}

/// The user name of a client, else its address.
fn client_name(client: &Client) -> Option<&str> {
    client.identity.as_deref().or(client.address.as_deref())
}

impl Place {
    pub(super) fn open(&self) -> Result<Source, SourceError> {
        match &self.data_dir {
            Some(directory) => Source::open(directory),
            None => Source::connect(&self.admin, self.token.as_deref()),
        }
    }
}

impl Filters {
    fn to_query(&self) -> Query {
        Query {
            repository: self.repository.clone(),
            digest: self.digest.clone(),
            decision: self.decision,
            kind: self.kind,
            policy: self.policy.clone(),
            signer: self.signer.clone(),
            client: self.client.clone(),
            since: self.since,
            until: self.until,
            ..Query::default()
        }
    }
}

fn outcome(text: &str) -> Result<Outcome, String> {
    match text {
        "admit" => Ok(Outcome::Admit),
        "deny" => Ok(Outcome::Deny),
        "unavailable" => Ok(Outcome::Unavailable),
        _ => Err("write admit, deny or unavailable".to_owned()),
    }
}

/// Reads a point in time, or how long ago it was.
pub(super) fn past(text: &str) -> Result<Timestamp, PastError> {
    parse_past(text, clock::now())
}
