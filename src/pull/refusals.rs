//! Refusals that no decision stands for, and how many of them are recorded one by one.
//!
//! They need no upstream, so a client can cause any number of them. So each client has few records of its own in a while,
//! and one more that counts the rest. Clients without a name share a number of
//! records, too. Refusals of a client with a name are recorded whatever others do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use ulid::Ulid;

use crate::decision_log::Client;
use crate::shares::Party;

/// The records of refusals in this while.
#[derive(Debug)]
pub(super) struct Refusals {
    recorded: moka::sync::Cache<Key, Ulid>,
    window: Mutex<Window>,
}

/// The refusals that one record stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// One kind of refusal of one reference, for a client with a name or for all without.
    One {
        name: String,
        reference: String,
        identity: Option<String>,
        kind: &'static str,
    },
    /// One kind of refusal of whatever a client asks for, or all clients without a name together.
    Rest {
        party: Option<Party>,
        kind: &'static str,
    },
}

/// The record of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// There is one.
    Recorded(Ulid),
    /// It is to be written.
    Missing(Key),
}

/// The records since its start.
#[derive(Debug)]
struct Window {
    began: Instant,
    /// Records of each client.
    clients: HashMap<Party, u32>,
    /// Records of all clients without a name.
    nameless: u32,
    /// Records that count the rest of a client without a name.
    rests: u32,
}

/// A refusal is recorded once in this time.
pub(super) const RECORDED_EVERY: Duration = Duration::from_secs(30);
/// Records of one client in that time. One more of each kind counts the rest.
const CLIENT_MAX: u32 = 20;
/// Records of all clients without a name in that time, and as many that count the rest of one of them.
const NAMELESS_MAX: u32 = 300;
/// Clients whose records are counted in that time. Further ones are as if they had none left.
const CLIENTS_MAX: usize = 10_000;
/// Records that are remembered.
const REMEMBERED_MAX: u64 = 100_000;

impl Default for Refusals {
    fn default() -> Self {
        Self {
            recorded: moka::sync::Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(RECORDED_EVERY)
                .build(),
            window: Mutex::new(Window::new(Instant::now())),
        }
    }
}

impl Refusals {
    /// Finds the record of a refusal, or says which one is to be written.
    pub(super) fn place(
        &self,
        client: &Client,
        name: &str,
        reference: &str,
        kind: &'static str,
    ) -> Place {
        let one = Key::One {
            name: name.to_owned(),
            reference: reference.to_owned(),
            identity: client.identity.clone(),
            kind,
        };
        if let Some(id) = self.recorded.get(&one) {
            return Place::Recorded(id);
        }
        let party = party(client);
        if self.window().has_place(&party) {
            return Place::Missing(one);
        }
        let rest = |party| Key::Rest { party, kind };
        let (own, shared) = (rest(Some(party.clone())), rest(None));
        let known = self
            .recorded
            .get(&own)
            .or_else(|| self.recorded.get(&shared));
        if let Some(id) = known {
            return Place::Recorded(id);
        }
        let has_own = self.window().has_rest(&party);
        Place::Missing(if has_own { own } else { shared })
    }

    /// Remembers the record that was written for `key`.
    pub(super) fn note(&self, key: Key, id: Ulid) {
        self.recorded.insert(key, id);
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(window.began) >= RECORDED_EVERY {
            *window = Window::new(now);
        }
        window
    }
}

impl Key {
    /// Returns true if the record stands for more than one reference.
    pub(super) fn is_rest(&self) -> bool {
        matches!(self, Self::Rest { .. })
    }
}

impl Window {
    fn new(began: Instant) -> Self {
        Self {
            began,
            clients: HashMap::new(),
            nameless: 0,
            rests: 0,
        }
    }

