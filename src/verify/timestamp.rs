//! Signed timestamps (RFC 3161) over the bytes of the signature.

use jiff::Timestamp;
use sigstore_types::TimestampToken;

use super::attempt::Refusal;
use super::timestamp_token::{Token, TokenError};
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
    let mut times = Vec::with_capacity(signed.signed_timestamps.len());
    for token in &signed.signed_timestamps {
        match check_token(token, &signed.signature, demand.trusted_root) {
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

/// Proves the time in a token over `stamped` by one of the authorities of the root.
pub(super) fn check_token(
    token: &TimestampToken,
    stamped: &[u8],
    root: &TrustedRoot,
) -> Result<Timestamp, Unproven> {
    let unknown = |reason| Err(Unproven::Unknown(reason));
    if root.timestamp_authorities.is_empty() {
        return unknown(
            "the signature has a signed timestamp, and the trusted root has no timestamp authority"
                .to_owned(),
        );
    }
    let by_nobody = |error: TokenError| {
        format!("no trusted authority made the signed timestamp for this signature: {error}")
    };
    let token = match Token::parse(token.as_bytes()) {
        Ok(token) => token,
        Err(error) => return unknown(by_nobody(error)),
    };
    let mut closest = TokenError::OtherSigner;
    let mut wrong = None;
    for authority in &root.timestamp_authorities {
        match token.verify(stamped, authority) {
            Ok(time) => return Ok(time),
            Err(
                error @ (TokenError::OtherBytes
                | TokenError::OtherStatement
                | TokenError::OutsideValidity(_)),
            ) => wrong = Some(error),
            Err(TokenError::OtherSigner) => {}
            Err(
                error @ (TokenError::Malformed(_)
                | TokenError::Algorithm(_)
                | TokenError::Signature
                | TokenError::NoCertificate
                | TokenError::SigningCertificate(_)
                | TokenError::Chain(_)),
            ) => closest = error,
        }
    }
    match wrong {
        Some(error) => Err(Unproven::Wrong(format!(
            "the signed timestamp is wrong: {error}"
        ))),
        None => unknown(by_nobody(closest)),
    }
}

fn refusal(reason: String) -> Refusal {
    Refusal {
        check: FailedCheck::Timestamp,
        reason,
    }
}
