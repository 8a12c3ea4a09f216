//! What the process tells about itself: log lines, and the numbers an on-call engineer starts from.

mod configuration;
pub(crate) mod lines;
mod listener;
mod log;
mod log_size;
mod material;
mod process;
mod shares;

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

pub use listener::{Ended, ListenerMetrics, Listeners, Open};
pub use log::{flush_log_lines, log_to_stderr, log_without_waiting};
pub use log_size::LogSize;

use crate::decision_log::Record;
use crate::keys::KeyStatus;
use crate::shares::Ledger;
use crate::trust::RootStatus;
use crate::upstream::Observer;
use crate::upstream::Purpose;

/// Which part of the registry API a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Endpoint {
    /// `/v2/`.
    Base,
    /// `/v2/token`.
    Token,
    /// `/v2/<name>/manifests/<reference>`.
    Manifests,
    /// `/v2/<name>/blobs/<digest>`.
    Blobs,
    /// `/v2/<name>/tags/list`.
    Tags,
    /// `/v2/<name>/referrers/<digest>`.
    Referrers,
    /// Anything else.
    Other,
}

const ENDPOINTS: [&str; 7] = [
    "base",
    "token",
    "manifests",
    "blobs",
    "tags",
    "referrers",
    "other",
];
const STATUSES: [u16; 16] = [
    200, 206, 304, 400, 401, 403, 404, 405, 416, 429, 431, 500, 502, 503, 504, 0,
];
const DECISION_SECONDS: &str = "Time to make a decision, look-ups included.";
const VERIFICATION_SECONDS: &str = "Time spent verifying for one decision.";
/// Seconds; from a memory hit to the longest wait for an upstream.
const BUCKETS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
    10.0,
];

/// All numbers. Those of the warm path are resolved once, so that counting is one atomic addition.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    requests_by: Vec<OnceLock<IntCounter>>,
    request_seconds_by: Vec<Histogram>,
    response_bytes: IntCounter,
    cache: IntCounterVec,
    memory_hits: IntCounter,
    decisions: IntCounterVec,
    decision_seconds: Histogram,
    verification_seconds: Histogram,
    upstream_requests: IntCounterVec,
    upstream_seconds: HistogramVec,
    /// Numbers about the listeners.
    pub listeners: Listeners,
    process: process::Process,
    store_bytes: IntGauge,
    store_files: IntGauge,
    log_size: log_size::LogGauges,
    material: material::Material,
    configuration: configuration::Configuration,
    shares: shares::ShareNumbers,
}

/// Numbers that are read off when they are asked for.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Bytes of stored content.
    pub store_bytes: u64,
    /// Files of stored content.
    pub store_files: u64,
    /// True if the state database takes nothing new.
    pub state_failing: bool,
    /// True if the content store takes nothing new.
    pub store_failing: bool,
    /// The size of the log.
    pub log_size: LogSize,
    /// Lines the access log lost.
    pub access_lines_dropped: u64,
    /// Lines about decisions that were lost.
    pub decision_lines_dropped: u64,
    /// Bytes of stored content that are in memory on their way to clients.
    pub sending_bytes: u64,
    /// Open file descriptors.
    pub descriptors_open: u64,
    /// File descriptors that may be open.
    pub descriptors_max: u64,
    /// How the trusted roots are.
    pub roots: Vec<RootStatus>,
    /// How the keys are.
    pub keys: Vec<KeyStatus>,
}

