//! Configuration: load → parse → validate, all problems at once.
//!
//! A [`Config`] is always a valid one. The environment and the files it refers to are read here and nowhere else.

mod attestations;
mod authorities;
pub mod cases;
pub mod catalog;
pub mod check;
mod clients;
pub mod compat;
mod documents;
mod environment;
mod exceptions;
mod file;
pub mod freshness;
mod key_providers;
mod limits;
mod lookalikes;
mod members;
pub mod permissions;
mod policies;
mod problem;
mod quantity;
mod reader;
mod revoked;
pub mod routes;
pub mod schema;
pub mod server;
pub mod suggestion;
mod trusted_roots;
pub mod upstreams;
mod warning;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use crate::admission::Freshness;
pub use crate::server::Compat;
pub use crate::server::route::RepositoryPrefix;
pub use problem::{Position, Problem, Problems, Warning};
pub use server::{Server, TlsFiles};
pub use trusted_roots::PUBLIC_GOOD;
pub use upstreams::{Credentials, Upstream};
pub use warning::WarningName;
pub use yaml::Source;

use crate::clients::Clients;
use crate::keys::Scheme;
use crate::limits::Limits;
use crate::policy::{DefaultAction, Policies};
use crate::trust;
use file::read_file;
use policies::Surroundings;
use reader::{Field, Reader, Section};
use trusted_roots::TrustedRoots;

/// What the program runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listeners.
    pub server: Server,
    /// Where content and state are kept; created if absent.
    pub data_dir: PathBuf,
    /// The registries that may be reached, by host in canonical spelling.
    pub upstreams: BTreeMap<String, Upstream>,
    /// What first path components stand for.
    pub routes: BTreeMap<String, RepositoryPrefix>,
    /// Who must have signed what.
    pub policies: Arc<Policies>,
    /// Where the trusted roots come from, by name.
    pub root_sources: BTreeMap<String, trust::Source>,
    /// How long a root that refreshes itself may go without.
    pub root_max_stale: Duration,
    /// Where key services are, if not at their own addresses.
    pub key_providers: BTreeMap<Scheme, Url>,
    /// Who may pull what; absent when everybody who reaches the listener may.
    pub clients: Option<Clients>,
    /// How old an answer may be.
    pub freshness: Freshness,
    /// The limits in force.
    pub limits: Arc<Limits>,
    /// Concessions to clients.
    pub compat: Compat,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
}

/// What loading gave, and what was read for it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, or everything that is wrong with it.
    pub config: Result<Config, Problems>,
    /// The files that were read or would have been, patterns of files among them: a change of one may change the
    /// outcome.
    pub files: BTreeSet<PathBuf>,
}

/// The sections, and what stands beside them.
const KEYS: &[&str] = &[
    "server",
    "data_dir",
    "upstreams",
    "routes",
    "trusted_roots",
    "policies",
    "catalog",
    "key_providers",
    "policy_files",
    "clients",
    "revoked",
    "exceptions",
    "acknowledge",
    "default",
    "freshness",
    "limits",
    "compat",
];

const DATA_DIRECTORY: &str = "./countersign-data";

impl Config {
    /// Loads the files, later ones over earlier ones: mappings merge, lists and single values replace. Without any
    /// file, the built-in configuration.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(
        paths: &[PathBuf],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        Self::load_with_files(paths, environment).config
    }

    /// The same, with the files that it was read from.
    #[must_use]
    pub fn load_with_files(
        paths: &[PathBuf],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Loaded {
        if paths.is_empty() {
            return Loaded {
                config: Self::built_in(),
                files: BTreeSet::new(),
            };
        }
        let mut problems = Vec::new();
        let mut sources = Vec::new();
        for path in paths {
            match read_file(path) {
                Ok(text) => sources.push(Source {
                    path: path.clone(),
                    text,
                }),
                Err(problem) => problems.push(*problem),
            }
        }
        // Where some cannot be read, the others are still checked, so that one run shows everything.
        let mut loaded = Self::from_sources_with_files(&sources, environment);
        loaded.files.extend(paths.iter().cloned());
        if !problems.is_empty() {
            if let Err(Problems(more)) = loaded.config {
                problems.extend(more);
            }
            loaded.config = Err(Problems(problems));
        }
        loaded
    }

    /// The sections in which this differs from `running` and which are looked at only when the process starts.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        [
            ("server", self.server != running.server),
            ("data_dir", self.data_dir != running.data_dir),
            ("upstreams", self.upstreams != running.upstreams),
            ("freshness", self.freshness != running.freshness),
            ("limits", self.limits != running.limits),
        ]
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
    }

    /// What runs without any file: loopback listeners, the common public registries, and a catalogue of publishers who
    /// sign in public. Everything else is refused.
    ///
    /// # Errors
    /// Never in a released build; a test loads it.
    pub fn built_in() -> Result<Self, Problems> {
        let source = Source {
            path: PathBuf::from("built-in.yaml"),
            text: include_str!("../config/built-in.yaml").to_owned(),
        };
        Self::from_sources(&[source], &|_name| None)
    }

    /// The same as [`Config::load`], from texts.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_sources(
        sources: &[Source],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        Self::from_sources_with_files(sources, environment).config
    }

    fn from_sources_with_files(
        sources: &[Source],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Loaded {
        let mut problems = Vec::new();
        let mut merged = None;
        for source in sources {
            match yaml::parse(source) {
                Ok(node) => {
                    merged = Some(match merged {
                        None => node,
                        Some(earlier) => yaml::merge(earlier, node),
                    });
                }
                Err(more) => problems.extend(more),
            }
        }
        let mut reader = Reader {
            problems,
            ..Reader::default()
        };
        let Some(mut root) = merged else {
            return Loaded {
                config: Err(Problems(reader.problems)),
                files: reader.files,
            };
        };
        reader.substitute("", &mut root, environment);
        let mut config = read(&Field::root(&root), &mut reader);
        for upstream in config.upstreams.values_mut() {
            upstream.credentials.find_docker_config(environment);
        }
        let Reader {
            problems,
            warnings,
            files,
            notes: _,
        } = reader;
        // What the configuration says is meant needs nobody's attention.
        let warnings = warnings.into_iter().filter(|it| !it.is_acknowledged);
        let config = if problems.is_empty() {
            let warnings = warnings.collect();
            Ok(Self { warnings, ..config })
        } else {
            Err(Problems(problems))
        };
        Loaded { config, files }
    }
}

