//! All budgets of the process, for the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Bounds, Inner, Shares};

/// The list of open budgets. Cheap to clone; clones share the list.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    open: Arc<Mutex<Vec<Open>>>,
}

type Open = (Resource, Weak<Inner>);

/// A resource that has a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Requests at upstreams. Each upstream has several budgets; metrics add them up.
    UpstreamRequests,
    /// Requests of clients that are being answered, those from memory aside.
    ClientRequests,
    /// Threads for work whose size a peer chooses.
    ComputeThreads,
    /// Threads for password hashes.
    PasswordHashes,
    /// Bytes of what is read and held while requests are worked on.
    ReadingBytes,
}

/// The use of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Units in use.
    pub used: u64,
    /// Units there are.
    pub limit: u64,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that got no share since the start.
    pub turned_away: u64,
}

impl Ledger {
    /// Opens a budget within `bounds`.
    #[must_use]
    pub fn open(&self, resource: Resource, bounds: Bounds) -> Shares {
        let shares = Shares::new(bounds);
        self.list(resource, &shares);
        shares
    }

    /// Takes a budget that the whole process shares into the list.
    pub fn list(&self, resource: Resource, shares: &Shares) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, inner)| inner.strong_count() > 0);
        open.push((resource, Arc::downgrade(&shares.inner)));
    }

    /// Returns the use of each resource, added up over its budgets.
    #[must_use]
    pub fn usage(&self) -> BTreeMap<Resource, Usage> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut usage = BTreeMap::<Resource, Usage>::new();
        for (resource, inner) in open.iter() {
            if let Some(inner) = inner.upgrade() {
                usage
                    .entry(*resource)
                    .or_default()
                    .add(Shares { inner }.usage());
            }
        }
        usage
    }
}

impl Resource {
    /// Returns the name of the resource in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UpstreamRequests => "upstream_requests",
            Self::ClientRequests => "client_requests",
            Self::ComputeThreads => "compute_threads",
            Self::PasswordHashes => "password_hashes",
            Self::ReadingBytes => "reading_bytes",
        }
    }
}

impl Usage {
    fn add(&mut self, other: Self) {
        self.used = self.used.saturating_add(other.used);
        self.limit = self.limit.saturating_add(other.limit);
        self.waiting = self.waiting.saturating_add(other.waiting);
        self.turned_away = self.turned_away.saturating_add(other.turned_away);
    }
}