impl Metrics {
    /// All numbers, at zero.
    ///
    /// # Errors
    /// When two of them have the same name: a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("countersign".to_owned()), None)?;
        let requests = counters(
            &registry,
            "requests_total",
            "Answers to clients.",
            &["endpoint", "status"],
        )?;
        let request_seconds = histograms(
            &registry,
            "request_seconds",
            "Time to the headers of an answer.",
            &["endpoint"],
        )?;
        let request_seconds_by = ENDPOINTS
            .iter()
            .map(|endpoint| request_seconds.with_label_values(&[endpoint]))
            .collect();
        let cache = counters(
            &registry,
            "cache_total",
            "Served content by where it came from.",
            &["state"],
        )?;
        Ok(Self {
            requests_by: std::iter::repeat_with(OnceLock::new)
                .take(ENDPOINTS.len() * STATUSES.len())
                .collect(),
            requests,
            request_seconds_by,
            response_bytes: register(
                &registry,
                IntCounter::new("response_bytes_total", "Bytes of bodies sent to clients.")?,
            )?,
            memory_hits: cache.with_label_values(&["memory"]),
            cache,
            decisions: counters(
                &registry,
                "decisions_total",
                "Decisions by outcome and, for denials, kind.",
                &["decision", "kind"],
            )?,
            decision_seconds: histogram(&registry, "decision_seconds", DECISION_SECONDS)?,
            verification_seconds: histogram(
                &registry,
                "verification_seconds",
                VERIFICATION_SECONDS,
            )?,
            upstream_requests: counters(
                &registry,
                "upstream_requests_total",
                "Requests to upstreams.",
                &["host", "purpose", "outcome"],
            )?,
            upstream_seconds: histograms(
                &registry,
                "upstream_seconds",
                "Time of upstream requests, retries included; to the headers for blobs.",
                &["purpose"],
            )?,
            listeners: Listeners::new(&registry)?,
            process: process::Process::new(&registry)?,
            store_bytes: gauge(&registry, "store_bytes", "Bytes of content on disk.")?,
            store_files: gauge(&registry, "store_files", "Files of content on disk.")?,
            log_size: log_size::LogGauges::new(&registry)?,
            material: material::Material::new(&registry)?,
            configuration: configuration::Configuration::new(&registry)?,
            shares: shares::ShareNumbers::new(&registry)?,
            registry,
        })
    }

    /// Counts an answer to a client.
    pub fn answered(&self, endpoint: Endpoint, status: u16, bytes: u64, elapsed: Duration) {
        let known = STATUSES.iter().position(|known| *known == status);
        let status_index = known.unwrap_or(STATUSES.len() - 1);
        let endpoint_index = endpoint as usize;
        if let Some(counter) = self
            .requests_by
            .get(endpoint_index * STATUSES.len() + status_index)
        {
            counter
                .get_or_init(|| {
                    let status = if known.is_some() {
                        status.to_string()
                    } else {
                        "other".to_owned()
                    };
                    self.requests
                        .with_label_values(&[endpoint.as_str(), status.as_str()])
                })
                .inc();
        }
        if let Some(histogram) = self.request_seconds_by.get(endpoint_index) {
            histogram.observe(elapsed.as_secs_f64());
        }
        self.response_bytes.inc_by(bytes);
    }

    /// Counts where served content came from.
    pub fn served_from(&self, state: &'static str) {
        if state == "memory" {
            self.memory_hits.inc();
        } else {
            self.cache.with_label_values(&[state]).inc();
        }
    }

    /// Counts a decision.
    pub fn decided(&self, record: &Record) {
        let decision = match record.decision {
            crate::decision_log::Outcome::Admit => "admit",
            crate::decision_log::Outcome::Deny => "deny",
            crate::decision_log::Outcome::Unavailable => "unavailable",
        };
        let kind = record
            .denial
            .as_ref()
            .map_or("", |denial| denial.kind.as_str());
        self.decisions.with_label_values(&[decision, kind]).inc();
        self.decision_seconds
            .observe(record.timing_ms.total / 1000.0);
        self.verification_seconds
            .observe(record.timing_ms.verification / 1000.0);
    }

    /// Everything, in the Prometheus text format.
    ///
    /// # Errors
    /// When a number cannot be rendered: a bug.
    pub fn render(&self, gauges: &Gauges) -> Result<Vec<u8>, prometheus::Error> {
        let set =
            |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.store_bytes, gauges.store_bytes);
        set(&self.store_files, gauges.store_files);
        self.log_size.set(gauges.log_size);
        self.process.set(gauges);
        self.material.set(&gauges.roots, &gauges.keys);
        self.shares.read();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Observer for Metrics {
    fn ledger(&self) -> Ledger {
        Self::ledger(self).clone()
    }

    fn finished(&self, host: &str, purpose: Purpose, outcome: &'static str, elapsed: Duration) {
        let purpose = match purpose {
            Purpose::Manifest => "manifest",
            Purpose::Blob => "blob",
            Purpose::Tags => "tags",
            Purpose::Referrers => "referrers",
            Purpose::ReferrersTag => "referrers_tag",
            Purpose::CosignTag => "cosign_tag",
        };
        self.upstream_requests
            .with_label_values(&[host, purpose, outcome])
            .inc();
        self.upstream_seconds
            .with_label_values(&[purpose])
            .observe(elapsed.as_secs_f64());
    }
}

impl Endpoint {
    fn as_str(self) -> &'static str {
        ENDPOINTS.get(self as usize).copied().unwrap_or("other")
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    register(registry, HistogramVec::new(options, labels)?)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    register(registry, Histogram::with_opts(options)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    register(registry, IntGauge::new(name, help)?)
}