    /// Takes a place for one record of a client.
    fn has_place(&mut self, party: &Party) -> bool {
        let is_named = matches!(party, Party::Identity(_));
        if !is_named && self.nameless >= NAMELESS_MAX {
            return false;
        }
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(party) {
            return false;
        }
        let own = self.clients.entry(party.clone()).or_default();
        if *own >= CLIENT_MAX {
            return false;
        }
        *own += 1;
        self.nameless += u32::from(!is_named);
        true
    }

    /// Takes a place for the record that counts the rest of a client.
    fn has_rest(&mut self, party: &Party) -> bool {
        if matches!(party, Party::Identity(_)) {
            return true;
        }
        let has_place = self.rests < NAMELESS_MAX;
        self.rests += u32::from(has_place);
        has_place
    }
}

fn party(client: &Client) -> Party {
    if let Some(identity) = &client.identity {
        return Party::Identity(Arc::from(identity.as_str()));
    }
    let address = client.address.as_deref();
    let address = address.and_then(|address| address.parse().ok());
    address.map_or(Party::Proxy, Party::network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, identity: Option<&str>) -> Client {
        Client {
            address: Some(address.to_owned()),
            user_agent: None,
            identity: identity.map(str::to_owned),
        }
    }

    /// Records what is to be recorded, and returns whether it was for this reference alone.
    fn refuse(refusals: &Refusals, client: &Client, reference: &str) -> (Ulid, bool) {
        match refusals.place(client, "example.com/app", reference, "client_denied") {
            Place::Recorded(id) => (id, false),
            Place::Missing(key) => {
                let (id, is_one) = (Ulid::generate(), !key.is_rest());
                refusals.note(key, id);
                (id, is_one)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn client_has_few_records_and_one_for_the_rest() {
        let refusals = Refusals::default();
        let noisy = client("192.0.2.1", None);
        let told: Vec<_> = (0..100)
            .map(|number| refuse(&refusals, &noisy, &number.to_string()))
            .collect();
        let ones = told.iter().filter(|(_, is_one)| *is_one).count();
        assert_eq!(ones, 20);
        let ids: std::collections::HashSet<_> = told.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), 21);
        // Another one has records of its own, and the same reference is recorded once.
        let other = client("192.0.2.2", None);
        let first = refuse(&refusals, &other, "a");
        assert!(first.1);
        assert_eq!(refuse(&refusals, &other, "a"), (first.0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn client_with_a_name_is_recorded_whatever_others_do() {
        let refusals = Refusals::default();
        for address in 0..200 {
            for number in 0..30 {
                let noisy = client(&format!("192.0.2.{address}"), None);
                refuse(&refusals, &noisy, &format!("{address}-{number}"));
            }
        }
        let alice = client("192.0.2.1", Some("alice"));
        let (id, is_one) = refuse(&refusals, &alice, "private");
        assert!(is_one);
        // Records of others do not stand for hers.
        assert_ne!(
            refuse(&refusals, &client("192.0.2.1", None), "private").0,
            id
        );
        assert_ne!(
            refuse(&refusals, &client("192.0.2.1", Some("bob")), "private").0,
            id
        );
    }

    #[tokio::test(start_paused = true)]
    async fn records_of_all_clients_without_a_name_are_bounded() {
        let refusals = Refusals::default();
        let mut ids = std::collections::HashSet::new();
        for number in 0..20_000_u32 {
            let [_, b, c, d] = number.to_be_bytes();
            let noisy = client(&format!("10.{b}.{c}.{d}"), None);
            for reference in 0..3 {
                ids.insert(refuse(&refusals, &noisy, &format!("{number}-{reference}")).0);
            }
        }
        assert_eq!(ids.len(), 601);
    }

    #[tokio::test(start_paused = true)]
    async fn places_come_back() {
        let refusals = Refusals::default();
        let noisy = client("192.0.2.1", None);
        for number in 0..30 {
            refuse(&refusals, &noisy, &number.to_string());
        }
        assert!(!refuse(&refusals, &noisy, "late").1);
        tokio::time::advance(RECORDED_EVERY).await;
        assert!(refuse(&refusals, &noisy, "later").1);
    }
}
