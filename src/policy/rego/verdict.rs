//! Reads the value of `isCompliant` as policy-controller does with cosign's evaluator (`pkg/cosign/rego/rego.go` of
//! cosign 3, `pkg/webhook/validator.go` of policy-controller).
//!
//! The value is a boolean or a list of verdicts. The first verdict whose `result` is true decides: it complies unless it
//! has a `warning`, which policy-controller counts as a failed attestation. The `error` of a verdict is a message for the
//! case that it does not comply, so modules set it with either result.

use regorus::Value;

use crate::policy::condition::ConditionError;

/// One verdict of the list.
enum Verdict {
    Complies,
    /// The result is true, and the module warns.
    Warns,
    Fails,
}

/// Returns whether the value of `isCompliant` says that the statement complies. An undefined value does not.
///
/// # Errors
/// Returns an error if the value is neither a boolean nor a list of verdicts, or if a verdict that comes before the
/// first true one cannot be read.
pub(super) fn complies(value: &Value) -> Result<bool, ConditionError> {
    match value {
        Value::Bool(met) => Ok(*met),
        Value::Array(verdicts) => first_true(verdicts.iter()),
        Value::Set(verdicts) => first_true(verdicts.iter()),
        Value::Undefined => Ok(false),
        Value::Null => Err(ConditionError::NotBoolean("null")),
        Value::Number(_) => Err(ConditionError::NotBoolean("a number")),
        Value::String(_) => Err(ConditionError::NotBoolean("a string")),
        Value::Object(_) => Err(ConditionError::NotBoolean("an object")),
    }
}

fn first_true<'v>(verdicts: impl Iterator<Item = &'v Value>) -> Result<bool, ConditionError> {
    for verdict in verdicts {
        match Verdict::read(verdict)? {
            Verdict::Complies => return Ok(true),
            Verdict::Warns => return Ok(false),
            Verdict::Fails => {}
        }
    }
    Ok(false)
}

impl Verdict {
    fn read(verdict: &Value) -> Result<Self, ConditionError> {
        let unreadable = |what: &str| ConditionError::Failed(format!("a verdict {what}"));
        let Ok(verdict) = verdict.as_object() else {
            return Err(unreadable("of `isCompliant` is not an object"));
        };
        let (mut result, mut warns) = (false, false);
        for (key, value) in verdict.iter() {
            let Value::String(key) = key else {
                return Err(unreadable("has a key that is not a string"));
            };
            match (key.as_ref(), value) {
                ("result", Value::Bool(said)) => result = *said,
                ("warning", Value::String(text)) => warns = !text.is_empty(),
                ("error", Value::String(_)) | ("result" | "warning" | "error", Value::Null) => {}
                ("result", _) => return Err(unreadable("has a `result` that is not a boolean")),
                ("warning" | "error", _) => {
                    return Err(unreadable("has a message that is not a string"));
                }
                // Go would take it for the key that it resembles.
                (other, _) if resembles_a_key(other) => {
                    return Err(unreadable(&format!(
                        "has the key `{other}`, which differs from a known one only in letter case"
                    )));
                }
                _ => {}
            }
        }
        Ok(match (result, warns) {
            (true, false) => Self::Complies,
            (true, true) => Self::Warns,
            (false, _) => Self::Fails,
        })
    }
}

fn resembles_a_key(key: &str) -> bool {
    ["RESULT", "WARNING", "ERROR"].contains(&key.to_uppercase().as_str())
}
