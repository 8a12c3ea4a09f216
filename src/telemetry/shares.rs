//! Numbers about the budgets of bounded resources.

use prometheus::{IntGaugeVec, Opts, Registry};

use super::register;
use crate::shares::Ledger;

/// Numbers about the budgets, read from the ledger when metrics are rendered.
#[derive(Debug)]
pub(super) struct ShareNumbers {
    pub(super) ledger: Ledger,
    used: IntGaugeVec,
    limit: IntGaugeVec,
    waiting: IntGaugeVec,
    turned_away: IntGaugeVec,
}

impl ShareNumbers {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["resource"])?;
            register(registry, gauges)
        };
        Ok(Self {
            ledger: Ledger::default(),
            used: gauges("share_used", "Units of a resource in use.")?,
            limit: gauges("share_limit", "Units of a resource there are.")?,
            waiting: gauges("share_waiting", "Requests that wait for a resource.")?,
            turned_away: gauges(
                "share_turned_away",
                "Requests since the start that a full queue or a deadline turned away.",
            )?,
        })
    }

    pub(super) fn read(&self) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for (resource, usage) in self.ledger.usage() {
            let resource = &[resource.name()];
            let waiting = i64::try_from(usage.waiting).unwrap_or(i64::MAX);
            self.used
                .with_label_values(resource)
                .set(number(usage.used));
            self.limit
                .with_label_values(resource)
                .set(number(usage.limit));
            self.waiting.with_label_values(resource).set(waiting);
            self.turned_away
                .with_label_values(resource)
                .set(number(usage.turned_away));
        }
    }
}

impl super::Metrics {
    /// Returns the ledger whose budgets the metrics show.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shares.ledger
    }
}
