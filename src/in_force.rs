//! The policies in force: one immutable value, swapped whole.
//!
//! Whoever decides takes the value once and uses nothing else, so no decision sees half of a change. A decision carries
//! the hash of the value it was made under, and counts only while that is the one in force.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::policy::Policies;

/// The policies in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InForce {
    policies: Arc<ArcSwap<Policies>>,
}

impl InForce {
    /// With these to begin with.
    #[must_use]
    pub fn new(policies: Arc<Policies>) -> Self {
        Self {
            policies: Arc::new(ArcSwap::new(policies)),
        }
    }

    /// The policies in force at this moment, for the warm path: no lock, no count of references.
    #[must_use]
    pub fn policies(&self) -> Guard<Arc<Policies>> {
        self.policies.load()
    }

    /// The same, to be kept while a decision is made.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Policies> {
        self.policies.load_full()
    }

    /// Puts others in force. From when this returns, no decision made under the earlier ones counts.
    pub fn replace(&self, policies: Arc<Policies>) {
        self.policies.store(policies);
    }
}
