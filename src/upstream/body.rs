//! Reading bodies: never more than allowed, never waiting for ever, never mistaking a broken one for a whole one.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use reqwest::Response;
use tokio::time::Instant;

use super::Error;
use crate::shares::{Hold, Reading};

/// What is left of a body that is passed on.
struct Flow {
    host: String,
    response: Response,
    /// Bytes still to come, when the upstream said how many.
    remaining: Option<u64>,
    idle_time_max: Duration,
    speed: Speed,
}

/// How fast a body came lately. Only waiting counts: a body is read as fast as whoever wants it takes it.
#[derive(Default)]
struct Speed {
    waited: Duration,
    bytes: u64,
}

/// A body we do not want is read to keep its connection, if it is this small and comes this fast.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_millis(500);

/// Bytes per second below which a body counts as stalled: a byte now and then would keep it open for ever.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// `Content-Length`, also of an answer to `HEAD`. `None` if absent or no number.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The bounds for a body that is read whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'b> {
    pub(super) limit_bytes: u64,
    pub(super) idle_time_max: Duration,
    /// The budget that bytes are taken from before they are read.
    pub(super) reading: &'b Reading,
    /// Bytes of the budget for each byte of the body: more than one if a larger document is made of it.
    pub(super) weight: u64,
    /// The time until which the budget is waited for.
    pub(super) wait_until: Instant,
}

/// A body that was read whole.
#[derive(Debug)]
pub(super) struct Whole {
    /// The bytes. They keep the hold for as long as they live.
    pub(super) bytes: Bytes,
    pub(super) hold: Hold,
}

/// Bytes that are taken for a body of unknown length. The amount doubles.
const STEP_BYTES_MIN: u64 = 64 * 1024;

/// The whole body.
///
/// # Errors
/// `TooLarge` beyond `limit_bytes`, at once if announced; `Truncated`; `Failed` when it stalls or breaks; `Congested` when
/// the budget has no room for it.
pub(super) async fn read(
    host: &str,
    response: Response,
    bounds: Bounds<'_>,
) -> Result<Whole, Error> {
    let limit_bytes = bounds.limit_bytes;
    let too_large = || Error::TooLarge {
        host: host.to_owned(),
        limit_bytes,
    };
    let length = content_length(response.headers());
    if length.is_some_and(|length| length > limit_bytes) {
        return Err(too_large());
    }
    let mut room = Room::new(host, bounds, length).await?;
    let mut flow = Flow {
        host: host.to_owned(),
        response,
        remaining: length,
        idle_time_max: bounds.idle_time_max,
        speed: Speed::default(),
    };
    let mut whole = Vec::with_capacity(room.capacity()?);
    while let Some(chunk) = flow.next().await? {
        let needed = size(whole.len().saturating_add(chunk.len()));
        if needed > limit_bytes {
            return Err(too_large());
        }
        room.grow_to(needed).await?;
        whole.reserve_exact(room.capacity()?.saturating_sub(whole.len()));
        // The pieces are parts of larger buffers, which so are free again.
        whole.extend_from_slice(&chunk);
    }
    whole.shrink_to_fit();
    let hold = room.hold;
    hold.shrink(size(whole.len()).saturating_mul(bounds.weight));
    Ok(Whole {
        bytes: hold.keep_for(whole.into()),
        hold,
    })
}

/// The part of the budget that was taken for a body.
struct Room<'b> {
    host: &'b str,
    bounds: Bounds<'b>,
    bytes: u64,
    hold: Hold,
}

impl<'b> Room<'b> {
    async fn new(host: &'b str, bounds: Bounds<'b>, length: Option<u64>) -> Result<Self, Error> {
        let mut room = Self {
            host,
            bounds,
            bytes: 0,
            hold: Hold::default(),
        };
        let bytes = length.unwrap_or_else(|| STEP_BYTES_MIN.min(bounds.limit_bytes));
        room.take(bytes).await?;
        Ok(room)
    }

    /// Makes room for `needed` bytes, and for as many again.
    async fn grow_to(&mut self, needed: u64) -> Result<(), Error> {
        if needed <= self.bytes {
            return Ok(());
        }
        let wanted = needed.saturating_mul(2).min(self.bounds.limit_bytes);
        self.take(wanted - self.bytes).await
    }

