//! One request: who asks, for what, and what they get; then one line in the access log.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use futures::FutureExt as _;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;
use ulid::Ulid;

use super::challenge::{self, Reason};
use super::route::{self, Action, Route};
use super::{Rules, Server, respond, token};
use crate::clients::{Access, Client, Clients, Unchecked};
use crate::clock;
use crate::decision_log::{self, AccessClient, AccessLine};
use crate::listener::Handler;
use crate::oci::Digest;
use crate::pull::{CacheState, Caller, Refusal};
use crate::shares::{Behalf, Party};
use crate::telemetry::Endpoint;

/// How often a request is answered because the configuration changed meanwhile.
const ANSWERS_MAX: usize = 100;
const CHANGING: &str = "the configuration of this proxy keeps changing";
const CREDENTIALS_NEEDED: &str = "this needs the credentials of a user of this proxy";
pub(super) const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// A request as the endpoints see it.
#[derive(Debug)]
pub(super) struct Asking<'r> {
    pub(super) request: &'r Parts,
    pub(super) address: SocketAddr,
    pub(super) identity: Option<Arc<str>>,
    /// Read once; everything that depends on time depends on this.
    pub(super) now: Timestamp,
    /// What the answer depends on besides the policies.
    pub(super) rules: Arc<Rules>,
    /// The form of a `POST` to the token endpoint.
    pub(super) posted: Option<token::FormCredentials>,
}

/// An answer, and what the log keeps of it besides.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) digest: Option<Digest>,
    pub(super) decision: Option<Ulid>,
    pub(super) cache: Option<CacheState>,
    /// Bytes of the body.
    pub(super) bytes: u64,
}

impl Handler for Server {
    async fn answer(&self, request: Request<Body>, address: SocketAddr) -> Response<Body> {
        // A panic answers this request with 500 and ends nothing else.
        let answering = AssertUnwindSafe(Self::answer(self, request, address)).catch_unwind();
        answering.await.unwrap_or_else(|_panic| respond::internal())
    }
}

impl Server {
    /// Answers one request.
    pub(super) async fn answer(
        &self,
        request: Request<Body>,
        address: SocketAddr,
    ) -> Response<Body> {
        let started = Instant::now();
        let now = clock::now();
        let (request, body) = request.into_parts();
        let rules = self.inner.rules.current().await;
        let body_time_max = self.inner.limits.client_header_time_max;
        let mut asking = Asking {
            posted: token::read_form(&request, body, body_time_max).await,
            request: &request,
            address,
            identity: None,
            now,
            rules,
        };
        let (mut route, mut answer) = self.answer_by_rules(&mut asking).await;
        for again in 1..=ANSWERS_MAX {
            let current = self.inner.rules.current().await;
            if Arc::ptr_eq(&current, &asking.rules) {
                break;
            }
            if again == ANSWERS_MAX {
                answer = Answer::plain(respond::unavailable(CHANGING, RETRY_AFTER));
                break;
            }
            // The configuration changed meanwhile: what one configuration allows and the next one decides is neither.
            asking.rules = current;
            (route, answer) = self.answer_by_rules(&mut asking).await;
        }
        let endpoint = match &route {
            Ok(route) => route.action.endpoint(),
            Err(_) => Endpoint::Other,
        };
        if request.method == Method::HEAD {
            answer.bytes = 0;
            *answer.response.body_mut() = Body::empty();
        }
        let action = route.as_ref().ok().map(|route| &route.action);
        self.note(&asking, endpoint, action, &answer, started);
        answer.response
    }

    /// The answer by the rules that `asking` has.
    async fn answer_by_rules(
        &self,
        asking: &mut Asking<'_>,
    ) -> (Result<Route, route::Error>, Answer) {
        let (method, uri) = (&asking.request.method, &asking.request.uri);
        let route = Route::parse(method, uri, &asking.rules.routes);
        let answer = match &route {
            Ok(route) => {
                let mut answer = self.route(asking, &route.action).await;
                if let Some(namespace) = &route.namespace
                    && let Ok(value) = HeaderValue::try_from(namespace.as_str())
                {
                    let headers = answer.response.headers_mut();
                    headers.insert(respond::OCI_NAMESPACE, value);
                }
                answer
            }
            Err(problem) => Answer::plain(respond::unroutable(problem)),
        };
        (route, answer)
    }

