//! What is around the decisions: configuration, data directory, upstreams, clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::super::chain;
use super::{Check, Outcome};
use crate::clock;
use crate::config::Config;
use crate::upstream::{Error, HttpUpstream, NoObserver};

/// For each upstream.
const UPSTREAM_TIME_MAX: Duration = Duration::from_secs(5);
/// Clocks that agree on the time differ by less: certificates live for ten minutes.
const CLOCK_DIFFERENCE_MAX: SignedDuration = SignedDuration::from_secs(60);

pub(super) fn configuration(config: &Config) -> Vec<Check> {
    let area = "configuration";
    let message = format!(
        "loads; policies: {}, upstreams: {}",
        config.policies.policies.len(),
        config.upstreams.len()
    );
    let mut checks = vec![Check::new(area, None, Outcome::Ok, message)];
    let warnings = config.warnings.iter();
    checks.extend(
        warnings.map(|warning| Check::new(area, None, Outcome::Warning, warning.to_string())),
    );
    checks
}

/// Whether files can be written in the data directory, or where it will be made.
pub(super) fn data_dir(config: &Config) -> Check {
    let path = &config.data_dir;
    let existing = path.ancestors().find(|path| path.exists());
    let existing = existing.unwrap_or_else(|| Path::new("."));
    let name = path.display().to_string();
    match tempfile::tempfile_in(existing) {
        Ok(_removed) if existing == path => {
            Check::new("data_dir", Some(&name), Outcome::Ok, "can be written")
        }
        Ok(_removed) => Check::new(
            "data_dir",
            Some(&name),
            Outcome::Ok,
            format!("does not exist yet, can be made in {}", existing.display()),
        ),
        Err(error) => Check::new(
            "data_dir",
            Some(&name),
            Outcome::Problem,
            format!(
                "cannot be written: {error}; make it writable for the user that the proxy runs as"
            ),
        ),
    }
}

/// Whether each upstream takes us, and whether their clocks agree with ours.
pub(super) async fn upstreams(config: &Config) -> Vec<Check> {
    let area = "upstream";
    let upstream = HttpUpstream::new(
        crate::app::upstreams(config),
        Arc::clone(&config.limits),
        Arc::new(NoObserver),
    );
    let upstream = match upstream {
        Ok(upstream) => upstream,
        Err(error) => return vec![Check::new(area, None, Outcome::Problem, chain(&error))],
    };
    let deadline = Instant::now() + UPSTREAM_TIME_MAX;
    let probes = config.upstreams.keys().map(|name| {
        let upstream = &upstream;
        async move { (name, upstream.probe(name, deadline).await, clock::now()) }
    });
    let mut differences = Vec::new();
    let mut checks = Vec::new();
    for (name, probed, now) in join_all(probes).await {
        checks.push(match probed {
            Ok(probe) => {
                differences.extend(probe.date.map(|date| (name, now.duration_since(date))));
                Check::new(
                    area,
                    Some(name),
                    Outcome::Ok,
                    "answers, and takes us as configured",
                )
            }
            Err(error) => refused(name, &error),
        });
    }
    checks.push(judge_clock(&differences, clock::now()));
    checks
}

fn refused(name: &str, error: &Error) -> Check {
    let (outcome, hint) = match error {
        Error::Denied { .. } => (
            Outcome::Problem,
            format!("look at `upstreams.{name}.credentials`"),
        ),
        Error::Throttled { .. } | Error::Congested { .. } => {
            (Outcome::Unknown, "try again later".to_owned())
        }
        Error::NotFound { .. } | Error::Unsupported { .. } | Error::Unexpected { .. } => (
            Outcome::Problem,
            format!("this is no registry; look at `upstreams.{name}.endpoint`"),
        ),
        Error::Failed { .. }
        | Error::TooLarge { .. }
        | Error::WrongDigest { .. }
        | Error::OtherContent { .. }
        | Error::Truncated { .. }
        | Error::NotConfigured { .. } => (
            Outcome::Problem,
            format!("look at the network, HTTPS_PROXY, and `upstreams.{name}`"),
        ),
    };
    Check::new(
        "upstream",
        Some(name),
        outcome,
        format!("{}; {hint}", chain(error)),
    )
}

/// Judged by the upstream that agrees with us best: one whose clock is wrong says nothing about ours.
fn judge_clock(differences: &[(&String, SignedDuration)], now: Timestamp) -> Check {
    let closest = differences
        .iter()
        .min_by_key(|(_, difference)| difference.abs());
    match closest {
        None => Check::new("clock", None, Outcome::Unknown, "no upstream told its time"),
        Some((_, difference)) if difference.abs() <= CLOCK_DIFFERENCE_MAX => {
            let message = format!("{now:.0}, as upstreams have it");
            Check::new("clock", None, Outcome::Ok, message)
        }
        Some((name, difference)) => {
            let direction = if difference.is_positive() {
                "ahead of"
            } else {
                "behind"
            };
            let seconds = difference.abs().as_secs();
            let message = format!(
                "{seconds} s {direction} that of {name}; certificates and timestamps are judged by it, so synchronise it (NTP)"
            );
            Check::new("clock", None, Outcome::Problem, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_may_differ_by_a_minute() {
        let (one, other) = ("one".to_owned(), "other".to_owned());
        let judge = |seconds: &[i64]| {
            let names = [&one, &other];
            let differences: Vec<_> = names
                .into_iter()
                .zip(seconds.iter().map(|it| SignedDuration::from_secs(*it)))
                .collect();
            judge_clock(&differences, Timestamp::UNIX_EPOCH)
        };
        assert_eq!(judge(&[]).outcome, Outcome::Unknown);
        assert_eq!(judge(&[60]).outcome, Outcome::Ok);
        assert_eq!(judge(&[-3600, 2]).outcome, Outcome::Ok);
        let check = judge(&[61, 3600]);
        assert_eq!(check.outcome, Outcome::Problem);
        assert!(
            check.message.contains("61 s ahead of that of one"),
            "{}",
            check.message
        );
        assert!(judge(&[-61]).message.contains("behind"));
    }
}
