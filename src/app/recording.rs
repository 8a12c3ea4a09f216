//! Recordings: what decisions about some images are made from, kept in a directory of the form that a proxy keeps its
//! data in, for tests that ask no registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Error;
use super::engine::{Engine, Ground, upstreams};
use crate::admission::{self, Reliance};
use crate::config::Config;
use crate::decision_log::{Destination, Subject};
use crate::limits::Limits;
use crate::manifests::{self, Document, Manifests};
use crate::oci::{Reference, RepositoryName};
use crate::state::{self, Batch, State, TagRow};
use crate::store::{self, Store};
use crate::telemetry::Metrics;
use crate::upstream::http::HttpUpstream;

/// Keeps content in a directory, and what is known of it beside the directory until it is closed.
#[derive(Debug)]
pub(crate) struct Recording {
    engine: Engine,
    manifests: Manifests,
    limits: Arc<Limits>,
    into: PathBuf,
    scratch: TempDir,
}

/// Something was not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingError {
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] Error),
    /// There is no place for temporary files.
    #[error("cannot make a temporary directory")]
    Scratch(#[source] std::io::Error),
    /// The manifest cannot be had.
    #[error("cannot get the manifest")]
    Manifest(#[from] manifests::Error),
    /// Evidence cannot be kept.
    #[error(transparent)]
    Evidence(#[from] admission::Error),
    /// Some of it cannot be had.
    #[error("not everything can be had: {}", .0.join("; "))]
    Incomplete(Vec<String>),
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: state::Error,
    },
}

impl Recording {
    /// A recording into a directory, which is made where there is none; what is there already stays.
    ///
    /// # Errors
    /// As [`Engine::build`].
    pub(crate) async fn open(config: &Config, into: &Path) -> Result<Self, RecordingError> {
        let scratch = tempfile::tempdir().map_err(RecordingError::Scratch)?;
        let mut config = config.clone();
        scratch.path().clone_into(&mut config.data_dir);
        let (tasks, metrics) = (TaskTracker::new(), Metrics::new().map_err(Error::Metrics)?);
        let (metrics, limits) = (Arc::new(metrics), Arc::clone(&config.limits));
        let observer = Arc::clone(&metrics) as _;
        let upstream = HttpUpstream::new(upstreams(&config), Arc::clone(&limits), observer);
        let upstream = upstream.map_err(Error::Upstream)?;
        let reading = upstream.reading().clone();
        let upstream: Arc<dyn crate::upstream::Upstream> = Arc::new(upstream);
        let failed = |source: store::Error| Error::Store {
            path: into.to_owned(),
            source,
        };
        // Nothing that was recorded goes for want of room.
        let store = Store::open(into, u64::MAX, &tasks).await.map_err(failed)?;
        let state = State::open(scratch.path()).map_err(|source| Error::State {
            path: scratch.path().to_owned(),
            source,
        })?;
        let manifests = Manifests::new(
            store.clone(),
            state.clone(),
            Arc::clone(&upstream),
            Arc::clone(&limits),
            reading.clone(),
        );
        let ground = Ground {
            upstream,
            store,
            state,
            reliance: Reliance::Fresh,
            metrics,
            tasks,
            reading,
            claim: None,
        };
        Ok(Self {
            engine: Engine::on(ground, &config, &Destination::Nowhere)?,
            manifests,
            limits,
            into: into.to_owned(),
            scratch,
        })
    }

    /// Records an image as it is now: its manifest, what each source of signatures has, and what it lists. Nothing is
    /// decided.
    ///
    /// # Errors
    /// When something of it cannot be had or kept; then nothing is known of it later.
    pub(crate) async fn record(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        now: Timestamp,
    ) -> Result<Arc<Document>, RecordingError> {
        let deadline = Instant::now() + self.limits.decision_time_max;
        let document = self
            .manifests
            .fetch(repository, reference, deadline)
            .await?;
        let subject = document.subject.clone();
        let gathering = self.engine.admission.gather_for_recording(&document, now);
        let missing = gathering.await?;
        if !missing.is_empty() {
            return Err(RecordingError::Incomplete(missing));
        }
        self.manifests.keep(&document).await?;
        let children = document.manifest.children().iter();
        let mut batch = Batch {
            manifests: vec![document.row(now)],
            // Whatever is decided about it, it lists them.
            parents: vec![(
                subject.clone(),
                children.map(|child| child.digest).collect(),
            )],
            ..Batch::default()
        };
        if let Reference::Tag(tag) = reference {
            let row = TagRow {
                digest: subject.digest,
                resolved_at: now,
            };
            batch.tags = vec![(repository.clone(), tag.clone(), row)];
            batch.asked_tags = vec![(subject.clone(), tag.clone())];
        }
        let written = self.engine.state.write(batch).await;
        written.map_err(|source| self.unwritten(source))?;
        Ok(document)
    }

    /// Tells if signatures or attestations were found for a recorded subject, right or wrong.
    ///
    /// # Errors
    /// Fails if the recording cannot be read.
    pub(crate) async fn has_signatures(&self, subject: &Subject) -> Result<bool, RecordingError> {
        let candidates = self.engine.admission.stored_candidates(subject).await?;
        Ok(!candidates.is_empty())
    }

    /// Puts what is known of what was recorded into the directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn close(self) -> Result<(), RecordingError> {
        let Self {
            engine,
            manifests,
            limits: _,
            into,
            scratch,
        } = self;
        engine.settle().await;
        drop(manifests);
        let target = into.clone();
        let copying = tokio::task::spawn_blocking(move || {
            state::copy(scratch.path(), &target)?;
            // Only there while something arrives. It stays if another recording is under way.
            drop(std::fs::remove_dir(target.join("incoming")));
            Ok(())
        });
        let copied = copying.await.unwrap_or(Err(state::Error::Closed));
        copied.map_err(|source| RecordingError::Write { path: into, source })
    }

    fn unwritten(&self, source: state::Error) -> RecordingError {
        RecordingError::Write {
            path: self.into.clone(),
            source,
        }
    }
}
