//! Turns the identity in a certificate into one that a policy accepts: the same signer at its next release.

use crate::verify::Certificate;

/// The identity part of an authority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AcceptedIdentity {
    pub(super) identity: IdentityMatch,
    pub(super) oidc_issuer: String,
    /// Values that the certificate must have besides, by the names of Fulcio's extensions.
    pub(super) extensions: Vec<(&'static str, String)>,
    /// Why it is written so, one sentence each.
    pub(super) reasons: Vec<String>,
}

/// The identities that are accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum IdentityMatch {
    Exact(String),
    /// An expression for the whole identity.
    Expression(String),
}

/// The part of a workflow's identity between the workflow and the tag it ran for.
const AT_TAG: &str = "@refs/tags/";
const AT_REF: &str = "@refs/";
/// The text between the repository and the workflow, at GitHub and at GitLab.
const BEFORE_WORKFLOW: [&str; 2] = ["/.github/workflows/", "//"];

impl AcceptedIdentity {
    /// The identity of `certificate`. A workflow that ran for a tag is accepted for every tag of the same repository,
    /// because each release has its own. Everything else is accepted as it is.
    pub(super) fn of(certificate: &Certificate) -> Self {
        let identity = &certificate.identity;
        let mut reasons = Vec::new();
        let is_workflow = is_workflow(identity);
        let matched = match identity.split_once(AT_TAG) {
            Some((workflow, _tag)) if is_workflow => {
                reasons.push(
                    "It matches any tag, because each release runs for a tag of its own."
                        .to_owned(),
                );
                IdentityMatch::Expression(format!("{}{AT_TAG}.+", escape(workflow)))
            }
            Some(_) | None => {
                if let Some((_workflow, at)) = identity.split_once(AT_REF).filter(|_| is_workflow) {
                    reasons.push(format!(
                        "It matches refs/{at} alone. Widen it if releases come from other branches too."
                    ));
                }
                IdentityMatch::Exact(identity.clone())
            }
        };
        let mut extensions = Vec::new();
        if is_workflow && let Some((name, value)) = caller(certificate) {
            reasons.push(format!(
                "Other repositories can call this workflow, so the certificate must also be for {value}."
            ));
            extensions.push((name, value));
        }
        Self {
            identity: matched,
            oidc_issuer: certificate.oidc_issuer.clone(),
            extensions,
            reasons,
        }
    }

    /// Tells a workflow from a person.
    pub(super) fn is_workflow(&self) -> bool {
        match &self.identity {
            IdentityMatch::Exact(identity) => is_workflow(identity),
            IdentityMatch::Expression(_) => true,
        }
    }

    /// A short name for the authority.
    pub(super) fn name(&self) -> String {
        let identity = match &self.identity {
            IdentityMatch::Exact(identity) => identity.clone(),
            IdentityMatch::Expression(expression) => expression.replace('\\', ""),
        };
        let workflow = identity.split_once(AT_REF).map(|(workflow, _at)| workflow);
        let name = match (workflow, identity.split_once('@')) {
            (Some(workflow), _) => {
                let file = workflow.rsplit('/').next().unwrap_or_default();
                file.rsplit_once('.').map_or(file, |(stem, _)| stem)
            }
            (None, Some((user, _host))) => user,
            (None, None) => identity.rsplit('/').next().unwrap_or_default(),
        };
        plain_name(name, "signer")
    }
}

/// Tells if an identity is a workflow: an address, and the git ref that it ran for.
fn is_workflow(identity: &str) -> bool {
    identity.starts_with("https://") && identity.contains(AT_REF)
}

/// The repository that a shared workflow ran for: its identity says only where the workflow is kept, and anybody may
/// call a public one (Fulcio, "oid-info", Build Signer URI and Source Repository URI).
fn caller(certificate: &Certificate) -> Option<(&'static str, String)> {
    let (workflow, _at) = certificate.identity.split_once(AT_REF)?;
    let (scheme, rest) = workflow.split_once("://")?;
    let end = BEFORE_WORKFLOW
        .iter()
        .find_map(|before| rest.find(before))?;
    let owner = format!("{scheme}://{}", rest.get(..end)?);
    for (name, value_of_owner) in [
        ("source_repository_uri", Some(owner.as_str())),
        (
            "github_workflow_repository",
            owner.strip_prefix("https://github.com/"),
        ),
    ] {
        if let Some(repository) = certificate.extensions.get(name) {
            let is_other = value_of_owner != Some(repository.as_str());
            return is_other.then(|| (name, repository.clone()));
        }
    }
    None
}

