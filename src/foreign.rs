//! Text by somebody else, in the form in which it is repeated to clients, operators and the log.
//!
//! A person who may push to a registry chooses media types, annotations, keys of JSON and names in certificates. Such
//! text can be megabytes long, and it can hold escape sequences that a terminal obeys or marks that change the order in
//! which text is read. So it is repeated in short, and without characters that nobody can see.

use std::fmt;
use std::ops::Deref;

use crate::oci::Digest;

/// Bytes of a foreign text that are repeated.
pub const TEXT_BYTES_MAX: usize = 512;

/// Bytes of a [`Message`].
pub const MESSAGE_BYTES_MAX: usize = 2048;

/// Bytes at the end of a long [`Message`] that stay, because the way out stands there.
const MESSAGE_END_BYTES: usize = 768;

/// Bytes that the note on a cut takes at most.
const NOTE_BYTES: usize = 64;

/// Digits of the SHA-256 in the note on a cut: enough to find the text again among what was pushed.
const HASH_DIGITS: usize = 16;

/// Returns the text cleaned, and its beginning alone if it is longer than [`TEXT_BYTES_MAX`]. The length and a part of the
/// SHA-256 of the whole follow a cut.
#[must_use]
pub fn clip(text: &str) -> String {
    let cleaned = clean(beginning(text, TEXT_BYTES_MAX + 1));
    if cleaned.len() <= TEXT_BYTES_MAX {
        return cleaned;
    }
    let mut clipped = clean_beginning(text, TEXT_BYTES_MAX - NOTE_BYTES);
    clipped.push_str(&note(text));
    clipped
}

/// A sentence for a person. It may repeat foreign text: it is clean, and at most [`MESSAGE_BYTES_MAX`] bytes long, of which
/// a longer one keeps its beginning and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Message(String);

impl Message {
    /// Returns the sentence.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        let cleaned = clean(beginning(text, MESSAGE_BYTES_MAX + 1));
        if cleaned.len() <= MESSAGE_BYTES_MAX {
            return Self(cleaned);
        }
        let start = MESSAGE_BYTES_MAX - MESSAGE_END_BYTES - NOTE_BYTES;
        let mut message = clean_beginning(text, start);
        message.push_str(&note(text));
        let ending = clean(end(text, MESSAGE_END_BYTES));
        message.push_str(end(&ending, MESSAGE_END_BYTES));
        Self(message)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        if text.len() <= MESSAGE_BYTES_MAX && !text.chars().any(is_unseen) {
            return Self(text);
        }
        Self::from(text.as_str())
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.0
    }
}

impl Deref for Message {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

fn clean(text: &str) -> String {
    let seen = |character| {
        if is_unseen(character) {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        }
    };
    text.chars().map(seen).collect()
}

fn clean_beginning(text: &str, bytes: usize) -> String {
    let mut cleaned = clean(beginning(text, bytes));
    // A replacement is longer than most of what it replaces.
    cleaned.truncate(cleaned.floor_char_boundary(bytes));
    cleaned
}

/// Returns true for characters that a terminal obeys, that change the order of text, or that take no room.
///
/// Controls of ASCII and of C1; Unicode's format characters (general category Cf), among them those of UAX #9 for the
/// order of text; separators of lines and paragraphs; letters that are drawn as nothing.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

fn beginning(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes))
        .unwrap_or_default()
}

fn end(text: &str, bytes: usize) -> &str {
    let from = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    text.get(from..).unwrap_or_default()
}

fn note(text: &str) -> String {
    let hash = Digest::sha256(text.as_bytes()).to_string();
    let hash = beginning(&hash, "sha256:".len() + HASH_DIGITS);
    format!("[… {} bytes, {hash}…]", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_stays_as_it_is() {
        for text in ["", "sha256:00", "Überprüfung 検証", "a \"b\" \\ c"] {
            assert_eq!(clip(text), text);
            assert_eq!(Message::from(text).as_str(), text);
            assert_eq!(Message::from(text.to_owned()).as_str(), text);
        }
    }

    #[test]
    fn what_a_terminal_obeys_or_nobody_sees_is_replaced() {
        let hostile =
            "a\u{1b}[31mb\u{7}c\u{9b}d\u{202e}e\u{2066}f\u{2028}g\u{200d}h\r\ni\u{feff}j\u{e0041}k";
        let clean = "a?[31mb?c?d?e?f?g?h??i?j?k".replace('?', "\u{fffd}");
        assert_eq!(clip(hostile), clean);
        assert_eq!(Message::from(hostile).as_str(), clean);
        assert_eq!(Message::from(hostile.to_owned()).as_str(), clean);
    }

    #[test]
    fn long_text_is_cut_and_can_be_found_again() {
        let text = "ü\u{1b}".repeat(1_000_000);
        let clipped = clip(&text);
        assert!(clipped.len() <= TEXT_BYTES_MAX, "{}", clipped.len());
        let hash = Digest::sha256(text.as_bytes()).to_string();
        let told = format!("[… 3000000 bytes, {}…]", &hash[..23]);
        assert!(clipped.ends_with(&told), "{clipped}");
        assert!(clipped.starts_with("ü\u{fffd}ü\u{fffd}"));
    }

    #[test]
    fn long_message_keeps_its_end() {
        let media_type = "x".repeat(3_900_000);
        let text = format!("the media type {media_type} is not known; write another one");
        let cut = format!("{} bytes, sha256:", text.len());
        let message = Message::from(text);
        assert!(message.len() <= MESSAGE_BYTES_MAX, "{}", message.len());
        assert!(message.starts_with("the media type xxx"));
        assert!(message.ends_with("xxx is not known; write another one"));
        assert!(message.contains(&cut), "{message}");
    }

    #[test]
    fn cut_falls_between_characters() {
        for shift in 0..4 {
            let text = "a".repeat(shift) + &"\u{1f600}".repeat(2000);
            assert!(clip(&text).len() <= TEXT_BYTES_MAX);
            assert!(Message::from(text).len() <= MESSAGE_BYTES_MAX);
        }
    }
}
