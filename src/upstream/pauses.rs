//! When an upstream wants to be left alone: in one repository, or altogether.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// The pauses of one purpose at one upstream.
///
/// A request for "later" is about the repository that was asked for: `ghcr.io` limits some routes, Docker Hub accounts and
/// addresses. A second repository in which it is heard shows that the limit is not of one repository, so all of them pause.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    whole: Option<Pause>,
    repositories: HashMap<Box<str>, Pause>,
}

/// The time in which an upstream wants no requests, and when one may pass to see whether that still holds.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    probe_at: Instant,
}

/// What the pauses say to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may be sent.
    Open,
    /// It may be sent, to see whether the pause still holds.
    Probe,
    /// It has to wait until then.
    Closed(Instant),
}

/// No upstream stops us for longer, whatever it says: an absurd `Retry-After` must not outlive the incident.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// One request passes a pause in this time. Registries ask for minutes and are well again after seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Repositories that pause by themselves at most. The whole upstream pauses long before.
const REPOSITORIES_MAX: usize = 64;

impl Pauses {
    /// Notes that the upstream wants no requests for `duration`, as it said about `repository`.
    pub(super) fn begin(&mut self, repository: &str, duration: Duration) {
        let now = Instant::now();
        let pause = Pause {
            until: now + duration.min(PAUSE_MAX),
            probe_at: now + PROBE_INTERVAL,
        };
        self.repositories.retain(|_, pause| pause.until > now);
        if self.repositories.keys().any(|other| **other != *repository) {
            self.whole = Some(pause.after(self.whole));
        }
        let earlier = self.repositories.get(repository).copied();
        if earlier.is_some() || self.repositories.len() < REPOSITORIES_MAX {
            self.repositories
                .insert(repository.into(), pause.after(earlier));
        }
    }

    /// Ends the pauses that a request to `repository` passed, because it was answered.
    pub(super) fn lift(&mut self, repository: &str) {
        self.whole = None;
        self.repositories.remove(repository);
    }

    /// Returns what the pauses say to a request to `repository` now. One request in [`PROBE_INTERVAL`] passes.
    pub(super) fn gate(&mut self, repository: &str) -> Gate {
        let now = Instant::now();
        let own = self.repositories.get_mut(repository);
        let mut in_force: Vec<_> = self.whole.iter_mut().chain(own).collect();
        in_force.retain(|pause| pause.until > now);
        let Some(until) = in_force.iter().map(|pause| pause.until).max() else {
            return Gate::Open;
        };
        if in_force.iter().any(|pause| pause.probe_at > now) {
            return Gate::Closed(until);
        }
        for pause in in_force {
            pause.probe_at = now + PROBE_INTERVAL;
        }
        Gate::Probe
    }

    /// Tells if no pause concerns `repository` now.
    pub(super) fn allow(&self, repository: &str) -> bool {
        let own = self.repositories.get(repository);
        let now = Instant::now();
        !self.whole.iter().chain(own).any(|pause| pause.until > now)
    }
}

impl Pause {
    /// The same, not shorter than an earlier one.
    fn after(self, earlier: Option<Self>) -> Self {
        Self {
            until: earlier.map_or(self.until, |earlier| earlier.until.max(self.until)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn pause_is_about_its_repository_until_a_second_one_pauses() {
        let mut pauses = Pauses::default();
        pauses.begin("org/app", 900 * SECOND);
        assert!(matches!(pauses.gate("org/app"), Gate::Closed(_)));
        assert_eq!(pauses.gate("org/web"), Gate::Open);
        pauses.begin("org/app", 900 * SECOND);
        assert_eq!(pauses.gate("org/web"), Gate::Open);
        pauses.begin("org/db", 40 * SECOND);
        for repository in ["org/app", "org/web", "org/db"] {
            assert!(matches!(pauses.gate(repository), Gate::Closed(_)));
            assert!(!pauses.allow(repository));
        }
        tokio::time::advance(41 * SECOND).await;
        assert_eq!(pauses.gate("org/web"), Gate::Open);
        assert!(pauses.allow("org/db") && !pauses.allow("org/app"));
    }

    #[tokio::test(start_paused = true)]
    async fn pause_of_a_repository_that_has_ended_is_no_first_one() {
        let mut pauses = Pauses::default();
        pauses.begin("org/app", 5 * SECOND);
        tokio::time::advance(6 * SECOND).await;
        pauses.begin("org/db", 5 * SECOND);
        assert_eq!(pauses.gate("org/app"), Gate::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_to_a_probe_lifts_the_whole_pause_and_its_own() {
        let mut pauses = Pauses::default();
        pauses.begin("org/app", 600 * SECOND);
        pauses.begin("org/db", 600 * SECOND);
        tokio::time::advance(31 * SECOND).await;
        assert_eq!(pauses.gate("org/web"), Gate::Probe);
        assert!(matches!(pauses.gate("org/web"), Gate::Closed(_)));
        // The probe of the whole has passed, so no other request does.
        assert!(matches!(pauses.gate("org/app"), Gate::Closed(_)));
        pauses.lift("org/web");
        assert_eq!(pauses.gate("org/web"), Gate::Open);
        assert_eq!(pauses.gate("org/app"), Gate::Probe);
        pauses.lift("org/app");
        assert_eq!(pauses.gate("org/app"), Gate::Open);
        assert_eq!(pauses.gate("org/db"), Gate::Probe);
    }

    #[tokio::test(start_paused = true)]
    async fn shorter_pause_does_not_end_a_longer_one_and_none_is_absurd() {
        let mut pauses = Pauses::default();
        pauses.begin("org/app", 20 * SECOND);
        pauses.begin("org/app", SECOND);
        tokio::time::advance(10 * SECOND).await;
        assert!(matches!(pauses.gate("org/app"), Gate::Closed(_)));
        pauses.begin("org/app", Duration::MAX);
        tokio::time::advance(15 * 60 * SECOND).await;
        assert_eq!(pauses.gate("org/app"), Gate::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn many_paused_repositories_are_not_all_remembered() {
        let mut pauses = Pauses::default();
        for number in 0..1000 {
            pauses.begin(&format!("org/app{number}"), 60 * SECOND);
        }
        assert_eq!(pauses.repositories.len(), REPOSITORIES_MAX);
        assert!(!pauses.allow("org/app999"));
    }
}
