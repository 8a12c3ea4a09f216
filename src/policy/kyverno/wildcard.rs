//! Kyverno's wildcards: `*` stands for any text, slashes included, `?` for exactly one character, and the whole text
//! must match. There are no classes and no escapes.

/// Whether the whole of `text` matches.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut places = Places::new(pattern);
    places.read(text);
    places.at_end()
}

/// Whether some text matches that begins with `prefix`.
#[must_use]
pub(super) fn can_begin(pattern: &str, prefix: &str) -> bool {
    let mut places = Places::new(pattern);
    places.read(prefix);
    places.reached.contains(&true)
}

/// Whether some text matches that begins with `prefix` and goes on with a tag (`:v1`) or with a digest (`@sha256:…`).
#[must_use]
pub(super) fn can_continue(pattern: &str, prefix: &str, suffix: Suffix) -> bool {
    let mut places = Places::new(pattern);
    places.read(prefix);
    match suffix {
        Suffix::Tag => {
            places.step(|character| character == ':');
            places.can_match_tag()
        }
        Suffix::Digest => {
            places.read("@sha256:");
            for _ in 0..SHA256_HEX_LENGTH {
                places.step(|character| matches!(character, '0'..='9' | 'a'..='f'));
            }
            places.at_end()
        }
    }
}

/// Whether every text matches that begins with `prefix` and goes on with a tag or with a digest.
#[must_use]
pub(super) fn always_continues(pattern: &str, prefix: &str, suffix: Suffix) -> bool {
    let mut places = Places::new(pattern);
    places.read(prefix);
    places.read(match suffix {
        Suffix::Tag => ":",
        Suffix::Digest => "@sha256:",
    });
    places.match_anything()
}

/// What comes after the name of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    Tag,
    Digest,
}

const SHA256_HEX_LENGTH: usize = 64;

/// Where in the pattern one can be after what has been read: all places at once, so time is linear in the text.
struct Places {
    pattern: Vec<char>,
    /// `reached[i]`: everything read so far matches the first `i` characters of the pattern.
    reached: Vec<bool>,
}

impl Places {
    fn new(pattern: &str) -> Self {
        let pattern: Vec<char> = pattern.chars().collect();
        let mut reached = vec![false; pattern.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        let mut places = Self { pattern, reached };
        places.pass_stars();
        places
    }

    fn read(&mut self, text: &str) {
        for read in text.chars() {
            self.step(|character| character == read);
        }
    }

    /// One more character, of which only this is known: which characters of the pattern it may be.
    fn step(&mut self, may_be: impl Fn(char) -> bool) {
        let mut next = vec![false; self.reached.len()];
        for (index, character) in self.pattern.iter().enumerate() {
            if self.reached.get(index) != Some(&true) {
                continue;
            }
            let advanced = match character {
                '*' => index,
                '?' => index + 1,
                literal if may_be(*literal) => index + 1,
                _ => continue,
            };
            if let Some(place) = next.get_mut(advanced) {
                *place = true;
            }
        }
        self.reached = next;
        self.pass_stars();
    }

    /// A star may stand for nothing.
    fn pass_stars(&mut self) {
        for (index, character) in self.pattern.iter().enumerate() {
            if *character == '*'
                && self.reached.get(index) == Some(&true)
                && let Some(after) = self.reached.get_mut(index + 1)
            {
                *after = true;
            }
        }
    }

    fn at_end(&self) -> bool {
        self.reached.last() == Some(&true)
    }

    /// What is left of the pattern at every place that was reached.
    fn rests(&self) -> impl Iterator<Item = &[char]> {
        let reached = self.reached.iter().enumerate();
        reached
            .filter(|(_, reached)| **reached)
            .filter_map(|(index, _)| self.pattern.get(index..))
    }

    fn match_anything(&self) -> bool {
        self.rests()
            .any(|rest| !rest.is_empty() && rest.iter().all(|character| *character == '*'))
    }

    fn can_match_tag(&self) -> bool {
        let in_tag =
            |character: &char| character.is_ascii_alphanumeric() || "._-*?".contains(*character);
        self.rests()
            .any(|rest| !rest.is_empty() && rest.iter().all(in_tag))
    }
}
