//! Configuration: load → parse → validate, all problems at once.
//!
//! A [`Config`] is always a valid one. The environment and the files it refers to are read here and nowhere else.

pub mod compat;
pub mod freshness;
mod problem;
pub mod routes;
mod secret;
pub mod server;
pub mod upstreams;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use compat::Compat;
pub use freshness::Freshness;
pub use problem::{Position, Problem, Problems, Warning};
pub use routes::RepositoryPrefix;
pub use secret::Secret;
pub use server::{Server, TlsFiles};
pub use upstreams::{Credentials, Upstream};

use crate::clients::Clients;
use crate::limits::Limits;
use crate::policy::Policies;
use crate::verify::TrustedRoot;

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
    /// The trusted roots by name.
    pub trusted_roots: BTreeMap<String, Arc<TrustedRoot>>,
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

impl Config {
    /// Loads the files, later ones over earlier ones; without any, the built-in configuration.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(
        paths: &[PathBuf],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        let _ = (paths, environment);
        todo!("owner: config")
    }
}
