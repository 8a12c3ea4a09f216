//! Base64 as Go reads it, in which cosign is written.

use base64::DecodeError;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::de::{Deserialize as _, Deserializer, Error as _};

/// Decodes standard base64. Line breaks count nowhere, as in Go's `encoding/base64`: `openssl base64` wraps its lines.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    BASE64_STANDARD.decode(without_line_breaks(text).trim())
}

/// Reads the bytes of a JSON field: either alphabet, padded or not, as protobuf JSON has them, with line breaks anywhere.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = sigstore_types::PayloadBytes::from_base64(&without_line_breaks(&text));
    bytes.map(|it| it.into_bytes()).map_err(D::Error::custom)
}

fn without_line_breaks(text: &str) -> String {
    text.chars()
        .filter(|character| !matches!(character, '\r' | '\n'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_count_nowhere_and_other_characters_do() {
        for text in [
            "c2lnbmVk",
            "c2ln\nbmVk\n",
            "c2\r\nlnbm\r\nVk",
            "\nc2lnbmVk",
            " c2lnbmVk ",
        ] {
            assert_eq!(decode(text).unwrap(), b"signed", "{text:?}");
        }
        for text in [
            "c2ln bmVk",
            "c2ln\tbmVk",
            "c2lnbmV",
            "c2lnbmVk=",
            "c2ln-_",
            "c2ln\u{85}bmVk",
        ] {
            assert!(decode(text).is_err(), "{text:?}");
        }
    }
}
