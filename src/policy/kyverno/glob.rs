//! The globs of `matchImageReferences`.
//!
//! They are those of github.com/gobwas/glob without separators: `*` and `**` stand for any text, slashes included, `?`
//! for one character, `[abc]`, `[a-c]` and `[!…]` for one of a set, `{a,b}` for one of several, and `\\` takes the meaning
//! from what follows. The whole text must match.

use std::iter::Peekable;
use std::str::Chars;

use super::places::{Places, TAG, Token};
use super::reference::{Rest, Text};

/// A glob over the names of images.
#[derive(Debug, Clone)]
pub struct Glob {
    source: String,
    /// One of these must match.
    alternatives: Vec<Vec<Token>>,
}

/// Why a text is no glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing there.
    #[error("a glob must not be empty")]
    Empty,
    /// `[` without `]`, `[]`, `[a-`.
    #[error("a set of characters is written [abc], [a-c] or [!abc]")]
    Class,
    /// More than [`Glob::ALTERNATIVES_MAX`] combinations of what is in braces, or more than [`Glob::DEPTH_MAX`] braces
    /// within each other.
    #[error("too many alternatives in braces")]
    TooManyAlternatives,
    /// Longer than [`Glob::CHARACTERS_MAX`].
    #[error("a glob has at most {} characters", Glob::CHARACTERS_MAX)]
    TooLong,
}

impl Glob {
    /// The most characters of a glob.
    pub const CHARACTERS_MAX: usize = 1024;
    /// The most combinations of alternatives.
    pub const ALTERNATIVES_MAX: usize = 64;
    /// How deep braces may be within each other.
    pub const DEPTH_MAX: usize = 8;

    /// Reads a glob.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(source: &str) -> Result<Self, GlobError> {
        if source.is_empty() {
            return Err(GlobError::Empty);
        }
        if source.chars().count() > Self::CHARACTERS_MAX {
            return Err(GlobError::TooLong);
        }
        let mut characters = source.chars().peekable();
        let (alternatives, _) = read_sequence(&mut characters, 0)?;
        Ok(Self {
            source: source.to_owned(),
            alternatives,
        })
    }

    /// As written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.can_match(&Text::known(text))
    }

    /// Whether some text that begins with `prefix` matches.
    #[must_use]
    pub fn can_begin(&self, prefix: &str) -> bool {
        self.alternatives.iter().any(|tokens| {
            let mut places = Places::new(tokens);
            places.read(prefix);
            places.can_go_on()
        })
    }

    /// Whether it matches for some of what is not known of `text`.
    pub(super) fn can_match(&self, text: &Text) -> bool {
        self.alternatives.iter().any(|tokens| {
            let mut places = Places::new(tokens);
            places.read(&text.known);
            match text.rest {
                Rest::Nothing => {}
                Rest::Tag => places.read_some_of(TAG),
                Rest::Hash(form) => places.read_hash(form),
                Rest::TagAndHash(form) => {
                    places.read_some_of(TAG);
                    places.read(form.start);
                    places.read_hash(form);
                }
            }
            places.at_end()
        })
    }
}

/// What ended a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Text,
    Alternative,
    Braces,
}

/// The sequences of tokens that what comes next stands for.
fn read_sequence(
    characters: &mut Peekable<Chars<'_>>,
    depth: usize,
) -> Result<(Vec<Vec<Token>>, End), GlobError> {
    let mut sequences = vec![Vec::new()];
    while let Some(character) = characters.next() {
        let token = match character {
            ',' if depth > 0 => return Ok((sequences, End::Alternative)),
            '}' if depth > 0 => return Ok((sequences, End::Braces)),
            '{' => {
                let braces = read_braces(characters, depth + 1)?;
                sequences = combine(&sequences, &braces)?;
                continue;
            }
            '[' => read_class(characters)?,
            '?' => Token::One,
            '*' => Token::Run,
            '\\' => match characters.next() {
                Some(escaped) => Token::Literal(escaped),
                None => break,
            },
            literal => Token::Literal(literal),
        };
        for sequence in &mut sequences {
            sequence.push(token.clone());
        }
    }
    Ok((sequences, End::Text))
}

fn read_braces(
    characters: &mut Peekable<Chars<'_>>,
    depth: usize,
) -> Result<Vec<Vec<Token>>, GlobError> {
    if depth > Glob::DEPTH_MAX {
        return Err(GlobError::TooManyAlternatives);
    }
    let mut alternatives = Vec::new();
    loop {
        let (sequences, end) = read_sequence(characters, depth)?;
        alternatives.extend(sequences);
        if alternatives.len() > Glob::ALTERNATIVES_MAX {
            return Err(GlobError::TooManyAlternatives);
        }
        if end != End::Alternative {
            return Ok(alternatives);
        }
    }
}

fn combine(before: &[Vec<Token>], after: &[Vec<Token>]) -> Result<Vec<Vec<Token>>, GlobError> {
    if before.len() * after.len() > Glob::ALTERNATIVES_MAX {
        return Err(GlobError::TooManyAlternatives);
    }
    let combined = before.iter().flat_map(|start| {
        let ends = after.iter();
        ends.map(move |end| start.iter().chain(end).cloned().collect())
    });
    Ok(combined.collect())
}

/// What follows `[`.
fn read_class(characters: &mut Peekable<Chars<'_>>) -> Result<Token, GlobError> {
    let negated = characters.next_if_eq(&'!').is_some();
    let first = characters.next().ok_or(GlobError::Class)?;
    let ranges = if characters.next_if_eq(&'-').is_some() {
        let last = characters.next().ok_or(GlobError::Class)?;
        if last < first || characters.next() != Some(']') {
            return Err(GlobError::Class);
        }
        vec![(first, last)]
    } else {
        read_members(first, characters)?
    };
    Ok(Token::Class { negated, ranges })
}

fn read_members(
    first: char,
    characters: &mut Peekable<Chars<'_>>,
) -> Result<Vec<(char, char)>, GlobError> {
    let mut members = Vec::new();
    let mut next = Some(first);
    loop {
        let member = match next.ok_or(GlobError::Class)? {
            ']' if members.is_empty() => return Err(GlobError::Class),
            ']' => return Ok(members),
            '\\' => characters.next().ok_or(GlobError::Class)?,
            member => member,
        };
        members.push((member, member));
        next = characters.next();
    }
}
