//! Names under which a Pod can have asked for an image, and what expressions say of them.
//!
//! Kyverno looks at the text in the Pod. A pull knows the repository, some tags, and no digest before it has been
//! resolved, so that what is asked of a name may have no answer yet.

use std::fmt;

use regex::Regex;

use super::places::{DIGESTS, DigestForm, HEX, TAG};

/// The longest tag (distribution, "reference").
const TAG_LENGTH_MAX: usize = 128;

/// A name, as far as a pull knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    /// Everything before tag and digest.
    pub(super) repository: &'a str,
    pub(super) tag: TagOf<'a>,
    /// The digest that follows.
    pub(super) digest: Option<DigestForm>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagOf<'a> {
    None,
    Known(&'a str),
    Unknown,
}

/// A text of which the beginning is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) known: String,
    pub(super) rest: Rest,
}

/// What is not known of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    Tag,
    Hash(DigestForm),
    TagAndHash(DigestForm),
}

/// An answer that may depend on what is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is true whatever is not known.
    Yes,
    /// It is false whatever is not known.
    No,
    /// It may be either.
    Maybe,
}

/// Something that is true or false of the name of an image.
#[derive(Debug, Clone)]
pub enum ReferenceRule {
    /// Always the same.
    Constant(bool),
    /// Of the name or a part of it.
    Text(Part, Test),
    /// Whether the name has a digest.
    HasDigest,
    /// All are true.
    All(Vec<Self>),
    /// One is true.
    Any(Vec<Self>),
    /// It is false.
    Not(Box<Self>),
}

/// What of the name is looked at, as github.com/google/go-containerregistry takes it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it, as it is written.
    Whole,
    /// `index.docker.io` where none is written.
    Registry,
    /// With `library/` where Docker Hub has it.
    Repository,
    /// `latest` where neither tag nor digest is written, nothing beside a digest.
    Tag,
    /// With its algorithm; nothing where none is written.
    Digest,
    /// The digest, or else the tag.
    Identifier,
}

/// What is asked of a text.
#[derive(Debug, Clone)]
pub enum Test {
    /// Equal to this.
    Equals(String),
    /// Begins with this.
    StartsWith(String),
    /// Ends with this.
    EndsWith(String),
    /// Contains this.
    Contains(String),
    /// The expression matches somewhere.
    Matches(Regex),
}

impl Answer {
    fn of(known: bool) -> Self {
        if known { Self::Yes } else { Self::No }
    }

    fn maybe(possible: bool) -> Self {
        if possible { Self::Maybe } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

impl<'a> Name<'a> {
    /// The name that `text` is, all of it known.
    pub(super) fn written(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(form_of(digest))),
            None => (text, None),
        };
        let colon = name.rfind(':').filter(|at| {
            let after = name.get(at + 1..).unwrap_or_default();
            !after.contains('/')
        });
        let (repository, tag) = match colon.and_then(|at| name.split_at_checked(at)) {
            Some((repository, tag)) => (repository, TagOf::Known(tag.get(1..).unwrap_or_default())),
            None => (name, TagOf::None),
        };
        Self {
            repository,
            tag,
            digest,
        }
    }

    /// The text in the Pod.
    pub(super) fn text(&self) -> Text {
        let name = self.repository;
        let (known, rest) = match (self.tag, self.digest) {
            (TagOf::None, None) => (name.to_owned(), Rest::Nothing),
            (TagOf::Known(tag), None) => (format!("{name}:{tag}"), Rest::Nothing),
            (TagOf::Unknown, None) => (format!("{name}:"), Rest::Tag),
            (TagOf::None, Some(form)) => (format!("{name}{}", form.start), Rest::Hash(form)),
            (TagOf::Known(tag), Some(form)) => {
                (format!("{name}:{tag}{}", form.start), Rest::Hash(form))
            }
            (TagOf::Unknown, Some(form)) => (format!("{name}:"), Rest::TagAndHash(form)),
        };
        Text { known, rest }
    }

    fn part(&self, part: Part) -> Text {
        let (registry, path) = match self.repository.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) => (first, path),
            Some(_) | None => ("index.docker.io", self.repository),
        };
        let registry = if registry == "docker.io" {
            "index.docker.io"
        } else {
            registry
        };
        match (part, self.digest) {
            (Part::Whole, _) => self.text(),
            (Part::Registry, _) => Text::known(registry),
            (Part::Repository, _) if registry == "index.docker.io" && !path.contains('/') => {
                Text::known(&format!("library/{path}"))
            }
            (Part::Repository, _) => Text::known(path),
            (Part::Tag, Some(_)) | (Part::Digest, None) => Text::known(""),
            (Part::Digest | Part::Identifier, Some(form)) => Text {
                known: form.start.trim_start_matches('@').to_owned(),
                rest: Rest::Hash(form),
            },
            (Part::Tag | Part::Identifier, None) => self.tag(),
        }
    }

    fn tag(&self) -> Text {
        match self.tag {
            TagOf::None => Text::known("latest"),
            TagOf::Known(tag) => Text::known(tag),
            TagOf::Unknown => Text {
                known: String::new(),
                rest: Rest::Tag,
            },
        }
    }
}

