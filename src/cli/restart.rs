//! The environment that libraries see. They read it themselves, some before `main`, so the process starts itself again where
//! it must be another one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::output::tell;
use super::{allocator, empty_variables};

/// Replaces the process by one with the right environment, with the same arguments and process id. Returns if the
/// environment is right, or cannot be changed.
pub(super) fn with_own_environment() {
    let empty = empty_variables::names(std::env::vars_os());
    let settings = allocator::settings(std::env::args_os().skip(1), std::env::vars_os());
    if empty.is_empty() && settings.is_empty() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let reason = match std::env::current_exe() {
        Ok(program) => {
            let mut command = Command::new(program);
            if let Some(name) = name {
                command.arg0(name);
            }
            for variable in &empty {
                command.env_remove(variable);
            }
            command.args(arguments).envs(settings).exec().to_string()
        }
        Err(_unknown) => "the path of this program is unknown".to_owned(),
    };
    if empty.is_empty() {
        return tell(&format!("cannot set up the allocator: {reason}"));
    }
    let names: Vec<_> = empty.iter().map(|name| name.to_string_lossy()).collect();
    tell(&format!(
        "cannot drop empty variables ({reason}); unset {}",
        names.join(", ")
    ));
}
