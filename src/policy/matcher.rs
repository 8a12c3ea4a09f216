//! How an identity or issuer is compared: exactly, or by an expression over the whole value.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::re2;

/// How a value is compared. Expressions are anchored at both ends when they are built.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// Equal, letter case included.
    Exact(String),
    /// The expression matches the whole value.
    Expression {
        /// As configured.
        source: String,
        /// Compiled as `^(?:source)$`, `.` not matching line breaks, size limited.
        expression: Regex,
    },
    /// The expression matches somewhere, as policy-controller, Kyverno and cosign have it. Only for imported policies.
    Search {
        /// As written.
        source: String,
        /// Compiled from what it says in their syntax, size limited.
        expression: Regex,
    },
    /// The whole value matches, where `*` stands for any text and `?` for one character, as Kyverno has it. Only for
    /// imported policies.
    Wildcard {
        /// As written.
        source: String,
        /// Compiled from it, anchored.
        expression: Regex,
    },
    /// One of these matches; never empty.
    Any(Vec<Self>),
    /// All of these match; never empty.
    All(Vec<Self>),
}

/// The text is not a usable expression.
#[derive(Debug, thiserror::Error)]
pub enum MatcherError {
    /// Nothing to match.
    #[error("an empty expression matches no identity")]
    Empty,
    /// Compiles to more than [`Matcher::COMPILED_BYTES_MAX`], or is longer than [`Matcher::SOURCE_BYTES_MAX`].
    #[error("the expression is too large")]
    TooLarge,
    /// Not an expression.
    #[error("not a regular expression: {0}")]
    Syntax(String),
}

impl Matcher {
    /// The most bytes of an expression's text.
    pub const SOURCE_BYTES_MAX: usize = 4096;
    /// The most bytes of a compiled expression (CVE-2023-7279 was a runaway expression; these run in linear time).
    pub const COMPILED_BYTES_MAX: usize = 1024 * 1024;

    /// An expression that must match the whole value.
    ///
    /// # Errors
    /// When it is empty, too large or no expression.
    pub fn expression(source: &str) -> Result<Self, MatcherError> {
        check_source(source)?;
        // By itself first: in `a)|(b` the brackets of the anchoring would be taken for the expression's own.
        compile(source)?;
        Ok(Self::Expression {
            source: source.to_owned(),
            expression: compile(&format!("^(?:{source})$"))?,
        })
    }

    /// An expression that must match somewhere in the value.
    ///
    /// # Errors
    /// When it is empty, too large or no expression.
    pub fn search(source: &str) -> Result<Self, MatcherError> {
        check_source(source)?;
        Ok(Self::Search {
            source: source.to_owned(),
            expression: compile(&re2::translated(source))?,
        })
    }

    /// A text with wildcards that must match the whole value: `*` is any text, line breaks and slashes included, and
    /// `?` any one character.
    ///
    /// # Errors
    /// When it is empty or too large.
    pub fn wildcard(source: &str) -> Result<Self, MatcherError> {
        check_source(source)?;
        let mut expression = String::from("(?s)^");
        for character in source.chars() {
            match character {
                '*' => expression.push_str(".*"),
                '?' => expression.push('.'),
                other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
            }
        }
        expression.push('$');
        Ok(Self::Wildcard {
            source: source.to_owned(),
            expression: compile(&expression)?,
        })
    }

    /// Whether `value` matches.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(expected) => expected == value,
            Self::Expression { expression, .. }
            | Self::Search { expression, .. }
            | Self::Wildcard { expression, .. } => expression.is_match(value),
            Self::Any(matchers) => matchers.iter().any(|matcher| matcher.matches(value)),
            Self::All(matchers) => {
                !matchers.is_empty() && matchers.iter().all(|matcher| matcher.matches(value))
            }
        }
    }

    /// Whether it lets through identities that have nothing in common, as `.*` does.
    #[must_use]
    pub fn constrains_little(&self) -> bool {
        let matched = UNRELATED.iter().filter(|value| self.matches(value));
        matched.count() > 1
    }

    /// The one value that matches, if only one does.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(value) => Some(value),
            Self::Wildcard { source, .. } => (!source.contains(['*', '?'])).then_some(source),
            Self::Expression { .. } | Self::Search { .. } | Self::Any(_) | Self::All(_) => None,
        }
    }

    /// The value or expression as configured.
    #[must_use]
    pub fn source(&self) -> String {
        let joined = |matchers: &[Self], word: &str| {
            let sources: Vec<_> = matchers.iter().map(Self::source).collect();
            sources.join(word)
        };
        match self {
            Self::Exact(source)
            | Self::Expression { source, .. }
            | Self::Search { source, .. }
            | Self::Wildcard { source, .. } => source.clone(),
            Self::Any(matchers) => joined(matchers, " or "),
            Self::All(matchers) => joined(matchers, " and "),
        }
    }
}

