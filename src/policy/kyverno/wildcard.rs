//! Kyverno's wildcards: `*` stands for any text, slashes included, `?` for exactly one character, and the whole text
//! must match. There are no classes and no escapes.

use super::places::{DIGESTS, Places, TAG, Token};

/// Whether the whole of `text` matches.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let tokens = tokens(pattern);
    let mut places = Places::new(&tokens);
    places.read(text);
    places.at_end()
}

/// Whether some text matches that begins with `prefix`.
#[must_use]
pub(super) fn can_begin(pattern: &str, prefix: &str) -> bool {
    let tokens = tokens(pattern);
    let mut places = Places::new(&tokens);
    places.read(prefix);
    places.can_go_on()
}

/// Whether some text matches that begins with `prefix` and goes on with a tag (`:v1`) or with a digest (`@sha256:…`).
#[must_use]
pub(super) fn can_continue(pattern: &str, prefix: &str, suffix: Suffix) -> bool {
    let tokens = tokens(pattern);
    let mut places = Places::new(&tokens);
    places.read(prefix);
    match suffix {
        Suffix::Tag => {
            places.read(":");
            places.read_some_of(TAG);
            places.at_end()
        }
        Suffix::Digest => DIGESTS.into_iter().any(|form| {
            let mut places = places.clone();
            places.read(form.start);
            places.read_hash(form);
            places.at_end()
        }),
    }
}

/// Whether every text matches that begins with `prefix` and goes on with a tag or with a digest.
#[must_use]
pub(super) fn always_continues(pattern: &str, prefix: &str, suffix: Suffix) -> bool {
    let tokens = tokens(pattern);
    let mut places = Places::new(&tokens);
    places.read(prefix);
    let matches_after = |start: &str| {
        let mut places = places.clone();
        places.read(start);
        places.match_anything()
    };
    match suffix {
        Suffix::Tag => matches_after(":"),
        Suffix::Digest => DIGESTS.into_iter().all(|form| matches_after(form.start)),
    }
}

/// What comes after the name of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    Tag,
    Digest,
}

fn tokens(pattern: &str) -> Vec<Token> {
    let tokens = pattern.chars().map(|character| match character {
        '*' => Token::Run,
        '?' => Token::One,
        literal => Token::Literal(literal),
    });
    tokens.collect()
}
