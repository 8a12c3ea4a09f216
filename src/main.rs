//! `countersign`: see [`countersign`] for how a request travels, and `countersign --help` for the commands.

fn main() -> std::process::ExitCode {
    countersign::cli::run()
}
