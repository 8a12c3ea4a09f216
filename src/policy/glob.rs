//! Globs over image references, as policy-controller has them (`images[].glob` of a `ClusterImagePolicy`).

use serde_json::{Value, json};

use super::coverage::{Doubt, ImportedCoverage, Tags};
use crate::oci::RepositoryName;
use crate::oci::repository::{DOCKER_HUB, OTHER_DOCKER_HUBS};

/// One glob: `*` stands for any characters but slashes, `**` for any characters, everything else for itself. The whole
/// reference must match, its tag or digest included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    source: String,
    tokens: Vec<Token>,
}

/// Why a text is no glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing to match.
    #[error("an empty glob")]
    Empty,
    /// More bytes than [`Glob::BYTES_MAX`].
    #[error("a glob has at most {} bytes", Glob::BYTES_MAX)]
    TooLong,
    /// A character that the project refuses.
    #[error("`{0}` is not allowed in a glob: letters, digits and -_:/*.@ are")]
    Character(char),
}

/// What a `ClusterImagePolicy` covers: whatever any of its globs matches.
#[derive(Debug, Clone)]
pub struct GlobCoverage {
    globs: Vec<Glob>,
    doubt: Doubt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Character(char),
    WithinComponent,
    Anything,
}

/// The places between tokens where a text may have got to.
type States = Vec<bool>;

/// What go-containerregistry, and so the project, calls Docker Hub.
const RESOLVED_HOST: &str = "index.docker.io";
const RESOLVED_DOCKER_HUB: &str = "index.docker.io/";
const LIBRARY: &str = "library/";

impl Glob {
    /// The most bytes of a glob; references are shorter.
    pub const BYTES_MAX: usize = 1024;

    /// Reads `source`.
    ///
    /// # Errors
    /// When the project refuses it too, or it is longer than any reference.
    pub fn new(source: &str) -> Result<Self, GlobError> {
        if source.is_empty() {
            return Err(GlobError::Empty);
        }
        if source.len() > Self::BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        let allowed =
            |character: &char| character.is_ascii_alphanumeric() || "-_:/*.@".contains(*character);
        if let Some(character) = source.chars().find(|character| !allowed(character)) {
            return Err(GlobError::Character(character));
        }
        // Two spellings are short for all of Docker Hub.
        let full = match source {
            "*" => "index.docker.io/library/*",
            "*/*" => "index.docker.io/*/*",
            other => other,
        };
        Ok(Self {
            source: source.to_owned(),
            tokens: tokens(full),
        })
    }

    /// As written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it says something about tags or digests, so that a repository's images are not all treated alike.
    #[must_use]
    pub fn is_about_tags(&self) -> bool {
        let ends_open = self.tokens.last().is_some_and(Token::is_wildcard);
        let last_component = self.source.rsplit('/').next().unwrap_or_default();
        !ends_open || last_component.contains([':', '@'])
    }

    /// Whether the project's own rule covers `reference`, as a user writes it. What is no reference is not covered.
    #[must_use]
    pub fn matches(&self, reference: &str) -> bool {
        full_name(reference).is_some_and(|name| self.accepts(&name) || self.accepts(reference))
    }

    fn accepts(&self, text: &str) -> bool {
        self.is_end(&self.after(text))
    }

    fn is_end(&self, states: &States) -> bool {
        states.last().copied().unwrap_or_default()
    }

    /// Where the glob may have got to after `text`.
    fn after(&self, text: &str) -> States {
        let mut states = vec![false; self.tokens.len() + 1];
        self.enter(&mut states, 0);
        for character in text.chars() {
            states = self.step(&states, |expected| expected == character, character != '/');
        }
        states
    }

    fn step(&self, states: &States, matches: impl Fn(char) -> bool, within: bool) -> States {
        let mut next = vec![false; states.len()];
        for (index, token) in self.tokens.iter().enumerate() {
            if !states.get(index).copied().unwrap_or_default() {
                continue;
            }
            match token {
                Token::Character(expected) if matches(*expected) => {
                    self.enter(&mut next, index + 1);
                }
                Token::WithinComponent if within => self.enter(&mut next, index),
                Token::Anything => self.enter(&mut next, index),
                Token::Character(_) | Token::WithinComponent => {}
            }
        }
        next
    }

