//! The composition root: the only module that names every concrete type.

mod certificate;
mod changes;
mod data_dir;
mod engine;
mod files;
mod material;
mod recording;
mod reload;
mod replay;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::Signal;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use engine::Engine;
pub(crate) use engine::upstreams;
pub(crate) use material::configured;

use crate::admin::{self, Admin, Names};
use crate::admission::Admission;
use crate::clients::Tokens;
use crate::clock;
use crate::config::{self, Config, TlsFiles};
use crate::decision_log::{AccessLog, Destination, OpenError, RefusedClients};
use crate::keys;
use crate::listener::descriptors::Descriptors;
use crate::listener::{self, Bounds, Listener};
use crate::server::{self, PublicAddress, RulesInForce, Server};
use crate::state::{self, Batch, State};
use crate::store;
use crate::trust::{self, RootStatus};
use crate::upstream::config::BuildError;
use certificate::Certificate;
pub use files::{Files, Loader};
pub(crate) use recording::{Recording, RecordingError};
use reload::Reloader;
pub(crate) use replay::{Replay, Snapshot};

/// Connections that wait to be accepted. One that finds no place comes back a second later.
const BACKLOG: u32 = 4096;
/// How long connections that are answering may take to finish when the process is told to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(25);
/// The first port that every process may listen on.
const PORT_FREE_MIN: u16 = 1024;
/// How often the pulls that reused decisions are written to their records.
const COUNTS_WRITTEN_EVERY: Duration = Duration::from_secs(10);

/// Interval at which the clients of refused pulls are written to their records.
const REFUSED_CLIENTS_WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// Where the lines that are logged for every decision and every pull go.
#[derive(Debug, Clone)]
pub struct Lines {
    /// One JSON line for each decision.
    pub decisions: Destination,
    /// One JSON line for each pull.
    pub pulls: Destination,
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
    refused_clients: RefusedClients,
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
    /// The data directory, or a file in it, may not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Access {
        /// The place.
        path: PathBuf,
        /// The user, the owner and the way out.
        reason: String,
    },
    /// The data directory cannot be used.
    #[error("use {}", path.display())]
    Directory {
        /// The place.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something that this program did not make lies in place of a file of its own.
    #[error(
        "cannot use {}: a link, a named pipe or the like lies in place of a file; remove it",
        .0.display()
    )]
    Foreign(PathBuf),
    /// Another process has the data directory.
    #[error("the data directory {} is in use by {process}: stop that one first, or set another `data_dir`", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The process, by its number if that is known.
        process: String,
    },
    /// An address cannot be listened on.
    #[error("listen on {address}{}", privileged(address.port(), source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
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

