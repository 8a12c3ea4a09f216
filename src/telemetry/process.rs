//! Numbers about what the process holds for its peers, and about lines that it lost.

use prometheus::{IntGauge, Registry};

use super::{Gauges, gauge, log};

/// Numbers about the process, set when metrics are rendered.
#[derive(Debug)]
pub(super) struct Process {
    descriptors_open: IntGauge,
    descriptors_max: IntGauge,
    sending_bytes: IntGauge,
    state_failing: IntGauge,
    store_failing: IntGauge,
    access_lines_dropped: IntGauge,
    decision_lines_dropped: IntGauge,
    log_lines_dropped: IntGauge,
}

impl Process {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| gauge(registry, name, help);
        Ok(Self {
            descriptors_open: gauge("descriptors_open", "Open file descriptors.")?,
            descriptors_max: gauge("descriptors_max", "File descriptors that may be open.")?,
            sending_bytes: gauge(
                "sending_bytes",
                "Bytes of stored content in memory that clients have not taken yet.",
            )?,
            state_failing: gauge(
                "state_failing",
                "1 while the database takes nothing new: a full disk or damage.",
            )?,
            store_failing: gauge(
                "store_failing",
                "1 while no content can be stored: a full or failing disk.",
            )?,
            access_lines_dropped: gauge(
                "access_lines_dropped",
                "Lines that the access log lost since the start.",
            )?,
            decision_lines_dropped: gauge(
                "decision_lines_dropped",
                "Lines about decisions that were lost since the start; the database has all.",
            )?,
            log_lines_dropped: gauge(
                "log_lines_dropped",
                "Log lines that were lost since the start.",
            )?,
        })
    }

    pub(super) fn set(&self, gauges: &Gauges) {
        let set =
            |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.descriptors_open, gauges.descriptors_open);
        set(&self.descriptors_max, gauges.descriptors_max);
        set(&self.sending_bytes, gauges.sending_bytes);
        set(&self.state_failing, gauges.state_failing.into());
        set(&self.store_failing, gauges.store_failing.into());
        set(&self.access_lines_dropped, gauges.access_lines_dropped);
        set(&self.decision_lines_dropped, gauges.decision_lines_dropped);
        set(&self.log_lines_dropped, log::log_lines_dropped());
    }
}