/// An exact value as it is, an expression between slashes.
impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => formatter.write_str(value),
            Self::Expression { .. }
            | Self::Search { .. }
            | Self::Wildcard { .. }
            | Self::Any(_)
            | Self::All(_) => write!(formatter, "/{}/", self.source()),
        }
    }
}

/// Identities and issuers that no honest expression matches two of.
const UNRELATED: [&str; 4] = [
    "https://1f6c0d.example/a/b/.github/workflows/c.yml@refs/heads/d",
    "someone-7b21@e41.example",
    "https://90ab.invalid",
    "spiffe://c3d4.test/workload",
];

fn check_source(source: &str) -> Result<(), MatcherError> {
    if source.is_empty() {
        return Err(MatcherError::Empty);
    }
    if source.len() > Matcher::SOURCE_BYTES_MAX {
        return Err(MatcherError::TooLarge);
    }
    Ok(())
}

fn compile(source: &str) -> Result<Regex, MatcherError> {
    RegexBuilder::new(source)
        .size_limit(Matcher::COMPILED_BYTES_MAX)
        .dfa_size_limit(Matcher::COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => MatcherError::TooLarge,
            error @ (regex::Error::Syntax(_) | _) => {
                MatcherError::Syntax(one_line(&error.to_string()))
            }
        })
}

/// The last line of the crate's drawing says what is wrong.
fn one_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_the_whole_value() {
        let matcher = Matcher::expression("https://github\\.com/org/.+").unwrap();
        assert!(matcher.matches("https://github.com/org/app"));
        for value in [
            "https://github.com/org/",
            "https://evil.example/?https://github.com/org/app",
            "https://github.com/org/app\n",
            "https://github.com/org/app\nhttps://evil.example",
            "https://githubxcom/org/app",
            "https://github.com/Org/app",
        ] {
            assert!(!matcher.matches(value), "{value:?}");
        }
    }

    #[test]
    fn alternatives_are_anchored_too() {
        let matcher = Matcher::expression("a|b").unwrap();
        assert!(matcher.matches("a") && matcher.matches("b"));
        assert!(!matcher.matches("ax") && !matcher.matches("xb"));
    }

    #[test]
    fn nothing_in_an_expression_undoes_the_anchors() {
        for source in ["a)|(b", "a)|.*|(?:b", "(?x) a # ", "a\\"] {
            assert!(Matcher::expression(source).is_err(), "{source}");
        }
        assert!(!Matcher::expression("(?m)a").unwrap().matches("b\na\nb"));
        assert!(!Matcher::expression("(?m)^a$").unwrap().matches("b\na\nb"));
    }

    #[test]
    fn an_exact_value_is_compared_with_letter_case() {
        let matcher = Matcher::Exact("a.c".to_owned());
        assert!(matcher.matches("a.c"));
        assert!(!matcher.matches("abc") && !matcher.matches("A.C") && !matcher.matches("a.c "));
    }

    #[test]
    fn size_is_limited() {
        assert!(matches!(Matcher::expression(""), Err(MatcherError::Empty)));
        assert!(matches!(
            Matcher::expression("(\\w{500}){500}"),
            Err(MatcherError::TooLarge)
        ));
        assert!(matches!(
            Matcher::expression(&"a".repeat(Matcher::SOURCE_BYTES_MAX + 1)),
            Err(MatcherError::TooLarge)
        ));
        assert!(Matcher::expression(&"a".repeat(Matcher::SOURCE_BYTES_MAX)).is_ok());
    }

    #[test]
    fn tells_what_constrains_little() {
        for source in [".*", ".+", "[^x]*", "https://.*|.*@.*", "(?s).*"] {
            assert!(
                Matcher::expression(source).unwrap().constrains_little(),
                "{source}"
            );
        }
        for source in ["https://github\\.com/org/.*", ".*@example\\.com", "x.*"] {
            assert!(
                !Matcher::expression(source).unwrap().constrains_little(),
                "{source}"
            );
        }
        assert!(!Matcher::Exact(".*".to_owned()).constrains_little());
    }
}