impl Text {
    pub(super) fn known(text: &str) -> Self {
        Self {
            known: text.to_owned(),
            rest: Rest::Nothing,
        }
    }

    /// Whether what is not known can be this, or, where it is not `whole`, begin with it.
    fn rest_can_be(&self, text: &str, whole: bool) -> bool {
        let of = |text: &str, characters: &str| text.chars().all(|it| characters.contains(it));
        let fits = |length: usize, needed: usize| length == needed || !whole && length < needed;
        match self.rest {
            Rest::Nothing => text.is_empty(),
            Rest::Tag => {
                of(text, TAG) && text.len() <= TAG_LENGTH_MAX && !(whole && text.is_empty())
            }
            Rest::Hash(form) => of(text, HEX) && fits(text.len(), form.digits),
            Rest::TagAndHash(form) => match text.split_once(form.start) {
                Some((tag, hash)) => of(tag, TAG) && of(hash, HEX) && fits(hash.len(), form.digits),
                None => !whole && self.rest_may_contain(text),
            },
        }
    }

    /// Whether each character occurs in what is not known.
    fn rest_may_contain(&self, text: &str) -> bool {
        text.chars().all(|it| match self.rest {
            Rest::Nothing => false,
            Rest::Tag => TAG.contains(it),
            Rest::Hash(_) => HEX.contains(it),
            Rest::TagAndHash(form) => TAG.contains(it) || form.start.contains(it),
        })
    }
}

impl Test {
    fn of(&self, text: &Text) -> Answer {
        let known = text.known.as_str();
        if text.rest == Rest::Nothing {
            return Answer::of(match self {
                Self::Equals(value) => known == value,
                Self::StartsWith(start) => known.starts_with(start.as_str()),
                Self::EndsWith(end) => known.ends_with(end.as_str()),
                Self::Contains(part) => known.contains(part.as_str()),
                Self::Matches(expression) => expression.is_match(known),
            });
        }
        match self {
            Self::Equals(value) => Answer::maybe(
                value
                    .strip_prefix(known)
                    .is_some_and(|rest| text.rest_can_be(rest, true)),
            ),
            Self::StartsWith(start) if known.starts_with(start.as_str()) => Answer::Yes,
            Self::StartsWith(start) => Answer::maybe(
                start
                    .strip_prefix(known)
                    .is_some_and(|rest| text.rest_can_be(rest, false)),
            ),
            Self::EndsWith(end) if end.is_empty() => Answer::Yes,
            Self::EndsWith(end) => Answer::maybe(can_contain(end, text)),
            Self::Contains(part) if known.contains(part.as_str()) => Answer::Yes,
            Self::Contains(part) => Answer::maybe(can_contain(part, text)),
            // More text after the part that matches leaves the match what it is, unless the end is asked for.
            Self::Matches(expression)
                if expression.is_match(known) && !asks_for_end(expression.as_str()) =>
            {
                Answer::Yes
            }
            Self::Matches(expression) => {
                let start = literal_start(expression.as_str());
                Answer::maybe(start.starts_with(known) || known.starts_with(&start))
            }
        }
    }
}

/// How a digest is written that begins so.
fn form_of(digest: &str) -> DigestForm {
    let [usual, long] = DIGESTS;
    let start = long.start.trim_start_matches('@');
    if digest.starts_with(start) {
        long
    } else {
        usual
    }
}

/// Whether the text can have this where the unknown part of it begins, or later.
fn can_contain(part: &str, text: &Text) -> bool {
    let mut ends = part.char_indices();
    ends.any(|(at, _)| {
        part.split_at_checked(at).is_some_and(|(before, after)| {
            text.known.ends_with(before) && text.rest_may_contain(after)
        })
    })
}

/// Returns true if what follows a match can undo it. In doubt it can.
fn asks_for_end(expression: &str) -> bool {
    let mut ends = ["$", "\\b", "\\B", "\\z", "\\>"].into_iter();
    ends.any(|end| expression.contains(end))
}

/// The text with which everything begins that an expression matches; nothing where none is sure.
fn literal_start(expression: &str) -> String {
    let mut start = String::new();
    let Some(rest) = expression.strip_prefix('^') else {
        return start;
    };
    if expression.contains('|') {
        return start;
    }
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        let literal = match character {
            '\\' => characters.next().filter(char::is_ascii_punctuation),
            plain if plain.is_alphanumeric() || "/:@_-".contains(plain) => Some(plain),
            _ => None,
        };
        let Some(literal) = literal else { break };
        // It may be there or not.
        if characters.peek().is_some_and(|it| "*?{".contains(*it)) {
            break;
        }
        start.push(literal);
    }
    start
}

/// The text as expressions write it.
fn escaped(text: &str) -> String {
    regex::escape(text).replace("\\-", "-")
}

