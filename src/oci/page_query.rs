//! The query that selects a page of a list, as the registry wrote it into its `Link` (distribution specification v1.1,
//! "Pagination").

use url::form_urlencoded;

/// A query that selects one page of a list. Its parameters belong to the registry: `last=<tag>` for most of them,
/// `next_page=<token>` for Quay, an opaque `last` for ECR. They are passed on as they are.
///
/// It has at most [`BYTES_MAX`] bytes and no control characters, also after decoding, and it never holds `ns`, which
/// belongs to the name of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery(String);

/// Why a query selects no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The query is longer than [`BYTES_MAX`].
    #[error("the query has more than {BYTES_MAX} bytes")]
    TooLong,
    /// The query contains a control character, plain or percent-encoded.
    #[error("the query contains a control character")]
    ControlCharacter,
}

/// The longest query, in bytes. The paging tokens of ECR and Artifact Registry have some hundred.
pub const BYTES_MAX: usize = 8 * 1024;

impl PageQuery {
    /// Reads the query of a URL without its `?`. Leaves out `ns`, and `n` and `last` where they are empty, because an
    /// empty one counts as absent. Returns `None` if nothing remains.
    ///
    /// # Errors
    /// When the query is too long or contains a control character.
    pub fn parse(query: &str) -> Result<Option<Self>, ParseError> {
        if query.len() > BYTES_MAX {
            return Err(ParseError::TooLong);
        }
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_left_out(pair)).collect();
        for pair in &kept {
            if decode(pair).any(|(key, value)| has_control(&key) || has_control(&value)) {
                return Err(ParseError::ControlCharacter);
            }
        }
        Ok((!kept.is_empty()).then(|| Self(kept.join("&"))))
    }

    /// The query as it goes into a URL, without `?`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if both select the same page: the same parameters with the same values, in any order and spelling.
    #[must_use]
    pub fn selects_same_page(&self, other: &Self) -> bool {
        let sorted = |query: &Self| {
            let mut pairs: Vec<_> = decode(&query.0)
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect();
            pairs.sort_unstable();
            pairs
        };
        sorted(self) == sorted(other)
    }
}

fn decode(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

fn is_left_out(pair: &str) -> bool {
    decode(pair)
        .next()
        .is_none_or(|(key, value)| match key.as_ref() {
            "ns" => true,
            "n" | "last" => value.is_empty(),
            _ => false,
        })
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Option<String>, ParseError> {
        PageQuery::parse(query).map(|query| query.map(|query| query.as_str().to_owned()))
    }

    #[test]
    fn keeps_the_parameters_of_the_registry_as_they_are() {
        for query in [
            "n=3&last=v1",
            "next_page=gAAAAA%3D%3D&n=50",
            "last=eyJ%2F%2B3%3D&n=3",
            "last=eyJ/+3=",
            "n=3;last=x",
            "marker",
            "a=1&a=2",
            "last=%C3%A4",
        ] {
            assert_eq!(parse(query), Ok(Some(query.to_owned())), "{query}");
        }
    }

    #[test]
    fn leaves_out_the_namespace_and_empty_n_and_last() {
        for (query, expected) in [
            ("", None),
            ("&&", None),
            ("n=", None),
            ("n=&last=", None),
            ("n&last", None),
            ("ns=ghcr.io", None),
            ("n%73=ghcr.io", None),
            ("ns=a.io&last=v1&ns=b.io", Some("last=v1")),
            ("n=2&last=&&next_page=", Some("n=2&next_page=")),
        ] {
            assert_eq!(parse(query), Ok(expected.map(str::to_owned)), "{query}");
        }
    }

    #[test]
    fn refuses_control_characters_and_great_length() {
        for query in [
            "last=%0d%0aX:y",
            "last=%00",
            "%7f=1",
            "last=a\tb",
            "last=%C2%85",
        ] {
            assert_eq!(parse(query), Err(ParseError::ControlCharacter), "{query}");
        }
        let longest = format!("last={}", "x".repeat(BYTES_MAX - 5));
        assert_eq!(parse(&longest), Ok(Some(longest.clone())));
        assert_eq!(parse(&format!("{longest}x")), Err(ParseError::TooLong));
    }

    #[test]
    fn compares_pages_by_their_parameters() {
        let query = |text: &str| PageQuery::parse(text).unwrap().unwrap();
        for (first, second, expected) in [
            ("n=2&last=a", "last=a&n=2", true),
            ("last=a%2Bb", "last=%61%2bb", true),
            ("last=a", "last=b", false),
            ("last=a", "last=a&n=2", false),
            ("a=1&a=1", "a=1", false),
        ] {
            assert_eq!(
                query(first).selects_same_page(&query(second)),
                expected,
                "{first} {second}"
            );
        }
    }
}
