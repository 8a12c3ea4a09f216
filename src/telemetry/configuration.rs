//! Numbers about the configuration: how often it was reloaded, and since when it is in force.

use jiff::Timestamp;
use prometheus::{Gauge, IntCounterVec, Registry};

use super::{counters, register};

/// Numbers about the configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    reloads: IntCounterVec,
    loaded: Gauge,
}

impl Configuration {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = counters(
            registry,
            "configuration_reloads_total",
            "Reloads of the configuration by outcome.",
            &["outcome"],
        )?;
        // Both are there from the start, so that an alert on a rejected one has something to compare with.
        for outcome in [APPLIED, REJECTED] {
            reloads.with_label_values(&[outcome]);
        }
        let loaded = Gauge::new(
            "configuration_loaded_timestamp_seconds",
            "When the configuration in force was loaded.",
        )?;
        Ok(Self {
            reloads,
            loaded: register(registry, loaded)?,
        })
    }
}

const APPLIED: &str = "applied";
const REJECTED: &str = "rejected";

impl super::Metrics {
    /// Notes when the configuration in force was loaded, at the start.
    pub fn configuration_loaded(&self, time: Timestamp) {
        self.configuration.loaded.set(seconds(time));
    }

    /// Counts a reload that put a configuration in force.
    pub fn configuration_applied(&self, time: Timestamp) {
        self.configuration
            .reloads
            .with_label_values(&[APPLIED])
            .inc();
        self.configuration_loaded(time);
    }

    /// Counts a reload that left the configuration in force as it was.
    pub fn configuration_rejected(&self) {
        self.configuration
            .reloads
            .with_label_values(&[REJECTED])
            .inc();
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
