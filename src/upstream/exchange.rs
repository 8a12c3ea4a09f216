//! One request to an upstream with everything around it: lane, token, redirects, retries.

use std::error::Error as _;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::stream::{FuturesUnordered, StreamExt};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, DATE, LOCATION, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, timeout};
use url::Url;

use super::challenge::Challenge;
use super::clients::ForbiddenAddress;
use super::host::Host;
use super::lane::{Busy, Permit};
use super::peer::PEER_TOKENS_MAX;
use super::token::Grant;
use super::{Error, Purpose, body, tls_fault};

/// What is asked of an upstream.
#[derive(Debug)]
pub(super) struct Ask<'ask> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: &'static str,
    pub(super) part: Part,
    /// The `<name>` at the upstream, for which tokens are.
    pub(super) repository: &'ask str,
    pub(super) purpose: Purpose,
}

/// The part of the content that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Of a blob, everything from this offset on. Its first byte may take longer than that of other answers.
    From(u64),
    /// The first byte, to see that there is one.
    FirstByte,
}

/// An answer whose status is worth looking at, with the right to its place in the lane.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) permit: Permit,
}

/// Why an attempt failed, and whether another makes sense.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    error: Error,
    transient: bool,
}

/// The delay before the first retry; it doubles, with as much jitter, up to the other.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// The most grants that one request obtains. The first may come from another request and no longer be good.
const AUTHORIZATIONS_MAX: usize = 2;

/// A pause after a 429 that does not say how long.
const PAUSE_DEFAULT: Duration = Duration::from_secs(1);

impl Host {
    /// Asks until there is an answer other than "later", or no attempt is left, or the next would come after `deadline`,
    /// at which the caller stops waiting.
    ///
    /// A `HEAD` that fails is not sent again, because a `GET` follows it. For the same reason it waits out no pause that
    /// is longer than half of the time; the other half is the `GET`'s.
    ///
    /// # Errors
    /// `Throttled`, `Congested`, `Failed`, `Unexpected` for a redirect that leads nowhere, and `Denied` without a token.
    /// Other refusals are answers.
    pub(super) async fn ask(&self, ask: &Ask<'_>, deadline: Instant) -> Result<Answer, Error> {
        let retries = self.limits.upstream_attempts_max.saturating_sub(1);
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(RETRY_DELAY_MIN)
            .with_max_delay(RETRY_DELAY_MAX)
            .with_max_times(usize::try_from(retries).unwrap_or(usize::MAX))
            .with_jitter()
            .with_jitter_seed(rand::random())
            .build();
        let is_head = ask.method == Method::HEAD;
        let pause_until = if is_head {
            halfway_to(deadline)
        } else {
            deadline
        };
        loop {
            let permit = self.enter(ask, pause_until, deadline).await?;
            let outcome = self.attempt(ask).await.and_then(|response| {
                if permit.is_probe() && says_whether_to_wait(&response) {
                    self.lanes.lift(ask.purpose, ask.repository);
                }
                self.check_status(response, ask)
            });
            let fault = match outcome {
                Ok(response) => return Ok(Answer { response, permit }),
                Err(fault) => fault,
            };
            drop(permit);
            let is_worth_repeating =
                fault.transient && (!is_head || matches!(fault.error, Error::Throttled { .. }));
            let delay = delays
                .next()
                .filter(|delay| is_worth_repeating && Instant::now() + *delay < deadline);
            let Some(delay) = delay else {
                return Err(fault.error);
            };
            tracing::debug!(upstream.host = %self.name, error = %fault.error, "Asking `{}` again", self.name);
            tokio::time::sleep(delay).await;
        }
    }

    /// Waits for the end of a pause, and then in our own queue: at most half of the time that is left, because the upstream
    /// needs the rest to answer.
    async fn enter(
        &self,
        ask: &Ask<'_>,
        pause_until: Instant,
        deadline: Instant,
    ) -> Result<Permit, Error> {
        let passing = self
            .lanes
            .pass_pauses(ask.purpose, ask.repository, pause_until);
        let is_probe = passing.await.map_err(|busy| self.busy(busy))?;
        let entering = self
            .lanes
            .enter(ask.purpose, is_probe, halfway_to(deadline));
        tokio::select! {
            biased;
            entered = entering => entered.map_err(|busy| self.busy(busy)),
            () = self.silence() => Err(self.failed("no answer in time")),
        }
    }

    fn busy(&self, busy: Busy) -> Error {
        let host = self.name.clone();
        match busy {
            Busy::Paused(pause) => Error::Throttled {
                host,
                retry_after: Some(pause),
            },
            Busy::Full => Error::Congested { host },
        }
    }

