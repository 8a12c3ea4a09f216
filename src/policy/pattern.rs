//! Patterns over canonical names: `*` within one path component, `**` across components.

use std::fmt;
use std::str::FromStr;

use crate::oci::repository::{canonical_host, looks_like_host};

/// A pattern over whole canonical names, such as `ghcr.io/org/*`.
///
/// `*` stands for any characters of one path component, `**` for any characters at all; everything else for itself.
/// `ghcr.io/org/*` covers `ghcr.io/org/app` and neither `ghcr.io/org/app/web` nor `ghcr.io/org`; `ghcr.io/org/**`
/// covers the first two; `**` covers every name. Docker Hub is spelled as in canonical names, whatever was configured.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    source: String,
    /// What comes before the first wildcard.
    prefix: String,
    /// The rest.
    tokens: Vec<Token>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing there.
    #[error("a pattern must not be empty")]
    Empty,
    /// More characters than a canonical name can have.
    #[error("a pattern has at most {CHARACTERS_MAX} characters")]
    TooLong,
    /// Names are lower case, so it would never match.
    #[error("names are lower case: this never matches")]
    UpperCase,
    /// Names have no blanks.
    #[error("names have no blanks: this never matches")]
    Whitespace,
    /// A scheme in front.
    #[error("patterns match host/repository, without a scheme such as `https://`")]
    Scheme,
    /// A tag at the end.
    #[error("patterns match host/repository: leave out the tag")]
    Tag,
    /// A digest at the end.
    #[error("patterns match host/repository: leave out the digest")]
    Digest,
    /// No host in front.
    #[error(
        "patterns match host/repository and this one has no registry host (Docker Hub is docker.io)"
    )]
    NoHost,
    /// A host and nothing else.
    #[error("patterns match host/repository and this one has no repository (`/**` covers all)")]
    NoRepository,
    /// The host part cannot match any host.
    #[error("the part before the first slash is no registry host")]
    Host,
    /// Two slashes in a row, or one at an end.
    #[error("a path component is empty")]
    EmptyComponent,
    /// Three asterisks in a row.
    #[error("`*` and `**` are the only wildcards")]
    Wildcard,
    /// Something that no name contains.
    #[error("`{0}` never occurs in a name")]
    Character(char),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    WithinComponent,
    AcrossComponents,
}

/// As long as a canonical name can be.
const CHARACTERS_MAX: usize = 255;

/// What `*` and `**` stand for in names of which no honest pattern matches all unless it has wildcards in their place.
const SOME_NAMES: [(&str, &str); 2] = [("q7-u", "q7-u"), ("k9v.x", "k9v.x/w/3b")];

/// One bit for each place between tokens, the end included.
type States = [u64; 4];

impl Pattern {
    /// The pattern with its host in canonical spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the whole name matches. The time is bounded by the product of both lengths and by nothing worse.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(self.prefix.as_str()) else {
            return false;
        };
        match self.tokens.as_slice() {
            [] => rest.is_empty(),
            [Token::AcrossComponents] => true,
            [Token::WithinComponent] => !rest.contains('/'),
            tokens => simulate(tokens, rest),
        }
    }

    /// Whether every canonical name matches.
    #[must_use]
    pub fn covers_everything(&self) -> bool {
        // Every name has exactly one host and at least one more component.
        self.source.contains("**")
            && self.source.bytes().all(|byte| byte == b'*' || byte == b'/')
            && self.source.bytes().filter(|byte| *byte == b'/').count() <= 1
    }

    /// Whether every repository of a registry matches.
    #[must_use]
    pub fn covers_registry(&self) -> bool {
        let (_, repository) = self.source.split_once('/').unwrap_or(("", &self.source));
        repository.contains("**") && repository.bytes().all(|byte| b"*/".contains(&byte))
    }

    /// Whether `other` matches every name that this one does, as far as a few of them can tell.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        SOME_NAMES.into_iter().all(|(within, across)| {
            let name = self.source.replace("**", across).replace('*', within);
            other.matches(&name)
        })
    }

    /// The host, if the pattern names one without wildcards.
    #[must_use]
    pub fn literal_host(&self) -> Option<&str> {
        let (host, _) = self.source.split_once('/')?;
        (!host.contains('*')).then_some(host)
    }
}

