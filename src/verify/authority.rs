//! Certificate authorities of a trusted root: which of them lead down to a certificate, and when.
//!
//! Path building takes every certificate of a trusted root as an anchor, as it is. Whether the anchor and those above it
//! are valid, and how many authorities they allow below them, is no part of it, and is seen to here.

use jiff::Timestamp;
use sigstore_types::TimeRange;
use x509_cert::der::Decode as _;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::KeyError;
use super::algorithm::KeyKind;
use super::issued::Issued;
use crate::signature::{Intermediate, SigningCertificate};

/// A certificate authority: its certificates, and when all of them are valid.
pub(super) struct Authority {
    anchors: Vec<Anchor>,
    valid_for: Option<TimeRange>,
}

/// A certificate of an authority.
struct Anchor {
    certificate: Intermediate,
    /// How many authorities it and those above it allow between it and a leaf; absent when any number may be there,
    /// negative where it may not be there itself.
    room: Option<i32>,
}

/// Why no authority leads down to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAuthority {
    /// None was valid then.
    #[error("the certificate was issued {0}, when no chain to its authority was valid")]
    AtIssue(Timestamp),
    /// None was valid then.
    #[error("the signature was made {0}, when no chain to its authority was valid")]
    AtSigning(Timestamp),
    /// Those that were do not allow so many below them.
    #[error(
        "more authorities stand between the certificate and its root than the path length there allows"
    )]
    PathLength,
}

impl Authority {
    /// The authority with this chain of certificates, in any order.
    pub(super) fn new(chain: Vec<Intermediate>, valid_for: Option<TimeRange>) -> Self {
        let rooms: Vec<_> = chain.iter().map(|it| room(it, &chain)).collect();
        let anchors = chain.into_iter().zip(rooms);
        Self {
            anchors: anchors
                .map(|(certificate, room)| Anchor { certificate, room })
                .collect(),
            valid_for,
        }
    }

    /// Returns an error if no certificate can be verified with any of its keys.
    pub(super) fn unsupported_key(&self) -> Option<KeyError> {
        let mut first = None;
        for anchor in &self.anchors {
            let key = &anchor.certificate.public_key;
            let info = SubjectPublicKeyInfoRef::from_der(key).ok()?;
            let raw = info.subject_public_key.as_bytes().unwrap_or_default();
            match KeyKind::of(&info) {
                Ok(kind) if kind.is_well_formed(raw) => return None,
                Ok(_) => {
                    first = first.or(Some(KeyError(
                        "the key has a form or a size that does not count",
                    )))
                }
                Err(reason) => first = first.or(Some(KeyError(reason))),
            }
        }
        first
    }

    /// Returns true if a certificate of this authority has the key.
    pub(super) fn has_key_of(&self, certificate: &Intermediate) -> bool {
        self.anchors
            .iter()
            .any(|anchor| anchor.certificate.public_key == certificate.public_key)
    }

    pub(super) fn is_valid_at(&self, time: Timestamp) -> bool {
        self.valid_for.is_none_or(|window| window.contains(time))
    }

    fn anchors_at(&self, time: Timestamp) -> impl Iterator<Item = &Anchor> {
        let is_valid = self.is_valid_at(time);
        self.anchors.iter().filter(move |_| is_valid)
    }
}

/// RFC 5280, 4.2.1.9, by the names of those above.
fn room(certificate: &Intermediate, chain: &[Intermediate]) -> Option<i32> {
    let (mut current, mut room) = (certificate, None);
    for above in 0..chain.len() {
        let length = current.path_length.map(i32::from);
        let below = i32::try_from(above).unwrap_or(i32::MAX);
        let left = length.map(|length| length.saturating_sub(below));
        room = match (room, left) {
            (Some(room), Some(left)) => Some(i32::min(room, left)),
            (room, left) => room.or(left),
        };
        let is_issuer = |it: &&Intermediate| it.subject == current.issuer;
        if current.subject == current.issuer {
            break;
        }
        let Some(issuer) = chain.iter().find(is_issuer) else {
            break;
        };
        current = issuer;
    }
    room
}

impl Anchor {
    fn may_have_below(&self, authorities: usize) -> bool {
        let authorities = i32::try_from(authorities).unwrap_or(i32::MAX);
        self.room.is_none_or(|room| authorities <= room)
    }
}

/// Proves that one of the authorities, and every certificate between it and this one, was valid when it was issued and at
/// every time of signing, and allows as many below it.
pub(super) fn check<'t>(
    certificate: &SigningCertificate,
    authorities: &[Authority],
    signed_at: impl IntoIterator<Item = &'t Timestamp>,
) -> Result<(), NoAuthority> {
    let issued_at = certificate.not_before;
    let at_issue = NoAuthority::AtIssue(issued_at);
    leads_to(certificate, authorities, issued_at, at_issue)?;
    signed_at.into_iter().try_for_each(|time| {
        let at_signing = NoAuthority::AtSigning(*time);
        leads_to(certificate, authorities, *time, at_signing)
    })
}

/// That there is a path is known. Which it is matters where certificates came along: as no two of these have the same
/// name, there is one way up through them, and it is left at an anchor whose key signed the last of them.
fn leads_to(
    certificate: &SigningCertificate,
    authorities: &[Authority],
    time: Timestamp,
    not_valid: NoAuthority,
) -> Result<(), NoAuthority> {
    let mut refusal = not_valid;
    let (mut issuer, mut der) = (&certificate.issuer, certificate.der.as_bytes());
    for between in 0..=certificate.intermediates.len() {
        // A trusted root decides alone about its own certificates: until when they count, and how much they may issue.
        let along = certificate.intermediates.iter().find(|it| {
            it.subject == *issuer && !authorities.iter().any(|known| known.has_key_of(it))
        });
        let anchors = authorities.iter().flat_map(|it| it.anchors_at(time));
        for anchor in anchors.filter(|it| it.certificate.subject == *issuer) {
            // A leaf without anything along was signed with the key of an anchor of that name.
            let is_certain = between == 0
                && along.is_none_or(|along| along.der == anchor.certificate.der)
                && have_one_key(authorities, issuer);
            if !is_certain && !is_signed_with(der, &anchor.certificate.public_key) {
                continue;
            }
            if anchor.may_have_below(between) {
                return Ok(());
            }
            refusal = NoAuthority::PathLength;
        }
        let is_valid = |it: &&Intermediate| it.not_before <= time && time <= it.not_after;
        let Some(next) = along.filter(is_valid) else {
            break;
        };
        (issuer, der) = (&next.issuer, next.der.as_bytes());
    }
    Err(refusal)
}

/// Whether all anchors of a name, at whatever time they are valid, have the same key.
fn have_one_key(authorities: &[Authority], name: &[u8]) -> bool {
    let anchors = authorities.iter().flat_map(|it| &it.anchors);
    let mut namesakes = anchors
        .map(|it| &it.certificate)
        .filter(|it| it.subject == name)
        .map(|it| &it.public_key);
    let first = namesakes.next();
    namesakes.all(|key| Some(key) == first)
}

fn is_signed_with(der: &[u8], public_key: &[u8]) -> bool {
    Issued::read(der).is_ok_and(|issued| issued.is_by(public_key))
}
