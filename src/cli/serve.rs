//! `countersign serve`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigFiles, EXIT_USAGE, block_on, chain, tell};
use crate::app::{App, Lines};
use crate::config::Config;
use crate::decision_log::Destination;
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign serve                                  # loopback, public registries, built-in catalogue of publishers
  countersign serve --config config.yaml
  countersign serve --config config.yaml --config secrets.yaml

Decisions and pulls are written to standard output as JSON lines, everything else to standard error (RUST_LOG chooses).")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFiles,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    telemetry::log_to_stderr(super::environment("RUST_LOG").as_deref());
    let config = match arguments.config.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match block_on(serve(&config)) {
        Ok(code) | Err(code) => code,
    }
}

async fn serve(config: &Config) -> ExitCode {
    let lines = Lines {
        decisions: Destination::Stdout,
        pulls: Destination::Stdout,
    };
    let app = match App::start(config, &lines).await {
        Ok(app) => app,
        Err(error) => {
            tell(&chain(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = told_to_stop().await {
        tell(&format!("cannot wait for signals: {}", chain(&error)));
    }
    app.stop().await;
    ExitCode::SUCCESS
}

/// Returns on SIGTERM or SIGINT.
async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
