//! The composition root: the only module that names every concrete type.

mod certificate;
mod changes;
mod files;
mod material;
mod recording;
mod reload;
mod replay;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use material::configured;

use crate::admin::{self, Admin};
use crate::admission::{self, Admission, Reliance, Sink};
use crate::clock;
use crate::config::{self, Config, TlsFiles};
use crate::decision_log::{AccessLog, Destination, JsonLines, OpenError, Record};
use crate::discovery::Discovery;
use crate::in_force::InForce;
use crate::keys;
use crate::manifests::Manifests;
use crate::pull::{self, Pull};
use crate::server::{self, Listener, RulesInForce, Server};
use crate::state::{self, State};
use crate::store::{self, Store};
use crate::telemetry::Metrics;
use crate::trust;
use crate::upstream::Upstream;
use crate::upstream::config::{BuildError, HostConfig, Proxy};
use crate::upstream::credentials;
use crate::upstream::http::HttpUpstream;
use certificate::Certificate;
pub use files::{Files, Loader};
use material::{Maker, Material};
pub(crate) use recording::{Recording, RecordingError};
use reload::Reloader;
pub(crate) use replay::{Replay, Snapshot};

/// How long connections that are answering may take to finish when the process is told to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(25);
/// How long transfers and writes in the background may take after that.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a decision waits for its line to be taken.
const LINE_TIME_MAX: Duration = Duration::from_millis(500);
/// How often the pulls that reused decisions are written to their records.
const COUNTS_WRITTEN_EVERY: Duration = Duration::from_secs(10);

/// Where the lines that are logged for every decision and every pull go.
#[derive(Debug, Clone)]
pub struct Lines {
    /// One JSON line for each decision.
    pub decisions: Destination,
    /// One JSON line for each pull.
    pub pulls: Destination,
}

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
    material: Material,
    maker: Maker,
    decisions: JsonLines,
    tasks: TaskTracker,
    /// Ends what goes on in the background.
    stop: CancellationToken,
}

/// What an engine stands on.
#[derive(Debug)]
struct Ground {
    upstream: Arc<dyn Upstream>,
    store: Store,
    state: State,
    reliance: Reliance,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
}

