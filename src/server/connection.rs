//! Connections: accepted up to a number, TLS where configured, drained on the way out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Server, respond};

/// Bytes of a request head, and of answers that wait for a slow client, per connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the headers of one HTTP/2 request.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Requests under way on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;

/// Where connections come from.
pub struct Listener {
    /// The socket.
    pub tcp: TcpListener,
    /// TLS, unless it is plain HTTP.
    pub tls: Option<TlsAcceptor>,
}

/// Accepts connections until `stop`, then lets those that are answering finish. Returns when all have.
///
/// What cuts a drain short is the caller's grace period, not this function.
pub async fn serve(server: Server, listener: Listener, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(server.inner.limits.connections_max));
    let graceful = Arc::new(GracefulShutdown::new());
    loop {
        // Without a place nothing is accepted: what waits, waits in the kernel.
        let Some(place) = stop
            .run_until_cancelled(Arc::clone(&places).acquire_owned())
            .await
        else {
            break;
        };
        let Ok(place) = place else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.tcp.accept()).await else {
            break;
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, for instance: it passes, and spinning would not help.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not accept a connection"
                );
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = Connection {
            server: server.clone(),
            address,
            graceful: graceful.watcher(),
            _place: place,
        };
        connections.spawn(connection.run(stream, listener.tls.clone()));
    }
    drop(listener);
    connections.close();
    if let Some(graceful) = Arc::into_inner(graceful) {
        graceful.shutdown().await;
    }
    connections.wait().await;
}

struct Connection {
    server: Server,
    address: SocketAddr,
    graceful: hyper_util::server::graceful::Watcher,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let metrics = Arc::clone(&self.server.inner.metrics);
        metrics.connections.inc();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "Could not set TCP_NODELAY"
            );
        }
        let time_max = self.server.inner.limits.client_header_time_max;
        match tokio::time::timeout(time_max, greet(stream, tls)).await {
            Ok(Ok((Greeted::Plain(stream), protocol))) => self.speak(stream, protocol).await,
            Ok(Ok((Greeted::Tls(stream), protocol))) => self.speak(*stream, protocol).await,
            Ok(Err(error)) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "A connection did not begin"
                );
            }
            Err(_elapsed) => tracing::debug!("A connection was silent for too long"),
        }
        metrics.connections.dec();
    }

    async fn speak(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
    ) {
        let (server, address) = (self.server.clone(), self.address);
        let service = service_fn(move |request: Request<Incoming>| {
            let server = server.clone();
            async move {
                // A panic answers this request with 500 and ends nothing else.
                let answering = AssertUnwindSafe(server.answer(request.map(Body::new), address));
                let answered = answering.catch_unwind().await;
                Ok::<_, Infallible>(answered.unwrap_or_else(|_panic| respond::internal()))
            }
        });
        let limits = &self.server.inner.limits;
        let io = TokioIo::new(stream);
        let ended = match protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(limits.client_header_time_max)
                    .max_buf_size(BUFFER_BYTES_MAX);
                let connection = builder.serve_connection(io, service);
                self.graceful.watch(connection).await
            }
            Protocol::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .keep_alive_interval(limits.client_header_time_max)
                    .max_header_list_size(HEADER_BYTES_MAX)
                    .max_concurrent_streams(STREAMS_MAX);
                let connection = builder.serve_connection(io, service);
                self.graceful.watch(connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "A connection ended with an error"
            );
        }
    }
}

/// A stream that is ready to be spoken on.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is spoken on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// The TLS handshake where there is one, and the choice of protocol: by ALPN, or in the clear by the first bytes that
/// the client sends (RFC 9113 §3.4).
async fn greet(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
) -> std::io::Result<(Greeted, Protocol)> {
    let Some(acceptor) = tls else {
        let mut first = [0; 3];
        let read = stream.peek(&mut first).await?;
        let protocol = if first.get(..read) == Some(b"PRI") {
            Protocol::Http2
        } else {
            Protocol::Http1
        };
        return Ok((Greeted::Plain(stream), protocol));
    };
    let stream = acceptor.accept(stream).await?;
    let protocol = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Protocol::Http2
    } else {
        Protocol::Http1
    };
    Ok((Greeted::Tls(Box::new(stream)), protocol))
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Listener")
            .field("tcp", &self.tcp)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}
