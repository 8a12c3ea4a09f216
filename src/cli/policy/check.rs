//! `countersign policy check`.

mod beside;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::explain::requirements;
use crate::cli::output::{Format, print_for_people, print_json, tell};
use crate::cli::{EXIT_NO, EXIT_USAGE, environment};
use crate::config::check::{Checked, check};
use crate::config::{Position, Problem, Warning, WarningName};
use crate::policy::{Mode, Policy};
use beside::Beside;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy check config.yaml
  countersign policy check --strict policies/*.yaml /etc/containers/policy.json
  countersign policy check --output json config.yaml policies/*.yaml | \\
      jq .problems

Configuration files are merged, later ones over earlier ones. Documents are Kyverno's, policy-controller's and
containers'; with a configuration they are read as if it named them under `policy_files`.

What is left out of a document and changes nothing at a pull is a note, and never a reason to refuse it.

Each warning ends with its name in brackets. A configuration acknowledges what is meant, everywhere or in one policy:
`acknowledge: [no-transparency-log]`. Acknowledged warnings are still shown and do not count for --strict, which ends
with its own verdict.

Exit status: 0 usable, 1 problems (with --strict, warnings too), 64 bad usage.")]
pub(super) struct Arguments {
    /// Configuration files and documents of policies.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take warnings for problems, and end with a verdict.
    #[arg(long)]
    strict: bool,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Debug, Serialize)]
struct Report {
    policies: Vec<PolicyReport>,
    #[serde(flatten)]
    beside: Beside,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
    /// What is left out and changes nothing; no warning, however strict.
    notes: Vec<Finding>,
    /// True if nothing is left to do about it; only with `--strict`.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<Strict>,
}

/// The verdict of `--strict`.
#[derive(Debug, Serialize)]
struct Strict {
    clean: bool,
    problems: usize,
    /// Those that are not acknowledged.
    warnings: usize,
    acknowledged: usize,
    notes: usize,
}

/// What is understood of a policy.
#[derive(Debug, Serialize)]
pub(super) struct PolicyReport {
    name: String,
    file: Option<String>,
    line: Option<usize>,
    mode: &'static str,
    covers: Vec<String>,
    excludes: Vec<String>,
    /// Whether tags can make a difference.
    is_about_tags: bool,
    requires: Vec<String>,
    /// Where signatures are looked for besides.
    signature_repositories: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Finding {
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    key: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// The name of a warning, which `acknowledge` takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<bool>,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    if let Some(path) = unreadable(&arguments.files) {
        tell(&format!("{} is not a file", path.display()));
        return EXIT_USAGE;
    }
    let checked = check(&arguments.files, &environment);
    let strict = arguments.strict.then(|| Strict::new(&checked));
    match arguments.output {
        Format::Json => print_json(&Report::new(&checked, arguments.strict)),
        Format::Text => {
            let verdict = strict.as_ref().map(Strict::render).unwrap_or_default();
            print_for_people(&(render(&checked) + &verdict))
        }
    };
    let refused = !checked.problems.is_empty() || strict.is_some_and(|it| !it.clean);
    if refused { EXIT_NO } else { 0 }
}

impl Strict {
    fn new(checked: &Checked) -> Self {
        let acknowledged = checked.warnings.iter().filter(|it| it.is_acknowledged);
        let acknowledged = acknowledged.count();
        let warnings = checked.warnings.len().saturating_sub(acknowledged);
        Self {
            clean: checked.problems.is_empty() && warnings == 0,
            problems: checked.problems.len(),
            warnings,
            acknowledged,
            notes: checked.notes.len(),
        }
    }

    /// One line.
    fn render(&self) -> String {
        if self.clean {
            return "strict: clean\n".to_owned();
        }
        let counts = [
            (self.problems, "problem", "problems"),
            (self.warnings, "warning", "warnings"),
            (
                self.acknowledged,
                "acknowledged warning",
                "acknowledged warnings",
            ),
            (self.notes, "note", "notes"),
        ];
        let counts = counts.into_iter().filter(|(number, _, _)| *number > 0);
        let counts: Vec<_> = counts
            .map(|(number, one, many)| count(number, one, many))
            .collect();
        format!("strict: {}: not clean\n", counts.join(", "))
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

/// The first that cannot be a file.
pub(super) fn unreadable(paths: &[PathBuf]) -> Option<&Path> {
    paths
        .iter()
        .map(PathBuf::as_path)
        .find(|path| !path.is_file())
}

fn render(checked: &Checked) -> String {
    let mut text = String::new();
    for policy in &checked.policies {
        let policy = PolicyReport::new(policy);
        if let (Some(file), Some(line)) = (&policy.file, policy.line) {
            text.push_str(&format!("{file}:{line}: "));
        }
        text.push_str(&format!("policy {} ({})\n", policy.name, policy.mode));
        text.push_str(&format!("  covers {}\n", policy.covers.join(", ")));
        if !policy.excludes.is_empty() {
            text.push_str(&format!("  excludes {}\n", policy.excludes.join(", ")));
        }
        for line in &policy.requires {
            text.push_str(&format!("  requires {line}\n"));
        }
        for repository in &policy.signature_repositories {
            text.push_str(&format!("  looks for signatures in {repository} too\n"));
        }
    }
    text.push_str(&Beside::new(checked).render());
    for note in &checked.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for warning in &checked.warnings {
        let word = if warning.is_acknowledged {
            "acknowledged"
        } else {
            "warning"
        };
        let name = warning.name.map_or("", WarningName::as_str);
        text.push_str(&format!("{word}: {warning} [{name}]\n"));
    }
    for problem in &checked.problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    let strict = Strict::new(checked);
    let acknowledged = match strict.acknowledged {
        0 => String::new(),
        number => format!(" ({number} more acknowledged)"),
    };
    let notes = match checked.notes.len() {
        0 => String::new(),
        number => format!(", {}", count(number, "note", "notes")),
    };
    text.push_str(&format!(
        "{}, {}, {}{acknowledged}{notes}\n",
        count(checked.policies.len(), "policy", "policies"),
        count(checked.problems.len(), "problem", "problems"),
        count(strict.warnings, "warning", "warnings"),
    ));
    text
}

impl Report {
    fn new(checked: &Checked, is_strict: bool) -> Self {
        Self {
            policies: checked
                .policies
                .iter()
                .map(|policy| PolicyReport::new(policy))
                .collect(),
            beside: Beside::new(checked),
            problems: checked.problems.iter().map(Finding::from).collect(),
            warnings: checked.warnings.iter().map(Finding::from).collect(),
            notes: checked.notes.iter().map(Finding::from).collect(),
            strict: is_strict.then(|| Strict::new(checked)),
        }
    }
}

impl PolicyReport {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            file: policy.origin.as_ref().map(|origin| origin.file.clone()),
            line: policy.origin.as_ref().map(|origin| origin.line),
            mode: match policy.mode {
                Mode::Enforce => "enforce",
                Mode::Audit => "audit",
            },
            covers: policy.coverage.patterns(),
            excludes: policy.coverage.excluded(),
            is_about_tags: policy.coverage.is_about_tags(),
            requires: requirements(policy),
            signature_repositories: policy
                .signature_repositories
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl Finding {
    fn new(position: Option<&Position>, key: &str, message: &str, help: Option<&str>) -> Self {
        Self {
            file: position.map(|it| it.file.display().to_string()),
            line: position.map(|it| it.line),
            column: position.map(|it| it.column),
            key: key.to_owned(),
            message: message.to_owned(),
            help: help.map(str::to_owned),
            name: None,
            acknowledged: None,
        }
    }
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        let help = Some(problem.help.as_str());
        Self::new(
            problem.position.as_ref(),
            &problem.key,
            &problem.message,
            help,
        )
    }
}

impl From<&Warning> for Finding {
    fn from(warning: &Warning) -> Self {
        let finding = Self::new(
            warning.position.as_ref(),
            &warning.key,
            &warning.message,
            None,
        );
        Self {
            name: warning.name.map(WarningName::as_str),
            acknowledged: warning.name.map(|_| warning.is_acknowledged),
            ..finding
        }
    }
}

#[cfg(test)]
mod tests;
