//! How far a pattern has been matched.

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// This character.
    Literal(char),
    /// Any one character.
    One,
    /// Any text, slashes included, also none.
    Run,
    /// One character of these ranges, or of none of them.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// What a tag consists of.
pub(super) const TAG: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
/// What a hash consists of.
pub(super) const HEX: &str = "0123456789abcdef";
/// The digests there can be after the name of an image.
pub(super) const DIGESTS: [DigestForm; 2] = [
    DigestForm {
        start: "@sha256:",
        digits: 64,
    },
    DigestForm {
        start: "@sha512:",
        digits: 128,
    },
];

/// How a digest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DigestForm {
    /// What stands between the name of an image and the hash.
    pub(super) start: &'static str,
    /// The characters of the hash.
    pub(super) digits: usize,
}

/// Where in the pattern one can be after what has been read: all places at once, so time is linear in the text.
#[derive(Debug, Clone)]
pub(super) struct Places<'p> {
    pattern: &'p [Token],
    /// `reached[i]`: everything read so far matches the first `i` parts of the pattern.
    reached: Vec<bool>,
}

impl Token {
    /// Whether it can stand for this character.
    fn accepts(&self, character: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == character,
            Self::One | Self::Run => true,
            Self::Class { negated, ranges } => {
                let mut ranges = ranges.iter();
                ranges.any(|(low, high)| (*low..=*high).contains(&character)) != *negated
            }
        }
    }
}

impl<'p> Places<'p> {
    pub(super) fn new(pattern: &'p [Token]) -> Self {
        let mut reached = vec![false; pattern.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        let mut places = Self { pattern, reached };
        places.pass_runs();
        places
    }

    pub(super) fn read(&mut self, text: &str) {
        for character in text.chars() {
            self.step(|token| token.accepts(character));
        }
    }

    /// One character, of which only is known that it is one of these.
    fn read_one_of(&mut self, characters: &str) {
        self.step(|token| characters.chars().any(|it| token.accepts(it)));
    }

    /// One or more characters, of which only is known that they are of these.
    pub(super) fn read_some_of(&mut self, characters: &str) {
        let mut reached = vec![false; self.reached.len()];
        loop {
            self.read_one_of(characters);
            let mut grows = false;
            for (all, now) in reached.iter_mut().zip(&self.reached) {
                grows |= *now && !*all;
                *all |= *now;
            }
            if !grows {
                break;
            }
        }
        self.reached = reached;
    }

    /// A hash, of which nothing is known.
    pub(super) fn read_hash(&mut self, form: DigestForm) {
        for _ in 0..form.digits {
            self.read_one_of(HEX);
        }
    }

    /// Whether what was read is the whole of some text that matches.
    pub(super) fn at_end(&self) -> bool {
        self.reached.last() == Some(&true)
    }

    /// Whether what was read is the beginning of some text that matches.
    pub(super) fn can_go_on(&self) -> bool {
        self.reached.contains(&true)
    }

    /// Whether it matches whatever comes next.
    pub(super) fn match_anything(&self) -> bool {
        let mut reached = self.reached.iter().enumerate();
        reached.any(|(index, reached)| {
            let rest = self.pattern.get(index..).unwrap_or_default();
            *reached && !rest.is_empty() && rest.iter().all(|token| *token == Token::Run)
        })
    }

    fn step(&mut self, accepts: impl Fn(&Token) -> bool) {
        let mut next = vec![false; self.reached.len()];
        for (index, token) in self.pattern.iter().enumerate() {
            if self.reached.get(index) != Some(&true) || !accepts(token) {
                continue;
            }
            let advanced = match token {
                Token::Run => index,
                Token::Literal(_) | Token::One | Token::Class { .. } => index + 1,
            };
            if let Some(place) = next.get_mut(advanced) {
                *place = true;
            }
        }
        self.reached = next;
        self.pass_runs();
    }

    /// A run may stand for nothing.
    fn pass_runs(&mut self) {
        for (index, token) in self.pattern.iter().enumerate() {
            if *token == Token::Run
                && self.reached.get(index) == Some(&true)
                && let Some(after) = self.reached.get_mut(index + 1)
            {
                *after = true;
            }
        }
    }
}
