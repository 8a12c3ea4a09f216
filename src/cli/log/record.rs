//! One decision in full, for people.

use comfy_table::presets;

use super::super::explain::text::{add_step, attempt_lines, source_line};
use super::super::output::wrapping_table;
use super::{client_name, decision, why};
use crate::decision_log::{Outcome, PolicyReport, Record, RefusedClient};

/// At most 100 columns wide.
pub(super) fn render(record: &Record) -> String {
    let mut table = wrapping_table(presets::NOTHING);
    let parts = [
        ("decision", outcome(record)),
        ("image", image(record)),
        ("policies", record.policies.iter().map(policy).collect()),
        (
            "sources",
            record
                .sources
                .iter()
                .map(|it| source_line(it, ""))
                .collect(),
        ),
        ("attempts", attempts(record)),
        ("clients", clients(record)),
        ("made by", maker(record)),
    ];
    for (heading, lines) in parts {
        add_step(&mut table, heading, &lines);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn attempts(record: &Record) -> Vec<String> {
    let mut lines: Vec<_> = record.attempts.iter().flat_map(attempt_lines).collect();
    if record.left_out > 0 {
        lines.push(format!(
            "{} more attempts and policies are not listed, because the record would be too long",
            record.left_out
        ));
    }
    lines
}

fn outcome(record: &Record) -> Vec<String> {
    let mut lines = vec![
        format!("{} ({})", decision(record), why(record)),
        format!("{} at {:.0}", record.id, record.time),
    ];
    lines.extend(record.denial.as_ref().map(|denial| denial.message.clone()));
    if record.stale {
        lines.push(
            "from evidence that is older than it should be: the upstream could not be asked"
                .to_owned(),
        );
    }
    lines
}

fn image(record: &Record) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, requested by {}",
        record.repository, record.reference
    )];
    lines.extend(record.digest.map(|digest| digest.to_string()));
    lines.extend(record.media_type.clone());
    if let Some(previous) = record.previous_digest {
        lines.push(format!("the tag pointed at {previous} before"));
    }
    if let Some(parent) = record.endorsed_by {
        lines.push(format!("listed by the admitted index {parent}"));
    }
    lines
}

fn policy(policy: &PolicyReport) -> String {
    let satisfied = if policy.satisfied {
        "satisfied"
    } else {
        "not satisfied"
    };
    let authorities: Vec<_> = policy
        .authorities
        .iter()
        .map(|authority| {
            let mark = if authority.satisfied { "yes" } else { "no" };
            format!("{}: {mark}", authority.name)
        })
        .collect();
    if authorities.is_empty() {
        return format!("{}: {satisfied}", policy.name);
    }
    format!("{}: {satisfied} ({})", policy.name, authorities.join(", "))
}

fn clients(record: &Record) -> Vec<String> {
    let mut lines = match &record.clients {
        Some(clients) => clients.iter().map(refused_client).collect(),
        None => vec![client_name(&record.client).unwrap_or("unknown").to_owned()],
    };
    let pulls = record.pulls();
    let pulls = if pulls == 1 {
        "1 pull".to_owned()
    } else {
        format!("{pulls} pulls")
    };
    let verb = match record.decision {
        Outcome::Admit => "served",
        Outcome::Deny => "refused",
        Outcome::Unavailable => "answered",
    };
    lines.push(format!("{pulls} {verb} by this decision"));
    lines
}

fn refused_client(refused: &RefusedClient) -> String {
    let client = &refused.client;
    let name = client_name(client).unwrap_or("other clients");
    let address = client.address.as_deref().filter(|it| *it != name);
    let address = address.map_or_else(String::new, |address| format!(" from {address}"));
    let agent = client.user_agent.as_deref();
    let agent = agent.map_or_else(String::new, |agent| format!(" with {agent}"));
    format!(
        "{name}{address}{agent}: {} times, last at {:.0}",
        refused.count, refused.last
    )
}

fn maker(record: &Record) -> Vec<String> {
    vec![
        format!("{}, countersign {}", record.replica, record.verifier),
        format!("configuration {}", record.configuration),
        format!("in {:.1} ms", record.timing_ms.total),
    ]
}
