//! The queue behind [`Shares`](super::Shares): pure bookkeeping, without waiting.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::{Bounds, Party, Share};

/// Amounts held and requests that wait, by party.
pub(super) struct Queue {
    bounds: Bounds,
    used: u64,
    held: HashMap<Party, u64>,
    waiting: HashMap<Party, VecDeque<Request>>,
    /// Parties with waiting requests, the next one first.
    turns: VecDeque<Party>,
    count: usize,
    next_number: u64,
    /// Requests that were not granted since the start.
    pub(super) turned_away: u64,
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

    /// Queues a request. Returns its number, or nothing when too many wait.
    pub(super) fn push(
        &mut self,
        party: &Party,
        amount: u64,
        grant: oneshot::Sender<Share>,
    ) -> Option<u64> {
        let own = self.waiting.get(party).map_or(0, VecDeque::len);
        if own >= self.bounds.waiting_party || self.count >= self.bounds.waiting {
            return None;
        }
        if own == 0 {
            self.turns.push_back(party.clone());
        }
        let number = self.next_number;
        self.next_number += 1;
        self.count += 1;
        self.waiting
            .entry(party.clone())
            .or_default()
            .push_back(Request {
                number,
                amount,
                grant,
            });
        Some(number)
    }

    /// Takes a request out of the queue, if it still waits.
    pub(super) fn remove(&mut self, party: &Party, number: u64) -> Option<Request> {
        let requests = self.waiting.get_mut(party)?;
        // Numbers grow along the queue.
        let index = requests
            .binary_search_by_key(&number, |request| request.number)
            .ok()?;
        let request = requests.remove(index);
        self.count -= 1;
        if requests.is_empty() {
            self.waiting.remove(party);
            self.turns.retain(|waiting| waiting != party);
        }
        request
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
        let amount = self.waiting.get(party)?.front()?.amount;
        if !self.fits_total(amount) {
            return None;
        }
        let requests = self.waiting.get_mut(party)?;
        let request = requests.pop_front();
        if requests.is_empty() {
            self.waiting.remove(party);
        }
        self.count -= 1;
        request
    }

    /// Tells if the first waiting request of a party fits the party's own bound.
    fn is_within_share(&self, party: &Party) -> bool {
        let first = self.waiting.get(party).and_then(VecDeque::front);
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
