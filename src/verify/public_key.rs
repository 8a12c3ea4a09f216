//! Public keys and the signatures that they verify.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::ParsedPublicKey;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::Digest as _;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::algorithm::{self, Algorithm, KeyKind, RSA_BITS_MIN, RSA_ENCRYPTION};
use crate::oci::Digest;
use crate::signature::{pem, read_certificate};

/// The longest RSA keys that may sign, in bits. Longer ones take long to verify.
const RSA_BITS_MAX: usize = 4096;

/// A public key that may vouch for images, parsed and of a supported kind and size.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// SHA-256 of the DER SubjectPublicKeyInfo; two keys are the same key if and only if these are equal.
    pub fingerprint: Digest,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// DER SubjectPublicKeyInfo.
    der: Vec<u8>,
    kind: KeyKind,
    /// The key once per algorithm that it signs with, the likeliest first, each parsed when it is first tried.
    parsed: Vec<(Algorithm, OnceLock<Option<ParsedPublicKey>>)>,
    /// An Ed25519 key for RFC 8032's pre-hashed variant, which cosign v3 signs with and aws-lc-rs does not have.
    prehashed: Option<ed25519_dalek::VerifyingKey>,
}

/// The public-key text is not one usable key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub &'static str);

/// The words for a private key in the place of a public one.
pub(super) const PRIVATE_KEY: &str = "it is a private key, which only the signer may have: give the public key, by \
                                      `cosign public-key --key FILE` or `openssl pkey -in FILE -pubout`";

/// Returns true if PEM text holds a private key of any form: PKCS#8, PKCS#1, SEC 1, OpenSSH, or cosign's own.
pub(super) fn holds_private_key(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
}

