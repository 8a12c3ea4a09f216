//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`, lower case only.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest as hash;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The digest of some bytes, by one of the two algorithms that the image specification registers.
///
/// Built only from text of exactly the canonical form or from hashed bytes, so a value never carries a path, a
/// truncated hash or upper-case hex (CVE-2024-3727).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Inner);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Inner {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// The algorithm of a [`Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256, which every registry and runtime knows.
    Sha256,
    /// SHA-512, registered by the image specification and rarely used.
    Sha512,
}

/// The text is not a digest of a supported algorithm in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sha256 or sha512 digest in lower-case hex")]
pub struct ParseError(());

/// Hashes bytes as they arrive, by the algorithm of the digest they are expected to have.
pub struct Hasher {
    algorithm: Algorithm,
    context: hash::Context,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` by `algorithm`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Whether `bytes` have this digest.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::of(self.algorithm(), bytes) == *self
    }

    /// The algorithm this digest is by.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Inner::Sha256(_) => Algorithm::Sha256,
            Inner::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hash without its algorithm: 32 or 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Inner::Sha256(bytes) => bytes,
            Inner::Sha512(bytes) => bytes,
        }
    }

    /// The hash in lower-case hex, without its algorithm.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// The tag under which cosign and the referrers tag schema file what belongs to this digest, such as
    /// `sha256-<hex>` (distribution specification, "Referrers Tag Schema"; truncated there to 32 + 1 + 64 characters).
    #[must_use]
    pub fn to_tag_prefix(&self) -> String {
        let mut hex = self.to_hex();
        hex.truncate(64);
        format!("{}-{hex}", self.algorithm().as_str())
    }
}

impl Algorithm {
    /// The name as it stands before the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let hash = match algorithm {
            Algorithm::Sha256 => &hash::SHA256,
            Algorithm::Sha512 => &hash::SHA512,
        };
        Self {
            algorithm,
            context: hash::Context::new(hash),
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all bytes taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        let output = self.context.finish();
        match self.algorithm {
            Algorithm::Sha256 => {
                let mut bytes = [0; 32];
                bytes.copy_from_slice(output.as_ref());
                Digest(Inner::Sha256(bytes))
            }
            Algorithm::Sha512 => {
                let mut bytes = [0; 64];
                bytes.copy_from_slice(output.as_ref());
                Digest(Inner::Sha512(bytes))
            }
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (algorithm, encoded) = text.split_once(':').ok_or(ParseError(()))?;
        if encoded
            .bytes()
            .any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(ParseError(()));
        }
        let mut sha256 = [0; 32];
        let mut sha512 = [0; 64];
        match algorithm {
            "sha256" if hex::decode_to_slice(encoded, &mut sha256).is_ok() => {
                Ok(Self(Inner::Sha256(sha256)))
            }
            "sha512" if hex::decode_to_slice(encoded, &mut sha512).is_ok() => {
                Ok(Self(Inner::Sha512(sha512)))
            }
            _ => Err(ParseError(())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 128];
        let bytes = self.as_bytes();
        let encoded = text.get_mut(..bytes.len() * 2).ok_or(fmt::Error)?;
        hex::encode_to_slice(bytes, encoded).map_err(|_too_long| fmt::Error)?;
        formatter.write_str(self.algorithm().as_str())?;
        formatter.write_str(":")?;
        formatter.write_str(std::str::from_utf8(encoded).map_err(|_not_text| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest, Digest::sha256(b""));
        assert_eq!(digest.to_tag_prefix(), text.replace(':', "-"));
        let long = Digest::of(Algorithm::Sha512, b"x");
        assert_eq!(long.to_string().parse::<Digest>().unwrap(), long);
        assert_eq!(long.to_tag_prefix().len(), "sha512-".len() + 64);
    }

    #[test]
    fn refuses_every_other_spelling() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [
            String::new(),
            hex.to_owned(),
            "sha256:".to_owned(),
            "sha256:../../x".to_owned(),
            format!("sha256:{}", hex.to_uppercase()),
            format!("SHA256:{hex}"),
            format!("sha256:{hex}0"),
            format!("sha256:{}", &hex[..63]),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!("sha256:{hex}\n"),
            format!(" sha256:{hex}"),
            format!("sha256::{hex}"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
