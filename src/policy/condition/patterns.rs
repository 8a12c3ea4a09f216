//! Patterns of `matches`, each compiled once.

use std::collections::HashMap;

use cel::ExecutionError;
use regex::Regex;

use crate::policy::fuel::{Fuel, price};
use crate::policy::received::Received;

/// The function, in expressions and messages.
pub(super) const MATCHES: &str = "matches";

/// The patterns that an expression writes out. They are the operator's.
#[derive(Debug, Default)]
pub(super) struct Written(HashMap<String, Regex>);

impl Written {
    /// Compiles a pattern. One that does not compile is left to the evaluation, which then has no answer.
    pub(super) fn add(&mut self, source: &str) {
        if let Ok(pattern) = Regex::new(source) {
            self.0.insert(source.to_owned(), pattern);
        }
    }

    /// Returns true if the pattern matches somewhere in the text.
    pub(super) fn matches(
        &self,
        received: &Received,
        text: &str,
        source: &str,
        fuel: &Fuel,
    ) -> Result<bool, ExecutionError> {
        if let Some(pattern) = self.0.get(source) {
            pay(fuel, price::read(source.len()) + price::matched(text.len()))?;
            return Ok(pattern.is_match(text));
        }
        received.matches(text, source, source, fuel).ok_or_else(|| {
            let reason = "a pattern of the statement is no regular expression, or is too large";
            ExecutionError::function_error(MATCHES, reason)
        })
    }
}

/// Pays, with an error of the evaluator.
pub(super) fn pay(fuel: &Fuel, nanoseconds: u64) -> Result<(), ExecutionError> {
    fuel.pay(nanoseconds)
        .map_err(|error| ExecutionError::function_error("fuel", error))
}
