//! `conditions` of an attestation.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jmespath::{Rcvar, Variable};
use serde_json::{Value, json};

use super::expression::{SyntaxError, Template};
use super::functions;
use super::operator::{self, Operator};
use super::patterns::Patterns;
use super::search::Search;
use crate::policy::{ConditionError, Fuel, Rule};

/// Blocks of comparisons over the predicate of an attestation; all blocks must hold.
#[derive(Debug)]
pub struct Conditions {
    source: String,
    blocks: Vec<Block>,
    patterns: Arc<Patterns>,
}

/// `{any: […], all: […]}`
#[derive(Debug)]
pub struct Block {
    /// One of these must hold; where the list is there, and empty, nothing does.
    pub any: Option<Vec<Comparison>>,
    /// All of these must.
    pub all: Vec<Comparison>,
}

/// `{key, operator, value}`
#[derive(Debug)]
pub struct Comparison {
    /// The left side.
    pub key: Operand,
    /// How it is compared.
    pub operator: Operator,
    /// The right side.
    pub value: Operand,
}

/// A value of which texts may contain `{{ expressions }}`.
#[derive(Debug, Clone)]
pub struct Operand {
    written: Value,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Constant,
    Text(Template),
    List(Vec<Operand>),
}

impl Operand {
    /// Checks a value as it is written. `context` are names of variables that the policy defines and a pull does not
    /// have.
    ///
    /// # Errors
    /// When an expression in it is not usable at a pull.
    pub fn new(written: Value, context: &BTreeSet<String>) -> Result<Self, SyntaxError> {
        let form = match &written {
            Value::String(text) => {
                let template = Template::parse(text, context)?;
                if template.is_constant() {
                    Form::Constant
                } else {
                    Form::Text(template)
                }
            }
            Value::Array(items) => {
                let items = items.iter().map(|item| Self::new(item.clone(), context));
                Form::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(_) if written.to_string().contains("{{") => {
                return Err(SyntaxError::InMapping);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Form::Constant,
        };
        Ok(Self { written, form })
    }

    /// Whether it is a range of numbers (`1-10`).
    #[must_use]
    pub fn is_range(&self) -> bool {
        matches!((&self.form, &self.written), (Form::Constant, Value::String(text)) if operator::is_range(text))
    }

    /// The value, if no expression is in it.
    #[must_use]
    pub fn constant(&self) -> Option<&Value> {
        match &self.form {
            Form::Constant => Some(&self.written),
            Form::List(items) => {
                let mut items = items.iter();
                items
                    .all(|it| it.constant().is_some())
                    .then_some(&self.written)
            }
            Form::Text(_) => None,
        }
    }

    fn depends_on_time(&self) -> bool {
        match &self.form {
            Form::Constant => false,
            Form::Text(template) => template.depends_on_time(),
            Form::List(items) => items.iter().any(Self::depends_on_time),
        }
    }

    /// Collects the texts that its expressions write out.
    fn collect_texts(&self, texts: &mut BTreeSet<String>) {
        match &self.form {
            Form::Constant => {}
            Form::Text(template) => template.collect_texts(texts),
            Form::List(items) => items.iter().for_each(|it| it.collect_texts(texts)),
        }
    }

    fn resolve(&self, predicate: &Rcvar, search: &Search<'_>) -> Result<Value, ConditionError> {
        match &self.form {
            Form::Constant => Ok(self.written.clone()),
            Form::Text(template) => template.resolve(predicate, search),
            Form::List(items) => {
                let items = items.iter().map(|item| item.resolve(predicate, search));
                items.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
        }
    }
}

impl Block {
    fn comparisons(&self) -> impl Iterator<Item = &Comparison> {
        self.any.iter().flatten().chain(&self.all)
    }
}

impl Comparison {
    /// What comes of it, if no expression is in it.
    #[must_use]
    pub fn constant(&self) -> Option<bool> {
        let (key, value) = (self.key.constant()?, self.value.constant()?);
        self.operator.holds(key, value, &Fuel::default()).ok()
    }
}

impl Conditions {
    /// The conditions; `source` is what they are in messages and in the hash of the policy.
    #[must_use]
    pub fn new(blocks: Vec<Block>) -> Self {
        let source: Vec<_> = blocks.iter().map(describe).collect();
        let source = Value::Array(source).to_string();
        let comparisons = blocks.iter().flat_map(Block::comparisons);
        let operands = comparisons.flat_map(|it| [&it.key, &it.value]);
        let mut texts = BTreeSet::new();
        operands.for_each(|it| it.collect_texts(&mut texts));
        Self {
            source,
            blocks,
            patterns: Arc::new(Patterns::written(texts)),
        }
    }
}

impl Rule for Conditions {
    fn source(&self) -> &str {
        &self.source
    }

    /// The fields of the predicate are the variables of every expression. What an expression asks for and is not there
    /// leaves the whole without an answer, as in Kyverno: its texts are replaced before the first comparison is made.
    fn evaluate(
        &self,
        statement: &Value,
        now: Timestamp,
        fuel: &Fuel,
    ) -> Result<bool, ConditionError> {
        let Some(predicate @ Value::Object(_)) = statement.get("predicate") else {
            return Err(ConditionError::Failed(
                "the predicate is no mapping".to_owned(),
            ));
        };
        fuel.pay_for_copy(predicate)?;
        let predicate = Variable::try_from(predicate)
            .map_err(|error| ConditionError::Failed(error.reason.to_string()))?;
        let predicate = Rcvar::new(predicate);
        let runtime = functions::runtime(now, fuel, &self.patterns);
        let search = Search::new(&runtime, fuel);
        let mut met = true;
        for block in &self.blocks {
            let holds = |comparison: &Comparison| -> Result<bool, ConditionError> {
                let key = comparison.key.resolve(&predicate, &search)?;
                let value = comparison.value.resolve(&predicate, &search)?;
                Ok(comparison.operator.holds(&key, &value, fuel)?)
            };
            let outcomes = |comparisons: &[Comparison]| -> Result<Vec<bool>, ConditionError> {
                comparisons.iter().map(holds).collect()
            };
            if let Some(any) = &block.any {
                met &= outcomes(any)?.contains(&true);
            }
            met &= !outcomes(&block.all)?.contains(&false);
        }
        fuel.check()?;
        Ok(met)
    }

    fn depends_on_time(&self) -> bool {
        let mut comparisons = self.blocks.iter().flat_map(Block::comparisons);
        comparisons.any(|it| it.key.depends_on_time() || it.value.depends_on_time())
    }
}

fn describe(block: &Block) -> Value {
    let describe = |comparisons: &[Comparison]| -> Vec<Value> {
        let comparisons = comparisons.iter().map(|comparison| {
            json!([
                comparison.key.written,
                format!("{:?}", comparison.operator),
                comparison.value.written
            ])
        });
        comparisons.collect()
    };
    json!({ "any": block.any.as_deref().map(describe), "all": describe(&block.all) })
}
