//! `Range` of one part (RFC 9110 §14). Several parts are answered with the whole, as the specification allows.

use crate::oci::Digest;

/// What part of the content is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// All of it.
    Whole,
    /// From `start` (inclusive) to `end` (exclusive); never empty.
    Part { start: u64, end: u64 },
    /// A part that does not exist.
    NotSatisfiable,
}

/// Reads `Range`. It is ignored when `If-Range` names other content, when it is of another unit, or not understood.
pub(super) fn parse(
    range: Option<&str>,
    if_range: Option<&str>,
    digest: &Digest,
    size: u64,
) -> Range {
    let Some(parts) = range.and_then(byte_ranges) else {
        return Range::Whole;
    };
    if if_range.is_some_and(|etag| etag.trim_matches('"') != digest.to_string()) {
        return Range::Whole;
    }
    let Some((first, last)) = parts.trim().split_once('-') else {
        return Range::Whole;
    };
    match (number(first), number(last)) {
        (Some(start), _) if !last.is_empty() && number(last).is_none() => {
            let _unreadable = start;
            Range::Whole
        }
        (Some(start), Some(last)) if last < start => Range::Whole,
        (Some(start), last) => part(
            start,
            last.map_or(size, |last| last.saturating_add(1)),
            size,
        ),
        (None, Some(suffix)) if first.is_empty() => {
            if suffix == 0 {
                return Range::NotSatisfiable;
            }
            part(size.saturating_sub(suffix), size, size)
        }
        (None, _) => Range::Whole,
    }
}

/// The ranges after the unit, if that is `bytes`. Range units ignore case (RFC 9110 §14.1).
fn byte_ranges(text: &str) -> Option<&str> {
    let (unit, ranges) = text.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(ranges)
}

fn part(start: u64, end: u64, size: u64) -> Range {
    let end = end.min(size);
    if start >= end {
        return Range::NotSatisfiable;
    }
    Range::Part { start, end }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(range: &str) -> Range {
        parse(Some(range), None, &Digest::sha256(b""), 100)
    }

    #[test]
    fn reads_one_part() {
        for (range, start, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=10-", 10, 100),
            ("bytes=10-19", 10, 20),
            ("bytes=90-200", 90, 100),
            ("bytes=-10", 90, 100),
            ("bytes=-200", 0, 100),
            ("Bytes=10-19", 10, 20),
            ("BYTES=-10", 90, 100),
        ] {
            assert_eq!(parsed(range), Range::Part { start, end }, "{range}");
        }
        for range in ["bytes=100-", "bytes=200-300", "bytes=-0"] {
            assert_eq!(parsed(range), Range::NotSatisfiable, "{range}");
        }
        for range in [
            "bytes=5-1",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-b",
            "bytes=+1-2",
            "0-1",
        ] {
            assert_eq!(parsed(range), Range::Whole, "{range}");
        }
    }

    #[test]
    fn heeds_if_range() {
        let digest = Digest::sha256(b"");
        let other = Digest::sha256(b"other");
        let with = |etag: &Digest| {
            let etag = format!("\"{etag}\"");
            parse(Some("bytes=0-0"), Some(&etag), &digest, 100)
        };
        assert_eq!(with(&digest), Range::Part { start: 0, end: 1 });
        assert_eq!(with(&other), Range::Whole);
    }
}
