//! Shares of a bounded resource, so that nobody uses up what belongs to everybody.
//!
//! A [`Shares`] bounds a resource as a whole, for each [`Party`], and in the number of those that wait. Freed places go
//! round the waiting parties in turn. `docs/decisions/01-shares.md` tells why.

mod behalf;
mod ledger;
mod party;
mod patience;
mod queue;
mod reading;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::select_all;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use behalf::{Behalf, Sponsor, Work};
pub use ledger::{Ledger, Resource, Usage};
pub use party::Party;
pub use patience::{Late, Patience};
pub use reading::{Hold, Reading};

use party::Turn;
use queue::{Queue, Request};

/// A weighted budget with a share for each party. Cheap to clone; clones share the budget.
#[derive(Clone)]
pub struct Shares {
    inner: Arc<Inner>,
}

struct Inner {
    bounds: Bounds,
    queue: Mutex<Queue>,
}

/// The bounds of a budget, in its own unit (places or bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Units that all parties hold together at most.
    pub total: u64,
    /// Units that one party holds at most. A larger amount is counted as this one, so that it can be granted at all.
    pub party: u64,
    /// Requests of one party that wait at most.
    pub waiting_party: usize,
    /// Requests of all parties that wait at most.
    pub waiting: usize,
}

/// A part of the budget. Goes back when dropped.
#[must_use = "the share goes back when it is dropped"]
pub struct Share {
    inner: Arc<Inner>,
    party: Party,
    amount: u64,
}

/// No share could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Too many requests wait already, of this party or of all.
    #[error("too many requests wait already")]
    Queue,
    /// The deadline passed before the turn came.
    #[error("all places were in use until the deadline")]
    Deadline,
    /// Everybody who asked for the work left before it began.
    #[error("everybody who asked has left")]
    Abandoned,
}

/// Time after which a waiting request looks again at who waits for it.
const SPONSORS_READ_EVERY: Duration = Duration::from_millis(100);

