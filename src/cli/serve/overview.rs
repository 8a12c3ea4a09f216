//! The picture of a proxy that has started: what is in force, on one screen.

use std::net::SocketAddr;

use jiff::Timestamp;

use crate::config::Config;
use crate::policy::{DefaultAction, Mode};
use crate::trust::RootStatus;

/// Names that are shown of a list; the number tells of the others.
const NAMES_MAX: usize = 6;
/// Trusted roots and routes that are shown, each in a line of its own.
const LINES_MAX: usize = 3;
/// Warnings that are shown.
const WARNINGS_MAX: usize = 6;

/// The configuration of a proxy and the addresses that it listens on.
#[derive(Debug)]
pub(super) struct Overview<'a> {
    pub(super) config: &'a Config,
    pub(super) address: SocketAddr,
    pub(super) admin_address: SocketAddr,
    pub(super) roots: Vec<RootStatus>,
    pub(super) now: Timestamp,
}

impl Overview<'_> {
    /// Logs one line with a field for each thing.
    pub(super) fn log(&self) {
        let config = self.config;
        let roots: Vec<_> = self.roots.iter().map(describe_root).collect();
        tracing::info!(
            listen = %self.address,
            admin_listen = %self.admin_address,
            tls = config.server.tls.is_some(),
            upstreams = config.upstreams.len(),
            routes = config.routes.len(),
            policies_enforce = self.count(Mode::Enforce),
            policies_audit = self.count(Mode::Audit),
            exceptions = self.exceptions(),
            default = self.default(),
            clients = config.clients.is_some(),
            trusted_roots = %roots.join("; "),
            data_dir = %config.data_dir.display(),
            warnings = config.warnings.len(),
            configuration = %config.policies.hash,
            "In force"
        );
    }

    /// The same as text for a terminal, at most 24 lines.
    pub(super) fn render(&self) -> String {
        let config = self.config;
        let mut lines = vec![format!("countersign {}", crate::cli::VERSION)];
        let mut add = |name: &str, value: String| lines.push(format!("  {name:<14} {value}"));
        let scheme = if config.server.tls.is_some() {
            "https"
        } else {
            "http"
        };
        add("registry API", format!("{scheme}://{}", self.address));
        add(
            "admin API",
            format!("http://{} ({})", self.admin_address, self.admin_access()),
        );
        add(
            "upstreams",
            listed(config.upstreams.keys().map(String::as_str)),
        );
        for (name, prefix) in config.routes.iter().take(LINES_MAX) {
            let repository = prefix.repository.iter().map(|it| format!("/{it}"));
            let target: String = std::iter::once(prefix.host.clone())
                .chain(repository)
                .collect();
            add("route", format!("{name} → {target}"));
        }
        if config.routes.len() > LINES_MAX {
            add(
                "",
                format!("and {} more routes", config.routes.len() - LINES_MAX),
            );
        }
        add(
            "policies",
            format!(
                "{} enforce, {} audit; an image without a policy is {}",
                self.count(Mode::Enforce),
                self.count(Mode::Audit),
                match config.policies.default {
                    DefaultAction::Deny => "refused",
                    DefaultAction::Audit => "served (`default: audit`)",
                }
            ),
        );
        if self.exceptions() > 0 {
            add("exceptions", format!("{} in force", self.exceptions()));
        }
        add("clients", self.clients().to_owned());
        for root in self.roots.iter().take(LINES_MAX) {
            add("trusted root", describe_root(root));
        }
        if self.roots.len() > LINES_MAX {
            add(
                "",
                format!("and {} more roots", self.roots.len() - LINES_MAX),
            );
        }
        add("data", config.data_dir.display().to_string());
        add(
            "log",
            "decisions and pulls to standard output, messages here".to_owned(),
        );
        let warnings = &config.warnings;
        for warning in warnings.iter().take(WARNINGS_MAX) {
            add("warning:", warning.to_string());
        }
        if warnings.len() > WARNINGS_MAX {
            let more = warnings.len() - WARNINGS_MAX;
            add("", format!("and {more} more: `countersign policy check`"));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn count(&self, mode: Mode) -> usize {
        let policies = self.config.policies.policies.iter();
        policies.filter(|policy| policy.mode == mode).count()
    }

    fn exceptions(&self) -> usize {
        let exceptions = self.config.policies.exceptions.iter();
        exceptions.filter(|it| it.runs(self.now)).count()
    }

    fn default(&self) -> &'static str {
        match self.config.policies.default {
            DefaultAction::Deny => "deny",
            DefaultAction::Audit => "audit",
        }
    }

    fn clients(&self) -> &'static str {
        match &self.config.clients {
            None => "everybody who reaches the registry API",
            Some(clients) if clients.has_passwords() => "by `clients`, with passwords",
            Some(_) => "by `clients`",
        }
    }

    fn admin_access(&self) -> &'static str {
        match (
            self.admin_address.ip().is_loopback(),
            &self.config.server.admin_token,
        ) {
            (_, Some(_)) => "with the token",
            (true, None) => "for this machine",
            (false, None) => "probes only: no `admin_token`",
        }
    }
}

fn listed<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let count = names.len();
    if count == 0 {
        return "none: nothing can be pulled".to_owned();
    }
    let mut shown: Vec<_> = names.take(NAMES_MAX).map(str::to_owned).collect();
    if count > NAMES_MAX {
        shown.push(format!("and {} more", count - NAMES_MAX));
    }
    shown.join(", ")
}

fn describe_root(root: &RootStatus) -> String {
    let state = match (root.usable, root.age_seconds) {
        (false, _) => format!(
            "not usable: {}",
            root.reason.as_deref().unwrap_or("the reason is unknown")
        ),
        (true, Some(seconds)) => format!("confirmed {} ago", age(seconds)),
        (true, None) => "in force".to_owned(),
    };
    format!("{}, {state} ({})", root.name, root.source)
}

/// Seconds in the largest unit that has at least two of them.
fn age(seconds: u64) -> String {
    for (unit, name) in [(86_400, "days"), (3_600, "hours"), (60, "minutes")] {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} seconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn render(text: &str) -> String {
        let source = Source {
            path: "c.yaml".into(),
            text: text.to_owned(),
        };
        let config = Config::from_sources(&[source], &|_| None)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let overview = Overview {
            config: &config,
            address: "127.0.0.1:5080".parse().unwrap(),
            admin_address: "127.0.0.1:5081".parse().unwrap(),
            roots: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        overview.render()
    }

    #[test]
    fn the_picture_fits_on_a_screen_whatever_is_configured() {
        let hosts: String = (0..40)
            .map(|number| format!("  r{number}.example: {{plain_http: true}}\n"))
            .collect();
        let routes: String = (0..40)
            .map(|number| format!("  route{number}: r{number}.example/org\n"))
            .collect();
        let text = render(&format!("upstreams:\n{hosts}routes:\n{routes}"));
        assert!(text.lines().count() <= 24, "{text}");
        for part in [
            "registry API   http://127.0.0.1:5080",
            "and 34 more",
            "route0 → r0.example/org",
            "and 37 more routes",
            "0 enforce, 0 audit; an image without a policy is refused",
            "everybody who reaches the registry API",
            "more: `countersign policy check`",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn ages_are_told_in_a_unit_that_fits() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