    /// Asks once, and again with a new token if the upstream wants one or no longer takes the one that it gave.
    async fn attempt(&self, ask: &Ask<'_>) -> Result<Response, Fault> {
        let mut held = self.grants.current(ask.repository);
        let mut authorizations_left = AUTHORIZATIONS_MAX;
        loop {
            let grant = held.as_ref().map(|held| &*held.grant);
            let response = self.follow(ask, grant).await?;
            let is_own = response.url().origin() == self.base.origin();
            if response.status() != StatusCode::UNAUTHORIZED || !is_own {
                return Ok(response);
            }
            if let Some(rejected) = grant {
                self.grants.forget(ask.repository, rejected);
            }
            let challenge = Challenge::from_headers(response.headers());
            let is_worth_asking = match &challenge {
                Some(challenge) => challenge.is_worth_answering(held.as_ref(), ask.repository),
                // Without the grant that is no longer good, there will be a challenge.
                None => held.as_ref().is_some_and(|held| !held.is_new),
            };
            if authorizations_left == 0 || !is_worth_asking {
                return Ok(response);
            }
            authorizations_left -= 1;
            body::drain(response).await;
            held = match challenge {
                Some(challenge) => Some(self.authorize(ask, &challenge, grant).await?),
                None => None,
            };
        }
    }

    /// Sends the request where it belongs and then wherever redirects lead. The grant goes to the upstream's origin
    /// only, and not after a detour: whoever sent us back chose the path.
    async fn follow(&self, ask: &Ask<'_>, grant: Option<&Grant>) -> Result<Response, Fault> {
        let mut url = ask.url.clone();
        let mut has_left = false;
        let mut peer_tokens_left = PEER_TOKENS_MAX;
        for _ in 0..=self.limits.redirects_max {
            let is_own = url.origin() == self.base.origin();
            has_left |= !is_own;
            let response = if is_own {
                let grant = grant.filter(|_| !has_left);
                let request = request(&self.own, ask, &url, grant);
                self.send_for(ask, &self.own, request).await?
            } else {
                self.ask_peer(ask, &url, &mut peer_tokens_left).await?
            };
            if let (true, false, Some(address)) =
                (is_own, self.proxies.intercept(&url), response.remote_addr())
            {
                self.own_address.learn(address.ip());
                self.neighbours.learn(&self.base, address);
            }
            if is_own {
                self.pulse.beats();
            }
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            url = self
                .location(&url, response.headers())
                .map_err(Fault::definite)?;
            body::drain(response).await;
        }
        Err(Fault::definite(self.unexpected("it redirects too often")))
    }

    /// Sends one request and waits for the headers.
    pub(super) async fn send(
        &self,
        client: &reqwest::Client,
        request: RequestBuilder,
    ) -> Result<Response, Fault> {
        self.send_within(client, request, self.limits.header_time_max)
            .await
    }

    /// Sends a request of `ask` and waits for the headers for as long as the answer may take.
    pub(super) async fn send_for(
        &self,
        ask: &Ask<'_>,
        client: &reqwest::Client,
        request: RequestBuilder,
    ) -> Result<Response, Fault> {
        let usual = self.limits.header_time_max;
        match ask.part {
            // A `GET` follows a `HEAD` that is late.
            _ if ask.method == Method::HEAD => self.send(client, request).await,
            Part::Whole | Part::FirstByte => self.send_again(ask, client, request, 2 * usual).await,
            Part::From(_) => {
                let longest = self.limits.blob_header_time_max.max(usual);
                self.send_again(ask, client, request, longest).await
            }
        }
    }

    /// Sends a request, and once more beside it if there is no answer after `header_time_max`: it may hang on a dead
    /// connection, or the upstream may be slow. The second request needs a place of its own in the lane, so that slow
    /// storage does not get more requests at once than `upstream_requests_max`. The first answer within `time_max` counts.
    async fn send_again(
        &self,
        ask: &Ask<'_>,
        client: &reqwest::Client,
        request: RequestBuilder,
        time_max: Duration,
    ) -> Result<Response, Fault> {
        let ends = Instant::now() + time_max;
        let late = || Fault::transient(self.failed("no answer in time"));
        let copy = request.try_clone();
        let mut sent = FuturesUnordered::new();
        sent.push(self.send_within(client, request, time_max));
        if let Ok(answered) = timeout(self.limits.header_time_max, sent.next()).await {
            return answered.unwrap_or_else(|| Err(late()));
        }
        let place = copy.and_then(|copy| {
            let place = self.lanes.try_enter(ask.purpose, ask.repository)?;
            let left = ends.saturating_duration_since(Instant::now());
            sent.push(self.send_within(client, copy, left));
            Some(place)
        });
        let mut first_fault = None;
        let mut response = None;
        while let Some(answered) = sent.next().await {
            match answered {
                Ok(answer) => {
                    response = Some(answer);
                    break;
                }
                Err(fault) => {
                    first_fault.get_or_insert(fault);
                }
            }
        }
        drop(place);
        response.ok_or_else(|| first_fault.unwrap_or_else(late))
    }

