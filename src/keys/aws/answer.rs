//! What AWS KMS answers, and what of it is believed.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;

use super::KeyId;
use crate::keys::Error;
use crate::keys::rest::{Answer, malformed, shortened};
use crate::keys::subject_public_key::{self, Kind};
use crate::verify::PublicKey;

/// Answer to `DescribeKey`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    key_metadata: KeyMetadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyMetadata {
    arn: String,
    key_state: String,
}

/// Answer to `GetPublicKey`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Published {
    key_id: String,
    public_key: String,
    key_usage: String,
    key_spec: String,
}

#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

impl Described {
    /// The ARN of the key, which is the one asked for and may sign now.
    pub(super) fn check(self, key: &KeyId, host: &str) -> Result<String, Error> {
        let KeyMetadata { arn, key_state } = self.key_metadata;
        if !key.names(&arn) {
            return Err(malformed(host, format!("it described another key: {arn}")));
        }
        // A multi-Region key that is being made another's primary is in use all the same ("Key states").
        match key_state.as_str() {
            "Enabled" | "Updating" => Ok(arn),
            state => Err(Error::NotFound {
                host: host.to_owned(),
                message: format!("{arn} is not enabled but {}", shortened(state)),
            }),
        }
    }
}

impl Published {
    /// The public key of the key with that ARN.
    pub(super) fn check(self, arn: &str, host: &str) -> Result<PublicKey, Error> {
        if self.key_id != arn {
            return Err(malformed(
                host,
                format!("it sent the public key of {}, not of {arn}", self.key_id),
            ));
        }
        if self.key_usage != "SIGN_VERIFY" {
            return Err(malformed(
                host,
                format!("the key is for {}, not for SIGN_VERIFY", self.key_usage),
            ));
        }
        let announced = kind_of_spec(&self.key_spec).ok_or_else(|| {
            let spec = shortened(&self.key_spec);
            malformed(host, format!("keys of the kind {spec} are not supported"))
        })?;
        let der = BASE64_STANDARD
            .decode(&self.public_key)
            .map_err(|_invalid| malformed(host, "the public key is not base64"))?;
        if Kind::of(&der) != Some(announced) {
            return Err(malformed(
                host,
                format!("the public key is not of the kind {}", self.key_spec),
            ));
        }
        subject_public_key::parse(&der).map_err(|error| malformed(host, error.to_string()))
    }
}

fn kind_of_spec(spec: &str) -> Option<Kind> {
    match spec {
        "ECC_NIST_P256" => Some(Kind::P256),
        "ECC_NIST_P384" => Some(Kind::P384),
        "ECC_NIST_P521" => Some(Kind::P521),
        "ECC_NIST_EDWARDS25519" => Some(Kind::Ed25519),
        "RSA_2048" => Some(Kind::Rsa { bits: 2048 }),
        "RSA_3072" => Some(Kind::Rsa { bits: 3072 }),
        "RSA_4096" => Some(Kind::Rsa { bits: 4096 }),
        _ => None,
    }
}

/// What a refusal means: `__type` says why, with a namespace before `#` or without.
pub(super) fn error(answer: &Answer, operation: &str) -> Error {
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let in_header = answer.headers.get("x-amzn-errortype");
    let in_header = in_header.and_then(|value| value.to_str().ok());
    let kind = match refusal.kind.as_str() {
        "" => in_header.unwrap_or_default(),
        kind => kind,
    };
    // `com.amazonaws.kms#NotFoundException`, and in the header `NotFoundException:http://…`.
    let kind = kind.rsplit_once('#').map_or(kind, |(_, kind)| kind);
    let kind = kind.split_once(':').map_or(kind, |(kind, _)| kind);
    let said = shortened(format!("{kind}: {}", refusal.message).trim_matches([':', ' ']));
    let host = answer.host.clone();
    match kind {
        // A key that is disabled or about to be deleted must not vouch, whatever it once was.
        "NotFoundException" | "DisabledException" | "KMSInvalidStateException" => Error::NotFound {
            host,
            message: said,
        },
        "ThrottlingException" | "LimitExceededException" | "RequestLimitExceeded" => {
            Error::Unavailable { host, reason: said }
        }
        "AccessDeniedException" => Error::Denied {
            host,
            status: answer.status,
            message: format!(
                "{said} (the key needs kms:DescribeKey and kms:GetPublicKey; this was kms:{operation})"
            ),
        },
        _ => Error::Denied {
            host,
            status: answer.status,
            message: said,
        },
    }
}
