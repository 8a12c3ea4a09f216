//! `attestations`: what may be demanded beside a signature, by name.

use crate::config::WarningName;
use std::collections::BTreeSet;

use super::super::plain;
use super::attestors::read_name;
use super::meaning::NamedAttestation;
use crate::config::attestations::{is_without_scheme, type_of_short_name};
use crate::config::reader::{Field, Reader, Section};

const KEYS: &[&str] = &["name", "intoto", "referrer"];
const TYPE_KEYS: &[&str] = &["type"];

/// The list. One that is not usable has been reported, and is in it for those that name it.
pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Vec<NamedAttestation> {
    let items = field.map(|it| it.items(reader)).unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for item in &items {
        let section = item.section(KEYS, reader);
        let Some(name) = read_name(&section, &mut names, reader) else {
            continue;
        };
        let is_referrer = section.get("referrer").is_some();
        let written = if is_referrer {
            ""
        } else {
            read_type(&section, reader).unwrap_or_default()
        };
        let long = type_of_short_name(written);
        read.push(NamedAttestation {
            name,
            predicate_type: long.unwrap_or(written).to_owned(),
            short: long.is_some(),
            is_referrer,
        });
    }
    read
}

fn read_type<'n>(section: &Section<'n>, reader: &mut Reader) -> Option<&'n str> {
    let help = "write {type: …} with the predicate type, an URI";
    let intoto = section.required("intoto", help, reader)?;
    let intoto = intoto.section(TYPE_KEYS, reader);
    let field = intoto.required("type", help, reader)?;
    let text = plain::non_empty(&field, reader)?;
    if type_of_short_name(text).is_none() && !text.contains("://") && !is_without_scheme(text) {
        reader.warn(
            &field, WarningName::TypeIsNoUri,
            format!("`{text}` is compared as it is with the predicate type of attestations, which is an URI"),
        );
    }
    Some(text)
}
