//! What an answer's status and range mean.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_RANGE;
use reqwest::Response;
use serde::Deserialize;

use super::exchange::Answer;
use super::{Error, body};

/// The kind of thing that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A manifest, or the base of the API: every registry has them, and they come whole.
    Content,
    /// A blob, or a part of one.
    Blob,
    /// The referrers API and lists, which some registries lack.
    List,
}

/// Which bytes of a blob an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// The offset of the first one.
    pub(super) offset: u64,
    /// The size of the whole blob.
    pub(super) size: Option<u64>,
    /// How many there are, to the blob's end.
    pub(super) body_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    code: String,
}

const ERROR_BYTES_MAX: usize = 64 * 1024;
const ERROR_TIME_MAX: Duration = Duration::from_secs(1);

/// Returns the answer if it carries what was asked for: 200, and for a blob 206, which [`range`] looks at.
///
/// # Errors
/// For every other status. Only 408, 425, 429 and 5xx mean that the upstream cannot be asked now (`Throttled`,
/// `Failed`). Every other status is an answer, also one that nobody expects, so that nothing older is served in its
/// place.
pub(super) async fn check(host: &str, kind: Kind, answer: Answer) -> Result<Answer, Error> {
    let status = answer.response.status();
    let code = status.as_u16();
    let host = host.to_owned();
    match status {
        StatusCode::OK => Ok(answer),
        StatusCode::PARTIAL_CONTENT if kind == Kind::Blob => Ok(answer),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            let explanation =
                body::read_some(answer.response, ERROR_BYTES_MAX, ERROR_TIME_MAX).await;
            Err(Error::NotFound {
                host,
                name_unknown: says_name_unknown(&explanation),
            })
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(Error::Denied { host, status: code })
        }
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::NOT_IMPLEMENTED
            if kind == Kind::List =>
        {
            Err(Error::Unsupported { host, status: code })
        }
        StatusCode::TOO_MANY_REQUESTS => Err(Error::Throttled {
            host,
            retry_after: None,
        }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Err(failed(host, code)),
        status if status.is_server_error() => Err(failed(host, code)),
        _ => Err(Error::Unexpected {
            host,
            reason: format!("status {code}"),
        }),
    }
}

fn failed(host: String, code: u16) -> Error {
    Error::Failed {
        host,
        reason: format!("status {code}"),
    }
}

/// Tells which bytes a 200 or 206 has, when those from `asked` on were asked for.
///
/// # Errors
/// `Unexpected` when a 206 does not start there or does not say where it starts.
pub(super) fn range(host: &str, response: &Response, asked: u64) -> Result<Range, Error> {
    let length = body::content_length(response.headers());
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(Range {
            offset: 0,
            size: length,
            body_bytes: length,
        });
    }
    let value = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let parsed = value
        .and_then(parse_content_range)
        .filter(|(first, ..)| *first == asked && asked > 0);
    let Some((first, last, size)) = parsed else {
        return Err(Error::Unexpected {
            host: host.to_owned(),
            reason: "a range that was not asked for".to_owned(),
        });
    };
    let end = size.unwrap_or_else(|| last.saturating_add(1));
    Ok(Range {
        offset: first,
        size,
        body_bytes: Some(end - first),
    })
}

/// Returns the size of the whole content of which an answer has all or a part, if it says so.
pub(super) fn whole_size(response: &Response) -> Option<u64> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return body::content_length(response.headers());
    }
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (_, _, size) = parse_content_range(value)?;
    size
}

/// `bytes first-last/size` or `bytes first-last/*` (RFC 9110 §14.4), first ≤ last < size.
fn parse_content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, range) = value.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (positions, size) = range.split_once('/')?;
    let (first, last) = positions.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let size = if size == "*" {
        None
    } else {
        Some(size.parse().ok()?)
    };
    (first <= last && size.is_none_or(|size| last < size)).then_some((first, last, size))
}

fn says_name_unknown(explanation: &[u8]) -> bool {
    let body: Option<ErrorBody> = serde_json::from_slice(explanation).ok();
    body.is_some_and(|body| body.errors.iter().any(|error| error.code == "NAME_UNKNOWN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges() {
        assert_eq!(parse_content_range("bytes 2-5/6"), Some((2, 5, Some(6))));
        assert_eq!(parse_content_range("bytes 2-5/*"), Some((2, 5, None)));
        assert_eq!(parse_content_range("Bytes 2-5/6"), Some((2, 5, Some(6))));
        for value in [
            "",
            "bytes */6",
            "bytes 5-2/6",
            "bytes 2-6/6",
            "2-5/6",
            "bytes 2-5",
            "items 2-5/6",
            "bytes a-b/c",
        ] {
            assert_eq!(parse_content_range(value), None, "{value}");
        }
    }

    #[test]
    fn finds_name_unknown_in_an_error_body() {
        assert!(says_name_unknown(
            br#"{"errors": [{"code": "X"}, {"code": "NAME_UNKNOWN", "message": "m"}]}"#
        ));
        assert!(!says_name_unknown(
            br#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#
        ));
        assert!(!says_name_unknown(b"NAME_UNKNOWN"));
    }
}
