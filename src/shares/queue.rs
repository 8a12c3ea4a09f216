//! The queue behind [`Shares`](super::Shares): pure bookkeeping, without waiting.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::{Bounds, Party, Share, Turn};

/// Amounts held and requests that wait, by party.
pub(super) struct Queue {
    bounds: Bounds,
    used: u64,
    held: HashMap<Party, u64>,
    waiting: HashMap<Party, Lines>,
    /// Parties with waiting requests, the next one first.
    turns: VecDeque<Party>,
    count: usize,
    next_number: u64,
    /// Requests that were not granted since the start.
    pub(super) turned_away: u64,
}

/// The waiting requests of one party, a line for each of its connections. Freed places go round the lines in turn, so that
/// one connection does not stand in the way of the others.
#[derive(Default)]
struct Lines {
    requests: HashMap<u16, VecDeque<Request>>,
    /// Connections with waiting requests, the next one first.
    turns: VecDeque<u16>,
    count: usize,
}

/// A request that waits.
pub(super) struct Request {
    number: u64,
    pub(super) amount: u64,
    pub(super) grant: oneshot::Sender<Share>,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            used: 0,
            held: HashMap::new(),
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            count: 0,
            next_number: 0,
            turned_away: 0,
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn waiting(&self) -> usize {
        self.count
    }

    /// Grants the amount if it fits and no request that could be granted waits before it.
    pub(super) fn grant_now(&mut self, party: &Party, amount: u64) -> bool {
        let is_first = !self.waiting.contains_key(party)
            && !self
                .turns
                .iter()
                .any(|waiting| self.is_within_share(waiting));
        let fits = self.fits_total(amount) && self.fits_party(party, amount);
        let granted = is_first && fits;
        if granted {
            self.charge(party, amount);
        }
        granted
    }

    /// Queues a request. Returns its number and the request that had to leave for it, or nothing when too many wait.
    ///
    /// Where too many requests of the party wait, the longest line loses its last one to a line that is shorter.
    pub(super) fn push(
        &mut self,
        turn: &Turn,
        amount: u64,
        grant: oneshot::Sender<Share>,
    ) -> Option<(u64, Option<Request>)> {
        if self.bounds.waiting_party == 0 {
            return None;
        }
        let lines = self.waiting.entry(turn.party.clone()).or_default();
        let mut evicted = None;
        if lines.count >= self.bounds.waiting_party {
            evicted = Some(lines.pop_last_for(turn.connection)?);
            self.count -= 1;
        } else if self.count >= self.bounds.waiting {
            if lines.count == 0 {
                self.waiting.remove(&turn.party);
            }
            return None;
        } else if lines.count == 0 {
            self.turns.push_back(turn.party.clone());
        }
        let number = self.next_number;
        self.next_number += 1;
        self.count += 1;
        lines.push(
            turn.connection,
            Request {
                number,
                amount,
                grant,
            },
        );
        Some((number, evicted))
    }

    /// Takes a request out of the queue, if it still waits.
    pub(super) fn remove(&mut self, turn: &Turn, number: u64) -> Option<Request> {
        let lines = self.waiting.get_mut(&turn.party)?;
        let request = lines.remove(turn.connection, number)?;
        self.count -= 1;
        if lines.count == 0 {
            self.waiting.remove(&turn.party);
            self.turns.retain(|waiting| *waiting != turn.party);
        }
        Some(request)
    }

    /// Takes out the requests that can be granted now, one party after the other, and charges them.
    ///
    /// A party at its own bound is passed over. The first party within its bound whose request does not fit the whole
    /// ends the round, because otherwise small requests would keep a large one waiting for ever.
    pub(super) fn next_grants(&mut self) -> Vec<(Party, Request)> {
        let mut granted = Vec::new();
        let mut passed_over = 0;
        while passed_over < self.turns.len() {
            let Some(party) = self.turns.pop_front() else {
                break;
            };
            if !self.is_within_share(&party) {
                self.turns.push_back(party);
                passed_over += 1;
                continue;
            }
            let Some(request) = self.next_request(&party) else {
                self.turns.push_front(party);
                break;
            };
            self.charge(&party, request.amount);
            if self.waiting.contains_key(&party) {
                self.turns.push_back(party.clone());
            }
            granted.push((party, request));
            passed_over = 0;
        }
        granted
    }

    pub(super) fn release(&mut self, party: &Party, amount: u64) {
        self.used = self.used.saturating_sub(amount);
        if let Some(held) = self.held.get_mut(party) {
            *held = held.saturating_sub(amount);
            if *held == 0 {
                self.held.remove(party);
            }
        }
    }

    fn charge(&mut self, party: &Party, amount: u64) {
        self.used = self.used.saturating_add(amount);
        let held = self.held.entry(party.clone()).or_default();
        *held = held.saturating_add(amount);
    }

    /// Takes the first request of a party out of its queue, if it fits the whole.
    fn next_request(&mut self, party: &Party) -> Option<Request> {
        let amount = self.waiting.get(party)?.first()?.amount;
        if !self.fits_total(amount) {
            return None;
        }
        let lines = self.waiting.get_mut(party)?;
        let request = lines.pop_first();
        if lines.count == 0 {
            self.waiting.remove(party);
        }
        self.count -= 1;
        request
    }

    /// Tells if the first waiting request of a party fits the party's own bound.
    fn is_within_share(&self, party: &Party) -> bool {
        let first = self.waiting.get(party).and_then(Lines::first);
        first.is_some_and(|request| self.fits_party(party, request.amount))
    }

    fn fits_total(&self, amount: u64) -> bool {
        self.used.saturating_add(amount) <= self.bounds.total
    }

    fn fits_party(&self, party: &Party, amount: u64) -> bool {
        let held = self.held.get(party).copied().unwrap_or_default();
        held.saturating_add(amount) <= self.bounds.party
    }
}

impl Lines {
    fn push(&mut self, connection: u16, request: Request) {
        let line = self.requests.entry(connection).or_default();
        if line.is_empty() {
            self.turns.push_back(connection);
        }
        line.push_back(request);
        self.count += 1;
    }

    /// Returns the request whose turn it is.
    fn first(&self) -> Option<&Request> {
        self.requests.get(self.turns.front()?)?.front()
    }

    fn pop_first(&mut self) -> Option<Request> {
        let connection = self.turns.pop_front()?;
        let line = self.requests.get_mut(&connection)?;
        let request = line.pop_front()?;
        self.count -= 1;
        if line.is_empty() {
            self.requests.remove(&connection);
        } else {
            self.turns.push_back(connection);
        }
        Some(request)
    }

    /// Takes out the last request of the longest line, if that line stays no shorter than that of `connection` becomes.
    fn pop_last_for(&mut self, connection: u16) -> Option<Request> {
        let own = self.requests.get(&connection).map_or(0, VecDeque::len);
        let (longest, line) = self
            .requests
            .iter_mut()
            .max_by_key(|(_connection, line)| line.len())?;
        if line.len() <= own + 1 {
            return None;
        }
        let longest = *longest;
        let number = line.back()?.number;
        self.remove(longest, number)
    }

    fn remove(&mut self, connection: u16, number: u64) -> Option<Request> {
        let line = self.requests.get_mut(&connection)?;
        // Numbers grow along the line.
        let index = line
            .binary_search_by_key(&number, |request| request.number)
            .ok()?;
        let request = line.remove(index)?;
        self.count -= 1;
        if line.is_empty() {
            self.requests.remove(&connection);
            self.turns.retain(|waiting| *waiting != connection);
        }
        Some(request)
    }
}
