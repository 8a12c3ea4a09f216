//! The ways in which a derived input may differ from the one it was made of and still be it. Each is recognised from the
//! bytes of both, never from what the verifier said.

use std::collections::{BTreeMap, BTreeSet};

use super::canonical::{Canonical, Entry, Proof, Shape, read};
use super::world::{Demands, Repository, slots};
use super::{der, ecdsa};

/// Why a derived input proves no less than what it was derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// A signature that suffices is still there, byte for byte; what stands around it, or beside it, is signed by
    /// nobody and only says where to find it.
    Untouched,
    /// The layer's annotations differ in those that nobody reads.
    UnreadAnnotation,
    /// Every value that is signed, hashed or compared is the same; JSON, base64 or PEM spell it another way, or hold
    /// members besides that nobody reads.
    Respelled,
    /// Other certificates came along with the same leaf: they only help to find a way to the trusted root, each step of
    /// which is a signature. Those that came along with the signature of a key help to nothing.
    UntrustedChain,
    /// The hint says another key: the signature is tried with the policy's keys and with no other, whatever it says.
    KeyHint,
    /// Another version of the bundle: it selects whether a promise or a proof is demanded, and that is there.
    BundleVersion,
    /// A log entry or a timestamp is gone that the policy does not demand.
    NotDemanded,
    /// The policy demands no log, and the entry is of one that the trusted root does not have: it proves nothing.
    UnknownLog,
    /// The policy of a key demands no timestamp, and no trusted authority made this one: it proves nothing.
    UnprovenTimestamp,
    /// The timestamp has the same content and the same signature over it; what else its envelope holds is not signed.
    TimestampEnvelope,
    /// Index and time of an entry without a signed entry timestamp are covered by nothing and used for nothing; the
    /// proof has an index of its own.
    UncoveredByPromise,
    /// The checkpoint has the same text and the same line of the log; lines of others are of no concern.
    CheckpointWitness,
    /// (r, n − s) for (r, s): the same key has signed the same bytes. Whoever compares the bytes of the signature (the
    /// log entry, the timestamp) refuses it.
    SignatureTwin,
}

pub(super) type Classes = BTreeSet<Class>;

/// Sets of signatures each of which suffices for a case, as they stand in the corpus.
pub(super) type Sufficient = Vec<Vec<Canonical>>;

/// How these repositories hold what suffices; nothing if they do not.
pub(super) fn classes(
    sufficient: &Sufficient,
    hub: &BTreeMap<String, Repository>,
    demands: &Demands,
) -> Option<Classes> {
    let found: Vec<_> = slots(hub)
        .iter()
        .filter_map(|slot| read(&hub[&slot.repository], slot))
        .collect();
    sufficient
        .iter()
        .filter_map(|set| {
            let each = set.iter().map(|original| {
                found
                    .iter()
                    .filter_map(|derived| compare(original, derived, demands))
                    .min_by_key(|classes| (classes.len(), classes.last().copied()))
            });
            let each: Option<Vec<Classes>> = each.collect();
            Some(each?.into_iter().flatten().collect::<Classes>())
        })
        .min_by_key(|classes| (classes.len(), classes.last().copied()))
}

