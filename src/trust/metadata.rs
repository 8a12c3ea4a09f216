//! TUF metadata: fetched and verified by `sigstore-tuf`, and what is added to its checks.
//!
//! What was fetched is kept as files. Reading them back replays them through the same client from the initial root, so
//! that nothing is believed because of where it lies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use jiff::Timestamp;
use serde::Serialize;
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{
    Error, Key, Metadata, MetadataStore, Repository, Root, Targets, TrustedMetadataSet, Updater,
    UpdaterConfig,
};

use super::FILE_BYTES_MAX;

/// Roots that were verified one after the other, by version; without the initial one.
pub(super) type Chain = BTreeMap<u64, Vec<u8>>;

/// A complete set of metadata with its target, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    /// The version of the root that the metadata were verified under.
    pub(super) root_version: u64,
    /// By the names under which the client keeps them.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// A set whose signatures, versions and hashes were verified from the initial root.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) set: Set,
    pub(super) target: Vec<u8>,
    pub(super) summary: Summary,
}

/// The versions in force and until when they are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Version of the root.
    pub root: u64,
    /// Version of the timestamp.
    pub timestamp: u64,
    /// Version of the snapshot.
    pub snapshot: u64,
    /// Version of the top-level targets.
    pub targets: u64,
    /// When the first of the four expires.
    pub expires: Timestamp,
    /// When the timestamp expires: what it proves about the time does not reach further.
    pub timestamp_expires: Timestamp,
}

/// What a visit to a repository brought.
pub(super) struct Visit {
    /// The roots that follow the initial one, those before a failure included.
    pub(super) chain: Chain,
    pub(super) outcome: Result<Verified, Error>,
}

const HISTORY: &str = "root_history/";
const NEVER: Timestamp = Timestamp::MIN;

/// Whether `name` is a plain relative path: a target's name becomes part of an address (CVE-2026-24137).
pub(super) fn is_plain_path(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.split('/').all(|part| {
        !part.is_empty() && part.bytes().all(is_plain) && part.bytes().any(|byte| byte != b'.')
    })
}

/// When an initial root expires, if it can be one.
pub(super) fn read_initial(bytes: &[u8]) -> Result<Timestamp, Error> {
    check_keys(bytes)?;
    let trusted = TrustedMetadataSet::from_root(bytes)?;
    Ok(trusted.root().expires)
}

/// As much of `chain` as follows from the initial root.
pub(super) fn verified_chain(initial: &[u8], chain: &Chain) -> Result<Chain, Error> {
    let mut trusted = TrustedMetadataSet::from_root(initial)?;
    let mut verified = Chain::new();
    while let Some(next) = chain.get(&(trusted.root().version + 1)) {
        if check_keys(next)
            .and_then(|()| trusted.update_root(next))
            .is_err()
        {
            break;
        }
        verified.insert(trusted.root().version, next.clone());
    }
    Ok(verified)
}

/// Verifies a set as it was kept, expired or not: every signature, version, length and hash from the initial root on.
pub(super) fn replay(
    initial: &[u8],
    chain: &Chain,
    set: &Set,
    target: &str,
) -> Result<Verified, Error> {
    let kept = Kept {
        chain: chain.clone(),
        set: set.clone(),
        target: format!("targets/{target}"),
    };
    at_hand(initial, kept, target)
}

/// Verifies a repository that answers at once, expired or not: every signature, version, length and hash from the initial
/// root on.
pub(super) fn at_hand(
    initial: &[u8],
    repository: impl Repository + 'static,
    target: &str,
) -> Result<Verified, Error> {
    let recorder = Arc::new(Recorder::default());
    let updater = Updater::new(Checked(repository), initial)?
        .with_config(limits())
        .with_store(Arc::clone(&recorder));
    // Nothing here waits.
    let verified = run(updater, &recorder, target, NEVER).now_or_never();
    verified.unwrap_or_else(|| Err(Error::NotRefreshed))
}

