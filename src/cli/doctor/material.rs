//! What decisions are made with: trusted roots and keys, each asked for once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::chain;
use super::{Check, Outcome};
use crate::clock;
use crate::config::Config;
use crate::in_force::InForce;
use crate::keys::{KeyStatus, NoObserver};
use crate::policy::Policies;
use crate::trust::RootStatus;

/// For the roots and keys together.
const TIME_MAX: Duration = Duration::from_secs(15);

/// What was found, and the policies with it.
pub(super) struct Examined {
    pub(super) checks: Vec<Check>,
    pub(super) policies: Arc<Policies>,
}

pub(super) async fn examine(
    config: &Config,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Examined {
    // What the proxy has kept counts here too; where nothing is kept, nothing is left behind.
    let directory = Some(config.data_dir.as_path()).filter(|path| path.is_dir());
    let configured = crate::app::configured(config, directory, Arc::new(NoObserver), tasks, stop);
    let configured = match configured {
        Ok(configured) => configured,
        Err(error) => {
            let check = Check::new("configuration", None, Outcome::Problem, chain(&error));
            return Examined {
                checks: vec![check],
                policies: Arc::clone(&config.policies),
            };
        }
    };
    let policies = &configured.policies;
    let roots = async {
        let Some(roots) = &configured.roots else {
            return Vec::new();
        };
        let now = clock::now();
        let names: Vec<_> = roots
            .status(now)
            .into_iter()
            .map(|root| root.name)
            .collect();
        let refreshes = names
            .iter()
            .map(|name| timeout(TIME_MAX, roots.refresh(name, now)));
        let in_time: Vec<_> = join_all(refreshes)
            .await
            .iter()
            .map(Result::is_ok)
            .collect();
        let status = roots.status(clock::now()).into_iter().zip(in_time);
        status
            .map(|(root, in_time)| {
                let is_needed = policies.need_root(&root.name);
                judge_root(&root, in_time, is_needed, clock::now())
            })
            .collect()
    };
    let keys = async {
        let Some(keys) = &configured.keys else {
            return Vec::new();
        };
        let references: Vec<_> = keys.status().into_iter().map(|key| key.reference).collect();
        keys.settled(&references, Instant::now() + TIME_MAX).await;
        keys.status().iter().map(judge_key).collect::<Vec<_>>()
    };
    let (mut checks, keys): (Vec<Check>, Vec<Check>) = tokio::join!(roots, keys);
    checks.extend(keys);
    Examined {
        checks,
        policies: InForce::new(configured).snapshot(),
    }
}

fn judge_root(root: &RootStatus, in_time: bool, is_needed: bool, now: Timestamp) -> Check {
    let mut words = vec![root.source.clone()];
    words.extend(root.digest.map(|digest| digest.to_string()));
    if let Some(refreshed) = root.refreshed {
        let hours = now.duration_since(refreshed).as_hours().max(0);
        words.push(format!("confirmed {hours} h ago"));
    }
    if let Some(metadata) = &root.metadata {
        words.push(format!("metadata expire {:.0}", metadata.expires));
    }
    if let Some(stale_at) = root.stale_at {
        words.push(format!("counts until {stale_at:.0}"));
    }
    let mut outcome = Outcome::Ok;
    let failed = match &root.failure {
        Some(failure) => Some(failure.reason.as_str()),
        None => (!in_time).then_some("no answer in time"),
    };
    if let Some(failed) = failed {
        outcome = Outcome::Warning;
        words.push(format!("could not be refreshed now ({failed})"));
    }
    if !root.warnings.is_empty() {
        outcome = Outcome::Warning;
        words.extend(root.warnings.iter().cloned());
    }
    if !root.usable {
        outcome = Outcome::Problem;
        let reason = root.reason.as_deref().unwrap_or("it cannot be used");
        words.push(format!(
            "not in force, nothing that needs it can be decided: {reason}; look at the network, HTTPS_PROXY and `trusted_roots.{}`",
            root.name
        ));
    }
    if !is_needed {
        outcome = Outcome::Ok;
        words.push("no authority of a policy needs it".to_owned());
    }
    Check::new("trusted_root", Some(&root.name), outcome, words.join("; "))
}

fn judge_key(key: &KeyStatus) -> Check {
    let name = Some(key.reference.as_str());
    let versions: Vec<_> = key
        .versions
        .iter()
        .map(|(version, fingerprint)| match version {
            Some(version) => format!("version {version} is {fingerprint}"),
            None => fingerprint.to_string(),
        })
        .collect();
    if !versions.is_empty() {
        return Check::new("key", name, Outcome::Ok, versions.join("; "));
    }
    let why = match &key.failure {
        Some((_, reason)) => reason.as_str(),
        None => "no answer in time",
    };
    let scheme = key.reference.scheme().as_str();
    let message = format!(
        "{why}; look at the credentials of the process, at the permission to read public keys, and at `key_providers.{scheme}.endpoint`"
    );
    Check::new("key", name, Outcome::Problem, message)
}
