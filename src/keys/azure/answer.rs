//! What Key Vault answers, and what of it is believed.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::KeyId;
use crate::keys::Error;
use crate::keys::rest::{Answer, host as host_of, malformed, shortened};
use crate::keys::subject_public_key::{self, Kind};
use crate::keys::versions::Refusal;
use crate::verify::PublicKey;

/// The key that was asked for, and where.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) key: &'a KeyId,
    pub(super) endpoint: Option<&'a Url>,
}

/// Answer to "get key".
#[derive(Debug, Deserialize)]
pub(super) struct Bundle {
    key: JsonWebKey,
    attributes: Attributes,
}

/// RFC 7517, as Key Vault writes it.
#[derive(Debug, Deserialize)]
struct JsonWebKey {
    kid: String,
    kty: String,
    #[serde(default)]
    key_ops: Vec<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// Times are seconds since 1970.
#[derive(Debug, Deserialize)]
struct Attributes {
    enabled: bool,
    nbf: Option<i64>,
    exp: Option<i64>,
    created: Option<i64>,
}

/// One page of "get key versions".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    value: Vec<Item>,
    next_link: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Item {
    kid: String,
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    error: ErrorDetail,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    innererror: Option<InnerError>,
}

#[derive(Debug, Deserialize)]
struct InnerError {
    #[serde(default)]
    code: String,
}

impl Expected<'_> {
    /// The version that `kid` names, if it is one of the key that was asked for.
    fn version_in<'k>(&self, kid: &'k str) -> Option<&'k str> {
        let url = Url::parse(kid).ok()?;
        if !self.is_host(&url) {
            return None;
        }
        let version = kid.rsplit_once('/')?.1;
        let path = format!("/keys/{}/{version}", self.key.name());
        let is_named = url.path().eq_ignore_ascii_case(&path) && !version.is_empty();
        is_named.then_some(version)
    }

    /// Whether it is the vault, or what the operator put in its place.
    fn is_host(&self, url: &Url) -> bool {
        let is_vault = url.scheme() == "https" && host_of(url) == self.key.host();
        let is_endpoint = |endpoint: &Url| endpoint.origin() == url.origin();
        is_vault || self.endpoint.is_some_and(is_endpoint)
    }
}

impl Attributes {
    fn is_usable(&self, now: Timestamp) -> bool {
        let now = now.as_second();
        self.enabled
            && self.nbf.is_none_or(|begin| begin <= now)
            && self.exp.is_none_or(|end| now < end)
    }
}

impl Bundle {
    /// The public key of that version, which may be used now.
    pub(super) fn check(
        self,
        expected: &Expected<'_>,
        version: &str,
        now: Timestamp,
        host: &str,
    ) -> Result<PublicKey, Refusal> {
        let Self { key, attributes } = self;
        let failed = |reason| Refusal::Failed(malformed(host, reason));
        if expected.version_in(&key.kid) != Some(version) {
            return Err(failed(format!(
                "it sent another key: {}",
                shortened(&key.kid)
            )));
        }
        if !attributes.is_usable(now) {
            return Err(Refusal::Disabled(Error::NotFound {
                host: host.to_owned(),
                message: format!("version {version} is disabled, expired or not valid yet"),
            }));
        }
        if let Some(reason) = key.unsupported() {
            return Err(Refusal::Unsupported(malformed(host, reason)));
        }
        let der = key.der().map_err(failed)?;
        subject_public_key::parse(&der).map_err(|error| failed(error.to_string()))
    }
}

impl JsonWebKey {
    /// Why no image is signed with keys like this, if so.
    fn unsupported(&self) -> Option<String> {
        let may_verify = |operation: &String| operation == "verify" || operation == "sign";
        if !self.key_ops.iter().any(may_verify) {
            return Some("the key's operations (key_ops) do not include verify".to_owned());
        }
        match self.kty.as_str() {
            "RSA" | "RSA-HSM" => None,
            "EC" | "EC-HSM" if self.curve().is_some() => None,
            "EC" | "EC-HSM" => {
                let curve = shortened(self.crv.as_deref().unwrap_or_default());
                Some(format!("the curve {curve} is not supported"))
            }
            kind => Some(format!(
                "keys of the kind {} are not supported",
                shortened(kind)
            )),
        }
    }

