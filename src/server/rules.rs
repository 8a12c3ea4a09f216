//! What answers depend on besides the policies, and the swap of both together.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::Compat;
use super::route::Routes;
use crate::clients::Clients;

/// What answers depend on besides the policies. One request is answered by one value of it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Who may pull what; absent when everybody may.
    pub clients: Option<Clients>,
    /// What first path components stand for.
    pub routes: Routes,
    /// Concessions to clients.
    pub compat: Compat,
}

/// The rules in force. Cheap to clone; clones are handles to the same.
#[derive(Debug, Clone)]
pub struct RulesInForce {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Nothing for the moment in which rules and policies are swapped.
    rules: ArcSwapOption<Rules>,
    swapped: Notify,
}

impl RulesInForce {
    /// These rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            inner: Arc::new(Inner {
                rules: ArcSwapOption::from_pointee(rules),
                swapped: Notify::new(),
            }),
        }
    }

    /// The rules in force: at hand, except while they are being swapped.
    pub async fn current(&self) -> Arc<Rules> {
        loop {
            if let Some(rules) = self.inner.rules.load_full() {
                return rules;
            }
            let swapped = self.inner.swapped.notified();
            tokio::pin!(swapped);
            // From here on the notification is not missed, so what came before it is seen by the second look.
            swapped.as_mut().enable();
            if let Some(rules) = self.inner.rules.load_full() {
                return rules;
            }
            swapped.await;
        }
    }

    /// Puts `rules` in force together with what `swap_policies` puts in force: whoever begins meanwhile waits for both,
    /// and whoever began before is asked about again at the end. One caller at a time.
    pub fn swap(&self, rules: Rules, swap_policies: impl FnOnce()) {
        let same = self.inner.rules.load().as_ref().is_some_and(|held| {
            let unguarded = held.clients.is_none() && rules.clients.is_none();
            unguarded && held.routes == rules.routes && held.compat == rules.compat
        });
        if same {
            // No answer depends on which of the two it is.
            return swap_policies();
        }
        self.inner.rules.store(None);
        swap_policies();
        self.inner.rules.store(Some(Arc::new(rules)));
        self.inner.swapped.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn nobody_begins_between_the_policies_and_the_rules() {
        let rules = RulesInForce::new(Rules::default());
        let before = rules.current().await;
        let changed = Rules {
            clients: Some(Clients::new(Vec::new(), 1)),
            ..Rules::default()
        };
        let mut waiting = None;
        rules.swap(changed, || {
            let waiter = rules.clone();
            let mut current = async move { waiter.current().await }.boxed();
            assert!((&mut current).now_or_never().is_none());
            waiting = Some(current);
        });
        let begun = waiting.unwrap().await;
        assert!(!Arc::ptr_eq(&begun, &before));
        assert!(Arc::ptr_eq(&begun, &rules.current().await));
    }
}
