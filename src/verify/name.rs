//! The name that a signer gave the image.

use super::attempt::Refusal;
use super::{FailedCheck, NameDemand};
use crate::oci::{Digest, RepositoryName, Tag};
use crate::signature::{Claim, Content, Signed};

pub(super) fn check(
    signed: &Signed,
    subject: &Digest,
    demand: NameDemand<'_>,
) -> Result<(), Refusal> {
    let name = demand.repository;
    let found = name_in(signed, subject);
    if found.and_then(repository_of).as_ref() == Some(name) {
        return match found {
            Some(found) if demand.complete && !is_complete(found) => Err(Refusal {
                check: FailedCheck::WrongName,
                reason: format!(
                    "the name in the signature is {found}, without the tag that must be signed, too"
                ),
            }),
            Some(_) | None => Ok(()),
        };
    }
    Err(Refusal {
        check: FailedCheck::WrongName,
        reason: match found {
            Some(found) => format!("the name in the signature is {found}, not {name}"),
            None => format!("there is no name in the signature, it must be {name}"),
        },
    })
}

fn name_in<'a>(signed: &'a Signed, subject: &Digest) -> Option<&'a str> {
    match &signed.claim {
        Claim::SimpleSigning(payload) => payload.docker_reference.as_deref(),
        Claim::Statement(statement) => statement
            .subject(subject)
            .map(|subject| subject.name.as_str())
            .filter(|name| !name.is_empty()),
    }
}

/// The tag in the name that a candidate carries, where nothing but the repository is beside it.
pub(super) fn claimed_tag(content: &Content, subject: &Digest) -> Option<Tag> {
    match content {
        Content::Broken(_) => None,
        Content::Signed(signed) => match parts(name_in(signed, subject)?) {
            (_, Some(tag), None) => tag.parse().ok(),
            (_, Some(_), Some(_)) | (_, None, _) => None,
        },
    }
}

/// Whether an image reference has a tag or a digest, and nothing that is neither.
fn is_complete(reference: &str) -> bool {
    let (_, tag, digest) = parts(reference);
    (tag.is_some() || digest.is_some())
        && tag.is_none_or(|tag| tag.parse::<Tag>().is_ok())
        && digest.is_none_or(|digest| digest.parse::<Digest>().is_ok())
}

/// The repository of an image reference: without digest and tag.
fn repository_of(reference: &str) -> Option<RepositoryName> {
    let (name, _tag, _digest) = parts(reference);
    RepositoryName::completed(name).ok()
}

/// Name, tag and digest of an image reference.
fn parts(reference: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag), digest),
        Some(_) | None => (name, None, digest),
    }
}
