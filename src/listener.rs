//! Listeners: connections that are accepted up to a number, each with a clock for everything that a peer can delay.
//!
//! Both the registry API and the admin API are served here, so both have the same limits. A connection ends when its peer
//! takes too long to begin (TLS handshake, HTTP/2 preface, first request), to send a request, to ask again, or to take a
//! response; see `activity` for the rules. `ARCHITECTURE.md`, "Connections", gives the reasons.

mod accept;
mod activity;
mod body;
mod connection;
pub mod descriptors;
mod io;
mod places;
mod streams;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use accept::serve;

use crate::limits::Limits;
use crate::telemetry::ListenerMetrics;

/// Answers the requests of a listener.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request from a peer. Must not panic.
    fn answer(
        &self,
        request: Request<Body>,
        address: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// A socket that accepts connections, and the rules for them.
pub struct Listener {
    /// The socket.
    pub tcp: TcpListener,
    /// TLS, unless it is plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// The limits of its connections.
    pub bounds: Bounds,
    /// Its numbers.
    pub metrics: ListenerMetrics,
}

/// The limits of a listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at one time.
    pub connections_max: usize,
    /// Time from the connection to its first request, and from the first byte of a request to the end of its head or of
    /// its body.
    pub header_time_max: Duration,
    /// Time without a request.
    pub idle_time_max: Duration,
    /// Time in which a peer that is being sent something must take [`Bounds::progress_bytes_min`].
    pub progress_time_max: Duration,
    /// Bytes that a peer must take in [`Bounds::progress_time_max`].
    pub progress_bytes_min: u64,
}

impl Bounds {
    /// The bounds for `connections_max` connections with the times of `limits`.
    #[must_use]
    pub fn new(limits: &Limits, connections_max: usize) -> Self {
        Self {
            connections_max,
            header_time_max: limits.client_header_time_max,
            idle_time_max: limits.client_idle_time_max,
            progress_time_max: limits.client_progress_time_max,
            progress_bytes_min: limits.client_progress_bytes_min,
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Listener")
            .field("tcp", &self.tcp)
            .field("tls", &self.tls.is_some())
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
