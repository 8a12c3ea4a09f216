//! Places for connections: a number of them for all peers, and a share for each party.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::activity::Activity;
use crate::shares::Party;

/// The part of all places that stays free for parties with few connections.
const RESERVED_PART: usize = 4;
/// The part of all places that a party may hold of the reserved ones.
const SHARE_PART: usize = 16;
/// Connections that are looked at to find one that is idle. It bounds the work for each new connection.
const LOOKS_MAX: usize = 64;

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    inner: Mutex<Inner>,
    freed: Notify,
    max: usize,
}

/// A place that a connection holds until it is dropped, or until the connection is given up.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    activity: Arc<Activity>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All places are held by connections that are busy.
    Full,
    /// The peer's party holds its share, and none of its connections is idle.
    ShareUsed,
}

#[derive(Debug, Default)]
struct Inner {
    held: Vec<Held>,
    by_party: HashMap<Party, usize>,
    /// Index at which the next search for an idle connection begins.
    cursor: usize,
}

#[derive(Debug)]
struct Held {
    party: Party,
    activity: Arc<Activity>,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            freed: Notify::new(),
            max,
        })
    }

    /// Takes a place for a connection from `peer`, if need be that of a connection that has been idle for long.
    ///
    /// # Errors
    /// Fails if no place is free for that peer and none can be freed.
    pub(super) fn take(
        self: &Arc<Self>,
        peer: SocketAddr,
        activity: &Arc<Activity>,
    ) -> Result<Place, NoPlace> {
        let party = Party::network(peer.ip());
        let mut inner = self.lock();
        let share = (self.max / SHARE_PART).max(1);
        let is_short = self.max - inner.held.len() <= self.max / RESERVED_PART;
        let own_only = is_short && inner.held_by(&party) >= share;
        if own_only || inner.held.len() >= self.max {
            let found = inner.longest_idle(|inner, held| match own_only {
                true => (held.party == party).then_some(false),
                false => Some(inner.held_by(&held.party) > share),
            });
            let Some(index) = found else {
                return Err(if own_only {
                    NoPlace::ShareUsed
                } else {
                    NoPlace::Full
                });
            };
            if let Some(idle) = inner.remove(index) {
                idle.activity.give_up();
            }
        }
        inner.add(Held {
            party,
            activity: Arc::clone(activity),
        });
        Ok(Place {
            places: Arc::clone(self),
            activity: Arc::clone(activity),
        })
    }

    /// As [`Places::take`], but waits for at most `time_max` until a place is free or a connection becomes idle.
    ///
    /// # Errors
    /// Fails as [`Places::take`].
    pub(super) async fn wait(
        self: &Arc<Self>,
        peer: SocketAddr,
        activity: &Arc<Activity>,
        time_max: Duration,
    ) -> Result<Place, NoPlace> {
        /// A connection that becomes idle wakes nobody, so it is found by looking again.
        const INTERVAL: Duration = Duration::from_millis(100);
        let deadline = tokio::time::Instant::now() + time_max;
        loop {
            let freed = self.freed.notified();
            match self.take(peer, activity) {
                Ok(place) => return Ok(place),
                Err(reason) if tokio::time::Instant::now() >= deadline => return Err(reason),
                Err(_) => drop(tokio::time::timeout(INTERVAL, freed).await),
            }
        }
    }

    /// Gives up the connection that has been idle for longest, because descriptors are short.
    pub(super) fn give_up_one(&self) {
        let mut inner = self.lock();
        if let Some(index) = inner.longest_idle(|_, _| Some(false))
            && let Some(idle) = inner.remove(index)
        {
            idle.activity.give_up();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = {
            let mut inner = self.places.lock();
            // A connection that was given up has no place any more.
            inner.remove(self.activity.place.load(Ordering::Relaxed))
        };
        if removed.is_some() {
            self.places.freed.notify_one();
        }
    }
}

impl Inner {
    fn held_by(&self, party: &Party) -> usize {
        self.by_party.get(party).copied().unwrap_or_default()
    }

    fn add(&mut self, held: Held) {
        *self.by_party.entry(held.party.clone()).or_default() += 1;
        held.activity
            .place
            .store(self.held.len(), Ordering::Relaxed);
        self.held.push(held);
    }

