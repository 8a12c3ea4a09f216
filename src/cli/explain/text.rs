//! An explanation for people.

use comfy_table::{Cell, Table, presets};

use super::super::output::wrapping_table;
use super::super::verify::signer;
use super::{Explanation, PolicyExplanation, SourceExplanation};
use crate::decision_log::{AttemptOutcome, AttemptReport, SourceOutcome, SourceReport};
use crate::oci::Digest;
use crate::signature::{Format, Source};

/// Other policies that are named; of more, the number is told.
const OTHER_POLICIES_NAMED: usize = 5;

/// At most 100 columns wide.
pub(super) fn render(explanation: &Explanation) -> String {
    let mut table = wrapping_table(presets::NOTHING);
    let steps = [
        ("image", image(explanation)),
        ("policies", policies(explanation)),
        ("sources", sources(&explanation.sources)),
        ("attempts", attempts(explanation)),
        ("decision", decision(explanation)),
        ("to change it", explanation.advice.clone()),
    ];
    for (number, (step, lines)) in steps.into_iter().enumerate() {
        add_step(&mut table, &format!("{}. {step}", number + 1), &lines);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Adds a heading with its lines beside it.
pub(in crate::cli) fn add_step(table: &mut Table, step: &str, lines: &[String]) {
    for (index, line) in lines.iter().enumerate() {
        let heading = if index == 0 { step } else { "" };
        table.add_row([Cell::new(heading), Cell::new(line)]);
    }
}

fn image(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, asked for by {}",
        explanation.repository, explanation.reference
    )];
    lines.extend(explanation.remark.clone());
    let digest = explanation.digest.map(|digest| digest.to_string());
    lines.extend(digest.filter(|digest| *digest != explanation.reference));
    let media_type = explanation
        .record
        .as_ref()
        .and_then(|it| it.media_type.clone());
    lines.extend(media_type);
    if let Some(parent) = explanation.record.as_ref().and_then(|it| it.endorsed_by) {
        lines.push(format!("listed by the admitted index {parent}"));
    }
    lines
}

fn policies(explanation: &Explanation) -> Vec<String> {
    let mut lines: Vec<_> = explanation.policies.iter().flat_map(policy).collect();
    if lines.is_empty() {
        lines.push("none covers this name".to_owned());
    }
    let others = &explanation.other_policies;
    if !others.is_empty() {
        let named = others.iter().take(OTHER_POLICIES_NAMED);
        let mut named: Vec<_> = named.map(String::as_str).collect();
        let more = others.len().saturating_sub(OTHER_POLICIES_NAMED);
        let more = format!("{more} more");
        if others.len() > OTHER_POLICIES_NAMED {
            named.push(&more);
        }
        lines.push(format!("not covering it: {}", named.join(", ")));
    }
    lines
}

fn policy(policy: &PolicyExplanation) -> Vec<String> {
    let state = match policy.satisfied {
        Some(true) => "satisfied",
        Some(false) => "not satisfied",
        None => "not asked",
    };
    let covers = policy.pattern.as_deref().unwrap_or_default();
    let mut lines = vec![format!(
        "{} ({}, covers {covers}): {state}",
        policy.name, policy.mode
    )];
    let requires = policy.requires.iter();
    lines.extend(requires.map(|line| format!("- requires {line}")));
    lines
}

fn sources(sources: &[SourceExplanation]) -> Vec<String> {
    if sources.is_empty() {
        return vec!["none was asked".to_owned()];
    }
    let several = sources
        .iter()
        .any(|source| Some(&source.repository) != sources.first().map(|first| &first.repository));
    let line = |source: &SourceExplanation| {
        let place = if several {
            format!(" in {}", source.repository)
        } else {
            String::new()
        };
        source_line(&source.report, &place)
    };
    sources.iter().map(line).collect()
}

/// One source and its outcome; `place` follows its name.
pub(in crate::cli) fn source_line(report: &SourceReport, place: &str) -> String {
    let outcome = match report.outcome {
        SourceOutcome::Found => format!("found {}", report.found),
        SourceOutcome::None => "none".to_owned(),
        SourceOutcome::Failed => "failed".to_owned(),
    };
    let reason = report.reason.as_deref();
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}{place}: {outcome}{reason}", source_name(report.source))
}

fn attempts(explanation: &Explanation) -> Vec<String> {
    let attempts = explanation.record.iter().flat_map(|it| &it.attempts);
    let lines: Vec<_> = attempts.flat_map(attempt_lines).collect();
    if lines.is_empty() {
        let mut sources = explanation.sources.iter();
        let found = sources.any(|source| source.report.found > 0);
        let none = if found {
            "none is recorded with this decision"
        } else {
            "none: there was no signature to try"
        };
        return vec![none.to_owned()];
    }
    lines
}

/// One attempt: the artifact, the outcome, the signer, and the times that prove when.
pub(in crate::cli) fn attempt_lines(attempt: &AttemptReport) -> Vec<String> {
    let format = match attempt.format {
        Format::SimpleSigning => "cosign signature",
        Format::Bundle => "Sigstore bundle",
    };
    let what = match &attempt.predicate_type {
        Some(predicate_type) => format!("{format} ({predicate_type})"),
        None => format.to_owned(),
    };
    let outcome = match attempt.outcome {
        AttemptOutcome::Verified => "verified".to_owned(),
        AttemptOutcome::Failed => format!(
            "failed, {}: {}",
            attempt.kind.as_deref().unwrap_or_default(),
            attempt.reason.as_deref().unwrap_or_default()
        ),
    };
    let mut lines = vec![
        format!(
            "{what} {} from the {}",
            short(&attempt.artifact),
            source_name(attempt.source)
        ),
        format!("- for authority {}: {outcome}", attempt.authority),
    ];
    let is_verified = attempt.outcome == AttemptOutcome::Verified;
    // What a key attempt names is the key that was tried: only if it verified, that is who signed.
    let claimed = attempt.certificate.as_ref().filter(|certificate| {
        let reason = attempt.reason.as_deref().unwrap_or_default();
        !reason.contains(&certificate.identity)
    });
    if let Some(signer) = signer(attempt)
        && (is_verified || claimed.is_some())
    {
        let verb = if is_verified {
            "signed by"
        } else {
            "claims to be by"
        };
        lines.push(format!("- {verb} {signer}"));
    }
    if let Some(log) = &attempt.transparency_log {
        let time = log.integrated_time;
        let time = time.map_or_else(String::new, |time| format!(" at {time:.0}"));
        lines.push(format!("- log entry {}{time}", log.log_index));
    }
    if let Some(time) = attempt.signed_timestamp {
        lines.push(format!("- timestamp {time:.0}"));
    }
    lines
}

fn decision(explanation: &Explanation) -> Vec<String> {
    let kind = explanation.kind.unwrap_or_default();
    let mut lines = vec![match explanation.decision {
        "admit" => "admitted".to_owned(),
        "deny" => format!("refused ({kind})"),
        _ => format!("cannot be decided ({kind})"),
    }];
    lines.extend(explanation.message.clone());
    lines
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::CosignTag => "cosign tag",
        Source::Referrers => "referrers API",
        Source::ReferrersTag => "referrers tag",
    }
}

/// Enough of a digest to recognise it.
fn short(digest: &Digest) -> String {
    digest
        .to_string()
        .chars()
        .take("sha256:".len() + 12)
        .collect()
}
