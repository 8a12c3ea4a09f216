//! `countersign policy test`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use serde::Serialize;

use crate::admission::EXCEPTED;
use crate::app::{self, Snapshot};
use crate::cli::image::ImageReference;
use crate::cli::judgement::{self, Answer, Judgement};
use crate::cli::output::{Format, print, print_json, tell};
use crate::cli::replay::{self, Replay, Verdict};
use crate::cli::{EXIT_NO, EXIT_UNDECIDED, EXIT_USAGE, block_on, chain, environment};
use crate::clock;
use crate::config::Config;
use crate::config::cases::{At, Case, Expected, Table};
use crate::decision_log::Basis;
use crate::oci::Reference;
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy test cases.yaml
  countersign policy test --output json cases.yaml | \\
      jq '.[] | select(.as_expected | not)'

The table names the configuration and says what must be decided about images:
  config: [config.yaml]
  cases:
    - {image: ghcr.io/org/app:v1, expect: admit}
    - {image: ghcr.io/org/other, expect: deny, kind: unsigned}
    - {image: ghcr.io/org/tried, expect: audit}
What is served only because the policies that refuse it audit (`mode: audit`, `default: audit`) is `audit`, not `admit`.
Each is decided about as by `countersign verify`; or, where the table or a case has `evidence: DIR`, from what `countersign
policy record` has put there, and no registry is asked. That is decided at the time of the recording, so that a table holds
on every day, or `at: now` or `at: 2026-11-23T09:00:00Z`: ages of signatures and exceptions count by that time, the age of
the recording never. Keys and trusted roots are those of now. A case is decided about by the tag that it names, if it names
one: no tag of another case, or of the recording, counts for it.

Exit status: 0 all as expected, 1 some not, 2 some cannot be decided, 64 bad usage or configuration.")]
pub(super) struct Arguments {
    /// The table.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// A case could not be asked about; the text says why.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Judge(#[from] judgement::Error),
    #[error(transparent)]
    Replay(#[from] replay::Error),
}

/// What became of a case.
#[derive(Debug, Serialize)]
struct Outcome {
    image: String,
    file: String,
    line: usize,
    expected: &'static str,
    /// `admit`, `audit`, `deny` or `unavailable`.
    decision: &'static str,
    kind: Option<String>,
    message: Option<String>,
    as_expected: bool,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or("error")));
    let table = match Table::load(&arguments.file) {
        Ok(table) => table,
        Err(problems) => {
            tell(&problems.to_string());
            return EXIT_USAGE;
        }
    };
    let config = match Config::load(&table.config, &environment) {
        Ok(config) => config,
        Err(problems) => {
            tell(&problems.to_string());
            return EXIT_USAGE;
        }
    };
    let images: Result<Vec<ImageReference>, _> = table.cases.iter().map(parse).collect();
    let images = match images {
        Ok(images) => images,
        Err(message) => {
            tell(&message);
            return EXIT_USAGE;
        }
    };
    block_on(decide(&table.cases, images, config, arguments.output))
}

fn parse(case: &Case) -> Result<ImageReference, String> {
    case.image
        .parse()
        .map_err(|error| format!("{}: `{}` is no image: {error}", case.position, case.image))
}

async fn decide(cases: &[Case], images: Vec<ImageReference>, config: Config, output: Format) -> u8 {
    let cases: Vec<_> = cases.iter().zip(images).collect();
    let outcomes = match outcomes(&cases, config).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            tell(&chain(&error));
            return error.exit_code();
        }
    };
    match output {
        Format::Json => print_json(&outcomes),
        Format::Text => print(&render(&outcomes)),
    };
    let differing = || outcomes.iter().filter(|outcome| !outcome.as_expected);
    if differing().next().is_none() {
        0
    } else if differing().all(|outcome| outcome.decision == "unavailable") {
        EXIT_UNDECIDED
    } else {
        EXIT_NO
    }
}

async fn outcomes(
    cases: &[(&Case, ImageReference)],
    config: Config,
) -> Result<Vec<Outcome>, Error> {
    let replays = replays(cases, &config).await?;
    let mut outcomes = Vec::new();
    for (case, image) in cases {
        let replay = case.evidence.as_ref().and_then(|from| replays.get(from));
        let outcome = match replay {
            Some(replay) => {
                let verdict = decide_from(replay, case, image).await?;
                Outcome::from_recorded(case, verdict)
            }
            None => {
                let judgement = judgement::judge(config.clone(), image.clone()).await?;
                Outcome::new(case, &judgement)
            }
        };
        outcomes.push(outcome);
    }
    for replay in replays.into_values() {
        replay.close().await;
    }
    Ok(outcomes)
}

