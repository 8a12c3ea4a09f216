//! Filling one transfer from the upstream: to its end whoever leaves, and on from where it stopped when it breaks off.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::Pull;
use crate::decision_log::Subject;
use crate::store::{self, Begin, Filling, Source};
use crate::upstream::{self, Purpose};

/// The first pause between two attempts; each further one without progress is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Attempts that count as progress in one transfer at most. So a large blob may take as many requests as this, each
/// followed by attempts that bring nothing, and not one request for each byte.
const PROGRESS_STEPS_MAX: u64 = 1024;

/// The same for a small blob, where so many steps would be a few bytes each.
const SMALL_PROGRESS_STEPS_MAX: u64 = 64;

/// An attempt that brings this much is progress, unless the blob is larger than [`PROGRESS_STEPS_MAX`] times this.
const PROGRESS_BYTES: u64 = 4096;

/// Why an attempt did not complete the transfer.
enum Broken {
    /// The upstream's fault, perhaps passing.
    Upstream(upstream::Error),
    /// There are more bytes than the content has. The transfer has ended.
    TooManyBytes,
    /// The disk failed. The transfer has ended.
    Storage,
}

/// How a transfer ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// Whole, or not for now.
    Settled,
    /// The bytes are wrong, and several answers gave them, so that one of these may be right.
    WrongInPieces,
}

/// What follows from an upstream's error.
enum Verdict {
    /// Another attempt goes on from where this one stopped.
    GoOn,
    /// Another attempt goes on, but asks from the start, because the upstream cannot do ranges.
    GoOnWithoutRange,
    /// The transfer ends; what arrived is kept for the next one.
    Suspend,
    /// The transfer ends, and what arrived is worth nothing.
    Fail,
}

/// Counts the attempts in a row that bring next to nothing. Attempts that bring the transfer further are free.
struct Attempts {
    /// The bytes that make progress.
    step: u64,
    /// The offset at which the last progress was seen.
    reached: u64,
    idle: u32,
    idle_max: u32,
    pause: Duration,
}

/// Fills the transfer to its end. If the bytes of several answers do not fit together, it is begun once more, from the
/// start, because the first answer may have been something else than the blob.
pub(super) async fn run(pull: Pull, subject: Subject, size: u64, filling: Filling) {
    if fill(&pull, &subject, size, filling).await == Ended::Settled {
        return;
    }
    let Subject { repository, digest } = &subject;
    let source = Source {
        repository,
        has_delivered: false,
        follows_others: false,
    };
    match pull.inner.store.begin(digest, size, source).await {
        Ok(Begin::Lead(filling, _transfer)) => {
            fill(&pull, &subject, size, filling).await;
        }
        Ok(Begin::Follow(_)) => {}
        Err(error) => {
            tracing::warn!(%subject, error = &error as &dyn std::error::Error, "Could not begin a blob again");
        }
    }
}

async fn fill(pull: &Pull, subject: &Subject, size: u64, mut filling: Filling) -> Ended {
    let idle_max = pull.inner.limits.transfer_attempts_max;
    let mut attempts = Attempts::new(size, filling.offset(), idle_max);
    let mut takes_ranges = true;
    let mut pieces = u32::from(filling.offset() > 0);
    let wrong = |pieces| {
        if pieces > 1 {
            Ended::WrongInPieces
        } else {
            Ended::Settled
        }
    };
    // What had arrived whole before only has to be checked; an empty blob has to be asked for.
    while size == 0 || filling.offset() < size {
        let from = if takes_ranges { filling.offset() } else { 0 };
        let reached = filling.offset();
        let attempted = attempt(pull, subject, size, &mut filling, from).await;
        if filling.offset() > reached || matches!(attempted, Err(Broken::TooManyBytes)) {
            pieces += 1;
        }
        let error = match attempted {
            Ok(()) => break,
            Err(Broken::TooManyBytes) => return wrong(pieces),
            Err(Broken::Storage) => return Ended::Settled,
            Err(Broken::Upstream(error)) => error,
        };
        let verdict = Verdict::of(&error, from);
        let pause = match verdict {
            Verdict::GoOn | Verdict::GoOnWithoutRange => attempts.next(filling.offset()),
            Verdict::Suspend | Verdict::Fail => None,
        };
        takes_ranges &= !matches!(verdict, Verdict::GoOnWithoutRange);
        let Some(pause) = pause else {
            tracing::warn!(
                %subject,
                arrived = filling.offset(),
                size,
                error = &error as &dyn std::error::Error,
                "Gave up a blob transfer"
            );
            match verdict {
                Verdict::GoOn | Verdict::GoOnWithoutRange | Verdict::Suspend => {
                    filling.suspend(error).await;
                }
                Verdict::Fail => filling.fail(error),
            }
            return Ended::Settled;
        };
        tokio::time::sleep(pause).await;
    }
    match filling.finish().await {
        Ok(()) => {
            note_delivered(pull, subject).await;
            Ended::Settled
        }
        Err(error) => {
            tracing::warn!(%subject, error = &error as &dyn std::error::Error, "Did not keep a blob");
            match error {
                store::Error::WrongDigest(_) => wrong(pieces),
                store::Error::Io { .. } | store::Error::ReadOnly => Ended::Settled,
            }
        }
    }
}

