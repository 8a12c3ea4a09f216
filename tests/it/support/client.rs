//! A plain HTTP/1.1 client that sends the path exactly as written, and tells a whole answer from a broken one.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::image::sha256;

/// Longer than any answer may take; reaching it fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What container runtimes say they understand.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status; 0 when the connection broke before there was one.
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Why the answer did not arrive whole, if it did not.
    pub(crate) broken: Option<String>,
    pub(crate) elapsed: Duration,
}

/// An answer whose body is still to be read. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Opened {
    /// The next bytes, `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads until at least `count` bytes have arrived.
    pub(crate) async fn read_at_least(&mut self, count: usize) -> BytesMut {
        let mut read = BytesMut::new();
        while read.len() < count {
            let chunk = tokio::time::timeout(PATIENCE, self.chunk()).await;
            read.extend_from_slice(&chunk.expect("bytes in time").unwrap().unwrap());
        }
        read
    }

    /// Reads what is left; the second part says why it is not whole, if it is not.
    pub(crate) async fn rest(&mut self) -> (Bytes, Option<String>) {
        let mut read = BytesMut::new();
        loop {
            match self.chunk().await {
                Some(Ok(chunk)) => read.extend_from_slice(&chunk),
                Some(Err(error)) => return (read.freeze(), Some(format!("{error:?}"))),
                None => return (read.freeze(), None),
            }
        }
    }
}

/// Sends a request and waits for the headers of the answer.
pub(crate) async fn open(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Opened, String> {
    open_with(port, method, path, headers, Bytes::new()).await
}

async fn open_with(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Opened, String> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = TaskTracker::new().spawn(async move {
        // A broken connection shows in the answer.
        drop(connection.await);
    });
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path);
    let given = |wanted| headers.iter().any(|(name, _)| *name == wanted);
    if !given("Host") {
        request = request.header("Host", format!("127.0.0.1:{port}"));
    }
    if !given("Accept") {
        request = request.header("Accept", ACCEPT);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).unwrap();
    match sender.send_request(request).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            Ok(Opened {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
                connection,
            })
        }
        Err(error) => Err(format!("{error:?}")),
    }
}

/// Sends a request and reads the answer to its end.
pub(crate) async fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    send_with(port, method, path, headers, Bytes::new()).await
}

/// The same with a body.
pub(crate) async fn send_with(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Answer {
    let started = Instant::now();
    let exchange = async {
        let mut opened = open_with(port, method, path, headers, body).await?;
        let (body, broken) = opened.rest().await;
        Ok::<_, String>((opened.status, opened.headers.clone(), body, broken))
    };
    let exchange = tokio::time::timeout(PATIENCE, exchange).await;
    let exchange =
        exchange.unwrap_or_else(|_| panic!("{method} {path}: no answer in {PATIENCE:?}"));
    let (status, headers, body, broken) =
        exchange.unwrap_or_else(|error| (0, HeaderMap::new(), Bytes::new(), Some(error)));
    Answer {
        status,
        headers,
        body,
        broken,
        elapsed: started.elapsed(),
    }
}

/// A client that keeps its connection.
#[derive(Debug)]
pub(crate) struct KeptAlive {
    port: u16,
    sender: Option<http1::SendRequest<Empty<Bytes>>>,
}

impl KeptAlive {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, sender: None }
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn send(&mut self, method: &str, path: &str) -> Answer {
        let started = Instant::now();
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(method, path)).await;
        let (status, headers, body) = exchange
            .unwrap_or_else(|_| panic!("{method} {path}: no answer in {PATIENCE:?}"))
            .unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        Answer {
            status,
            headers,
            body,
            broken: None,
            elapsed: started.elapsed(),
        }
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
    ) -> Result<(u16, HeaderMap, Bytes), Box<dyn std::error::Error>> {
        let open = self.sender.take();
        let mut sender = match open {
            Some(sender) if !sender.is_closed() => sender,
            Some(_) | None => {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                TaskTracker::new().spawn(async move {
                    // A broken connection shows in the answer.
                    drop(connection.await);
                });
                sender
            }
        };
        sender.ready().await?;
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(path)
            .header("Host", format!("127.0.0.1:{}", self.port))
            .header("Accept", ACCEPT)
            .body(Empty::<Bytes>::new())?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok((parts.status.as_u16(), parts.headers, body))
    }
}

impl Answer {
    /// A header as text; empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The target of the `next` link; `None` on the last page.
    pub(crate) fn next_page(&self) -> Option<String> {
        let link = self.header("link");
        let (target, relation) = link.strip_prefix('<')?.split_once('>')?;
        assert!(relation.contains("rel=\"next\""), "{link}");
        Some(target.to_owned())
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Whether it arrived whole with status 200 or 206.
    pub(crate) fn is_whole_success(&self) -> bool {
        matches!(self.status, 200 | 206) && self.broken.is_none()
    }

    /// The digest of the body.
    pub(crate) fn digest(&self) -> String {
        sha256(&self.body)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body.chars().take(700).collect();
        write!(
            formatter,
            "{} after {:?} {:?} broken: {:?}\n{body}",
            self.status, self.elapsed, self.headers, self.broken
        )
    }
}