/// The TUF client workflow against `repository`, with what is known as the floor of all versions.
pub(super) async fn refresh(
    initial: &[u8],
    repository: impl Repository + 'static,
    known: (&Chain, Option<&Set>),
    target: &str,
    now: Timestamp,
) -> Visit {
    let (chain, set) = known;
    let recorder = Arc::new(Recorder::seeded(initial, chain, set));
    let outcome = match Updater::new(Checked(repository), initial) {
        Ok(updater) => {
            let updater = updater
                .with_config(limits())
                .with_store(Arc::clone(&recorder));
            Box::pin(run(updater, &recorder, target, now)).await
        }
        Err(error) => Err(error),
    };
    // Whatever follows from a root stays known, though the rest of the visit failed.
    let found = recorder.chain();
    let chain = verified_chain(initial, &found).unwrap_or_default();
    Visit { chain, outcome }
}

async fn run(
    mut updater: Updater,
    recorder: &Recorder,
    target: &str,
    now: Timestamp,
) -> Result<Verified, Error> {
    updater.refresh(now).await?;
    let bytes = updater.get_target(target, now).await?;
    let trusted = updater.trusted();
    let (Some(timestamp), Some(snapshot), Some(targets)) = (
        trusted.timestamp(),
        trusted.snapshot(),
        trusted.targets_role("targets"),
    ) else {
        return Err(Error::NotRefreshed);
    };
    let root = trusted.root();
    let expires = root.expires.min(timestamp.expires).min(snapshot.expires);
    Ok(Verified {
        set: Set {
            root_version: root.version,
            files: recorder.lower(),
        },
        target: bytes,
        summary: Summary {
            root: root.version,
            timestamp: timestamp.version,
            snapshot: snapshot.version,
            targets: targets.version,
            expires: expires.min(targets.expires),
            timestamp_expires: timestamp.expires,
        },
    })
}

fn limits() -> UpdaterConfig {
    let mut config = UpdaterConfig::default();
    config.target_max_length = FILE_BYTES_MAX;
    config
}

/// No key may stand under two names in one role: the client counts names, so one signer could meet a threshold of two
/// (GHSA-3633-5h82-39pq).
fn check_keys(bytes: &[u8]) -> Result<(), Error> {
    // What is neither is refused, or has no keys, where it is read.
    if let Ok(root) = Metadata::<Root>::from_slice(bytes) {
        let root = root.signed();
        for (role, role_keys) in &root.roles {
            check_distinct(role, &role_keys.keyids, &root.keys)?;
        }
    } else if let Ok(targets) = Metadata::<Targets>::from_slice(bytes) {
        let Some(delegations) = &targets.signed().delegations else {
            return Ok(());
        };
        for role in &delegations.roles {
            check_distinct(&role.name, &role.keyids, &delegations.keys)?;
        }
    }
    Ok(())
}

fn check_distinct(role: &str, ids: &[String], keys: &BTreeMap<String, Key>) -> Result<(), Error> {
    let ids: BTreeSet<_> = ids.iter().collect();
    let mut seen = BTreeSet::new();
    for id in ids {
        // A key that cannot be used verifies nothing, so it counts for nothing.
        let Some(key) = keys.get(id).and_then(|key| key.verification_key().ok()) else {
            continue;
        };
        if !seen.insert(key.as_bytes().to_vec()) {
            return Err(Error::Malformed(format!(
                "a key of role {role} stands under two names"
            )));
        }
    }
    Ok(())
}

/// A repository whose answers, and the names asked for, are checked before the client sees them.
struct Checked<R>(R);

impl<R: Repository> Repository for Checked<R> {
    fn fetch_metadata<'a>(&'a self, name: &'a str, bytes_max: u64) -> FetchFuture<'a> {
        Box::pin(async move {
            // The names of delegated roles are percent-encoded, so nothing else can leave the directory.
            if !is_plain_path(&name.replace('%', "")) || name.contains('/') {
                return Err(Error::Malformed(format!("{name:?} is no file name")));
            }
            let found = self.0.fetch_metadata(name, bytes_max).await?;
            if let Some(bytes) = &found {
                check_keys(bytes)?;
            }
            Ok(found)
        })
    }

    fn fetch_target<'a>(&'a self, path: &'a str, bytes_max: u64) -> FetchFuture<'a> {
        // The hash in front of the name comes from the metadata as any text.
        if !is_plain_path(path) {
            let error = Error::Malformed(format!("{path:?} is no path of a target"));
            return Box::pin(async move { Err(error) });
        }
        self.0.fetch_target(path, bytes_max)
    }
}

