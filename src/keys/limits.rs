//! What reading keys may cost, in time, bytes and requests.

use std::time::Duration;

/// The most versions of one key that may vouch.
pub const VERSIONS_MAX: usize = 16;

/// Time between two fetches of a key that go well, give or take a tenth: how long it takes at most until a disabled
/// version stops to vouch.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// Time between the beginnings of two fetches of a key that was read before, whoever asks and however they end. Only the
/// first who asks after the start does not wait for it.
pub const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(30);

/// Time from the first failure to the next attempt, or up to half as long again.
///
/// It doubles with every further failure: up to [`REFRESH_INTERVAL_MIN`] for a key that was never read, and from there
/// up to [`REFRESH_INTERVAL`] for one whose last known versions may serve.
pub const RETRY_DELAY_MIN: Duration = Duration::from_secs(5);

/// Time that the last known versions vouch while a key cannot be read.
pub const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Time for one fetch of a key: credentials, the list of its versions, each version.
pub const FETCH_TIME_MAX: Duration = Duration::from_secs(10);

/// Time to set up a connection to a key service.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// Bytes of one answer of a key service that are read at most.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a file with a token or certificates that are read at most.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Characters of what a service says that are repeated in an error.
pub const MESSAGE_CHARS_MAX: usize = 400;

/// Pages of a list of versions that are followed.
pub const LIST_PAGES_MAX: usize = 10;

/// Versions on one page. A page of that many stays below [`ANSWER_BYTES_MAX`].
pub const LIST_PAGE_VERSIONS: usize = 100;

/// Requests for versions of one key that are under way at once.
pub const REQUESTS_AT_ONCE_MAX: usize = 4;

/// Time to look for a metadata server where none need be: the endpoint is on this machine.
pub const CREDENTIALS_PROBE_TIME_MAX: Duration = Duration::from_secs(1);
