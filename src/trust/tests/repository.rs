//! A TUF repository that a test signs itself, served on loopback.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ed25519_dalek::{Signer, SigningKey};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sigstore_trust_root::{SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::oci::Digest;
use crate::policy::material::Root;
use crate::trust::{InitialRoot, Roots, Source};

pub(super) const NAME: &str = "private";
/// Two trusted roots that are what they claim to be.
pub(super) const FIRST: &str = SIGSTORE_GITHUB_TRUSTED_ROOT;
pub(super) const SECOND: &str = SIGSTORE_STAGING_TRUSTED_ROOT;

pub(super) fn start() -> Timestamp {
    "2026-11-01T00:00:00Z".parse().unwrap()
}

pub(super) fn after(days: i64) -> Timestamp {
    start() + SignedDuration::from_hours(24 * days)
}

pub(super) fn max_stale() -> std::time::Duration {
    crate::trust::ROOT_MAX_STALE
}

#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    key: SigningKey,
}

impl Key {
    pub(super) fn new(seed: u8) -> Self {
        Self {
            id: format!("key-{seed}"),
            key: SigningKey::from_bytes(&[seed; 32]),
        }
    }

    /// The same key under another name.
    pub(super) fn named(&self, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            key: self.key.clone(),
        }
    }

    pub(super) fn public(&self) -> Value {
        let public = hex::encode(self.key.verifying_key().as_bytes());
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
    }
}

pub(super) fn sign(signed: &Value, keys: &[Key]) -> Vec<u8> {
    let message = sigstore_tuf::canonical_json::to_canonical_bytes(signed).unwrap();
    let signatures: Vec<_> = keys
        .iter()
        .map(|key| json!({"keyid": key.id, "sig": hex::encode(key.key.sign(&message).to_bytes())}))
        .collect();
    serde_json::to_vec(&json!({"signed": signed, "signatures": signatures})).unwrap()
}

/// What the server says about a path.
#[derive(Clone)]
pub(super) enum Answer {
    Bytes(Vec<u8>),
    Redirect(String),
    Endless,
    Never,
}

/// The roles of a repository; all versions and times are the test's to choose.
#[derive(Clone)]
pub(super) struct Roles {
    pub(super) root: Vec<Key>,
    pub(super) root_threshold: u64,
    pub(super) timestamp: Vec<Key>,
    pub(super) snapshot: Vec<Key>,
    pub(super) targets: Vec<Key>,
}

impl Default for Roles {
    fn default() -> Self {
        Self {
            root: vec![Key::new(1), Key::new(2)],
            root_threshold: 2,
            timestamp: vec![Key::new(3)],
            snapshot: vec![Key::new(4)],
            targets: vec![Key::new(5)],
        }
    }
}

impl Roles {
    pub(super) fn root_json(&self, version: u64) -> Value {
        let mut keys = serde_json::Map::new();
        let mut roles = serde_json::Map::new();
        let all = [
            ("root", &self.root, self.root_threshold),
            ("timestamp", &self.timestamp, 1),
            ("snapshot", &self.snapshot, 1),
            ("targets", &self.targets, 1),
        ];
        for (role, signers, threshold) in all {
            let ids: Vec<_> = signers.iter().map(|key| key.id.clone()).collect();
            keys.extend(signers.iter().map(|key| (key.id.clone(), key.public())));
            roles.insert(
                role.to_owned(),
                json!({"keyids": ids, "threshold": threshold}),
            );
        }
        json!({
            "_type": "root", "spec_version": "1.0.31", "version": version, "consistent_snapshot": true,
            "expires": after(3650), "keys": keys, "roles": roles,
        })
    }

    pub(super) fn root(&self, version: u64) -> Vec<u8> {
        sign(&self.root_json(version), &self.root)
    }
}

/// The versions of one publication, and what is published.
#[derive(Clone)]
pub(super) struct Publication {
    pub(super) timestamp: u64,
    pub(super) snapshot: u64,
    pub(super) targets: u64,
    pub(super) expires: Timestamp,
    pub(super) content: Vec<u8>,
    /// In place of the hash of the content.
    pub(super) hash: Option<String>,
    /// Added to the targets.
    pub(super) delegations: Option<Value>,
    /// Whether the top-level targets list the target.
    pub(super) is_listed: bool,
    /// Delegated roles, signed.
    pub(super) delegated: BTreeMap<String, Vec<u8>>,
}

impl Publication {
    pub(super) fn new(version: u64, content: &str) -> Self {
        Self {
            timestamp: version,
            snapshot: version,
            targets: version,
            expires: after(7),
            content: content.as_bytes().to_vec(),
            hash: None,
            delegations: None,
            is_listed: true,
            delegated: BTreeMap::new(),
        }
    }
}

pub(super) fn digest(text: &str) -> Option<Digest> {
    Some(Digest::sha256(text.as_bytes()))
}

pub(super) fn target_json(content: &[u8]) -> Value {
    json!({"length": content.len(), "hashes": {"sha256": Digest::sha256(content).to_hex()}})
}

pub(super) fn targets_json(version: u64, expires: Timestamp, listed: &Value) -> Value {
    json!({
        "_type": "targets", "spec_version": "1.0.31", "version": version, "expires": expires,
        "targets": listed,
    })
}