    /// Wildcards also stand for nothing.
    fn enter(&self, states: &mut States, index: usize) {
        let mut index = index;
        loop {
            if let Some(state) = states.get_mut(index) {
                *state = true;
            }
            if !self.tokens.get(index).is_some_and(Token::is_wildcard) {
                return;
            }
            index += 1;
        }
    }

    /// Whether it covers `name` with some tag.
    fn accepts_some_tag(&self, name: &str) -> bool {
        let states = self.after(&format!("{name}:"));
        let in_tags = |token: &Token| match token {
            Token::Character(it) => it.is_ascii_alphanumeric() || "_.-".contains(*it),
            Token::WithinComponent | Token::Anything => true,
        };
        self.some_rest(&states, |rest| rest.iter().all(in_tags))
    }

    /// Whether it covers `name` with some digest.
    fn accepts_some_digest(&self, name: &str) -> bool {
        [("sha256", 64), ("sha512", 128)]
            .into_iter()
            .any(|(algorithm, digits)| {
                let mut states = self.after(&format!("{name}@{algorithm}:"));
                for _ in 0..digits {
                    let hex = |it: char| it.is_ascii_digit() || ('a'..='f').contains(&it);
                    states = self.step(&states, hex, true);
                }
                self.is_end(&states)
            })
    }

    /// Whether it covers `name` with every tag and every digest.
    fn accepts_everything_of(&self, name: &str) -> bool {
        let states = self.after(name);
        self.some_rest(&states, |rest| {
            !rest.is_empty() && rest.iter().all(Token::is_wildcard)
        })
    }

    fn some_rest(&self, states: &States, holds: impl Fn(&[Token]) -> bool) -> bool {
        states
            .iter()
            .enumerate()
            .any(|(index, reached)| *reached && self.tokens.get(index..).is_some_and(&holds))
    }

    /// Whether an image of `repository` asked for through `tags` may be covered, whichever way a user writes its name.
    fn may_cover(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        spellings(repository).iter().any(|name| {
            let tagged = |tag: &String| {
                self.accepts(&format!("{name}:{tag}")) || (tag == "latest" && self.accepts(name))
            };
            let by_tag = if tags.known().is_empty() {
                self.accepts(name) || self.accepts_some_tag(name)
            } else {
                tags.known().iter().any(tagged)
            };
            by_tag || self.accepts_some_digest(name)
        })
    }

    /// Whether it certainly is, by its full name, whatever it is asked for by.
    fn must_cover(&self, repository: &RepositoryName) -> bool {
        self.accepts_everything_of(&resolved(repository))
    }

    /// Whether it certainly is where it is asked for through `tag`.
    fn must_cover_tag(&self, repository: &RepositoryName, tag: &str) -> bool {
        self.accepts(&format!("{}:{tag}", resolved(repository)))
    }
}

impl GlobCoverage {
    /// Whatever one of `globs` matches.
    #[must_use]
    pub fn new(globs: Vec<Glob>, doubt: Doubt) -> Self {
        Self { globs, doubt }
    }

    fn may_cover(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        self.globs.iter().any(|it| it.may_cover(repository, tags))
    }

    /// Whether the image is covered through each of the tags that are known, or whatever it is asked for by.
    fn must_cover(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        let known = tags.known();
        let covers_tag = |tag: &String| {
            let mut globs = self.globs.iter();
            globs.any(|it| it.must_cover_tag(repository, tag))
        };
        !known.is_empty() && known.iter().all(covers_tag)
            || self.globs.iter().any(|it| it.must_cover(repository))
    }
}

impl ImportedCoverage for GlobCoverage {
    fn covers(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        match self.doubt {
            Doubt::Covers => self.may_cover(repository, tags),
            Doubt::DoesNotCover => self.must_cover(repository, tags),
        }
    }

