//! Conditions over attestations, in the Common Expression Language.

mod checks;
mod functions;
mod numbers;
mod patterns;
mod shared;
mod work;

use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr};
use cel::common::types::{CelBool, CelNull, Kind};
use cel::{Context, Env, IdedExpr, Program, Value};
use jiff::Timestamp;
use numbers::Numbers;
use patterns::Written;

use super::fuel::{Fuel, OutOfFuel, price};

/// Something that is true or false of a signed statement.
pub trait Rule: std::fmt::Debug + Send + Sync {
    /// As written, for messages and for the hash of the policy.
    fn source(&self) -> &str;
    /// Returns true if it is true of `statement`, the whole signed statement, at the time of the decision. It pays from
    /// `fuel` for its work.
    ///
    /// # Errors
    /// When it gives no answer, or the fuel does not suffice. It is then not true.
    fn evaluate(
        &self,
        statement: &serde_json::Value,
        now: Timestamp,
        fuel: &Fuel,
    ) -> Result<bool, ConditionError>;
    /// Whether the same statement may get another answer at another time.
    fn depends_on_time(&self) -> bool;
}

/// A compiled expression over `statement`, the whole signed statement, and `predicate`, its predicate.
#[derive(Debug)]
pub struct Condition {
    source: String,
    /// The same, so that it pays for its work.
    expression: IdedExpr,
    written: Arc<Written>,
    numbers: Numbers,
    /// What it says of every statement, if it looks at none.
    constant: Option<bool>,
}

/// The expression does not compile, or asks for what there is not.
#[derive(Debug, thiserror::Error)]
pub enum ConditionSyntaxError {
    /// Not an expression of the language.
    #[error("not a CEL expression: {}", .0.to_string().trim().replace('\n', " "))]
    Parse(cel::ParseErrors),
    /// Longer than [`Condition::SOURCE_BYTES_MAX`].
    #[error("longer than {} bytes", Condition::SOURCE_BYTES_MAX)]
    TooLong,
    /// Brackets inside brackets, more than [`Condition::DEPTH_MAX`] deep.
    #[error("brackets are nested more than {} deep", Condition::DEPTH_MAX)]
    TooDeep,
    /// A variable that no attestation has.
    #[error("`{0}` is not known; a condition sees `statement` and `predicate`")]
    UnknownVariable(String),
    /// A function that the language does not have.
    #[error("there is no function `{0}`")]
    UnknownFunction(String),
    /// Something other than true or false, whatever is signed.
    #[error("the condition is neither true nor false but {0}")]
    NotBoolean(&'static str),
    /// An expression that looks at nothing signed, and has no answer.
    #[error("the condition never has an answer: {0}")]
    NeverAnswers(ConditionError),
}

/// The condition gave no answer for a statement. It is not met.
#[derive(Debug, thiserror::Error)]
pub enum ConditionError {
    /// A missing key, a wrong type, an unknown function.
    #[error("{0}")]
    Execution(Box<cel::ExecutionError>),
    /// The same in another language than CEL.
    #[error("{0}")]
    Failed(String),
    /// More work than `limits.condition_cpu_time_max` allows for one decision.
    #[error(transparent)]
    OutOfFuel(OutOfFuel),
    /// Something other than true or false.
    #[error("the condition is neither true nor false but {0}")]
    NotBoolean(&'static str),
}

impl Condition {
    /// The most bytes of an expression.
    pub const SOURCE_BYTES_MAX: usize = 16 * 1024;

    /// The most brackets inside each other: reading takes stack for each.
    pub const DEPTH_MAX: usize = 32;

    /// Compiles `source`.
    ///
    /// # Errors
    /// When it is no expression, is too long, refers to a variable other than `statement` and `predicate` or to a
    /// function that there is not, or can be neither true nor false.
    pub fn new(source: &str) -> Result<Self, ConditionSyntaxError> {
        if source.len() > Self::SOURCE_BYTES_MAX {
            return Err(ConditionSyntaxError::TooLong);
        }
        if depth(source) > Self::DEPTH_MAX {
            return Err(ConditionSyntaxError::TooDeep);
        }
        let program = Program::compile(source).map_err(ConditionSyntaxError::Parse)?;
        if let Some(name) = unknown_variable(program.expression(), &mut Vec::new()) {
            return Err(ConditionSyntaxError::UnknownVariable(name.to_owned()));
        }
        if let Some(name) = checks::unknown_function(program.expression()) {
            return Err(ConditionSyntaxError::UnknownFunction(name));
        }
        if let Some(other) = checks::never_boolean(program.expression()) {
            return Err(ConditionSyntaxError::NotBoolean(other));
        }
        let mut condition = Self::paid(
            source.to_owned(),
            program.expression().clone(),
            Numbers::Whole,
        );
        if checks::is_constant(program.expression()) {
            let answer = condition.answer(&serde_json::Value::Null, &Fuel::default());
            condition.constant = Some(answer.map_err(ConditionSyntaxError::NeverAnswers)?);
        }
        Ok(condition)
    }

    /// What it says of every statement, if it looks at none.
    #[must_use]
    pub fn constant(&self) -> Option<bool> {
        self.constant
    }