pub(super) struct Repository {
    pub(super) roles: Roles,
    pub(super) url: Url,
    served: Arc<Served>,
    directory: tempfile::TempDir,
    _tasks: TaskTracker,
}

#[derive(Default)]
struct Served {
    answers: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Repository {
    /// Serves root 1 and nothing else.
    pub(super) async fn start() -> Self {
        let served = Arc::new(Served::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/tuf/", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&served));
        let tasks = TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, router).await });
        let repository = Self {
            roles: Roles::default(),
            url: url.parse().unwrap(),
            served,
            directory: tempfile::tempdir().unwrap(),
            _tasks: tasks,
        };
        let root = repository.roles.root(1);
        std::fs::write(repository.directory.path().join("root.json"), &root).unwrap();
        repository.put("1.root.json", root);
        repository
    }

    /// Serves root 1 and version 1 of everything, with the first trusted root.
    pub(super) async fn published() -> Self {
        let repository = Self::start().await;
        repository.publish(&Publication::new(1, FIRST));
        repository
    }

    /// Everything that is served, by its path in the repository.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let answers = self.served.answers.lock().unwrap();
        let files = answers.iter().filter_map(|(path, answer)| match answer {
            Answer::Bytes(bytes) => Some((path.strip_prefix("/tuf/")?.to_owned(), bytes.clone())),
            Answer::Redirect(_) | Answer::Endless | Answer::Never => None,
        });
        files.collect()
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.answer(name, Answer::Bytes(bytes));
    }

    pub(super) fn answer(&self, name: &str, answer: Answer) {
        let path = format!("/tuf/{name}");
        self.served.answers.lock().unwrap().insert(path, answer);
    }

    pub(super) fn remove(&self, name: &str) {
        let path = format!("/tuf/{name}");
        self.served.answers.lock().unwrap().remove(&path);
    }

    pub(super) fn clear(&self) {
        self.served.answers.lock().unwrap().clear();
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.served.asked.lock().unwrap().clone()
    }

    pub(super) fn publish(&self, publication: &Publication) {
        let Publication {
            timestamp,
            snapshot,
            targets,
            expires,
            ..
        } = *publication;
        let hash = Digest::sha256(&publication.content).to_hex();
        let mut target = target_json(&publication.content);
        if let Some(hash) = &publication.hash {
            target["hashes"]["sha256"] = json!(hash);
        }
        let listed = if publication.is_listed {
            json!({"trusted_root.json": target})
        } else {
            json!({})
        };
        let mut signed = targets_json(targets, expires, &listed);
        if let Some(delegations) = &publication.delegations {
            signed["delegations"] = delegations.clone();
        }
        self.put(
            &format!("targets/{hash}.trusted_root.json"),
            publication.content.clone(),
        );
        self.put(
            &format!("{targets}.targets.json"),
            sign(&signed, &self.roles.targets),
        );
        let mut meta = json!({"targets.json": {"version": targets}});
        for (name, bytes) in &publication.delegated {
            meta[format!("{name}.json")] = json!({"version": 1});
            self.put(&format!("1.{name}.json"), bytes.clone());
        }
        let signed = json!({
            "_type": "snapshot", "spec_version": "1.0.31", "version": snapshot, "expires": expires, "meta": meta,
        });
        self.put(
            &format!("{snapshot}.snapshot.json"),
            sign(&signed, &self.roles.snapshot),
        );
        let signed = json!({
            "_type": "timestamp", "spec_version": "1.0.31", "version": timestamp, "expires": expires,
            "meta": {"snapshot.json": {"version": snapshot}},
        });
        self.put("timestamp.json", sign(&signed, &self.roles.timestamp));
    }

    pub(super) fn source(&self) -> Source {
        Source::Tuf {
            url: self.url.clone(),
            root: InitialRoot::File(self.directory.path().join("root.json")),
            target: Source::TARGET.to_owned(),
        }
    }

    /// The data directory.
    pub(super) fn data(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn state_path(&self) -> std::path::PathBuf {
        self.data().join("trust").join(NAME).join("state.json")
    }

    /// The roots of a process that keeps what it fetches.
    pub(super) fn open(&self, now: Timestamp) -> Roots {
        self.try_open(now).unwrap()
    }

    pub(super) fn try_open(&self, now: Timestamp) -> Result<Roots, crate::trust::roots::Error> {
        let sources = BTreeMap::from([(NAME.to_owned(), self.source())]);
        Roots::open(sources, Some(self.data()), max_stale(), now)
    }
}

/// The digest of what is in force, if anything is.
pub(super) fn in_force(roots: &Roots) -> Option<Digest> {
    match roots.current(NAME) {
        Some(Root::Usable { root, .. }) => Some(root.digest),
        Some(Root::Unusable { .. }) | None => None,
    }
}

/// An error with all its causes.
pub(super) fn text(error: &dyn std::error::Error) -> String {
    crate::trust::status::describe(error)
}

async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let answer = served.answers.lock().unwrap().get(&path).cloned();
    served.asked.lock().unwrap().push(path);
    match answer {
        Some(Answer::Bytes(bytes)) => bytes.into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Some(Answer::Endless) => {
            let chunk = || Ok::<_, std::io::Error>(vec![b' '; 4096]);
            Body::from_stream(futures::stream::repeat_with(chunk)).into_response()
        }
        Some(Answer::Never) => std::future::pending().await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
