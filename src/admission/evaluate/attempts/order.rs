//! The order in which candidates are tried.

use std::ops::ControlFlow;

use super::proven::claims_another;
use crate::policy::Authority;
use crate::signature::Candidate;

/// Calls `try_one` with the positions of every candidate in `tried` and every authority, until it breaks.
///
/// Candidates that claim another signer than the authority come last, so that they do not use up the limit on attempts.
/// A claim is read once, and changes nothing but the order.
pub(in crate::admission::evaluate) fn in_order_of_claims(
    candidates: &[Candidate],
    tried: &[usize],
    authorities: &[&Authority],
    mut try_one: impl FnMut(usize, usize) -> ControlFlow<()>,
) {
    let mut by_others = Vec::new();
    for &index in tried {
        let Some(candidate) = candidates.get(index) else {
            continue;
        };
        for (position, authority) in authorities.iter().enumerate() {
            if claims_another(candidate, authority) {
                by_others.push((index, position));
            } else if try_one(index, position).is_break() {
                return;
            }
        }
    }
    for (index, position) in by_others {
        if try_one(index, position).is_break() {
            return;
        }
    }
}
