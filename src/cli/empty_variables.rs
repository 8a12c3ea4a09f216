//! Empty variables of key services and registries, which count as unset.
//!
//! Manifests and compose files leave variables empty. The vendors' libraries read the environment themselves, and some
//! take an empty variable for a file without a name, so the process goes on without these variables.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// The beginnings of the names of variables that the libraries of key services and registries read.
const PREFIXES: [&str; 11] = [
    "AWS_",
    "AZURE_",
    "CLOUDSDK_",
    "DOCKER_CONFIG",
    "ECS_",
    "GCE_",
    "GOOGLE_",
    "IDENTITY_",
    "KUBERNETES_",
    "MSI_",
    "VAULT_",
];

/// Returns the names of those among `variables`.
pub(super) fn names(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<OsString> {
    variables
        .filter(|(name, value)| value.is_empty() && is_read_by_libraries(name))
        .map(|(name, _)| name)
        .collect()
}

fn is_read_by_libraries(name: &OsStr) -> bool {
    PREFIXES
        .iter()
        .any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_variables_of_services_are_dropped() {
        let variables = [
            ("GOOGLE_APPLICATION_CREDENTIALS", ""),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
            ("AZURE_CLIENT_ID", "id"),
            ("VAULT_ADDR", " "),
            ("NO_COLOR", ""),
            ("DOCKER_CONFIG", ""),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(
            names(variables.into_iter()),
            [
                "GOOGLE_APPLICATION_CREDENTIALS",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "DOCKER_CONFIG"
            ]
        );
    }
}
