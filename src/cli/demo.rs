//! `countersign demo`: a registry, the proxy in front of it, and a tour of pulls, all in this process and on loopback.

mod client;
mod report;
mod tour;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use tempfile::TempDir;

use super::output::{print, tell};
use super::{EXIT_NO, EXIT_UNDECIDED, Stopping, block_on, chain, environment};
use crate::app::{self, App, Lines};
use crate::config::{Config, Problems};
use crate::decision_log::Destination;
use crate::telemetry;
use upstream::Upstream;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign demo               # the tour, and then everything keeps running until Ctrl-C
  countersign demo --once        # ends after the tour; exit status 0 only if every pull ended as it should

It needs no network, listens on loopback only, and leaves nothing behind.")]
pub(super) struct Arguments {
    /// End after the tour.
    #[arg(long)]
    once: bool,
}

/// The demo does not start.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Its files cannot be written.
    #[error("cannot write the demo's files")]
    Files(#[source] io::Error),
    /// Its registry does not start.
    #[error("cannot start the demo's registry")]
    Upstream(#[from] upstream::Error),
    /// Its configuration does not load.
    #[error("cannot load the demo's configuration")]
    Config(#[from] Problems),
    /// The proxy does not start.
    #[error("cannot start the proxy")]
    App(#[from] app::Error),
    /// Its client does not start.
    #[error("cannot start the demo's client")]
    Client(#[from] reqwest::Error),
}

/// Everything that runs.
struct Demo {
    app: App,
    upstream: Upstream,
    config: PathBuf,
    /// Removed with its content at the end.
    _directory: TempDir,
}

/// The images, and what the policies trust.
static CORPUS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/cli/demo/corpus");
/// What the proxy runs with, but for the address of the registry.
const CONFIG: &str = include_str!("demo/config.yaml");
/// What stands in [`CONFIG`] for that address.
const UPSTREAM: &str = "UPSTREAM";
/// What the policies of [`CONFIG`] trust.
const TRUSTED: [&str; 2] = ["release.pub", "trusted_root.json"];

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or("warn")));
    block_on(async {
        match show(arguments.once).await {
            Ok(code) => code,
            Err(error) => {
                tell(&chain(&error));
                EXIT_UNDECIDED
            }
        }
    })
}

async fn show(once: bool) -> Result<u8, Error> {
    let demo = Demo::start().await?;
    print(&report::introduction(&demo));
    let stops = tour::run(demo.app.address).await?;
    print(&report::tour(&stops));
    let as_it_should_be = stops.iter().all(tour::Stop::is_as_expected);
    if !once {
        print(&report::what_next(&demo));
        match Stopping::catch() {
            Ok(mut stopping) => stopping.told().await,
            Err(error) => tell(&format!("cannot wait for signals: {}", chain(&error))),
        }
    }
    demo.stop().await;
    Ok(if as_it_should_be { 0 } else { EXIT_NO })
}

impl Demo {
    async fn start() -> Result<Self, Error> {
        let upstream = Upstream::start().await?;
        let directory = tempfile::Builder::new()
            .prefix("countersign-demo-")
            .tempdir()
            .map_err(Error::Files)?;
        let config = write_files(directory.path(), upstream.address).map_err(Error::Files)?;
        let loaded = Config::load(std::slice::from_ref(&config), &|_name| None)?;
        Ok(Self {
            app: start_app(loaded).await?,
            upstream,
            config,
            _directory: directory,
        })
    }

    async fn stop(self) {
        self.app.stop().await;
        self.upstream.stop().await;
    }
}

/// Writes the configuration and what it names, so that other commands can be tried with it.
fn write_files(directory: &Path, upstream: SocketAddr) -> io::Result<PathBuf> {
    for name in TRUSTED {
        let file = CORPUS.get_file(name).ok_or(io::ErrorKind::NotFound)?;
        std::fs::write(directory.join(name), file.contents())?;
    }
    let path = directory.join("config.yaml");
    let text = CONFIG.replace(UPSTREAM, &format!("http://{upstream}"));
    std::fs::write(&path, text)?;
    Ok(path)
}

/// On the ports that everything else assumes if they are free, else on any.
async fn start_app(mut config: Config) -> Result<App, app::Error> {
    let lines = Lines {
        decisions: Destination::Nowhere,
        pulls: Destination::Nowhere,
    };
    match App::start(&config, &lines).await {
        Err(app::Error::Listen { .. }) => {
            config.server.listen.set_port(0);
            config.server.admin_listen.set_port(0);
            App::start(&config, &lines).await
        }
        started => started,
    }
}

#[cfg(test)]
mod tests;
