//! The parties on whose behalf a task works.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Party;
use super::party::Turn;
use super::patience::{Waiting, Waits};

tokio::task_local! {
    static BEHALF: Behalf;
}

/// One party, or work that several parties wait for.
#[derive(Debug, Clone)]
pub enum Behalf {
    /// A request of one party, by no connection of its own.
    Party(Party),
    /// A request of one party by the connection from this port.
    Connection(Party, u16),
    /// Work that goes on for all who wait for it.
    Work(Arc<Work>),
}

/// Work that several parties may wait for, and who they are.
pub struct Work {
    founder: Party,
    state: Mutex<State>,
    waits: Waits,
}

#[derive(Default)]
struct State {
    sponsors: HashMap<u64, Behalf>,
    next_number: u64,
    begun: bool,
    abandoned: bool,
}

/// A wait for the outcome of some work. The work loses a sponsor when it is dropped.
#[derive(Debug)]
pub struct Sponsor {
    work: Arc<Work>,
    number: u64,
}

/// Work within work that is looked through. Deeper work counts as work of its founder.
const DEPTH_MAX: usize = 16;

impl Behalf {
    /// Returns on whose behalf the current task works: the proxy's own, unless [`scope`](Self::scope) said otherwise.
    #[must_use]
    pub fn current() -> Self {
        BEHALF
            .try_with(Clone::clone)
            .unwrap_or(Self::Party(Party::Proxy))
    }

    /// Runs `future` on this behalf.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        // An `async fn` would hold the future twice.
        BEHALF.scope(self, future)
    }

    /// Returns the parties that wait at this moment. Work that has begun and that nobody waits for is its founder's.
    ///
    /// No party at all means that the work is abandoned: nobody can join it any more.
    #[must_use]
    pub fn parties(&self) -> Vec<Party> {
        let mut parties = Vec::new();
        for turn in self.turns() {
            if !parties.contains(&turn.party) {
                parties.push(turn.party);
            }
        }
        parties
    }

    /// Returns the same with the connections by which they wait.
    pub(super) fn turns(&self) -> Vec<Turn> {
        let mut turns = Vec::new();
        self.collect(&mut turns, DEPTH_MAX);
        turns
    }

    /// Tells if the parties may change while somebody waits.
    pub(super) fn may_change(&self) -> bool {
        matches!(self, Self::Work(_))
    }

    /// Notes that the work has taken a share. From now on it goes on although everybody leaves.
    pub(super) fn begin(&self) {
        self.mark_begun(DEPTH_MAX);
    }

    /// Returns the time for which requests of this work have waited for shares so far, those that wait at the same time
    /// together. A single request of a party is not watched.
    #[must_use]
    pub fn waited(&self) -> Duration {
        match self {
            Self::Party(_) | Self::Connection(..) => Duration::ZERO,
            Self::Work(work) => work.waits.total(),
        }
    }

    /// Notes that a request of the work waits, until the result is dropped.
    pub(super) fn begin_wait(&self) -> Option<Waiting<'_>> {
        match self {
            Self::Party(_) | Self::Connection(..) => None,
            Self::Work(work) => Some(work.waits.begin()),
        }
    }

    fn mark_begun(&self, depth: usize) {
        if let (Self::Work(work), Some(depth)) = (self, depth.checked_sub(1)) {
            let mut state = work.lock();
            state.begun = true;
            for sponsor in state.sponsors.values() {
                sponsor.mark_begun(depth);
            }
        }
    }

    fn collect(&self, turns: &mut Vec<Turn>, depth: usize) {
        match (self, depth.checked_sub(1)) {
            (Self::Party(party), _) => add(turns, party, 0),
            (Self::Connection(party, port), _) => add(turns, party, *port),
            (Self::Work(work), None) => add(turns, &work.founder, 0),
            (Self::Work(work), Some(depth)) => work.collect(turns, depth),
        }
    }

    fn founder(&self) -> &Party {
        match self {
            Self::Party(party) | Self::Connection(party, _) => party,
            Self::Work(work) => &work.founder,
        }
    }
}

impl Party {
    /// Returns the party that the current task works for, the founder where several wait.
    #[must_use]
    pub fn current() -> Self {
        Behalf::current().founder().clone()
    }

    /// Runs `future` on behalf of this party.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        Behalf::Party(self).scope(future)
    }
}

impl Work {
    /// Founds work on behalf of the current task, which is its first sponsor.
    #[must_use]
    pub fn found() -> (Arc<Self>, Sponsor) {
        let behalf = Behalf::current();
        let work = Arc::new(Self {
            founder: behalf.founder().clone(),
            state: Mutex::default(),
            waits: Waits::default(),
        });
        let sponsor = work.enter(&mut work.lock(), behalf);
        (work, sponsor)
    }

    /// Joins those who wait, on behalf of the current task. Returns nothing when the work is abandoned.
    #[must_use]
    pub fn sponsor(self: &Arc<Self>) -> Option<Sponsor> {
        let mut state = self.lock();
        (!state.abandoned).then(|| self.enter(&mut state, Behalf::current()))
    }

    fn enter(self: &Arc<Self>, state: &mut State, behalf: Behalf) -> Sponsor {
        let number = state.next_number;
        state.next_number += 1;
        state.sponsors.insert(number, behalf);
        Sponsor {
            work: Arc::clone(self),
            number,
        }
    }

    fn collect(&self, turns: &mut Vec<Turn>, depth: usize) {
        // Locks are taken from the inner work to the outer one only, so they cannot wait for each other.
        let mut state = self.lock();
        let before = turns.len();
        for sponsor in state.sponsors.values() {
            sponsor.collect(turns, depth);
        }
        if turns.len() > before {
            return;
        }
        if state.begun {
            add(turns, &self.founder, 0);
        } else if turns.is_empty() {
            state.abandoned = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sponsor {
    /// Returns the work as a behalf.
    #[must_use]
    pub fn behalf(&self) -> Behalf {
        Behalf::Work(Arc::clone(&self.work))
    }
}

impl Drop for Sponsor {
    fn drop(&mut self) {
        self.work.lock().sponsors.remove(&self.number);
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Work")
            .field("founder", &self.founder)
            .finish_non_exhaustive()
    }
}

fn add(turns: &mut Vec<Turn>, party: &Party, connection: u16) {
    let turn = Turn {
        party: party.clone(),
        connection,
    };
    if !turns.contains(&turn) {
        turns.push(turn);
    }
}
