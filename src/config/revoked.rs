//! `revoked:`

use super::authorities::{read_expression, read_key};
use super::lookalikes;
use super::reader::{Field, Reader};
use crate::oci::Digest;
use crate::oci::digest::Algorithm;
use crate::policy::{Matcher, Revoked, serial_number};

pub(super) const KEYS: &[&str] = &["digests", "keys", "certificates", "identities"];
pub(super) const IDENTITY_KEYS: &[&str] = &["regexp"];

pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Revoked {
    let mut revoked = Revoked::default();
    let Some(section) = field.map(|field| field.section(KEYS, reader)) else {
        return revoked;
    };
    if let Some(field) = section.get("digests") {
        for item in field.items(reader) {
            let help = "write sha256: and 64 lower-case hex digits";
            revoked.digests.extend(item.parse::<Digest>(help, reader));
        }
    }
    if let Some(field) = section.get("keys") {
        for item in field.items(reader) {
            revoked.keys.extend(read_fingerprint(&item, reader));
        }
    }
    if let Some(field) = section.get("certificates") {
        for item in field.items(reader) {
            read_certificate(&item, &mut revoked, reader);
        }
    }
    if let Some(field) = section.get("identities") {
        for item in field.items(reader) {
            revoked
                .identities
                .extend(read_revoked_identity(&item, reader));
        }
    }
    revoked
}

/// `sha256:<hex>` over the SubjectPublicKeyInfo, or the key itself.
fn read_fingerprint(field: &Field<'_>, reader: &mut Reader) -> Option<Digest> {
    let text = field.text(reader)?;
    if !text.starts_with("sha256:") {
        return read_key(field, reader).map(|(_, key)| key.fingerprint);
    }
    let help = "write sha256: and 64 lower-case hex digits, or name a PEM file";
    field
        .parse::<Digest>(help, reader)
        .filter(|digest| digest.algorithm() == Algorithm::Sha256)
}

/// `sha256:<hex>` over the certificate (DER), or its serial number.
fn read_certificate(field: &Field<'_>, revoked: &mut Revoked, reader: &mut Reader) {
    let help = "write sha256: and 64 lower-case hex digits, or 0x and the serial number in hex";
    let Some(text) = field.text(reader) else {
        return;
    };
    if text.starts_with("sha256:") {
        revoked
            .certificates
            .extend(field.parse::<Digest>(help, reader));
        return;
    }
    let is_ambiguous = !text.is_empty() && text.chars().all(|it| it.is_ascii_digit());
    if is_ambiguous {
        let help =
            "write 0x before a serial number in hex; one in decimal must be converted to hex";
        reader.problem(field, "a serial number in hex or in decimal?", help);
        return;
    }
    match serial_number(text.strip_prefix("0x").unwrap_or(text)) {
        Some(serial) => {
            revoked.serial_numbers.insert(serial);
        }
        None => reader.problem(field, "no fingerprint and no serial number", help),
    }
}

fn read_revoked_identity(field: &Field<'_>, reader: &mut Reader) -> Option<Matcher> {
    if field.scalar().is_some() {
        let text = field.text(reader)?;
        if text.is_empty() {
            reader.problem(field, "empty", "write the whole identity");
            return None;
        }
        lookalikes::note_exact(text, field, reader);
        return Some(Matcher::Exact(text.to_owned()));
    }
    let section = field.section(IDENTITY_KEYS, reader);
    let help = "write the identity itself, or {regexp: EXPRESSION}";
    let expression = section.required("regexp", help, reader)?;
    let matcher = read_expression(&expression, reader)?;
    lookalikes::note_revoking(&matcher, &expression, reader);
    Some(matcher)
}
