//! Google Cloud KMS as far as keys are read from it: `cryptoKeyVersions.list` and `getPublicKey`, over REST.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::service::{Asked, FakeService, Reply};
use super::signing::SigningKey;

/// The key that the policies of the tests name.
pub(crate) const KEY: &str =
    "projects/project123/locations/us/keyRings/test_keyring/cryptoKeys/cosign_key";

/// A key ring with one key.
pub(crate) struct FakeKms {
    pub(crate) service: FakeService,
    versions: Versions,
}

type Versions = Arc<Mutex<BTreeMap<u64, Version>>>;

struct Version {
    pem: String,
    state: &'static str,
    /// Replaces fields of the answer.
    overrides: Value,
}

impl FakeKms {
    pub(crate) async fn start(versions: &[(u64, &SigningKey)]) -> Self {
        let kms = Self::away(versions);
        kms.service.resume().await;
        kms
    }

    /// One that does not run yet.
    pub(crate) fn away(versions: &[(u64, &SigningKey)]) -> Self {
        let held = Versions::default();
        let answers = Arc::clone(&held);
        let kms = Self {
            service: FakeService::away(move |asked| answer(&answers.lock().unwrap(), asked)),
            versions: held,
        };
        for (number, key) in versions {
            kms.create(*number, key);
        }
        kms
    }

    /// Makes a version, enabled.
    pub(crate) fn create(&self, number: u64, key: &SigningKey) {
        self.create_of(number, key.public_pem());
    }

    /// The same, of a public key on P-256 in PEM.
    pub(crate) fn create_of(&self, number: u64, pem: String) {
        let version = Version {
            pem,
            state: "ENABLED",
            overrides: json!({}),
        };
        self.versions.lock().unwrap().insert(number, version);
    }

    pub(crate) fn disable(&self, number: u64) {
        self.change(number, |version| version.state = "DISABLED");
    }

    pub(crate) fn enable(&self, number: u64) {
        self.change(number, |version| version.state = "ENABLED");
    }

    /// Answers about the version with this in place of what is true.
    pub(crate) fn lie(&self, number: u64, overrides: Value) {
        self.change(number, |version| version.overrides = overrides);
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Version)) {
        change(self.versions.lock().unwrap().get_mut(&number).unwrap());
    }

    /// How often the versions were listed.
    pub(crate) fn lists(&self) -> usize {
        self.service.count("/cryptoKeyVersions")
    }

    /// How often a public key was got.
    pub(crate) fn gets(&self) -> usize {
        self.service.count("/publicKey")
    }
}

fn answer(versions: &BTreeMap<u64, Version>, asked: &Asked) -> Reply {
    let base = format!("/v1/{KEY}/cryptoKeyVersions");
    let Some(rest) = asked.path().strip_prefix(&base) else {
        return status(404, "NOT_FOUND", "no such key");
    };
    if rest.is_empty() {
        return list(versions, asked);
    }
    let number = rest
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix("/publicKey"))
        .and_then(|number| number.parse::<u64>().ok());
    match number.and_then(|number| Some((number, versions.get(&number)?))) {
        Some((number, version)) => public_key(number, version),
        None => status(404, "NOT_FOUND", "no such version"),
    }
}

/// By name as text, descending: version 9 before version 10.
fn list(versions: &BTreeMap<u64, Version>, asked: &Asked) -> Reply {
    let query = asked.uri.query().unwrap_or_default();
    assert!(query.contains("filter=state%3DENABLED"), "{query}");
    let enabled = versions
        .iter()
        .filter(|(_, version)| version.state == "ENABLED");
    let mut names: Vec<String> = enabled
        .map(|(number, _)| format!("{KEY}/cryptoKeyVersions/{number}"))
        .collect();
    names.sort_by(|one, other| other.cmp(one));
    let listed: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "state": "ENABLED", "algorithm": "EC_SIGN_P256_SHA256"}))
        .collect();
    Reply::json(
        200,
        &json!({"cryptoKeyVersions": listed, "totalSize": listed.len()}),
    )
}

fn public_key(number: u64, version: &Version) -> Reply {
    if version.state != "ENABLED" {
        return status(400, "FAILED_PRECONDITION", "the version is not enabled");
    }
    let mut answer = json!({
        "pem": version.pem,
        "algorithm": "EC_SIGN_P256_SHA256",
        "pemCrc32c": crc32c::crc32c(version.pem.as_bytes()).to_string(),
        "name": format!("{KEY}/cryptoKeyVersions/{number}"),
        "protectionLevel": "SOFTWARE",
    });
    for (field, value) in version.overrides.as_object().unwrap() {
        answer[field] = value.clone();
    }
    Reply::json(200, &answer)
}

/// An error as Google's REST services send it.
fn status(code: u16, status: &str, message: &str) -> Reply {
    let error = json!({"code": code, "message": message, "status": status});
    Reply::json(code, &json!({"error": error}))
}
