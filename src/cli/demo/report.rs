//! What the demo prints.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, presets};

use super::client::Outcome;
use super::tour::{Stop, What};
use super::{CONFIG, Demo};
use crate::cli::output::wrapping_table;

/// Which registry, which proxy, which policies.
pub(super) fn introduction(demo: &Demo) -> String {
    let policies = CONFIG.split_once("\npolicies:\n").map_or("", |(_, it)| it);
    format!(
        "A registry with real cosign signatures, registry.example, is at {}; countersign is in front of it at {}.\n\
         Its policies:\n\n{policies}\n",
        demo.upstream.address, demo.app.address,
    )
}

/// Every pull with its outcome, and then what the refused clients were told.
pub(super) fn tour(stops: &[Stop]) -> String {
    let mut table = wrapping_table(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "registry.example/…", "outcome", "cold", "warm"]);
    for (number, stop) in stops.iter().enumerate() {
        table.add_row([
            Cell::new(number + 1).set_alignment(CellAlignment::Right),
            Cell::new(format!("{}\n{}", image(stop), stop.plan.about)),
            Cell::new(outcome(stop)),
            Cell::new(milliseconds(stop.cold.elapsed)).set_alignment(CellAlignment::Right),
            Cell::new(milliseconds(stop.warm.elapsed)).set_alignment(CellAlignment::Right),
        ]);
    }
    let mut text = table.trim_fmt();
    text.push_str(
        "\n\nWhat the refused clients were told, and a runtime shows (kubectl describe pod):\n\n",
    );
    for (number, stop) in stops.iter().enumerate() {
        if let Outcome::Refused { message, .. } = stop.outcome() {
            // Not wrapped: these are the words that somebody will search for.
            text.push_str(&format!("{:>3}  {message}\n", number + 1));
        }
    }
    text.push_str(&format!("\n{}\n", summary(stops)));
    text
}

/// Where everything is, and what to try.
pub(super) fn what_next(demo: &Demo) -> String {
    let (proxy, admin) = (demo.app.address, demo.app.admin_address);
    let config = demo.config.display();
    let log = if admin.port() == 5081 {
        "countersign log".to_owned()
    } else {
        format!("countersign log --admin http://{admin}")
    };
    format!(
        "
Everything keeps running until Ctrl-C. To try next:

  curl -i http://{proxy}/v2/registry.example/shop/worker/manifests/v1
  crane manifest --insecure {proxy}/registry.example/shop/api:v1
  {log}
  {log} --decision deny --output json
  countersign explain --config {config} registry.example/external-secrets/fork:v1
  countersign verify --config {config} registry.example/shop/api:v1
  curl http://{admin}/metrics
"
    )
}

fn image(stop: &Stop) -> String {
    let full = stop.plan.repository;
    let name = full.strip_prefix("registry.example/").unwrap_or(full);
    let shortened = |digest: &str| digest.chars().take("sha256:".len() + 8).collect::<String>();
    match stop.plan.what {
        What::Image(reference) if reference.contains(':') => {
            format!("{name}@{}…", shortened(reference))
        }
        What::Image(tag) => format!("{name}:{tag}"),
        What::Blob(digest) => format!("{name} {}…", shortened(digest)),
    }
}

/// How it ended; what was expected as well where that differs.
fn outcome(stop: &Stop) -> String {
    if stop.is_as_expected() {
        return format!("✓ {}", stop.plan.expected());
    }
    let got = match stop.outcome() {
        Outcome::Served => "served",
        Outcome::Refused { kind, .. } => kind,
        Outcome::Broken(error) => error,
    };
    format!("✗ {got}\nexpected: {}", stop.plan.expected())
}

fn milliseconds(elapsed: Duration) -> String {
    format!("{:.1} ms", elapsed.as_secs_f64() * 1000.0)
}

fn summary(stops: &[Stop]) -> String {
    let wrong = stops.iter().filter(|stop| !stop.is_as_expected()).count();
    match wrong {
        0 => format!("All {} pulls ended as they should.", stops.len()),
        wrong => format!(
            "{wrong} of {} pulls did not end as they should.",
            stops.len()
        ),
    }
}
