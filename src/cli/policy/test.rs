//! `countersign policy test`.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::image::ImageReference;
use crate::cli::judgement::{self, Answer};
use crate::cli::output::{Format, print, print_json, tell};
use crate::cli::{EXIT_NO, EXIT_UNDECIDED, EXIT_USAGE, block_on, chain, environment};
use crate::config::Config;
use crate::config::cases::{Case, Expected, Table};
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy test cases.yaml
  countersign policy test --output json cases.yaml | jq '.[] | select(.as_expected | not)'

The table names the configuration and says what must be decided about images:
  config: [config.yaml]
  cases:
    - {image: ghcr.io/org/app:v1, expect: admit}
    - {image: ghcr.io/org/other, expect: deny, kind: unsigned}
Each is decided about as by `countersign verify`.

Exit status: 0 all as expected, 1 some not, 2 some cannot be decided, 64 bad usage or configuration.")]
pub(super) struct Arguments {
    /// The table.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// What became of a case.
#[derive(Debug, Serialize)]
struct Outcome {
    image: String,
    file: String,
    line: usize,
    expected: &'static str,
    /// `admit`, `deny` or `unavailable`.
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
    let mut outcomes = Vec::new();
    for (case, image) in cases.iter().zip(images) {
        match judgement::judge(config.clone(), image).await {
            Ok(judgement) => outcomes.push(Outcome::new(case, &judgement.answer)),
            Err(error) => {
                tell(&chain(&error));
                return EXIT_UNDECIDED;
            }
        }
    }
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

impl Outcome {
    fn new(case: &Case, answer: &Answer) -> Self {
        let (decision, kind, message) = match answer {
            Answer::Admit { warning, .. } => ("admit", None, warning.clone()),
            Answer::Deny { kind, message } => ("deny", Some(kind.as_str()), Some(message.clone())),
            Answer::Undecided { kind, message } => {
                ("unavailable", Some(*kind), Some(message.clone()))
            }
        };
        let expected = match case.expected {
            Expected::Admit => "admit",
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
