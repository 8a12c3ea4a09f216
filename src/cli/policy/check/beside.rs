//! What decides beside the policies: the default, exceptions and what is revoked.

use serde::Serialize;

use crate::config::check::Checked;
use crate::policy::exception::Scope;
use crate::policy::{DefaultAction, Exception, Matcher, Revoked};

/// What is let through although no policy is satisfied, and what is refused whatever is.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    default: &'static str,
    exceptions: Vec<ExceptionReport>,
    revoked: RevokedReport,
}

#[derive(Debug, Serialize)]
struct ExceptionReport {
    covers: Vec<String>,
    reason: String,
    by: String,
    until: String,
}

#[derive(Debug, Serialize)]
struct RevokedReport {
    digests: Vec<String>,
    keys: Vec<String>,
    certificates: Vec<String>,
    serial_numbers: Vec<String>,
    identities: Vec<String>,
}

impl Beside {
    pub(super) fn new(checked: &Checked) -> Self {
        Self {
            default: match checked.default {
                DefaultAction::Deny => "deny",
                DefaultAction::Audit => "audit",
            },
            exceptions: checked.exceptions.iter().map(|it| (&**it).into()).collect(),
            revoked: (&checked.revoked).into(),
        }
    }

    /// Everything that is not as it would be without a word about it.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        if self.default == "audit" {
            text.push_str("default audit: a name that no policy covers is served\n");
        }
        for exception in &self.exceptions {
            let ExceptionReport {
                covers,
                reason,
                by,
                until,
            } = exception;
            text.push_str(&format!("exception by {by} until {until}: {reason}\n"));
            text.push_str(&format!("  covers {}\n", covers.join(", ")));
        }
        let RevokedReport {
            digests,
            keys,
            certificates,
            serial_numbers,
            identities,
        } = &self.revoked;
        let kinds = [
            ("the digest", digests),
            ("the key", keys),
            ("the certificate", certificates),
            ("the certificate with the serial number", serial_numbers),
            ("the identity", identities),
        ];
        for (kind, revoked) in kinds {
            let lines = revoked.iter().map(|it| format!("revoked {kind} {it}\n"));
            text.extend(lines);
        }
        text
    }
}

impl From<&Exception> for ExceptionReport {
    fn from(exception: &Exception) -> Self {
        Self {
            covers: match &exception.scope {
                Scope::Images(patterns) => sorted(patterns),
                Scope::Digests(digests) => sorted(digests),
            },
            reason: exception.reason.clone(),
            by: exception.by.clone(),
            until: exception.until.to_string(),
        }
    }
}

impl From<&Revoked> for RevokedReport {
    fn from(revoked: &Revoked) -> Self {
        Self {
            digests: sorted(&revoked.digests),
            keys: sorted(&revoked.keys),
            certificates: sorted(&revoked.certificates),
            serial_numbers: sorted(&revoked.serial_numbers),
            identities: revoked.identities.iter().map(Matcher::to_string).collect(),
        }
    }
}

fn sorted<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut values: Vec<_> = values.into_iter().map(|it| it.to_string()).collect();
    values.sort();
    values
}
