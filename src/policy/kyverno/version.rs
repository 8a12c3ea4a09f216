//! Semantic versions (semver.org 2.0.0, §2, §9, §11).

use std::cmp::Ordering;

/// A version whose precedence can be compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version<'t> {
    numbers: [u64; 3],
    pre_release: Vec<&'t str>,
}

impl<'t> Version<'t> {
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let (text, _build) = text.split_once('+').unwrap_or((text, ""));
        let (core, pre_release) = match text.split_once('-') {
            Some((core, pre_release)) => (core, pre_release.split('.').collect()),
            None => (text, Vec::new()),
        };
        let mut numbers = core.split('.').map(number);
        let version = Self {
            numbers: [numbers.next()??, numbers.next()??, numbers.next()??],
            pre_release,
        };
        let identifiers = version.pre_release.iter().all(|identifier| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !identifier.is_empty() && identifier.bytes().all(allowed)
        });
        (numbers.next().is_none() && identifiers).then_some(version)
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let pre_releases = || match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre_releases(&self.pre_release, &other.pre_release),
        };
        self.numbers.cmp(&other.numbers).then_with(pre_releases)
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.len() > 1 && text.starts_with('0') {
        return None;
    }
    text.parse().ok()
}

fn compare_pre_releases(first: &[&str], second: &[&str]) -> Ordering {
    for (first, second) in first.iter().zip(second) {
        let order = match (number(first), number(second)) {
            (Some(first), Some(second)) => first.cmp(&second),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => first.cmp(second),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    first.len().cmp(&second.len())
}