    async fn route(&self, asking: &mut Asking<'_>, action: &Action) -> Answer {
        // The token endpoint authenticates by itself: a token does not open it.
        if !matches!(action, Action::Token) {
            asking.identity = None;
            let behalf = asking.behalf();
            if let Err(answer) = behalf.scope(self.admit_client(asking, action)).await {
                return answer;
            }
        }
        if let Some(repository) = action.repository()
            && !self.inner.pull.is_configured(repository.host())
        {
            let refusal = self
                .inner
                .pull
                .refuse_host(repository.host(), asking.caller())
                .await;
            return Answer::refused(&refusal);
        }
        asking.behalf().scope(self.act(asking, action)).await
    }

    async fn act(&self, asking: &mut Asking<'_>, action: &Action) -> Answer {
        match action {
            Action::Base => Answer::plain(respond::base()),
            Action::Token => self.token(asking).await,
            Action::Manifest {
                repository,
                reference,
            } => self.manifest(asking, repository, reference).await,
            Action::Blob { repository, digest } => self.blob(asking, repository, digest).await,
            Action::Tags { .. } | Action::Referrers { .. } => self.list(asking, action).await,
        }
    }

    async fn list(&self, asking: &Asking<'_>, action: &Action) -> Answer {
        let place = match self.take_place(asking) {
            Ok(place) => place,
            Err(answer) => return *answer,
        };
        let answer = match action {
            Action::Tags { repository, page } => self.tags(asking, repository, page.as_ref()).await,
            Action::Referrers {
                repository,
                digest,
                artifact_type,
            } => {
                self.referrers(asking, repository, digest, artifact_type.as_deref())
                    .await
            }
            Action::Base | Action::Token | Action::Manifest { .. } | Action::Blob { .. } => {
                Answer::plain(respond::internal())
            }
        };
        answer.hold(place)
    }

    /// Finds out who asks, then asks the rules, before any cache is looked at.
    async fn admit_client(&self, asking: &mut Asking<'_>, action: &Action) -> Result<(), Answer> {
        let rules = Arc::clone(&asking.rules);
        let Some(clients) = &rules.clients else {
            return Ok(());
        };
        let tokens = Some(&self.inner.tokens);
        let authenticated = clients
            .authenticate(tokens, asking.authorization(), asking.now)
            .await;
        let client = match authenticated {
            Ok(Ok(client)) => client,
            Ok(Err(rejected)) => {
                let reason = Reason::Rejected(rejected);
                return Err(self.challenge(asking, clients, reason, &rejected.to_string()));
            }
            Err(unchecked) => return Err(Answer::unchecked(unchecked)),
        };
        asking.identity = client.name().cloned();
        match (
            clients.authorize(&client, action.repository()),
            action.repository(),
        ) {
            (Access::Allow, _) => Ok(()),
            (Access::Deny, Some(repository)) => {
                let reference = action
                    .reference()
                    .map_or_else(String::new, |reference| reference.to_string());
                let refusal = self
                    .inner
                    .pull
                    .refuse_client(repository, reference, asking.caller())
                    .await;
                Err(Answer::refused(&refusal))
            }
            (Access::Unauthenticated | Access::Deny, _) => {
                let reason = match client {
                    Client::Anonymous { has_token: true } => Reason::Insufficient,
                    Client::Anonymous { has_token: false } | Client::User(_) => Reason::Missing,
                };
                Err(self.challenge(asking, clients, reason, CREDENTIALS_NEEDED))
            }
        }
    }

    fn challenge(
        &self,
        asking: &Asking<'_>,
        clients: &Clients,
        reason: Reason,
        message: &str,
    ) -> Answer {
        let address = &self.inner.address;
        let challenge = challenge::challenge(clients.scheme(), address, asking.request, reason);
        Answer::plain(respond::unauthenticated(challenge, message))
    }