    /// The curve of an elliptic key.
    fn curve(&self) -> Option<Kind> {
        match (self.kty.as_str(), self.crv.as_deref()?) {
            ("EC" | "EC-HSM", "P-256") => Some(Kind::P256),
            ("EC" | "EC-HSM", "P-384") => Some(Kind::P384),
            ("EC" | "EC-HSM", "P-521") => Some(Kind::P521),
            _ => None,
        }
    }

    /// The DER SubjectPublicKeyInfo of a point or an RSA key.
    fn der(&self) -> Result<Vec<u8>, String> {
        let Some(curve) = self.curve() else {
            let (n, e) = (number("n", self.n.as_ref())?, number("e", self.e.as_ref())?);
            return Ok(subject_public_key::from_rsa(&n, &e));
        };
        let (x, y) = (number("x", self.x.as_ref())?, number("y", self.y.as_ref())?);
        subject_public_key::from_point(curve, &x, &y)
            .ok_or_else(|| "the key's coordinates are not as long as its curve asks".to_owned())
    }
}

/// RFC 7518 §2: base64url without padding.
fn number(name: &str, encoded: Option<&String>) -> Result<Vec<u8>, String> {
    let encoded = encoded.ok_or_else(|| format!("the key has no `{name}`"))?;
    BASE64_URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_invalid| format!("`{name}` of the key is not base64url"))
}

impl Page {
    /// The versions that may be used now, with the time they were made.
    pub(super) fn usable(
        self,
        expected: &Expected<'_>,
        now: Timestamp,
        host: &str,
    ) -> Result<Vec<(i64, String)>, Error> {
        let mut usable = Vec::new();
        for Item { kid, attributes } in self.value {
            let version = expected.version_in(&kid).ok_or_else(|| {
                malformed(host, format!("it listed another key: {}", shortened(&kid)))
            })?;
            if attributes.is_usable(now) {
                usable.push((attributes.created.unwrap_or_default(), version.to_owned()));
            }
        }
        Ok(usable)
    }

    /// The query of the next page. A link to elsewhere is refused: the token would go there.
    pub(super) fn next_query(
        &self,
        expected: &Expected<'_>,
        path: &str,
        host: &str,
    ) -> Result<Option<String>, Error> {
        let Some(link) = self.next_link.as_deref().filter(|link| !link.is_empty()) else {
            return Ok(None);
        };
        let url = Url::parse(link).ok().filter(|url| {
            let is_list = url
                .path()
                .to_ascii_lowercase()
                .ends_with(&path.to_ascii_lowercase());
            expected.is_host(url) && is_list
        });
        let query = url.and_then(|url| url.query().map(str::to_owned));
        let elsewhere = || malformed(host, "the list of versions continues elsewhere (nextLink)");
        query.map(Some).ok_or_else(elsewhere)
    }
}

/// What a refusal means.
pub(super) fn error(answer: &Answer) -> Error {
    let refusal: ErrorAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
    let ErrorDetail {
        code,
        message,
        innererror,
    } = refusal.error;
    let inner = innererror.map(|inner| inner.code).unwrap_or_default();
    let said = shortened(&format!("{code}: {message}"));
    let host = answer.host.clone();
    // A disabled or expired key must not vouch, whatever it once was.
    if matches!(
        inner.as_str(),
        "KeyDisabled" | "KeyExpired" | "KeyNotYetValid" | "KeyNotActive"
    ) {
        return Error::NotFound {
            host,
            message: said,
        };
    }
    let advice = match answer.status {
        // Whoever said that, it was not the vault: a gateway that does not know the way says it too.
        404 if code.is_empty() => {
            return Error::Unavailable {
                host,
                reason: "HTTP status 404 without the vault's own error".to_owned(),
            };
        }
        404 => {
            return Error::NotFound {
                host,
                message: said,
            };
        }
        401 => " (the vault does not take our token: is the identity of the vault's tenant?)",
        403 => {
            " (the identity needs the role Key Vault Crypto User, or keys/get and, unless the version is pinned, \
             keys/list; and the vault's firewall must let us in)"
        }
        _ => "",
    };
    Error::Denied {
        host,
        status: answer.status,
        message: format!("{said}{advice}"),
    }
}