impl App {
    /// Builds the engine, binds both listeners and serves. Ready when it returns.
    ///
    /// # Errors
    /// When something it needs cannot be used; upstreams are not among what it needs.
    pub async fn start(config: &Config, lines: &Lines) -> Result<Self, Error> {
        let (certificate, tls) = open_certificate(&config.server)?.unzip();
        let (tcp, address) = bind(config.server.listen)?;
        let (admin_tcp, admin_address) = bind(config.server.admin_listen)?;
        let descriptors = Descriptors::raise();
        let fit = descriptors.divide(&config.limits);
        let engine = Engine::build(config, &lines.decisions).await?;
        let access_log = AccessLog::open(&lines.pulls)?;
        let (stop, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let readiness = admin::Readiness::new(clock::now());
        engine.metrics.configuration_loaded(clock::now());
        let rules = RulesInForce::new(reload::rules(config));
        let refused_clients = RefusedClients::default();
        let server = Server::new(server::Parts {
            pull: engine.pull.clone(),
            rules: rules.clone(),
            tokens: tokens(&config.server),
            address: public_address(&config.server),
            limits: Arc::clone(&config.limits),
            requests: server::requests(engine.metrics.ledger(), config.limits.client_requests_max),
            access_log: access_log.clone(),
            refused_clients: refused_clients.clone(),
            metrics: Arc::clone(&engine.metrics),
        });
        let admin = admin_api(
            config,
            &engine,
            &access_log,
            &readiness,
            descriptors,
            admin_address,
        );
        let admin_listener = Listener {
            tcp: admin_tcp,
            tls: None,
            bounds: Bounds::new(&config.limits, fit.admin_connections_max),
            metrics: engine.metrics.listeners.admin.clone(),
        };
        let serving = listener::serve(admin_listener, admin.handler(), stop_admin.clone());
        engine.tasks.spawn(serving);
        keep_up(&engine, &refused_clients, &stop);
        let registry_listener = Listener {
            tcp,
            tls,
            bounds: Bounds::new(&config.limits, fit.connections_max),
            metrics: engine.metrics.listeners.registry.clone(),
        };
        let serving = engine
            .tasks
            .spawn(listener::serve(registry_listener, server, stop.clone()));
        tracing::info!(%address, %admin_address, version = env!("CARGO_PKG_VERSION"), "Serving");
        Ok(Self {
            address,
            admin_address,
            engine,
            access_log,
            refused_clients,
            readiness,
            rules,
            certificate,
            stop,
            stop_admin,
            serving,
        })
    }

    /// How the trusted roots in force are.
    #[must_use]
    pub fn roots(&self, now: Timestamp) -> Vec<RootStatus> {
        let roots = self.engine.in_force.configured().roots;
        roots.map(|roots| roots.status(now)).unwrap_or_default()
    }

    /// Logs the warnings about the configuration that the process was started with.
    pub fn warn(&self, config: &Config) {
        reload::warn(config, clock::now());
    }

    /// Logs the exceptions of the configuration.
    pub fn warn_of_exceptions(&self, config: &Config) {
        reload::warn_of_exceptions(&config.policies, clock::now());
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
            is_current: true,
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
        let flushing = self.access_log.flush();
        if tokio::time::timeout(engine::LINES_TIME_MAX, flushing)
            .await
            .is_err()
        {
            tracing::warn!("Could not write all access lines");
        }
        write_refused_clients(&self.refused_clients, &self.engine.state).await;
        self.engine.settle().await;
        tracing::info!("Stopped");
    }
}

fn admin_api(
    config: &Config,
    engine: &Engine,
    access_log: &AccessLog,
    readiness: &admin::Readiness,
    descriptors: Descriptors,
    address: SocketAddr,
) -> Admin {
    Admin::new(admin::Parts {
        in_force: engine.in_force.clone(),
        pull: engine.pull.clone(),
        state: engine.state.clone(),
        store: engine.store.clone(),
        metrics: Arc::clone(&engine.metrics),
        access_log: access_log.clone(),
        decision_lines: engine.decisions.clone(),
        descriptors,
        readiness: readiness.clone(),
        open: address.ip().is_loopback(),
        token: config.server.admin_token.clone(),
        names: admin_names(&config.server),
    })
}

/// Begins the work in the background: keys and roots are kept fresh, and what changes or is counted is written.
fn keep_up(engine: &Engine, refused: &RefusedClients, stop: &CancellationToken) {
    engine.maker.keep_fresh(&engine.material);
    keep_watching(engine, stop);
    keep_writing(engine, refused, stop);
}

/// Records changes of what is in force.
fn keep_watching(engine: &Engine, stop: &CancellationToken) {
    let watch = changes::Watch {
        in_force: engine.in_force.clone(),
        state: engine.state.clone(),
        lines: engine.decisions.clone(),
        replica: replica(),
    };
    engine.tasks.spawn(watch.run(stop.clone()));
}

/// Writes what is counted in memory to the log from time to time.
fn keep_writing(engine: &Engine, refused: &RefusedClients, stop: &CancellationToken) {
    let counts = keep_writing_counts(engine.admission.clone(), stop.clone());
    engine.tasks.spawn(counts);
    let refused = keep_writing_refused_clients(refused.clone(), engine.state.clone(), stop.clone());
    engine.tasks.spawn(refused);
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

async fn keep_writing_refused_clients(
    refused: RefusedClients,
    state: State,
    stop: CancellationToken,
) {
    loop {
        let pause = tokio::time::sleep(REFUSED_CLIENTS_WRITTEN_EVERY);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
        write_refused_clients(&refused, &state).await;
    }
}

async fn write_refused_clients(refused: &RefusedClients, state: &State) {
    let refused_clients = refused.take();
    if refused_clients.is_empty() {
        return;
    }
    let batch = Batch {
        refused_clients,
        ..Batch::default()
    };
    if let Err(error) = state.write(batch).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Could not write the clients of refused pulls"
        );
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

fn open_certificate(server: &config::Server) -> Result<Option<(Certificate, TlsAcceptor)>, Error> {
    let Some(files) = &server.tls else {
        return Ok(None);
    };
    let certificate = Certificate::open(files)?;
    let acceptor = certificate.acceptor(files)?;
    Ok(Some((certificate, acceptor)))
}

fn open_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart may find connections of the process before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listen = |source| Error::Listen { address, source };
    let listener = open_listener(address).map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    Ok((listener, bound))
}

/// The tokens of clients: those of every process with the same `token_key`, or of this one alone.
fn tokens(server: &config::Server) -> Tokens {
    match &server.token_key {
        Some(key) => Tokens::from_secret(key.expose().as_bytes()),
        None => Tokens::with_random_key(),
    }
}

fn public_address(server: &config::Server) -> PublicAddress {
    PublicAddress {
        configured: server.public_url.clone(),
        tls: server.tls.is_some(),
    }
}

fn admin_names(server: &config::Server) -> Names {
    Names {
        hosts: server.admin_host_names(),
        console_url: server.console_url.clone(),
    }
}

/// A remark about ports that only some processes may listen on.
fn privileged(port: u16, error: &io::Error) -> &'static str {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    if is_denied && port < PORT_FREE_MIN {
        " (ports below 1024 need the capability CAP_NET_BIND_SERVICE)"
    } else {
        ""
    }
}

/// The name of this process in the log: the host's, which in a cluster is the pod's.
fn replica() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
