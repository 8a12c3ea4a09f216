//! The name that a signer gave the image.

use super::attempt::Refusal;
use super::{FailedCheck, NameDemand, NamedVersion};
use crate::oci::{Digest, RepositoryName, Tag, reference};
use crate::signature::{Claim, Content, Signed};

pub(super) fn check(
    signed: &Signed,
    subject: &Digest,
    demand: NameDemand<'_>,
) -> Result<(), Refusal> {
    let wrong = |reason| {
        Err(Refusal {
            check: FailedCheck::WrongName,
            reason,
        })
    };
    let Some(found) = name_in(signed, subject) else {
        return wrong(format!(
            "there is no name in the signature, it must be {}",
            written(demand)
        ));
    };
    let repository = repository_of(found);
    let is_of_repository = repository.is_some_and(|it| it.as_str() == demand.repository);
    match demand.version {
        _ if !is_of_repository => {}
        NamedVersion::Any => return Ok(()),
        NamedVersion::Some if is_complete(found) => return Ok(()),
        NamedVersion::Some => {
            return wrong(format!(
                "the name in the signature is {found}, without the tag that must be signed, too"
            ));
        }
        NamedVersion::Exactly { tag, digest } => {
            let (_, found_tag, found_digest) = reference::parts(found);
            let digest = digest.map(ToString::to_string);
            if found_tag == tag.map(Tag::as_str) && found_digest == digest.as_deref() {
                return Ok(());
            }
        }
    }
    wrong(format!(
        "the name in the signature is {found}, not {}",
        written(demand)
    ))
}

/// What is demanded, as far as it is one name.
fn written(demand: NameDemand<'_>) -> String {
    let mut name = demand.repository.to_owned();
    if let NamedVersion::Exactly { tag, digest } = demand.version {
        name.extend(tag.map(|tag| format!(":{tag}")));
        name.extend(digest.map(|digest| format!("@{digest}")));
    }
    name
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
        Content::Signed(signed) => match reference::parts(name_in(signed, subject)?) {
            (_, Some(tag), None) => tag.parse().ok(),
            (_, Some(_), Some(_)) | (_, None, _) => None,
        },
    }
}

/// Whether an image reference has a tag or a digest, and nothing that is neither.
fn is_complete(name: &str) -> bool {
    let (_, tag, digest) = reference::parts(name);
    (tag.is_some() || digest.is_some())
        && tag.is_none_or(|tag| tag.parse::<Tag>().is_ok())
        && digest.is_none_or(|digest| digest.parse::<Digest>().is_ok())
}

/// The repository of an image reference: without digest and tag.
fn repository_of(name: &str) -> Option<RepositoryName> {
    let (repository, _tag, _digest) = reference::parts(name);
    RepositoryName::completed(repository).ok()
}
