//! Probes and metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Request, State as Extract};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde_json::json;

use super::Admin;
use crate::keys::KeyStatus;
use crate::listener::descriptors;
use crate::telemetry::Gauges;
use crate::trust::RootStatus;

/// Whether the proxy serves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    draining: Arc<AtomicBool>,
    configuration: Arc<Mutex<Loading>>,
}

/// How the configuration came into force, and what kept a newer one from it.
#[derive(Debug, Clone, serde::Serialize)]
struct Loading {
    loaded_at: Timestamp,
    rejected_at: Option<Timestamp>,
    problems: Vec<String>,
}

impl Readiness {
    /// Ready: everything that serving needs is there before it begins.
    #[must_use]
    pub fn new(loaded_at: Timestamp) -> Self {
        let loading = Loading {
            loaded_at,
            rejected_at: None,
            problems: Vec::new(),
        };
        Self {
            draining: Arc::default(),
            configuration: Arc::new(Mutex::new(loading)),
        }
    }

    /// Another configuration is in force.
    pub fn configuration_applied(&self, now: Timestamp) {
        *self.loading() = Loading {
            loaded_at: now,
            rejected_at: None,
            problems: Vec::new(),
        };
    }

    /// A newer configuration is not put in force. That makes the process no less ready.
    pub fn configuration_rejected(&self, now: Timestamp, problems: Vec<String>) {
        let mut loading = self.loading();
        loading.rejected_at = Some(now);
        loading.problems = problems;
    }

    fn loading(&self) -> std::sync::MutexGuard<'_, Loading> {
        let loading = self.configuration.lock();
        loading.unwrap_or_else(PoisonError::into_inner)
    }

    /// No longer ready: the process is stopping.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn missing(&self) -> Vec<String> {
        if self.draining.load(Ordering::Relaxed) {
            return vec!["the process is stopping".to_owned()];
        }
        Vec::new()
    }
}

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(Extract(admin): Extract<Admin>, request: Request) -> Response {
    let mut missing = admin.inner.readiness.missing();
    missing.extend(admin.unwritable().await);
    let status = if missing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = if admin.opens_for(&request) {
        admin.details(&missing)
    } else {
        admin.counts(&missing)
    };
    (status, Json(body)).into_response()
}

impl Admin {
    /// Returns the faults that keep anything new from being decided, without names. A decision needs the database for its
    /// record, and new content needs room in the store.
    async fn unwritable(&self) -> Vec<String> {
        let (state, store) = (&self.inner.state, &self.inner.store);
        let mut missing = Vec::new();
        if let Err(error) = state.answers().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "The state database does not answer"
            );
            missing.push("the state database does not answer".to_owned());
        }
        // One after the other: the database's write is smaller, and says less about the room that is left.
        let no_content = store.check(state.fault()).await;
        let no_state = if no_content.is_none() {
            state.check().await
        } else {
            state.fault()
        };
        if let Some(fault) = no_state {
            missing.push(format!("the state database takes nothing new: {fault}"));
        }
        if let Some(fault) = no_content {
            missing.push(format!("the content store takes nothing new: {fault}"));
        }
        missing
    }

    /// Returns everything, for holders of the token. A root or key that cannot be fetched does not make the process unready,
    /// because other replicas would be no better and pulls that do not need it go on.
    fn details(&self, missing: &[String]) -> serde_json::Value {
        let brief_root = |root: &RootStatus| self.brief_root(root);
        let problems = json!(self.inner.readiness.loading().problems);
        json!({
            "ready": missing.is_empty(),
            "missing": missing,
            "configuration": self.configuration(&problems),
            "trusted_roots": self.roots().iter().map(brief_root).collect::<Vec<_>>(),
            "keys": self.keys().iter().map(brief_key).collect::<Vec<_>>(),
        })
    }

    /// The same for everybody: how much of it there is, and no names of files, upstreams and keys.
    fn counts(&self, missing: &[String]) -> serde_json::Value {
        let problems = json!(self.inner.readiness.loading().problems.len());
        let (roots, keys) = (self.roots(), self.keys());
        let unusable_keys = keys.iter().filter(|key| key.versions.is_empty()).count();
        json!({
            "ready": missing.is_empty(),
            "missing": missing,
            "configuration": self.configuration(&problems),
            "trusted_roots": {
                "total": roots.len(),
                "unusable": roots.iter().filter(|root| !root.usable).count(),
            },
            "keys": { "total": keys.len(), "unusable": unusable_keys },
        })
    }

    fn brief_root(&self, root: &RootStatus) -> serde_json::Value {
        json!({
            "name": root.name,
            "usable": root.usable,
            "needed": self.inner.in_force.policies().need_root(&root.name),
            "age_seconds": root.age_seconds,
            "stale_at": root.stale_at,
            "metadata_expires": root.metadata.as_ref().map(|metadata| metadata.expires),
            "warnings": root.warnings,
        })
    }

    fn configuration(&self, problems: &serde_json::Value) -> serde_json::Value {
        let loading = self.inner.readiness.loading().clone();
        json!({
            "hash": self.inner.in_force.policies().hash,
            "loaded_at": loading.loaded_at,
            "rejected_at": loading.rejected_at,
            "problems": problems,
        })
    }
}

fn brief_key(key: &KeyStatus) -> serde_json::Value {
    json!({
        "reference": key.reference.as_str(),
        "usable": !key.versions.is_empty(),
        "read_at": key.succeeded_at,
        "serves_until": key.serves_until,
    })
}

pub(super) async fn metrics(Extract(admin): Extract<Admin>) -> Response {
    let usage = admin.inner.store.usage();
    // Metrics are wanted most where the database fails.
    let log_size = admin.inner.state.log_size().await.unwrap_or_default();
    let gauges = Gauges {
        store_bytes: usage.bytes,
        store_files: usage.files,
        state_failing: admin.inner.state.fault().is_some(),
        store_failing: admin.inner.store.fault().is_some(),
        log_size,
        access_lines_dropped: admin.inner.access_log.dropped(),
        decision_lines_dropped: admin.inner.decision_lines.dropped(),
        sending_bytes: admin.inner.store.sending_bytes(),
        descriptors_open: descriptors::open(),
        descriptors_max: admin.inner.descriptors.max,
        roots: admin.roots(),
        keys: admin.keys(),
    };
    match admin.inner.metrics.render(&gauges) {
        Ok(text) => (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            text,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "Could not render the metrics"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