    fn remove(&mut self, index: usize) -> Option<Held> {
        if index >= self.held.len() {
            return None;
        }
        let removed = self.held.swap_remove(index);
        removed.activity.place.store(usize::MAX, Ordering::Relaxed);
        if let Some(moved) = self.held.get(index) {
            moved.activity.place.store(index, Ordering::Relaxed);
        }
        if let Some(count) = self.by_party.get_mut(&removed.party) {
            *count -= 1;
            if *count == 0 {
                self.by_party.remove(&removed.party);
            }
        }
        Some(removed)
    }

    /// Returns the connection that has been idle for longest among the next [`LOOKS_MAX`]. `rank` leaves some out, and
    /// prefers those for which it is true.
    fn longest_idle(&mut self, rank: impl Fn(&Self, &Held) -> Option<bool>) -> Option<usize> {
        let count = self.held.len();
        let looks = count.min(LOOKS_MAX);
        let cursor = self.cursor;
        self.cursor = (cursor + looks).checked_rem(count).unwrap_or_default();
        (cursor..cursor + looks)
            .filter_map(|index| {
                let index = index.checked_rem(count)?;
                let held = self.held.get(index)?;
                let idle = held.activity.idle_for()?;
                Some((rank(self, held)?, idle, index))
            })
            .max()
            .map(|(_, _, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 4000))
    }

    struct Connection {
        activity: Arc<Activity>,
        place: Result<Place, NoPlace>,
    }

    fn connect(places: &Arc<Places>, peer: SocketAddr) -> Connection {
        let activity = Arc::new(Activity::new());
        let place = places.take(peer, &activity);
        Connection { activity, place }
    }

    impl Connection {
        fn is_held(&self) -> bool {
            self.activity.place.load(Ordering::Relaxed) != usize::MAX
        }
    }

    #[tokio::test]
    async fn party_with_busy_connections_leaves_the_last_quarter_to_others() {
        let places = Places::new(32);
        let mut held = Vec::new();
        let mut busy = Vec::new();
        for _ in 0..24 {
            let connection = connect(&places, peer(1));
            assert!(connection.place.is_ok());
            busy.push(connection.activity.begin());
            held.push(connection);
        }
        let refused = connect(&places, peer(1)).place;
        assert_eq!(refused.err(), Some(NoPlace::ShareUsed));
        for party in 2..=5 {
            for _ in 0..2 {
                let connection = connect(&places, peer(party));
                assert!(connection.place.is_ok(), "party {party}");
                busy.push(connection.activity.begin());
                held.push(connection);
            }
        }
        let refused = connect(&places, peer(6)).place;
        assert_eq!(refused.err(), Some(NoPlace::Full));
        drop(held.pop());
        assert!(connect(&places, peer(6)).place.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn longest_idle_connection_makes_room() {
        let places = Places::new(3);
        let mut held = Vec::new();
        for party in 1..=3 {
            held.push(connect(&places, peer(party)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first has asked for something meanwhile.
        drop(held[0].activity.begin());
        assert!(connect(&places, peer(4)).place.is_ok());
        let kept: Vec<_> = held.iter().map(Connection::is_held).collect();
        assert_eq!(kept, [true, false, true]);
    }

    /// The party with the longest idle connection holds no more than its share.
    #[tokio::test(start_paused = true)]
    async fn idle_connection_of_a_party_above_its_share_makes_room_first() {
        let places = Places::new(16);
        let mut held = vec![connect(&places, peer(1))];
        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..11 {
            held.push(connect(&places, peer(2)));
        }
        for party in 3..=6 {
            held.push(connect(&places, peer(party)));
        }
        let newcomer = connect(&places, peer(7));
        assert!(newcomer.place.is_ok());
        let held_by = |last| places.lock().held_by(&Party::network(peer(last).ip()));
        let expected = [(1, 1), (2, 10)];
        assert_eq!(expected.map(|(party, _)| (party, held_by(party))), expected);
    }

    #[tokio::test]
    async fn places_that_are_dropped_are_free_again() {
        let places = Places::new(100);
        for round in 0..5_u8 {
            let mut held: Vec<_> = (0..50).map(|_| connect(&places, peer(round))).collect();
            held.truncate(usize::from(round));
        }
        let inner = places.lock();
        assert_eq!(inner.held.len(), 0);
        assert!(inner.by_party.is_empty());
    }
}
