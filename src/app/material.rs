//! What the policies are completed with: keys from key services, and trusted roots that refresh themselves.
//!
//! A new configuration goes on with the keys and roots of the earlier one wherever they are the same, so that a reload
//! while a key service is down loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::Error;
use crate::clock;
use crate::config::Config;
use crate::in_force::{self, Configured};
use crate::keys::{self, KeyService, Keys, Reference, Scheme};
use crate::oci::Digest;
use crate::trust::{self, InitialRoot, Roots, Source};

/// Makes the material of configurations.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    /// Where roots are kept, if anywhere.
    pub(super) directory: Option<PathBuf>,
    pub(super) observer: Arc<dyn keys::Observer>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// The material of one configuration.
#[derive(Debug, Clone)]
pub(super) struct Material {
    keys: Option<Keys>,
    wanted: BTreeSet<Reference>,
    providers: BTreeMap<Scheme, Url>,
    roots: Roots,
    opened: Opened,
    /// Ends the refreshing of these roots.
    stop_roots: CancellationToken,
}

/// What roots were opened from: the same gives the same roots.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opened {
    sources: BTreeMap<String, Source>,
    max_stale: Duration,
    files: Vec<Option<Digest>>,
}

/// What `config` puts in force, for a command that never reads it again.
///
/// # Errors
/// When a key service's endpoint or a trusted root cannot be used.
pub(crate) fn configured(
    config: &Config,
    directory: Option<&Path>,
    observer: Arc<dyn keys::Observer>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Configured, Error> {
    let maker = Maker {
        directory: directory.map(Path::to_owned),
        observer,
        tasks: tasks.clone(),
        stop: stop.clone(),
    };
    Ok(maker.make(config, None)?.configured(config))
}

impl Maker {
    /// The material of `config`. Keys begin to be fetched at once, in the background; roots are opened as they were last
    /// known, in the directory if there is one. Nothing of `earlier` is disturbed.
    ///
    /// # Errors
    /// When a key service's endpoint or a trusted root cannot be used.
    pub(super) fn make(
        &self,
        config: &Config,
        earlier: Option<&Material>,
    ) -> Result<Material, Error> {
        let wanted: BTreeSet<_> = config
            .policies
            .policies
            .iter()
            .flat_map(|policy| in_force::references(policy))
            .collect();
        let opened = Opened::by(config);
        let (roots, stop_roots) = match earlier {
            Some(earlier) if earlier.opened == opened => {
                (earlier.roots.clone(), earlier.stop_roots.clone())
            }
            Some(_) | None => (self.open_roots(config)?, self.stop.child_token()),
        };
        Ok(Material {
            keys: self.keys(config, &wanted, earlier)?,
            wanted,
            providers: config.key_providers.clone(),
            roots,
            opened,
            stop_roots,
        })
    }

    /// Lets go of what only `earlier` needed, once `now` is in force.
    pub(super) fn take_over(&self, now: &Material, earlier: &Material) {
        if let Some(keys) = &now.keys {
            keys.want(now.wanted.clone());
        }
        if now.opened != earlier.opened {
            earlier.stop_roots.cancel();
            self.keep_fresh(now);
        }
    }

    /// Refreshes the roots from time to time.
    pub(super) fn keep_fresh(&self, material: &Material) {
        let (roots, stop) = (material.roots.clone(), material.stop_roots.clone());
        self.tasks.spawn(roots.keep_fresh(stop));
    }

    fn open_roots(&self, config: &Config) -> Result<Roots, Error> {
        Ok(Roots::open(
            config.root_sources.clone(),
            self.directory.as_deref(),
            config.root_max_stale,
            clock::now(),
        )?)
    }

    fn keys(
        &self,
        config: &Config,
        wanted: &BTreeSet<Reference>,
        earlier: Option<&Material>,
    ) -> Result<Option<Keys>, Error> {
        if wanted.is_empty() {
            return Ok(None);
        }
        if let Some(earlier) = earlier
            && let Some(keys) = &earlier.keys
            && earlier.providers == config.key_providers
            && schemes(wanted).is_subset(&schemes(&earlier.wanted))
        {
            // Until the new ones are in force, the earlier ones are needed as well.
            keys.want(wanted.union(&earlier.wanted).cloned().collect());
            return Ok(Some(keys.clone()));
        }
        let mut services: BTreeMap<Scheme, Arc<dyn KeyService>> = BTreeMap::new();
        for scheme in schemes(wanted) {
            let endpoint = config.key_providers.get(&scheme).cloned();
            services.insert(scheme, service(scheme, endpoint)?);
        }
        let observer = Arc::clone(&self.observer);
        let keys = Keys::new(services, observer, self.tasks.clone(), &self.stop);
        keys.want(wanted.clone());
        Ok(Some(keys))
    }
}

impl Material {
    /// What is put in force: the policies of `config` with this.
    pub(super) fn configured(&self, config: &Config) -> Configured {
        Configured {
            policies: Arc::clone(&config.policies),
            limits: Arc::clone(&config.limits),
            keys: self.keys.clone(),
            roots: Some(self.roots.clone()),
        }
    }
}

impl Opened {
    fn by(config: &Config) -> Self {
        let sources = config.root_sources.clone();
        let files = sources.values().filter_map(|source| match source {
            Source::BuiltIn { .. }
            | Source::Tuf {
                root: InitialRoot::Inline(_),
                ..
            } => None,
            Source::File { path }
            | Source::Tuf {
                root: InitialRoot::File(path),
                ..
            } => Some(path),
        });
        let digest = |path: &PathBuf| {
            let text = trust::read_text(path).ok()?;
            Some(Digest::sha256(text.as_bytes()))
        };
        let files = files.map(digest).collect();
        Self {
            sources,
            max_stale: config.root_max_stale,
            files,
        }
    }
}

fn schemes(references: &BTreeSet<Reference>) -> BTreeSet<Scheme> {
    references.iter().map(Reference::scheme).collect()
}

fn service(scheme: Scheme, endpoint: Option<Url>) -> Result<Arc<dyn KeyService>, Error> {
    Ok(match scheme {
        Scheme::Google => Arc::new(keys::google::CloudKms::new(
            endpoint,
            keys::google::GoogleToken::from_environment(),
        )?),
        Scheme::Aws => Arc::new(keys::aws::Kms::new(endpoint)?),
        Scheme::Azure => Arc::new(keys::azure::KeyVault::new(endpoint)?),
        Scheme::Vault => Arc::new(keys::vault::Transit::new(endpoint)?),
        Scheme::Kubernetes => {
            let cluster = keys::kubernetes::Cluster::around(variable);
            Arc::new(keys::kubernetes::Secrets::new(endpoint, cluster)?)
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the cluster is stands in the environment of every pod"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