/// Letters, digits and hyphens of `text`, or `otherwise` where there are none.
pub(super) fn plain_name(text: &str, otherwise: &str) -> String {
    let parts = text.split(|character: char| !character.is_ascii_alphanumeric());
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    match parts.is_empty() {
        true => otherwise.to_owned(),
        false => parts.join("-").to_ascii_lowercase(),
    }
}

/// The expression that matches exactly `text`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::oci::Digest;
    use crate::policy::Matcher;

    const GITHUB: &str = "https://token.actions.githubusercontent.com";

    fn certificate(identity: &str, extensions: &[(&str, &str)]) -> Certificate {
        let extensions = extensions.iter();
        Certificate {
            identity: identity.to_owned(),
            oidc_issuer: GITHUB.to_owned(),
            serial: "00".to_owned(),
            fingerprint: Digest::sha256(b""),
            not_before: jiff::Timestamp::UNIX_EPOCH,
            not_after: jiff::Timestamp::UNIX_EPOCH,
            extensions: extensions
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn accepts(accepted: &AcceptedIdentity, identity: &str) -> bool {
        match &accepted.identity {
            IdentityMatch::Exact(exact) => exact == identity,
            IdentityMatch::Expression(expression) => {
                Matcher::expression(expression).unwrap().matches(identity)
            }
        }
    }

    #[test]
    fn workflow_at_a_tag_is_accepted_for_other_tags_alone() {
        let workflow = "https://github.com/org/app.js/.github/workflows/release.yml";
        let accepted =
            AcceptedIdentity::of(&certificate(&format!("{workflow}@refs/tags/v1.2+a"), &[]));
        assert_eq!(accepted.name(), "release");
        assert!(accepts(&accepted, &format!("{workflow}@refs/tags/v2")));
        for other in [
            format!("{workflow}@refs/heads/main"),
            format!("{workflow}@refs/tags/"),
            "https://github.com/org/appxjs/.github/workflows/release.yml@refs/tags/v1".to_owned(),
            "https://github.com/org/app.js/.github/workflows/other.yml@refs/tags/v1".to_owned(),
            format!("https://evil.example/?{workflow}@refs/tags/v1"),
        ] {
            assert!(!accepts(&accepted, &other), "{other}");
        }
    }

    #[test]
    fn branch_mail_address_and_service_account_are_accepted_as_they_are() {
        for (identity, name) in [
            (
                "https://github.com/org/app/.github/workflows/ci.yaml@refs/heads/main",
                "ci",
            ),
            ("keyless@project.iam.gserviceaccount.com", "keyless"),
            ("https://kubernetes.io/namespaces/a/serviceaccounts/b", "b"),
            // Only a workflow runs for a tag.
            ("someone@refs/tags/example.org", "someone"),
        ] {
            let accepted = AcceptedIdentity::of(&certificate(identity, &[]));
            assert_eq!(accepted.identity, IdentityMatch::Exact(identity.to_owned()));
            assert_eq!(accepted.name(), name);
        }
    }

    #[test]
    fn shared_workflow_is_bound_to_the_repository_that_called_it() {
        let shared = "https://github.com/slsa/gen/.github/workflows/container.yml@refs/tags/v2";
        for (name, caller) in [
            ("source_repository_uri", "https://github.com/org/app"),
            ("github_workflow_repository", "org/app"),
        ] {
            let accepted = AcceptedIdentity::of(&certificate(shared, &[(name, caller)]));
            assert_eq!(accepted.extensions, [(name, caller.to_owned())]);
        }
        let own = [
            ("source_repository_uri", "https://github.com/slsa/gen"),
            ("github_workflow_repository", "slsa/gen"),
        ];
        assert!(
            AcceptedIdentity::of(&certificate(shared, &own))
                .extensions
                .is_empty()
        );
        let gitlab = certificate(
            "https://gitlab.com/org/ci//.gitlab-ci.yml@refs/tags/v1",
            &[("source_repository_uri", "https://gitlab.com/org/app")],
        );
        assert_eq!(AcceptedIdentity::of(&gitlab).extensions.len(), 1);
    }
}
