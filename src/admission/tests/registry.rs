//! A registry that answers from memory, and an admission in front of it. Time is what the test says.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::forge::{Key, Layer, Signature};
use super::question::{now, repository};
use crate::admission::{Admission, Asked, BlobGrant, Error, Freshness, Outcome, Parts, Sink};
use crate::admission::{Admitted, Decision, Denial};
use crate::decision_log::{Basis, Client, Record, Subject};
use crate::discovery::Discovery;
use crate::limits::Limits;
use crate::manifests::Manifests;
use crate::oci::{Digest, Reference, RepositoryName, media_type};
use crate::policy::{DefaultAction, Policies, Policy, Revoked};
use crate::state::{Batch, State};
use crate::store::Store;
use crate::upstream::{self, FetchedBlob, FetchedManifest, ManifestHead, Page, Purpose, Upstream};

pub(super) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A manifest in the registry.
#[derive(Debug, Clone)]
pub(super) struct Pushed {
    pub(super) digest: Digest,
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
}

impl Pushed {
    pub(super) fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": self.digest.to_string(),
            "size": self.bytes.len(),
        })
    }
}

/// How the registry fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It does not answer.
    Unreachable,
    /// It refuses us.
    Refusing,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    manifests: HashMap<Digest, Pushed>,
    tags: HashMap<String, Digest>,
    blobs: HashMap<Digest, Bytes>,
    referrers: HashMap<Digest, Vec<Value>>,
    trouble: HashMap<Purpose, Trouble>,
    asked: Vec<Purpose>,
    /// The source that answers last; the cosign tag where nothing else is said.
    last: Option<Purpose>,
}

const EVERY: [Purpose; 6] = [
    Purpose::Manifest,
    Purpose::Blob,
    Purpose::Tags,
    Purpose::Referrers,
    Purpose::ReferrersTag,
    Purpose::CosignTag,
];
const SOURCES: [Purpose; 3] = [
    Purpose::CosignTag,
    Purpose::Referrers,
    Purpose::ReferrersTag,
];

impl Registry {
    pub(super) fn push(&self, media_type: &'static str, manifest: &Value) -> Pushed {
        let bytes = Bytes::from(manifest.to_string());
        let pushed = Pushed {
            digest: Digest::sha256(&bytes),
            media_type,
            bytes,
        };
        self.contents()
            .manifests
            .insert(pushed.digest, pushed.clone());
        pushed
    }

    /// An image with one layer of a file system.
    pub(super) fn push_image(&self, seed: &str) -> Pushed {
        self.push_layers(&[Layer::new(
            TAR,
            format!("the files of {seed}").into_bytes(),
            HashMap::new().into_iter().collect(),
        )])
    }

    pub(super) fn push_layers(&self, layers: &[Layer]) -> Pushed {
        let described: Vec<_> = layers.iter().map(described).collect();
        for layer in layers {
            self.push_blob(&layer.blob);
        }
        self.push_image_of(&described)
    }

    /// An image with these descriptors as its layers.
    pub(super) fn push_image_of(&self, layers: &[Value]) -> Pushed {
        let config = self.push_blob(b"{}");
        self.push(
            media_type::OCI_MANIFEST,
            &json!({
                "schemaVersion": 2,
                "config": {"mediaType": media_type::OCI_IMAGE_CONFIG, "digest": config.to_string(), "size": 2},
                "layers": layers,
            }),
        )
    }

    pub(super) fn push_index(&self, listed: &[&Pushed]) -> Pushed {
        let listed: Vec<_> = listed.iter().map(|pushed| pushed.descriptor()).collect();
        self.push_index_of(&listed)
    }

    pub(super) fn push_index_of(&self, listed: &[Value]) -> Pushed {
        let index = json!({"schemaVersion": 2, "manifests": listed});
        self.push(media_type::OCI_INDEX, &index)
    }

    pub(super) fn push_blob(&self, blob: &[u8]) -> Digest {
        let digest = Digest::sha256(blob);
        self.contents()
            .blobs
            .insert(digest, Bytes::copy_from_slice(blob));
        digest
    }

    pub(super) fn remove_blob(&self, digest: &Digest) {
        self.contents().blobs.remove(digest);
    }

    pub(super) fn tag(&self, tag: &str, pushed: &Pushed) {
        self.contents().tags.insert(tag.to_owned(), pushed.digest);
    }

    /// A legacy signature of `image`.
    pub(super) fn sign(&self, image: &Pushed, key: &Key) -> Pushed {
        self.attach(image, ".sig", Signature::default().by(key, &image.digest))
    }

    /// What lies under cosign's tag for `image`.
    pub(super) fn attach(&self, image: &Pushed, suffix: &str, layer: Layer) -> Pushed {
        let manifest = self.push_layers(&[layer]);
        self.tag(
            &format!("{}{suffix}", image.digest.to_tag_prefix()),
            &manifest,
        );
        manifest
    }

