//! The clients that a decision refused: counted in memory, written to the log in batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::Client;

/// A client that received a refusal, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedClient {
    /// The client. Address and identity are both absent in the last entry of a full list, which stands for all further
    /// clients.
    #[serde(flatten)]
    pub client: Client,
    /// Pulls by this client that this decision refused.
    pub count: u64,
    /// Time of the newest of them.
    pub last: Timestamp,
}

/// Refused pulls that are not yet in the log. Cheap to clone; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct RefusedClients {
    waiting: Arc<Mutex<HashMap<(Ulid, Key), RefusedClient>>>,
}

/// Address and identity. The `User-Agent` is left out because a client may change it with each request.
type Key = (Option<String>, Option<String>);

/// Clients that the log keeps for one decision. Further clients share one entry.
pub const CLIENTS_MAX: usize = 32;

/// Clients that wait to be written. Pulls of further clients are counted without their client until the next write.
const WAITING_MAX: usize = 10_000;

impl RefusedClients {
    /// Counts a pull by `client` that the decision `id` refused.
    pub fn note(&self, id: Ulid, client: Client, now: Timestamp) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (id, (client.address.clone(), client.identity.clone()));
        let mut client = client;
        if waiting.len() >= WAITING_MAX && !waiting.contains_key(&key) {
            client = Client::default();
            key = (id, (None, None));
        }
        let refused = waiting.entry(key).or_insert_with(|| RefusedClient {
            client,
            count: 0,
            last: now,
        });
        refused.count = refused.count.saturating_add(1);
        refused.last = refused.last.max(now);
    }

    /// Takes the counts since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<(Ulid, RefusedClient)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting
            .drain()
            .map(|((id, _key), refused)| (id, refused))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize, user_agent: &str) -> Client {
        Client {
            address: Some(format!("192.0.2.{number}")),
            user_agent: Some(user_agent.to_owned()),
            identity: None,
        }
    }

    #[test]
    fn pulls_of_one_client_are_one_entry_whatever_its_user_agent() {
        let refused = RefusedClients::default();
        let id = Ulid::from_parts(1, 1);
        let (first, last) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        refused.note(id, client(1, "crane"), last);
        refused.note(id, client(1, "skopeo"), first);
        refused.note(id, client(2, "crane"), first);
        let mut taken = refused.take();
        taken.sort_by_key(|(_, refused)| refused.client.address.clone());
        let counts: Vec<_> = taken.iter().map(|(_, it)| (it.count, it.last)).collect();
        assert_eq!(counts, [(2, last), (1, first)]);
        assert!(refused.take().is_empty());
    }

    #[test]
    fn further_clients_are_counted_without_a_name_while_too_many_wait() {
        let refused = RefusedClients::default();
        for number in 0..WAITING_MAX as u128 {
            refused.note(Ulid::from_parts(1, number), client(1, ""), Timestamp::MIN);
        }
        let id = Ulid::from_parts(2, 0);
        refused.note(id, client(1, ""), Timestamp::MIN);
        refused.note(id, client(2, ""), Timestamp::MIN);
        let taken = refused.take();
        assert_eq!(taken.len(), WAITING_MAX + 1);
        let (_, others) = taken.iter().find(|(it, _)| *it == id).unwrap();
        assert_eq!((&others.client, others.count), (&Client::default(), 2));
    }
}
