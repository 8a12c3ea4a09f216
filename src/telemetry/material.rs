//! Numbers about keys and trusted roots: how old they are, and when they stop vouching.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts, Registry};

use super::{counters, register};
use crate::keys::{KeyStatus, Observer, Reference};
use crate::trust::RootStatus;

/// What a gauge is set to where there is no end.
const NEVER: f64 = f64::INFINITY;

/// Numbers about keys and trusted roots.
#[derive(Debug)]
pub(super) struct Material {
    key_reads: IntCounterVec,
    root_usable: GaugeVec,
    root_refreshed: GaugeVec,
    root_stale: GaugeVec,
    root_metadata_expiry: GaugeVec,
    key_versions: GaugeVec,
    key_read: GaugeVec,
    key_serves_until: GaugeVec,
}

impl Material {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, label: &str| {
            register(registry, GaugeVec::new(Opts::new(name, help), &[label])?)
        };
        Ok(Self {
            key_reads: counters(
                registry,
                "key_reads_total",
                "Reads of keys in key services.",
                &["key", "outcome"],
            )?,
            root_usable: gauges(
                "trusted_root_usable",
                "1 while the trusted root is in force, else 0.",
                "trusted_root",
            )?,
            root_refreshed: gauges(
                "trusted_root_refreshed_timestamp_seconds",
                "When the trusted root was last confirmed by its repository.",
                "trusted_root",
            )?,
            root_stale: gauges(
                "trusted_root_stale_timestamp_seconds",
                "When the trusted root stops being in force unless it is refreshed.",
                "trusted_root",
            )?,
            root_metadata_expiry: gauges(
                "trusted_root_metadata_expiry_timestamp_seconds",
                "When the TUF metadata of the trusted root expire.",
                "trusted_root",
            )?,
            key_versions: gauges(
                "key_versions",
                "Versions of the key that may vouch; 0 while it is unusable.",
                "key",
            )?,
            key_read: gauges(
                "key_read_timestamp_seconds",
                "When the key was last read.",
                "key",
            )?,
            key_serves_until: gauges(
                "key_serves_until_timestamp_seconds",
                "When the key stops vouching unless it is read again.",
                "key",
            )?,
        })
    }

    /// Sets the gauges to what is known now. What is no longer configured disappears.
    pub(super) fn set(&self, roots: &[RootStatus], keys: &[KeyStatus]) {
        for gauges in [
            &self.root_usable,
            &self.root_refreshed,
            &self.root_stale,
            &self.root_metadata_expiry,
            &self.key_versions,
            &self.key_read,
            &self.key_serves_until,
        ] {
            gauges.reset();
        }
        for root in roots {
            let of = |gauges: &GaugeVec| gauges.with_label_values(&[root.name.as_str()]);
            of(&self.root_usable).set(f64::from(u8::from(root.usable)));
            set_time(&of(&self.root_refreshed), root.refreshed, 0.0);
            set_time(&of(&self.root_stale), root.stale_at, NEVER);
            let expiry = root.metadata.as_ref().map(|metadata| metadata.expires);
            set_time(&of(&self.root_metadata_expiry), expiry, NEVER);
        }
        for key in keys {
            let of = |gauges: &GaugeVec| gauges.with_label_values(&[key.reference.as_str()]);
            let versions = u32::try_from(key.versions.len()).unwrap_or(u32::MAX);
            of(&self.key_versions).set(f64::from(versions));
            set_time(&of(&self.key_read), key.succeeded_at, 0.0);
            set_time(&of(&self.key_serves_until), key.serves_until, 0.0);
        }
    }

    pub(super) fn read(&self, reference: &Reference, outcome: &'static str) {
        self.key_reads
            .with_label_values(&[reference.as_str(), outcome])
            .inc();
    }
}

fn set_time(gauge: &Gauge, time: Option<Timestamp>, absent: f64) {
    let seconds = time.map(|time| time.as_duration().as_secs_f64());
    gauge.set(seconds.unwrap_or(absent));
}

impl Observer for super::Metrics {
    fn refreshed(&self, reference: &Reference, outcome: &'static str, _elapsed: Duration) {
        self.material.read(reference, outcome);
    }
}
