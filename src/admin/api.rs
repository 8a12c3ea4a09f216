//! The decision log over HTTP.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query as FromQuery, State as Extract};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use ulid::Ulid;

use super::Admin;
use crate::clock;
use crate::decision_log::{
    ChangeKind, ChangeQuery, KindName, Outcome, PastError, Query, parse_past,
};
use crate::oci::DigestPrefix;
use crate::state;

/// The query of `/api/v1/decisions`; a key that is not here is an error, so that a misspelt filter does not show
/// everything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    repository: Option<String>,
    digest: Option<DigestPrefix>,
    decision: Option<Outcome>,
    kind: Option<KindName>,
    policy: Option<String>,
    signer: Option<String>,
    client: Option<String>,
    since: Option<Past>,
    until: Option<Past>,
    limit: Option<usize>,
    after: Option<Ulid>,
}

/// RFC 3339, a date, or how long ago, measured from the request.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Past(Timestamp);

impl TryFrom<String> for Past {
    type Error = PastError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_past(&text, clock::now()).map(Self)
    }
}

pub(super) async fn decisions(
    Extract(admin): Extract<Admin>,
    filters: Result<FromQuery<Filters>, QueryRejection>,
) -> Response {
    let filters = match filters {
        Ok(FromQuery(filters)) => filters,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    match admin.inner.state.records(filters.into_query()).await {
        Ok(page) => Json(page).into_response(),
        Err(error) => unavailable(&error),
    }
}

/// The query of `/api/v1/changes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeFilters {
    kind: Option<ChangeKind>,
    name: Option<String>,
    limit: Option<usize>,
    after: Option<Ulid>,
}

/// What was changed: policies, trusted roots, keys.
pub(super) async fn changes(
    Extract(admin): Extract<Admin>,
    filters: Result<FromQuery<ChangeFilters>, QueryRejection>,
) -> Response {
    let filters = match filters {
        Ok(FromQuery(filters)) => filters,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let limit = limit(filters.limit);
    let query = ChangeQuery {
        kind: filters.kind,
        name: filters.name,
        limit,
        after: filters.after,
    };
    match admin.inner.state.changes(query).await {
        Ok(changes) => {
            let next = (changes.len() == limit)
                .then(|| changes.last().map(|change| change.id))
                .flatten();
            Json(json!({ "changes": changes, "next": next })).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

pub(super) async fn decision(Extract(admin): Extract<Admin>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<Ulid>() else {
        return problem(StatusCode::BAD_REQUEST, "not the id of a decision");
    };
    match admin.inner.state.record(id).await {
        Ok(Some(record)) => Json(record).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "no such decision"),
        Err(error) => unavailable(&error),
    }
}

impl Filters {
    fn into_query(self) -> Query {
        Query {
            repository: self.repository,
            digest: self.digest,
            decision: self.decision,
            kind: self.kind,
            policy: self.policy,
            signer: self.signer,
            client: self.client,
            since: self.since.map(|past| past.0),
            until: self.until.map(|past| past.0),
            limit: limit(self.limit),
            after: self.after,
        }
    }
}

fn limit(asked: Option<usize>) -> usize {
    asked
        .unwrap_or(Query::LIMIT_DEFAULT)
        .clamp(1, Query::LIMIT_MAX)
}

pub(super) fn unavailable(error: &state::Error) -> Response {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "Could not read the decision log"
    );
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "the decision log cannot be read now",
    )
}

pub(super) fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