/// As an expression over `image`, the name in a Pod.
impl fmt::Display for ReferenceRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |formatter: &mut fmt::Formatter<'_>, rules: &[Self], operator: &str| {
            let rules: Vec<_> = rules.iter().map(ToString::to_string).collect();
            write!(formatter, "({})", rules.join(operator))
        };
        match self {
            Self::Constant(value) => write!(formatter, "{value}"),
            Self::HasDigest => formatter.write_str("parseImageReference(image).containsDigest()"),
            Self::Text(part, test) => {
                let part = part.expression();
                match test {
                    Test::Equals(text) => write!(formatter, "{part} == {text:?}"),
                    Test::StartsWith(text) => write!(formatter, "{part}.startsWith({text:?})"),
                    Test::EndsWith(text) => write!(formatter, "{part}.endsWith({text:?})"),
                    Test::Contains(text) => write!(formatter, "{part}.contains({text:?})"),
                    Test::Matches(expression) => {
                        write!(formatter, "{part}.matches({:?})", expression.as_str())
                    }
                }
            }
            Self::All(rules) => join(formatter, rules, " && "),
            Self::Any(rules) => join(formatter, rules, " || "),
            Self::Not(rule) => write!(formatter, "!({rule})"),
        }
    }
}

impl Part {
    fn expression(self) -> &'static str {
        match self {
            Self::Whole => "image",
            Self::Registry => "parseImageReference(image).registry()",
            Self::Repository => "parseImageReference(image).repository()",
            Self::Tag => "parseImageReference(image).tag()",
            Self::Digest => "parseImageReference(image).digest()",
            Self::Identifier => "parseImageReference(image).identifier()",
        }
    }
}

impl ReferenceRule {
    /// Whether it is true of the image that a Pod names so.
    #[must_use]
    pub fn matches(&self, reference: &str) -> bool {
        let name = Name::written(reference);
        self.of_written(reference, &name)
    }

    fn of_written(&self, reference: &str, name: &Name<'_>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::HasDigest => name.digest.is_some(),
            Self::Text(part, test) => {
                let text = match part {
                    Part::Whole => Text::known(reference),
                    Part::Digest | Part::Identifier if name.digest.is_some() => {
                        let digest = reference.split_once('@').map(|(_, digest)| digest);
                        Text::known(digest.unwrap_or_default())
                    }
                    Part::Registry
                    | Part::Repository
                    | Part::Tag
                    | Part::Digest
                    | Part::Identifier => name.part(*part),
                };
                test.of(&text) == Answer::Yes
            }
            Self::All(rules) => rules.iter().all(|it| it.of_written(reference, name)),
            Self::Any(rules) => rules.iter().any(|it| it.of_written(reference, name)),
            Self::Not(rule) => !rule.of_written(reference, name),
        }
    }

    pub(super) fn of(&self, name: &Name<'_>) -> Answer {
        match self {
            Self::Constant(value) => Answer::of(*value),
            Self::HasDigest => Answer::of(name.digest.is_some()),
            Self::Text(part, test) => test.of(&name.part(*part)),
            Self::All(rules) => {
                let answers: Vec<_> = rules.iter().map(|it| it.of(name)).collect();
                if answers.contains(&Answer::No) {
                    Answer::No
                } else if answers.contains(&Answer::Maybe) {
                    Answer::Maybe
                } else {
                    Answer::Yes
                }
            }
            Self::Any(rules) => {
                let answers: Vec<_> = rules.iter().map(|it| it.of(name)).collect();
                if answers.contains(&Answer::Yes) {
                    Answer::Yes
                } else if answers.contains(&Answer::Maybe) {
                    Answer::Maybe
                } else {
                    Answer::No
                }
            }
            Self::Not(rule) => rule.of(name).not(),
        }
    }

    /// Returns true if tags and digests can make a difference. In doubt they can.
    #[must_use]
    pub fn is_about_tags(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Text(Part::Registry | Part::Repository, _) => false,
            Self::Text(Part::Whole, Test::StartsWith(start)) => {
                let last = start.rsplit('/').next().unwrap_or(start);
                last.contains([':', '@'])
            }
            // No tag and no digest has a slash.
            Self::Text(Part::Whole, Test::Contains(text)) => {
                let last = text.rsplit('/').next().unwrap_or(text);
                !text.contains('/') || last.contains([':', '@'])
            }
            Self::Text(Part::Whole, Test::Matches(expression)) => {
                let text = expression.as_str();
                let start = literal_start(text);
                let is_prefix = text.strip_prefix('^') == Some(&escaped(&start));
                !is_prefix || !start.contains('/') || start.contains([':', '@'])
            }
            Self::Text(Part::Whole | Part::Tag | Part::Digest | Part::Identifier, _)
            | Self::HasDigest => true,
            Self::All(rules) | Self::Any(rules) => rules.iter().any(Self::is_about_tags),
            Self::Not(rule) => rule.is_about_tags(),
        }
    }
}
