//! The answer of a token host (distribution token specification, "Token Response Fields"; RFC 6749 §5.1).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::{Map, Value};

/// A token and its life.
pub(super) struct TokenAnswer {
    /// The token, as it goes into a header after `Bearer`.
    pub(super) token: String,
    /// The time for which it may be used, from now on.
    pub(super) life: Duration,
}

/// Larger tokens are refused. Servers refuse header fields of this size, so no registry could take one.
const TOKEN_BYTES_MAX: usize = 32 * 1024;

/// The life of a token where neither its host nor the token itself tells it.
const LIFE_DEFAULT: Duration = Duration::from_secs(60);
/// The longest life that a token host may state.
const STATED_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest life by a token's own claims. They are not verified, and they may be meant for another party.
const CLAIMED_LIFE_MAX: Duration = Duration::from_secs(3600);

impl TokenAnswer {
    /// Reads an answer. A member that is null, empty or of another type counts as absent. Returns `None` if there is
    /// no token that a header can carry.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let answer: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let token = ["token", "access_token"].into_iter().find_map(|name| {
            let token = answer.get(name)?.as_str()?;
            (!token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then(|| token.to_owned())
        })?;
        let life = answer.get("expires_in").and_then(stated_life);
        let life = life
            .or_else(|| claimed_life(&token, date(headers)))
            .unwrap_or(LIFE_DEFAULT);
        Some(Self { token, life })
    }
}

/// `expires_in`, which is a number of seconds, and a string of one with some hosts.
fn stated_life(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    bounded(seconds, STATED_LIFE_MAX)
}

/// The life of a JSON Web Token by its own `exp` (RFC 7519 §4.1.4). It is counted from `iat` and from the host's clock
/// at the time of its answer, whichever leaves less, so that the clock of this machine does not matter.
fn claimed_life(token: &str, answered_at: Option<Timestamp>) -> Option<Duration> {
    let mut parts = token.split('.');
    let (Some(_header), Some(claims), Some(_signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
    let claim = |name: &str| claims.get(name)?.as_f64();
    let answered_at = answered_at.map(|at| at.as_duration().as_secs_f64());
    let from = [claim("iat"), answered_at].into_iter().flatten();
    let from = from.reduce(f64::max)?;
    bounded(claim("exp")? - from, CLAIMED_LIFE_MAX)
}

/// A positive number of seconds, cut to `max`.
fn bounded(seconds: f64, max: Duration) -> Option<Duration> {
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(max).min(max))
}

/// The host's clock.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    Some(rfc2822::parse(date).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Mon, 23 Nov 2026 12:00:00 GMT";
    const NOON_SECONDS: i64 = 1_795_435_200;

    fn parse(date: Option<&str>, body: &str) -> Option<(String, u64)> {
        let headers = date.map(|date| (DATE, date.parse().unwrap()));
        let answer = TokenAnswer::parse(&headers.into_iter().collect(), body.as_bytes())?;
        Some((answer.token, answer.life.as_secs()))
    }

    fn jwt(claims: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        format!("{}.{}.c2ln", encode(r#"{"alg":"none"}"#), encode(claims))
    }

    #[test]
    fn reads_answers_of_every_shape() {
        for (body, expected) in [
            (r#"{"token": "t"}"#, Some(("t", 60))),
            (
                r#"{"access_token": "t", "expires_in": 300}"#,
                Some(("t", 300)),
            ),
            (
                r#"{"token": null, "access_token": "t", "expires_in": null}"#,
                Some(("t", 60)),
            ),
            (
                r#"{"token": "", "access_token": "t", "refresh_token": null}"#,
                Some(("t", 60)),
            ),
            (r#"{"token": "t", "access_token": "u"}"#, Some(("t", 60))),
            (r#"{"token": 7, "access_token": "t"}"#, Some(("t", 60))),
            (
                r#"{"token": "t", "access_token": {}, "issued_at": null}"#,
                Some(("t", 60)),
            ),
            (r#"{"token": "t", "expires_in": "300"}"#, Some(("t", 300))),
            (r#"{"token": "t", "expires_in": 299.9}"#, Some(("t", 299))),
            (r#"{"token": "t", "expires_in": 0}"#, Some(("t", 60))),
            (r#"{"token": "t", "expires_in": -5}"#, Some(("t", 60))),
            (r#"{"token": "t", "expires_in": []}"#, Some(("t", 60))),
            (r#"{"token": "t", "expires_in": "soon"}"#, Some(("t", 60))),
            (r#"{"token": "t", "expires_in": "NaN"}"#, Some(("t", 60))),
            (
                r#"{"token": "t", "expires_in": 18446744073709551615}"#,
                Some(("t", 86_400)),
            ),
            (
                r#"{"token": "t", "expires_in": 1e300}"#,
                Some(("t", 86_400)),
            ),
            ("{}", None),
            (r#"{"token": null}"#, None),
            (r#"{"token": "", "access_token": ""}"#, None),
            ("[]", None),
            ("", None),
        ] {
            let expected = expected.map(|(token, life)| (token.to_owned(), life));
            assert_eq!(parse(Some(NOON), body), expected, "{body}");
        }
        let long = format!(r#"{{"token": "{}"}}"#, "x".repeat(TOKEN_BYTES_MAX + 1));
        assert_eq!(parse(None, &long), None);
    }

    #[test]
    fn token_without_stated_life_lives_until_its_own_end() {
        let at = |seconds: i64| NOON_SECONDS + seconds;
        for (claims, date, expected) in [
            (format!(r#"{{"exp": {}}}"#, at(300)), Some(NOON), 300),
            (format!(r#"{{"exp": {}.5}}"#, at(300)), Some(NOON), 300),
            (
                format!(r#"{{"exp": {}, "iat": {}}}"#, at(300), at(0)),
                None,
                300,
            ),
            // It was issued before it was handed out.
            (
                format!(r#"{{"exp": {}, "iat": {}}}"#, at(300), at(-200)),
                Some(NOON),
                300,
            ),
            // The issuer's clock is ahead of the host's.
            (
                format!(r#"{{"exp": {}, "iat": {}}}"#, at(900), at(600)),
                Some(NOON),
                300,
            ),
            (
                format!(r#"{{"exp": {}}}"#, at(30 * 24 * 3600)),
                Some(NOON),
                3600,
            ),
            (format!(r#"{{"exp": {}}}"#, at(20)), Some(NOON), 20),
            // It has ended by its own account, so the account is wrong.
            (format!(r#"{{"exp": {}}}"#, at(-1)), Some(NOON), 60),
            (format!(r#"{{"exp": {}}}"#, at(300)), None, 60),
            (r#"{"exp": "soon"}"#.to_owned(), Some(NOON), 60),
            ("{}".to_owned(), Some(NOON), 60),
            ("no JSON".to_owned(), Some(NOON), 60),
        ] {
            let body = format!(r#"{{"token": "{}"}}"#, jwt(&claims));
            let life = parse(date, &body).unwrap().1;
            assert_eq!(life, expected, "{claims} {date:?}");
            let stated = body.replace('}', r#", "expires_in": 77}"#);
            assert_eq!(parse(date, &stated).unwrap().1, 77, "{claims}");
        }
        for token in ["a.b", "a.b.c", "a.e30.c.d", "a..c"] {
            let body = format!(r#"{{"token": "{token}"}}"#);
            assert_eq!(parse(Some(NOON), &body).unwrap().1, 60, "{token}");
        }
    }
}
