//! Patterns that come with the data of one evaluation. They may be anybody's.

use std::sync::{Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

use super::fuel::{Fuel, price};

/// The patterns that were met, each compiled once.
#[derive(Debug, Default)]
pub(super) struct Received(Mutex<Vec<(String, Option<Priced>)>>);

/// A pattern, and what a byte of text costs at most.
#[derive(Debug, Clone)]
struct Priced {
    pattern: Regex,
    byte_price: u64,
}

/// The most patterns that are kept. More are compiled again, and paid for again.
const PATTERNS_MAX: usize = 16;

/// The most bytes of a pattern.
const SOURCE_BYTES_MAX: usize = 4096;

/// The sizes that a compiled pattern may have, in bytes. A place in a pattern takes about 40 bytes, and at each byte of
/// text there may be as many places to look at as the pattern has.
const COMPILED_BYTES: [usize; 4] = [4 * 1024, 16 * 1024, 64 * 1024, 1024 * 1024];

/// Nanoseconds that a byte of a compiled pattern costs when it is made.
const COMPILED_BYTE: u64 = 16;

/// The bytes of a compiled pattern that cost a nanosecond for each byte of text.
const BYTES_FOR_A_NANOSECOND: usize = 8;

impl Received {
    /// Returns true if the pattern matches somewhere in the text, and nothing where the pattern cannot be used or the
    /// fuel does not suffice. `source` names the pattern, and `translated` is how this crate writes it.
    pub(super) fn matches(
        &self,
        text: &str,
        source: &str,
        translated: &str,
        fuel: &Fuel,
    ) -> Option<bool> {
        if source.len() > SOURCE_BYTES_MAX {
            return None;
        }
        fuel.pay(price::read(source.len())).ok()?;
        let Priced {
            pattern,
            byte_price,
        } = self.pattern(source, translated, fuel)?;
        fuel.pay(byte_price.saturating_mul(price::words(text.len())))
            .ok()?;
        Some(pattern.is_match(text))
    }

    fn pattern(&self, source: &str, translated: &str, fuel: &Fuel) -> Option<Priced> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pattern)) = known.iter().find(|(known, _)| known == source) {
            return pattern.clone();
        }
        let pattern = Priced::compile(translated, fuel);
        if known.len() == PATTERNS_MAX {
            known.remove(0);
        }
        known.push((source.to_owned(), pattern.clone()));
        pattern
    }
}

impl Priced {
    fn compile(source: &str, fuel: &Fuel) -> Option<Self> {
        COMPILED_BYTES.into_iter().find_map(|bytes| {
            fuel.pay(COMPILED_BYTE * price::words(bytes)).ok()?;
            let pattern = RegexBuilder::new(source).size_limit(bytes).build().ok()?;
            Some(Self {
                pattern,
                byte_price: price::words(bytes / BYTES_FOR_A_NANOSECOND),
            })
        })
    }
}