fn compare(original: &Canonical, derived: &Canonical, demands: &Demands) -> Option<Classes> {
    // Where a policy takes keys and identities, a signature without a certificate counts as a key's.
    let demands = &Demands {
        identity: demands.identity && original.certificate.is_some(),
        ..demands.clone()
    };
    let mut classes = Classes::new();
    if original.raw == derived.raw {
        classes.insert(Class::Untouched);
        return Some(classes);
    }
    if (&original.payload_type, &original.payload) != (&derived.payload_type, &derived.payload) {
        return None;
    }
    classes.extend(shape(original.shape, derived.shape)?);
    classes.extend(signature(&original.signature, &derived.signature)?);
    classes.extend(match (&original.certificate, &derived.certificate) {
        (None, None) => None,
        (Some(original), Some(derived)) => certificate(original, derived)?,
        // A key needs no certificate.
        (Some(_), None) | (None, Some(_)) if !demands.identity => Some(Class::UntrustedChain),
        (Some(_), None) | (None, Some(_)) => return None,
    });
    classes.extend((original.chain != derived.chain).then_some(Class::UntrustedChain));
    classes.extend((original.hint != derived.hint).then_some(Class::KeyHint));
    classes.extend(entries(original, derived, demands)?);
    classes.extend(timestamps(original, derived, demands)?);
    if demands.identity && !has_time(derived) {
        return None;
    }
    if classes.is_empty() {
        let same = (&original.raw.0, &original.raw.1) == (&derived.raw.0, &derived.raw.1);
        let read = |name: &String| {
            name.starts_with("dev.sigstore.cosign/")
                || name.starts_with("dev.cosignproject.cosign/")
        };
        let annotations = |layer: &Canonical| {
            let mut annotations = layer.raw.2.clone();
            annotations.retain(|name, _| read(name));
            annotations
        };
        classes.insert(if same && annotations(original) == annotations(derived) {
            Class::UnreadAnnotation
        } else {
            Class::Respelled
        });
    }
    Some(classes)
}

fn has_time(derived: &Canonical) -> bool {
    !derived.timestamps.is_empty() || derived.entries.iter().any(|entry| entry.promise.is_some())
}

/// `Some(None)`: the same.
fn shape(original: Shape, derived: Shape) -> Option<Option<Class>> {
    match (original, derived) {
        _ if original == derived => Some(None),
        (Shape::Bundle(_), Shape::Bundle(_)) => Some(Some(Class::BundleVersion)),
        _ => None,
    }
}

fn signature(original: &[u8], derived: &[u8]) -> Option<Option<Class>> {
    if original == derived {
        return Some(None);
    }
    (ecdsa::twin(original)? == derived).then_some(Some(Class::SignatureTwin))
}

/// The twin of the issuer's signature makes another certificate that says the same.
fn certificate(original: &[u8], derived: &[u8]) -> Option<Option<Class>> {
    if original == derived {
        return Some(None);
    }
    let (body, algorithm, by) = der::certificate(original)?;
    let (other_body, other_algorithm, other_by) = der::certificate(derived)?;
    if (body, algorithm) != (other_body, other_algorithm) {
        return None;
    }
    signature(by, other_by)
}

fn entries(original: &Canonical, derived: &Canonical, demands: &Demands) -> Option<Classes> {
    let mut classes = Classes::new();
    let must_be_right = demands.transparency_log || demands.identity;
    for entry in &derived.entries {
        let known = original
            .entries
            .iter()
            .find_map(|known| same_entry(known, entry));
        match known {
            Some(found) => classes.extend(found),
            None if !must_be_right && !demands.known_logs.contains(&entry.log) => {
                classes.insert(Class::UnknownLog);
            }
            None => return None,
        }
        let evidence = match derived.shape {
            Shape::SimpleSigning | Shape::Attestation | Shape::Bundle(1) => entry.promise.is_some(),
            Shape::Bundle(_) => entry.proof.is_some(),
        };
        if must_be_right && !evidence {
            return None;
        }
    }
    if derived.entries.len() < original.entries.len() {
        if demands.transparency_log && derived.entries.is_empty() {
            return None;
        }
        classes.insert(Class::NotDemanded);
    }
    Some(classes)
}

fn same_entry(original: &Entry, derived: &Entry) -> Option<Classes> {
    let mut classes = Classes::new();
    if (&original.log, &original.kind, &original.body)
        != (&derived.log, &derived.kind, &derived.body)
    {
        return None;
    }
    match (&original.promise, &derived.promise) {
        (Some(original), Some(derived)) => classes.extend(signature(original, derived)?),
        (Some(_), None) => classes.extend([Class::NotDemanded]),
        (None, None) => {}
        (None, Some(_)) => return None,
    }
    if (original.time, original.index) != (derived.time, derived.index) {
        // Rekor v2 has one index, in the entry and in its proof.
        let has_one_index = original.kind.1 == "0.0.2" && original.kind.0 != "intoto";
        if derived.promise.is_some() || (has_one_index && original.index != derived.index) {
            return None;
        }
        classes.insert(Class::UncoveredByPromise);
    }
    match (&original.proof, &derived.proof) {
        (Some(original), Some(derived)) => classes.extend(same_proof(original, derived)?),
        (Some(_), None) => classes.extend([Class::NotDemanded]),
        (None, None) => {}
        (None, Some(_)) => return None,
    }
    Some(classes)
}

