//! `countersign policy record`.

use std::path::PathBuf;

use crate::app::{Recording, RecordingError};
use crate::cli::image_name::{ImageName, Names, Reading};
use crate::cli::output::{print, tell};
use crate::cli::{ConfigFiles, EXIT_UNDECIDED, block_on, chain, environment};
use crate::clock;
use crate::config::Config;
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy record --config config.yaml --to evidence \\
      ghcr.io/org/app:v1
  countersign policy record --config config.yaml --to evidence \\
      ghcr.io/org/app@sha256:… ghcr.io/org/other:v2

Kept are the image's manifest, what its tag points at, and all that each source of signatures has, attestations included
whatever the policies demand: what `countersign policy test` decides from where its table names the directory under
`evidence`. Nothing is decided here, and no layers are kept. Images are added to what the directory has. It has the form of
a proxy's data directory without the log.

Exit status: 0 all recorded, 2 some not, 64 bad usage or configuration.")]
pub(super) struct Arguments {
    /// The images, as for `docker pull` or as a Pod names them behind the proxy.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<ImageName>,
    #[command(flatten)]
    config: ConfigFiles,
    /// Where to keep it; made where there is none.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or("error")));
    let config = match arguments.config.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    block_on(async {
        match record(arguments, &config).await {
            Ok(true) => 0,
            Ok(false) => EXIT_UNDECIDED,
            Err(error) => {
                tell(&chain(&error));
                EXIT_UNDECIDED
            }
        }
    })
}

/// Whether all images were recorded.
async fn record(arguments: &Arguments, config: &Config) -> Result<bool, RecordingError> {
    let recording = Recording::open(config, &arguments.to).await?;
    let mut all = true;
    let names = Names::of(config);
    for name in &arguments.images {
        let recorded = match name.read(&names) {
            Ok(Reading { image, remark, .. }) => {
                if let Some(remark) = remark {
                    tell(&remark);
                }
                let recording = recording.record(&image.repository, &image.reference, clock::now());
                recording.await.map_err(|error| chain(&error))
            }
            Err(error) => Err(error.to_string()),
        };
        match recorded {
            Ok(document) => {
                print(&format!("recorded {name}: {}\n", document.subject.digest));
            }
            Err(error) => {
                tell(&format!("{name} is not recorded: {error}"));
                all = false;
            }
        }
    }
    recording.close().await?;
    Ok(all)
}
