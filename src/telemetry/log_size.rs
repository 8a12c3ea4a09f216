//! Numbers about the decision log.

use prometheus::{IntGauge, Registry};

use super::gauge;

/// The size of the decision log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Records.
    pub records: u64,
    /// Their bytes, in JSON.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct LogGauges {
    records: IntGauge,
    bytes: IntGauge,
}

impl LogGauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            records: gauge(registry, "log_records", "Records of the decision log.")?,
            bytes: gauge(
                registry,
                "log_bytes",
                "Bytes of the records of the decision log.",
            )?,
        })
    }

    pub(super) fn set(&self, size: LogSize) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.records.set(number(size.records));
        self.bytes.set(number(size.bytes));
    }
}
