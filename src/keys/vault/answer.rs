//! What Vault answers, and what of it is believed.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::keys::rest::{Answer, malformed, shortened};
use crate::keys::subject_public_key::{self, Kind};
use crate::keys::{Error, VERSIONS_MAX};
use crate::policy::KeyVersion;

/// Answer to "read key".
#[derive(Debug, Deserialize)]
pub(super) struct TransitKey {
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Below, Vault itself neither decrypts nor verifies: the way to retire a version.
    min_decryption_version: u64,
    /// By number. What stands there depends on the kind: it is read after that was checked.
    keys: BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Version {
    public_key: String,
}

/// Answer to a login.
#[derive(Deserialize)]
pub(super) struct Login {
    pub(super) auth: Auth,
}

#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: String,
    /// Seconds.
    pub(super) lease_duration: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<String>,
}

impl TransitKey {
    /// Every version that may verify now, the newest first.
    pub(super) fn versions(self, name: &str, host: &str) -> Result<Vec<KeyVersion>, Error> {
        let data = self.data;
        if data.name != name {
            return Err(malformed(
                host,
                format!("it sent another key: {}", shortened(&data.name)),
            ));
        }
        let kind = kind_of_type(&data.kind).ok_or_else(|| {
            let kind = shortened(&data.kind);
            malformed(host, format!("keys of the kind {kind} do not sign"))
        })?;
        let mut numbered = Vec::new();
        for (number, version) in &data.keys {
            let number: u64 = number
                .parse()
                .map_err(|_invalid| malformed(host, "a version is not a number"))?;
            if number >= data.min_decryption_version {
                numbered.push((number, version));
            }
        }
        if numbered.is_empty() {
            return Err(Error::NotFound {
                host: host.to_owned(),
                message: format!("no version of {name} may be used (min_decryption_version)"),
            });
        }
        numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        numbered
            .into_iter()
            .take(VERSIONS_MAX)
            .map(|(number, version)| public_key(number, version, kind, host))
            .collect()
    }
}

fn public_key(
    number: u64,
    version: &RawValue,
    kind: Kind,
    host: &str,
) -> Result<KeyVersion, Error> {
    let unusable = |reason: &str| malformed(host, format!("version {number}: {reason}"));
    let version: Version =
        serde_json::from_str(version.get()).map_err(|_invalid| unusable("it has no public key"))?;
    let der = match kind {
        // Ed25519 keys come bare, the others as PEM.
        Kind::Ed25519 => BASE64_STANDARD
            .decode(&version.public_key)
            .map(|key| subject_public_key::from_ed25519(&key))
            .map_err(|_invalid| unusable("the public key is not base64"))?,
        Kind::P256 | Kind::P384 | Kind::P521 | Kind::Rsa { .. } => {
            SubjectPublicKeyInfoDer::from_pem_slice(version.public_key.as_bytes())
                .map(|der| der.to_vec())
                .map_err(|_invalid| unusable("the public key is not PEM"))?
        }
    };
    if Kind::of(&der) != Some(kind) {
        return Err(unusable("the public key is of another kind than the key"));
    }
    let key = subject_public_key::parse(&der).map_err(|error| unusable(error.0))?;
    Ok(KeyVersion {
        version: Some(number.to_string()),
        key,
    })
}

fn kind_of_type(kind: &str) -> Option<Kind> {
    match kind {
        "ecdsa-p256" => Some(Kind::P256),
        "ecdsa-p384" => Some(Kind::P384),
        "ecdsa-p521" => Some(Kind::P521),
        "rsa-2048" => Some(Kind::Rsa { bits: 2048 }),
        "rsa-3072" => Some(Kind::Rsa { bits: 3072 }),
        "rsa-4096" => Some(Kind::Rsa { bits: 4096 }),
        "ed25519" => Some(Kind::Ed25519),
        _ => None,
    }
}

/// What a refusal says.
pub(super) fn errors(answer: &Answer) -> String {
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    shortened(&refusal.errors.join("; "))
}

/// Whether it has the list of errors that Vault always sends, be it empty.
fn is_vaults_own(answer: &Answer) -> bool {
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    said.get("errors").is_some_and(serde_json::Value::is_array)
}

/// What a refusal to read the key at `path` means.
pub(super) fn error(answer: &Answer, path: &str) -> Error {
    let host = answer.host.clone();
    let said = errors(answer);
    match answer.status {
        // Whoever said that, it was not Vault: a gateway that does not know the way says it too.
        404 if !is_vaults_own(answer) => Error::Unavailable {
            host,
            reason: "HTTP status 404 without Vault's own error".to_owned(),
        },
        404 => Error::NotFound {
            host,
            message: format!("nothing at {path} {said}").trim_end().to_owned(),
        },
        // Standby nodes for disaster recovery and performance.
        472 | 473 => Error::Unavailable {
            host,
            reason: "it is a standby that does not answer reads".to_owned(),
        },
        status => Error::Denied {
            host,
            status,
            message: format!("{said} (the token's policy needs `read` on `{path}`)"),
        },
    }
}
