//! The admin listener: probes and metrics for machines, the decision log for operators.

mod api;
mod health;
mod names;
mod recheck;
mod trust;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State as Extract};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt as _;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::time::Instant;

pub use health::Readiness;
pub use names::Names;
pub use recheck::Recheck;

use crate::decision_log::{AccessLog, JsonLines};
use crate::in_force::InForce;
use crate::listener::Handler;
use crate::listener::descriptors::Descriptors;
use crate::pull::Pull;
use crate::secret::Secret;
use crate::state::State;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the admin API answers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    inner: Arc<Parts>,
    /// When roots and keys were last asked for on demand.
    refreshed: Arc<tokio::sync::Mutex<Option<Instant>>>,
    rechecks: Arc<recheck::Rechecks>,
}

/// What an admin API is made of.
#[derive(Debug)]
pub struct Parts {
    /// The policies in force, and what they are made of.
    pub in_force: InForce,
    /// Looks at images again.
    pub pull: Pull,
    /// The decision log.
    pub state: State,
    /// For its usage.
    pub store: Store,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// For its losses.
    pub access_log: AccessLog,
    /// For its losses.
    pub decision_lines: JsonLines,
    /// The limit of open files.
    pub descriptors: Descriptors,
    /// Whether the proxy serves.
    pub readiness: Readiness,
    /// Whether everything is served without a token: the listener is on loopback.
    pub open: bool,
    /// What opens it otherwise.
    pub token: Option<Secret>,
    /// The names under which it may be asked for.
    pub names: Names,
}

impl Admin {
    /// An admin API made of `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(parts),
            refreshed: Arc::default(),
            rechecks: Arc::default(),
        }
    }

    /// What answers the requests of the admin listener.
    #[must_use]
    pub fn handler(self) -> AdminHandler {
        AdminHandler {
            router: TowerToHyperService::new(self.router()),
        }
    }

    fn router(self) -> Router {
        let guarded = Router::new()
            .route("/metrics", get(health::metrics))
            .route("/api/v1/trust", get(trust::trust))
            .route("/api/v1/policies", get(trust::policies))
            .route("/api/v1/trust/refresh", post(trust::refresh))
            .route(
                "/api/v1/recheck",
                post(recheck::recheck).layer(DefaultBodyLimit::max(recheck::REQUEST_BYTES_MAX)),
            )
            .route("/api/v1/changes", get(api::changes))
            .route("/api/v1/decisions", get(api::decisions))
            .route("/api/v1/decisions/{id}", get(api::decision))
            .layer(middleware::from_fn_with_state(self.clone(), guard));
        Router::new()
            .route("/livez", get(health::livez))
            .route("/readyz", get(health::readyz))
            .merge(guarded)
            .layer(middleware::from_fn_with_state(self.clone(), names::guard))
            .with_state(self)
    }

    /// Whether the request may see more than probes.
    fn opens_for(&self, request: &Request) -> bool {
        let Some(token) = &self.inner.token else {
            return self.inner.open;
        };
        let given = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        // In constant time: the token must not be guessed byte by byte.
        let right = given.is_some_and(|given| {
            aws_lc_rs::constant_time::verify_slices_are_equal(
                given.as_bytes(),
                token.expose().as_bytes(),
            )
            .is_ok()
        });
        right || self.inner.open
    }
}

/// Answers the requests of the admin listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminHandler {
    router: TowerToHyperService<Router>,
}

impl Handler for AdminHandler {
    async fn answer(&self, request: Request, _address: SocketAddr) -> Response {
        let answered = AssertUnwindSafe(self.router.call(request)).catch_unwind();
        match answered.await {
            Ok(Ok(response)) => response,
            Err(_panic) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

async fn guard(Extract(admin): Extract<Admin>, request: Request, next: Next) -> Response {
    if admin.opens_for(&request) {
        return next.run(request).await;
    }
    let mut response = (
        StatusCode::UNAUTHORIZED,
        "this listener is not on loopback: send `Authorization: Bearer <server.admin_token>`\n",
    )
        .into_response();
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
