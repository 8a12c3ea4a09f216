//! Reloading: a new configuration is put in force whole, or the one in force stays.
//!
//! What is listened on, where content is kept, how upstreams are reached and how much is taken in is fixed for the life
//! of the process. A configuration that changes any of that is refused whole, with a word about the restart it needs:
//! what is in force is always what one state of the files says.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::certificate::{self, Certificate};
use super::files::Files;
use super::material::{Maker, Material};
use crate::admin::Readiness;
use crate::clock;
use crate::config::{Config, Problems};
use crate::in_force::InForce;
use crate::oci::Digest;
use crate::policy::Policies;
use crate::server::{Rules, RulesInForce};
use crate::telemetry::Metrics;

/// How often the files are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);
/// How long files must stand still before they are read: whoever writes them may not be done.
const STILL_FOR: Duration = Duration::from_millis(250);
/// How often that is waited for.
const STILL_WAITS_MAX: usize = 20;
/// Problems that are told to probes.
const PROBLEMS_TOLD_MAX: usize = 50;

/// Puts configurations in force.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) running: Config,
    pub(super) material: Material,
    pub(super) maker: Maker,
    pub(super) in_force: InForce,
    pub(super) rules: RulesInForce,
    pub(super) certificate: Option<Certificate>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    pub(super) tasks: TaskTracker,
    /// True if the files, as they were last read, are in force.
    pub(super) is_current: bool,
}

/// What a reload came to.
#[derive(Debug)]
enum Change {
    /// The new configuration is in force.
    Applied { before: Digest, after: Digest },
    /// The one in force stays, for these reasons.
    Rejected { problems: Vec<String> },
}

impl Reloader {
    /// Puts the files in force whenever they change, until `stop`. SIGHUP makes it look at once, and read them again after
    /// a rejection even if they are unchanged, because the reason may lie elsewhere.
    pub(super) async fn follow(
        mut self,
        mut files: Files,
        mut hangups: Signal,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                hangup = hangups.recv() => {
                    if hangup.is_none() {
                        return;
                    }
                    let changed;
                    (files, changed) = self.look(files).await;
                    if !changed && self.is_current {
                        tracing::info!("The configuration files are unchanged");
                        continue;
                    }
                }
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {
                    let changed;
                    (files, changed) = self.look(files).await;
                    if !changed {
                        continue;
                    }
                    files = self.stand_still(files).await;
                }
            }
            let loading = self.tasks.spawn_blocking(move || {
                let config = files.load();
                (files, config)
            });
            let Ok((loaded_from, loaded)) = loading.await else {
                return;
            };
            files = loaded_from;
            let change = self.apply(loaded, clock::now());
            self.is_current = matches!(change, Change::Applied { .. });
            self.note(&change, clock::now());
        }
    }

    async fn look(&self, mut files: Files) -> (Files, bool) {
        let looking = self.tasks.spawn_blocking(move || {
            let changed = files.changed();
            (files, changed)
        });
        match looking.await {
            Ok(looked) => looked,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    async fn stand_still(&self, mut files: Files) -> Files {
        for _wait in 0..STILL_WAITS_MAX {
            tokio::time::sleep(STILL_FOR).await;
            let changed;
            (files, changed) = self.look(files).await;
            if !changed {
                break;
            }
        }
        files
    }

    fn apply(&mut self, loaded: Result<Config, Problems>, now: Timestamp) -> Change {
        let config = match loaded {
            Ok(config) => config,
            Err(Problems(problems)) => {
                let problems = problems.iter().map(ToString::to_string).collect();
                return Change::Rejected { problems };
            }
        };
        let fixed = config.needs_restart(&self.running);
        if !fixed.is_empty() {
            let problems = fixed.into_iter().map(|section| {
                format!("{section}: a change of this section is put in force by a restart only")
            });
            let problems = problems.collect();
            return Change::Rejected { problems };
        }
        let (material, key) = match self.prepare(&config) {
            Ok(prepared) => prepared,
            Err(error) => {
                let problems = vec![chain(&error)];
                return Change::Rejected { problems };
            }
        };
        let before = self.in_force.policies().hash;
        let configured = material.configured(&config);
        self.rules.swap(rules(&config), || {
            self.in_force.replace(configured);
        });
        if let (Some(certificate), Some(key)) = (&self.certificate, key) {
            certificate.renew(key);
        }
        let earlier = std::mem::replace(&mut self.material, material);
        self.maker.take_over(&self.material, &earlier);
        warn(&config, now);
        self.running = config;
        let after = self.in_force.policies().hash;
        Change::Applied { before, after }
    }

    /// Everything that can fail, before anything is put in force.
    fn prepare(&self, config: &Config) -> Result<(Material, Option<Arc<CertifiedKey>>), Error> {
        let files = config.server.tls.as_ref();
        let key = files.map(certificate::read).transpose()?;
        let material = self.maker.make(config, Some(&self.material))?;
        Ok((material, key))
    }

    /// Tells of a reload. What keeps records of changes is told here, too.
    fn note(&self, change: &Change, now: Timestamp) {
        match change {
            Change::Applied { before, after } => {
                self.metrics.configuration_applied(now);
                self.readiness.configuration_applied(now);
                if before == after {
                    tracing::info!(configuration = %after, "Reloaded the configuration; what decides is the same");
                } else {
                    tracing::info!(configuration = %after, %before, "Reloaded the configuration");
                }
            }
            Change::Rejected { problems } => {
                self.metrics.configuration_rejected();
                let told = problems.iter().take(PROBLEMS_TOLD_MAX).cloned().collect();
                self.readiness.configuration_rejected(now, told);
                tracing::error!(
                    configuration = %self.in_force.policies().hash,
                    "The new configuration is not put in force, the earlier one stays:\n{}",
                    problems.join("\n")
                );
            }
        }
    }
}

/// What the server answers by.
pub(super) fn rules(config: &Config) -> Rules {
    Rules {
        clients: config.clients.clone(),
        routes: config.routes.clone(),
        compat: config.compat,
    }
}

/// Tells what is suspicious about a configuration that is put in force.
pub(super) fn warn(config: &Config, now: Timestamp) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    warn_of_exceptions(&config.policies, now);
}

/// Tells of exceptions, in force or over.
pub(super) fn warn_of_exceptions(policies: &Policies, now: Timestamp) {
    for exception in &policies.exceptions {
        if exception.runs(now) {
            tracing::warn!(until = %exception.until, "There is {exception}");
        } else {
            tracing::warn!(until = %exception.until, "This exception has expired: {exception}");
        }
    }
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
