//! The candidates that are read for one decision.
//!
//! Reading a candidate costs processor time before anybody knows whose it is, and whoever may push can list one small
//! blob in thousands of layers. So both the number of candidates and their bytes have a limit.

use crate::limits::Limits;
use crate::signature::Candidate;

/// The candidates that are read.
#[derive(Debug)]
pub(in crate::admission::evaluate) struct Reading {
    /// Their positions, in the order in which they are tried.
    pub(in crate::admission::evaluate) positions: Vec<usize>,
    /// The limit that left out others, in words. What these are is not known.
    pub(in crate::admission::evaluate) limit_exceeded: Option<String>,
}

/// The bytes of each candidate that do not count. So large candidates can hide no usual signature, and what discovery was
/// allowed to fetch may be read once, annotations included.
const SMALL_BYTES: u64 = 16 * 1024;

fn beyond_small(candidate: &Candidate) -> u64 {
    candidate.bytes.saturating_sub(SMALL_BYTES)
}

impl Reading {
    /// Returns the first of the candidates up to the limits.
    pub(in crate::admission::evaluate) fn within(
        candidates: &[Candidate],
        limits: &Limits,
    ) -> Self {
        let count_max = limits.candidates_max;
        let mut reading = Self {
            positions: Vec::with_capacity(candidates.len().min(count_max)),
            limit_exceeded: (candidates.len() > count_max).then(|| {
                format!(
                    "{} signatures and attestations were found, more than {count_max} (`limits.candidates_max`)",
                    candidates.len()
                )
            }),
        };
        let mut bytes_left = limits.discovery_bytes_max;
        for (position, candidate) in candidates.iter().enumerate().take(count_max) {
            let Some(left) = bytes_left.checked_sub(beyond_small(candidate)) else {
                reading.limit_exceeded.get_or_insert_with(|| {
                    format!(
                        "the signatures and attestations found are larger together than {} bytes \
                         (`limits.discovery_bytes_max`)",
                        limits.discovery_bytes_max
                    )
                });
                continue;
            };
            bytes_left = left;
            reading.positions.push(position);
        }
        reading
    }
}
