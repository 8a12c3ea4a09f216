//! Connections: accepted up to a number, TLS where configured, drained on the way out.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Server, respond};

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
        self.server.inner.metrics.connections.inc();
        let metrics = Arc::clone(&self.server.inner.metrics);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "Could not set TCP_NODELAY"
            );
        }
        match tls {
            None => self.speak(stream).await,
            Some(acceptor) => {
                let time_max = self.server.inner.limits.client_header_time_max;
                match tokio::time::timeout(time_max, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => self.speak(stream).await,
                    Ok(Err(error)) => {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "A TLS handshake failed"
                        );
                    }
                    Err(_elapsed) => tracing::debug!("A TLS handshake took too long"),
                }
            }
        }
        metrics.connections.dec();
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (server, address) = (self.server.clone(), self.address);
        let service = service_fn(move |request: Request<Incoming>| {
            let server = server.clone();
            async move {
                // A panic answers this request with 500 and ends nothing else.
                let answering = server.answer(request.map(Body::new), address);
                let answered =
                    futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(answering));
                Ok::<_, std::convert::Infallible>(
                    answered.await.unwrap_or_else(|_panic| respond::internal()),
                )
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.server.inner.limits.client_header_time_max)
            .max_buf_size(64 * 1024)
            .half_close(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(64 * 1024)
            .max_concurrent_streams(100);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.graceful.watch(connection.into_owned()).await {
            tracing::debug!(error, "A connection ended with an error");
        }
    }
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
