//! `countersign serve`.

use super::{ConfigFiles, EXIT_USAGE, block_on, chain, output::tell, told_to_stop};
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

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(super::environment("RUST_LOG").as_deref());
    match arguments.config.load() {
        Ok(config) => block_on(serve(&config)),
        Err(code) => code,
    }
}

async fn serve(config: &Config) -> u8 {
    let lines = Lines {
        decisions: Destination::Stdout,
        pulls: Destination::Stdout,
    };
    let app = match App::start(config, &lines).await {
        Ok(app) => app,
        Err(error) => {
            tell(&chain(&error));
            return EXIT_USAGE;
        }
    };
    if let Err(error) = told_to_stop().await {
        tell(&format!("cannot wait for signals: {}", chain(&error)));
    }
    app.stop().await;
    0
}
