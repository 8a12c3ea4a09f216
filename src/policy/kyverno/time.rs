//! Times as Go reads them by a layout, and as it writes them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use super::layout::{Digits, Element, Number, split_at_element};

/// The layout of RFC 3339.
pub(super) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

/// A moment, and how far the clock that showed it was ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) moment: Timestamp,
    ahead_seconds: i32,
}

impl Time {
    pub(super) fn utc(moment: Timestamp) -> Self {
        Self {
            moment,
            ahead_seconds: 0,
        }
    }

    /// What `text` says, read by a layout: the time 2006-01-02 15:04:05 as it would be written.
    pub(super) fn parse(layout: &str, text: &str) -> Option<Self> {
        let mut read = Read::default();
        let (mut layout, mut rest) = (layout, text);
        loop {
            let (before, element, after) = split_at_element(layout);
            rest = skip(rest, before)?;
            let Some(element) = element else {
                return if rest.is_empty() { read.time() } else { None };
            };
            rest = read.element(element, rest, after)?;
            layout = after;
        }
    }

    /// As RFC 3339, without fractions of a second.
    pub(super) fn text(self) -> Option<String> {
        let shown = self
            .moment
            .checked_add(jiff::SignedDuration::from_secs(self.ahead_seconds.into()))
            .ok()?;
        let shown = Offset::UTC.to_datetime(shown);
        if shown.year() < 0 {
            return None;
        }
        let date = shown.date();
        let (hour, minute, second) = (shown.hour(), shown.minute(), shown.second());
        let zone = if self.ahead_seconds == 0 {
            "Z".to_owned()
        } else {
            let minutes = self.ahead_seconds / 60;
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = minutes.abs();
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        };
        Some(format!(
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}{zone}",
            date.year(),
            date.month(),
            date.day()
        ))
    }

    /// The same clock at another moment.
    pub(super) fn at(self, moment: Timestamp) -> Self {
        Self { moment, ..self }
    }
}

/// What follows `expected`; spaces may be any number.
fn skip<'t>(text: &'t str, expected: &str) -> Option<&'t str> {
    let (mut text, mut expected) = (text, expected);
    while let Some(character) = expected.chars().next() {
        if character == ' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            expected = expected.trim_start_matches(' ');
            text = text.trim_start_matches(' ');
        } else {
            expected = expected.strip_prefix(character)?;
            text = text.strip_prefix(character)?;
        }
    }
    Some(text)
}

/// What has been read of a time.
#[derive(Debug, Default)]
struct Read {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    is_afternoon: Option<bool>,
    is_utc: bool,
    ahead_seconds: Option<i32>,
}