    fn note(
        &self,
        asking: &Asking<'_>,
        endpoint: Endpoint,
        action: Option<&Action>,
        answer: &Answer,
        started: Instant,
    ) {
        let status = answer.response.status().as_u16();
        let elapsed = started.elapsed();
        // Only a refusal has both.
        if let (StatusCode::FORBIDDEN, Some(decision)) = (answer.response.status(), answer.decision)
        {
            let client = (asking.address.ip(), asking.identity.as_ref());
            let user_agent = asking.header(&USER_AGENT);
            let refused = &self.inner.refused_clients;
            refused.note(decision, client, user_agent, asking.now);
        }
        self.inner
            .metrics
            .answered(endpoint, status, answer.bytes, elapsed);
        if let Some(cache) = answer.cache {
            self.inner.metrics.served_from(cache.as_str());
        }
        if !self.inner.access_log.is_on() {
            return;
        }
        self.inner.access_log.write(AccessLine {
            time: asking.now,
            client: AccessClient {
                address: Some(asking.address.ip()),
                identity: asking.identity.clone(),
            },
            method: method_name(&asking.request.method),
            repository: action.and_then(Action::repository).cloned(),
            reference: action.and_then(Action::reference),
            digest: answer.digest,
            decision_id: answer.decision,
            status,
            bytes: answer.bytes,
            cache: answer.cache.map_or("none", CacheState::as_str),
            duration: elapsed,
        });
    }
}

impl Asking<'_> {
    pub(super) fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.request.headers.get(name)?.to_str().ok()
    }

    /// The credentials as they were sent. A header that is no text, or that stands there twice, is one that cannot be
    /// read, and not one that is absent.
    pub(super) fn authorization(&self) -> Option<&str> {
        let mut values = self.request.headers.get_all(AUTHORIZATION).iter();
        let first = values.next()?;
        if values.next().is_some() {
            return Some("");
        }
        Some(first.to_str().unwrap_or_default())
    }

    /// On whose behalf the request is answered: the user's, or the address's while no user is known.
    fn behalf(&self) -> Behalf {
        let party = Party::client(self.identity.as_ref(), self.address.ip());
        Behalf::Connection(party, self.address.port())
    }

    pub(super) fn is_head(&self) -> bool {
        self.request.method == Method::HEAD
    }

    /// Who asks and when, for the record of a decision.
    pub(super) fn caller(&self) -> Caller {
        let client = decision_log::Client {
            address: Some(self.address.ip().to_string()),
            user_agent: self
                .header(&USER_AGENT)
                .map(|text| text.chars().take(256).collect()),
            identity: self.identity.as_deref().map(str::to_owned),
        };
        Caller {
            client,
            now: self.now,
        }
    }
}

impl Answer {
    /// An answer that is about no content.
    pub(super) fn plain(response: Response<Body>) -> Self {
        Self {
            response,
            digest: None,
            decision: None,
            cache: None,
            bytes: 0,
        }
    }

    /// A password that was not checked.
    pub(super) fn unchecked(unchecked: Unchecked) -> Self {
        let message = unchecked.to_string();
        Self::plain(match unchecked {
            Unchecked::Busy => respond::unavailable(&message, RETRY_AFTER),
            Unchecked::TooManyFailures { retry_after } => {
                respond::too_many_requests(&message, retry_after)
            }
        })
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        let (digest, decision) = match refusal {
            Refusal::Denied(refused) => (refused.denial.digest, refused.decision),
            Refusal::NotFound(_)
            | Refusal::Unavailable { .. }
            | Refusal::BadUpstream { .. }
            | Refusal::Internal(_) => (None, None),
        };
        Self {
            digest,
            decision,
            ..Self::plain(respond::refusal(refusal))
        }
    }

    /// 304: the client has it already.
    pub(super) fn not_modified(mut self) -> Self {
        *self.response.status_mut() = StatusCode::NOT_MODIFIED;
        *self.response.body_mut() = Body::empty();
        self.response
            .headers_mut()
            .remove(http::header::CONTENT_LENGTH);
        self.bytes = 0;
        self
    }
}

fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "OTHER",
    }
}
