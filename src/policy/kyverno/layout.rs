//! Layouts: Go describes how a time is written by how 2006-01-02 15:04:05 would be.

/// One element of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    MonthName(&'static [&'static str; 12]),
    DayName(&'static [&'static str; 7]),
    Year,
    YearOfCentury,
    Number(Number, Digits),
    DayOfYear(Digits),
    /// In these spellings.
    HalfOfDay([&'static str; 2]),
    ZoneName,
    ZoneOffset {
        /// Whether `Z` may stand for UTC.
        zulu: bool,
        colons: bool,
        parts: usize,
    },
    /// So many digits, or, where nothing is given, any number of them or none.
    Fraction(Option<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Month,
    Day,
    Hour,
    HourOfHalf,
    Minute,
    Second,
}

/// How a number may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    /// With as many as fit or fewer.
    Some,
    /// With zeros before it.
    All,
    /// With spaces before it.
    Spaces,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const SHORT_MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const SHORT_DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const fn offset(zulu: bool, colons: bool, parts: usize) -> Element {
    Element::ZoneOffset {
        zulu,
        colons,
        parts,
    }
}

/// How elements are written; of several that a layout goes on with, the first.
const ELEMENTS: [(&str, Element); 36] = [
    ("January", Element::MonthName(&MONTHS)),
    ("Jan", Element::MonthName(&SHORT_MONTHS)),
    ("Monday", Element::DayName(&DAYS)),
    ("Mon", Element::DayName(&SHORT_DAYS)),
    ("MST", Element::ZoneName),
    ("01", Element::Number(Number::Month, Digits::All)),
    ("02", Element::Number(Number::Day, Digits::All)),
    ("03", Element::Number(Number::HourOfHalf, Digits::All)),
    ("04", Element::Number(Number::Minute, Digits::All)),
    ("05", Element::Number(Number::Second, Digits::All)),
    ("06", Element::YearOfCentury),
    ("002", Element::DayOfYear(Digits::All)),
    ("15", Element::Number(Number::Hour, Digits::Some)),
    ("1", Element::Number(Number::Month, Digits::Some)),
    ("2006", Element::Year),
    ("2", Element::Number(Number::Day, Digits::Some)),
    ("_2006", Element::Year),
    ("_2", Element::Number(Number::Day, Digits::Spaces)),
    ("__2", Element::DayOfYear(Digits::Spaces)),
    ("3", Element::Number(Number::HourOfHalf, Digits::Some)),
    ("4", Element::Number(Number::Minute, Digits::Some)),
    ("5", Element::Number(Number::Second, Digits::Some)),
    ("PM", Element::HalfOfDay(["AM", "PM"])),
    ("pm", Element::HalfOfDay(["am", "pm"])),
    ("-070000", offset(false, false, 3)),
    ("-07:00:00", offset(false, true, 3)),
    ("-0700", offset(false, false, 2)),
    ("-07:00", offset(false, true, 2)),
    ("-07", offset(false, false, 1)),
    ("Z070000", offset(true, false, 3)),
    ("Z07:00:00", offset(true, true, 3)),
    ("Z0700", offset(true, false, 2)),
    ("Z07:00", offset(true, true, 2)),
    ("Z07", offset(true, false, 1)),
    (".", Element::Fraction(None)),
    (",", Element::Fraction(None)),
];

/// What stands before the first element of a layout, that element, and what follows it.
pub(super) fn split_at_element(layout: &str) -> (&str, Option<Element>, &str) {
    for (at, _) in layout.char_indices() {
        let (before, rest) = layout.split_at_checked(at).unwrap_or((layout, ""));
        for (written, element) in ELEMENTS {
            let Some(after) = rest.strip_prefix(written) else {
                continue;
            };
            match element {
                // A word that only begins so.
                Element::MonthName(_) | Element::DayName(_)
                    if written.len() == 3
                        && after.starts_with(|it: char| it.is_ascii_lowercase()) => {}
                Element::Fraction(_) => {
                    if let Some((element, after)) = fraction(after) {
                        return (before, Some(element), after);
                    }
                }
                // The underscore is no part of it.
                Element::Year if written.starts_with('_') => {
                    let before = layout.get(..=at).unwrap_or(before);
                    return (before, Some(element), after);
                }
                Element::MonthName(_)
                | Element::DayName(_)
                | Element::Year
                | Element::YearOfCentury
                | Element::Number(..)
                | Element::DayOfYear(_)
                | Element::HalfOfDay(_)
                | Element::ZoneName
                | Element::ZoneOffset { .. } => return (before, Some(element), after),
            }
        }
    }
    (layout, None, "")
}

/// Zeros, or nines, up to something that is no digit.
fn fraction(digits: &str) -> Option<(Element, &str)> {
    let digit = digits.chars().next().filter(|it| "09".contains(*it))?;
    let after = digits.trim_start_matches(digit);
    let count = digits.len() - after.len();
    let is_whole = !after.starts_with(|it: char| it.is_ascii_digit());
    is_whole.then_some((Element::Fraction((digit == '0').then_some(count)), after))
}
