//! `countersign policy diff`: what another configuration would have decided about what was pulled.

mod pulled;
mod report;

use std::path::PathBuf;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::app::{self, Snapshot};
use crate::cli::log::{Source, SourceError, newest_of, past};
use crate::cli::output::{Format, print, print_json, tell};
use crate::cli::replay::{self, Replay};
use crate::cli::{EXIT_UNDECIDED, EXIT_USAGE, block_on, chain, environment};
use crate::clock;
use crate::config::Config;
use crate::decision_log::Query;
use crate::telemetry;
use pulled::{Pulled, pulled};
use report::{Compared, Report};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy diff config.yaml proposed.yaml
  countersign policy diff --data-dir /var/lib/countersign --since 7d \\
      config.yaml proposed.yaml
  countersign policy diff old.yaml new.yaml \\
      --over-old site.yaml --over-new site.yaml
  countersign policy diff --output json config.yaml proposed.yaml | \\
      jq '.differences[].would_be.message'

Every image in the log is decided about under both configurations, at the same time and from the same evidence: what
registries had when the proxy last looked. No registry is asked, and nothing in the data directory changes; the proxy may
be running. Key services are asked for keys, as at a start. However old evidence is, that makes no difference; where it is
not enough, or no longer there, the answer is that it cannot be told. Who may pull (`clients`) is not looked at.

Tags count as in the proxy: for policies about tags, an image counts as asked for by the tags that the log has of it and, if
there is one or a stored one still led to it when it was last looked up, by all that are stored for it. Where only tags are
stored that led elsewhere, a refusal cannot be told. Where a policy compares the tag with the one that was signed, every tag
that the log or the store has is compared, and stands apart where it makes a difference.

Exit status: 0 no difference, 1 differences, 2 none known but some images cannot be told, 64 bad usage or configuration.")]
pub(super) struct Arguments {
    /// The configuration in force.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The one that is to take its place. Policy documents of other projects are named in it, under `policy_files`.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// A file that lies over OLD, as with several `--config`; may be given several times.
    #[arg(long, value_name = "FILE")]
    over_old: Vec<PathBuf>,
    /// A file that lies over NEW; may be given several times.
    #[arg(long, value_name = "FILE")]
    over_new: Vec<PathBuf>,
    /// Where the proxy keeps its log and content [default: the data directory of NEW].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Only what was decided since: RFC 3339, a date, or how long ago (2h, 30m, 7d).
    #[arg(long, value_name = "TIME", value_parser = past)]
    since: Option<Timestamp>,
    /// So many decisions of the log at most, the newest.
    #[arg(long, default_value_t = DECISIONS_MAX)]
    limit: usize,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

const DECISIONS_MAX: usize = 100_000;
/// Images decided about together.
const TOGETHER: usize = 32;

/// The log could not be replayed; the text says why.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Log(#[from] SourceError),
    #[error(transparent)]
    Replay(#[from] replay::Error),
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or("error")));
    let (old, new) = (
        load(&arguments.old, &arguments.over_old),
        load(&arguments.new, &arguments.over_new),
    );
    let (Some(old), Some(new)) = (old, new) else {
        return EXIT_USAGE;
    };
    block_on(async {
        let report = match compare(arguments, old, new).await {
            Ok(report) => report,
            Err(error) => {
                tell(&chain(&error));
                return error.exit_code();
            }
        };
        match arguments.output {
            Format::Json => print_json(&report),
            Format::Text => print(&report.render()),
        };
        report.exit_code()
    })
}

/// What the files say. What is wrong with them, or looks wrong, has been told.
fn load(first: &PathBuf, over: &[PathBuf]) -> Option<Config> {
    let files: Vec<_> = [first].into_iter().chain(over).cloned().collect();
    match Config::load(&files, &environment) {
        Ok(config) => {
            for warning in &config.warnings {
                tell(&warning.to_string());
            }
            Some(config)
        }
        Err(problems) => {
            tell(&problems.to_string());
            None
        }
    }
}

