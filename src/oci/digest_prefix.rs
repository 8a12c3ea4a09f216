//! The beginning of a digest, as people copy it from a table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A digest, or its beginning: `sha256:6ef0a1`, `6ef0a1` (SHA-256 is meant), or a whole digest.
///
/// Names what a query looks for, and never content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DigestPrefix(String);

/// The text is not the beginning of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a digest or its beginning: at least {HEX_MIN} digits of lower-case hex, with or without `sha256:`"
)]
pub struct DigestPrefixError(());

/// Fewer digits match by chance.
const HEX_MIN: usize = 4;

impl DigestPrefix {
    /// The prefix with its algorithm.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DigestPrefix {
    type Err = DigestPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, hex) = text.split_once(':').unwrap_or(("sha256", text));
        let hex_max = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(DigestPrefixError(())),
        };
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !(HEX_MIN..=hex_max).contains(&hex.len()) || !hex.bytes().all(is_hex) {
            return Err(DigestPrefixError(()));
        }
        Ok(Self(format!("{algorithm}:{hex}")))
    }
}

impl TryFrom<String> for DigestPrefix {
    type Error = DigestPrefixError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DigestPrefix> for String {
    fn from(prefix: DigestPrefix) -> Self {
        prefix.0
    }
}

impl From<super::Digest> for DigestPrefix {
    fn from(digest: super::Digest) -> Self {
        Self(digest.to_string())
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_digests_and_their_beginnings() {
        let whole = format!("sha256:{}", "0a".repeat(32));
        for (text, read) in [
            ("6ef0", "sha256:6ef0"),
            ("sha256:6ef0a1b2c3d4", "sha256:6ef0a1b2c3d4"),
            ("sha512:00ff", "sha512:00ff"),
            (&whole, &whole),
        ] {
            assert_eq!(text.parse::<DigestPrefix>().unwrap().as_str(), read);
        }
        let long = "0".repeat(65);
        for text in [
            "", "6ef", "6EF0", "sha256:", "md5:0000", "v1.0", "6ef0%", &long,
        ] {
            assert!(text.parse::<DigestPrefix>().is_err(), "{text:?}");
        }
    }
}
