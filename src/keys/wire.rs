//! Requests that are repeated once when they failed for a reason that may pass.

use std::time::Duration;

use reqwest::{Client, Request};
use tokio::time::Instant;

use super::rest::{self, Answer, shortened};
use super::{BuildError, Error};

/// Before the one repetition.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Sends requests to one service.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    client: Client,
    /// For endpoints on this machine.
    direct: Client,
}

/// Why an answer is none.
enum Unread {
    /// It may come when asked again.
    ForNow(Error),
    Unusable(Error),
}

impl Wire {
    /// Trusts the platform's certificates, and those in `certificates` (PEM). See [`rest::client`].
    pub(super) fn new(
        service: &'static str,
        certificates: Option<&[u8]>,
    ) -> Result<Self, BuildError> {
        let (client, direct) = rest::clients(service, certificates)?;
        Ok(Self { client, direct })
    }

    /// The HTTP client, for libraries that send requests themselves.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The answer to the request, which is neither a redirect nor one that says to try again later. A request that fails
    /// for a reason that may pass (no connection, 429, 5xx) is sent a second time.
    pub(super) async fn send(&self, request: Request, deadline: Instant) -> Result<Answer, Error> {
        let again = request.try_clone();
        let failed = match self.attempt(request, deadline).await {
            Ok(answer) => return Ok(answer),
            Err(Unread::Unusable(error)) => return Err(error),
            Err(Unread::ForNow(error)) => error,
        };
        let Some(again) = again.filter(|_| Instant::now() + RETRY_DELAY < deadline) else {
            return Err(failed);
        };
        tokio::time::sleep(RETRY_DELAY).await;
        match self.attempt(again, deadline).await {
            Ok(answer) => Ok(answer),
            Err(Unread::ForNow(error) | Unread::Unusable(error)) => Err(error),
        }
    }

    async fn attempt(&self, request: Request, deadline: Instant) -> Result<Answer, Unread> {
        let client = if rest::is_loopback(request.url()) {
            &self.direct
        } else {
            &self.client
        };
        let answer = match rest::send(client, request, deadline).await {
            Ok(answer) => answer,
            Err(error @ Error::Unavailable { .. }) => return Err(Unread::ForNow(error)),
            Err(error) => return Err(Unread::Unusable(error)),
        };
        let status = answer.status;
        match status {
            300..400 => Err(Unread::Unusable(answer.malformed(format!(
                "it redirects ({status}), and redirects are not followed"
            )))),
            429 | 500.. => {
                let said = shortened(&String::from_utf8_lossy(&answer.body));
                Err(Unread::ForNow(Error::Unavailable {
                    reason: format!("{status} {said}").trim_end().to_owned(),
                    host: answer.host,
                }))
            }
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests;
