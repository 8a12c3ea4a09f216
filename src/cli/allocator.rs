//! Settings of the C library's allocator, which by default keeps memory that is free again.
//!
//! It raises the size from which a block is mapped on its own, as soon as a large one is freed, and each thread may open a
//! heap of its own. Large documents then stay scattered over many heaps: after an attack, 340 MiB for 75 in use. With these
//! settings large blocks go back at once.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::thread;

/// Heaps at most.
const HEAPS: &str = "MALLOC_ARENA_MAX";
/// The size in bytes from which a block is mapped on its own. Above the pieces in which content is read.
const MAPPED_FROM: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "1048576");
/// The free bytes at the end of a heap that are given back.
const TRIMMED_FROM: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "1048576");

/// Returns the settings that the environment lacks for these arguments. An operator who set one of them has chosen. Other
/// commands than `serve` end soon, and other C libraries do not know the settings.
pub(super) fn settings(
    mut arguments: impl Iterator<Item = OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(&'static str, String)> {
    let serves = arguments.any(|argument| argument == "serve");
    let names = [HEAPS, MAPPED_FROM.0, TRIMMED_FROM.0];
    let is_setting = |name: &OsStr| names.iter().any(|setting| *setting == name);
    let mut variables = variables;
    if !serves || !cfg!(target_env = "gnu") || variables.any(|(name, _)| is_setting(&name)) {
        return Vec::new();
    }
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let fixed = [MAPPED_FROM, TRIMMED_FROM];
    let fixed = fixed.map(|(name, value)| (name, value.to_owned()));
    [(HEAPS, cores.to_string())]
        .into_iter()
        .chain(fixed)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_for(command: &str, variable: &str) -> Vec<&'static str> {
        let arguments = ["countersign", command].map(OsString::from);
        let variables = [(variable.into(), "1".into())];
        let settings = settings(arguments.into_iter(), variables.into_iter());
        settings.into_iter().map(|(name, _)| name).collect()
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn serving_gets_settings_unless_an_operator_chose() {
        let all = [HEAPS, MAPPED_FROM.0, TRIMMED_FROM.0];
        assert_eq!(settings_for("serve", "PATH"), all);
        assert!(settings_for("policy", "PATH").is_empty());
        for name in all {
            assert!(settings_for("serve", name).is_empty(), "{name}");
        }
    }
}
