//! One connection: TLS where configured, the choice of protocol, requests, and the end that its clock demands.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Clock, Verdict};
use super::body::{Received, Sent};
use super::io::Metered;
use super::places::Place;
use super::streams::StreamExecutor;
use super::{Bounds, Handler};
use crate::telemetry::{Ended, ListenerMetrics};

/// Bytes of a request head, and of answers that wait for a slow client, per connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the headers of one HTTP/2 request.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Requests under way on one HTTP/2 connection. Container runtimes have a handful.
const STREAMS_MAX: u32 = 32;
/// Bytes of a response that HTTP/2 keeps for each stream until the peer takes them.
const SEND_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Streams that a peer may reset before they were looked at, and that may be reset for its errors; beyond, the connection
/// ends (CVE-2023-44487, CVE-2025-8671).
const RESETS_PENDING_MAX: usize = 20;
const RESETS_FOR_ERRORS_MAX: usize = 256;
/// Bytes that the kernel holds for a connection before it has sent them. Without this limit it takes megabytes at once, so
/// a peer that reads slowly would seem to take nothing for minutes.
const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// The first bytes of an HTTP/2 connection in the clear (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that was accepted.
pub(super) struct Connection<H> {
    pub(super) handler: H,
    pub(super) peer: SocketAddr,
    pub(super) bounds: Bounds,
    pub(super) metrics: ListenerMetrics,
    pub(super) activity: Arc<Activity>,
    pub(super) stop: CancellationToken,
}

impl<H: Handler> Connection<H> {
    /// Serves the connection to its end. `_place` is held until then.
    pub(super) async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>, _place: Place) {
        let _open = self.metrics.open();
        set_options(&stream);
        let mut clock = Clock::new(Arc::clone(&self.activity), self.bounds);
        let greeted = tokio::select! {
            greeted = greet(stream, tls) => greeted,
            verdict = clock.expire() => return self.metrics.ended(reason(verdict)),
            () = self.stop.cancelled() => return,
        };
        match greeted {
            Ok(Greeted::Plain(stream, read, protocol)) => {
                self.speak(stream, read, protocol, clock).await;
            }
            Ok(Greeted::Tls(stream, protocol)) => {
                self.speak(*stream, Bytes::new(), protocol, clock).await;
            }
            Err(error) => {
                self.metrics.ended(Ended::Handshake);
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "A connection did not begin"
                );
            }
        }
    }

    async fn speak(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        read: Bytes,
        protocol: Protocol,
        clock: Clock,
    ) {
        let is_multiplexed = protocol == Protocol::Http2;
        let (handler, peer) = (self.handler.clone(), self.peer);
        let (activity, bounds) = (Arc::clone(&self.activity), self.bounds);
        let service = service_fn(move |request: Request<Incoming>| {
            let handler = handler.clone();
            let answering = activity.begin();
            async move {
                let body_time_max = bounds.header_time_max;
                let request = request.map(|body| Received::body(body, body_time_max));
                let response = handler.answer(request, peer).await;
                Ok::<_, Infallible>(Sent::response(response, answering, is_multiplexed))
            }
        });
        let activity = Arc::clone(&self.activity);
        let io = TokioIo::new(Metered::new(stream, read, activity, !is_multiplexed));
        match protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                // The clock of the connection bounds the time of heads.
                builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(None)
                    .max_buf_size(BUFFER_BYTES_MAX);
                let connection = builder.serve_connection(io, service);
                self.watch(connection, clock, false).await;
            }
            Protocol::Http2 => {
                let streams = StreamExecutor::new(bounds.progress_time_max, self.metrics.clone());
                let mut builder = http2::Builder::new(streams);
                builder
                    .timer(TokioTimer::new())
                    .keep_alive_interval(bounds.header_time_max)
                    .max_header_list_size(HEADER_BYTES_MAX)
                    .max_concurrent_streams(STREAMS_MAX)
                    .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
                    .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
                    .max_local_error_reset_streams(RESETS_FOR_ERRORS_MAX);
                let connection = builder.serve_connection(io, service);
                self.watch(connection, clock, true).await;
            }
        }
    }

    /// Drives the connection until it ends, until its clock ends it, or until it has nothing to answer after `stop`.
    async fn watch<C>(&self, connection: C, mut clock: Clock, says_goodbye: bool)
    where
        C: GracefulConnection,
        C::Error: std::error::Error + 'static,
    {
        let mut connection = pin!(connection);
        let (mut is_stopping, mut is_leaving) = (false, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "A connection ended with an error"
                        );
                    }
                    return;
                }
                verdict = clock.expire() => {
                    if !is_leaving {
                        self.metrics.ended(reason(verdict));
                    }
                    match verdict {
                        Verdict::Leave(_) => {
                            is_leaving = true;
                            self.activity.leave();
                        }
                        Verdict::Cut(_) => return,
                    }
                }
                () = self.stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            // HTTP/1.1 has no way to announce the end of a connection that is idle.
            if !says_goodbye && !self.activity.is_busy() {
                return;
            }
        }
    }
}

fn reason(verdict: Verdict) -> Ended {
    match verdict {
        Verdict::Leave(ended) | Verdict::Cut(ended) => ended,
    }
}

fn set_options(stream: &TcpStream) {
    let set = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX));
    if let Err(error) = set {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "Could not set the options of a connection"
        );
    }
}

/// A stream that is ready to be spoken on.
enum Greeted {
    /// A stream, the bytes that were read from it, and the protocol.
    Plain(TcpStream, Bytes, Protocol),
    Tls(Box<TlsStream<TcpStream>>, Protocol),
}

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Does the TLS handshake where there is one, and finds out the protocol: by ALPN, or in the clear by the first bytes that
/// the client sends.
async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>) -> std::io::Result<Greeted> {
    let Some(acceptor) = tls else {
        return greet_in_the_clear(stream).await;
    };
    let stream = acceptor.accept(stream).await?;
    let protocol = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Protocol::Http2
    } else {
        Protocol::Http1
    };
    Ok(Greeted::Tls(Box::new(stream), protocol))
}

/// Reads until the bytes are no beginning of the HTTP/2 preface, or are all of it.
async fn greet_in_the_clear(mut stream: TcpStream) -> std::io::Result<Greeted> {
    let mut first = [0; PREFACE.len()];
    let mut length = 0;
    loop {
        let free = first.get_mut(length..).unwrap_or_default();
        let read = stream.read(free).await?;
        length += read;
        let given = first.get(..length).unwrap_or_default();
        let protocol = if read == 0 || !PREFACE.starts_with(given) {
            Protocol::Http1
        } else if length == PREFACE.len() {
            Protocol::Http2
        } else {
            continue;
        };
        let given = Bytes::copy_from_slice(given);
        return Ok(Greeted::Plain(stream, given, protocol));
    }
}
