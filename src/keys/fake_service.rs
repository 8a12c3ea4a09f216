//! A server on loopback that records what it is asked and answers as a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use url::Url;

use super::{Reference, Scheme};

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// What is answered: status, headers, body.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// The server. It stops with its last clone's task tracker, at the end of the test's runtime.
#[derive(Debug, Clone)]
pub(super) struct FakeService {
    pub(super) url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Answers = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(super) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

impl Reply {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "literals read better without `&`"
    )]
    pub(super) fn new(status: u16, body: impl ToString) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_string(),
        }
    }

    pub(super) fn ok(body: impl ToString) -> Self {
        Self::new(200, body)
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl FakeService {
    pub(super) async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let answer: Answers = Arc::new(answer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&asked);
        let router = Router::new().fallback(move |request: Request| {
            let (answer, recorded) = (Arc::clone(&answer), Arc::clone(&recorded));
            async move { respond(request, &answer, &recorded).await }
        });
        let serving = async move { axum::serve(listener, router).await.unwrap() };
        TaskTracker::new().spawn(serving);
        Self {
            url: Url::parse(&format!("http://{address}/")).unwrap(),
            asked,
        }
    }

    /// Gives these answers one after the other, then 418.
    pub(super) async fn with_replies(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = Mutex::new(replies.into_iter().collect::<VecDeque<_>>());
        let next = move |_: &Asked| replies.lock().unwrap().pop_front();
        Self::start(move |asked| next(asked).unwrap_or_else(|| Reply::new(418, ""))).await
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn respond(request: Request, answer: &Answers, asked: &Mutex<Vec<Asked>>) -> Response {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let request = Asked {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let reply = answer(&request);
    asked.lock().unwrap().push(request);
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

pub(super) fn reference(scheme: Scheme, text: &str) -> Reference {
    let reference: Reference = text.parse().unwrap();
    assert_eq!(reference.scheme(), scheme);
    reference
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// The base64 of a PEM block.
pub(super) fn der_of(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    BASE64_STANDARD.decode(lines.collect::<String>()).unwrap()
}

/// Public keys made with `openssl`, one of each kind.
pub(super) mod keys {
    pub(in crate::keys) const P256: &str = include_str!("fake_service/p256.pem");
    pub(in crate::keys) const P256_OTHER: &str = include_str!("fake_service/p256-other.pem");
    pub(in crate::keys) const P384: &str = include_str!("fake_service/p384.pem");
    pub(in crate::keys) const P521: &str = include_str!("fake_service/p521.pem");
    pub(in crate::keys) const P256K: &str = include_str!("fake_service/p256k.pem");
    pub(in crate::keys) const RSA_2048: &str = include_str!("fake_service/rsa-2048.pem");
    pub(in crate::keys) const RSA_3072: &str = include_str!("fake_service/rsa-3072.pem");
    pub(in crate::keys) const RSA_4096: &str = include_str!("fake_service/rsa-4096.pem");
    pub(in crate::keys) const ED25519: &str = include_str!("fake_service/ed25519.pem");
}
