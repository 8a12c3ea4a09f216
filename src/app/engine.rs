//! Everything that decides and serves, without listeners.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::data_dir::{self, Claim};
use super::material::{Maker, Material};
use super::{Error, replica, write_counts};
use crate::admission::{self, Admission, Reliance, Sink};
use crate::clients;
use crate::compute;
use crate::config::{self, Config};
use crate::decision_log::{Destination, Entry, JsonLines};
use crate::discovery::Discovery;
use crate::in_force::InForce;
use crate::manifests::Manifests;
use crate::pull::{self, Pull};
use crate::shares::{Reading, Resource};
use crate::state::{Retention, State};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;
use crate::upstream::config::{HostConfig, Proxy};
use crate::upstream::credentials;
use crate::upstream::http::HttpUpstream;

/// How long transfers and writes in the background may take when everything ends.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);
/// Time to write the lines about decisions and pulls at the end.
pub(super) const LINES_TIME_MAX: Duration = Duration::from_secs(2);

/// Everything that decides and serves, without listeners.
#[derive(Debug)]
pub struct Engine {
    /// Serves pulls.
    pub pull: Pull,
    /// Decides.
    pub admission: Admission,
    /// Evidence, hints and the decision log.
    pub state: State,
    /// Content.
    pub store: Store,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// The policies in force, and what they are made of.
    pub in_force: InForce,
    pub(super) material: Material,
    pub(super) maker: Maker,
    pub(super) decisions: JsonLines,
    pub(super) tasks: TaskTracker,
    /// Ends what goes on in the background.
    pub(super) stop: CancellationToken,
    /// The data directory, until the end of everything that writes to it. Nothing where content is only read.
    _claim: Option<Claim>,
}

/// What an engine stands on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) store: Store,
    pub(super) state: State,
    pub(super) reliance: Reliance,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: TaskTracker,
    pub(super) reading: Reading,
    pub(super) claim: Option<Claim>,
}

impl Engine {
    /// Sets everything up. No upstream is asked for anything, so it works while all are down.
    ///
    /// # Errors
    /// When the data directory or an upstream's configuration cannot be used.
    pub async fn build(config: &Config, decisions: &Destination) -> Result<Self, Error> {
        let tasks = TaskTracker::new();
        let metrics = Arc::new(Metrics::new()?);
        let upstream = HttpUpstream::new(
            upstreams(config),
            Arc::clone(&config.limits),
            Arc::clone(&metrics) as _,
        )?;
        let claim = data_dir::claim(&config.data_dir)?;
        let (store, state) = open(config, &tasks).await?;
        let ground = Ground {
            reading: upstream.reading().clone(),
            upstream: Arc::new(upstream),
            store,
            state,
            reliance: Reliance::Fresh,
            metrics,
            tasks,
            claim: Some(claim),
        };
        Self::on(ground, config, decisions)
    }

    pub(super) fn on(
        ground: Ground,
        config: &Config,
        decisions: &Destination,
    ) -> Result<Self, Error> {
        let Ground {
            upstream,
            store,
            state,
            reliance,
            metrics,
            tasks,
            reading,
            claim,
        } = ground;
        let limits = Arc::clone(&config.limits);
        let manifests = Manifests::new(
            store.clone(),
            state.clone(),
            Arc::clone(&upstream),
            Arc::clone(&limits),
            reading,
        );
        let ledger = metrics.ledger();
        ledger.list(Resource::ComputeThreads, compute::places());
        ledger.list(Resource::PasswordHashes, clients::places());
        let decisions = JsonLines::open(decisions)?;
        let stop = CancellationToken::new();
        let maker = maker(config, &metrics, &tasks, &stop);
        let material = maker.make(config, None)?;
        let in_force = InForce::new(material.configured(config));
        tasks.spawn(in_force.clone().follow(stop.clone()));
        let admission = Admission::new(admission::Parts {
            in_force: in_force.clone(),
            manifests: manifests.clone(),
            discovery: Discovery::new(Arc::clone(&upstream), Arc::clone(&limits)),
            state: state.clone(),
            store: store.clone(),
            limits: Arc::clone(&limits),
            freshness: config.freshness,
            reliance,
            replica: replica(),
            sink: Arc::new(Recorded {
                metrics: Arc::clone(&metrics),
                lines: decisions.clone(),
            }),
            tasks: tasks.clone(),
        });
        let pull = Pull::new(pull::Parts {
            admission: admission.clone(),
            manifests,
            upstream,
            state: state.clone(),
            store: store.clone(),
            limits,
            freshness: config.freshness,
            tasks: tasks.clone(),
        });
        Ok(Self {
            pull,
            admission,
            state,
            store,
            metrics,
            in_force,
            material,
            maker,
            decisions,
            tasks,
            stop,
            _claim: claim,
        })
    }

    /// Lets work in the background finish, for a while, and writes what is still only in memory.
    pub async fn settle(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SETTLE_TIME_MAX, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("Stopped before all work in the background was done");
        }
        write_counts(&self.admission).await;
        if !self.decisions.flush(LINES_TIME_MAX).await {
            tracing::warn!("Could not write all decision lines");
        }
    }
}

/// Tells metrics and lines about each decision.
#[derive(Debug)]
struct Recorded {
    metrics: Arc<Metrics>,
    lines: JsonLines,
}

#[async_trait::async_trait]
impl Sink for Recorded {
    async fn recorded(&self, record: &Entry) {
        self.metrics.decided(record);
        self.lines.write(record);
    }
}

fn maker(
    config: &Config,
    metrics: &Arc<Metrics>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Maker {
    Maker {
        directory: Some(config.data_dir.clone()),
        observer: Arc::<Metrics>::clone(metrics),
        tasks: tasks.clone(),
        stop: stop.clone(),
    }
}

/// Content and state, where the configuration keeps them.
async fn open(config: &Config, tasks: &TaskTracker) -> Result<(Store, State), Error> {
    let path = || config.data_dir.clone();
    let bytes_max = config.limits.store_bytes_max;
    let store = Store::open(&config.data_dir, bytes_max, tasks)
        .await
        .map_err(|source| Error::Store {
            path: path(),
            source,
        })?;
    let retention = Retention {
        bytes_max: config.limits.log_bytes_max,
        ..Retention::default()
    };
    let state = State::open_keeping(&config.data_dir, retention);
    let state = state.map_err(|source| Error::State {
        path: path(),
        source,
    })?;
    Ok((store, state))
}

/// The upstreams of a configuration.
pub(crate) fn upstreams(config: &Config) -> crate::upstream::config::Config {
    let host = |upstream: &config::Upstream| HostConfig {
        endpoint: upstream.endpoint.clone(),
        plain_http: upstream.plain_http,
        ca_pem: upstream.ca.clone(),
        credentials: credentials(&upstream.credentials),
        token_hosts: upstream.token_hosts.clone(),
        redirect_hosts: upstream.redirect_hosts.clone(),
    };
    let hosts: HashMap<_, _> = config
        .upstreams
        .iter()
        .map(|(name, upstream)| (name.clone(), host(upstream)))
        .collect();
    crate::upstream::config::Config {
        hosts,
        proxy: Proxy::System,
    }
}

fn credentials(configured: &config::Credentials) -> credentials::Credentials {
    match configured {
        config::Credentials::Anonymous => credentials::Credentials::Anonymous,
        config::Credentials::DockerConfig { path } => {
            credentials::Credentials::DockerConfig { path: path.clone() }
        }
        config::Credentials::Basic { username, password } => credentials::Credentials::Basic {
            username: username.expose().to_owned(),
            password: password.clone(),
        },
    }
}
