//! The command line.

mod allocator;
mod colour;
mod completions;
mod demo;
mod doctor;
mod empty_variables;
mod explain;
mod help;
mod image;
mod image_name;
mod init;
mod judgement;
mod log;
mod man;
mod output;
mod policy;
mod question;
mod recheck;
mod replay;
mod requirements;
mod restart;
mod serve;
mod verify;
mod verify_attestation;
mod verify_bundle;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::permissions;
use output::tell;

/// A pull-through registry proxy that serves only what somebody you trust has signed.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version = VERSION,
    about,
    max_term_width = 120,
    after_help = "Examples:
  countersign demo                                # see it work, without a network
  countersign serve --config config.yaml
  countersign explain --config config.yaml ghcr.io/org/app:v1
  countersign log --decision deny --since 1h

`countersign COMMAND --help` has examples of each command."
)]
struct Arguments {
    /// Colour in text: auto (at a terminal, unless `NO_COLOR` is set), always or never.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    color: colour::When,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(serve::Arguments),
    /// See it work: a registry with signed and unsigned images, the proxy in front of it, and a tour of pulls.
    Demo(demo::Arguments),
    /// Find out who signs images today, and write a configuration that admits exactly that.
    Init(init::Arguments),
    /// Decide about images, as the proxy would.
    Verify(verify::Arguments),
    /// Decide about images by what somebody attests of them.
    VerifyAttestation(verify_attestation::Arguments),
    /// Decide about one image and tell how the decision came about and what would change it.
    Explain(explain::Arguments),
    /// Verify a Sigstore bundle over a file or digest (the Sigstore client protocol).
    VerifyBundle(verify_bundle::Arguments),
    /// Have a running proxy look at an image again at once, after it was signed.
    Recheck(recheck::Arguments),
    /// Check everything that decisions need, and prove that enforcement enforces.
    Doctor(doctor::Arguments),
    /// Check policies, tell which apply to an image, and test them.
    Policy(policy::Arguments),
    /// Show the verification log.
    Log(log::Arguments),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
    /// Print the manual page, or write the pages of all commands.
    Man(man::Arguments),
}

/// The version, and the commit and date of the build where they are known.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("COUNTERSIGN_BUILD"));

/// No: refused, or does not verify.
const EXIT_NO: u8 = 1;
/// Could not tell.
const EXIT_UNDECIDED: u8 = 2;
/// Bad usage, or a configuration or path that cannot be used (BSD `sysexits`).
pub const EXIT_USAGE: u8 = 64;

/// Configuration files, the same for every command that takes them.
#[derive(Debug, clap::Args)]
struct ConfigFiles {
    /// Configuration file; may be given several times, later files win.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Runs the command line and returns the exit code: 0 yes, 1 no, 2 could not tell, 64 bad usage.
#[must_use]
pub fn run() -> ExitCode {
    restart::with_own_environment();
    let parsed = command().try_get_matches();
    let arguments = match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(refuse(&error)),
    };
    arguments.color.choose();
    ExitCode::from(match &arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Init(arguments) => init::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::VerifyAttestation(arguments) => verify_attestation::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::VerifyBundle(arguments) => verify_bundle::run(arguments),
        Command::Recheck(arguments) => recheck::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Policy(arguments) => policy::run(arguments),
        Command::Log(arguments) => log::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man(arguments) => man::run(arguments),
    })
}

/// The command line.
fn command() -> clap::Command {
    help::fitted(Arguments::command())
}

/// Prints help, the version, or an error in the arguments, and returns the exit code.
fn refuse(error: &clap::Error) -> u8 {
    // A closed terminal is no reason to fail differently.
    drop(error.print());
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(meant) = help::meant(&command(), word)
    {
        tell(&format!("did you mean `countersign {meant}`?"));
    }
    if error.use_stderr() { EXIT_USAGE } else { 0 }
}

impl ConfigFiles {
    /// What the files say. What is wrong with them has been told.
    fn load(&self) -> Result<crate::config::Config, u8> {
        crate::config::Config::load(&self.config, &environment).map_err(|problems| {
            tell(&problems.to_string());
            EXIT_USAGE
        })
    }
}

/// The environment as configuration files may refer to it.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line hands the environment to the configuration"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// An error with everything that caused it, on one line, and the user that runs if access was denied.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if let Some(hint) = permissions::hint(error) {
        text.push_str("; ");
        text.push_str(&hint);
    }
    text
}

/// The stack of each thread, as large as the first thread's: a reload must be able to read every configuration that
/// `policy check` could read, however deep it nests. Only the used part takes memory.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Runs `future` on a runtime with as many threads as there are cores.
fn block_on(future: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => {
            tell(&format!("cannot start: {}", chain(&error)));
            EXIT_USAGE
        }
    }
}

/// SIGTERM and SIGINT, caught: uncaught, they end the process at once.
struct Stopping {
    terminate: Signal,
    interrupt: Signal,
}

impl Stopping {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns on either.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reads a file of at most `bytes_max`.
fn read_file(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        command().debug_assert();
    }

    #[test]
    fn help_wraps_once_at_every_width() {
        for columns in [80, 100, 120] {
            let mut pending = vec![command().term_width(columns)];
            while let Some(mut command) = pending.pop() {
                let help = command.render_long_help().to_string();
                let name = command.get_name().to_owned();
                let lines: Vec<_> = help.lines().collect();
                for pair in lines.windows(2) {
                    let [line, next] = pair else { continue };
                    let is_prose = |line: &str| !line.starts_with(' ') && !line.is_empty();
                    if !is_prose(line) || !is_prose(next) || line.ends_with(':') {
                        continue;
                    }
                    // A line ends early only because the next word does not fit.
                    let word = next.split(' ').next().unwrap_or_default();
                    let filled = line.chars().count() + 1 + word.chars().count();
                    assert!(filled > columns, "{name} at {columns}: {line:?} {next:?}");
                }
                let longest = lines
                    .iter()
                    .map(|line| line.chars().count())
                    .max()
                    .unwrap_or(0);
                assert!(longest <= columns, "{name} at {columns}: {longest}");
                let subcommands = command.get_subcommands().cloned();
                pending.extend(subcommands.map(|it| it.term_width(columns)));
            }
        }
    }

    #[test]
    fn examples_fit_into_eighty_columns() {
        let mut pending = vec![command()];
        while let Some(command) = pending.pop() {
            let help = command.get_after_help().map(ToString::to_string);
            for line in help.unwrap_or_default().lines() {
                if line.starts_with(' ') {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
            pending.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn every_command_has_examples() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|help| help.contains("Examples:")),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn files_are_read_up_to_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(read_file(&path, 4).unwrap(), b"four");
        assert!(read_file(&path, 3).is_err());
    }
}
