//! Whether an upstream answers at all, asked while requests wait in our own queue.
//!
//! A full queue is no outage: others may have filled it. During an outage the queue fills as well, with requests that hang.
//! One small request tells the two apart.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep, timeout};

use super::host::Host;

/// The last sign of life of an upstream.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    answered: Mutex<Option<Instant>>,
    /// Held by the request that asks, with the outcome of the last one.
    asking: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// A request waits in the queue for this long before the upstream is asked for a sign of life.
const QUEUED_BEFORE: Duration = Duration::from_secs(1);

/// An answer counts as a sign of life for this long.
const LIFE: Duration = Duration::from_secs(1);

impl Pulse {
    /// Notes that the upstream has answered, whatever it said.
    pub(super) fn beats(&self) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *answered = Some(Instant::now());
    }

    fn has_beaten(&self) -> bool {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.is_some_and(|at| at.elapsed() < LIFE)
    }
}

impl Host {
    /// Returns once the upstream is found to answer nothing. Runs while a request waits in the queue.
    pub(super) async fn silence(&self) {
        loop {
            sleep(QUEUED_BEFORE).await;
            if !self.is_answering().await {
                return;
            }
        }
    }

    async fn is_answering(&self) -> bool {
        if self.pulse.has_beaten() {
            return true;
        }
        let mut last = self.pulse.asking.lock().await;
        if let Some((at, answers)) = *last
            && at.elapsed() < LIFE
        {
            return answers;
        }
        let answers = self.pulse.has_beaten() || self.answers_a_ping().await;
        *last = Some((Instant::now(), answers));
        answers
    }

    /// Asks for `/v2/`, without credentials, and takes any status for an answer.
    async fn answers_a_ping(&self) -> bool {
        let Ok(url) = self.base.join("v2/") else {
            return true;
        };
        let request = self.own.request(Method::GET, url).send();
        let answered = timeout(self.limits.stale_decision_time_max, request).await;
        matches!(answered, Ok(Ok(_)))
    }
}
