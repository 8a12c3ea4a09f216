//! The upstream client against a scripted server on loopback.

mod authentication;
mod bodies;
mod connections;
mod heads;
mod pressure;
mod reading;
mod redirects;
mod server;
mod statuses;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::config::{BuildError, HostConfig, Proxy};
use super::*;
use crate::limits::Limits;
use server::{Reply, Server};

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Outcomes(Mutex<Vec<(String, Purpose, &'static str)>>);

impl Observer for Outcomes {
    fn finished(&self, host: &str, purpose: Purpose, outcome: &'static str, _elapsed: Duration) {
        self.0
            .lock()
            .unwrap()
            .push((host.to_owned(), purpose, outcome));
    }
}

/// Limits with which a test does not take long.
fn limits() -> Limits {
    Limits {
        connect_time_max: Duration::from_secs(2),
        header_time_max: Duration::from_secs(2),
        blob_header_time_max: Duration::from_secs(2),
        body_idle_time_max: Duration::from_millis(500),
        ..Limits::default()
    }
}

fn plain(credentials: credentials::Credentials) -> HostConfig {
    HostConfig {
        plain_http: true,
        credentials,
        ..HostConfig::default()
    }
}

fn basic() -> credentials::Credentials {
    credentials::Credentials::Basic {
        username: "robot".to_owned(),
        password: crate::secret::Secret::new("hunter2".to_owned()),
    }
}

fn build(host: &str, config: HostConfig, limits: Limits) -> Result<HttpUpstream, BuildError> {
    build_behind(no_proxy(), host, config, limits)
}

fn build_behind(
    proxy: Proxy,
    host: &str,
    config: HostConfig,
    limits: Limits,
) -> Result<HttpUpstream, BuildError> {
    let config = Config {
        hosts: [(host.to_owned(), config)].into(),
        proxy,
    };
    HttpUpstream::new(config, Arc::new(limits), Arc::new(NoObserver))
}

/// An anonymous upstream at `server`.
fn upstream(server: &Server) -> HttpUpstream {
    build(
        &server.host(),
        plain(credentials::Credentials::Anonymous),
        limits(),
    )
    .unwrap()
}

fn upstream_with(server: &Server, credentials: credentials::Credentials) -> HttpUpstream {
    build(&server.host(), plain(credentials), limits()).unwrap()
}

/// Whatever the environment of the tests says.
fn no_proxy() -> Proxy {
    Proxy::Explicit {
        http: None,
        https: None,
        no_proxy: String::new(),
    }
}

fn repository(server: &Server) -> RepositoryName {
    RepositoryName::new(&server.host(), "org/app").unwrap()
}

fn tag(text: &str) -> Reference {
    Reference::Tag(text.parse().unwrap())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Asks for `org/app:v1`.
async fn pull(upstream: &HttpUpstream, server: &Server) -> Result<FetchedManifest, Error> {
    pull_for(upstream, server, Purpose::Manifest).await
}

async fn pull_for(
    upstream: &HttpUpstream,
    server: &Server,
    purpose: Purpose,
) -> Result<FetchedManifest, Error> {
    upstream
        .manifest(&repository(server), &tag("v1"), purpose, soon())
        .await
}

fn is_unexpected(error: &Error, part: &str) -> bool {
    matches!(error, Error::Unexpected { reason, .. } if reason.contains(part))
}

fn is_failed(error: &Error, part: &str) -> bool {
    matches!(error, Error::Failed { reason, .. } if reason.contains(part))
}