/// Advances a set of states byte by byte, so that no input makes it try anything twice.
fn simulate(tokens: &[Token], name: &str) -> bool {
    let mut states = States::default();
    enter(&mut states, tokens, 0);
    for byte in name.bytes() {
        let mut next = States::default();
        for (index, token) in tokens.iter().enumerate() {
            if !contains(&states, index) {
                continue;
            }
            match token {
                Token::Byte(expected) if *expected == byte => enter(&mut next, tokens, index + 1),
                Token::WithinComponent if byte != b'/' => enter(&mut next, tokens, index),
                Token::AcrossComponents => enter(&mut next, tokens, index),
                Token::Byte(_) | Token::WithinComponent => {}
            }
        }
        states = next;
    }
    contains(&states, tokens.len())
}

/// Adds the state, and those behind wildcards that may stand for nothing.
fn enter(states: &mut States, tokens: &[Token], state: usize) {
    let wildcards = tokens
        .get(state..)
        .unwrap_or_default()
        .iter()
        .take_while(|token| !matches!(token, Token::Byte(_)))
        .count();
    for state in state..=state + wildcards {
        if let Some(word) = states.get_mut(state / 64) {
            *word |= 1 << (state % 64);
        }
    }
}

fn contains(states: &States, state: usize) -> bool {
    states
        .get(state / 64)
        .is_some_and(|word| word & (1 << (state % 64)) != 0)
}

fn canonical(text: &str) -> Result<String, PatternError> {
    check_characters(text)?;
    if text == "**" {
        return Ok(text.to_owned());
    }
    let (host, repository) = text.split_once('/').ok_or_else(|| {
        if looks_like_host(text) {
            PatternError::NoRepository
        } else {
            PatternError::NoHost
        }
    })?;
    if host.is_empty() || repository.split('/').any(str::is_empty) {
        return Err(PatternError::EmptyComponent);
    }
    if repository.contains(':') {
        return Err(PatternError::Tag);
    }
    if let Some(bracket) = repository
        .chars()
        .find(|character| "[]".contains(*character))
    {
        return Err(PatternError::Character(bracket));
    }
    if host.contains('*') {
        return Ok(text.to_owned());
    }
    if !looks_like_host(host) {
        return Err(PatternError::NoHost);
    }
    let host = canonical_host(host).map_err(|_host| PatternError::Host)?;
    // Canonical names of Docker Hub have `library/` in front of a single component.
    let library = if host == "docker.io" && !repository.contains('/') && !repository.contains("**")
    {
        "library/"
    } else {
        ""
    };
    Ok(format!("{host}/{library}{repository}"))
}

fn check_characters(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    if text.contains("://") {
        return Err(PatternError::Scheme);
    }
    if text.contains('@') {
        return Err(PatternError::Digest);
    }
    if text.contains("***") {
        return Err(PatternError::Wildcard);
    }
    for character in text.chars() {
        match character {
            'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/' | ':' | '*' | '[' | ']' => {}
            character if character.is_uppercase() => return Err(PatternError::UpperCase),
            character if character.is_whitespace() => return Err(PatternError::Whitespace),
            '?' => return Err(PatternError::Wildcard),
            character => return Err(PatternError::Character(character)),
        }
    }
    Ok(())
}

fn tokenise(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'*' if bytes.next_if_eq(&b'*').is_some() => Token::AcrossComponents,
            b'*' => Token::WithinComponent,
            byte => Token::Byte(byte),
        });
    }
    tokens
}

// === impl Pattern ===

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let source = canonical(text)?;
        if source.len() > CHARACTERS_MAX {
            return Err(PatternError::TooLong);
        }
        let literal = source.find('*').unwrap_or(source.len());
        let (prefix, rest) = source.split_at(literal);
        Ok(Self {
            prefix: prefix.to_owned(),
            tokens: tokenise(rest),
            source,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests;