    fn can_cover(&self, repository: &RepositoryName) -> bool {
        self.may_cover(repository, &Tags::default())
    }

    fn matches(&self, reference: &str) -> bool {
        self.globs.iter().any(|glob| glob.matches(reference))
    }

    fn is_about_tags(&self) -> bool {
        self.globs.iter().any(Glob::is_about_tags)
    }

    fn describe(&self) -> Value {
        json!({ "policy_controller_globs": self.patterns(), "doubt": self.doubt.word() })
    }

    fn patterns(&self) -> Vec<String> {
        let sources = self.globs.iter().map(|glob| glob.source.clone());
        sources.collect()
    }
}

impl Token {
    fn is_wildcard(&self) -> bool {
        match self {
            Self::WithinComponent | Self::Anything => true,
            Self::Character(_) => false,
        }
    }
}

/// Two asterisks are one wildcard, from the left.
fn tokens(glob: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut characters = glob.chars().peekable();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' if characters.next_if_eq(&'*').is_some() => Token::Anything,
            '*' => Token::WithinComponent,
            other => Token::Character(other),
        });
    }
    tokens
}

/// The full name as the project has it.
fn resolved(repository: &RepositoryName) -> String {
    match repository.as_str().strip_prefix("docker.io/") {
        Some(rest) => format!("{RESOLVED_DOCKER_HUB}{rest}"),
        None => repository.as_str().to_owned(),
    }
}

/// Every way in which a user may write the name: where the full name does not match, the project falls back to what is
/// written.
fn spellings(repository: &RepositoryName) -> Vec<String> {
    let full = resolved(repository);
    let Some(rest) = full.strip_prefix(RESOLVED_DOCKER_HUB) else {
        return vec![full];
    };
    let mut rests = vec![rest.to_owned()];
    rests.extend(rest.strip_prefix(LIBRARY).map(str::to_owned));
    let mut spellings = Vec::new();
    for rest in rests {
        let hosts = [DOCKER_HUB].into_iter().chain(OTHER_DOCKER_HUBS);
        spellings.extend(hosts.map(|host| format!("{host}/{rest}")));
        spellings.push(rest);
    }
    spellings
}

/// The reference with everything that may be left out, as go-containerregistry's `Name` with weak validation: a digest
/// replaces the tag beside it.
fn full_name(reference: &str) -> Option<String> {
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    let name_end = named.rfind('/').map_or(0, |slash| slash + 1);
    let (path, last) = named.split_at_checked(name_end)?;
    let (last, tag) = match last.split_once(':') {
        Some((last, tag)) => (last, tag),
        None => (last, "latest"),
    };
    let is_name = |text: &str| {
        let allowed =
            |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "_-./".contains(it);
        (2..=255).contains(&text.len()) && text.chars().all(allowed)
    };
    let is_tag = |text: &str| {
        let allowed = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
        (1..=128).contains(&text.len()) && text.chars().all(allowed)
    };
    let (host, repository) = split_host(&format!("{path}{last}"));
    if !is_name(&repository) || !is_tag(tag) {
        return None;
    }
    let library = match host.as_str() {
        RESOLVED_HOST if !repository.contains('/') => LIBRARY,
        _ => "",
    };
    match digest {
        None => Some(format!("{host}/{library}{repository}:{tag}")),
        Some(digest) => is_digest(digest).then(|| format!("{host}/{library}{repository}@{digest}")),
    }
}

/// A first component is a host if it has a dot or a colon; `localhost` alone is none.
fn split_host(name: &str) -> (String, String) {
    let host_and_rest = name
        .split_once('/')
        .filter(|(first, _)| first.contains(['.', ':']));
    let (host, rest) = match host_and_rest {
        Some(("docker.io", rest)) => (RESOLVED_HOST, rest),
        Some(found) => found,
        None => (RESOLVED_HOST, name),
    };
    (host.to_owned(), rest.to_owned())
}

fn is_digest(text: &str) -> bool {
    let hex = |it: char| it.is_ascii_digit() || ('a'..='f').contains(&it);
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.chars().all(hex))
}

#[cfg(test)]
mod tests;
