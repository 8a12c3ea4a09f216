//! Engines that decide again from what a proxy, or a recording, has stored. They ask no registry, and change nothing
//! where it is stored.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::Error;
use super::engine::{Engine, Ground};
use crate::admission::Reliance;
use crate::config::{Config, Freshness};
use crate::decision_log::Destination;
use crate::shares::Reading;
use crate::state::{self, State};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::upstream::Offline;

/// Where trusted roots are kept in a data directory.
const TRUST: &str = "trust";

/// What was stored in a data directory at one moment: everything that decides about the same is told the same. Content
/// stays where it is, since its names say what it is.
#[derive(Debug)]
pub(crate) struct Snapshot {
    data_dir: PathBuf,
    /// Removed with what is in it.
    copy: TempDir,
}

/// An engine that decides from a snapshot.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Decides. What it records is kept nowhere.
    pub(crate) engine: Engine,
    _scratch: TempDir,
}

impl Snapshot {
    /// What is stored in `data_dir` now. A proxy may be using it.
    ///
    /// # Errors
    /// When there is nothing, or it cannot be read.
    pub(crate) async fn open(data_dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            data_dir: data_dir.to_owned(),
            copy: copied(data_dir.to_owned()).await?,
        })
    }
}

impl Replay {
    /// An engine with this configuration that decides from `snapshot` alone: however old that is, it counts as if it
    /// had just been gathered.
    ///
    /// # Errors
    /// As [`Engine::build`].
    pub(crate) async fn open(config: &Config, snapshot: &Snapshot) -> Result<Self, Error> {
        let scratch = copied(snapshot.copy.path().to_owned()).await?;
        let store = Store::open_read_only(&snapshot.data_dir).await;
        let store = store.map_err(|source| Error::Store {
            path: snapshot.data_dir.clone(),
            source,
        })?;
        let state = State::open(scratch.path()).map_err(|source| Error::State {
            path: scratch.path().to_owned(),
            source,
        })?;
        let mut config = config.clone();
        scratch.path().clone_into(&mut config.data_dir);
        config.freshness = Freshness {
            tag_ttl: Duration::MAX,
            absent_ttl: Duration::ZERO,
            reverify_after: Duration::MAX,
            stale_for: Duration::MAX,
        };
        let ground = Ground {
            upstream: Arc::new(Offline::new(config.upstreams.keys().cloned().collect())),
            store,
            state,
            reliance: Reliance::Recorded,
            metrics: Arc::new(Metrics::new()?),
            tasks: TaskTracker::new(),
            // No peer chooses what is read, and a decision must not depend on others.
            reading: Reading::unbounded(),
            claim: None,
        };
        Ok(Self {
            engine: Engine::on(ground, &config, &Destination::Nowhere)?,
            _scratch: scratch,
        })
    }
}

async fn copied(data_dir: PathBuf) -> Result<TempDir, Error> {
    let copying = Error::Copy {
        path: data_dir.clone(),
        source: "the copy was interrupted".into(),
    };
    let copied = tokio::task::spawn_blocking(move || copy(&data_dir));
    copied.await.map_err(|_ended| copying)?
}

/// A new directory with the state and the trusted roots of another.
fn copy(data_dir: &Path) -> Result<TempDir, Error> {
    let copying = |source: Box<dyn std::error::Error + Send + Sync>| Error::Copy {
        path: data_dir.to_owned(),
        source,
    };
    let directory = tempfile::tempdir().map_err(|error| copying(error.into()))?;
    match state::copy(data_dir, directory.path()) {
        Ok(()) => {}
        Err(state::Error::Absent(path)) => return Err(Error::NoEvidence(path)),
        Err(error) => return Err(copying(error.into())),
    }
    let (from, into) = (data_dir.join(TRUST), directory.path().join(TRUST));
    copy_files(&from, &into).map_err(|error| copying(error.into()))?;
    Ok(directory)
}

/// Copies a directory, if it is there, with what is in it.
fn copy_files(from: &Path, into: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(into)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = into.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else if let Err(error) = std::fs::copy(entry.path(), target)
            && error.kind() != ErrorKind::NotFound
        {
            // Files on their way come and go.
            return Err(error);
        }
    }
    Ok(())
}