/// What was kept, as a repository.
struct Kept {
    chain: Chain,
    set: Set,
    target: String,
}

impl Repository for Kept {
    fn fetch_metadata<'a>(&'a self, name: &'a str, _bytes_max: u64) -> FetchFuture<'a> {
        let version = name.strip_suffix(".root.json").map(str::parse::<u64>);
        let found = match version {
            // Later roots may have other keys; the set was verified under this one.
            Some(Ok(version)) if version > self.set.root_version => None,
            Some(Ok(version)) => self.chain.get(&version),
            Some(Err(_)) | None => self.set.files.get(name).or_else(|| {
                let (_version, name) = name.split_once('.')?;
                self.set.files.get(name)
            }),
        };
        let found = found.cloned();
        Box::pin(async move { Ok(found) })
    }

    fn fetch_target<'a>(&'a self, _path: &'a str, _bytes_max: u64) -> FetchFuture<'a> {
        let found = self.set.files.get(&self.target).cloned();
        Box::pin(async move { Ok(found) })
    }
}

/// What the client knew and learns, in memory.
#[derive(Debug, Default)]
struct Recorder {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// The root under which the known set was verified.
    known_root: Option<Vec<u8>>,
}

impl Recorder {
    fn seeded(initial: &[u8], chain: &Chain, set: Option<&Set>) -> Self {
        let mut files = BTreeMap::new();
        for (version, bytes) in chain {
            files.insert(format!("{HISTORY}{version}.root.json"), bytes.clone());
        }
        if let Some(set) = set {
            files.extend(set.files.clone());
        }
        Self {
            files: Mutex::new(files),
            known_root: set.map(|set| {
                let root = chain.get(&set.root_version).map(Vec::as_slice);
                root.unwrap_or(initial).to_vec()
            }),
        }
    }

    fn chain(&self) -> Chain {
        let version = |name: &str| {
            let name = name.strip_prefix(HISTORY)?;
            name.strip_suffix(".root.json")?.parse().ok()
        };
        self.with(|files| {
            let roots = files.iter();
            roots
                .filter_map(|(name, bytes)| Some((version(name)?, bytes.clone())))
                .collect()
        })
    }

    /// All but roots, each under one name.
    fn lower(&self) -> BTreeMap<String, Vec<u8>> {
        let is_lower = |name: &str| {
            let is_versioned_snapshot = name
                .strip_suffix(".snapshot.json")
                .is_some_and(|version| version.parse::<u64>().is_ok());
            name != "root.json" && !name.starts_with(HISTORY) && !is_versioned_snapshot
        };
        self.with(|files| {
            let files = files.iter().filter(|(name, _)| is_lower(name));
            files
                .map(|(name, bytes)| (name.clone(), bytes.clone()))
                .collect()
        })
    }

    /// Whether the keys of timestamp or snapshot are others than those that signed what is known. Versions then start
    /// anew, or a fast-forwarded version could never be left behind (TUF specification 5.3.11).
    fn was_rotated(&self, files: &BTreeMap<String, Vec<u8>>) -> bool {
        let (Some(known), Some(current)) = (&self.known_root, files.get("root.json")) else {
            return false;
        };
        match (online_keys(known), online_keys(current)) {
            (Some(known), Some(current)) => known != current,
            _unreadable => true,
        }
    }

    fn with<T>(&self, read: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        read(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MetadataStore for Recorder {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let is_lower = matches!(name, "timestamp.json" | "snapshot.json");
        Ok(self.with(|files| {
            if is_lower && self.was_rotated(files) {
                return None;
            }
            files.get(name).cloned()
        }))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.with(|files| files.insert(name.to_owned(), bytes.to_vec()));
        Ok(())
    }
}

/// The keys of the two roles that sign without people.
fn online_keys(root: &[u8]) -> Option<BTreeSet<(String, Vec<u8>)>> {
    let root = Metadata::<Root>::from_slice(root).ok()?;
    let root = root.signed();
    let mut keys = BTreeSet::new();
    for role in ["timestamp", "snapshot"] {
        for id in &root.role(role)?.keyids {
            let key = root.keys.get(id)?.verification_key().ok()?;
            keys.insert((role.to_owned(), key.as_bytes().to_vec()));
        }
    }
    Some(keys)
}
