//! The keys of a manifest and its descriptors, watched while the document is read, without trusting any one parser's
//! idea of them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;

use serde::Deserialize;
use serde::de::value::CowStrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::ParseError;

const KNOWN_KEYS: [&str; 9] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
];

const DESCRIPTOR_KEYS: [&str; 8] = [
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "platform",
    "artifactType",
];

/// What was seen of a document's keys.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    pub(super) media_type: Option<String>,
    top_level: HashSet<Cow<'a, str>>,
    /// The first thing that is wrong with a key, at the top level or in a descriptor.
    wrong: Option<ParseError>,
}

impl<'a> Seen<'a> {
    /// Reads `text` as a `T`, and what its keys are. Where both are wrong, what is wrong with the keys is told first: it
    /// is what somebody may have meant.
    pub(super) fn read<T: Deserialize<'a>>(text: &'a str) -> (Self, Result<T, serde_json::Error>) {
        let seen = RefCell::default();
        let mut json = serde_json::Deserializer::from_str(text);
        let document = T::deserialize(Watched {
            inner: &mut json,
            place: Place::TopLevel,
            seen: &seen,
        });
        let document = document.and_then(|document| json.end().map(|()| document));
        (seen.into_inner(), document)
    }

    /// Whether each key is there once, in the spelling that is known.
    pub(super) fn check(&mut self) -> Result<(), ParseError> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    pub(super) fn forbid(
        &self,
        expected: &'static str,
        others: &[&'static str],
    ) -> Result<(), ParseError> {
        match others.iter().find(|other| self.top_level.contains(**other)) {
            Some(other) => Err(ParseError::Ambiguous(expected, other)),
            None => Ok(()),
        }
    }
}

/// Refuses a key that stands there twice, or that Go would take for a known one.
fn check_key(key: &str, before: &HashSet<Cow<'_, str>>, known: &[&str]) -> Result<(), ParseError> {
    let folds = |known: &&str| known.eq_ignore_ascii_case(key) || folds_alike(known, key);
    if known
        .iter()
        .copied()
        .find(folds)
        .is_some_and(|known| known != key)
    {
        return Err(ParseError::KeyCase(key.to_owned()));
    }
    if before.contains(key) {
        return Err(ParseError::KeyTwice(key.to_owned()));
    }
    Ok(())
}

/// Go folds U+017F to `s` and U+212A to `k` when it compares keys.
fn folds_alike(known: &str, key: &str) -> bool {
    key.contains(['\u{17f}', '\u{212a}'])
        && key
            .replace('\u{17f}', "s")
            .replace('\u{212a}', "k")
            .eq_ignore_ascii_case(known)
}

/// Where in a document something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    TopLevel,
    MediaType,
    Descriptor,
    Descriptors,
    Elsewhere,
}

impl Place {
    /// The place of what a key of the top level holds.
    fn under(key: &str) -> Self {
        match key {
            "mediaType" => Self::MediaType,
            "config" | "subject" => Self::Descriptor,
            "layers" | "manifests" => Self::Descriptors,
            _ => Self::Elsewhere,
        }
    }
}

/// A deserializer, visitor, seed or access of `serde` that tells what passes through it at a place that matters.
struct Watched<'s, 'de, T> {
    inner: T,
    place: Place,
    seen: &'s RefCell<Seen<'de>>,
}

impl<'s, 'de, T> Watched<'s, 'de, T> {
    fn around<U>(&self, inner: U) -> Watched<'s, 'de, U> {
        Watched {
            inner,
            place: self.place,
            seen: self.seen,
        }
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Watched<'_, 'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.around(visitor);
        self.inner.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.around(visitor);
        self.inner.deserialize_option(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(formatter)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.inner.visit_bool(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.inner.visit_i64(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.inner.visit_u64(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.inner.visit_f64(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        if self.place == Place::MediaType {
            self.seen.borrow_mut().media_type = Some(value.to_owned());
        }
        self.inner.visit_str(value)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let deserializer = self.around(deserializer);
        self.inner.visit_some(deserializer)
    }

    /// What is read into a structure may not be a list, in which nothing would have a key.
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        let place = match self.place {
            Place::TopLevel | Place::Descriptor => {
                return Err(A::Error::invalid_type(Unexpected::Seq, &self));
            }
            Place::Descriptors => Place::Descriptor,
            Place::MediaType | Place::Elsewhere => Place::Elsewhere,
        };
        let list = Watched {
            place,
            ..self.around(list)
        };
        self.inner.visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let map = Keys {
            map: self.around(map),
            before: HashSet::new(),
            under: Place::Elsewhere,
        };
        self.inner.visit_map(map)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Watched<'_, 'de, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.around(seed);
        self.inner.next_element_seed(seed)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Watched<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.around(deserializer);
        self.inner.deserialize(deserializer)
    }
}

/// The keys of one object.
struct Keys<'s, 'de, A> {
    map: Watched<'s, 'de, A>,
    before: HashSet<Cow<'de, str>>,
    /// The place of the value to come.
    under: Place,
}

impl<'de, A> Keys<'_, 'de, A> {
    fn note(&mut self, key: Cow<'de, str>) {
        let known: &[&str] = match self.map.place {
            Place::TopLevel => &KNOWN_KEYS,
            Place::Descriptor => &DESCRIPTOR_KEYS,
            Place::MediaType | Place::Descriptors | Place::Elsewhere => return,
        };
        let mut seen = self.map.seen.borrow_mut();
        if let Err(wrong) = check_key(&key, &self.before, known) {
            seen.wrong.get_or_insert(wrong);
        }
        if self.map.place == Place::TopLevel {
            self.under = Place::under(&key);
            seen.top_level.insert(key.clone());
        }
        self.before.insert(key);
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Keys<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Some(Key(key)) = self.map.inner.next_key()? else {
            return Ok(None);
        };
        self.note(key.clone());
        seed.deserialize(CowStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if self.under == Place::Elsewhere {
            return self.map.inner.next_value_seed(seed);
        }
        let seed = Watched {
            place: self.under,
            ..self.map.around(seed)
        };
        self.map.inner.next_value_seed(seed)
    }
}

/// A key, without its own copy where nothing in it is escaped.
struct Key<'a>(Cow<'a, str>);

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