/// A proxy that is listening.
#[derive(Debug)]
pub struct App {
    /// Where the registry API is, the port filled in.
    pub address: SocketAddr,
    /// Where the admin API is, the port filled in.
    pub admin_address: SocketAddr,
    engine: Engine,
    access_log: AccessLog,
    readiness: admin::Readiness,
    rules: RulesInForce,
    certificate: Option<Certificate>,
    stop: CancellationToken,
    stop_admin: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

/// Why the proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An upstream's configuration cannot be used.
    #[error(transparent)]
    Upstream(#[from] BuildError),
    /// The content store cannot be used.
    #[error("open the content store in {}", path.display())]
    Store {
        /// The data directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// The state cannot be used.
    #[error("open the state in {}", path.display())]
    State {
        /// The data directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: state::Error,
    },
    /// An address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("use the certificate {} with the key {}", files.certificate.display(), files.private_key.display())]
    Tls {
        /// The files.
        files: TlsFiles,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is nothing to decide from.
    #[error(
        "{} is no data directory: no proxy has kept its state there, and nothing was recorded there",
        .0.display()
    )]
    NoEvidence(PathBuf),
    /// What was stored cannot be copied for a replay.
    #[error("copy what is known in {}", path.display())]
    Copy {
        /// The data directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A log file cannot be opened.
    #[error(transparent)]
    Lines(#[from] OpenError),
    /// A key service cannot be used.
    #[error(transparent)]
    Keys(#[from] keys::BuildError),
    /// A trusted root cannot be used.
    #[error(transparent)]
    Trust(#[from] trust::roots::Error),
    /// Two metrics have the same name.
    #[error("set up the metrics")]
    Metrics(#[from] prometheus::Error),
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
        let (store, state) = open(config, &tasks).await?;
        let ground = Ground {
            upstream: Arc::new(upstream),
            store,
            state,
            reliance: Reliance::Fresh,
            metrics,
            tasks,
        };
        Self::on(ground, config, decisions)
    }

    fn on(ground: Ground, config: &Config, decisions: &Destination) -> Result<Self, Error> {
        let Ground {
            upstream,
            store,
            state,
            reliance,
            metrics,
            tasks,
        } = ground;
        let limits = Arc::clone(&config.limits);
        let manifests = Manifests::new(
            store.clone(),
            state.clone(),
            Arc::clone(&upstream),
            Arc::clone(&limits),
        );
        let decisions = JsonLines::open(decisions)?;
        let stop = CancellationToken::new();
        let maker = Maker {
            directory: Some(config.data_dir.clone()),
            observer: Arc::<Metrics>::clone(&metrics),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
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
        if let Err(error) = self.decisions.flush().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not write all decision lines"
            );
        }
    }
}

impl App {
    /// Builds the engine, binds both listeners and serves. Ready when it returns.
    ///
    /// # Errors
    /// When something it needs cannot be used; upstreams are not among what it needs.
    pub async fn start(config: &Config, lines: &Lines) -> Result<Self, Error> {
        let files = config.server.tls.as_ref();
        let certificate = files.map(Certificate::open).transpose()?;
        let tls = match (&certificate, files) {
            (Some(certificate), Some(files)) => Some(certificate.acceptor(files)?),
            _ => None,
        };
        let (tcp, address) = bind(config.server.listen).await?;
        let (admin_tcp, admin_address) = bind(config.server.admin_listen).await?;
        let engine = Engine::build(config, &lines.decisions).await?;
        let access_log = AccessLog::open(&lines.pulls)?;
        let (stop, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let readiness = admin::Readiness::new(clock::now());
        engine.metrics.configuration_loaded(clock::now());
        let rules = RulesInForce::new(reload::rules(config));
        let server = Server::new(server::Parts {
            pull: engine.pull.clone(),
            rules: rules.clone(),
            limits: Arc::clone(&config.limits),
            access_log: access_log.clone(),
            metrics: Arc::clone(&engine.metrics),
        });
        let admin = Admin::new(admin::Parts {
            in_force: engine.in_force.clone(),
            state: engine.state.clone(),
            store: engine.store.clone(),
            metrics: Arc::clone(&engine.metrics),
            access_log: access_log.clone(),
            readiness: readiness.clone(),
            open: admin_address.ip().is_loopback(),
            token: config.server.admin_token.clone(),
        });
        engine
            .tasks
            .spawn(admin::serve(admin, admin_tcp, stop_admin.clone()));
        engine.maker.keep_fresh(&engine.material);
        let watch = changes::Watch {
            in_force: engine.in_force.clone(),
            state: engine.state.clone(),
            lines: engine.decisions.clone(),
            replica: replica(),
        };
        engine.tasks.spawn(watch.run(stop.clone()));
        engine
            .tasks
            .spawn(keep_writing_counts(engine.admission.clone(), stop.clone()));
        let serving =
            engine
                .tasks
                .spawn(server::serve(server, Listener { tcp, tls }, stop.clone()));
        reload::warn(config, clock::now());
        tracing::info!(%address, %admin_address, version = env!("CARGO_PKG_VERSION"), "Serving");
        Ok(Self {
            address,
            admin_address,
            engine,
            access_log,
            readiness,
            rules,
            certificate,
            stop,
            stop_admin,
            serving,
        })
    }

    /// Reloads the configuration when its files change, and on SIGHUP: `running` is what the process was started with,
    /// `files` what that was read from, `hangups` SIGHUP, caught since before the start. Must be called on the runtime.
    pub fn reload(&self, running: Config, files: Files, hangups: Signal) {
        let reloader = Reloader {
            running,
            material: self.engine.material.clone(),
            maker: self.engine.maker.clone(),
            in_force: self.engine.in_force.clone(),
            rules: self.rules.clone(),
            certificate: self.certificate.clone(),
            metrics: Arc::clone(&self.engine.metrics),
            readiness: self.readiness.clone(),
            tasks: self.engine.tasks.clone(),
        };
        let following = reloader.follow(files, hangups, self.stop.clone());
        self.engine.tasks.spawn(following);
    }

    /// Stops accepting, lets answers and transfers finish for a bounded time, and writes what is only in memory.
    pub async fn stop(self) {
        self.readiness.draining();
        self.stop.cancel();
        match tokio::time::timeout(DRAIN_TIME_MAX, self.serving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Serving ended badly"
                );
            }
            Err(_elapsed) => tracing::warn!("Stopped before all answers were finished"),
        }
        self.stop_admin.cancel();
        self.access_log.flush().await;
        self.engine.settle().await;
        tracing::info!("Stopped");
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
    async fn recorded(&self, record: &Record) {
        self.metrics.decided(record);
        // The record is durable in the database by now: a reader of the lines that has stopped reading holds up no pull.
        match tokio::time::timeout(LINE_TIME_MAX, self.lines.write(record)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Could not write a decision line"
                );
            }
            Err(_elapsed) => tracing::error!(id = %record.id, "Nobody takes the decision lines"),
        }
    }
}

async fn keep_writing_counts(admission: Admission, stop: CancellationToken) {
    loop {
        let pause = tokio::time::sleep(COUNTS_WRITTEN_EVERY);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
        write_counts(&admission).await;
    }
}

async fn write_counts(admission: &Admission) {
    if let Err(error) = admission.flush_counts().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Could not write how often decisions were reused"
        );
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
    let state = State::open(&config.data_dir).map_err(|source| Error::State {
        path: path(),
        source,
    })?;
    Ok((store, state))
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listen = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    Ok((listener, bound))
}

/// The upstreams of a configuration.
pub(crate) fn upstreams(config: &Config) -> crate::upstream::config::Config {
    let host = |upstream: &config::Upstream| HostConfig {
        endpoint: upstream.endpoint.clone(),
        plain_http: upstream.plain_http,
        ca_pem: upstream.ca.clone(),
        credentials: credentials(&upstream.credentials),
        token_hosts: upstream.token_hosts.clone(),
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

/// The name of this process in the log: the host's, which in a cluster is the pod's.
fn replica() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
