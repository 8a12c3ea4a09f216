//! `countersign explain`: how a decision comes about, step by step.

mod advice;
pub(super) mod text;
mod wording;

use serde::Serialize;

use super::image_name::{ImageName, Reading};
use super::judgement::{Answer, UnloggedRecord};
use super::output::{Format, print_for_people, print_json, tell};
use super::question::Question;
use super::requirements::Demand;
use super::{EXIT_UNDECIDED, block_on, chain};
use crate::config::Config;
use crate::decision_log::{Record, SourceReport};
use crate::oci::{Digest, RepositoryName};
use crate::policy::{Coverage, Mode, Policy};
use crate::state::EvidenceSource;
pub(super) use wording::requirements;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign explain --config config.yaml ghcr.io/org/app:v1
  countersign explain --key cosign.pub ghcr.io/org/app:v1
  countersign explain --config config.yaml --output json \\
      ghcr.io/org/app:v1 | jq .advice

Exit status: 0 admitted, 1 refused, 2 cannot be decided, 64 bad usage or configuration.")]
pub(super) struct Arguments {
    /// The image, as for `docker pull` or as a Pod names it behind the proxy.
    image: ImageName,
    #[command(flatten)]
    question: Question,
}

/// Everything there is to say about a decision.
#[derive(Debug, Serialize)]
struct Explanation {
    /// As asked.
    reference: String,
    /// The canonical name.
    repository: RepositoryName,
    /// A sentence about a name that has more than one reading.
    remark: Option<String>,
    /// What was decided about, if it is known.
    digest: Option<Digest>,
    /// `admit`, `deny` or `unavailable`.
    decision: &'static str,
    /// The fixed word of what is not admitted.
    kind: Option<&'static str>,
    /// What the client sees of what is not admitted, or would see if the policy enforced.
    message: Option<String>,
    /// Those that cover the name.
    policies: Vec<PolicyExplanation>,
    /// The names of those that do not.
    other_policies: Vec<String>,
    /// Every source that was asked, to its end.
    sources: Vec<SourceExplanation>,
    /// What would change the outcome.
    advice: Vec<String>,
    /// The record of the decision, with every attempt.
    #[serde(serialize_with = "unlogged")]
    record: Option<Record>,
}

fn unlogged<S: serde::Serializer>(
    record: &Option<Record>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    record.as_ref().map(UnloggedRecord).serialize(serializer)
}

#[derive(Debug, Serialize)]
struct PolicyExplanation {
    name: String,
    mode: &'static str,
    /// The first pattern that covers the name.
    pattern: Option<String>,
    /// What it requires, in words.
    requires: Vec<String>,
    /// Absent where it was not asked: something else decided.
    satisfied: Option<bool>,
}

#[derive(Debug, Serialize)]
struct SourceExplanation {
    repository: RepositoryName,
    #[serde(flatten)]
    report: SourceReport,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    arguments.question.log_to_stderr();
    block_on(explain(&arguments.image, &arguments.question))
}

async fn explain(name: &ImageName, question: &Question) -> u8 {
    let (judgement, reading, config) = match question.judge(name, Demand::Signature).await {
        Ok(judged) => judged,
        Err(code) => return code,
    };
    let (answer, record) = (judgement.answer.clone(), judgement.record.clone());
    let sources = match judgement.all_sources().await {
        Ok(sources) => sources,
        Err(error) => {
            tell(&chain(&error));
            return EXIT_UNDECIDED;
        }
    };
    let explanation = Explanation::new(reading, &config, &answer, record, sources);
    match question.output {
        Format::Json => print_json(&explanation),
        Format::Text => print_for_people(&text::render(&explanation)),
    };
    question.tell_hints(explanation.record.as_ref());
    answer.exit_code()
}

impl Explanation {
    fn new(
        Reading { image, remark, .. }: Reading,
        config: &Config,
        answer: &Answer,
        record: Option<Record>,
        sources: Vec<EvidenceSource>,
    ) -> Self {
        let repository = &image.repository;
        let policies = &config.policies.policies;
        let (covering, others): (Vec<_>, Vec<_>) = policies
            .iter()
            .partition(|policy| policy.coverage.can_cover(repository));
        let (decision, kind, message) = match answer {
            Answer::Admit { warning, .. } => ("admit", None, warning.clone()),
            Answer::Deny { kind, message, .. } => {
                ("deny", Some(kind.as_str()), Some(message.clone()))
            }
            Answer::Undecided { kind, message } => {
                ("unavailable", Some(*kind), Some(message.clone()))
            }
        };
        Self {
            remark,
            digest: match answer {
                Answer::Admit { digest, .. } => Some(*digest),
                Answer::Deny { .. } | Answer::Undecided { .. } => {
                    record.as_ref().and_then(|record| record.digest)
                }
            },
            decision,
            kind,
            message,
            policies: covering
                .into_iter()
                .map(|policy| PolicyExplanation::new(policy, repository, record.as_ref()))
                .collect(),
            other_policies: others.into_iter().map(|it| it.name.clone()).collect(),
            sources: sources.into_iter().map(Into::into).collect(),
            advice: advice::advice(answer, repository, config, record.as_ref()),
            record,
            reference: image.reference.to_string(),
            repository: repository.clone(),
        }
    }
}

impl PolicyExplanation {
    fn new(policy: &Policy, repository: &RepositoryName, record: Option<&Record>) -> Self {
        let pattern = match &policy.coverage {
            Coverage::Names { images, .. } => images
                .iter()
                .find(|pattern| pattern.matches(repository.as_str()))
                .map(ToString::to_string),
            Coverage::Imported(imported) => Some(imported.patterns().join(", ")),
        };
        let report = record.and_then(|record| {
            let mut reports = record.policies.iter();
            reports.find(|report| report.name == policy.name)
        });
        Self {
            name: policy.name.clone(),
            mode: match policy.mode {
                Mode::Enforce => "enforce",
                Mode::Audit => "audit",
            },
            pattern,
            requires: requirements(policy),
            satisfied: report.map(|report| report.satisfied),
        }
    }
}

impl From<EvidenceSource> for SourceExplanation {
    fn from(source: EvidenceSource) -> Self {
        Self {
            repository: source.repository,
            report: source.report,
        }
    }
}
