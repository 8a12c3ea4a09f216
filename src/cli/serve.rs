//! `countersign serve`.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigFiles, EXIT_USAGE, block_on, chain, output::tell, told_to_stop};
use crate::app::{App, Files, Lines};
use crate::config::Config;
use crate::decision_log::Destination;
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign serve                                  # loopback, public registries, built-in catalogue of publishers
  countersign serve --config config.yaml
  countersign serve --config config.yaml --config secrets.yaml

The files are read again when they change, and on SIGHUP; a configuration with a problem leaves the one in force.
Decisions and pulls are written to standard output as JSON lines, everything else to standard error (RUST_LOG chooses).")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFiles,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(super::environment("RUST_LOG").as_deref());
    let paths = arguments.config.config.clone();
    let (files, config) = Files::open(Arc::new(move || {
        Config::load_with_files(&paths, &super::environment)
    }));
    match config {
        Ok(config) => block_on(serve(config, files)),
        Err(problems) => {
            tell(&problems.to_string());
            EXIT_USAGE
        }
    }
}

async fn serve(config: Config, files: Files) -> u8 {
    let lines = Lines {
        decisions: Destination::Stdout,
        pulls: Destination::Stdout,
    };
    // Before anybody is told that it serves: uncaught, the signal ends the process.
    let hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tell(&format!("cannot wait for SIGHUP: {}", chain(&error)));
            return EXIT_USAGE;
        }
    };
    let app = match App::start(&config, &lines).await {
        Ok(app) => app,
        Err(error) => {
            tell(&chain(&error));
            return EXIT_USAGE;
        }
    };
    app.reload(config, files, hangups);
    if let Err(error) = told_to_stop().await {
        tell(&format!("cannot wait for signals: {}", chain(&error)));
    }
    app.stop().await;
    0
}
