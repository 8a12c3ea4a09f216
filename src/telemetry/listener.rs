//! Numbers about listeners: their connections, and why those were ended.

use std::sync::Arc;

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use super::{counters, gauge, register};

/// Reasons for which the proxy ends a connection, a stream or a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// No place was free.
    Full,
    /// The share of the peer's address was used up.
    ShareUsed,
    /// It was idle, and its place was needed.
    GivenUp,
    /// The TLS handshake or the first bytes failed.
    Handshake,
    /// It took too long to send a request.
    Header,
    /// It asked nothing for too long.
    Idle,
    /// It did not take what it was sent.
    Progress,
    /// A stream of HTTP/2 was reset, because the peer did not take what it was sent.
    StreamProgress,
}

const ENDED: [&str; 8] = [
    "full",
    "share_used",
    "given_up",
    "handshake",
    "header",
    "idle",
    "progress",
    "stream_progress",
];

/// Numbers about both listeners.
#[derive(Debug)]
pub struct Listeners {
    /// Numbers about the listener of the registry API.
    pub registry: ListenerMetrics,
    /// Numbers about the listener of the admin API.
    pub admin: ListenerMetrics,
}

/// Numbers about one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    numbers: Arc<Numbers>,
}

#[derive(Debug)]
struct Numbers {
    open: IntGauge,
    max: IntGauge,
    ended: [IntCounter; ENDED.len()],
}

/// An open connection, counted until it is dropped.
#[derive(Debug)]
pub struct Open(IntGauge);

impl Listeners {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let max = IntGaugeVec::new(
            Opts::new("connections_max", "Connections that may be open."),
            &["listener"],
        )?;
        let max = register(registry, max)?;
        let ended = counters(
            registry,
            "connections_ended_total",
            "Connections, streams and newcomers that the proxy ended, by reason.",
            &["listener", "reason"],
        )?;
        let listener = |name: &str, open: IntGauge| ListenerMetrics {
            numbers: Arc::new(Numbers {
                open,
                max: max.with_label_values(&[name]),
                ended: ENDED.map(|reason| ended.with_label_values(&[name, reason])),
            }),
        };
        let open = gauge(registry, "connections", "Client connections.")?;
        let open_admin = gauge(registry, "admin_connections", "Admin connections.")?;
        Ok(Self {
            registry: listener("registry", open),
            admin: listener("admin", open_admin),
        })
    }
}

impl ListenerMetrics {
    /// Counts a connection while the result lives.
    #[must_use]
    pub fn open(&self) -> Open {
        self.numbers.open.inc();
        Open(self.numbers.open.clone())
    }

    /// Sets the number of connections that may be open.
    pub fn set_max(&self, max: usize) {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.numbers.max.set(max);
    }

    /// Counts what the proxy ended.
    pub fn ended(&self, reason: Ended) {
        if let Some(counter) = self.numbers.ended.get(reason as usize) {
            counter.inc();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
