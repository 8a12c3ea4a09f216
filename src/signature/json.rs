//! JSON that every parser reads alike.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::oci::Digest;

/// Parses `bytes` only if no object in them has a key twice. Go's parser would take the last one, others the first.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    if bytes.len() < LARGE_BYTES {
        serde_json::from_slice::<KeysOnce>(bytes)?;
    } else {
        CHECKED.check(bytes)?;
    }
    serde_json::from_slice(bytes)
}

/// Texts of this many bytes or more are checked once: an image may carry many copies of one statement.
const LARGE_BYTES: usize = 64 * 1024;

static CHECKED: Checked = Checked(Mutex::new(VecDeque::new()));

/// The large texts that were checked last and have each key once.
struct Checked(Mutex<VecDeque<Digest>>);

/// The most texts that are remembered.
const CHECKED_MAX: usize = 64;

impl Checked {
    fn check(&self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let digest = Digest::sha256(bytes);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(&digest) {
            return Ok(());
        }
        serde_json::from_slice::<KeysOnce>(bytes)?;
        let mut known = known();
        if known.len() == CHECKED_MAX {
            known.pop_front();
        }
        known.push_back(digest);
        Ok(())
    }
}

/// Any JSON value whose objects, at every depth, have each key once.
struct KeysOnce;

impl<'de> Deserialize<'de> for KeysOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeysOnceVisitor)
    }
}

struct KeysOnceVisitor;

impl<'de> Visitor<'de> for KeysOnceVisitor {
    type Value = KeysOnce;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<KeysOnce, E> {
        Ok(KeysOnce)
    }

    fn visit_i64<E>(self, _: i64) -> Result<KeysOnce, E> {
        Ok(KeysOnce)
    }

    fn visit_u64<E>(self, _: u64) -> Result<KeysOnce, E> {
        Ok(KeysOnce)
    }

    fn visit_f64<E>(self, _: f64) -> Result<KeysOnce, E> {
        Ok(KeysOnce)
    }

    fn visit_str<E>(self, _: &str) -> Result<KeysOnce, E> {
        Ok(KeysOnce)
    }

    fn visit_unit<E>(self) -> Result<KeysOnce, E> {
        Ok(KeysOnce)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<KeysOnce, A::Error> {
        while list.next_element::<KeysOnce>()?.is_some() {}
        Ok(KeysOnce)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeysOnce, A::Error> {
        let mut keys = Keys::default();
        while let Some(Key(key)) = map.next_key()? {
            map.next_value::<KeysOnce>()?;
            if keys.contain(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key `{key}` occurs twice"
                )));
            }
            keys.add(key);
        }
        Ok(KeysOnce)
    }
}

/// The keys of one object. Most objects have few, and those are found without a table.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

/// The most keys that are compared one by one.
const FEW: usize = 8;

impl<'de> Keys<'de> {
    fn contain(&self, key: &str) -> bool {
        self.few.iter().any(|known| known == key) || self.many.contains(key)
    }

    fn add(&mut self, key: Cow<'de, str>) {
        if self.few.len() < FEW {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
    }
}

/// A key, without its own copy where nothing in it is escaped.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(text: &str) -> bool {
        parse::<serde_json::Value>(text.as_bytes()).is_ok()
    }

    #[test]
    fn key_that_occurs_twice_is_refused_whatever_the_size() {
        let many: String = (0..20).map(|it| format!(r#""k{it}":0,"#)).collect();
        for padding in [0, LARGE_BYTES] {
            let text = |keys: &str| format!(r#"{{{keys}"end":"{}"}}"#, "a".repeat(padding));
            // Twice, because a large text is remembered.
            for _ in 0..2 {
                assert!(is_accepted(&text("")));
                assert!(is_accepted(&text(&many)));
                assert!(!is_accepted(&text(r#""end":1,"#)));
                assert!(!is_accepted(&text(&format!(r#"{many}"k3":1,"#))));
                assert!(!is_accepted(&text(&format!(r#"{many}"k19":1,"#))));
                assert!(!is_accepted(&text(r#""a":{"b":[{"c":1,"\u0063":2}]},"#)));
            }
        }
    }
}
