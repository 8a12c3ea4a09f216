//! The processor time that the conditions of one decision may take.
//!
//! A signer chooses the statement, so the signer chooses how much work a condition over it is. Each evaluator therefore
//! pays for its work before the work is done, from one tank for the whole decision. Prices are nanoseconds on a usual
//! core, rounded up. The same statement costs the same on every machine, so a decision does not depend on the load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::ConditionError;
use crate::limits::Limits;

/// The work that is left. Clones share it.
#[derive(Debug, Clone)]
pub struct Fuel {
    /// Nanoseconds. Nothing is left once a price could not be paid.
    left: Arc<AtomicU64>,
    full: Duration,
}

/// The tank does not hold the price of the next piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it takes more than {} ms of processor time (`limits.condition_cpu_time_max`)", full.as_millis())]
pub struct OutOfFuel {
    full: Duration,
}

/// Prices of usual work, in nanoseconds.
pub(crate) mod price {
    /// One part of an expression: a field, an operator, a call.
    pub(crate) const NODE: u64 = 250;
    /// An element that a search through a list looks at.
    pub(crate) const ELEMENT: u64 = 15;
    /// A value that is copied or converted into another form.
    pub(crate) const VALUE: u64 = 100;

    /// Text that is compared.
    pub(crate) fn compared(bytes: usize) -> u64 {
        words(bytes) / 8
    }

    /// Text that is searched, read, hashed or copied.
    pub(crate) fn read(bytes: usize) -> u64 {
        words(bytes) * 2
    }

    /// Text that is searched for a pattern of the policy.
    pub(crate) fn matched(bytes: usize) -> u64 {
        words(bytes) * 10
    }

    /// JSON that is parsed.
    pub(crate) fn parsed(bytes: usize) -> u64 {
        words(bytes) * 4
    }

    /// Bytes as a factor of a price.
    pub(crate) fn words(bytes: usize) -> u64 {
        u64::try_from(bytes).unwrap_or(u64::MAX / 1024)
    }
}

impl Fuel {
    /// A full tank.
    #[must_use]
    pub fn new(full: Duration) -> Self {
        let nanoseconds = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
        Self {
            left: Arc::new(AtomicU64::new(nanoseconds)),
            full,
        }
    }

    /// A full tank for one decision.
    #[must_use]
    pub fn within(limits: &Limits) -> Self {
        Self::new(limits.condition_cpu_time_max)
    }

    /// Pays for work. A price that is not there empties the tank, so everything after it fails as well.
    ///
    /// # Errors
    /// When less is left than `nanoseconds`.
    pub fn pay(&self, nanoseconds: u64) -> Result<(), OutOfFuel> {
        let left = self.left.load(Ordering::Relaxed);
        match left.checked_sub(nanoseconds) {
            Some(rest) if rest > 0 => {
                self.left.store(rest, Ordering::Relaxed);
                Ok(())
            }
            Some(_) | None => {
                self.left.store(0, Ordering::Relaxed);
                Err(OutOfFuel { full: self.full })
            }
        }
    }

    /// Pays for copying JSON, or for converting it into another form.
    ///
    /// # Errors
    /// When less is left than that costs.
    pub(crate) fn pay_for_copy(&self, value: &Value) -> Result<(), OutOfFuel> {
        self.pay(price::VALUE)?;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
            Value::String(text) => self.pay(price::compared(text.len())),
            Value::Array(items) => items.iter().try_for_each(|item| self.pay_for_copy(item)),
            Value::Object(entries) => entries.iter().try_for_each(|(key, value)| {
                self.pay(price::VALUE + price::read(key.len()))?;
                self.pay_for_copy(value)
            }),
        }
    }

    /// Succeeds while something is left. An evaluator may have swallowed the error of [`Fuel::pay`]: `… || true` is
    /// true.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn check(&self) -> Result<(), OutOfFuel> {
        self.pay(0)
    }

    /// Empties the tank, for an evaluator that stopped by itself.
    #[must_use]
    pub(crate) fn exhaust(&self) -> OutOfFuel {
        self.left.store(0, Ordering::Relaxed);
        OutOfFuel { full: self.full }
    }

    /// The time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        Duration::from_nanos(self.left.load(Ordering::Relaxed))
    }

    /// The time that was paid for.
    #[must_use]
    pub fn used(&self) -> Duration {
        self.full.saturating_sub(self.left())
    }
}

impl Default for Fuel {
    fn default() -> Self {
        Self::within(&Limits::default())
    }
}

impl From<OutOfFuel> for ConditionError {
    fn from(error: OutOfFuel) -> Self {
        Self::OutOfFuel(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tank_stays_empty_after_a_price_it_does_not_hold() {
        let fuel = Fuel::new(Duration::from_nanos(100));
        fuel.pay(60).unwrap();
        assert_eq!(fuel.used(), Duration::from_nanos(60));
        assert!(fuel.pay(50).is_err());
        let error = fuel.pay(1).unwrap_err();
        assert!(error.to_string().contains("condition_cpu_time_max"));
        assert!(fuel.check().is_err());
        assert_eq!(fuel.left(), Duration::ZERO);
    }
}
