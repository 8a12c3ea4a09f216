//! A trusted root from a TUF repository: what is known of it, how it is kept, how it is fetched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::metadata::{self, Chain, Set, Summary};
use super::mirror::{self, Mirror, SharedClient};
use super::roots::{Error, Source};
use super::stored::{Directory, Stored};
use crate::oci::Digest;
use crate::verify::TrustedRoot;

/// The TUF root of the public-good instance that this version was built with: version 16, from
/// <https://github.com/sigstore/root-signing>.
const PUBLIC_GOOD_ROOT: &[u8] = include_bytes!("public_good_root.json");
const PUBLIC_GOOD_URL: &str = "https://tuf-repo-cdn.sigstore.dev/";
/// The day on which the embedded trusted root was current. What was confirmed earlier than that is older than it.
pub(super) const EMBEDDED_SINCE: Timestamp = Timestamp::constant(1_792_713_600, 0);
/// Digest of the embedded trusted root that the day above is for.
#[cfg(test)]
pub(super) const EMBEDDED_DIGEST: &str =
    "sha256:6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66";
const REFRESH_TIME_MAX: Duration = Duration::from_secs(120);

/// Where a repository is and what is believed of it from the start.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) base: Url,
    initial: Vec<u8>,
    initial_expires: Timestamp,
    target: String,
    pub(super) embedded: Option<Arc<TrustedRoot>>,
    /// For all requests of one refresh together.
    pub(super) time_max: Duration,
    directory: Option<Directory>,
    /// Held while something is being kept.
    pub(super) keeping: Arc<tokio::sync::Mutex<()>>,
    client: SharedClient,
}

/// What is known, all of it verified.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) stored: Stored,
    confirmed: Option<Confirmed>,
}

/// What a complete set says.
#[derive(Debug, Clone)]
struct Confirmed {
    root: Arc<TrustedRoot>,
    summary: Summary,
}

/// What a repository vouches for now.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) root: Option<Arc<TrustedRoot>>,
    /// The metadata; absent while the embedded root serves.
    pub(super) summary: Option<Summary>,
    /// When the repository last confirmed the root, at most the time until which it had signed that.
    pub(super) refreshed: Option<Timestamp>,
    /// From when on the age of the root counts.
    pub(super) counts_from: Option<Timestamp>,
    /// No clock is right that says less.
    pub(super) time_at_least: Option<Timestamp>,
}

impl Repository {
    pub(super) fn public_good(mirror: Option<&Url>, client: SharedClient) -> Result<Self, Error> {
        let default = || Url::parse(PUBLIC_GOOD_URL).map_err(Error::Url);
        let url = mirror.map_or_else(default, |url| Ok(url.clone()))?;
        let embedded = TrustedRoot::public_good().map_err(Error::NotUsable)?;
        let initial = PUBLIC_GOOD_ROOT.to_vec();
        let mut repository = Self::new(&url, initial, Source::TARGET, client)?;
        repository.embedded = Some(Arc::new(embedded));
        Ok(repository)
    }

    pub(super) fn new(
        url: &Url,
        initial: Vec<u8>,
        target: &str,
        client: SharedClient,
    ) -> Result<Self, Error> {
        if !metadata::is_plain_path(target) {
            return Err(Error::Target {
                target: target.to_owned(),
            });
        }
        let base = mirror::base(url).map_err(|source| Error::Address {
            url: url.clone(),
            source,
        })?;
        let initial_expires = metadata::read_initial(&initial).map_err(Error::InitialRoot)?;
        Ok(Self {
            base,
            initial,
            initial_expires,
            target: target.to_owned(),
            embedded: None,
            time_max: REFRESH_TIME_MAX,
            directory: None,
            keeping: Arc::default(),
            client,
        })
    }

    /// Keeps what is fetched in `parent`, and knows what is there.
    pub(super) fn keep_in(&mut self, parent: &Path, name: &str) -> Result<(), Error> {
        let directory = Directory::open(parent, name).map_err(|source| Error::Directory {
            path: parent.to_owned(),
            source,
        })?;
        self.directory = Some(directory);
        Ok(())
    }

    /// What the directory holds, as far as it verifies; the embedded root otherwise.
    pub(super) fn open(&self, now: Timestamp) -> Result<Known, Error> {
        let nothing = Stored {
            initial: Digest::sha256(&self.initial),
            first_used: now,
            chain: Chain::new(),
            confirmed: None,
        };
        let nothing = Known {
            stored: nothing,
            confirmed: None,
        };
        // Written at once, so that the age of a root that is never refreshed counts from here and not from a restart.
        self.keep(nothing)
    }

    /// Merges `ours` with what other processes have left in the directory, and keeps the result there.
    pub(super) fn keep(&self, ours: Known) -> Result<Known, Error> {
        let Some(directory) = &self.directory else {
            return Ok(ours);
        };
        let mut merged = None;
        let update = directory.update(|theirs| {
            let known = match &theirs {
                Some(theirs) => self.merge(ours, theirs),
                None => ours,
            };
            let mut stored = known.stored.clone();
            if stored.confirmed.is_none() {
                // Perhaps another version can read it.
                stored.confirmed = theirs.and_then(|theirs| theirs.confirmed);
            }
            merged = Some(known);
            stored
        });
        update.map_err(|source| self.not_kept(source))?;
        merged.ok_or(Error::Ended)
    }

