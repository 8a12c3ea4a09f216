//! `countersign policy`: policies before they are in force.

mod audit;
mod catalog;
mod check;
mod diff;
mod matching;
mod record;
mod schema;
mod test;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy check --strict config.yaml policies/*.yaml
  countersign policy match policies/*.yaml /etc/containers/policy.json \\
      ghcr.io/org/app:v1
  countersign policy test cases.yaml
  countersign policy record --config config.yaml --to evidence \\
      ghcr.io/org/app:v1
  countersign policy audit --since 7d
  countersign policy diff config.yaml proposed.yaml
  countersign policy catalog")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell what is understood of configuration and policies, and everything that is wrong with them.
    Check(check::Arguments),
    /// Tell which policies apply to an image by their own project's rules.
    Match(matching::Arguments),
    /// Decide about a table of images and compare with what is expected.
    Test(test::Arguments),
    /// Keep what decisions about images are made from, for tests that ask no registry.
    Record(record::Arguments),
    /// Tell what policies that only audit would have refused.
    Audit(audit::Arguments),
    /// Tell what another configuration would have decided about what was pulled.
    Diff(diff::Arguments),
    /// List publishers who sign in public, or print their policies.
    Catalog(catalog::Arguments),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    match &arguments.command {
        Command::Check(arguments) => check::run(arguments),
        Command::Match(arguments) => matching::run(arguments),
        Command::Test(arguments) => test::run(arguments),
        Command::Record(arguments) => record::run(arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Catalog(arguments) => catalog::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn every_command_has_examples() {
        let command = Arguments::augment_args(clap::Command::new("policy"));
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|help| help.contains("Examples:")),
                "{}",
                command.get_name()
            );
        }
    }
}
