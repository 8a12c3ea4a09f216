//! How trusted roots are: for readiness, metrics, the API and `doctor`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::metadata::Summary;
use crate::oci::Digest;
use crate::verify::{TrustedAuthority, TrustedRole};

/// How one trusted root is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    /// SHA-256 of the `trusted_root.json` known last, in force or not; absent when none was ever had.
    pub digest: Option<Digest>,
    /// Whether it is in force.
    pub usable: bool,
    /// Why it is not.
    pub reason: Option<String>,
    /// When the repository confirmed it last; absent for files and for the embedded root.
    pub refreshed: Option<Timestamp>,
    /// Seconds since then, or since the embedded root was first used here; absent for files.
    pub age_seconds: Option<u64>,
    /// When it stops being in force unless it is refreshed; absent for files.
    pub stale_at: Option<Timestamp>,
    /// Versions and expiry of the metadata; absent for files and for the embedded root.
    pub metadata: Option<Summary>,
    /// By how many seconds the clock is behind what the repository has proved.
    pub clock_behind_seconds: u64,
    /// Why the last attempt to refresh it failed; absent when it did not.
    pub failure: Option<Failure>,
    /// What an operator should look at, one sentence each.
    pub warnings: Vec<String>,
    /// Whom it believes, by role and operator.
    pub authorities: Vec<TrustedAuthority>,
}

/// A refresh that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// When.
    pub time: Timestamp,
    /// Why, with all causes.
    pub reason: String,
}

/// Clocks of machines that agree on the time differ by less.
const CLOCK_TOLERANCE_SECONDS: u64 = 60;
/// Authorities that end sooner are worth a word.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What an operator should look at.
pub(super) fn warnings(
    status: &RootStatus,
    is_file: bool,
    max_stale: Duration,
    now: Timestamp,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let failed = status.failure.as_ref().map(|failure| &failure.reason);
    if let (true, Some(reason)) = (is_file, failed) {
        warnings.push(format!(
            "the file cannot be used, what was read before stays in force: {reason}"
        ));
    }
    // Long before it stops being in force.
    if let (Some(age), Some(stale_at)) = (status.age_seconds, status.stale_at)
        && age > max_stale.as_secs() / 3
    {
        let days = age / (24 * 60 * 60);
        let failed = failed.map_or_else(String::new, |reason| format!(": {reason}"));
        warnings.push(format!(
            "not refreshed for {days} days, stops admitting at {stale_at}{failed}"
        ));
    }
    if let Some(metadata) = &status.metadata
        && metadata.expires < now
    {
        let expires = metadata.expires;
        warnings.push(format!("the TUF metadata expired at {expires}"));
    }
    if status.clock_behind_seconds > CLOCK_TOLERANCE_SECONDS {
        let seconds = status.clock_behind_seconds;
        warnings.push(format!(
            "the clock is {seconds} seconds behind the time at which the root was confirmed"
        ));
    }
    warnings.extend(endings(&status.authorities, now));
    warnings
}

/// The roles for which nobody is left soon.
fn endings(authorities: &[TrustedAuthority], now: Timestamp) -> Vec<String> {
    let soon = now.saturating_add(ENDS_SOON).unwrap_or(now);
    let mut ends: BTreeMap<TrustedRole, Option<Timestamp>> = BTreeMap::new();
    for authority in authorities {
        let end = ends.entry(authority.role).or_insert(Some(Timestamp::MIN));
        *end = match (*end, authority.valid_until) {
            (Some(end), Some(until)) => Some(end.max(until)),
            (None, _) | (_, None) => None,
        };
    }
    let ending = |(role, end): (TrustedRole, Option<Timestamp>)| {
        let end = end.filter(|end| *end < soon)?;
        let role = match role {
            TrustedRole::CertificateAuthority => "certificate authority",
            TrustedRole::TransparencyLog => "transparency log",
            TrustedRole::CertificateTransparencyLog => "certificate transparency log",
            TrustedRole::TimestampAuthority => "timestamp authority",
        };
        Some(format!("no {role} is believed after {end}"))
    };
    ends.into_iter().filter_map(ending).collect()
}

/// An error with all its causes.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
