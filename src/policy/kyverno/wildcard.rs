//! Kyverno's wildcards: `*` stands for any text, slashes included, `?` for exactly one character, and the whole text
//! must match. There are no classes and no escapes.

use std::str::Chars;

use super::places::{DIGESTS, Places, TAG, Token};
use crate::policy::fuel::price;
use crate::policy::{Fuel, OutOfFuel};

/// Whether the whole of `text` matches.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // The rest of the pattern after the last `*`, and the text from where that rest was tried last.
    let mut last_run: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut after_pattern, mut after_text) = (pattern.clone(), text.clone());
        match (after_pattern.next(), after_text.next()) {
            (Some('*'), _) => {
                pattern = after_pattern;
                last_run = Some((pattern.clone(), text.clone()));
                continue;
            }
            (None, None) => return true,
            (Some(expected), Some(found)) if expected == '?' || expected == found => {
                (pattern, text) = (after_pattern, after_text);
                continue;
            }
            // Less text does not help.
            (Some(_), None) => return false,
            (Some(_) | None, Some(_)) => {}
        }
        let Some((rest, from)) = &mut last_run else {
            return false;
        };
        from.next();
        (pattern, text) = (rest.clone(), from.clone());
    }
}

/// Returns true if the pattern stands for more than itself.
#[must_use]
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Pays for [`matches()`]: at worst, each part of the pattern is compared with each character.
pub(super) fn pay(pattern: &str, text: &str, fuel: &Fuel) -> Result<(), OutOfFuel> {
    let is_pattern = is_pattern(pattern);
    let steps = if is_pattern {
        pattern.len().saturating_mul(text.len())
    } else {
        pattern.len().min(text.len())
    };
    fuel.pay(price::read(steps))
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
