//! The registry API: listeners, requests, answers.

mod answer;
mod blob;
mod challenge;
mod lists;
mod manifest;
mod place;
mod range;
mod respond;
pub mod route;
pub mod rules;
mod token;

use std::sync::Arc;

pub use challenge::PublicAddress;
pub use place::requests;
pub use rules::{Rules, RulesInForce};

use crate::clients::Tokens;
use crate::decision_log::{AccessLog, RefusedClients};
use crate::limits::Limits;
use crate::pull::Pull;
use crate::shares::Shares;
use crate::telemetry::Metrics;

/// What answering takes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

/// What a server is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who serves pulls.
    pub pull: Pull,
    /// Who may pull what, by which names.
    pub rules: RulesInForce,
    /// The tokens of clients.
    pub tokens: Tokens,
    /// The address under which clients reach this server.
    pub address: PublicAddress,
    /// The limits in force.
    pub limits: Arc<Limits>,
    /// Places for requests that memory alone does not answer.
    pub requests: Shares,
    /// One line for every pull.
    pub access_log: AccessLog,
    /// Counts the clients of each refusal.
    pub refused_clients: RefusedClients,
    /// The numbers.
    pub metrics: Arc<Metrics>,
}

/// Concessions to clients that do not follow the specification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compat {
    /// Whether `HEAD` answers 200 for refused manifests, for containerd up to 2.2, which hides why a `HEAD` failed.
    /// `GET` refuses all the same.
    pub head_allows: bool,
}

type Inner = Parts;

impl Server {
    /// A server made of `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(parts),
        }
    }
}
