//! `POST /api/v1/recheck`: looks at one image again at once, after somebody has signed it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant};

use super::Admin;
use super::api::{problem, unavailable};
use crate::clock;
use crate::decision_log::{Client, Record};
use crate::oci::{Digest, Reference, RepositoryName, reference};
use crate::pull::{Caller, Refusal, ServedManifest, decision_id};

/// Images that are looked at again at the same time.
const CONCURRENT_MAX: usize = 4;
/// Images that are looked at again within [`WINDOW`].
const RECHECKS_MAX: usize = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// The time that one image may take, with the indexes that list it.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The most bytes of a request.
pub(super) const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    image: String,
}

/// The outcome of a pull that follows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recheck {
    /// The image by its canonical name.
    pub image: String,
    /// `admit`, `deny` or `unavailable`.
    pub decision: String,
    /// The digest of the manifest, where it is known.
    pub digest: Option<Digest>,
    /// The fixed word of a refusal, or of what is missing.
    pub kind: Option<String>,
    /// The policy that refuses the image.
    pub policy: Option<String>,
    /// The sentence that a client would see.
    pub message: Option<String>,
    /// The refusal that an auditing policy would have made.
    pub warning: Option<String>,
    /// The record of the decision, where one was written.
    pub record: Option<Record>,
}

/// Bounds the requests that rechecks send to upstreams.
#[derive(Debug)]
pub(super) struct Rechecks {
    running: Arc<Semaphore>,
    /// The times at which the last ones began, the oldest first.
    begun: Mutex<VecDeque<Instant>>,
}

impl Default for Rechecks {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(CONCURRENT_MAX)),
            begun: Mutex::default(),
        }
    }
}

impl Rechecks {
    /// Lets one more begin at `now`.
    ///
    /// # Errors
    /// The time to wait, if too many run or have begun lately.
    fn begin(&self, now: Instant) -> Result<OwnedSemaphorePermit, Duration> {
        let permit = Arc::clone(&self.running)
            .try_acquire_owned()
            .map_err(|_none_left| Duration::from_secs(1))?;
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        while begun.front().is_some_and(|at| now - *at >= WINDOW) {
            begun.pop_front();
        }
        if let Some(oldest) = begun.front().filter(|_| begun.len() >= RECHECKS_MAX) {
            return Err(WINDOW - (now - *oldest));
        }
        begun.push_back(now);
        Ok(permit)
    }
}

/// Looks at the image again and tells the outcome.
pub(super) async fn recheck(
    Extract(admin): Extract<Admin>,
    headers: HeaderMap,
    request: Result<Json<Request>, JsonRejection>,
) -> Response {
    let request = match request {
        Ok(Json(request)) => request,
        Err(rejection) => return problem(rejection.status(), &rejection.body_text()),
    };
    let Some((repository, reference)) = parse(&request.image) else {
        let message = format!("`{}` is not an image", request.image);
        return problem(StatusCode::BAD_REQUEST, &message);
    };
    let _running = match admin.rechecks.begin(Instant::now()) {
        Ok(permit) => permit,
        Err(wait) => return too_many(wait),
    };
    let client = Client {
        user_agent: headers
            .get(USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        ..Client::default()
    };
    let caller = Caller {
        client,
        now: clock::now(),
    };
    let checking = admin.inner.pull.recheck(&repository, &reference, caller);
    let Ok(served) = tokio::time::timeout(TIME_MAX, checking).await else {
        let message = format!(
            "{} was not decided within {} s",
            request.image,
            TIME_MAX.as_secs()
        );
        return problem(StatusCode::SERVICE_UNAVAILABLE, &message);
    };
    let mut answer = Recheck::new(&repository, &reference, &served);
    if let Some(id) = decision_id(&served) {
        match admin.inner.state.record(id).await {
            Ok(record) => answer.record = record,
            Err(error) => return unavailable(&error),
        }
    }
    Json(answer).into_response()
}

/// The image by the rules of `docker pull`.
fn parse(image: &str) -> Option<(RepositoryName, Reference)> {
    let (name, tag, digest) = reference::parts(image);
    let repository = RepositoryName::completed(name).ok()?;
    let reference = digest.or(tag).unwrap_or("latest").parse().ok()?;
    Some((repository, reference))
}

fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs().max(1);
    let message = format!(
        "more than {RECHECKS_MAX} images a minute, or {CONCURRENT_MAX} at a time; try again in {seconds} s"
    );
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, &message);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

impl Recheck {
    fn new(
        repository: &RepositoryName,
        reference: &Reference,
        served: &Result<ServedManifest, Refusal>,
    ) -> Self {
        let separator = if reference.digest().is_some() {
            '@'
        } else {
            ':'
        };
        let recheck = Self {
            image: format!("{repository}{separator}{reference}"),
            decision: String::new(),
            digest: reference.digest().copied(),
            kind: None,
            policy: None,
            message: None,
            warning: None,
            record: None,
        };
        let undecided = |kind: &str, message: String, recheck| Self {
            decision: "unavailable".to_owned(),
            kind: Some(kind.to_owned()),
            message: Some(message),
            ..recheck
        };
        match served {
            Ok(served) => Self {
                decision: "admit".to_owned(),
                digest: Some(served.manifest.content().subject.digest),
                warning: served.manifest.warning().map(|it| it.message.to_string()),
                ..recheck
            },
            Err(Refusal::Denied(refused)) => Self {
                decision: "deny".to_owned(),
                digest: refused.denial.digest.or(recheck.digest),
                kind: Some(refused.denial.kind.as_str().to_owned()),
                policy: refused.denial.policy.clone(),
                message: Some(refused.denial.message.to_string()),
                ..recheck
            },
            Err(Refusal::NotFound(_)) => {
                let message = format!("{} does not exist", recheck.image);
                undecided("not_found", message, recheck)
            }
            Err(Refusal::Unavailable { message, .. }) => {
                undecided("unavailable", message.clone(), recheck)
            }
            Err(Refusal::BadUpstream { message }) => {
                undecided("bad_upstream", message.clone(), recheck)
            }
            Err(Refusal::Internal(error)) => undecided("internal", error.to_string(), recheck),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rechecks_are_bounded_at_a_time_and_in_a_minute() {
        let rechecks = Rechecks::default();
        let start = Instant::now();
        let running: Vec<_> = (0..CONCURRENT_MAX)
            .map(|_| rechecks.begin(start).unwrap())
            .collect();
        assert_eq!(rechecks.begin(start).unwrap_err(), Duration::from_secs(1));
        drop(running);
        for _ in CONCURRENT_MAX..RECHECKS_MAX {
            drop(rechecks.begin(start).unwrap());
        }
        let later = start + Duration::from_secs(20);
        assert_eq!(rechecks.begin(later).unwrap_err(), Duration::from_secs(40));
        assert!(rechecks.begin(start + WINDOW).is_ok());
    }
}