    /// Lists `referrer` among the referrers of `image`.
    pub(super) fn refer(&self, image: &Pushed, referrer: &Pushed) {
        let mut contents = self.contents();
        let listed = contents.referrers.entry(image.digest).or_default();
        listed.push(referrer.descriptor());
    }

    /// From now on the other sources answer before this one.
    pub(super) fn last(&self, source: Purpose) {
        self.contents().last = Some(source);
    }

    /// The sources are polled in turn: who has to be woken comes after those who answer at once.
    async fn wait(&self, purpose: Purpose) {
        let last = self.contents().last.unwrap_or(Purpose::CosignTag);
        if purpose == last {
            tokio::task::yield_now().await;
        }
    }

    /// From now on nothing is answered.
    pub(super) fn fail(&self, trouble: Trouble) {
        self.fail_at(&EVERY, trouble);
    }

    pub(super) fn fail_at(&self, purposes: &[Purpose], trouble: Trouble) {
        let failing = purposes.iter().map(|purpose| (*purpose, trouble));
        self.contents().trouble.extend(failing);
    }

    pub(super) fn recover(&self) {
        self.contents().trouble.clear();
    }

    /// Whether any source of signatures was asked since the last call.
    pub(super) fn was_asked_for_signatures(&self) -> bool {
        let asked: HashSet<_> = self.contents().asked.drain(..).collect();
        SOURCES.iter().any(|source| asked.contains(source))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    fn answer<T>(
        &self,
        purpose: Purpose,
        look: impl FnOnce(&Contents) -> Option<T>,
    ) -> Result<T, upstream::Error> {
        let mut contents = self.contents();
        contents.asked.push(purpose);
        let host = "registry.example".to_owned();
        match contents.trouble.get(&purpose) {
            Some(Trouble::Unreachable) => Err(upstream::Error::Failed {
                host,
                reason: "no connection".to_owned(),
            }),
            Some(Trouble::Refusing) => Err(upstream::Error::Denied { host, status: 403 }),
            None => look(&contents).ok_or(upstream::Error::NotFound {
                host,
                name_unknown: false,
            }),
        }
    }
}

/// The descriptor of a layer as it stands in a manifest.
pub(super) fn described(layer: &Layer) -> Value {
    json!({
        "mediaType": layer.descriptor.media_type,
        "digest": layer.descriptor.digest.to_string(),
        "size": layer.descriptor.size,
        "annotations": layer.descriptor.annotations,
    })
}

#[async_trait]
impl Upstream for Registry {
    fn is_configured(&self, _host: &str) -> bool {
        true
    }

    async fn manifest(
        &self,
        _repository: &RepositoryName,
        reference: &Reference,
        purpose: Purpose,
        _deadline: Instant,
    ) -> Result<FetchedManifest, upstream::Error> {
        self.wait(purpose).await;
        self.answer(purpose, |contents| {
            let digest = match reference {
                Reference::Digest(digest) => digest,
                Reference::Tag(tag) => contents.tags.get(tag.as_str())?,
            };
            contents
                .manifests
                .get(digest)
                .map(|pushed| FetchedManifest {
                    bytes: pushed.bytes.clone(),
                    digest: pushed.digest,
                    content_type: pushed.media_type.to_owned(),
                })
        })
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

    async fn small_blob(
        &self,
        _repository: &RepositoryName,
        digest: &Digest,
        _limit_bytes: u64,
        purpose: Purpose,
        _deadline: Instant,
    ) -> Result<Bytes, upstream::Error> {
        self.answer(purpose, |contents| contents.blobs.get(digest).cloned())
    }

    async fn head_blob(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _deadline: Instant,
    ) -> Result<Option<u64>, upstream::Error> {
        unimplemented!("blobs are not transferred here")
    }

    async fn referrers(
        &self,
        _repository: &RepositoryName,
        digest: &Digest,
        _next: Option<&str>,
        _deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        self.wait(Purpose::Referrers).await;
        self.answer(Purpose::Referrers, |contents| {
            let listed = contents.referrers.get(digest).cloned().unwrap_or_default();
            Some(Page {
                bytes: json!({"schemaVersion": 2, "manifests": listed})
                    .to_string()
                    .into(),
                content_type: media_type::OCI_INDEX.to_owned(),
                next: None,
            })
        })
    }

    async fn tags(
        &self,
        _repository: &RepositoryName,
        _n: Option<u32>,
        _last: Option<&str>,
        _deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        unimplemented!("tags are not listed here")
    }
}

/// Keeps the records it is told of.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<Record>>);

#[async_trait]
impl Sink for Told {
    async fn recorded(&self, record: &Record) {
        self.0.lock().unwrap().push(record.clone());
    }
}

/// What a process is told at its start.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) default: Option<DefaultAction>,
    pub(super) revoked: Revoked,
    pub(super) limits: Limits,
    pub(super) freshness: Freshness,
}

/// One data directory in front of one registry.
pub(super) struct House {
    pub(super) registry: Arc<Registry>,
    pub(super) state: State,
    pub(super) store: Store,
    pub(super) directory: TempDir,
    tasks: TaskTracker,
}

impl House {
    pub(super) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let tasks = TaskTracker::new();
        Self {
            registry: Arc::default(),
            state: State::open(directory.path()).unwrap(),
            store: Store::open(directory.path(), u64::MAX, &tasks)
                .await
                .unwrap(),
            directory,
            tasks,
        }
    }