    pub(super) fn not_kept(&self, source: std::io::Error) -> Error {
        let path = self.directory.as_ref().map(Directory::path);
        let path = path.unwrap_or_else(|| Path::new("")).to_owned();
        Error::Directory { path, source }
    }

    /// The newer of both, by versions where they are signed, by time otherwise.
    fn merge(&self, ours: Known, theirs: &Stored) -> Known {
        let order = |known: &Known| {
            let confirmed = known.confirmed.as_ref()?;
            let time = known.stored.confirmed.as_ref()?.1;
            let summary = confirmed.summary;
            Some((summary.root, summary.timestamp, time))
        };
        let theirs = self.read(theirs);
        let first_used = if theirs.stored.initial == ours.stored.initial {
            theirs.stored.first_used.min(ours.stored.first_used)
        } else {
            ours.stored.first_used
        };
        let mut chain = theirs.stored.chain.clone();
        chain.extend(ours.stored.chain.clone());
        let initial = ours.stored.initial;
        let mut newer = if order(&theirs) > order(&ours) {
            theirs
        } else {
            ours
        };
        newer.stored.first_used = first_used;
        newer.stored.initial = initial;
        newer.stored.chain = chain;
        newer
    }

    /// What can be believed of a stored state: what follows from the initial root.
    fn read(&self, stored: &Stored) -> Known {
        let mut stored = stored.clone();
        let mut confirmed = None;
        if let Some((set, time)) = stored.confirmed.take() {
            match self.confirm(&stored.chain, &set) {
                Ok((verified, root)) => {
                    // Nobody can have confirmed it later than it was signed for.
                    let time = time.min(verified.summary.timestamp_expires);
                    stored.confirmed = Some((verified.set, time));
                    let summary = verified.summary;
                    confirmed = Some(Confirmed { root, summary });
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "The stored state of a trusted root does not verify and is ignored"
                ),
            }
        }
        Known { stored, confirmed }
    }

    fn confirm(
        &self,
        chain: &Chain,
        set: &Set,
    ) -> Result<(metadata::Verified, Arc<TrustedRoot>), Error> {
        let verified =
            metadata::replay(&self.initial, chain, set, &self.target).map_err(Error::Repository)?;
        let root = usable(&verified.target)?;
        Ok((verified, root))
    }

    /// Asks the repository. What it confirms, and roots it has beyond those known, come back even when the rest failed.
    pub(super) async fn fetch(&self, known: &Known, now: Timestamp) -> (Known, Result<(), Error>) {
        let mut found = known.clone();
        let client = match self.client.get(&self.base).await {
            Ok(client) => client,
            Err(error) => return (found, Err(Error::Client(error))),
        };
        let chain = metadata::verified_chain(&self.initial, &known.stored.chain);
        let chain = chain.unwrap_or_default();
        let set = known.stored.confirmed.as_ref().map(|(set, _)| set);
        let mirror = Mirror::new(self.base.clone(), client);
        let visit = metadata::refresh(&self.initial, mirror, (&chain, set), &self.target, now);
        let Ok(visit) = tokio::time::timeout(self.time_max, visit).await else {
            return (found, Err(Error::TimeOut));
        };
        found.stored.chain.extend(visit.chain);
        let outcome = visit.outcome.map_err(Error::Repository);
        let outcome = outcome.and_then(|verified| {
            let root = usable(&verified.target)?;
            let time = now.min(verified.summary.timestamp_expires);
            found.stored.confirmed = Some((verified.set, time));
            let summary = verified.summary;
            found.confirmed = Some(Confirmed { root, summary });
            Ok(())
        });
        (found, outcome)
    }

    pub(super) fn standing(&self, known: &Known) -> Standing {
        let stored = known.stored.confirmed.as_ref();
        let confirmed = known.confirmed.as_ref().zip(stored);
        let Some(embedded) = &self.embedded else {
            return confirmed.map_or_else(Standing::default, Standing::confirmed);
        };
        match confirmed {
            Some((confirmed, stored)) if stored.1 >= EMBEDDED_SINCE => {
                Standing::confirmed((confirmed, stored))
            }
            // A release brings a root that is newer than what an older one had fetched.
            Some(_) | None => Standing {
                root: Some(Arc::clone(embedded)),
                // Its signers vouch for it until then and no longer, however often it is installed anew.
                counts_from: Some(
                    known
                        .stored
                        .first_used
                        .max(EMBEDDED_SINCE)
                        .min(self.initial_expires),
                ),
                time_at_least: Some(EMBEDDED_SINCE),
                ..Standing::default()
            },
        }
    }
}

impl Standing {
    fn confirmed((confirmed, (_, time)): (&Confirmed, &(Set, Timestamp))) -> Self {
        Self {
            root: Some(Arc::clone(&confirmed.root)),
            summary: Some(confirmed.summary),
            refreshed: Some(*time),
            counts_from: Some(*time),
            time_at_least: Some(*time),
        }
    }
}

/// The trusted root in `bytes`, if it is one that anybody could be believed by.
pub(super) fn usable(bytes: &[u8]) -> Result<Arc<TrustedRoot>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_not_text| Error::NotText)?;
    let root = TrustedRoot::from_json(text).map_err(Error::NotUsable)?;
    if root.authorities().is_empty() {
        return Err(Error::Empty);
    }
    Ok(Arc::new(root))
}
