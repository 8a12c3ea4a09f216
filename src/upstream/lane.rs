//! How much we ask of an upstream at once: one lane per purpose, so that trouble with one purpose delays no other, and a
//! share of each lane per party, so that nobody fills it for the others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Purpose;
use super::pauses::{Gate, Pauses};
use crate::limits::Limits;
use crate::shares::{Bounds, Full, Ledger, Resource, Share, Shares};

/// The lanes of one upstream.
///
/// A twelfth of the budget is kept for each of the six purposes, at least one request; the rest is for every purpose. So
/// however many requests of one purpose hang, the others go on. Of both, a party holds at most half, and freed places go
/// round the parties that wait.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: [Lane; PURPOSES],
    /// Nothing if every place is kept for a purpose.
    shared: Option<Shares>,
}

/// What belongs to one purpose.
#[derive(Debug)]
struct Lane {
    kept: Shares,
    pauses: Mutex<Pauses>,
}

/// The right to one request. Goes back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    #[expect(dead_code, reason = "held for its drop")]
    share: Share,
    is_probe: bool,
}

/// There is no asking before the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// The upstream wants to be left alone for this time.
    Paused(Duration),
    /// Our own places are all in use, or too many requests of the party wait for one.
    Full,
}

const PURPOSES: usize = 6;

/// Parties that can fill their part of the queue before requests of others are turned away.
const PARTIES_WAITING: usize = 16;

impl Lanes {
    /// Opens lanes for at most `upstream_requests_max` requests at once; at least one per purpose.
    pub(super) fn new(limits: &Limits, ledger: &Ledger) -> Self {
        let open = |places: usize| {
            let total = u64::try_from(places).unwrap_or(u64::MAX);
            let bounds = Bounds {
                total,
                party: total.div_ceil(2),
                waiting_party: limits.upstream_waiting_max,
                waiting: limits.upstream_waiting_max.saturating_mul(PARTIES_WAITING),
            };
            ledger.open(Resource::UpstreamRequests, bounds)
        };
        let kept = (limits.upstream_requests_max / (2 * PURPOSES)).max(1);
        let shared = limits.upstream_requests_max.saturating_sub(kept * PURPOSES);
        Self {
            lanes: std::array::from_fn(|_| Lane {
                kept: open(kept),
                pauses: Mutex::default(),
            }),
            shared: (shared > 0).then(|| open(shared)),
        }
    }

