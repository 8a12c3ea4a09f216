//! What `verify`, `verify-attestation` and `explain` are all asked: whether an image satisfies requirements.

use jiff::SignedDuration;

use super::image_name::{ImageName, Reading};
use super::judgement::{self, Judgement};
use super::output::{Format, tell};
use super::requirements::{Demand, Requirements};
use super::{EXIT_UNDECIDED, chain, environment};
use crate::config::Config;
use crate::decision_log::{Outcome, Record};
use crate::telemetry;

/// What an image must satisfy, and how to answer.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// How to answer.
    #[arg(short, long, value_enum, default_value = "text")]
    pub(super) output: Format,
    /// How long an answer may take, such as 30s or 3m0s; 0 is for ever.
    #[arg(short, long, value_name = "DURATION", default_value = "3m", value_parser = time_limit)]
    timeout: SignedDuration,
    /// Log what is done, to standard error.
    #[arg(short = 'd', long)]
    verbose: bool,
    #[command(flatten)]
    requirements: Requirements,
}

/// A duration; `0` needs no unit.
fn time_limit(text: &str) -> Result<SignedDuration, String> {
    match text {
        "0" => Ok(SignedDuration::ZERO),
        text => text.parse().map_err(|error: jiff::Error| error.to_string()),
    }
}

impl Question {
    pub(super) fn log_to_stderr(&self) {
        let level = if self.verbose { "debug" } else { "error" };
        telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or(level)));
    }

    /// The decision about the image that the name means, and the configuration; or an exit code, after the problem was
    /// told.
    pub(super) async fn judge(
        &self,
        name: &ImageName,
        demand: Demand<'_>,
    ) -> Result<(Judgement, Reading, Config), u8> {
        let (config, reading) = self.requirements.to_config(name, demand)?;
        let image = &reading.image;
        for warning in &config.warnings {
            tell(&warning.to_string());
        }
        let judged = judgement::judge(config.clone(), image.clone());
        let judged = match std::time::Duration::try_from(self.timeout) {
            Ok(limit) if !limit.is_zero() => tokio::time::timeout(limit, judged).await,
            Ok(_) | Err(_) => Ok(judged.await),
        };
        match judged {
            Ok(Ok(judgement)) => Ok((judgement, reading, config)),
            Ok(Err(error)) => {
                tell(&chain(&error));
                Err(EXIT_UNDECIDED)
            }
            Err(_elapsed) => {
                tell(&format!("{image}: no decision within {:#}", self.timeout));
                Err(EXIT_UNDECIDED)
            }
        }
    }

    /// Tells somebody who is used to cosign why an image may have been refused.
    pub(super) fn tell_hints(&self, record: Option<&Record>) {
        let refused = record.filter(|record| record.decision == Outcome::Deny);
        for hint in refused.map_or_else(Vec::new, |record| self.requirements.hints(record)) {
            tell(&hint);
        }
    }
}