    /// A process that remembers nothing and has these policies.
    pub(super) fn process(&self, policies: Vec<Policy>) -> Process<'_> {
        self.process_with(policies, Settings::default())
    }

    pub(super) fn process_with(&self, policies: Vec<Policy>, settings: Settings) -> Process<'_> {
        let limits = Arc::new(settings.limits);
        let upstream: Arc<dyn Upstream> = Arc::<Registry>::clone(&self.registry);
        let policies = policies
            .into_iter()
            .map(|policy| Arc::new(policy.with_hash()))
            .collect();
        let default = settings.default.unwrap_or(DefaultAction::Deny);
        let told = Arc::new(Told::default());
        let admission = Admission::new(Parts {
            policies: Arc::new(Policies::new(policies, default, settings.revoked, &limits)),
            manifests: Manifests::new(
                self.store.clone(),
                self.state.clone(),
                Arc::clone(&upstream),
                Arc::clone(&limits),
            ),
            discovery: Discovery::new(upstream, Arc::clone(&limits)),
            state: self.state.clone(),
            store: self.store.clone(),
            limits,
            freshness: settings.freshness,
            replica: "one".to_owned(),
            sink: Arc::<Told>::clone(&told),
            tasks: self.tasks.clone(),
        });
        Process {
            house: self,
            admission,
            told,
        }
    }

    /// Claims in the state that `parent` lists `child`.
    pub(super) async fn hint(&self, parent: &Digest, child: &Digest) {
        let batch = Batch {
            parents: vec![(subject(parent), vec![*child])],
            ..Batch::default()
        };
        self.state.write(batch).await.unwrap();
    }

    /// Waits for what goes on in the background.
    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

pub(super) fn subject(digest: &Digest) -> Subject {
    Subject {
        repository: repository(),
        digest: *digest,
    }
}

pub(super) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap()
}

/// Decides, in words.
pub(super) struct Process<'h> {
    house: &'h House,
    pub(super) admission: Admission,
    told: Arc<Told>,
}

impl Process<'_> {
    /// The basis of an admission, the kind of a denial, or `unavailable`; a failure in words of its own. As asked
    /// through the server: from memory if that holds.
    pub(super) async fn decide(&self, pushed: &Pushed) -> String {
        self.decide_at(pushed, now()).await
    }

    pub(super) async fn decide_at(&self, pushed: &Pushed, now: Timestamp) -> String {
        self.decide_as(pushed, &asked(now)).await
    }

    pub(super) async fn decide_as(&self, pushed: &Pushed, asked: &Asked) -> String {
        let subject = subject(&pushed.digest);
        let decided = match self.admission.remembered(&subject, asked.now) {
            Some(decision) => Ok(decision),
            None => self.admission.decide(&subject, None, asked).await,
        };
        self.house.settle().await;
        match decided {
            Ok(decision) => words(&decision),
            Err(error) => format!("{error:?}"),
        }
    }

    pub(super) async fn grant(
        &self,
        blob: &Digest,
        now: Timestamp,
    ) -> Result<Result<Admitted<Arc<BlobGrant>>, Denial>, Arc<Error>> {
        let granted = self.admission.grant_blob(&subject(blob), &asked(now)).await;
        self.house.settle().await;
        granted
    }

    /// `granted`, the kind of the denial, or that it cannot be decided.
    pub(super) async fn grants(&self, blob: &Digest) -> String {
        match self.grant(blob, now()).await {
            Ok(Ok(_granted)) => "granted".to_owned(),
            Ok(Err(denial)) => denial.kind.as_str().to_owned(),
            Err(error) if matches!(*error, Error::Undecided(_)) => "undecided".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    }

    /// The record of the decision that was made last.
    pub(super) fn last_record(&self) -> Record {
        self.told.0.lock().unwrap().last().unwrap().clone()
    }
}

pub(super) fn asked(now: Timestamp) -> Asked {
    Asked {
        reference: "v1".to_owned(),
        previous_digest: None,
        may_be_material: false,
        stale_tag: false,
        client: Client {
            address: None,
            user_agent: None,
            identity: None,
        },
        now,
    }
}

fn words(decision: &Decision) -> String {
    match &decision.outcome {
        Outcome::Admit { basis, .. } => match basis {
            Basis::Signature => "signature",
            Basis::Endorsement => "endorsement",
            Basis::SignatureArtifact => "signature_artifact",
            Basis::Audit => "audit",
        },
        Outcome::Deny(denial) => denial.kind.as_str(),
        Outcome::Unavailable { .. } => "unavailable",
    }
    .to_owned()
}
