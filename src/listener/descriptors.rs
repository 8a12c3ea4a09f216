//! File descriptors: the limit of the process, and how it is divided.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::Limits;

/// Descriptors of the process itself: standard streams, listeners, the event queue, the database, log files, watchers.
const OWN: usize = 64;
/// Descriptors of the admin listener's connections.
const ADMIN_MAX: usize = 256;
/// Descriptors of stored content that is being sent. The store keeps no more open while their clients are slow.
const CONTENT: usize = 160;
/// Descriptors of connections to upstreams and of files that arrive.
const UPSTREAM_MAX: usize = 4096;
/// The limit that is assumed where the system has none.
const UNLIMITED: u64 = 1 << 20;

/// The limit of descriptors of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// The limit in force.
    pub max: u64,
    /// The limit that the process was started with.
    pub max_at_start: u64,
}

/// The connections that fit into a limit of descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Connections of the registry listener.
    pub connections_max: usize,
    /// Connections of the admin listener.
    pub admin_connections_max: usize,
}

impl Descriptors {
    /// Raises the soft limit of the process to its hard limit. A limit that cannot be raised stays as it is.
    #[must_use]
    pub fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        if current != maximum
            && let Err(error) = setrlimit(Resource::Nofile, raised)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not raise the limit of open files"
            );
        }
        Self {
            max: getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED),
            max_at_start: current.unwrap_or(UNLIMITED),
        }
    }

    /// Divides the limit. The registry listener gets `limits.connections_max`, or what is left beside all else.
    #[must_use]
    pub fn fit(&self, limits: &Limits) -> Fit {
        let max = usize::try_from(self.max).unwrap_or(usize::MAX);
        let admin_connections_max = ADMIN_MAX.min(max / 16).max(1);
        let reserve =
            OWN + admin_connections_max + CONTENT.min(max / 8) + UPSTREAM_MAX.min(max / 4);
        let room = max.saturating_sub(reserve).max(max / 4).max(1);
        Fit {
            connections_max: limits.connections_max.min(room),
            admin_connections_max,
        }
    }

    /// Divides the limit and logs how.
    #[must_use]
    pub fn divide(&self, limits: &Limits) -> Fit {
        let fit = self.fit(limits);
        let is_default = limits.connections_max == Limits::default().connections_max;
        if fit.connections_max < limits.connections_max && !is_default {
            tracing::warn!(
                connections_max = fit.connections_max,
                configured = limits.connections_max,
                "limits.connections_max is lowered, because the limit of open files leaves no room for more"
            );
        }
        tracing::info!(
            limit = self.max,
            limit_at_start = self.max_at_start,
            connections_max = fit.connections_max,
            admin_connections_max = fit.admin_connections_max,
            "Open files"
        );
        fit
    }
}

/// Returns the number of descriptors that are open, or 0 where the system does not tell.
#[must_use]
pub fn open() -> u64 {
    let listed = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    // One of them is the list itself.
    listed.map_or(0, |count| (count as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(max: u64, connections_max: usize) -> Fit {
        let descriptors = Descriptors {
            max,
            max_at_start: max,
        };
        descriptors.fit(&Limits {
            connections_max,
            ..Limits::default()
        })
    }

    #[test]
    fn default_fits_into_a_large_limit() {
        assert_eq!(fit(1_048_576, 20_000).connections_max, 20_000);
        assert_eq!(fit(1_048_576, 20_000).admin_connections_max, 256);
    }

    #[test]
    fn connections_leave_room_for_all_else() {
        assert_eq!(fit(1024, 20_000).connections_max, 512);
        assert_eq!(fit(4096, 20_000).connections_max, 2592);
        assert_eq!(fit(20_000, 20_000).connections_max, 15_424);
        assert_eq!(fit(4096, 1000).connections_max, 1000);
    }

    #[test]
    fn small_limit_leaves_some_connections() {
        for max in [0, 16, 24, 64, 128, 256] {
            let fit = fit(max, 20_000);
            assert!(fit.connections_max >= 1 && fit.admin_connections_max >= 1);
            let sum = (fit.connections_max + fit.admin_connections_max) as u64;
            assert!(max < 16 || sum < max, "{max}: {fit:?}");
        }
    }

    #[test]
    fn soft_limit_is_raised_to_the_hard_limit() {
        let raised = Descriptors::raise();
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        assert_eq!(raised.max, maximum.unwrap_or(UNLIMITED));
        assert!(open() >= 3);
    }
}
