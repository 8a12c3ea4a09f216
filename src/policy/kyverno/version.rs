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
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, build.split('.').collect()),
            None => (text, Vec::new()),
        };
        let (core, pre_release) = match text.split_once('-') {
            Some((core, pre_release)) => (core, pre_release.split('.').collect()),
            None => (text, Vec::new()),
        };
        let mut numbers = core.split('.').map(number);
        let version = Self {
            numbers: [numbers.next()??, numbers.next()??, numbers.next()??],
            pre_release,
        };
        let are_identifiers = version
            .pre_release
            .iter()
            .chain(&build)
            .all(|it| is_identifier(it));
        let are_numbers = version
            .pre_release
            .iter()
            .all(|it| !is_numeric(it) || number(it).is_some());
        (numbers.next().is_none() && are_identifiers && are_numbers).then_some(version)
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

fn is_identifier(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(allowed)
}

fn is_numeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str) -> Option<u64> {
    if !is_numeric(text) || text.len() > 1 && text.starts_with('0') {
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