fn read(root: &Field<'_>, reader: &mut Reader) -> Config {
    let section = root.section(KEYS, reader);
    let server = server::read(section.get("server").as_ref(), reader);
    let upstreams = upstreams::read(section.get("upstreams").as_ref(), reader);
    if upstreams.is_empty() && section.get("upstreams").is_none() {
        reader.warn(
            root,
            WarningName::NoUpstreams,
            "no `upstreams`: nothing can be pulled",
        );
    }
    let routes = routes::read(section.get("routes").as_ref(), &upstreams, reader);
    let roots = TrustedRoots::read(section.get("trusted_roots").as_ref(), root, reader);
    let limits = limits::read(section.get("limits").as_ref(), reader);
    let (policies, root_sources) = read_policies(&section, &roots, &upstreams, &limits, reader);
    let clients = section
        .get("clients")
        .map(|field| clients::read(&field, &limits, reader));
    let freshness = section.get("freshness");
    check_exposure(&section, &server, &upstreams, clients.as_ref(), reader);
    let acknowledged = warning::read(section.get("acknowledge").as_ref(), reader);
    reader.acknowledge(0, &acknowledged);
    Config {
        server,
        data_dir: section
            .get("data_dir")
            .and_then(|field| field.path(reader))
            .unwrap_or_else(|| PathBuf::from(DATA_DIRECTORY)),
        upstreams,
        routes,
        policies: Arc::new(policies),
        root_sources: root_sources
            .into_iter()
            .chain(roots.into_sources())
            .collect(),
        root_max_stale: freshness::root_max_stale(freshness.as_ref(), reader),
        key_providers: key_providers::read(section.get("key_providers").as_ref(), reader),
        clients,
        freshness: freshness::read(freshness.as_ref(), reader),
        limits: Arc::new(limits),
        compat: compat::read(section.get("compat").as_ref(), reader),
        warnings: Vec::new(),
    }
}

fn read_policies(
    section: &Section<'_>,
    roots: &TrustedRoots,
    upstreams: &BTreeMap<String, Upstream>,
    limits: &Limits,
    reader: &mut Reader,
) -> (Policies, BTreeMap<String, trust::Source>) {
    let words = [
        ("deny", DefaultAction::Deny),
        ("audit", DefaultAction::Audit),
    ];
    let default = section
        .get("default")
        .and_then(|field| field.choice(&words, reader))
        .unwrap_or(DefaultAction::Deny);
    let surroundings = Surroundings {
        roots,
        hosts: upstreams.keys().map(String::as_str).collect(),
        default,
    };
    let mut policies = policies::read(section.get("policies").as_ref(), &surroundings, reader);
    let catalog = section.get("catalog");
    catalog::read(catalog.as_ref(), &surroundings, &mut policies, reader);
    let documents = documents::read(section.get("policy_files").as_ref(), &surroundings, reader);
    policies.extend(documents.policies);
    if policies.is_empty() && default == DefaultAction::Deny && reader.problems.is_empty() {
        reader.warn(
            section.field(),
            WarningName::NoPolicies,
            "no policies and `default: deny`: every image is refused",
        );
    }
    let revoked = revoked::read(section.get("revoked").as_ref(), reader);
    let exceptions = exceptions::read(section.get("exceptions").as_ref(), reader);
    let policies = Policies::new(policies, default, revoked, limits).excepting(exceptions);
    (policies, documents.root_sources)
}

/// Refuses a listener beyond loopback that would lend the proxy's credentials to everybody, and warns of one that
/// everybody may use or read along.
fn check_exposure(
    section: &Section<'_>,
    server: &Server,
    upstreams: &BTreeMap<String, Upstream>,
    clients: Option<&Clients>,
    reader: &mut Reader,
) {
    if server.listen.ip().is_loopback() {
        return;
    }
    let place = section
        .get("server")
        .unwrap_or_else(|| section.field().clone());
    let private = upstreams
        .iter()
        .find(|(_, upstream)| !upstream.credentials.is_anonymous());
    match (clients, private) {
        (None, Some((host, _))) => reader.problem(
            &place,
            format!(
                "{} is not a loopback address, {host} is pulled with credentials, and there are no `clients`",
                server.listen
            ),
            "say under `clients` who may pull what, or listen on 127.0.0.1",
        ),
        (None, None) => reader.warn(
            &place,
            WarningName::OpenToEverybody,
            format!(
                "no `clients`: everybody who reaches {} may pull everything that the policies admit",
                server.listen
            ),
        ),
        (Some(_), _) => {}
    }
    if server.is_reached_by_tls() {
        return;
    }
    let (name, message) = if clients.is_some_and(Clients::has_passwords) {
        (
            WarningName::PasswordsInClear,
            "passwords of clients travel in clear: there is no `tls`, and no `public_url` says that something in front \
             terminates TLS",
        )
    } else {
        (
            WarningName::PlainHttp,
            "no `tls` beyond loopback: anybody on the way can read pulls, and replace what a tag names",
        )
    };
    reader.warn(&place, name, message);
}

#[cfg(test)]
mod tests;
