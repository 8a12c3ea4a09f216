//! Conditions over attestations in Rego, as cosign and policy-controller evaluate them: `data.sigstore.isCompliant`.
//! ARCHITECTURE lists the differences that remain.

mod functions;
mod verdict;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use regorus::utils::limits::{ExecutionTimerConfig, monotonic_now};
use regorus::{Engine, LimitError, Value};
use serde::Deserialize as _;

use super::condition::{ConditionError, Rule};
use super::fuel::{Fuel, OutOfFuel};

/// A compiled module whose `isCompliant` is asked about each statement. The statement is its `input`.
#[derive(Clone)]
pub struct RegoCondition {
    source: String,
    engine: Engine,
}

/// The module cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegoSyntaxError {
    /// Not a module of the language, in its first version or its present one.
    #[error("not a Rego module: {0}")]
    Parse(String),
    /// Longer than [`RegoCondition::SOURCE_BYTES_MAX`].
    #[error("longer than {} bytes", RegoCondition::SOURCE_BYTES_MAX)]
    TooLong,
    /// Something whose answer does not depend on the statement alone.
    #[error("`{0}` is not available: an answer depends on the statement alone")]
    Impure(&'static str),
    /// A function that the language does not have, or not here.
    #[error("there is no function `{0}`")]
    UnknownFunction(String),
    /// Nothing there that can be asked.
    #[error("there is no `isCompliant` in `package sigstore`")]
    NoRule,
}

/// Functions of the language that look at the world.
const IMPURE: [&str; 6] = [
    "http.send",
    "now_ns",
    "rand.intn",
    "opa.runtime",
    "uuid.rfc4122",
    "net.lookup_ip_addr",
];

const PATH: &str = "sigstore.rego";
const PACKAGE: &str = "data.sigstore";
const RULE: &str = "data.sigstore.isCompliant";

/// The clock is looked at after each step, because one step may call a function that takes long.
const STEPS: NonZeroU32 = NonZeroU32::MIN;

impl RegoCondition {
    /// The most bytes of a module.
    pub const SOURCE_BYTES_MAX: usize = 64 * 1024;
    /// The time for checking a module when it is compiled.
    const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

    /// Compiles `source`.
    ///
    /// # Errors
    /// When it is no module, is too long, looks at more than the statement, or has no `isCompliant`.
    pub fn new(source: &str) -> Result<Self, RegoSyntaxError> {
        if source.len() > Self::SOURCE_BYTES_MAX {
            return Err(RegoSyntaxError::TooLong);
        }
        if let Some(function) = IMPURE.into_iter().find(|it| source.contains(it)) {
            return Err(RegoSyntaxError::Impure(function));
        }
        let engine = parse(source, false).or_else(|newer| {
            // Modules of the first version need no `if`; which error helps depends on which was meant.
            parse(source, true).map_err(|_older| RegoSyntaxError::Parse(newer))
        })?;
        let has_rule = engine
            .get_packages()
            .is_ok_and(|packages| packages.iter().any(|package| package == PACKAGE))
            && source.contains("isCompliant");
        if !has_rule {
            return Err(RegoSyntaxError::NoRule);
        }
        let mut checked = engine.clone();
        checked
            .compile_with_entrypoint(&RULE.into())
            .map_err(|error| RegoSyntaxError::Parse(one_line(&error)))?;
        if let Some(name) = unknown_function(&engine, source)? {
            return Err(RegoSyntaxError::UnknownFunction(name));
        }
        refuse_default(checked)?;
        Ok(Self {
            source: source.to_owned(),
            engine,
        })
    }
}

impl Rule for RegoCondition {
    fn source(&self) -> &str {
        &self.source
    }

    /// Asks `isCompliant` about the statement. `verdict::complies` says which values comply.
    fn evaluate(
        &self,
        statement: &serde_json::Value,
        _now: Timestamp,
        fuel: &Fuel,
    ) -> Result<bool, ConditionError> {
        fuel.pay_for_copy(statement)?;
        let input = Value::deserialize(statement)
            .map_err(|error| ConditionError::Failed(one_line(&error)))?;
        let mut engine = self.engine.clone();
        engine.set_input(input);
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: fuel.left(),
            check_interval: STEPS,
        });
        let started = monotonic_now();
        let outcome = engine.eval_rule(RULE.to_owned());
        pay_for_time_since(started, fuel)?;
        match outcome {
            Ok(outcome) => verdict::complies(&outcome),
            Err(error) if is_out_of_time(&error) => Err(fuel.exhaust().into()),
            Err(error) => Err(ConditionError::Failed(one_line(&error))),
        }
    }

    /// A module that looks at the clock is refused.
    fn depends_on_time(&self) -> bool {
        false
    }
}

