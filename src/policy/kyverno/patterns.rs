//! The regular expressions of `regex_match`, each compiled once.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};

use crate::policy::{Matcher, re2};

/// The texts that a policy writes out, of which any may be a pattern.
#[derive(Debug, Default)]
pub(super) struct Patterns(BTreeMap<String, Regex>);

impl Patterns {
    /// Compiles those that are patterns.
    pub(super) fn written(texts: BTreeSet<String>) -> Self {
        let texts = texts.into_iter();
        Self(
            texts
                .filter_map(|text| Some((compile(&text)?, text)))
                .map(|(pattern, text)| (text, pattern))
                .collect(),
        )
    }

    pub(super) fn get(&self, source: &str) -> Option<&Regex> {
        self.0.get(source)
    }
}

fn compile(source: &str) -> Option<Regex> {
    if source.len() > Matcher::SOURCE_BYTES_MAX {
        return None;
    }
    RegexBuilder::new(&re2::translated(source))
        .size_limit(Matcher::COMPILED_BYTES_MAX)
        .build()
        .ok()
}