    /// Waits for the end of a pause. Returns true for the one request that passes it as a probe.
    ///
    /// # Errors
    /// At once when the pause lasts beyond `deadline`.
    pub(super) async fn pass_pauses(
        &self,
        purpose: Purpose,
        repository: &str,
        deadline: Instant,
    ) -> Result<bool, Busy> {
        loop {
            let until = match self.pauses(purpose).gate(repository) {
                Gate::Open => return Ok(false),
                Gate::Probe => return Ok(true),
                Gate::Closed(until) => until,
            };
            if until >= deadline {
                return Err(Busy::Paused(until.duration_since(Instant::now())));
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Waits in turn for a place for a request of the current party or work.
    ///
    /// # Errors
    /// At `deadline` when there is none; at once when too many requests wait, or nobody waits for this one any more.
    pub(super) async fn enter(
        &self,
        purpose: Purpose,
        is_probe: bool,
        deadline: Instant,
    ) -> Result<Permit, Busy> {
        let kept = self.lane(purpose).kept.take(1, deadline);
        let share = match &self.shared {
            None => kept.await,
            Some(shared) => either(kept, shared.take(1, deadline)).await,
        };
        match share {
            Ok(share) => Ok(Permit { share, is_probe }),
            Err(Full::Queue | Full::Deadline | Full::Abandoned) => Err(Busy::Full),
        }
    }

    /// Takes a place that is free now, for a second request beside one that waits for its answer. None during a pause.
    pub(super) fn try_enter(&self, purpose: Purpose, repository: &str) -> Option<Permit> {
        if !self.pauses(purpose).allow(repository) {
            return None;
        }
        let kept = self.lane(purpose).kept.try_take(1);
        let share = kept.or_else(|| self.shared.as_ref()?.try_take(1))?;
        Some(Permit {
            share,
            is_probe: false,
        })
    }

    /// Notes that the upstream wants no requests of this purpose for `duration`, as it said about `repository`.
    pub(super) fn pause(&self, purpose: Purpose, repository: &str, duration: Duration) {
        self.pauses(purpose).begin(repository, duration);
    }

    /// Ends the pauses that a probe to `repository` passed, because it was answered.
    pub(super) fn lift(&self, purpose: Purpose, repository: &str) {
        self.pauses(purpose).lift(repository);
    }

    fn pauses(&self, purpose: Purpose) -> MutexGuard<'_, Pauses> {
        let pauses = &self.lane(purpose).pauses;
        pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, purpose: Purpose) -> &Lane {
        let [manifest, blob, tags, referrers, referrers_tag, cosign_tag] = &self.lanes;
        match purpose {
            Purpose::Manifest => manifest,
            Purpose::Blob => blob,
            Purpose::Tags => tags,
            Purpose::Referrers => referrers,
            Purpose::ReferrersTag => referrers_tag,
            Purpose::CosignTag => cosign_tag,
        }
    }
}

/// Waits in two queues and takes the first place that is granted. A queue that is full leaves the other one.
async fn either(
    kept: impl Future<Output = Result<Share, Full>>,
    shared: impl Future<Output = Result<Share, Full>>,
) -> Result<Share, Full> {
    tokio::pin!(kept, shared);
    tokio::select! {
        biased;
        share = &mut kept => match share {
            Ok(share) => Ok(share),
            Err(_full) => shared.await,
        },
        share = &mut shared => match share {
            Ok(share) => Ok(share),
            Err(_full) => kept.await,
        },
    }
}

impl Permit {
    /// Tells whether the request passes a pause, so that its answer says whether the pause still holds.
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::Party;

    fn lanes(upstream_requests_max: usize) -> Lanes {
        let limits = Limits {
            upstream_requests_max,
            upstream_waiting_max: 20,
            ..Limits::default()
        };
        Lanes::new(&limits, &Ledger::default())
    }

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    fn party(name: &str) -> Party {
        Party::Identity(name.into())
    }

    /// Takes the places that a party can have of a purpose.
    async fn fill(lanes: &Lanes, name: &str, purpose: Purpose) -> Vec<Permit> {
        let taken = std::iter::from_fn(|| lanes.try_enter(purpose, "org/app"));
        party(name).scope(async { taken.collect() }).await
    }

    #[tokio::test(start_paused = true)]
    async fn pause_delays_its_purpose_and_no_other() {
        let lanes = lanes(64);
        lanes.pause(Purpose::Referrers, "org/app", Duration::from_secs(5));
        let pass = |purpose, seconds| lanes.pass_pauses(purpose, "org/app", after(seconds));
        let started = Instant::now();
        assert_eq!(pass(Purpose::Manifest, 10).await, Ok(false));
        let paused = Busy::Paused(Duration::from_secs(5));
        assert_eq!(pass(Purpose::Referrers, 4).await, Err(paused));
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(pass(Purpose::Referrers, 10).await, Ok(false));
        let waited = started.elapsed().as_millis();
        assert!((5000..5100).contains(&waited), "{waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_passes_a_long_pause_every_thirty_seconds() {
        let lanes = lanes(64);
        lanes.pause(Purpose::Manifest, "org/app", Duration::from_secs(600));
        let pass = || lanes.pass_pauses(Purpose::Manifest, "org/app", after(10));
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(29)).await;
            pass().await.unwrap_err();
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(pass().await, Ok(true));
            pass().await.unwrap_err();
        }
        lanes.lift(Purpose::Manifest, "org/app");
        assert_eq!(pass().await, Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn second_request_takes_a_free_place_only() {
        let lanes = lanes(13);
        // One is kept for blobs and seven are shared: a party has half of each.
        let held = fill(&lanes, "one", Purpose::Blob).await;
        assert_eq!(held.len(), 5);
        let rest = fill(&lanes, "two", Purpose::Blob).await;
        assert_eq!(rest.len(), 3);
        let entering = lanes.enter(Purpose::Blob, false, after(1));
        assert_eq!(entering.await.unwrap_err(), Busy::Full);
        drop((held, rest));
        lanes.pause(Purpose::Blob, "org/app", Duration::from_secs(5));
        assert!(lanes.try_enter(Purpose::Blob, "org/app").is_none());
        assert!(lanes.try_enter(Purpose::Tags, "org/app").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_party_never_has_more_than_half_of_a_lane() {
        for (requests_max, half) in [(64, 3 + 17), (128, 5 + 34), (12, 1 + 3), (6, 1), (1, 1)] {
            let lanes = lanes(requests_max);
            let held = fill(&lanes, "one", Purpose::Manifest).await;
            assert_eq!(held.len(), half, "{requests_max}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn freed_places_go_round_the_parties_that_wait() {
        let lanes = lanes(24);
        let mut held = fill(&lanes, "flood", Purpose::Manifest).await;
        held.extend(fill(&lanes, "second flood", Purpose::Manifest).await);
        let enter = |name: &str| {
            let entering = lanes.enter(Purpose::Manifest, false, after(60));
            party(name).scope(entering)
        };
        let flood = futures::future::join_all((0..15).map(|_| enter("flood")));
        tokio::pin!(flood);
        assert!(futures::poll!(&mut flood).is_pending());
        let victim = enter("victim");
        tokio::pin!(victim);
        assert!(futures::poll!(&mut victim).is_pending());
        held.pop();
        held.pop();
        let entered = tokio::time::timeout(Duration::from_secs(1), victim).await;
        entered.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_one_party_that_wait_are_bounded() {
        let lanes = lanes(6);
        let _held = fill(&lanes, "flood", Purpose::Tags).await;
        let enter = |name: &str| {
            let entering = lanes.enter(Purpose::Tags, false, after(60));
            Box::pin(party(name).scope(entering))
        };
        let mut waiting: Vec<_> = (0..20).map(|_| enter("flood")).collect();
        for entering in &mut waiting {
            assert!(futures::poll!(entering).is_pending());
        }
        assert_eq!(enter("flood").await.unwrap_err(), Busy::Full);
        assert!(futures::poll!(enter("other")).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn one_purpose_never_takes_the_whole_budget() {
        for requests_max in [1, 12, 64] {
            let lanes = lanes(requests_max);
            let mut hung = Vec::new();
            for name in ["one", "two", "three"] {
                hung.extend(fill(&lanes, name, Purpose::Manifest).await);
            }
            assert!(hung.len() <= requests_max, "{}", hung.len());
            let full = lanes.enter(Purpose::Manifest, false, after(1)).await;
            assert_eq!(full.unwrap_err(), Busy::Full);
            for purpose in [
                Purpose::Blob,
                Purpose::Tags,
                Purpose::Referrers,
                Purpose::ReferrersTag,
                Purpose::CosignTag,
            ] {
                hung.push(lanes.enter(purpose, false, after(1)).await.unwrap());
            }
            assert!(hung.len() <= requests_max.max(PURPOSES));
            hung.remove(0);
            let entering = lanes.enter(Purpose::Manifest, false, after(1));
            entering.await.unwrap();
        }
    }
}
