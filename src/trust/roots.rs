//! Trusted roots that are kept fresh off the request path.
//!
//! Each root is built in, a file, or a target of a TUF repository. What is in force is always at hand; fetching happens
//! in the background. A root that nobody confirmed for too long stops being usable, with warnings long before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::entry::Entry;
use super::mirror::{AddressError, SharedClient};
use super::repository::Repository;
use super::status::RootStatus;
use crate::policy::material::Root;
use crate::verify::TrustedRootError;

/// How long a root may go without being refreshed, unless configured otherwise.
pub const ROOT_MAX_STALE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Where a trusted root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The public-good instance: embedded, and refreshed by TUF.
    BuiltIn {
        /// Where its TUF repository is copied to, if not to be asked itself.
        mirror: Option<Url>,
    },
    /// A Sigstore `trusted_root.json`, read again when it changes. It never goes stale: who names a file looks after it.
    File {
        /// The file.
        path: PathBuf,
    },
    /// A target of a TUF repository.
    Tuf {
        /// The repository: metadata lie there, targets under `targets/`.
        url: Url,
        /// The root of the repository that is believed from the start.
        root: InitialRoot,
        /// The name of the target; `trusted_root.json` in Sigstore repositories.
        target: String,
    },
}

/// Where the root of a TUF repository stands that is believed from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialRoot {
    /// In a file.
    File(PathBuf),
    /// In a document that names the repository.
    Inline(Arc<[u8]>),
}

/// A set of trusted roots by name. Clones are handles to the same set.
#[derive(Debug, Clone)]
pub struct Roots {
    entries: Arc<BTreeMap<String, Arc<Entry>>>,
    changes: watch::Sender<u64>,
}

/// A trusted root cannot be opened or refreshed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no root of that name.
    #[error("there is no trusted root {name}")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The file with the root, or with the initial root of a repository, cannot be used.
    #[error(transparent)]
    File(#[from] super::Error),
    /// The initial root of a repository is not one.
    #[error("the initial root of the TUF repository cannot be used")]
    InitialRoot(#[source] sigstore_tuf::Error),
    /// The archive with a repository cannot be unpacked.
    #[error("the archive with the TUF repository cannot be unpacked")]
    Archive(#[source] std::io::Error),
    /// A built-in address is not one.
    #[error("not an address")]
    Url(#[source] url::ParseError),
    /// A repository may not be at that address.
    #[error("{url} cannot be the address of a TUF repository")]
    Address {
        /// The address.
        url: Url,
        /// Why not.
        #[source]
        source: AddressError,
    },
    /// A target may not have that name.
    #[error(
        "{target:?} is not the name of a target: a relative path of letters, digits, and ., -, _, ~"
    )]
    Target {
        /// The name.
        target: String,
    },
    /// What is fetched cannot be kept.
    #[error("cannot keep trusted roots in {}", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// No HTTP client can be made.
    #[error("cannot make an HTTP client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The repository cannot be read, or does not verify.
    #[error("the TUF repository could not be refreshed")]
    Repository(#[source] sigstore_tuf::Error),
    /// It took too long.
    #[error("the TUF repository did not answer in time")]
    TimeOut,
    /// The target is not text.
    #[error("the trusted root is not text")]
    NotText,
    /// The target is signed but of no use.
    #[error("the trusted root cannot be used")]
    NotUsable(#[source] TrustedRootError),
    /// The target believes nobody.
    #[error("the trusted root names no authority and no log")]
    Empty,
    /// Refreshing panicked.
    #[error("the refresh failed in a way that is a bug")]
    Panicked,
    /// The work was not finished.
    #[error("the refresh was interrupted")]
    Ended,
}

impl Source {
    /// The name of the target that Sigstore repositories have.
    pub const TARGET: &str = "trusted_root.json";
}

impl InitialRoot {
    fn read(&self) -> Result<Vec<u8>, super::Error> {
        match self {
            Self::File(path) => Ok(super::read_text(path)?.into_bytes()),
            Self::Inline(bytes) => Ok(bytes.to_vec()),
        }
    }
}

impl Roots {
    /// Opens the roots as they were last known under `directory` (in `trust/`), without asking the network. Without a directory
    /// nothing is kept, as one-shot commands want it.
    ///
    /// A root that could not be refreshed for `max_stale` becomes unusable.
    ///
    /// # Errors
    /// When a file cannot be used, an address or a target's name is not acceptable, or the directory cannot be written.
    pub fn open(
        sources: BTreeMap<String, Source>,
        directory: Option<&Path>,
        max_stale: Duration,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let changes = watch::Sender::new(0);
        let client = SharedClient::default();
        let mut entries = BTreeMap::new();
        for (name, source) in sources {
            let repository = match &source {
                Source::File { .. } => None,
                Source::BuiltIn { mirror } => {
                    Some(Repository::public_good(mirror.as_ref(), client.clone())?)
                }
                Source::Tuf { url, root, target } => {
                    let initial = root.read()?;
                    Some(Repository::new(url, initial, target, client.clone())?)
                }
            };
            let repository = match (repository, directory) {
                (Some(mut repository), Some(directory)) => {
                    repository.keep_in(&directory.join("trust"), &name)?;
                    Some(repository)
                }
                (repository, _) => repository,
            };
            let changes = changes.clone();
            let entry = Entry::open(name.clone(), source, repository, max_stale, changes, now)?;
            entries.insert(name, Arc::new(entry));
        }
        Ok(Self {
            entries: Arc::new(entries),
            changes,
        })
    }

    /// The root as it is known now. Never waits. `None` when there is none of that name.
    #[must_use]
    pub fn current(&self, name: &str) -> Option<Root> {
        self.entries.get(name).map(|entry| entry.current())
    }

    /// A number that grows whenever a root changes, becomes unusable or becomes usable again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Refreshes all roots from time to time until `stop`: soon after the start, then daily, sooner after a failure.
    pub async fn keep_fresh(self, stop: CancellationToken) {
        // A task for each, so that none ends with another.
        let tasks = TaskTracker::new();
        for entry in self.entries.values() {
            let (entry, stop) = (Arc::clone(entry), stop.clone());
            tasks.spawn(async move { entry.keep_fresh(&stop).await });
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Refreshes one root now. Whether it is another one than before.
    ///
    /// # Errors
    /// When nothing newer could be had; what was in force stays so.
    pub async fn refresh(&self, name: &str, now: Timestamp) -> Result<bool, Error> {
        let entry = self.entries.get(name).ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
        })?;
        entry.refresh(now).await
    }

    /// Refreshes all roots now. What failed is in their status.
    pub async fn refresh_all(&self, now: Timestamp) {
        let all = self.entries.values().map(|entry| async move {
            // The entry keeps the failure.
            drop(entry.refresh(now).await);
        });
        join_all(all).await;
    }

    /// How the roots are, by name.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Vec<RootStatus> {
        self.entries
            .values()
            .map(|entry| entry.status(now))
            .collect()
    }
}
