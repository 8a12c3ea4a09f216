//! `countersign serve`.

mod overview;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::output::{self, tell};
use super::{ConfigFiles, EXIT_USAGE, Stopping, block_on, chain};
use crate::app::{App, Files, Lines};
use crate::clock;
use crate::config::Config;
use crate::decision_log::Destination;
use crate::telemetry;
use overview::Overview;

/// Time to write what is queued at the end.
const LOG_LINES_TIME_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign serve                                  # loopback, public registries, built-in catalogue of publishers
  countersign serve --config config.yaml
  countersign serve --config config.yaml --config secrets.yaml

The files are read again when they change, and on SIGHUP; a configuration with a problem leaves the one in force.
Decisions and pulls are written to standard output as JSON lines, everything else to standard error (RUST_LOG chooses). What nobody reads is dropped and counted.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFiles,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let directives = super::environment("RUST_LOG");
    if let Err(error) = telemetry::log_without_waiting(directives.as_deref()) {
        tell(&format!("cannot log: {}", chain(&error)));
        return EXIT_USAGE;
    }
    let code = load_and_serve(arguments);
    telemetry::flush_log_lines(LOG_LINES_TIME_MAX);
    code
}

fn load_and_serve(arguments: &Arguments) -> u8 {
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

/// Shows what is in force: a screen of text at a terminal, and log lines elsewhere.
fn show(app: &App, config: &Config) {
    let overview = Overview {
        config,
        address: app.address,
        admin_address: app.admin_address,
        roots: app.roots(clock::now()),
        now: clock::now(),
    };
    if output::is_watched() {
        output::show(&overview.render());
        app.warn_of_exceptions(config);
    } else {
        overview.log();
        app.warn(config);
    }
}

async fn serve(config: Config, files: Files) -> u8 {
    let lines = Lines {
        decisions: Destination::Stdout,
        pulls: Destination::Stdout,
    };
    // Before anybody is told that it serves: uncaught, each of these signals ends the process at once.
    let caught = signal(SignalKind::hangup()).and_then(|it| Ok((it, Stopping::catch()?)));
    let (hangups, mut stopping) = match caught {
        Ok(caught) => caught,
        Err(error) => {
            tell(&format!("cannot wait for signals: {}", chain(&error)));
            return EXIT_USAGE;
        }
    };
    let started = tokio::select! {
        started = App::start(&config, &lines) => started,
        () = stopping.told() => return 0,
    };
    let app = match started {
        Ok(app) => app,
        Err(error) => {
            tell(&chain(&error));
            return EXIT_USAGE;
        }
    };
    show(&app, &config);
    app.reload(config, files, hangups);
    stopping.told().await;
    app.stop().await;
    0
}
