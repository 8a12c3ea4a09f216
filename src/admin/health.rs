//! Probes and metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State as Extract;
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

    fn missing(&self) -> Vec<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return vec!["the process is stopping"];
        }
        Vec::new()
    }
}

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(Extract(admin): Extract<Admin>) -> Response {
    let mut missing = admin.inner.readiness.missing();
    // Without the state nothing can be decided, and nothing that was decided can be logged.
    if let Err(error) = admin.inner.state.answers().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "The state database does not answer"
        );
        missing.push("the state database does not answer");
    }
    let status = if missing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    // A root or key that is not to be had makes other replicas no better: that is told, and pulls that do not need it
    // go on.
    let body = json!({
        "ready": missing.is_empty(),
        "missing": missing,
        "configuration": admin.configuration(),
        "trusted_roots": admin.roots().iter().map(|root| admin.brief_root(root)).collect::<Vec<_>>(),
        "keys": admin.keys().iter().map(brief_key).collect::<Vec<_>>(),
    });
    (status, Json(body)).into_response()
}

impl Admin {
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

    fn configuration(&self) -> serde_json::Value {
        let loading = self.inner.readiness.loading().clone();
        json!({
            "hash": self.inner.in_force.policies().hash,
            "loaded_at": loading.loaded_at,
            "rejected_at": loading.rejected_at,
            "problems": loading.problems,
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
    let gauges = Gauges {
        store_bytes: usage.bytes,
        store_files: usage.files,
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
