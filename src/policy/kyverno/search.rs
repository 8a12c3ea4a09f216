//! The evaluation of `JMESPath` (jmespath.org/specification.html), which pays for its work.
//!
//! The crate parses expressions and has the functions. Its evaluator has no bound, so this one takes its place.

use std::collections::BTreeMap;

use jmespath::ast::Ast;
use jmespath::{Rcvar, Runtime, Variable};
use serde_json::Value;

use super::expression::children;
use crate::policy::fuel::price;
use crate::policy::{ConditionError, Fuel};

/// The functions and the fuel of all searches of one evaluation.
#[derive(Clone, Copy)]
pub(super) struct Search<'s> {
    runtime: &'s Runtime,
    pub(super) fuel: &'s Fuel,
}

type Found = Result<Rcvar, ConditionError>;

impl<'s> Search<'s> {
    pub(super) fn new(runtime: &'s Runtime, fuel: &'s Fuel) -> Self {
        Self { runtime, fuel }
    }

    /// Returns what an expression finds.
    pub(super) fn value(
        &self,
        data: &Rcvar,
        ast: &Ast,
        source: &str,
    ) -> Result<Value, ConditionError> {
        let found = self.find(data, ast, source)?;
        // A value that stands there once may have been found many times.
        self.pay_for(&found, 1)?;
        serde_json::to_value(&*found).map_err(|error| failed(&error))
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of expression")]
    fn find(&self, data: &Rcvar, ast: &Ast, source: &str) -> Found {
        self.fuel.pay(price::NODE)?;
        let find = |data: &Rcvar, ast: &Ast| self.find(data, ast, source);
        Ok(match ast {
            Ast::Identity { .. } => Rcvar::clone(data),
            Ast::Field { name, .. } => data.get_field(name),
            Ast::Literal { value, .. } => Rcvar::clone(value),
            Ast::Index { idx, .. } => match usize::try_from(*idx) {
                Ok(index) => data.get_index(index),
                Err(_of_a_negative) => data
                    .get_negative_index(usize::try_from(idx.unsigned_abs()).unwrap_or(usize::MAX)),
            },
            Ast::Subexpr { lhs, rhs, .. } => find(&find(data, lhs)?, rhs)?,
            Ast::Or { lhs, rhs, .. } => match find(data, lhs)? {
                left if left.is_truthy() => left,
                _ => find(data, rhs)?,
            },
            Ast::And { lhs, rhs, .. } => match find(data, lhs)? {
                left if left.is_truthy() => find(data, rhs)?,
                left => left,
            },
            Ast::Not { node, .. } => new(Variable::Bool(!find(data, node)?.is_truthy())),
            Ast::Condition {
                predicate, then, ..
            } => match find(data, predicate)?.is_truthy() {
                true => find(data, then)?,
                false => new(Variable::Null),
            },
            Ast::Comparison {
                comparator,
                lhs,
                rhs,
                ..
            } => {
                let (left, right) = (find(data, lhs)?, find(data, rhs)?);
                self.pay_for(&left, 1)?;
                let outcome = left.compare(comparator, &right);
                new(outcome.map_or(Variable::Null, Variable::Bool))
            }
            Ast::ObjectValues { node, .. } => match find(data, node)?.as_object() {
                Some(object) => self.list(object.values().map(Rcvar::clone))?,
                None => new(Variable::Null),
            },
            Ast::Projection { lhs, rhs, .. } => match find(data, lhs)?.as_array() {
                Some(elements) => {
                    let mut projected = Vec::new();
                    for element in elements {
                        let part = find(element, rhs)?;
                        if !part.is_null() {
                            projected.push(part);
                        }
                    }
                    new(Variable::Array(projected))
                }
                None => new(Variable::Null),
            },
            Ast::Flatten { node, .. } => match find(data, node)?.as_array() {
                Some(elements) => {
                    let mut flat = Vec::new();
                    for element in elements {
                        let inner = element
                            .as_array()
                            .map_or_else(|| std::slice::from_ref(element), Vec::as_slice);
                        self.fuel
                            .pay(price::ELEMENT * (1 + price::words(inner.len())))?;
                        flat.extend(inner.iter().cloned());
                    }
                    new(Variable::Array(flat))
                }
                None => new(Variable::Null),
            },
            Ast::MultiList { .. } | Ast::MultiHash { .. } if data.is_null() => new(Variable::Null),
            Ast::MultiList { elements, .. } => {
                let elements = elements.iter().map(|it| find(data, it));
                new(Variable::Array(elements.collect::<Result<_, _>>()?))
            }
            Ast::MultiHash { elements, .. } => {
                let entries = elements
                    .iter()
                    .map(|it| Ok((it.key.clone(), find(data, &it.value)?)));
                let entries = entries.collect::<Result<BTreeMap<_, _>, ConditionError>>()?;
                new(Variable::Object(entries))
            }
            Ast::Expref { ast, .. } => new(Variable::Expref(ast.as_ref().clone())),
            Ast::Slice {
                start, stop, step, ..
            } => {
                if *step == 0 {
                    return Err(failed(&"the step of a slice is zero"));
                }
                let length = data.as_array().map_or(0, Vec::len);
                self.fuel.pay(price::ELEMENT * price::words(length))?;
                let part = data.slice(*start, *stop, *step);
                new(part.map_or(Variable::Null, Variable::Array))
            }
            Ast::Function { name, args, offset } => {
                let arguments = args.iter().map(|it| find(data, it));
                let arguments: Vec<_> = arguments.collect::<Result<_, _>>()?;
                self.call(name, &arguments, *offset, source)?
            }
        })
    }

    fn list(&self, elements: impl ExactSizeIterator<Item = Rcvar>) -> Found {
        self.fuel
            .pay(price::ELEMENT * price::words(elements.len()))?;
        Ok(new(Variable::Array(elements.collect())))
    }

    /// Calls a function. It may look at everything that it is given, and evaluate an expression that it is given for
    /// every part of it.
    fn call(&self, name: &str, arguments: &[Rcvar], offset: usize, source: &str) -> Found {
        let Some(function) = self.runtime.get_function(name) else {
            return Err(failed(&format!("there is no function `{name}`")));
        };
        let expressions = arguments.iter().filter_map(|it| it.as_expref());
        let times = 1 + expressions.map(nodes).sum::<u64>();
        for argument in arguments {
            self.pay_for(argument, times)?;
        }
        let mut context = jmespath::Context::new(source, self.runtime);
        context.offset = offset;
        let outcome = function.evaluate(arguments, &mut context);
        self.fuel.check()?;
        outcome.map_err(|error| failed(&error.reason))
    }

    /// Pays for looking at every part of a value so many times.
    fn pay_for(&self, value: &Variable, times: u64) -> Result<(), ConditionError> {
        self.fuel.pay(times.saturating_mul(price::VALUE))?;
        match value {
            Variable::Null | Variable::Bool(_) | Variable::Number(_) | Variable::Expref(_) => {}
            Variable::String(text) => {
                self.fuel
                    .pay(times.saturating_mul(price::read(text.len())))?;
            }
            Variable::Array(items) => {
                for item in items {
                    self.pay_for(item, times)?;
                }
            }
            Variable::Object(entries) => {
                for (key, value) in entries {
                    self.fuel
                        .pay(times.saturating_mul(price::read(key.len())))?;
                    self.pay_for(value, times)?;
                }
            }
        }
        Ok(())
    }
}

/// The parts of an expression.
fn nodes(ast: &Ast) -> u64 {
    1 + children(ast).into_iter().map(nodes).sum::<u64>()
}

fn new(variable: Variable) -> Rcvar {
    Rcvar::new(variable)
}

fn failed(reason: &dyn std::fmt::Display) -> ConditionError {
    ConditionError::Failed(reason.to_string())
}
