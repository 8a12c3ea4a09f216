//! `signedIdentity`: which name a signature must carry.

use crate::config::WarningName;
use crate::config::reader::{Field, Reader, Section, describe};
use crate::oci::repository::{canonical_host, looks_like_host};
use crate::oci::{Digest, RepositoryName, Tag, reference};
use crate::policy::SignedName;
use crate::policy::signed_name::{NamedImage, Renaming};

const KEYS: &[&str] = &[
    "type",
    "dockerReference",
    "dockerRepository",
    "prefix",
    "signedPrefix",
];

const MATCH_REPOSITORY: &str = "write {\"type\": \"matchRepository\"} if whatever was signed in the repository may go by any \
                                of its tags: cosign's signatures name the repository alone";

/// Which name the signature must carry; where nothing is said, as `matchRepoDigestOrExact` has it. What can never be met
/// is refused.
pub(super) fn read(section: &Section<'_>, reader: &mut Reader) -> Option<SignedName> {
    let Some(field) = section.get("signedIdentity") else {
        if section.field().has("signedIdentity") {
            reader.problem(
                section.field(),
                "`signedIdentity` is null",
                "remove it, which compares tags, or write {\"type\": \"matchRepository\"}",
            );
            return None;
        }
        return Some(SignedName::RepositoryAndTag);
    };
    let kind = super::super::text_under(&field, "type").unwrap_or_default();
    let identity = field.section(KEYS, reader);
    let further: &[&str] = match kind {
        "matchRepository" | "matchRepoDigestOrExact" => &[],
        "exactReference" => &["dockerReference"],
        "exactRepository" => &["dockerRepository"],
        "remapIdentity" => &["prefix", "signedPrefix"],
        "matchExact" => {
            let problem = "`matchExact` admits nothing by digest, and runtimes ask for the digest of each tag";
            reader.problem(&field, problem, MATCH_REPOSITORY);
            return None;
        }
        _ => {
            reader.problem(
                &field,
                format!("the type `{kind}` is not known here"),
                "write {\"type\": \"matchRepository\"}",
            );
            return None;
        }
    };
    let mut others = KEYS.iter().skip(1).filter(|key| !further.contains(key));
    if let Some(other) = others.find(|key| field.has(key)) {
        reader.problem(
            &field,
            format!("`{kind}` has no key `{other}`"),
            "remove it",
        );
        return None;
    }
    match kind {
        "matchRepository" => Some(SignedName::Repository),
        "exactReference" => read_reference(&identity, reader),
        "exactRepository" => read_repository(&identity, reader),
        "remapIdentity" => read_renaming(&identity, reader),
        _ => Some(SignedName::RepositoryAndTag),
    }
}

fn read_reference(identity: &Section<'_>, reader: &mut Reader) -> Option<SignedName> {
    let help =
        "write a repository with the tag or digest that must have been signed: ghcr.io/org/app:v1";
    let field = identity.required("dockerReference", help, reader)?;
    let named = parse(&field, help, reader)?;
    if named.tag.is_none() && named.digest.is_none() {
        reader.problem(&field, "neither a tag nor a digest", help);
        return None;
    }
    Some(SignedName::OtherReference(named))
}

fn read_repository(identity: &Section<'_>, reader: &mut Reader) -> Option<SignedName> {
    let help = "write the repository that must have been signed: ghcr.io/org/app";
    let field = identity.required("dockerRepository", help, reader)?;
    let named = parse(&field, help, reader)?;
    if named.tag.is_some() || named.digest.is_some() {
        reader.warn(
            &field, WarningName::OnlyRepositoryCompared,
            "only the repository is compared, as containers do: write a type `exactReference` for the whole",
        );
    }
    Some(SignedName::OtherRepository(named.repository))
}

/// An image as people write it: without a host it is Docker Hub's.
fn parse(field: &Field<'_>, help: &str, reader: &mut Reader) -> Option<NamedImage> {
    let (name, tag, digest) = reference::parts(field.text(reader)?);
    let named = || -> Result<NamedImage, Box<dyn std::error::Error>> {
        Ok(NamedImage {
            repository: RepositoryName::completed(name)?,
            tag: tag.map(str::parse::<Tag>).transpose()?,
            digest: digest.map(str::parse::<Digest>).transpose()?,
        })
    };
    match named() {
        Ok(named) => Some(named),
        Err(error) => {
            reader.problem(field, describe(error.as_ref()), help);
            None
        }
    }
}

fn read_renaming(identity: &Section<'_>, reader: &mut Reader) -> Option<SignedName> {
    let help = "write a host, a namespace or a repository in full: docker.io/library";
    let mut prefix = |key: &'static str| {
        let field = identity.required(key, help, reader)?;
        let text = field.text(reader)?.to_owned();
        if is_prefix(&text) {
            return Some((text, field));
        }
        reader.problem(
            &field,
            format!("`{text}` is no beginning of a name, which has a host and is in lower case"),
            help,
        );
        None
    };
    let (prefix, signed_prefix) = (prefix("prefix"), prefix("signedPrefix"));
    let ((prefix, _), (signed_prefix, field)) = (prefix?, signed_prefix?);
    if prefix.contains('/') && !signed_prefix.contains('/') {
        reader.warn(
            &field, WarningName::NameRefused,
            format!(
                "an image that is called just `{prefix}` is refused: `{signed_prefix}` is no name of a repository"
            ),
        );
    }
    Some(SignedName::Renamed(Renaming {
        prefix,
        signed_prefix,
    }))
}

/// Whether canonical names can begin so, up to the end or a slash.
fn is_prefix(text: &str) -> bool {
    let (host, path) = match text.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (text, None),
    };
    looks_like_host(host)
        && canonical_host(host) == Ok(host)
        && path.is_none_or(|path| RepositoryName::new(host, path).is_ok())
}
