//! The policies in force: one immutable value, swapped whole.
//!
//! Whoever decides takes the value once and uses nothing else, so no decision sees half of a change. A decision carries
//! the hash of the value it was made under, and counts only while that is the one in force.
//!
//! The value is made of the policies as configured and of what key services and trusted roots say now. Either may
//! change; each change makes a new value.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::keys::{Keys, Reference};
use crate::limits::Limits;
use crate::policy::{AuthoritySigner, KeySet, Material, Policies, Policy, Root};
use crate::trust::Roots;

/// The policies in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InForce {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    policies: ArcSwap<Policies>,
    held: Mutex<Held>,
    /// Grows with every configuration.
    configurations: watch::Sender<u64>,
    /// Grows with every change of the value.
    changes: watch::Sender<u64>,
}

/// What the value in force was made of.
#[derive(Debug)]
struct Held {
    configured: Configured,
    /// How often keys and roots had changed then.
    changes: Changes,
}

/// How often keys and roots have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Changes {
    keys: u64,
    roots: u64,
}

/// What the value is made of.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The policies as the configuration has them.
    pub policies: Arc<Policies>,
    /// The limits, which are part of the hash.
    pub limits: Arc<Limits>,
    /// The keys that are kept in key services; absent where there are none.
    pub keys: Option<Keys>,
    /// The trusted roots that may change; absent where there are none.
    pub roots: Option<Roots>,
}

impl InForce {
    /// Policies whose keys and roots never change.
    #[must_use]
    pub fn fixed(policies: Arc<Policies>) -> Self {
        let configured = Configured {
            policies,
            limits: Arc::default(),
            keys: None,
            roots: None,
        };
        Self::new(configured)
    }

    /// The policies as configured, with what is known of their keys and roots.
    #[must_use]
    pub fn new(configured: Configured) -> Self {
        let changes = configured.changes();
        Self {
            inner: Arc::new(Inner {
                policies: ArcSwap::new(configured.complete()),
                held: Mutex::new(Held {
                    configured,
                    changes,
                }),
                configurations: watch::Sender::new(0),
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// The policies in force at this moment, for the warm path: no lock, no count of references.
    #[must_use]
    pub fn policies(&self) -> Guard<Arc<Policies>> {
        self.inner.policies.load()
    }

    /// The same, to be kept while a decision is made.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Policies> {
        self.inner.policies.load_full()
    }

    /// What the policies in force are made of.
    #[must_use]
    pub fn configured(&self) -> Configured {
        self.lock().configured.clone()
    }

    /// Puts another configuration in force. From when this returns, no decision made under the earlier one counts.
    pub fn replace(&self, configured: Configured) {
        {
            let mut held = self.lock();
            let changes = configured.changes();
            let policies = configured.complete();
            *held = Held {
                configured,
                changes,
            };
            self.inner.policies.store(policies);
        }
        self.inner.configurations.send_modify(|number| *number += 1);
        self.inner.changes.send_modify(|number| *number += 1);
    }

    /// Ticks whenever something else is in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Takes in what key services and trusted roots say now. Whether that changed anything.
    pub fn take_in(&self) -> bool {
        // Held until the new value is stored, so that an older one cannot follow it.
        let mut held = self.lock();
        // Asked first: what changes while the value is made is taken in the next time.
        let changes = held.configured.changes();
        if changes == held.changes {
            return false;
        }
        held.changes = changes;
        self.inner.renew(held.configured.complete())
    }

    /// Takes in every change of keys and roots until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let mut configurations = self.inner.configurations.subscribe();
        let following = async {
            loop {
                let Configured { keys, roots, .. } = self.configured();
                let mut keys = keys.map(|keys| keys.changes());
                let mut roots = roots.map(|roots| roots.changes());
                self.take_in();
                tokio::select! {
                    changed = configurations.changed() => if changed.is_err() {
                        return;
                    },
                    () = change(&mut keys) => {}
                    () = change(&mut roots) => {}
                }
            }
        };
        let _stopped = stop.run_until_cancelled(following).await;
    }

    /// Waits until the keys that these policies need have been asked for once, until `deadline` at most.
    pub async fn settled(&self, policies: &[Arc<Policy>], deadline: Instant) {
        let Some(keys) = self.configured().keys else {
            return;
        };
        let references: Vec<_> = policies.iter().flat_map(|it| references(it)).collect();
        if references.is_empty() {
            return;
        }
        keys.settled(&references, deadline).await;
        self.take_in();
    }

    /// Asks for keys again that a signature was by no known version of: there may be a newer one. What is found is in
    /// force when this returns. Each is asked for at most once in 30 s, whoever signs what.
    pub async fn refresh_keys(&self, references: &[String], deadline: Instant) {
        let Some(keys) = self.configured().keys else {
            return;
        };
        let references = references
            .iter()
            .filter_map(|text| text.parse::<Reference>().ok());
        let refreshing = references.map(|reference| {
            let keys = &keys;
            async move { keys.refresh(&reference, deadline).await }
        });
        futures::future::join_all(refreshing).await;
        self.take_in();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.inner
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Puts the same configuration in force with other keys and roots. Whether anything decides otherwise.
    fn renew(&self, policies: Arc<Policies>) -> bool {
        let is_other = policies.hash != self.policies.load().hash;
        // In any case: until when a root may be believed decides nothing until then, and is not part of the hash.
        self.policies.store(policies);
        if is_other {
            self.changes.send_modify(|number| *number += 1);
        }
        is_other
    }
}

/// The references of key services that a policy needs.
pub fn references(policy: &Policy) -> Vec<Reference> {
    let authorities = policy.requirement.authorities().into_iter();
    authorities
        .filter_map(|authority| match &authority.signer {
            AuthoritySigner::Key { reference, .. } => reference.parse().ok(),
            AuthoritySigner::Identity(_) => None,
        })
        .collect()
}

/// Returns at the next change, or never where nothing changes.
async fn change(changes: &mut Option<watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl Configured {
    fn changes(&self) -> Changes {
        Changes {
            keys: self.keys.as_ref().map_or(0, |it| *it.changes().borrow()),
            roots: self.roots.as_ref().map_or(0, |it| *it.changes().borrow()),
        }
    }

    fn complete(&self) -> Arc<Policies> {
        if self.keys.is_none() && self.roots.is_none() {
            return Arc::clone(&self.policies);
        }
        Arc::new(self.policies.with_material(self, &self.limits))
    }
}

impl Material for Configured {
    fn keys(&self, reference: &str) -> Option<Arc<KeySet>> {
        let reference = reference.parse().ok()?;
        self.keys.as_ref().map(|keys| keys.current(&reference))
    }

    fn trusted_root(&self, name: &str) -> Option<Root> {
        self.roots.as_ref()?.current(name)
    }
}

#[cfg(test)]
mod tests;
