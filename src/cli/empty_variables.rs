//! Empty variables of key services and registries, which count as unset.
//!
//! Manifests and compose files leave variables empty. The vendors' libraries read the environment themselves, and some
//! take an empty variable for a file without a name, so the process starts itself again without these variables.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::output::tell;

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

/// Replaces the process by one without the empty variables, with the same arguments and process id. Returns if there are
/// none.
pub(super) fn forget() {
    let empty = empty_names(std::env::vars_os());
    if empty.is_empty() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let Ok(program) = std::env::current_exe() else {
        return tell_kept(&empty, "the path of this program is unknown");
    };
    let mut command = Command::new(program);
    if let Some(name) = name {
        command.arg0(name);
    }
    for variable in &empty {
        command.env_remove(variable);
    }
    let error = command.args(arguments).exec();
    tell_kept(&empty, &error.to_string());
}

fn empty_names(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<OsString> {
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

fn tell_kept(names: &[OsString], reason: &str) {
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    tell(&format!(
        "cannot drop empty variables ({reason}); unset {}",
        names.join(", ")
    ));
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
            empty_names(variables.into_iter()),
            [
                "GOOGLE_APPLICATION_CREDENTIALS",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "DOCKER_CONFIG"
            ]
        );
    }
}
