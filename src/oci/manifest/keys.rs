//! The keys of a manifest and its descriptors, checked in one pass and without trusting any one parser's idea of them.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

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

/// What the document's top level has.
pub(super) struct TopLevel<'a> {
    pub(super) media_type: Option<String>,
    keys: HashSet<Cow<'a, str>>,
    /// The first thing that is wrong with a key, here or in a descriptor.
    wrong: Option<ParseError>,
}

impl<'a> TopLevel<'a> {
    /// Reads `text`, which may have each key once, in the spelling that is known.
    pub(super) fn read(text: &'a str) -> Result<Self, ParseError> {
        let mut top_level: Self = serde_json::from_str(text).map_err(ParseError::Json)?;
        match top_level.wrong.take() {
            Some(wrong) => Err(wrong),
            None => Ok(top_level),
        }
    }

    pub(super) fn forbid(
        &self,
        expected: &'static str,
        others: &[&'static str],
    ) -> Result<(), ParseError> {
        match others.iter().find(|other| self.keys.contains(**other)) {
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

impl<'de> Deserialize<'de> for TopLevel<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TopLevelVisitor)
    }
}

struct TopLevelVisitor;

impl<'de> Visitor<'de> for TopLevelVisitor {
    type Value = TopLevel<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut top_level = TopLevel {
            media_type: None,
            keys: HashSet::new(),
            wrong: None,
        };
        while let Some(Key(key)) = map.next_key()? {
            let wrong = check_key(&key, &top_level.keys, &KNOWN_KEYS).err();
            let wrong_within = match key.as_ref() {
                "config" | "subject" => map.next_value_seed(Keys::OfDescriptor)?,
                "layers" | "manifests" => map.next_value_seed(Keys::OfDescriptors)?,
                "mediaType" => match serde_json::from_str(map.next_value::<&RawValue>()?.get()) {
                    Ok(media_type) => {
                        top_level.media_type = Some(media_type);
                        None
                    }
                    Err(error) => Some(ParseError::Json(error)),
                },
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
            };
            top_level.wrong = top_level.wrong.or(wrong).or(wrong_within);
            top_level.keys.insert(key);
        }
        Ok(top_level)
    }
}

/// Finds the first thing that is wrong with the keys of descriptors. What is no descriptor at all has none; it is
/// refused where it is read as one.
#[derive(Clone, Copy)]
enum Keys {
    OfDescriptor,
    OfDescriptors,
}

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = Option<ParseError>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = Option<ParseError>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut wrong = None;
        match self {
            Self::OfDescriptor => while list.next_element::<IgnoredAny>()?.is_some() {},
            Self::OfDescriptors => {
                while let Some(found) = list.next_element_seed(Self::OfDescriptor)? {
                    wrong = wrong.or(found);
                }
            }
        }
        Ok(wrong)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = HashSet::new();
        let mut wrong = None;
        while let Some(Key(key)) = map.next_key()? {
            map.next_value::<IgnoredAny>()?;
            match self {
                Self::OfDescriptor => {
                    wrong = wrong.or_else(|| check_key(&key, &keys, &DESCRIPTOR_KEYS).err());
                    keys.insert(key);
                }
                Self::OfDescriptors => {}
            }
        }
        Ok(wrong)
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