    async fn send_within(
        &self,
        client: &reqwest::Client,
        request: RequestBuilder,
        header_time_max: Duration,
    ) -> Result<Response, Fault> {
        let request = request
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .build();
        let request = request
            .map_err(|_builder| Fault::definite(self.failed("the request cannot be expressed")))?;
        let sending = timeout(header_time_max, client.execute(request));
        match sending.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.send_fault(&error)),
            Err(_elapsed) => Err(Fault::transient(self.failed("no answer in time"))),
        }
    }

    /// Turns "later" into a fault, and into a pause if the upstream asked for one.
    pub(super) fn check_status(
        &self,
        response: Response,
        ask: &Ask<'_>,
    ) -> Result<Response, Fault> {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let pause = match status {
            StatusCode::TOO_MANY_REQUESTS => Some(retry_after.unwrap_or(PAUSE_DEFAULT)),
            StatusCode::SERVICE_UNAVAILABLE => retry_after,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => None,
            // The same question would get the same answer.
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
                return Ok(response);
            }
            status if status.is_server_error() => None,
            _ => return Ok(response),
        };
        let Some(pause) = pause else {
            return Err(Fault::transient(
                self.failed(format!("status {}", status.as_u16())),
            ));
        };
        self.lanes.pause(ask.purpose, ask.repository, pause);
        Err(Fault::transient(Error::Throttled {
            host: self.name.clone(),
            retry_after,
        }))
    }

    fn send_fault(&self, error: &reqwest::Error) -> Fault {
        let mut root: &dyn std::error::Error = error;
        while let Some(source) = root.source() {
            root = source;
        }
        if root.is::<ForbiddenAddress>() {
            return Fault::definite(self.unexpected(root.to_string()));
        }
        if let Some(reason) = tls_fault::explain(error) {
            return Fault::transient(self.failed(reason));
        }
        // The error itself would print the URL, which may be a signed one; its root knows nothing of it.
        let reason = match (error.is_connect(), error.source()) {
            (true, Some(_)) => format!("no connection: {root}"),
            (false, Some(_)) => format!("the connection broke: {root}"),
            (_, None) => "no connection".to_owned(),
        };
        Fault::transient(self.failed(reason))
    }

    /// The target of a redirect.
    pub(super) fn location(&self, from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|location| from.join(location).ok());
        let mut target = target.ok_or_else(|| self.unexpected("it redirects to nowhere"))?;
        let is_downgrade = from.scheme() == "https" && target.scheme() != "https";
        if is_downgrade || !matches!(target.scheme(), "http" | "https") {
            return Err(self.unexpected("it redirects to something other than https"));
        }
        // Credentials in a URL become a header; we send none that the upstream made up.
        let stripped = target
            .set_username("")
            .and_then(|()| target.set_password(None));
        stripped.map_err(|()| self.unexpected("it redirects to nowhere"))?;
        target.set_fragment(None);
        Ok(target)
    }
}

impl Fault {
    /// Another attempt would end the same.
    pub(super) fn definite(error: Error) -> Self {
        Self {
            error,
            transient: false,
        }
    }

    /// Returns true if the peer answered that we may not have it.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.error, Error::Denied { .. })
    }

    /// Another attempt may succeed.
    pub(super) fn transient(error: Error) -> Self {
        Self {
            error,
            transient: true,
        }
    }
}

/// The request as it goes to `url`, with a grant if that host may have one.
pub(super) fn request(
    client: &reqwest::Client,
    ask: &Ask<'_>,
    url: &Url,
    grant: Option<&Grant>,
) -> RequestBuilder {
    let mut request = client
        .request(ask.method.clone(), url.clone())
        .header(ACCEPT, HeaderValue::from_static(ask.accept));
    if let Some(grant) = grant {
        request = request.header(AUTHORIZATION, grant.header.clone());
    }
    match ask.part {
        Part::Whole | Part::From(0) => request,
        Part::From(offset) => request.header(RANGE, format!("bytes={offset}-")),
        Part::FirstByte => request.header(RANGE, "bytes=0-0"),
    }
}

/// The middle of the time that is left until `deadline`.
pub(super) fn halfway_to(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// Tells whether an answer ends a pause that was asked for earlier: a 5xx without `Retry-After` says nothing of it.
fn says_whether_to_wait(response: &Response) -> bool {
    !response.status().is_server_error() || response.headers().contains_key(RETRY_AFTER)
}

pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// `Retry-After` as seconds or as a date, the latter measured against the upstream's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .map(str::trim)
    };
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| {
        jiff::fmt::rfc2822::parse(text)
            .ok()
            .map(|date| date.timestamp())
    };
    let wait = date(value)?.duration_since(date(text(DATE)?)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_retry_after() {
        const NOON: &str = "Mon, 23 Nov 2026 12:00:00 GMT";
        for (value, date, expected) in [
            ("7", None, Some(7)),
            (" 7 ", None, Some(7)),
            ("Mon, 23 Nov 2026 12:00:09 GMT", Some(NOON), Some(9)),
            ("Mon, 23 Nov 2026 11:00:00 GMT", Some(NOON), Some(0)),
            (NOON, None, None),
            ("-1", None, None),
            ("soon", Some(NOON), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(
                retry_after(&headers),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