/// The evaluator counts no work, so that its time is what is paid for. Its own clock tells the time.
fn pay_for_time_since(started: Option<Duration>, fuel: &Fuel) -> Result<(), OutOfFuel> {
    let taken = started
        .zip(monotonic_now())
        .map(|(start, end)| end.saturating_sub(start));
    fuel.pay(taken.map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)))
}

fn is_out_of_time(error: &(impl AsRef<dyn std::error::Error + Send + Sync> + ?Sized)) -> bool {
    let mut error: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(cause) = error {
        match cause.downcast_ref::<LimitError>() {
            Some(LimitError::TimeLimitExceeded { .. } | LimitError::MemoryLimitExceeded { .. }) => {
                return true;
            }
            Some(LimitError::RegexSizeLimitExceeded { .. }) | None => error = cause.source(),
        }
    }
    false
}

impl std::fmt::Debug for RegoCondition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RegoCondition")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn parse(source: &str, first_version: bool) -> Result<Engine, String> {
    let mut engine = Engine::new();
    engine.set_rego_v0(first_version);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: RegoCondition::CHECK_TIME_MAX,
        check_interval: STEPS,
    });
    functions::add_to(&mut engine).map_err(|error| one_line(&error))?;
    match engine.add_policy(PATH.to_owned(), source.to_owned()) {
        Ok(_package) => Ok(engine),
        Err(error) => Err(one_line(&error)),
    }
}

/// The first function called that there is not. The engine finds out when it gets there, which may be at no pull or at
/// every.
fn unknown_function(engine: &Engine, source: &str) -> Result<Option<String>, RegoSyntaxError> {
    let tree = engine
        .get_ast_as_json()
        .map_err(|error| RegoSyntaxError::Parse(one_line(&error)))?;
    // What is nested too deep to be looked through is left to its evaluation.
    let Ok(tree) = serde_json::from_str(&tree) else {
        return Ok(None);
    };
    let mut called = BTreeSet::new();
    collect_calls(&tree, source, &mut called);
    let is_unknown = |name: &&str| {
        // Called without arguments, every function fails, and says why.
        let mut engine = engine.clone();
        let call = format!("package sigstore\nprobe := {name}()");
        let outcome = engine
            .add_policy("probe.rego".to_owned(), call)
            .and_then(|_package| engine.eval_rule("data.sigstore.probe".to_owned()));
        outcome.is_err_and(|error| one_line(&error).contains("could not find function"))
    };
    Ok(called.into_iter().find(is_unknown).map(str::to_owned))
}

/// The names of functions, as they are written where they are called.
fn collect_calls<'s>(tree: &serde_json::Value, source: &'s str, called: &mut BTreeSet<&'s str>) {
    use serde_json::Value;
    match tree {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(parts) => parts
            .iter()
            .for_each(|it| collect_calls(it, source, called)),
        Value::Object(parts) => {
            if let Some(function) = parts.get("Call").and_then(|call| call.get("fcn")) {
                called.extend(written(function, source));
            }
            parts
                .values()
                .for_each(|it| collect_calls(it, source, called));
        }
    }
}

/// What stands in the source for a name, which is all there is in its node.
fn written<'s>(name: &serde_json::Value, source: &'s str) -> Option<&'s str> {
    let span = name.as_object()?.values().next()?.get("span")?;
    let place = |key: &str| usize::try_from(span.get(key)?.as_u64()?).ok();
    source.get(place("start")?..place("end")?)
}

/// A default that is no value fails every evaluation.
fn refuse_default(mut engine: Engine) -> Result<(), RegoSyntaxError> {
    engine.set_input(Value::new_object());
    match engine.eval_rule(RULE.to_owned()) {
        // Of what is wrong, not of the source that is drawn beside it.
        Err(error) if one_line(&error).contains("default value") => {
            Err(RegoSyntaxError::Parse(one_line(&error)))
        }
        // Anything else may come of there being no statement.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The last line of the crate's drawing says what is wrong.
fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests;
