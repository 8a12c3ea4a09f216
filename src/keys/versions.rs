//! Several versions of one key, some of which do not count.

use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};

use super::Error;
use super::limits::{REQUESTS_AT_ONCE_MAX, VERSIONS_MAX};
use crate::policy::KeyVersion;

/// Why one version of several does not count.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is disabled, destroyed or outside its time.
    Disabled(Error),
    /// Its algorithm is none that we verify, or its key is for something else.
    Unsupported(Error),
    /// It could not be read, or not be believed. It might be the one that matters.
    Failed(Error),
}

impl Refusal {
    /// What it is where the version is the only one.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Disabled(error) | Self::Unsupported(error) | Self::Failed(error) => error,
        }
    }
}

/// The newest of these, the newest first: as many as may vouch.
pub(super) fn newest<T>(key: &str, mut versions: Vec<T>) -> Vec<T> {
    if versions.len() > VERSIONS_MAX {
        tracing::warn!(
            key,
            enabled = versions.len(),
            "more versions of the key are enabled than may vouch: only the newest {VERSIONS_MAX} do"
        );
        versions.truncate(VERSIONS_MAX);
    }
    versions
}

/// What a version is, and what asking for it came to.
pub(super) type Asked = (String, Result<KeyVersion, Refusal>);

/// Those that count, in their order. Without any it is the first refusal, or `none` where there is nothing to ask for.
///
/// # Errors
/// When one could not be read or believed, or none counts.
pub(super) async fn that_vouch(
    key: &str,
    asking: Vec<BoxFuture<'_, Asked>>,
    none: Error,
) -> Result<Vec<KeyVersion>, Error> {
    let (mut vouching, mut refusal) = (Vec::new(), None);
    let mut asked = stream::iter(asking).buffered(REQUESTS_AT_ONCE_MAX);
    while let Some((version, outcome)) = asked.next().await {
        match outcome {
            Ok(version) => vouching.push(version),
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Disabled(error)) => {
                tracing::debug!(key, version, %error, "the version was disabled just now");
                refusal = refusal.or(Some(error));
            }
            Err(Refusal::Unsupported(error)) => {
                tracing::warn!(key, version, %error, "the version cannot vouch");
                refusal = refusal.or(Some(error));
            }
        }
    }
    match vouching.is_empty() {
        false => Ok(vouching),
        true => Err(refusal.unwrap_or(none)),
    }
}