fn same_proof(original: &Proof, derived: &Proof) -> Option<Option<Class>> {
    let but_checkpoint = |proof: &Proof| {
        (
            proof.index,
            proof.size,
            proof.root.clone(),
            proof.hashes.clone(),
        )
    };
    if but_checkpoint(original) != but_checkpoint(derived) {
        return None;
    }
    if original.checkpoint == derived.checkpoint {
        return Some(None);
    }
    let (text, signed) = original.checkpoint.split_once("\n\n")?;
    let (other_text, other_signed) = derived.checkpoint.split_once("\n\n")?;
    if text != other_text {
        return None;
    }
    let first = signed.lines().next()?;
    if other_signed.lines().any(|line| line == first) {
        return Some(Some(Class::CheckpointWitness));
    }
    // The line: a dash, the log's name, and the hint of its key before its signature.
    let key_and_signature = |line: &str| {
        let (_, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = super::canonical::base64(&encoded.into())?;
        Some((bytes.get(..4)?.to_vec(), bytes.get(4..)?.to_vec()))
    };
    let (hint, by) = key_and_signature(first)?;
    other_signed
        .lines()
        .filter_map(key_and_signature)
        .filter(|(other, _)| *other == hint)
        .find_map(|(_, other)| signature(&by, &other))
        .map(|class| class.or(Some(Class::CheckpointWitness)))
}

fn timestamps(original: &Canonical, derived: &Canonical, demands: &Demands) -> Option<Classes> {
    let mut classes = Classes::new();
    for timestamp in &derived.timestamps {
        if original.timestamps.contains(timestamp) {
            continue;
        }
        let same = || {
            let known = &original.timestamps;
            known
                .iter()
                .any(|known| same_timestamp(known, timestamp) == Some(true))
        };
        if same() {
            classes.insert(Class::TimestampEnvelope);
        } else if !demands.identity && !demands.signed_timestamp {
            classes.insert(Class::UnprovenTimestamp);
        } else {
            return None;
        }
    }
    if derived.timestamps.len() < original.timestamps.len() {
        if demands.signed_timestamp && derived.timestamps.is_empty() {
            return None;
        }
        classes.insert(Class::NotDemanded);
    }
    Some(classes)
}

/// Whether content, signed attributes and signature of two timestamp responses are equal (RFC 3161, RFC 5652).
fn same_timestamp(original: &[u8], derived: &[u8]) -> Option<bool> {
    Some(signed_part(original)? == signed_part(derived)?)
}

/// Content type and content, signed attributes, signature.
fn signed_part(response: &[u8]) -> Option<Vec<&[u8]>> {
    let [response] = der::elements(response)?.try_into().ok()?;
    let parts = der::elements(response.content)?;
    let token = parts.get(1)?;
    let [_, wrapped] = der::elements(token.content)?.try_into().ok()?;
    let [signed_data] = der::elements(wrapped.content)?.try_into().ok()?;
    let fields = der::elements(signed_data.content)?;
    let content = fields.get(2)?.whole;
    let signers = fields.last()?;
    let [signer] = der::elements(signers.content)?.try_into().ok()?;
    let mut signed = vec![content];
    let parts = der::elements(signer.content)?;
    signed.extend(
        parts
            .iter()
            .filter(|part| part.tag == 0xa0)
            .map(|part| part.whole),
    );
    signed.extend(
        parts
            .iter()
            .filter(|part| part.tag == 0x04)
            .map(|part| part.whole),
    );
    (signed.len() == 3).then_some(signed)
}
