//! What a policy requires, in words.

use crate::config::PUBLIC_GOOD;
use crate::policy::{
    Authority, AuthoritySigner, IdentityRequirement, Policy, Quantifier, Requirement,
    SignatureRequirement, SignedName,
};

/// What a policy requires, a line for each thing.
pub(in crate::cli) fn requirements(policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    describe_requirement(&policy.requirement, &mut lines);
    match &policy.signed_name {
        SignedName::Any => {}
        SignedName::Repository => {
            lines.push("the name inside the signature is this repository".to_owned());
        }
        SignedName::RepositoryAndTag => lines.push(
            "the name inside the signature is this repository with the tag that is asked for, or with any tag where \
             the digest is"
                .to_owned(),
        ),
        SignedName::Renamed(renaming) => lines.push(format!(
            "the name inside the signature is this repository, with {} in the place of {} where it begins so, and with \
             the tag that is asked for, or with any tag where the digest is",
            renaming.signed_prefix, renaming.prefix
        )),
        SignedName::OtherRepository(repository) => lines.push(format!(
            "the name inside the signature is {repository}, with any tag or none"
        )),
        SignedName::OtherReference(named) => {
            lines.push(format!("the name inside the signature is {named}"));
        }
    }
    if let Some(age) = policy.max_signature_age {
        let age = jiff::SignedDuration::try_from(age).unwrap_or(jiff::SignedDuration::MAX);
        lines.push(format!("signatures no older than {age:#}"));
    }
    lines
}

/// What is required, a line for each thing that must hold.
fn describe_requirement(requirement: &Requirement, lines: &mut Vec<String>) {
    match requirement {
        Requirement::All(of) => of.iter().for_each(|it| describe_requirement(it, lines)),
        Requirement::Signature(signature) => lines.push(signed_by(signature)),
        Requirement::Signers { count, of } => {
            let by: Vec<_> = of.iter().map(|it| describe(&it.authority)).collect();
            let by = by.join(", or ");
            lines.push(match count {
                1 => format!("a signature by {by}"),
                count => format!("signatures by {count} distinct of {by}"),
            });
            let annotations = of.first().map(|it| &it.annotations);
            for (key, value) in annotations.into_iter().flatten() {
                lines.push(format!("the signed annotation {key}={value}"));
            }
        }
        Requirement::Attestation(attestation) => {
            let which = match attestation.quantifier {
                Quantifier::Any => "an",
                Quantifier::All => "at least one and every",
                Quantifier::Newest => "the newest",
            };
            let by = list(&attestation.authorities);
            let mut line = format!("{which} attestation {} by {by}", attestation.predicate_type);
            if attestation.condition.is_some() {
                line.push_str(", meeting its condition");
            }
            lines.push(line);
        }
        Requirement::Nothing => {
            lines.push("nothing: whatever is covered is let through".to_owned())
        }
        Requirement::Refusal { message } => lines.push(format!("refuses everything: {message}")),
        Requirement::Any(of) => lines.push(format!("any of: {}", group(of))),
        Requirement::AtLeast { count, of } => {
            lines.push(format!(
                "at least {count}, by distinct signers, of: {}",
                group(of)
            ));
        }
    }
}

fn group(members: &[Requirement]) -> String {
    let described = members.iter().map(|member| {
        let mut lines = Vec::new();
        describe_requirement(member, &mut lines);
        format!("({})", lines.join(", and "))
    });
    described.collect::<Vec<_>>().join(" ")
}

fn signed_by(signature: &SignatureRequirement) -> String {
    let mut line = format!("a signature by {}", describe(&signature.authority));
    for (key, value) in &signature.annotations {
        line.push_str(&format!(", with the annotation {key}={value}"));
    }
    line
}

fn list(authorities: &[std::sync::Arc<Authority>]) -> String {
    let described: Vec<_> = authorities.iter().map(|it| describe(it)).collect();
    described.join(", or ")
}

/// An authority in a phrase.
fn describe(authority: &Authority) -> String {
    let mut phrase = match &authority.signer {
        AuthoritySigner::Key { reference, keys } => {
            let versions: Vec<_> = keys
                .versions()
                .iter()
                .map(|version| version.key.fingerprint.to_string())
                .collect();
            if versions.is_empty() {
                // Not asked for yet.
                format!("key {reference}")
            } else {
                format!("key {reference} ({})", versions.join(", "))
            }
        }
        AuthoritySigner::Identity(requirement) => describe_identity(requirement),
    };
    if authority.trusted_root_name != PUBLIC_GOOD {
        phrase.push_str(&format!(
            ", under the trusted root {}",
            authority.trusted_root_name
        ));
    }
    if authority.transparency_log {
        phrase.push_str(", in a transparency log");
    }
    if authority.signed_timestamp {
        phrase.push_str(", with a signed timestamp");
    }
    if authority.root_parts.is_some() {
        phrase.push_str(", by logs or timestamp authorities that the policy names");
    }
    let own = |it: &IdentityRequirement| it.certificate_authorities.is_some();
    // Certificates of one's own authorities are in no certificate-transparency log.
    if let AuthoritySigner::Identity(requirement) = &authority.signer
        && authority.sct == own(requirement)
    {
        phrase.push_str(match authority.sct {
            true => ", with an SCT",
            false => ", with or without an SCT",
        });
    }
    phrase
}

fn describe_identity(requirement: &IdentityRequirement) -> String {
    let mut phrase = format!("{} certified", requirement.identity);
    if let Some(issuer) = &requirement.oidc_issuer {
        phrase.push_str(&format!(" for {}", issuer));
    }
    if requirement.certificate_authorities.is_some() {
        phrase.push_str(" by an authority of its own");
    }
    for (name, matcher) in &requirement.extensions {
        phrase.push_str(&format!(
            ", with the certificate extension {name}={}",
            matcher
        ));
    }
    phrase
}
