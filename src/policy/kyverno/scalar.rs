//! Texts that are durations, quantities or numbers, as Kyverno's operators understand them.

use serde_json::Value;

/// Nanoseconds of a duration (`1h30m`, `-1.5s`, `300ms`); nothing for `0` without a unit, which Kyverno takes for a
/// number.
pub(super) fn duration(text: &str) -> Option<i128> {
    (text != "0").then(|| go_duration(text).map(i128::from))?
}

/// The longest duration that Go knows, and one nanosecond more.
const DURATION_END: u64 = 1 << 63;

/// Nanoseconds of a duration as Go reads it.
pub(super) fn go_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, tail) = rest.split_at_checked(number_end)?;
        let unit_end = tail
            .find(|it: char| it.is_ascii_digit() || it == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(nanoseconds(number, unit)?)?;
        if total > DURATION_END {
            return None;
        }
        rest = tail;
    }
    if is_negative {
        0_i64.checked_sub_unsigned(total)
    } else {
        i64::try_from(total).ok()
    }
}

/// So many units of so many nanoseconds each. Digits after the point beyond what 64 bits hold are dropped.
fn nanoseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let are_digits = fraction.bytes().all(|it| it.is_ascii_digit());
    if !are_digits || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = fraction.get(..FRACTION_DIGITS_MAX).unwrap_or(fraction);
    let digits = u32::try_from(fraction.len()).ok()?;
    let fraction: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let part = fraction * u128::from(unit) / 10_u128.pow(digits);
    whole
        .checked_mul(unit)?
        .checked_add(u64::try_from(part).ok()?)
}

/// More digits than nanoseconds of an hour have.
const FRACTION_DIGITS_MAX: usize = 18;

/// A duration as Go writes it: `180h10m0s`, `1.5s`, `20ms`, `0s`.
pub(super) fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let with_unit = |unit: u64, name: &str| {
        let (whole, part) = (all / unit, all % unit);
        let digits = unit.ilog10() as usize;
        let part = format!("{part:0digits$}");
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{part}{name}")
    };
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => with_unit(1_000, "µs"),
        1_000_000..1_000_000_000 => with_unit(1_000_000, "ms"),
        _ => {
            let seconds = all / 1_000_000_000;
            let (minutes, hours) = (seconds / 60, seconds / 3600);
            let below = format!("{:09}", all % 1_000_000_000);
            let below = below.trim_end_matches('0');
            let point = if below.is_empty() { "" } else { "." };
            let seconds = format!("{}{point}{below}s", seconds % 60);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}"),
                (hours, minutes) => format!("{sign}{hours}h{}m{seconds}", minutes % 60),
            }
        }
    }
}

/// Sign, digits and suffix of what may be a Kubernetes quantity.
fn quantity_parts(text: &str) -> Option<(i128, &str, &str)> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let number_end = rest
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at_checked(number_end)?;
    Some((sign, number, suffix))
}

/// Whether it is a Kubernetes quantity, however large or small.
pub(super) fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 16] = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    quantity_parts(text).is_some_and(|(_, number, suffix)| {
        let exponent = suffix.strip_prefix(['e', 'E']).unwrap_or_default();
        number.bytes().any(|byte| byte.is_ascii_digit())
            && number.matches('.').count() < 2
            && (SUFFIXES.contains(&suffix) || exponent.parse::<i64>().is_ok())
    })
}

/// Billionths of a Kubernetes quantity: `1.5Gi`, `100m`, `2e3`, `12`.
pub(super) fn quantity(text: &str) -> Option<i128> {
    let (sign, number, suffix) = quantity_parts(text)?;
    let number = billionths(number)?;
    let scaled = match suffix {
        "" => Some(number),
        "n" => Some(number / BILLION),
        "u" => Some(number / 1_000_000),
        "m" => Some(number / 1_000),
        "k" => number.checked_mul(1_000),
        "M" => number.checked_mul(1_000_000),
        "G" => number.checked_mul(BILLION),
        "T" => number.checked_mul(1_000_000_000_000),
        "P" => number.checked_mul(1_000_000_000_000_000),
        "E" => number.checked_mul(1_000_000_000_000_000_000),
        "Ki" => number.checked_mul(1 << 10),
        "Mi" => number.checked_mul(1 << 20),
        "Gi" => number.checked_mul(1 << 30),
        "Ti" => number.checked_mul(1 << 40),
        "Pi" => number.checked_mul(1 << 50),
        "Ei" => number.checked_mul(1 << 60),
        exponent => {
            let exponent: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            number.checked_mul(10_i128.checked_pow(exponent)?)
        }
    };
    Some(sign * scaled?)
}

/// A number: JSON's, which Kyverno reads as 64-bit floating point.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

/// A number written as text.
pub(super) fn parse_number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if plain { text.parse().ok() } else { None }
}

/// Nanoseconds of both, where at least one is a duration and the other is one or a number of seconds.
pub(super) fn durations(key: &Value, value: &Value) -> Option<(i128, i128)> {
    let parsed = |it: &Value| it.as_str().and_then(duration);
    match (parsed(key), parsed(value)) {
        (None, None) => None,
        (Some(key), Some(value)) => Some((key, value)),
        (Some(key), None) => Some((key, seconds(value)?)),
        (None, Some(value)) => Some((seconds(key)?, value)),
    }
}

/// Nanoseconds of a number of seconds, whose fraction Kyverno drops.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked to be small enough; the fraction is to be dropped"
)]
pub(super) fn seconds(value: &Value) -> Option<i128> {
    let seconds = number(value)?;
    if seconds.abs() > 9e9 {
        return None;
    }
    Some(i128::from(seconds.trunc() as i64) * BILLION)
}

/// As Go prints it; nothing for what has no sensible text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.as_f64()?.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

const BILLION: i128 = 1_000_000_000;

/// Billionths of `1`, `1.5`, `.5`; what has more than nine decimals is none.
fn billionths(number: &str) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.len() + fraction.len();
    if digits == 0 || whole.len() > 18 || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let parse = |digits: &str| {
        if digits.is_empty() {
            Some(0)
        } else {
            digits.parse::<i128>().ok()
        }
    };
    let fraction = parse(&format!("{fraction:0<9}"))?;
    parse(whole)?.checked_mul(BILLION)?.checked_add(fraction)
}
