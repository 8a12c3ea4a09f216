//! Points in time as people write them in queries.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write a time such as 2026-11-23T09:00:00Z, a date such as 2026-11-23, or how long ago: 30m, 2h, 7d"
)]
pub struct PastError(());

/// Reads RFC 3339, a date or a date and time in UTC, or a time span before `now` (`2h`, `7d`).
///
/// # Errors
/// When the text is none of these.
pub fn parse_past(text: &str, now: Timestamp) -> Result<Timestamp, PastError> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let in_utc = |civil: DateTime| civil.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    if let Ok(date) = text.parse::<Date>() {
        return in_utc(date.into()).map_err(|_out_of_range| PastError(()));
    }
    let span: Span = text.parse().map_err(|_no_span| PastError(()))?;
    // The length of a day is defined only in a time zone.
    let ago = now.to_zoned(TimeZone::UTC).checked_sub(span.abs());
    ago.map(|zoned| zoned.timestamp())
        .map_err(|_out_of_range| PastError(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_dates_and_spans() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z"),
            ("2026-11-23T09:00:00+02:00", "2026-11-23T07:00:00Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("2h", "2026-11-23T10:00:00Z"),
            ("90m", "2026-11-23T10:30:00Z"),
            ("1h 30m", "2026-11-23T10:30:00Z"),
            ("7d", "2026-11-16T12:00:00Z"),
            ("2w", "2026-11-09T12:00:00Z"),
            ("2h ago", "2026-11-23T10:00:00Z"),
        ] {
            assert_eq!(parse_past(text, now), Ok(time.parse().unwrap()), "{text}");
        }
        for text in ["", "yesterday", "2", "h", "2026-13-01", "-"] {
            assert_eq!(parse_past(text, now), Err(PastError(())), "{text:?}");
        }
    }
}
