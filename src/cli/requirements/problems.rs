//! What is wrong with the rendered configuration, told to somebody who wrote flags.

use crate::config::{Problem, Problems};

/// The problems of the rendered document, about the flags that were rendered.
pub(super) fn in_terms_of_flags(Problems(problems): Problems) -> Problems {
    let flags = |problem: Problem| {
        let key = problem.key.rsplit('.').next().unwrap_or_default();
        let key = match key {
            "file" => "--trusted-root".to_owned(),
            "ca" => "--registry-cacert".to_owned(),
            "predicate_type" => "--type".to_owned(),
            "key"
            | "certificate_identity"
            | "certificate_identity_regexp"
            | "certificate_oidc_issuer"
            | "certificate_oidc_issuer_regexp"
            | "annotations"
            | "condition" => format!("--{}", key.replace('_', "-")),
            _ if key.starts_with("github_workflow_") => {
                format!("--certificate-{}", key.replace('_', "-"))
            }
            _ => String::new(),
        };
        Problem {
            position: None,
            key,
            message: as_flags(&problem.message),
            ..problem
        }
    };
    Problems(problems.into_iter().map(flags).collect())
}

fn as_flags(message: &str) -> String {
    message
        .replace("certificate_oidc_issuer", "certificate-oidc-issuer")
        .replace("certificate_identity", "certificate-identity")
        .replace("issuer_regexp", "issuer-regexp")
        .replace("identity_regexp", "identity-regexp")
        .replace("`certificate-", "`--certificate-")
}
