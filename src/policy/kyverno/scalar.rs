//! Texts that are durations, quantities or numbers, as Kyverno's operators understand them.

use serde_json::Value;

/// Nanoseconds of a duration as Go writes it: `1h30m`, `-1.5s`, `300ms`; nothing for `0` without a unit, which Kyverno
/// takes for a number.
pub(super) fn duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, tail) = rest.split_at_checked(number_end)?;
        let unit_end = tail
            .find(|it: char| it.is_ascii_digit() || it == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let nanoseconds = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let billionths = billionths(number)?;
        total = total.checked_add(billionths.checked_mul(nanoseconds)? / BILLION)?;
        rest = tail;
    }
    Some(sign * total)
}

/// Billionths of a Kubernetes quantity: `1.5Gi`, `100m`, `2e3`, `12`.
pub(super) fn quantity(text: &str) -> Option<i128> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let number_end = rest
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at_checked(number_end)?;
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
