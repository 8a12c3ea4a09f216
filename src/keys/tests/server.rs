//! A server on the loopback interface that answers what a test says, and remembers what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use url::Url;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(in crate::keys) struct Asked {
    /// Method, path and query as they were on the wire.
    pub(in crate::keys) line: String,
    pub(in crate::keys) path: String,
    pub(in crate::keys) query: String,
    pub(in crate::keys) parts: Parts,
    pub(in crate::keys) body: String,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(in crate::keys) enum Reply {
    Json(u16, serde_json::Value),
    Text(u16, String),
    Redirect(String),
    /// Headers, and then nothing.
    Stalls,
    /// A body without end.
    Endless,
}

/// The server. It ends with the runtime of the test.
#[derive(Debug, Clone)]
pub(in crate::keys) struct Server {
    pub(in crate::keys) url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    busiest: Arc<AtomicUsize>,
}

impl Server {
    pub(in crate::keys) async fn start(
        answer: impl Fn(&Asked) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let busy = Arc::new(AtomicUsize::new(0));
        let busiest = Arc::new(AtomicUsize::new(0));
        let most = Arc::clone(&busiest);
        let router = Router::new().fallback(move |request: http::Request<Body>| async move {
            most.fetch_max(busy.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let asked = Asked::read(request).await;
            // Long enough for other requests to arrive meanwhile.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let reply = answer(&asked);
            log.lock().unwrap().push(asked);
            busy.fetch_sub(1, Ordering::Relaxed);
            reply.into_response()
        });
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Self {
            url: Url::parse(&format!("http://{address}")).unwrap(),
            asked,
            busiest,
        }
    }

    /// How many requests were under way at once at most.
    pub(in crate::keys) fn busiest(&self) -> usize {
        self.busiest.load(Ordering::Relaxed)
    }

    /// What was asked since the last call.
    pub(in crate::keys) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The lines of what was asked since the last call.
    pub(in crate::keys) fn lines(&self) -> Vec<String> {
        self.take().into_iter().map(|asked| asked.line).collect()
    }
}

impl Asked {
    async fn read(request: http::Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 1024 * 1024).await.unwrap();
        Self {
            line: format!("{} {}", parts.method, parts.uri),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            parts,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// The value of a header; empty when there is none.
    pub(in crate::keys) fn header(&self, name: &str) -> &str {
        let value = self.parts.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a parameter of the query or of a form in the body.
    pub(in crate::keys) fn parameter(&self, name: &str) -> Option<String> {
        [&self.query, &self.body].into_iter().find_map(|text| {
            url::form_urlencoded::parse(text.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        })
    }
}

impl Reply {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json; charset=UTF-8");
        match self {
            Self::Json(status, value) => {
                let status = StatusCode::from_u16(status).unwrap();
                let headers = [(header::CONTENT_TYPE, json)];
                (status, headers, value.to_string()).into_response()
            }
            Self::Text(status, text) => {
                (StatusCode::from_u16(status).unwrap(), text).into_response()
            }
            Self::Redirect(location) => {
                let headers = [(header::LOCATION, location)];
                (StatusCode::FOUND, headers).into_response()
            }
            Self::Stalls => Body::from_stream(futures::stream::pending::<
                Result<bytes::Bytes, std::io::Error>,
            >())
            .into_response(),
            Self::Endless => {
                let chunk = bytes::Bytes::from_static(&[b' '; 64 * 1024]);
                let chunks =
                    futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
                Body::from_stream(chunks).into_response()
            }
        }
    }
}
