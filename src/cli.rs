//! The command line.

mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A pull-through registry proxy that serves only what somebody you trust has signed.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(serve::Arguments),
}

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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // A closed terminal is no reason to fail differently.
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
    }
}

impl ConfigFiles {
    fn load(&self) -> Result<crate::config::Config, ExitCode> {
        crate::config::Config::load(&self.config, &environment).map_err(|problems| {
            tell(&problems.to_string());
            ExitCode::from(EXIT_USAGE)
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

/// Tells a person something that is not the command's output.
#[expect(clippy::print_stderr, reason = "a command line talks")]
fn tell(text: &str) {
    eprintln!("countersign: {text}");
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Runs `future` on a runtime with as many threads as there are cores.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, ExitCode> {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => {
            tell(&format!("cannot start: {}", chain(&error)));
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
}
