//! Numbers about keys and trusted roots: how old they are, and when they stop vouching.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

use super::{counters, register};
use crate::keys::{KeyStatus, Observer, Reference};
use crate::trust::RootStatus;

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
                "When the trusted root was last confirmed by its repository; absent for files and before the first time.",
                "trusted_root",
            )?,
            root_stale: gauges(
                "trusted_root_stale_timestamp_seconds",
                "When the trusted root stops being in force unless it is refreshed; absent for files.",
                "trusted_root",
            )?,
            root_metadata_expiry: gauges(
                "trusted_root_metadata_expiry_timestamp_seconds",
                "When the TUF metadata of the trusted root expire; absent where there are none.",
                "trusted_root",
            )?,
            key_versions: gauges(
                "key_versions",
                "Versions of the key that may vouch; 0 while it is unusable.",
                "key",
            )?,
            key_read: gauges(
                "key_read_timestamp_seconds",
                "When the key was last read; absent before the first time.",
                "key",
            )?,
            key_serves_until: gauges(
                "key_serves_until_timestamp_seconds",
                "When the key stops vouching unless it is read again; absent while it is unusable.",
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
            let usable = self.root_usable.with_label_values(&[root.name.as_str()]);
            usable.set(f64::from(u8::from(root.usable)));
            let expiry = root.metadata.as_ref().map(|metadata| metadata.expires);
            set_time(&self.root_refreshed, &root.name, root.refreshed);
            set_time(&self.root_stale, &root.name, root.stale_at);
            set_time(&self.root_metadata_expiry, &root.name, expiry);
        }
        for key in keys {
            let reference = key.reference.as_str();
            let versions = u32::try_from(key.versions.len()).unwrap_or(u32::MAX);
            let known = self.key_versions.with_label_values(&[reference]);
            known.set(f64::from(versions));
            set_time(&self.key_read, reference, key.succeeded_at);
            set_time(&self.key_serves_until, reference, key.serves_until);
        }
    }

    pub(super) fn read(&self, reference: &Reference, outcome: &'static str) {
        self.key_reads
            .with_label_values(&[reference.as_str(), outcome])
            .inc();
    }
}

/// Where there is no time there is no sample: neither 0 nor infinity is a time that an alert could be about.
fn set_time(gauges: &GaugeVec, label: &str, time: Option<Timestamp>) {
    if let Some(time) = time {
        let seconds = time.as_duration().as_secs_f64();
        gauges.with_label_values(&[label]).set(seconds);
    }
}

impl Observer for super::Metrics {
    fn refreshed(&self, reference: &Reference, outcome: &'static str, _elapsed: Duration) {
        self.material.read(reference, outcome);
    }
}