impl Shares {
    /// A budget within `bounds` that no ledger shows. [`Ledger::open`] makes one that metrics show.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            inner: Arc::new(Inner {
                bounds,
                queue: Mutex::new(Queue::new(bounds)),
            }),
        }
    }

    /// Takes `amount` on behalf of the current party or work. Waits for its turn until `deadline`.
    ///
    /// A request for work of several parties waits in the queue of each of them and is charged to the first whose turn
    /// comes. Dropping the future takes the request out of the queue.
    ///
    /// # Errors
    /// [`Full`] when the queue is full, the deadline passes, or everybody who asked for the work leaves before it began.
    pub async fn take(&self, amount: u64, deadline: Instant) -> Result<Share, Full> {
        let behalf = Behalf::current();
        let share = tokio::time::timeout_at(deadline, self.wait(&behalf, amount)).await;
        let share = share.unwrap_or_else(|_elapsed| {
            self.inner.lock().turned_away += 1;
            Err(Full::Deadline)
        })?;
        behalf.begin();
        Ok(share)
    }

    /// Takes `amount` for the current party if it is free now and nobody waits for it.
    #[must_use]
    pub fn try_take(&self, amount: u64) -> Option<Share> {
        let behalf = Behalf::current();
        let share = behalf
            .parties()
            .into_iter()
            .find_map(|party| self.try_take_for(party, amount))?;
        behalf.begin();
        Some(share)
    }

    /// Takes `amount` for `party` if it is free now and nobody waits for it.
    #[must_use]
    pub fn try_take_for(&self, party: Party, amount: u64) -> Option<Share> {
        let amount = amount.min(self.inner.bounds.party);
        let granted = self.inner.lock().grant_now(&party, amount);
        granted.then(|| self.inner.share(party, amount))
    }

    /// Returns the use of the budget at this moment.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let queue = self.inner.lock();
        Usage {
            used: queue.used(),
            limit: self.inner.bounds.total,
            waiting: queue.waiting(),
            turned_away: queue.turned_away,
        }
    }

    /// Queues for each party of the work until one of them is granted a share.
    async fn wait(&self, behalf: &Behalf, amount: u64) -> Result<Share, Full> {
        let mut tickets: HashMap<Turn, Option<Ticket>> = HashMap::new();
        let mut waiting = None;
        loop {
            let turns = behalf.turns();
            if turns.is_empty() {
                return Err(Full::Abandoned);
            }
            tickets.retain(|turn, _ticket| turns.contains(turn));
            for turn in turns {
                if tickets.contains_key(&turn) {
                    continue;
                }
                let ticket = match self.ask(&turn, amount) {
                    Asked::Granted(share) => return Ok(share),
                    Asked::Queued(ticket) => Some(ticket),
                    Asked::Full => None,
                };
                tickets.insert(turn, ticket);
            }
            let mut queued: Vec<_> = tickets.values_mut().filter(|it| it.is_some()).collect();
            if queued.is_empty() {
                self.inner.lock().turned_away += 1;
                return Err(Full::Queue);
            }
            if waiting.is_none() {
                waiting = behalf.begin_wait();
            }
            let shares = queued.iter_mut().filter_map(|ticket| ticket.as_mut());
            let granted = select_all(shares.map(|ticket| &mut ticket.share));
            let granted = if behalf.may_change() {
                tokio::time::timeout(SPONSORS_READ_EVERY, granted).await
            } else {
                Ok(granted.await)
            };
            match granted {
                Ok((Ok(share), _, _)) => return Ok(share),
                // It had to leave for a request of a shorter line.
                Ok((Err(_evicted), index, _)) => {
                    if let Some(ticket) = queued.get_mut(index) {
                        **ticket = None;
                    }
                }
                Err(_elapsed) => {}
            }
        }
    }

    /// Takes the share at once, or a ticket for it.
    fn ask(&self, turn: &Turn, amount: u64) -> Asked {
        let amount = amount.min(self.inner.bounds.party);
        let mut queue = self.inner.lock();
        if queue.grant_now(&turn.party, amount) {
            drop(queue);
            return Asked::Granted(self.inner.share(turn.party.clone(), amount));
        }
        let (sender, receiver) = oneshot::channel();
        let pushed = queue.push(turn, amount, sender);
        drop(queue);
        match pushed {
            Some((number, evicted)) => {
                drop(evicted);
                Asked::Queued(Ticket {
                    inner: Arc::clone(&self.inner),
                    turn: turn.clone(),
                    number,
                    share: receiver,
                })
            }
            None => Asked::Full,
        }
    }
}

/// The answer to a request for a share.
enum Asked {
    Granted(Share),
    Queued(Ticket),
    Full,
}

/// A place in the queue. Leaves it when dropped.
struct Ticket {
    inner: Arc<Inner>,
    turn: Turn,
    number: u64,
    share: oneshot::Receiver<Share>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let removed = self.inner.lock().remove(&self.turn, self.number);
        // The request that left may have stood before one that fits.
        drop(removed);
        self.inner.hand_out();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share(self: &Arc<Self>, party: Party, amount: u64) -> Share {
        Share {
            inner: Arc::clone(self),
            party,
            amount,
        }
    }

    /// Grants what fits to those whose turn it is.
    fn hand_out(self: &Arc<Self>) {
        // A share that nobody takes goes back in `send`, which needs the lock: so the requests are taken out first.
        let granted: Vec<(Party, Request)> = self.lock().next_grants();
        for (party, request) in granted {
            let share = self.share(party, request.amount);
            drop(request.grant.send(share));
        }
    }
}

impl Share {
    /// Returns the amount that is held.
    #[must_use]
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Gives back all but `amount`. Does nothing when less is held.
    pub fn shrink(&mut self, amount: u64) {
        let surplus = self.amount.saturating_sub(amount);
        self.amount -= surplus;
        self.inner.lock().release(&self.party, surplus);
        self.inner.hand_out();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inner.lock().release(&self.party, self.amount);
        self.inner.hand_out();
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shares")
            .field("bounds", &self.inner.bounds)
            .field("usage", &self.usage())
            .finish()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Share")
            .field("party", &self.party)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
