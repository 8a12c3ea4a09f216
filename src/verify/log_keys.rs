//! Keys of the logs that a trusted root believes: transparency logs and certificate-transparency logs.

use std::collections::HashMap;

use jiff::Timestamp;
use sigstore_types::TimeRange;
use x509_cert::der::Decode as _;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::algorithm::{Algorithm, Hash, KeyKind, rsa_bits};
use super::{KeyError, PublicKey};

/// The id of a log: the SHA-256 of its key.
pub(super) type LogId = [u8; 32];

/// Keys by the id of their log.
#[derive(Debug, Default)]
pub(super) struct LogKeys(HashMap<LogId, LogKey>);

/// The key of a log, and how the log signs with it.
#[derive(Debug)]
pub(super) struct LogKey {
    key: PublicKey,
    algorithms: Vec<Algorithm>,
    valid_for: Option<TimeRange>,
}

impl LogKeys {
    /// Adds a key. Returns `false` when the log has one already.
    pub(super) fn add(&mut self, log: LogId, key: LogKey) -> bool {
        self.0.insert(log, key).is_none()
    }

    /// Returns true if there is no key.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key of a log, whenever it is valid.
    pub(super) fn get(&self, log: &LogId) -> Option<&LogKey> {
        self.0.get(log)
    }

    /// Returns the key of a log if it is valid at a time.
    pub(super) fn at(&self, log: &LogId, time: Timestamp) -> Option<&LogKey> {
        let is_valid = |key: &&LogKey| key.valid_for.is_none_or(|window| window.contains(time));
        self.get(log).filter(is_valid)
    }

    /// Returns the key of a log if its validity has begun at a time, even if it is over.
    pub(super) fn started_by(&self, log: &LogId, time: Timestamp) -> Option<&LogKey> {
        let has_started = |key: &&LogKey| {
            key.valid_for
                .is_none_or(|window| window.has_started_by(time))
        };
        self.get(log).filter(has_started)
    }
}

impl LogKey {
    /// Reads a key as a `trusted_root.json` has it: DER, and the name of its kind and of its algorithm in the Sigstore
    /// protocol (`PublicKeyDetails`). A name that is not known leaves the algorithm to the key.
    ///
    /// # Errors
    /// When the key is of a kind that is not supported, or the name is that of another kind.
    pub(super) fn read(
        der: &[u8],
        details: &str,
        valid_for: Option<TimeRange>,
    ) -> Result<Self, KeyError> {
        let key = match PublicKey::from_der(der) {
            Ok(key) => key,
            // Some trusted roots hold RSA keys in PKCS#1.
            Err(error) => PublicKey::from_rsa_der(der).map_err(|_neither| error)?,
        };
        let algorithms = match named(details) {
            Some(named) => {
                let fitting = named.iter().filter(|it| it.0 == key.kind());
                let fitting: Vec<_> = fitting.map(|it| it.1).collect();
                if fitting.is_empty() {
                    return Err(KeyError(
                        "its `keyDetails` are those of another kind of key",
                    ));
                }
                fitting
            }
            None => key.kind().algorithms().to_vec(),
        };
        Ok(Self {
            key,
            algorithms,
            valid_for,
        })
    }

    /// Returns true if the log signed `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut algorithms = self.algorithms.iter();
        algorithms.any(|algorithm| self.key.verifies_by(*algorithm, message, signature))
    }

    /// Returns true if the log signed a promise (signed entry timestamp) or a checkpoint of Rekor v1. cosign and sigstore-go
    /// verify both with SHA-256 for every curve, because Rekor v1 signs so, and `keyDetails` made from the key name the hash
    /// of its curve.
    pub(super) fn verifies_rekor_v1(&self, message: &[u8], signature: &[u8]) -> bool {
        let by_sha256 = Algorithm::Ecdsa(Hash::Sha256);
        self.verifies(message, signature) || self.key.verifies_by(by_sha256, message, signature)
    }

    /// Returns true if the log signed `message` by this algorithm, which must be one of its own.
    pub(super) fn verifies_by(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.algorithms.contains(&algorithm) && self.key.verifies_by(algorithm, message, signature)
    }
}

/// Returns true if the bytes are a key of any kind, supported or not.
pub(super) fn is_key(der: &[u8]) -> bool {
    SubjectPublicKeyInfoRef::from_der(der).is_ok() || rsa_bits(der).is_ok()
}

/// Returns what a name of the Sigstore protocol stands for (protobuf-specs, `sigstore_common.proto`); nothing for names
/// that say nothing about the algorithm here.
fn named(details: &str) -> Option<Vec<(KeyKind, Algorithm)>> {
    use Hash::{Sha256, Sha384, Sha512};
    let every = |kind, algorithm: fn(Hash) -> Algorithm| {
        let hashes = [Sha256, Sha384, Sha512].into_iter();
        hashes.map(|hash| (kind, algorithm(hash))).collect()
    };
    let ecdsa = |kind, hash| vec![(kind, Algorithm::Ecdsa(hash))];
    Some(match details {
        "PKIX_ECDSA_P256_SHA_256" | "PKIX_ECDSA_P256_HMAC_SHA_256" => ecdsa(KeyKind::P256, Sha256),
        "PKIX_ECDSA_P384_SHA_256" => ecdsa(KeyKind::P384, Sha256),
        "PKIX_ECDSA_P384_SHA_384" => ecdsa(KeyKind::P384, Sha384),
        "PKIX_ECDSA_P521_SHA_256" => ecdsa(KeyKind::P521, Sha256),
        "PKIX_ECDSA_P521_SHA_512" => ecdsa(KeyKind::P521, Sha512),
        "PKIX_ED25519" => vec![(KeyKind::Ed25519, Algorithm::Ed25519)],
        "PKIX_ED25519_PH" => vec![(KeyKind::Ed25519, Algorithm::Ed25519Prehashed)],
        // The deprecated names leave the hash open.
        "PKCS1_RSA_PKCS1V5" | "PKIX_RSA_PKCS1V5" => every(KeyKind::Rsa, Algorithm::RsaPkcs1),
        "PKCS1_RSA_PSS" | "PKIX_RSA_PSS" => every(KeyKind::Rsa, Algorithm::RsaPss),
        "PKIX_RSA_PKCS1V15_2048_SHA256"
        | "PKIX_RSA_PKCS1V15_3072_SHA256"
        | "PKIX_RSA_PKCS1V15_4096_SHA256" => vec![(KeyKind::Rsa, Algorithm::RsaPkcs1(Sha256))],
        "PKIX_RSA_PSS_2048_SHA256" | "PKIX_RSA_PSS_3072_SHA256" | "PKIX_RSA_PSS_4096_SHA256" => {
            vec![(KeyKind::Rsa, Algorithm::RsaPss(Sha256))]
        }
        _ => return None,
    })
}