impl Verdict {
    fn of(error: &upstream::Error, from: u64) -> Self {
        match error {
            upstream::Error::Failed { .. }
            | upstream::Error::Congested { .. }
            | upstream::Error::Truncated { .. } => Self::GoOn,
            upstream::Error::Unexpected { .. } if from > 0 => Self::GoOnWithoutRange,
            // It asks for more time than an attempt waits.
            upstream::Error::Throttled { .. }
            | upstream::Error::Unexpected { .. }
            | upstream::Error::Denied { .. }
            | upstream::Error::Unsupported { .. }
            | upstream::Error::NotConfigured { .. }
            // Nothing of such an answer was written, so what arrived before is as good as it was.
            | upstream::Error::OtherContent { .. }
            | upstream::Error::WrongDigest { .. } => Self::Suspend,
            upstream::Error::NotFound { .. } | upstream::Error::TooLarge { .. } => Self::Fail,
        }
    }
}

impl Attempts {
    fn new(size: u64, offset: u64, idle_max: u32) -> Self {
        let small_step = PROGRESS_BYTES.min(size / SMALL_PROGRESS_STEPS_MAX);
        Self {
            step: small_step.max(size / PROGRESS_STEPS_MAX).max(1),
            reached: offset,
            idle: 0,
            idle_max,
            pause: PAUSE_FIRST,
        }
    }

    /// Returns the pause before the next attempt, or nothing when no attempt is left.
    fn next(&mut self, offset: u64) -> Option<Duration> {
        if offset >= self.reached.saturating_add(self.step) {
            (self.reached, self.idle, self.pause) = (offset, 0, PAUSE_FIRST);
            return Some(PAUSE_FIRST);
        }
        self.idle += 1;
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        (self.idle < self.idle_max).then_some(pause)
    }
}

async fn attempt(
    pull: &Pull,
    subject: &Subject,
    size: u64,
    filling: &mut Filling,
    from: u64,
) -> Result<(), Broken> {
    let Subject { repository, digest } = subject;
    let deadline = Instant::now() + pull.inner.limits.blob_header_time_max;
    let fetched = pull
        .inner
        .upstream
        .blob(repository, digest, from, Purpose::Blob, deadline)
        .await
        .map_err(Broken::Upstream)?;
    if fetched.size != Some(size)
        && let Some(doubt) = fetched.doubt
    {
        return Err(Broken::Upstream(doubt));
    }
    if fetched.size.is_some_and(|announced| announced != size) {
        return Err(Broken::Upstream(upstream::Error::WrongDigest {
            host: repository.host().to_owned(),
        }));
    }
    // An upstream that ignores the range begins anew: what is already here is passed over.
    let mut pass_over = filling.offset().saturating_sub(fetched.offset);
    let mut body = fetched.body;
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(Broken::Upstream)?;
        let passed = usize::try_from(pass_over).map_or(chunk.len(), |over| over.min(chunk.len()));
        pass_over -= u64::try_from(passed).unwrap_or(pass_over);
        let fresh = chunk.split_off(passed);
        if fresh.is_empty() {
            continue;
        }
        match filling.write(fresh).await {
            Ok(()) => {}
            Err(store::Error::WrongDigest(_)) => return Err(Broken::TooManyBytes),
            Err(error @ (store::Error::Io { .. } | store::Error::ReadOnly)) => {
                tracing::error!(%subject, error = &error as &dyn std::error::Error, "Could not store a blob");
                return Err(Broken::Storage);
            }
        }
    }
    if filling.offset() < size {
        return Err(Broken::Upstream(upstream::Error::Truncated {
            host: repository.host().to_owned(),
        }));
    }
    Ok(())
}

async fn note_delivered(pull: &Pull, subject: &Subject) {
    if let Err(trouble) = pull.note_delivered(subject).await {
        tracing::warn!(%subject, ?trouble, "Could not store that the upstream delivered a blob");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the requests of a transfer of which each attempt brings so many bytes, to its end or until it gives up.
    fn requests(size: u64, brings: u64) -> (u64, bool) {
        let mut attempts = Attempts::new(size, 0, 5);
        let (mut offset, mut requests) = (0, 0);
        loop {
            requests += 1;
            offset += brings.min(size - offset);
            if offset == size {
                return (requests, true);
            }
            if attempts.next(offset).is_none() {
                return (requests, false);
            }
        }
    }

    #[test]
    fn attempts_that_bring_the_blob_further_are_free() {
        const MIB: u64 = 1024 * 1024;
        for (size, brings) in [
            (2_400_000, 120_000),
            (2_400_000, 5_000),
            (100_000, 2_000),
            (4096 * MIB, 5 * MIB),
            (120, 30),
            (64, 1),
        ] {
            let (count, is_whole) = requests(size, brings);
            assert!(is_whole, "{brings} of {size} each: {count} requests");
        }
    }

    #[test]
    fn attempts_that_bring_next_to_nothing_are_bounded() {
        for (size, brings) in [
            (2_400_000, 0),
            (2_400_000, 1),
            (2_400_000, 700),
            (4 << 30, 100_000),
        ] {
            let (count, is_whole) = requests(size, brings);
            assert!(!is_whole && count <= 30, "{brings} of {size}: {count}");
        }
        for size in [1, 100, 100_000, 1 << 24, 1 << 34] {
            for brings in [1, 100, 4096, 1 << 20] {
                let (count, _) = requests(size, brings);
                assert!(
                    count <= 5 * PROGRESS_STEPS_MAX,
                    "{brings} of {size}: {count}"
                );
            }
        }
    }

    #[test]
    fn an_attempt_without_progress_doubles_the_pause_until_the_next_one_with_it() {
        let mut attempts = Attempts::new(1_000_000, 0, 4);
        let mut pause = |offset| attempts.next(offset).map(|pause| pause.as_millis());
        let pauses = [0, 0, 500_000, 500_001, 500_002, 500_003, 500_004].map(&mut pause);
        assert_eq!(
            pauses,
            [
                Some(100),
                Some(200),
                Some(100),
                Some(100),
                Some(200),
                Some(400),
                None
            ]
        );
    }
}