async fn compare(arguments: &Arguments, old: Config, new: Config) -> Result<Report, Error> {
    let data_dir = arguments.data_dir.as_ref().unwrap_or(&new.data_dir);
    let query = Query {
        since: arguments.since,
        ..Query::default()
    };
    let source = Source::open(data_dir)?;
    let (records, complete) = newest_of(&source, &query, arguments.limit).await?;
    let images = pulled(&records);
    let now = clock::now();
    let mut report = Report {
        now,
        decisions: records.len(),
        complete,
        images: 0,
        same: 0,
        differences: Vec::new(),
        cannot_tell: Vec::new(),
    };
    let snapshot = Snapshot::open(data_dir)
        .await
        .map_err(replay::Error::from)?;
    let old = Replay::open(old, &snapshot).await?;
    let new = Replay::open(new, &snapshot).await?;
    // Indexes that were asked for long ago are hinted at first: the latest hints count.
    let mut by_time: Vec<_> = images.iter().collect();
    by_time.sort_by_key(|image| image.last_asked);
    for image in by_time {
        if let Some(subject) = image.subject() {
            old.note(&subject, &image.tags()).await?;
            new.note(&subject, &image.tags()).await?;
        }
    }
    let deciding = images
        .into_iter()
        .map(|image| decide(image, &old, &new, now));
    let mut decided = stream::iter(deciding).buffered(TOGETHER);
    while let Some(compared) = decided.try_next().await? {
        report.images += compared.len();
        compared.into_iter().for_each(|it| report.take(it));
    }
    drop(decided);
    old.close().await;
    new.close().await;
    Ok(report)
}

/// What both decide about an image, apart for tags that make a difference; nothing in the place of what they cannot but
/// decide the same.
async fn decide(
    pulled: Pulled,
    old: &Replay,
    new: &Replay,
    now: Timestamp,
) -> Result<Vec<Option<Compared>>, replay::Error> {
    let repository = &pulled.repository;
    if old.decides_alike(new, repository) {
        return Ok(vec![None]);
    }
    let Some(subject) = pulled.subject() else {
        return Ok(vec![Some(Compared {
            was: old.decide_name(repository),
            would_be: new.decide_name(repository),
            pulled,
        })]);
    };
    if !old.compares_tags(repository) && !new.compares_tags(repository) {
        return Ok(vec![Some(Compared {
            was: old.decide(&subject, None, now).await?,
            would_be: new.decide(&subject, None, now).await?,
            pulled,
        })]);
    }
    let mut found: Vec<Compared> = Vec::new();
    for tag in pulled.references(old.asked_tags(&subject).await?) {
        let compared = Compared {
            was: old.decide(&subject, tag.as_ref(), now).await?,
            would_be: new.decide(&subject, tag.as_ref(), now).await?,
            pulled: pulled.by(tag.as_ref()),
        };
        match found.iter_mut().find(|known| known.is_like(&compared)) {
            Some(known) => known.pulled.tags.extend(compared.pulled.tags),
            None => found.push(compared),
        }
    }
    Ok(found.into_iter().map(Some).collect())
}

impl Report {
    fn take(&mut self, compared: Option<Compared>) {
        match compared {
            Some(compared) if !(compared.was.is_known() && compared.would_be.is_known()) => {
                self.cannot_tell.push(compared);
            }
            Some(compared) if compared.was.decision != compared.would_be.decision => {
                self.differences.push(compared);
            }
            Some(_) | None => self.same += 1,
        }
    }
}

impl Error {
    /// 64 for what was given wrongly, 2 for what may work another time.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Log(error) => error.exit_code(),
            Self::Replay(replay::Error::Engine(app::Error::NoEvidence(_))) => EXIT_USAGE,
            Self::Replay(_) => EXIT_UNDECIDED,
        }
    }
}
