//! A TUF repository that a test signs itself, served on loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ed25519_dalek::{Signer, SigningKey};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::image::sha256;
use super::service::{FakeService, Reply};

/// Files by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// The repository. One key has all the roles.
pub(crate) struct TufRepository {
    pub(crate) service: FakeService,
    /// The root that is believed from the start.
    pub(crate) root: String,
    key: SigningKey,
    files: Files,
    version: Mutex<u64>,
}

impl TufRepository {
    /// Publishes this `trusted_root.json`.
    pub(crate) async fn publishing(content: &str) -> Self {
        let repository = Self::away(content);
        repository.service.resume().await;
        repository
    }

    /// One that does not run yet.
    pub(crate) fn away(content: &str) -> Self {
        let files = Files::default();
        let served = Arc::clone(&files);
        let key = SigningKey::from_bytes(&[7; 32]);
        let root = sign(&key, &root(&key));
        let repository = Self {
            service: FakeService::away(move |asked| {
                let files = served.lock().unwrap();
                match files.get(asked.path().trim_start_matches('/')) {
                    Some(bytes) => Reply::bytes(bytes),
                    None => Reply::json(404, &json!({})),
                }
            }),
            root: String::from_utf8(root.clone()).unwrap(),
            key,
            files,
            version: Mutex::new(0),
        };
        repository.put("1.root.json", root);
        repository.publish(content);
        repository
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        self.files.lock().unwrap().insert(name.to_owned(), bytes);
    }

    /// Publishes other content as the next version of everything.
    pub(crate) fn publish(&self, content: &str) {
        let version = {
            let mut version = self.version.lock().unwrap();
            *version += 1;
            *version
        };
        let digest = sha256(content.as_bytes());
        let hash = digest.split_once(':').unwrap().1;
        self.put(&format!("targets/{hash}.trusted_root.json"), content.into());
        let targets =
            json!({"trusted_root.json": {"length": content.len(), "hashes": {"sha256": hash}}});
        let targets = metadata("targets", version, &json!({"targets": targets}));
        self.put(
            &format!("{version}.targets.json"),
            sign(&self.key, &targets),
        );
        let meta = json!({"meta": {"targets.json": {"version": version}}});
        let snapshot = metadata("snapshot", version, &meta);
        self.put(
            &format!("{version}.snapshot.json"),
            sign(&self.key, &snapshot),
        );
        let meta = json!({"meta": {"snapshot.json": {"version": version}}});
        let timestamp = metadata("timestamp", version, &meta);
        self.put("timestamp.json", sign(&self.key, &timestamp));
    }
}

fn root(key: &SigningKey) -> Value {
    let public = hex::encode(key.verifying_key().as_bytes());
    let role = json!({"keyids": ["key"], "threshold": 1});
    metadata(
        "root",
        1,
        &json!({
            "consistent_snapshot": true,
            "keys": {"key": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}},
            "roles": {"root": role, "timestamp": role, "snapshot": role, "targets": role},
        }),
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "the proxy under test has the real clock, too"
)]
fn metadata(kind: &str, version: u64, rest: &Value) -> Value {
    let in_a_year = Timestamp::now() + SignedDuration::from_hours(365 * 24);
    let mut signed = json!({
        "_type": kind, "spec_version": "1.0.31", "version": version,
        "expires": in_a_year.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    for (name, value) in rest.as_object().unwrap() {
        signed[name] = value.clone();
    }
    signed
}

fn sign(key: &SigningKey, signed: &Value) -> Vec<u8> {
    let message = sigstore_tuf::canonical_json::to_canonical_bytes(signed).unwrap();
    let signature = hex::encode(key.sign(&message).to_bytes());
    json!({"signed": signed, "signatures": [{"keyid": "key", "sig": signature}]})
        .to_string()
        .into_bytes()
}
