//! Durations and sizes as people write them.

use std::time::Duration;

/// Longer than any sensible setting, and short enough to be added to any time.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// `60s`, `24h`, `7d`, `500ms`, `1h30m`; `0` is zero in every unit.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_lowercase())
                .len();
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().ok()?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(milliseconds)?))?;
        rest = after;
    }
    (!text.is_empty() && total <= DURATION_MAX).then_some(total)
}

/// `10MiB`, `4GiB`, or bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let bytes: u64 = match unit.trim_start_matches(' ') {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// A duration as one would write it: in the largest unit that it is a whole number of.
pub(super) fn write_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [
        ("d", 24 * 60 * 60 * 1000),
        ("h", 60 * 60 * 1000),
        ("m", 60 * 1000),
        ("s", 1000),
    ];
    let unit = units
        .into_iter()
        .find(|(_, length)| milliseconds > 0 && milliseconds.is_multiple_of(*length));
    let (unit, length) = unit.unwrap_or(("ms", 1));
    format!("{}{unit}", milliseconds / length)
}

/// A size as one would write it, likewise.
pub(super) fn write_size(bytes: u64) -> String {
    let units = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    let unit = units
        .into_iter()
        .find(|(_, length)| bytes > 0 && bytes.is_multiple_of(*length));
    let (unit, length) = unit.unwrap_or(("", 1));
    format!("{}{unit}", bytes / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("60s", 60_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "5",
            "5x",
            "-5s",
            "1.5s",
            "5 s",
            "5S",
            "s5",
            "5s5",
            "40000d",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("123", 123),
            ("123B", 123),
            ("10MiB", 10 << 20),
            ("4 GiB", 4 << 30),
            ("1KiB", 1024),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "10MB", "10mib", "-1", "1.5GiB", "17179869184TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
    #[test]
    fn writes_what_it_reads() {
        for text in ["500ms", "90s", "5m", "1h", "30d", "0ms"] {
            assert_eq!(write_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(write_duration(Duration::from_secs(3600 * 24)), "1d");
        for text in ["0", "123", "256KiB", "10MiB", "100GiB", "2TiB"] {
            assert_eq!(write_size(parse_size(text).unwrap()), text);
        }
    }
}
