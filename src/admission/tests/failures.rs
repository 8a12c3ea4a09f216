//! Failure is never a pass: an error, a panic, a silence and a client that leaves, at every call of the upstream that
//! decisions make, and a database that fails. What cannot be known then is not decided, and is decided right afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::forge::{Key, Signature};
use super::house::{House, Process, Settings, after, asked};
use super::question::{authority, now, signed_by};
use super::registry::{Pushed, Registry};
use crate::admission::Outcome;
use crate::decision_log::Subject;
use crate::limits::Limits;
use crate::oci::{Digest, PageQuery, Reference, RepositoryName};
use crate::policy::Policy;
use crate::upstream::{self, FetchedBlob, FetchedManifest, ManifestHead, Page, Purpose, Upstream};
use crate::verify::TrustedRoot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Error,
    Refused,
    Panic,
    /// No answer until the time is over.
    Silence,
    /// The answer waits for the test.
    Held,
}

/// A registry of which one call, counted from 0, goes wrong.
#[derive(Debug)]
struct Faulty {
    inner: Arc<Registry>,
    fault: Fault,
    at: usize,
    calls: AtomicUsize,
    reached: Semaphore,
    released: Semaphore,
}

impl Faulty {
    fn new(inner: &Arc<Registry>, fault: Fault, at: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            fault,
            at,
            calls: AtomicUsize::new(0),
            reached: Semaphore::new(0),
            released: Semaphore::new(0),
        })
    }

    /// Whether the call has been made.
    fn has_struck(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.at
    }

    async fn strike(&self, deadline: Instant) -> Result<(), upstream::Error> {
        if self.calls.fetch_add(1, Ordering::SeqCst) != self.at {
            return Ok(());
        }
        self.reached.add_permits(1);
        let host = "registry.example".to_owned();
        match self.fault {
            Fault::Error => Err(upstream::Error::Failed {
                host,
                reason: "broken on purpose".to_owned(),
            }),
            Fault::Refused => Err(upstream::Error::Denied { host, status: 403 }),
            Fault::Panic => panic!("on purpose"),
            Fault::Silence => {
                tokio::time::sleep_until(deadline).await;
                Err(upstream::Error::Failed {
                    host,
                    reason: "silent on purpose".to_owned(),
                })
            }
            Fault::Held => {
                self.released.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Upstream for Faulty {
    fn is_configured(&self, host: &str) -> bool {
        self.inner.is_configured(host)
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<FetchedManifest, upstream::Error> {
        self.strike(deadline).await?;
        self.inner
            .manifest(repository, reference, purpose, deadline)
            .await
    }

    async fn small_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit_bytes: u64,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Bytes, upstream::Error> {
        self.strike(deadline).await?;
        self.inner
            .small_blob(repository, digest, limit_bytes, purpose, deadline)
            .await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        query: Option<&PageQuery>,
        deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        self.strike(deadline).await?;
        self.inner
            .referrers(repository, digest, query, deadline)
            .await
    }

    async fn head_manifest(
        &self,
        _repository: &RepositoryName,
        _reference: &Reference,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<ManifestHead, upstream::Error> {
        unimplemented!("tags are not resolved here")
    }

    async fn blob(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _offset: u64,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<FetchedBlob, upstream::Error> {
        unimplemented!("blobs are not transferred here")
    }

    async fn confirm_blob(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _size: u64,
        _deadline: Instant,
    ) -> Result<(), upstream::Error> {
        unimplemented!("blobs are not transferred here")
    }

    async fn tags(
        &self,
        _repository: &RepositoryName,
        _query: Option<&PageQuery>,
        _deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        unimplemented!("tags are not listed here")
    }
}

/// What is asked for in this order, and what becomes of the last one when nothing fails.
struct Scene {
    name: &'static str,
    asks: Vec<Pushed>,
    right: &'static str,
}

/// A key and, for each way in which an image is signed or not, one that is.
fn scenes(registry: &Registry, key: &Key) -> Vec<Scene> {
    let scene = |name, asks, right| Scene { name, asks, right };
    let legacy = registry.push_image("legacy");
    registry.sign(&legacy, key);
    let referred = registry.push_image("referred");
    let artifact = registry.push_layers(&[Signature::default().by(key, &referred.digest)]);
    registry.refer(&referred, &artifact);
    let unsigned = registry.push_image("unsigned");
    let foreign = registry.push_image("signed by somebody");
    registry.sign(&foreign, &Key::generate());
    let child = registry.push_image("child");
    let index = registry.push_index(&[&child]);
    registry.sign(&index, key);
    let stray = registry.push_image("stray");
    let unsigned_index = registry.push_index(&[&stray]);
    vec![
        scene("legacy", vec![legacy], "admit"),
        scene("referred", vec![referred], "admit"),
        scene("unsigned", vec![unsigned], "deny"),
        scene("foreign", vec![foreign], "deny"),
        scene("child", vec![index, child], "admit"),
        scene("stray child", vec![unsigned_index, stray], "deny"),
    ]
}

fn policy(key: &Key) -> Policy {
    let root = Arc::new(TrustedRoot::public_good().unwrap());
    signed_by(&[&authority("first", key, &root)], 1)
}

fn settings() -> Settings {
    Settings {
        limits: Limits {
            decision_time_max: Duration::from_millis(800),
            ..Limits::default()
        },
        ..Settings::default()
    }
}

fn repository(number: usize) -> RepositoryName {
    format!("registry.example/apps/n{number}").parse().unwrap()
}

async fn decide(
    process: &Process<'_>,
    repository: &RepositoryName,
    pushed: &Pushed,
    now: Timestamp,
) -> &'static str {
    let subject = Subject {
        repository: repository.clone(),
        digest: pushed.digest,
    };
    // As the server asks: what is remembered serves.
    let decided = match process.admission.remembered(&subject, now) {
        Some(decision) => Ok(decision),
        None => process.admission.decide(&subject, None, &asked(now)).await,
    };
    match decided {
        Ok(decision) => match &decision.outcome {
            Outcome::Admit { .. } => "admit",
            Outcome::Deny(_) => "deny",
            Outcome::Unavailable { .. } => "unavailable",
        },
        Err(_cannot_decide) => "failed",
    }
}

/// All that is asked for, as a runtime does, which does not go on after 503; what becomes of the last one.
async fn decide_all(
    process: &Process<'_>,
    repository: &RepositoryName,
    asks: &[Pushed],
    now: Timestamp,
) -> &'static str {
    let mut last = "";
    for pushed in asks {
        last = decide(process, repository, pushed, now).await;
        if matches!(last, "unavailable" | "failed") {
            break;
        }
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_no_call_is_a_failure_a_pass() {
    let (house, key) = (House::new().await, Key::generate());
    let scenes = scenes(&house.registry, &key);
    let faults = [Fault::Error, Fault::Refused, Fault::Panic, Fault::Silence];
    let sweeps = scenes
        .iter()
        .flat_map(|scene| faults.map(|fault| (scene, fault)))
        .enumerate()
        .map(|(number, (scene, fault))| sweep(&house, &key, scene, fault, 100 * number));
    let problems = futures::future::join_all(sweeps).await.concat();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Lets each call of the scene fail in turn; what came of it that should not have.
async fn sweep(house: &House, key: &Key, scene: &Scene, fault: Fault, first: usize) -> Vec<String> {
    let (name, mut problems) = (scene.name, Vec::new());
    for call in 0.. {
        let faulty = Faulty::new(&house.registry, fault, call);
        let upstream = Arc::<Faulty>::clone(&faulty);
        let process = house.process_before(upstream, vec![policy(key)], settings());
        let repository = repository(first + call);
        let during = decide_all(&process, &repository, &scene.asks, now()).await;
        let struck = faulty.has_struck();
        if !struck {
            assert!(call > 2, "{name}: only {call} calls");
            assert_eq!(during, scene.right, "{name}, where nothing fails");
            break;
        }
        // An admission that the remaining sources support is right. A refusal is not: something was not known.
        let is_refusal = during == "deny" && scene.asks.len() == 1;
        if is_refusal || ![scene.right, "unavailable", "failed"].contains(&during) {
            problems.push(format!("{name}, {fault:?} at call {call}: {during}"));
        }
        // A failure to decide is remembered for a second, a refusal for thirty.
        let later = after(now(), 31);
        let afterwards = decide_all(&process, &repository, &scene.asks, later).await;
        if afterwards != scene.right {
            problems.push(format!(
                "{name}, after {fault:?} at call {call}: {afterwards}"
            ));
        }
    }
    problems
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_changes_nothing() {
    let (house, key) = (House::new().await, Key::generate());
    let mut number = 10_000;
    for scene in scenes(&house.registry, &key) {
        for call in 0.. {
            number += 1;
            let faulty = Faulty::new(&house.registry, Fault::Held, call);
            let upstream = Arc::<Faulty>::clone(&faulty);
            let process = house.process_before(upstream, vec![policy(&key)], Settings::default());
            let repository = repository(number);
            tokio::select! {
                reached = faulty.reached.acquire() => reached.unwrap().forget(),
                _outcome = decide_all(&process, &repository, &scene.asks, now()) => {}
            }
            faulty.released.add_permits(1);
            let both = (
                decide_all(&process, &repository, &scene.asks, now()),
                decide_all(&process, &repository, &scene.asks, now()),
            );
            let outcomes = tokio::join!(both.0, both.1);
            let right = (scene.right, scene.right);
            assert_eq!(outcomes, right, "{}, left at call {call}", scene.name);
            if !faulty.has_struck() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_what_panics_are_told_and_may_ask_again() {
    let (house, key) = (House::new().await, Key::generate());
    let image = house.registry.push_image("image");
    house.registry.sign(&image, &key);
    let faulty = Faulty::new(&house.registry, Fault::Panic, 0);
    let process = house.process_before(faulty, vec![policy(&key)], Settings::default());
    let repository = repository(1);
    let outcomes =
        futures::future::join_all((0..20).map(|_| decide(&process, &repository, &image, now())))
            .await;
    assert!(outcomes.contains(&"failed"), "{outcomes:?}");
    assert!(!outcomes.contains(&"deny"), "{outcomes:?}");
    assert_eq!(decide(&process, &repository, &image, now()).await, "admit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_admits_nothing() {
    let (house, key) = (House::new().await, Key::generate());
    let database =
        rusqlite::Connection::open(house.directory.path().join("state.sqlite3")).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    let mut number = 20_000;
    for scene in scenes(&house.registry, &key) {
        for table in ["decisions", "evidence", "parents", "manifests"] {
            number += 1;
            let process = house.process(vec![policy(&key)]);
            let rename = |from: &str, to: &str| {
                let statement = format!("ALTER TABLE {from} RENAME TO {to}");
                database.execute(&statement, []).unwrap();
            };
            rename(table, "gone");
            let during = decide_all(&process, &repository(number), &scene.asks, now()).await;
            rename("gone", table);
            assert_eq!(during, "failed", "{} without {table}", scene.name);
            let later = after(now(), 31);
            let afterwards = decide_all(&process, &repository(number), &scene.asks, later).await;
            assert_eq!(
                afterwards, scene.right,
                "{} after {table} is back",
                scene.name
            );
        }
    }
}
