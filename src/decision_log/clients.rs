//! The clients that a decision refused: counted in memory, written to the log in batches.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    shards: Arc<[Mutex<Shard>; SHARDS]>,
}

type Shard = HashMap<(Ulid, Option<IpAddr>, Option<Arc<str>>), Waiting>;

/// Pulls of one client. The `User-Agent` is the first one, because a client may change it with each request.
#[derive(Debug)]
struct Waiting {
    user_agent: Option<String>,
    count: u64,
    last: Timestamp,
}

/// Clients that the log keeps for one decision. Further clients share one entry.
pub const CLIENTS_MAX: usize = 32;

/// Locks, so that refusals of different decisions do not wait for each other.
const SHARDS: usize = 16;

/// Clients that wait to be written in one shard. Pulls of further clients are counted without their client until the
/// next write.
const WAITING_MAX: usize = 1000;

/// Characters of a `User-Agent` that are kept.
const USER_AGENT_CHARACTERS: usize = 256;

impl RefusedClients {
    /// Counts a pull by a client that the decision `id` refused. Allocates only for the first pull of a client.
    pub fn note(
        &self,
        id: Ulid,
        client: (IpAddr, Option<&Arc<str>>),
        user_agent: Option<&str>,
        now: Timestamp,
    ) {
        let (address, identity) = client;
        let mut shard = self.shard(id);
        let mut key = (id, Some(address), identity.cloned());
        let mut user_agent = user_agent;
        if shard.len() >= WAITING_MAX && !shard.contains_key(&key) {
            key = (id, None, None);
            user_agent = None;
        }
        let waiting = shard.entry(key).or_insert_with(|| Waiting {
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_CHARACTERS).collect()),
            count: 0,
            last: now,
        });
        waiting.count = waiting.count.saturating_add(1);
        waiting.last = waiting.last.max(now);
    }

    /// Takes the counts since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<(Ulid, RefusedClient)> {
        let mut taken = Vec::new();
        for shard in self.shards.iter() {
            let waiting = std::mem::take(&mut *lock(shard));
            taken.extend(waiting.into_iter().map(|((id, address, identity), it)| {
                let client = Client {
                    address: address.map(|address| address.to_string()),
                    user_agent: it.user_agent,
                    identity: identity.map(|identity| identity.as_ref().to_owned()),
                };
                let (count, last) = (it.count, it.last);
                (
                    id,
                    RefusedClient {
                        client,
                        count,
                        last,
                    },
                )
            }));
        }
        taken
    }

    fn shard(&self, id: Ulid) -> MutexGuard<'_, Shard> {
        // The random part of an id is even in its last bits.
        let [.., last] = id.to_bytes();
        let [first, rest @ ..] = self.shards.as_ref();
        match usize::from(last) % SHARDS {
            0 => lock(first),
            index => rest.get(index - 1).map_or_else(|| lock(first), lock),
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    #[test]
    fn pulls_of_one_client_are_one_entry_whatever_its_user_agent() {
        let refused = RefusedClients::default();
        let id = Ulid::from_parts(1, 1);
        let alice: Arc<str> = "alice".into();
        let (first, last) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        refused.note(id, (address(1), None), Some("crane"), last);
        refused.note(id, (address(1), None), Some("skopeo"), first);
        refused.note(id, (address(1), Some(&alice)), None, first);
        let mut taken = refused.take();
        taken.sort_by_key(|(_, refused)| refused.client.identity.clone());
        let entries: Vec<_> = taken
            .iter()
            .map(|(_, it)| (it.client.user_agent.as_deref(), it.count, it.last))
            .collect();
        assert_eq!(entries, [(Some("crane"), 2, last), (None, 1, first)]);
        assert!(refused.take().is_empty());
    }

    #[test]
    fn further_clients_are_counted_without_a_name_while_too_many_wait() {
        let refused = RefusedClients::default();
        let in_one_shard = |number: usize| Ulid::from_parts(1, (number * 256) as u128);
        for number in 0..WAITING_MAX {
            let id = in_one_shard(number);
            refused.note(id, (address(1), None), None, Timestamp::MIN);
        }
        let id = in_one_shard(WAITING_MAX);
        refused.note(id, (address(1), None), Some("crane"), Timestamp::MIN);
        refused.note(id, (address(2), None), Some("crane"), Timestamp::MIN);
        let taken = refused.take();
        assert_eq!(taken.len(), WAITING_MAX + 1);
        let (_, others) = taken.iter().find(|(it, _)| *it == id).unwrap();
        assert_eq!((&others.client, others.count), (&Client::default(), 2));
    }
}
