//! A service on loopback that answers as a test says, remembers what it was asked, and can be away for a while.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ports::free_port;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

type Answers = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The service. It ends with the test.
#[derive(Clone)]
pub(crate) struct FakeService {
    port: u16,
    answers: Answers,
    asked: Arc<Mutex<Vec<Asked>>>,
    running: Arc<Mutex<CancellationToken>>,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            body: body.to_string().into_bytes(),
        }
    }

    pub(crate) fn bytes(body: &[u8]) -> Self {
        Self {
            status: 200,
            body: body.to_vec(),
        }
    }
}

impl FakeService {
    pub(crate) async fn start(answers: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let service = Self::away(answers);
        service.resume().await;
        service
    }

    /// One that does not run yet: nobody listens on its port.
    pub(crate) fn away(answers: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            port: free_port(),
            answers: Arc::new(answers),
            asked: Arc::default(),
            running: Arc::default(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it, connections included.
    pub(crate) fn stop(&self) {
        self.running.lock().unwrap().cancel();
    }

    /// Starts it on its port.
    pub(crate) async fn resume(&self) {
        let running = CancellationToken::new();
        *self.running.lock().unwrap() = running.clone();
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let (answers, asked) = (Arc::clone(&self.answers), Arc::clone(&self.asked));
        let ended = running.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (answers, asked, ended) = (Arc::clone(&answers), Arc::clone(&asked), ended.clone());
            async move {
                if ended.is_cancelled() {
                    return close();
                }
                respond(request, &answers, &asked).await
            }
        });
        TaskTracker::new().spawn(async move {
            let serving = axum::serve(listener, router);
            running
                .run_until_cancelled(async move { serving.await.unwrap() })
                .await
        });
    }

    /// Everything it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many requests had a path that ends so.
    pub(crate) fn count(&self, ending: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.path().ends_with(ending))
            .count()
    }

    pub(crate) fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }
}

/// The answer of a service that is gone, on a connection that outlived it.
fn close() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

async fn respond(request: Request, answers: &Answers, asked: &Mutex<Vec<Asked>>) -> Response {
    let (parts, body) = request.into_parts();
    drop(to_bytes(body, 1024 * 1024).await.unwrap());
    let request = Asked {
        uri: parts.uri,
        headers: parts.headers,
    };
    let reply = answers(&request);
    asked.lock().unwrap().push(request);
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    response
}