impl PublicKey {
    /// Parses one PEM block `PUBLIC KEY` (RFC 7468, 13) or `RSA PUBLIC KEY` (PKCS#1), as cosign does.
    ///
    /// # Errors
    /// When the text is not exactly one public key, or its algorithm or size is not supported.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if holds_private_key(text) {
            return Err(KeyError(PRIVATE_KEY));
        }
        let blocks = text.matches("-----BEGIN ").count();
        if blocks != 1 {
            return Err(KeyError("the text does not hold exactly one PEM block"));
        }
        let block = |label| pem::blocks(text, label).ok()?.into_iter().next();
        match (block("PUBLIC KEY"), block("RSA PUBLIC KEY")) {
            (Some(der), _) => Self::from_der(&der),
            (None, Some(der)) => Self::from_rsa_der(&der),
            (None, None) => Err(KeyError("the text is not a PEM block `PUBLIC KEY`")),
        }
    }

    /// The key of one PEM `CERTIFICATE` block, of which nothing else is looked at.
    ///
    /// # Errors
    /// When the text is not exactly one certificate, or the algorithm or size of its key is not supported.
    pub fn from_certificate(text: &str) -> Result<Self, KeyError> {
        let blocks = text.matches("-----BEGIN ").count();
        if blocks != 1 {
            return Err(KeyError("the text does not hold exactly one PEM block"));
        }
        let broken = KeyError("the text is not a PEM block `CERTIFICATE`");
        let blocks = pem::blocks(text, "CERTIFICATE").unwrap_or_default();
        let [der] = blocks.as_slice() else {
            return Err(broken);
        };
        let Ok(certificate) = read_certificate(der) else {
            return Err(broken);
        };
        let info = certificate.tbs_certificate.subject_public_key_info;
        match info.to_der() {
            Ok(info) => Self::from_der(&info),
            Err(_error) => Err(broken),
        }
    }

    /// Parses a DER `RSAPublicKey` (RFC 8017, A.1.1).
    ///
    /// # Errors
    /// When it is none, or its size is not supported.
    pub(super) fn from_rsa_der(der: &[u8]) -> Result<Self, KeyError> {
        let unreadable = KeyError("the RSA key is not readable");
        if algorithm::rsa_bits(der).is_err() {
            return Err(unreadable);
        }
        let Ok(subject_public_key) = BitStringRef::from_bytes(der) else {
            return Err(unreadable);
        };
        let info = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef {
                oid: RSA_ENCRYPTION,
                parameters: Some(AnyRef::NULL),
            },
            subject_public_key,
        };
        match info.to_der() {
            Ok(info) => Self::from_der(&info),
            Err(_error) => Err(unreadable),
        }
    }

    /// Parses a DER SubjectPublicKeyInfo.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|_error| KeyError("the key is not a DER SubjectPublicKeyInfo"))?;
        let raw = info
            .subject_public_key
            .as_bytes()
            .ok_or(KeyError("the key is not a whole number of bytes"))?;
        let kind = KeyKind::of(&info).map_err(KeyError)?;
        let prehashed = match kind {
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => None,
            KeyKind::Rsa => {
                check_rsa_size(raw)?;
                None
            }
            KeyKind::Ed25519 => Some(ed25519_key(raw)?),
        };
        let parsed = kind.algorithms().iter();
        let inner = Inner {
            der: der.to_vec(),
            kind,
            parsed: parsed.map(|it| (*it, OnceLock::new())).collect(),
            prehashed,
        };
        // All algorithms parse a key alike.
        let first = inner.parsed.first();
        if first.is_none_or(|(algorithm, _)| inner.with(*algorithm).is_none()) {
            return Err(KeyError("the key is not valid for its algorithm"));
        }
        Ok(Self {
            fingerprint: Digest::sha256(der),
            inner: Arc::new(inner),
        })
    }

    /// The DER SubjectPublicKeyInfo.
    pub(super) fn der(&self) -> &[u8] {
        &self.inner.der
    }

    /// How cosign names the key in a bundle: the base64 SHA-256 of its DER form.
    pub(super) fn hint(&self) -> String {
        BASE64_STANDARD.encode(self.fingerprint.as_bytes())
    }

    /// The kind of the key.
    pub(super) fn kind(&self) -> KeyKind {
        self.inner.kind
    }

    /// Returns true if `signature` over `message` is by this key, by any algorithm that such a key signs with.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut algorithms = self.inner.kind.algorithms().iter();
        algorithms.any(|algorithm| self.verifies_by(*algorithm, message, signature))
    }

    /// Returns true if `signature` over `message` is by this key and this algorithm.
    pub(super) fn verifies_by(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match (algorithm, &self.inner.prehashed) {
            (Algorithm::Ed25519Prehashed, Some(key)) => verifies_prehashed(key, message, signature),
            (
                Algorithm::Ecdsa(_)
                | Algorithm::RsaPkcs1(_)
                | Algorithm::RsaPss(_)
                | Algorithm::Ed25519
                | Algorithm::Ed25519Prehashed,
                _,
            ) => {
                let key = self.inner.with(algorithm);
                key.is_some_and(|key| key.verify_sig(message, signature).is_ok())
            }
        }
    }
}

impl Inner {
    /// The key for an algorithm, if it signs with that.
    fn with(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let (_, parsed) = self.parsed.iter().find(|(known, _)| *known == algorithm)?;
        let parse = || {
            let verifier = self.kind.verifier(algorithm)?;
            ParsedPublicKey::new(verifier, &self.der).ok()
        };
        parsed.get_or_init(parse).as_ref()
    }
}

fn ed25519_key(raw: &[u8]) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    let bytes = raw
        .try_into()
        .map_err(|_length| KeyError("the Ed25519 key is not 32 bytes long"))?;
    ed25519_dalek::VerifyingKey::from_bytes(bytes)
        .map_err(|_error| KeyError("the Ed25519 key is not a point of the curve"))
}

/// Ed25519ph with an empty context, refusing keys and signatures of small order.
fn verifies_prehashed(key: &ed25519_dalek::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
        return false;
    };
    let hash = ed25519_dalek::Sha512::new_with_prefix(message);
    key.verify_prehashed_strict(hash, None, &signature).is_ok()
}

fn check_rsa_size(key: &[u8]) -> Result<(), KeyError> {
    let bits = algorithm::rsa_bits(key);
    let bits = bits.map_err(|_error| KeyError("the RSA key is not readable"))?;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(KeyError(
            "the RSA key is not between 2048 and 4096 bits long",
        ));
    }
    Ok(())
}