    async fn take(&mut self, bytes: u64) -> Result<(), Error> {
        let Bounds {
            reading,
            weight,
            wait_until,
            ..
        } = self.bounds;
        let taken = bytes.saturating_mul(weight);
        let growing = reading.grow(&self.hold, taken, wait_until);
        growing.await.map_err(|_full| Error::Congested {
            host: self.host.to_owned(),
        })?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    fn capacity(&self) -> Result<usize, Error> {
        usize::try_from(self.bytes).map_err(|_beyond_memory| Error::TooLarge {
            host: self.host.to_owned(),
            limit_bytes: self.bounds.limit_bytes,
        })
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The body as it arrives, in the pieces in which it arrives. Ends with an error unless exactly `expected` bytes came,
/// where that is known.
pub(super) fn stream(
    host: String,
    response: Response,
    expected: Option<u64>,
    idle_time_max: Duration,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let flow = Flow {
        host,
        response,
        remaining: expected,
        idle_time_max,
        speed: Speed::default(),
    };
    stream::try_unfold(flow, |mut flow| async move {
        Ok(flow.next().await?.map(|chunk| (chunk, flow)))
    })
    .boxed()
}

/// At most `limit_bytes` of a body that only explains something; what was read when it breaks.
pub(super) async fn read_some(
    mut response: Response,
    limit_bytes: usize,
    time_max: Duration,
) -> Vec<u8> {
    let mut some = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            if some.len() + chunk.len() > limit_bytes {
                return;
            }
            some.extend_from_slice(&chunk);
        }
    };
    drop(tokio::time::timeout(time_max, reading).await);
    some
}

/// Reads a small body and forgets it, so that its connection can be used again.
pub(super) async fn drain(response: Response) {
    let is_small =
        content_length(response.headers()).is_some_and(|length| length <= DRAIN_BYTES_MAX);
    if is_small {
        drop(read_some(response, usize::MAX, DRAIN_TIME_MAX).await);
    }
}

impl Flow {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let failed = |reason: &str| Error::Failed {
            host: self.host.clone(),
            reason: reason.to_owned(),
        };
        let truncated = || Error::Truncated {
            host: self.host.clone(),
        };
        let asked_at = Instant::now();
        let chunk = match tokio::time::timeout(self.idle_time_max, self.response.chunk()).await {
            Err(_elapsed) => return Err(failed("the body stalled")),
            Ok(Err(error)) if is_early_end(&error) => return Err(truncated()),
            Ok(Err(_broken)) => return Err(failed("the body broke")),
            Ok(Ok(chunk)) => chunk,
        };
        let Some(chunk) = chunk else {
            return if self.remaining.is_some_and(|remaining| remaining > 0) {
                Err(truncated())
            } else {
                Ok(None)
            };
        };
        let length = size(chunk.len());
        if self
            .speed
            .is_too_slow(asked_at.elapsed(), length, self.idle_time_max)
        {
            return Err(failed("the body comes too slowly"));
        }
        if let Some(remaining) = self.remaining {
            let left = remaining
                .checked_sub(length)
                .ok_or_else(|| failed("the body is longer than announced"))?;
            self.remaining = Some(left);
        }
        Ok(Some(chunk))
    }
}

impl Speed {
    /// Counts a piece. Looks at the speed whenever `window` was spent waiting.
    fn is_too_slow(&mut self, waited: Duration, bytes: u64, window: Duration) -> bool {
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < window {
            return false;
        }
        std::mem::take(self).per_second() < BYTES_PER_SECOND_MIN
    }

    fn per_second(&self) -> u64 {
        let milliseconds = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
        self.bytes.saturating_mul(1000) / milliseconds.max(1)
    }
}

/// Whether the connection was closed before the body's end, as opposed to reset.
fn is_early_end(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let hyper = error.downcast_ref::<hyper::Error>();
        let io = error.downcast_ref::<std::io::Error>();
        if hyper.is_some_and(hyper::Error::is_incomplete_message)
            || io.is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof)
        {
            return true;
        }
        next = error.source();
    }
    false
}