    /// An expression over `statement` that was put together from a document of another project, whose numbers are all
    /// floating-point, as in Go. `source` is what it is in messages and in the hash of the policy.
    #[must_use]
    pub fn translated(source: String, expression: IdedExpr) -> Self {
        Self::paid(source, expression, Numbers::Floating)
    }

    fn paid(source: String, expression: IdedExpr, numbers: Numbers) -> Self {
        let (expression, written) = work::paid(expression);
        Self {
            source,
            expression,
            written: Arc::new(written),
            numbers,
            constant: None,
        }
    }
}

impl Rule for Condition {
    fn source(&self) -> &str {
        &self.source
    }

    /// `predicate` is null where the statement has none.
    fn evaluate(
        &self,
        statement: &serde_json::Value,
        _now: Timestamp,
        fuel: &Fuel,
    ) -> Result<bool, ConditionError> {
        self.answer(statement, fuel)
    }

    /// An expression has no function that tells the time.
    fn depends_on_time(&self) -> bool {
        false
    }
}

/// The functions of the language.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

impl Condition {
    fn answer(&self, statement: &serde_json::Value, fuel: &Fuel) -> Result<bool, ConditionError> {
        let failed = |error| ConditionError::Execution(Box::new(error));
        // An expression has no more parts than bytes, and those outside of loops are evaluated once.
        fuel.pay(price::read(self.source.len()))?;
        let whole = self.numbers.to_cel(statement, fuel)?;
        let predicate = whole
            .as_indexer()
            .and_then(|it| {
                it.get(&cel::common::types::CelString::from("predicate"))
                    .ok()
            })
            .map_or_else(
                || Box::new(CelNull) as _,
                cel::common::value::CowVal::into_owned,
            );
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        context.add_variable_as_val("predicate", predicate);
        context.add_variable_as_val("statement", whole.clone_as_boxed());
        let added = functions::add_to(&mut context, fuel, &self.written);
        added.map_err(|error| failed(cel::ExecutionError::function_error("fuel", error)))?;
        let outcome = Value::resolve_val(&self.expression, &context);
        fuel.check()?;
        let outcome = outcome.map_err(failed)?;
        if let Some(met) = outcome.downcast_ref::<CelBool>() {
            return Ok(*met.inner());
        }
        let kind = outcome.get_type().kind();
        let numbers = [Kind::Int, Kind::UInt, Kind::Double];
        Err(ConditionError::NotBoolean(if kind == Kind::NullType {
            "null"
        } else if kind == Kind::String || kind == Kind::Type {
            "a string"
        } else if numbers.contains(&kind) {
            "a number"
        } else if kind == Kind::List {
            "a list"
        } else if kind == Kind::Map {
            "a map"
        } else {
            "something else"
        }))
    }
}

/// The variables, and the type names of the language.
const KNOWN_NAMES: [&str; 16] = [
    "statement",
    "predicate",
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
    "optional_type",
];

/// How deep brackets are nested, but for those in texts.
fn depth(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut quote = None;
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '(' | '[' | '{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    deepest
}

/// The first name that neither is known nor bound by a macro such as `all(m, …)` around it.
fn unknown_variable<'e>(expression: &'e IdedExpr, bound: &mut Vec<&'e str>) -> Option<&'e str> {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => None,
        Expr::Ident(name) => {
            // Macros expand to accumulators whose names begin with `@`, which no source can contain.
            let known = name.starts_with('@')
                || KNOWN_NAMES.contains(&name.as_str())
                || bound.contains(&name.as_str());
            (!known).then_some(name)
        }
        Expr::Select(select) => unknown_variable(&select.operand, bound),
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| &**target)
            .chain(&call.args)
            .find_map(|part| unknown_variable(part, bound)),
        Expr::List(list) => list
            .elements
            .iter()
            .find_map(|element| unknown_variable(element, bound)),
        Expr::Map(map) => map
            .entries
            .iter()
            .find_map(|entry| unknown_in_entry(&entry.expr, bound)),
        Expr::Struct(structure) => structure
            .entries
            .iter()
            .find_map(|entry| unknown_in_entry(&entry.expr, bound)),
        Expr::Comprehension(comprehension) => {
            let outside = [&comprehension.iter_range, &comprehension.accu_init];
            if let Some(name) = outside
                .into_iter()
                .find_map(|part| unknown_variable(part, bound))
            {
                return Some(name);
            }
            let bound_outside = bound.len();
            bound.push(&comprehension.iter_var);
            bound.extend(comprehension.iter_var2.as_deref());
            bound.push(&comprehension.accu_var);
            let unknown = [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ]
            .into_iter()
            .find_map(|part| unknown_variable(part, bound));
            bound.truncate(bound_outside);
            unknown
        }
    }
}

fn unknown_in_entry<'e>(entry: &'e EntryExpr, bound: &mut Vec<&'e str>) -> Option<&'e str> {
    match entry {
        EntryExpr::StructField(field) => unknown_variable(&field.value, bound),
        EntryExpr::MapEntry(entry) => {
            unknown_variable(&entry.key, bound).or_else(|| unknown_variable(&entry.value, bound))
        }
    }
}

#[cfg(test)]
mod tests;
