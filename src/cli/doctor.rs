//! `countersign doctor`: whether everything that decisions need is there, and enforcement enforces.

mod canary;
mod material;
mod surroundings;

use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::output::{Format, print_for_people, print_json};
use super::{ConfigFiles, EXIT_NO, EXIT_UNDECIDED, block_on, environment};
use crate::config::Config;
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign doctor                                  # the built-in configuration
  countersign doctor --config config.yaml
  countersign doctor --config config.yaml --output json | \\
      jq '.checks[] | select(.outcome != \"ok\")'

Run it as the user and on the machine that the proxy runs on: it uses the same files, credentials and addresses.

Exit status: 0 all is well (warnings aside), 1 something is wrong, 2 something could not be told, 64 bad configuration.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFiles,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    /// What sort of thing: `configuration`, `data_dir`, `trusted_root`, `key`, `upstream`, `clock`, `enforcement`.
    area: &'static str,
    /// Which of them.
    name: Option<String>,
    outcome: Outcome,
    /// One sentence or two: what is so, and what to do about it.
    message: String,
}

/// How a look ended, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// All is well.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// Nobody can tell.
    Unknown,
    /// It does not work.
    Problem,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or("off")));
    match arguments.config.load() {
        Ok(config) => block_on(examine(&config, arguments.output)),
        Err(code) => code,
    }
}

async fn examine(config: &Config, format: Format) -> u8 {
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let (upstreams, material) = tokio::join!(
        surroundings::upstreams(config),
        material::examine(config, &tasks, &stop),
    );
    stop.cancel();
    let mut checks = surroundings::configuration(config);
    checks.push(surroundings::data_dir(config));
    checks.extend(material.checks);
    checks.extend(upstreams);
    checks.extend(canary::examine(config, &material.policies));
    let worst = checks.iter().map(|check| check.outcome).max();
    let worst = worst.unwrap_or(Outcome::Unknown);
    match format {
        Format::Json => print_json(&json!({ "outcome": worst, "checks": checks })),
        Format::Text => print_for_people(&describe(&checks, worst)),
    };
    match worst {
        Outcome::Ok | Outcome::Warning => 0,
        Outcome::Unknown => EXIT_UNDECIDED,
        Outcome::Problem => EXIT_NO,
    }
}

fn describe(checks: &[Check], worst: Outcome) -> String {
    let mut text = String::new();
    for check in checks {
        let what = match &check.name {
            Some(name) => format!("{} {name}", check.area.replace('_', " ")),
            None => check.area.replace('_', " "),
        };
        text.push_str(&format!(
            "{:<8} {what}: {}\n",
            check.outcome.word(),
            check.message
        ));
    }
    let count = |outcome| {
        checks
            .iter()
            .filter(|check| check.outcome == outcome)
            .count()
    };
    let (problems, warnings) = (count(Outcome::Problem), count(Outcome::Warning));
    text.push_str(&match worst {
        Outcome::Ok => "\nAll is well.\n".to_owned(),
        Outcome::Warning => format!("\nAll works; warnings: {warnings}.\n"),
        Outcome::Unknown => "\nNot everything could be told.\n".to_owned(),
        Outcome::Problem => {
            format!("\nSomething is wrong; problems: {problems}, warnings: {warnings}.\n")
        }
    });
    text
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "WARNING",
            Self::Unknown => "UNKNOWN",
            Self::Problem => "PROBLEM",
        }
    }
}

impl Check {
    fn new(
        area: &'static str,
        name: Option<&str>,
        outcome: Outcome,
        message: impl Into<String>,
    ) -> Self {
        Self {
            area,
            name: name.map(str::to_owned),
            outcome,
            message: message.into(),
        }
    }
}
