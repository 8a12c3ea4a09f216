//! Signed timestamps (RFC 3161) over the bytes of the signature.

use jiff::Timestamp;
use sigstore_types::{SignatureBytes, TimestampToken};

use super::attempt::Refusal;
use super::{FailedCheck, TrustedRoot};
use crate::signature::Signed;

/// The times of all signed timestamps; any wrong one refuses the signature, demanded or not.
pub(super) fn check(
    signed: &Signed,
    root: &TrustedRoot,
    now: Timestamp,
) -> Result<Vec<Timestamp>, Refusal> {
    let signature = SignatureBytes::from_bytes(&signed.signature);
    let times = signed
        .signed_timestamps
        .iter()
        .map(|token| check_token(token, &signature, root))
        .collect::<Result<Vec<_>, _>>()?;
    refuse_future(&times, now)?;
    Ok(times)
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

fn check_token(
    token: &TimestampToken,
    signature: &SignatureBytes,
    root: &TrustedRoot,
) -> Result<Timestamp, Refusal> {
    let mut last = None;
    for authority in &root.timestamp_authorities {
        match sigstore_tsa::verify_timestamp_for_authority(token, signature, authority) {
            Ok(time) => return Ok(time),
            Err(error) => last = Some(error),
        }
    }
    Err(refusal(match last {
        Some(error) => {
            format!("no trusted authority made the signed timestamp for this signature: {error}")
        }
        None => {
            "the signature has a signed timestamp, and the trusted root has no timestamp authority"
                .to_owned()
        }
    }))
}

fn refusal(reason: String) -> Refusal {
    Refusal {
        check: FailedCheck::Timestamp,
        reason,
    }
}
