//! `WWW-Authenticate`: how a registry asks us to authenticate (RFC 9110 §11.6.1, RFC 6750 §3).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::scope;
use super::token::Renewed;

/// The challenge we answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of that realm is wanted.
    Bearer {
        /// Where tokens are; a peer's text, not yet checked.
        realm: String,
        /// The audience.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
        /// True if the registry says that the token is good and does not allow enough (RFC 6750 §3.1).
        is_scope_insufficient: bool,
    },
    /// User name and password are wanted.
    Basic,
}

/// One challenge as it stands in the header.
struct Raw<'header> {
    scheme: &'header str,
    parameters: Vec<(&'header str, String)>,
}

/// A header longer than this is no challenge of a registry.
const HEADER_BYTES_MAX: usize = 8 * 1024;

impl Challenge {
    /// The challenge to answer: a Bearer challenge with a realm before a Basic one. `None` if there is neither, or if
    /// a header does not parse: half an understanding of it could send credentials to the wrong place.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut all = Vec::new();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let text = value
                .to_str()
                .ok()
                .filter(|text| text.len() <= HEADER_BYTES_MAX)?;
            all.extend(parse(text)?);
        }
        let bearer = all.iter().find_map(Raw::to_bearer);
        let basic = || {
            all.iter()
                .any(|raw| raw.scheme.eq_ignore_ascii_case("basic"))
        };
        bearer.or_else(|| basic().then_some(Self::Basic))
    }
}

impl Challenge {
    /// Returns true if another token may be taken where `last` was not: if there was none, if it may have been too old
    /// or withdrawn, or if it did not allow what is now demanded.
    pub(super) fn is_worth_answering(&self, last: Option<&Renewed>, repository: &str) -> bool {
        let Some(last) = last.filter(|last| last.is_new) else {
            return true;
        };
        match self {
            Self::Basic => false,
            Self::Bearer {
                scope,
                is_scope_insufficient,
                ..
            } => {
                let demanded = scope::requested(scope.as_deref(), repository);
                let lacks = |scope| !last.grant.scopes.contains(scope);
                !is_scope_insufficient || demanded.iter().any(lacks)
            }
        }
    }
}

impl Raw<'_> {
    fn to_bearer(&self) -> Option<Challenge> {
        if !self.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(Challenge::Bearer {
            realm: self.parameter("realm")?,
            service: self.parameter("service"),
            scope: self.parameter("scope"),
            is_scope_insufficient: self.parameter("error").as_deref() == Some("insufficient_scope"),
        })
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let found = self
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }
}

/// `#challenge`, where commas separate both challenges and their parameters.
fn parse(text: &str) -> Option<Vec<Raw<'_>>> {
    let mut challenges: Vec<Raw<'_>> = Vec::new();
    let mut rest = skip_separators(text);
    while !rest.is_empty() {
        let (word, after) = take_token(rest)?;
        if let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            let (value, after) = take_value(value.trim_start_matches([' ', '\t']))?;
            let parameters = &mut challenges.last_mut()?.parameters;
            // RFC 9110 §11.2: a name occurs once; two realms are an attempt at something.
            if parameters
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(word))
            {
                return None;
            }
            parameters.push((word, value));
            rest = end_of_element(after)?;
        } else {
            challenges.push(Raw {
                scheme: word,
                parameters: Vec::new(),
            });
            rest = skip_separators(skip_token68(after.trim_start_matches([' ', '\t'])));
        }
    }
    Some(challenges)
}

fn take_token(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|character| !is_token_character(character))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string with its escapes resolved.
fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return take_token(text).map(|(token, rest)| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(position + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// After a parameter comes a comma or the end, nothing else.
fn end_of_element(text: &str) -> Option<&str> {
    let text = text.trim_start_matches([' ', '\t']);
    (text.is_empty() || text.starts_with(',')).then(|| skip_separators(text))
}

fn skip_separators(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', ','])
}

/// Skips the `token68` of schemes such as Negotiate: a word that ends its element and is no parameter.
fn skip_token68(text: &str) -> &str {
    let is_part =
        |character: char| character.is_ascii_alphanumeric() || "-._~+/".contains(character);
    let rest = text.trim_start_matches(is_part).trim_start_matches('=');
    if rest.is_empty() || rest.starts_with(',') {
        rest
    } else {
        text
    }
}

fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::from_headers(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
            is_scope_insufficient: false,
        })
    }

    #[test]
    fn reads_what_registries_send() {
        for text in [
            r#"Bearer realm="https://a/t",service="s",scope="repository:x/y:pull""#,
            r#"bearer  realm = "https://a/t" , service=s, scope="repository:x/y:pull""#,
            r#"Basic realm="x, y", Bearer realm="https://a/t",service="s",scope="repository:x/y:pull""#,
            r#"Negotiate abc==, BEARER scope="repository:x/y:pull", realm="https://a/t",,service="\s""#,
            r#"Negotiate, Bearer realm="https://a/t",service="s",scope="repository:x/y:pull",error="invalid_token""#,
        ] {
            assert_eq!(
                challenge(&[text]),
                bearer("https://a/t", Some("s"), Some("repository:x/y:pull")),
                "{text}"
            );
        }
        assert_eq!(
            challenge(&[r#"Bearer realm="https://a/t""#]),
            bearer("https://a/t", None, None)
        );
        assert_eq!(challenge(&[r#"Basic realm="x""#]), Some(Challenge::Basic));
        assert_eq!(challenge(&["Basic"]), Some(Challenge::Basic));
        assert_eq!(challenge(&["Negotiate, Basic"]), Some(Challenge::Basic));
        assert_eq!(
            challenge(&[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#]),
            bearer("https://a/t", None, None)
        );
    }

    #[test]
    fn tells_an_insufficient_scope_from_a_token_that_is_not_taken() {
        for (error, expected) in [
            ("", false),
            (r#",error="invalid_token""#, false),
            (",error=insufficient_scope", true),
        ] {
            let found = challenge(&[&format!(r#"Bearer realm="https://a/t"{error}"#)]);
            assert!(
                matches!(found, Some(Challenge::Bearer { is_scope_insufficient, .. }) if is_scope_insufficient == expected),
                "{error}: {found:?}"
            );
        }
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "",
            "Bearer",
            "Digest realm=\"x\"",
            r#"Bearer service="s""#,
            r#"Bearer realm="https://a/t"#,
            r#"Bearer realm="https://a/t" service="s""#,
            r#"Bearer realm="https://a/t",realm="https://b/t""#,
            r#"realm="https://a/t""#,
            r#"Bearer realm="https://a/t", ="s""#,
            r#"Bearer realm="#,
            r#"Bearer realm="a\"#,
        ] {
            assert_eq!(challenge(&[text]), None, "{text}");
        }
        let long = format!(
            r#"Bearer realm="https://a/{}""#,
            "x".repeat(HEADER_BYTES_MAX)
        );
        assert_eq!(challenge(&[&long]), None);
    }
}
