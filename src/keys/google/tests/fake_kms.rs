//! Google Cloud KMS as far as keys are read from it: `cryptoKeyVersions.list` and `getPublicKey`, over REST.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::keys::google::CloudKms;
use crate::keys::tests::{Asked, Reply, Server};

pub(super) const KEY: &str = "projects/p/locations/us/keyRings/r/cryptoKeys/k";
pub(super) const TOKEN: &str = "ya29.token";

/// What the service holds. Changed by tests while it runs.
#[derive(Debug, Clone)]
pub(super) struct Kms {
    pub(super) versions: BTreeMap<u64, Version>,
    /// Versions per page, whatever is asked for.
    pub(super) page: usize,
    /// Whether `filter` has an effect.
    pub(super) filters: bool,
    /// What every request must carry.
    pub(super) token: Option<&'static str>,
    /// Answers every request for a list.
    pub(super) list: Option<Reply>,
}

#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) pem: String,
    pub(super) algorithm: &'static str,
    pub(super) state: &'static str,
    /// Replaces fields of the answer; `null` removes one.
    pub(super) overrides: Value,
    /// Answers instead.
    pub(super) reply: Option<Reply>,
}

#[derive(Debug, Clone)]
pub(super) struct FakeKms {
    pub(super) server: Server,
    /// Reads keys from it.
    pub(super) service: Arc<CloudKms>,
    kms: Arc<Mutex<Kms>>,
}

impl Version {
    pub(super) fn new(pem: String, algorithm: &'static str) -> Self {
        Self {
            pem,
            algorithm,
            state: "ENABLED",
            overrides: json!({}),
            reply: None,
        }
    }
}

impl FakeKms {
    /// With these versions, each a new P-256 key.
    pub(super) async fn with(numbers: impl IntoIterator<Item = u64>) -> Self {
        let new = || Version::new(crate::keys::tests::ec_p256(), "EC_SIGN_P256_SHA256");
        let kms = Kms {
            versions: numbers.into_iter().map(|number| (number, new())).collect(),
            page: 1000,
            filters: true,
            token: Some(TOKEN),
            list: None,
        };
        let kms = Arc::new(Mutex::new(kms));
        let answers = Arc::clone(&kms);
        let server = Server::start(move |asked| answers.lock().unwrap().answer(asked)).await;
        let service = Arc::new(super::service(&server.url));
        Self {
            server,
            service,
            kms,
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Kms)) {
        change(&mut self.kms.lock().unwrap());
    }

    pub(super) fn change_version(&self, number: u64, change: impl FnOnce(&mut Version)) {
        self.change(|kms| change(kms.versions.get_mut(&number).unwrap()));
    }
}

impl Kms {
    fn answer(&self, asked: &Asked) -> Reply {
        if let Some(token) = self.token
            && asked.header("authorization") != format!("Bearer {token}")
        {
            return status(
                401,
                "UNAUTHENTICATED",
                "Request is missing required authentication credential.",
            );
        }
        let versions = format!("/v1/{KEY}/cryptoKeyVersions");
        let Some(rest) = asked.path.strip_prefix(&versions) else {
            return status(404, "NOT_FOUND", &format!("{} not found.", asked.path));
        };
        if rest.is_empty() {
            return self.list.clone().unwrap_or_else(|| self.list(asked));
        }
        let number = rest
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix("/publicKey"))
            .and_then(|number| number.parse().ok());
        match number.and_then(|number| Some((number, self.versions.get(&number)?))) {
            Some((number, version)) => version.public_key(number),
            None => status(404, "NOT_FOUND", &format!("{KEY}{rest} not found.")),
        }
    }

    /// Sorted by name as text, descending, which is what `name desc` may be taken for.
    fn list(&self, asked: &Asked) -> Reply {
        assert_eq!(asked.parameter("filter").as_deref(), Some("state=ENABLED"));
        let asked_size: usize = asked.parameter("pageSize").unwrap().parse().unwrap();
        let mut names: Vec<(String, &Version)> = self
            .versions
            .iter()
            .filter(|(_, version)| !self.filters || version.state == "ENABLED")
            .map(|(number, version)| (format!("{KEY}/cryptoKeyVersions/{number}"), version))
            .collect();
        names.sort_by(|(one, _), (other, _)| other.cmp(one));
        let from = asked.parameter("pageToken").map_or(0, |token| {
            token.strip_prefix("p+/=").unwrap().parse().unwrap()
        });
        let to = names.len().min(from + self.page.min(asked_size));
        let page: Vec<Value> = names[from..to]
            .iter()
            .map(|(name, version)| {
                json!({
                    "name": name,
                    "state": version.state,
                    "protectionLevel": "SOFTWARE",
                    "algorithm": version.algorithm,
                    "createTime": "2026-01-01T00:00:00.000000000Z",
                })
            })
            .collect();
        let mut list = json!({"totalSize": names.len()});
        if !page.is_empty() {
            list["cryptoKeyVersions"] = page.into();
        }
        if to < names.len() {
            list["nextPageToken"] = format!("p+/={to}").into();
        }
        Reply::Json(200, list)
    }
}

impl Version {
    fn public_key(&self, number: u64) -> Reply {
        if let Some(reply) = &self.reply {
            return reply.clone();
        }
        let name = format!("{KEY}/cryptoKeyVersions/{number}");
        if self.state != "ENABLED" {
            let message = format!("{name} is not enabled, current state is: {}.", self.state);
            return status(400, "FAILED_PRECONDITION", &message);
        }
        let mut answer = json!({
            "pem": self.pem,
            "algorithm": self.algorithm,
            "pemCrc32c": crc32c::crc32c(self.pem.as_bytes()).to_string(),
            "name": name,
            "protectionLevel": "SOFTWARE",
            "publicKeyFormat": "PEM",
        });
        for (field, value) in self.overrides.as_object().unwrap() {
            if value.is_null() {
                answer.as_object_mut().unwrap().remove(field);
            } else {
                answer[field] = value.clone();
            }
        }
        Reply::Json(200, answer)
    }
}

/// An error as Google's REST services send it.
pub(super) fn status(code: u16, status: &str, message: &str) -> Reply {
    Reply::Json(
        code,
        json!({"error": {"code": code, "message": message, "status": status}}),
    )
}
