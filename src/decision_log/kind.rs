//! The words that a record may have as its kind.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The kind that a query asks for: one of [`KINDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindName(&'static str);

/// The word is no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnknownKind {
    word: String,
    similar: Option<&'static str>,
}

/// Every kind: those of refusals, and `unavailable` for what could not be decided.
pub const KINDS: [&str; 24] = [
    "unsigned",
    "untrusted_key",
    "wrong_identity",
    "wrong_issuer",
    "invalid_signature",
    "wrong_subject",
    "invalid_certificate",
    "transparency_log",
    "timestamp",
    "annotation_mismatch",
    "threshold_not_met",
    "attestation_missing",
    "attestation_rejected",
    "no_policy",
    "not_endorsed",
    "malformed",
    "limit_exceeded",
    "revoked",
    "signature_too_old",
    "wrong_name",
    "client_denied",
    "upstream_not_allowed",
    "upstream_denied",
    "unavailable",
];

/// A word that is less similar to a kind was not meant to be one.
const LIKENESS_MIN: f64 = 0.5;

/// Characters of the word that the error repeats.
const WORD_CHARACTERS_MAX: usize = 40;

impl KindName {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for KindName {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if let Some(kind) = KINDS.into_iter().find(|kind| *kind == word) {
            return Ok(Self(kind));
        }
        let word: String = word.chars().take(WORD_CHARACTERS_MAX).collect();
        let likeness = |kind: &str| strsim::normalized_damerau_levenshtein(kind, &word);
        let similar = KINDS
            .into_iter()
            .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
            .filter(|kind| likeness(kind) >= LIKENESS_MIN);
        Err(UnknownKind { word, similar })
    }
}

// By hand, because the derived one would borrow the word for as long as the program runs.
impl<'de> Deserialize<'de> for KindName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` is no kind of refusal", self.word)?;
        match self.similar {
            Some(similar) => write!(formatter, "; did you mean `{similar}`?"),
            None => write!(formatter, "; the kinds are {}", KINDS.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind() {
        for kind in KINDS {
            assert_eq!(kind.parse::<KindName>().unwrap().as_str(), kind);
        }
    }

    #[test]
    fn an_unknown_kind_names_a_similar_one_or_all() {
        let told = |word: &str| word.parse::<KindName>().unwrap_err().to_string();
        assert_eq!(
            told("unsinged"),
            "`unsinged` is no kind of refusal; did you mean `unsigned`?"
        );
        assert!(told("wrong-identity").ends_with("did you mean `wrong_identity`?"));
        assert!(told("zzz").contains("the kinds are unsigned, untrusted_key"));
    }
}
