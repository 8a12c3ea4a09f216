//! Places for requests that are being answered, so that waiting requests cannot use up memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::answer::{Answer, Asking, RETRY_AFTER};
use super::{Server, respond};
use crate::shares::{Bounds, Ledger, Party, Resource, Share, Shares};

const FULL: &str = "too many requests are being answered";
/// The part of all places that one party may hold.
const PARTY_PART: u64 = 2;

/// Opens the budget of requests that are being answered. Nothing waits for it, because waiting is what it bounds.
#[must_use]
pub fn requests(ledger: &Ledger, requests_max: usize) -> Shares {
    let total = u64::try_from(requests_max).unwrap_or(u64::MAX);
    ledger.open(
        Resource::ClientRequests,
        Bounds {
            total,
            party: (total / PARTY_PART).max(1),
            waiting_party: 0,
            waiting: 0,
        },
    )
}

impl Server {
    /// Takes a place for a request that memory alone does not answer.
    ///
    /// # Errors
    /// Returns 503 when all places are taken, or the share of the client.
    pub(super) fn take_place(&self, asking: &Asking<'_>) -> Result<Share, Box<Answer>> {
        let party = Party::client(asking.identity.as_ref(), asking.address.ip());
        let place = self.inner.requests.try_take_for(party, 1);
        place.ok_or_else(|| Box::new(Answer::plain(respond::unavailable(FULL, RETRY_AFTER))))
    }
}

impl Answer {
    /// Holds the place until the body was handed over.
    pub(super) fn hold(mut self, place: Share) -> Self {
        self.response = self.response.map(|body| Body::new(Held { body, place }));
        self
    }
}

/// A body that holds a place.
#[derive(Debug)]
struct Held {
    body: Body,
    #[expect(dead_code, reason = "it is held until it is dropped")]
    place: Share,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
