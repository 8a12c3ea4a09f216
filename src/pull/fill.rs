//! Filling one transfer from the upstream: to its end whoever leaves, and on from where it stopped when it breaks off.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::Pull;
use super::blob::Leading;
use crate::decision_log::Subject;
use crate::store::{self, Filling};
use crate::upstream::{self, Purpose};

/// The first pause between two attempts; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// An attempt that brought less counts as one that brought nothing.
const PROGRESS_BYTES_MIN: u64 = 1024 * 1024;

/// Why an attempt did not complete the transfer.
enum Broken {
    /// The upstream's fault, perhaps passing.
    Upstream(upstream::Error),
    /// Ours, or the bytes are wrong: nothing to try again.
    Final,
}

pub(super) async fn run(
    pull: Pull,
    subject: Subject,
    size: u64,
    mut filling: Filling,
    leading: Leading,
) {
    let limits = pull.inner.limits.clone();
    let first_byte_by = Instant::now() + limits.decision_time_max;
    let mut pause = PAUSE_FIRST;
    let mut attempts = 0;
    let failure = loop {
        let before = filling.offset();
        let deadline = if before == 0 {
            first_byte_by
        } else {
            Instant::now() + limits.decision_time_max
        };
        let broken = match attempt(&pull, &subject, size, &mut filling, deadline).await {
            Ok(()) => break None,
            Err(Broken::Final) => return,
            Err(Broken::Upstream(error)) => error,
        };
        // A byte for each request would make as many requests as there are bytes.
        if filling.offset() >= before.saturating_add(PROGRESS_BYTES_MIN) {
            (attempts, pause) = (0, PAUSE_FIRST);
        }
        attempts += 1;
        let passing = broken.is_transient() || matches!(broken, upstream::Error::Truncated { .. });
        let in_time = filling.offset() > 0 || Instant::now() + pause < first_byte_by;
        if !passing || !in_time || attempts >= limits.transfer_attempts_max {
            break Some(broken);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    };
    if let Some(error) = failure {
        tracing::warn!(%subject, error = &error as &dyn std::error::Error, "Gave up a blob transfer");
        filling.fail(error);
        return;
    }
    match filling.finish().await {
        Ok(()) => confirm(&pull, &subject).await,
        Err(error) => {
            tracing::warn!(%subject, error = &error as &dyn std::error::Error, "Did not keep a blob");
        }
    }
    drop(leading);
}

async fn attempt(
    pull: &Pull,
    subject: &Subject,
    size: u64,
    filling: &mut Filling,
    deadline: Instant,
) -> Result<(), Broken> {
    let Subject { repository, digest } = subject;
    let wrong_digest = || {
        Broken::Upstream(upstream::Error::WrongDigest {
            host: repository.host().to_owned(),
        })
    };
    let fetched = pull
        .inner
        .upstream
        .blob(
            repository,
            digest,
            filling.offset(),
            Purpose::Blob,
            deadline,
        )
        .await
        .map_err(Broken::Upstream)?;
    if fetched.size.is_some_and(|announced| announced != size) {
        return Err(wrong_digest());
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
            Err(store::Error::WrongDigest(_)) => return Err(wrong_digest()),
            Err(error @ (store::Error::Io { .. } | store::Error::ReadOnly)) => {
                tracing::error!(%subject, error = &error as &dyn std::error::Error, "Could not store a blob");
                return Err(Broken::Final);
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

async fn confirm(pull: &Pull, subject: &Subject) {
    if let Err(trouble) = pull.confirm(subject).await {
        tracing::warn!(%subject, ?trouble, "Could not store that the upstream holds a blob");
    }
}