/// What decides from each directory that cases name, told of all images that are asked for in it: what lists what is so
/// for all of them.
async fn replays<'a>(
    cases: &'a [(&Case, ImageReference)],
    config: &Config,
) -> Result<HashMap<&'a PathBuf, Replay>, Error> {
    let mut replays = HashMap::new();
    for (case, image) in cases {
        let Some(from) = &case.evidence else {
            continue;
        };
        let replay = match replays.entry(from) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let snapshot = Snapshot::open(from).await.map_err(replay::Error::from)?;
                entry.insert(Replay::open(config.clone(), &snapshot).await?)
            }
        };
        replay.fetch_roots(image).await;
        if let Some(subject) = replay.resolve(image).await? {
            replay.note(&subject, &[]).await?;
        }
    }
    Ok(replays)
}

async fn decide_from(
    replay: &Replay,
    case: &Case,
    image: &ImageReference,
) -> Result<Verdict, replay::Error> {
    let Some(subject) = replay.resolve(image).await? else {
        return Ok(replay.decide_name(&image.repository));
    };
    let now = match case.at {
        At::Now => clock::now(),
        At::Time(time) => time,
        // What was not recorded is decided by what needs no evidence, or not at all.
        At::Recorded => replay
            .recorded_at(&subject)
            .await?
            .unwrap_or_else(clock::now),
    };
    let tag = match &image.reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(_) => None,
    };
    // Whoever else asks for it, in other cases or when it was recorded, does so apart from this one.
    replay.ask_only_through(&subject, tag).await?;
    replay.decide(&subject, tag, now).await
}

fn render(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let word = if outcome.as_expected { "ok" } else { "NOT" };
        let decision = match &outcome.kind {
            Some(kind) => format!("{} ({kind})", outcome.decision),
            None => outcome.decision.to_owned(),
        };
        text.push_str(&format!("{word:<4}{}: {decision}", outcome.image));
        if !outcome.as_expected {
            text.push_str(&format!(
                ", expected {} at {}:{}",
                outcome.expected, outcome.file, outcome.line
            ));
            if let Some(message) = &outcome.message {
                text.push_str(&format!("\n      {message}"));
            }
        }
        text.push('\n');
    }
    let right = outcomes.iter().filter(|outcome| outcome.as_expected);
    text.push_str(&format!(
        "{} of {} as expected\n",
        right.count(),
        outcomes.len()
    ));
    text
}

/// What is served because nothing but an audit refuses it is no proof that it would be otherwise. An exception is one, as
/// long as it lasts.
fn admitted(basis: Option<Basis>, message: Option<&str>) -> &'static str {
    let is_excepted = message.is_some_and(|it| it.starts_with(EXCEPTED));
    match basis {
        Some(Basis::Audit) if !is_excepted => "audit",
        Some(Basis::Signature | Basis::Endorsement | Basis::SignatureArtifact | Basis::Audit)
        | None => "admit",
    }
}

impl Outcome {
    fn new(case: &Case, judgement: &Judgement) -> Self {
        let basis = judgement.record.as_ref().and_then(|record| record.basis);
        match &judgement.answer {
            Answer::Admit { warning, .. } => {
                let decision = admitted(basis, warning.as_deref());
                Self::of(case, decision, None, warning.clone())
            }
            Answer::Deny { kind, message, .. } => {
                Self::of(case, "deny", Some(kind.as_str()), Some(message.clone()))
            }
            Answer::Undecided { kind, message } => {
                Self::of(case, "unavailable", Some(kind), Some(message.clone()))
            }
        }
    }

    fn from_recorded(case: &Case, verdict: Verdict) -> Self {
        let message = match verdict.is_known() {
            true => verdict.message,
            false => Some(verdict.lacking.join("; ")),
        };
        let decision = match verdict.decision {
            "admit" => admitted(verdict.basis, message.as_deref()),
            other => other,
        };
        Self::of(case, decision, verdict.kind, message)
    }

    fn of(
        case: &Case,
        decision: &'static str,
        kind: Option<&'static str>,
        message: Option<String>,
    ) -> Self {
        let expected = match case.expected {
            Expected::Admit => "admit",
            Expected::Audit => "audit",
            Expected::Deny => "deny",
        };
        let right_kind = case.kind.is_none() || case.kind.as_deref() == kind;
        Self {
            image: case.image.clone(),
            file: case.position.file.display().to_string(),
            line: case.position.line,
            expected,
            decision,
            as_expected: decision == expected && right_kind,
            kind: kind.map(str::to_owned),
            message,
        }
    }
}

impl Error {
    /// 64 for a directory where nothing was recorded, 2 for what may work another time.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Replay(replay::Error::Engine(app::Error::NoEvidence(_))) => EXIT_USAGE,
            Self::Judge(_) | Self::Replay(_) => EXIT_UNDECIDED,
        }
    }
}
