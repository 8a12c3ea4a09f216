//! Signed timestamps (RFC 3161) over the bytes of the signature.

use jiff::Timestamp;
use sigstore_types::{SignatureBytes, TimestampToken};

use super::attempt::Refusal;
use super::{Demand, FailedCheck, Signer, TrustedRoot};
use crate::signature::Signed;

/// The times of all signed timestamps; any wrong one refuses the signature, demanded or not.
///
/// Where none is demanded of a key, one by an authority that the trusted root does not have proves nothing and is left
/// out.
pub(super) fn check(
    signed: &Signed,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Result<Vec<Timestamp>, Refusal> {
    let only_known = demand.signed_timestamp || matches!(demand.signer, Signer::Certificate);
    let signature = SignatureBytes::from_bytes(&signed.signature);
    let mut times = Vec::with_capacity(signed.signed_timestamps.len());
    for token in &signed.signed_timestamps {
        match check_token(token, &signature, demand.trusted_root) {
            Ok(time) => times.push(time),
            Err(Unproven::Unknown(_)) if !only_known => {}
            Err(Unproven::Unknown(reason) | Unproven::Wrong(reason)) => {
                return Err(refusal(reason));
            }
        }
    }
    refuse_future(&times, now)?;
    Ok(times)
}

/// Why a token proves no time.
pub(super) enum Unproven {
    /// No authority of the trusted root is known to have made it.
    Unknown(String),
    /// It is for another signature, or from a time when its authority was not trusted.
    Wrong(String),
}

/// No time of signing lies in the future.
pub(super) fn refuse_future(times: &[Timestamp], now: Timestamp) -> Result<(), Refusal> {
    match times.iter().find(|time| **time > now) {
        Some(time) => Err(refusal(format!(
            "the signed timestamp is of {time}, which is in the future"
        ))),
        None => Ok(()),
    }
}

pub(super) fn check_token(
    token: &TimestampToken,
    signature: &SignatureBytes,
    root: &TrustedRoot,
) -> Result<Timestamp, Unproven> {
    let mut wrong = None;
    let mut unknown = None;
    for authority in &root.timestamp_authorities {
        match sigstore_tsa::verify_timestamp_for_authority(token, signature, authority) {
            Ok(time) => return Ok(time),
            Err(
                error @ (sigstore_tsa::Error::HashMismatch { .. }
                | sigstore_tsa::Error::TimestampOutsideValidity { .. }),
            ) => wrong = Some(error),
            Err(error) => unknown = Some(error),
        }
    }
    Err(match (wrong, unknown) {
        (Some(error), _) => Unproven::Wrong(format!("the signed timestamp is wrong: {error}")),
        (None, Some(error)) => Unproven::Unknown(format!(
            "no trusted authority made the signed timestamp for this signature: {error}"
        )),
        (None, None) => Unproven::Unknown(
            "the signature has a signed timestamp, and the trusted root has no timestamp authority"
                .to_owned(),
        ),
    })
}

fn refusal(reason: String) -> Refusal {
    Refusal {
        check: FailedCheck::Timestamp,
        reason,
    }
}
