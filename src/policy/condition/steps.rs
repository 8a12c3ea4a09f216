//! A bound on what one evaluation may cost.
//!
//! The language has no loops but `all`, `exists`, `map` and the like, which can be nested: over a list of a million
//! elements that is too much already at the second level. The evaluator has no bound of its own, so that every step of
//! every loop is made to call a function that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::{Context, ExecutionError, IdedExpr};

/// What every step calls. No source can contain it: names have no `@`.
const STEP: &str = "@step";

/// The steps of one evaluation.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    made: Arc<AtomicU64>,
    max: u64,
}

impl Steps {
    pub(super) fn up_to(max: u64) -> Self {
        Self {
            made: Arc::default(),
            max,
        }
    }

    /// Makes the steps of an expression that [`counted`] made count here.
    pub(super) fn count_in(&self, context: &mut Context<'_, '_>) -> Result<(), ExecutionError> {
        let steps = self.clone();
        let step = move || steps.step();
        context
            .add_function(STEP, step)
            .map_err(|error| ExecutionError::function_error(STEP, error.to_string()))
    }

    /// Whether there were more than allowed. An expression may have swallowed the error: `… || true` is true.
    pub(super) fn are_used_up(&self) -> bool {
        self.made.load(Ordering::Relaxed) > self.max
    }

    fn step(&self) -> Result<bool, ExecutionError> {
        if self.made.fetch_add(1, Ordering::Relaxed) < self.max {
            return Ok(true);
        }
        Err(ExecutionError::function_error(STEP, "too many steps"))
    }
}

/// The same expression with its steps counted.
pub(super) fn counted(mut expression: IdedExpr) -> IdedExpr {
    count(&mut expression);
    expression
}

fn count(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => count(&mut select.operand),
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                count(target);
            }
            call.args.iter_mut().for_each(count);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(count),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                count_entry(&mut entry.expr);
            }
        }
        Expr::Struct(structure) => {
            for entry in &mut structure.entries {
                count_entry(&mut entry.expr);
            }
        }
        Expr::Comprehension(comprehension) => {
            count(&mut comprehension.iter_range);
            count(&mut comprehension.accu_init);
            count(&mut comprehension.loop_cond);
            count(&mut comprehension.loop_step);
            count(&mut comprehension.result);
            if_step(counting_part(comprehension));
        }
    }
}

fn count_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => count(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            count(&mut entry.key);
            count(&mut entry.value);
        }
    }
}

/// What is evaluated at each step. The evaluator knows `map` and `filter` by their shape, `@result + [part]` and
/// `part ? … : @result` under the condition `true`, and runs them without copying the result at each step: the shape is
/// left alone.
fn counting_part(comprehension: &mut ComprehensionExpr) -> &mut IdedExpr {
    let ComprehensionExpr {
        loop_cond,
        loop_step,
        ..
    } = comprehension;
    if !matches!(loop_cond.expr, Expr::Literal(_)) {
        return loop_cond;
    }
    let Expr::Call(call) = &mut loop_step.expr else {
        return loop_cond;
    };
    match (call.func_name.as_str(), call.args.as_mut_slice()) {
        (operators::CONDITIONAL, [guard, ..]) => guard,
        (operators::ADD, [_, added]) => match &mut added.expr {
            Expr::List(list) => list.elements.first_mut().unwrap_or(loop_cond),
            Expr::Unspecified
            | Expr::Literal(_)
            | Expr::Ident(_)
            | Expr::Select(_)
            | Expr::Call(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Comprehension(_) => loop_cond,
        },
        _ => loop_cond,
    }
}

/// Makes it `@step() ? part : false`.
fn if_step(part: &mut IdedExpr) {
    let of = |expr| IdedExpr { id: part.id, expr };
    let step = of(Expr::Call(CallExpr {
        func_name: STEP.to_owned(),
        target: None,
        args: Vec::new(),
    }));
    let never = of(Expr::Literal(LiteralValue::Boolean(false.into())));
    let id = part.id;
    let original = std::mem::take(part);
    *part = IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: operators::CONDITIONAL.to_owned(),
            target: None,
            args: vec![step, original, never],
        }),
    };
}
