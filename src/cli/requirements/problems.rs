//! What is wrong with the rendered configuration, told to somebody who wrote flags.

use crate::config::{Problem, Problems, Warning};

/// The problems of the rendered document, about the flags that were rendered.
pub(super) fn in_terms_of_flags(Problems(problems): Problems) -> Problems {
    let flags = |problem: Problem| Problem {
        position: None,
        key: flag(&problem.key),
        message: as_flags(&problem.message),
        ..problem
    };
    Problems(problems.into_iter().map(flags).collect())
}

/// The same of what is allowed and probably not meant.
pub(super) fn warning_in_terms_of_flags(warning: &Warning) -> Warning {
    Warning {
        position: None,
        key: flag(&warning.key),
        message: as_flags(&warning.message),
        ..warning.clone()
    }
}

/// The flag that was rendered under a key; nothing where none is to blame.
fn flag(key: &str) -> String {
    let key = key.rsplit('.').next().unwrap_or_default();
    match key {
        "file" => "--trusted-root".to_owned(),
        "ca" => "--registry-cacert".to_owned(),
        "plain_http" => "--allow-http-registry".to_owned(),
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
    }
}

fn as_flags(message: &str) -> String {
    message
        .replace("certificate_oidc_issuer", "certificate-oidc-issuer")
        .replace("certificate_identity", "certificate-identity")
        .replace("issuer_regexp", "issuer-regexp")
        .replace("identity_regexp", "identity-regexp")
        .replace("`certificate-", "`--certificate-")
}