impl Read {
    /// Reads one element and returns what follows it. `after` is what the layout goes on with.
    fn element<'t>(&mut self, element: Element, text: &'t str, after: &str) -> Option<&'t str> {
        match element {
            Element::MonthName(names) => {
                let (index, rest) = name(names, text)?;
                self.month = Some(i8::try_from(index).ok()? + 1);
                Some(rest)
            }
            // Which day of the week it was is not compared with the date.
            Element::DayName(names) => name(names, text).map(|(_, rest)| rest),
            Element::Year => {
                let (year, rest) = number(text, 4, 4)?;
                self.year = i16::try_from(year).ok()?;
                Some(rest)
            }
            Element::YearOfCentury => {
                let (year, rest) = number(text, 2, 2)?;
                let century = if year >= 69 { 1900 } else { 2000 };
                self.year = i16::try_from(century + year).ok()?;
                Some(rest)
            }
            Element::Number(what, digits) => self.number(what, digits, text, after),
            Element::DayOfYear(digits) => {
                let text = without_spaces(text, digits, 2);
                let least = if digits == Digits::All { 3 } else { 1 };
                let (day, rest) = number(text, least, 3)?;
                self.day_of_year = Some(i16::try_from(day).ok()?);
                Some(rest)
            }
            Element::HalfOfDay([morning, afternoon]) => {
                if let Some(rest) = text.strip_prefix(afternoon) {
                    self.is_afternoon = Some(true);
                    return Some(rest);
                }
                self.is_afternoon = Some(false);
                text.strip_prefix(morning)
            }
            Element::ZoneName => self.zone_name(text),
            Element::ZoneOffset {
                zulu,
                colons,
                parts,
            } => {
                if zulu && let Some(rest) = text.strip_prefix('Z') {
                    self.is_utc = true;
                    return Some(rest);
                }
                self.zone_offset(text, colons, parts)
            }
            Element::Fraction(Some(digits)) => {
                let rest = text.strip_prefix(['.', ','])?;
                let (written, rest) = rest.split_at_checked(digits)?;
                self.nanosecond = billionths(written)?;
                Some(rest)
            }
            Element::Fraction(None) => self.fraction(text),
        }
    }

    fn number<'t>(
        &mut self,
        what: Number,
        digits: Digits,
        text: &'t str,
        after: &str,
    ) -> Option<&'t str> {
        let text = without_spaces(text, digits, 1);
        let least = if digits == Digits::All { 2 } else { 1 };
        let (value, rest) = number(text, least, 2)?;
        let (place, highest) = match what {
            Number::Month => (self.month.insert(0), 12),
            Number::Day => (self.day.insert(0), 31),
            Number::Hour => (&mut self.hour, 23),
            Number::HourOfHalf => (&mut self.hour, 12),
            Number::Minute => (&mut self.minute, 59),
            Number::Second => (&mut self.second, 59),
        };
        *place = i8::try_from(value).ok().filter(|it| *it <= highest)?;
        let is_followed = || matches!(split_at_element(after), (_, Some(Element::Fraction(_)), _));
        // A second may have a fraction although the layout says nothing of it.
        if what == Number::Second && !is_followed() {
            return self.fraction(rest);
        }
        Some(rest)
    }

    /// A fraction of a second, where there is one.
    fn fraction<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let Some(digits) = text.strip_prefix(['.', ',']) else {
            return Some(text);
        };
        let rest = digits.trim_start_matches(|it: char| it.is_ascii_digit());
        let (written, _) = digits.split_at_checked(digits.len() - rest.len())?;
        if written.is_empty() {
            return Some(text);
        }
        self.nanosecond = billionths(written)?;
        Some(rest)
    }

    /// What offset a name stands for is known of UTC alone: the others count as UTC where nothing else says an offset,
    /// as where Kyverno runs. A number in the place of a name is not read.
    fn zone_name<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(rest) = text.strip_prefix("UTC") {
            self.is_utc = true;
            return Some(rest);
        }
        if let Some(rest) = text.strip_prefix("GMT") {
            return (!rest.starts_with(['+', '-'])).then_some(rest);
        }
        for mixed in ["ChST", "MeST"] {
            if let Some(rest) = text.strip_prefix(mixed) {
                return Some(rest);
            }
        }
        let rest = text.trim_start_matches(|it: char| it.is_ascii_uppercase());
        let (name, _) = text.split_at_checked(text.len() - rest.len())?;
        let is_name = match name.len() {
            3 => true,
            4 => name.ends_with('T') || name == "WITA",
            5 => name.ends_with('T'),
            _ => false,
        };
        is_name.then_some(rest)
    }

    fn zone_offset<'t>(&mut self, text: &'t str, colons: bool, parts: usize) -> Option<&'t str> {
        let (sign, mut rest) = match text.chars().next()? {
            '+' => (1, text.get(1..)?),
            '-' => (-1, text.get(1..)?),
            _ => return None,
        };
        let mut seconds = 0;
        for (index, (worth, highest)) in [(3600, 24), (60, 60), (1, 60)]
            .into_iter()
            .enumerate()
            .take(parts)
        {
            if colons && index > 0 {
                rest = rest.strip_prefix(':')?;
            }
            let (value, after) = number(rest, 2, 2)?;
            if value > highest {
                return None;
            }
            seconds += value * worth;
            rest = after;
        }
        self.ahead_seconds = Some(sign * seconds);
        Some(rest)
    }

    fn time(self) -> Option<Time> {
        let hour = match self.is_afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            Some(_) | None => self.hour,
        };
        let date = match self.day_of_year {
            None => Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
            Some(day) => {
                let first = Date::new(self.year, 1, 1);
                first.and_then(|first| first.with().day_of_year(day).build())
            }
        };
        let date = date.ok()?;
        let agrees = self.month.is_none_or(|it| it == date.month())
            && self.day.is_none_or(|it| it == date.day());
        if !agrees {
            return None;
        }
        let time = jiff::civil::Time::new(hour, self.minute, self.second, self.nanosecond).ok()?;
        let shown = Offset::UTC
            .to_timestamp(DateTime::from_parts(date, time))
            .ok()?;
        let ahead_seconds = match self.ahead_seconds {
            Some(seconds) if !self.is_utc => seconds,
            Some(_) | None => 0,
        };
        let moment = shown
            .checked_sub(jiff::SignedDuration::from_secs(ahead_seconds.into()))
            .ok()?;
        Some(Time {
            moment,
            ahead_seconds,
        })
    }
}

/// Without the spaces that may stand in the place of digits.
fn without_spaces(text: &str, digits: Digits, most: usize) -> &str {
    let mut text = text;
    if digits == Digits::Spaces {
        for _ in 0..most {
            text = text.strip_prefix(' ').unwrap_or(text);
        }
    }
    text
}

/// Which of the names it begins with, in whichever case, and what follows.
fn name<'t>(names: &[&str], text: &'t str) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let (start, rest) = text.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some((index, rest))
    })
}

/// A number of so many digits, and what follows.
fn number(text: &str, least: usize, most: usize) -> Option<(i32, &str)> {
    let digits = text.bytes().take(most);
    let count = digits.take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    let (digits, rest) = text.split_at_checked(count)?;
    Some((digits.parse().ok()?, rest))
}

/// Of the digits after the point; those beyond the ninth are dropped.
fn billionths(digits: &str) -> Option<i32> {
    let digits = digits.get(..9).unwrap_or(digits);
    let are_digits = digits.bytes().all(|it| it.is_ascii_digit());
    let padded = format!("{digits:0<9}");
    are_digits.then(|| padded.parse().ok()).flatten()
}
