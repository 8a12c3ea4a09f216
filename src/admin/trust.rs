//! What is believed: keys, trusted roots and policies, for operators and programs.

use axum::Json;
use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use tokio::time::{Duration, Instant};

use super::Admin;
use crate::clock;
use crate::keys::KeyStatus;
use crate::oci::Digest;
use crate::policy::{Mode, Policy};
use crate::trust::RootStatus;

/// Between two refreshes that somebody asks for.
const ON_DEMAND_INTERVAL: Duration = Duration::from_secs(5);
/// How long somebody who asks waits.
const ON_DEMAND_TIME_MAX: Duration = Duration::from_secs(20);

/// One key of a key service.
#[derive(Debug, Serialize)]
pub(super) struct Key {
    reference: String,
    usable: bool,
    versions: Vec<KeyVersion>,
    read_at: Option<jiff::Timestamp>,
    failure: Option<String>,
    failed_at: Option<jiff::Timestamp>,
    serves_until: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
struct KeyVersion {
    version: Option<String>,
    fingerprint: Digest,
}

/// One policy in force.
#[derive(Debug, Serialize)]
struct PolicyInForce {
    name: String,
    hash: Digest,
    mode: &'static str,
    origin: Option<String>,
    images: Vec<String>,
    authorities: Vec<String>,
}

impl Admin {
    pub(super) fn roots(&self) -> Vec<RootStatus> {
        let roots = self.inner.in_force.configured().roots;
        roots.map_or_else(Vec::new, |roots| roots.status(clock::now()))
    }

    pub(super) fn keys(&self) -> Vec<KeyStatus> {
        let keys = self.inner.in_force.configured().keys;
        keys.map_or_else(Vec::new, |keys| keys.status())
    }
}

pub(super) async fn trust(Extract(admin): Extract<Admin>) -> Response {
    let keys: Vec<_> = admin.keys().into_iter().map(Key::from).collect();
    Json(json!({ "trusted_roots": admin.roots(), "keys": keys })).into_response()
}

/// Asks the repositories of the roots and the key services now, and answers like [`trust`]. Asked again within a short
/// time, it only waits for the first and answers: a page in a browser could ask, too.
pub(super) async fn refresh(Extract(admin): Extract<Admin>) -> Response {
    {
        let mut refreshed = admin.refreshed.lock().await;
        if refreshed.is_none_or(|at| at.elapsed() >= ON_DEMAND_INTERVAL) {
            let configured = admin.inner.in_force.configured();
            let deadline = Instant::now() + ON_DEMAND_TIME_MAX;
            let roots = async {
                if let Some(roots) = &configured.roots {
                    let all = roots.refresh_all(clock::now());
                    // What failed, or was not in time, is in the status.
                    drop(tokio::time::timeout_at(deadline, all).await);
                }
            };
            let keys = async {
                if let Some(keys) = &configured.keys {
                    let all = keys.status().into_iter().map(|key| key.reference);
                    let all = all.map(|key| async move { keys.refresh(&key, deadline).await });
                    futures::future::join_all(all).await;
                }
            };
            tokio::join!(roots, keys);
            admin.inner.in_force.take_in();
            *refreshed = Some(Instant::now());
        }
    }
    trust(Extract(admin)).await
}

pub(super) async fn policies(Extract(admin): Extract<Admin>) -> Response {
    let policies = admin.inner.in_force.snapshot();
    let listed: Vec<_> = policies.policies.iter().map(|it| describe(it)).collect();
    Json(json!({ "configuration": policies.hash, "policies": listed })).into_response()
}

fn describe(policy: &Policy) -> PolicyInForce {
    let mut authorities: Vec<_> = policy
        .requirement
        .authorities()
        .into_iter()
        .map(|authority| authority.name.clone())
        .collect();
    authorities.dedup();
    PolicyInForce {
        name: policy.name.clone(),
        hash: policy.hash,
        mode: match policy.mode {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
        },
        origin: policy.origin.as_ref().map(ToString::to_string),
        images: policy.coverage.patterns(),
        authorities,
    }
}

impl From<KeyStatus> for Key {
    fn from(status: KeyStatus) -> Self {
        let versions = status.versions.into_iter();
        let versions: Vec<_> = versions
            .map(|(version, fingerprint)| KeyVersion {
                version,
                fingerprint,
            })
            .collect();
        let (failed_at, failure) = status.failure.unzip();
        Self {
            reference: status.reference.to_string(),
            usable: !versions.is_empty(),
            versions,
            read_at: status.succeeded_at,
            failure,
            failed_at,
            serves_until: status.serves_until,
        }
    }
}
