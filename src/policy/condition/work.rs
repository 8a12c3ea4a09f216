//! An expression that pays for what evaluating it costs.
//!
//! The evaluator has no bound. A condition is the operator's and the statement is a signer's, so what grows with the
//! statement must be paid for: the steps of loops, and the size of what operators and functions are given. The parts of
//! an expression that cost are therefore wrapped in calls of the functions in [`super::functions`].

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, operators,
};

use super::functions::{KEY, PATTERN, SHARE, SIZED, STEP, TEXT, paying};
use super::patterns::{MATCHES, Written};

/// Functions that look at nothing but the beginning or the type of their operands.
const FREE: [&str; 10] = [
    "type",
    "dyn",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "of",
    "none",
    "ofNonZeroValue",
    "hasValue",
    "value",
];

/// Functions that read texts, and of lists and maps at most their size.
const READING: [&str; 13] = [
    "contains",
    "startsWith",
    "endsWith",
    "size",
    "string",
    "bytes",
    "int",
    "uint",
    "double",
    "bool",
    "timestamp",
    "duration",
    "orValue",
];

/// Makes an expression pay. Returns it with the patterns that it writes out.
pub(super) fn paid(mut expression: IdedExpr) -> (IdedExpr, Written) {
    let mut written = Written::default();
    pay_in(&mut expression, &mut written);
    (expression, written)
}

fn pay_in(expression: &mut IdedExpr, written: &mut Written) {
    match &mut expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => pay_in(&mut select.operand, written),
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                pay_in(target, written);
            }
            for argument in &mut call.args {
                pay_in(argument, written);
            }
            if pay_in_call(call, written) {
                wrap(expression, SHARE);
            }
        }
        Expr::List(list) => {
            pay_in_list(list, written);
            wrap(expression, SHARE);
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                pay_in_entry(&mut entry.expr, written);
            }
            wrap(expression, SHARE);
        }
        Expr::Struct(structure) => {
            for entry in &mut structure.entries {
                pay_in_entry(&mut entry.expr, written);
            }
        }
        Expr::Comprehension(comprehension) => {
            let weight = weight(&comprehension.loop_cond) + weight(&comprehension.loop_step);
            pay_in(&mut comprehension.iter_range, written);
            pay_in(&mut comprehension.loop_cond, written);
            pay_in(&mut comprehension.result, written);
            let gathers = pay_in_step(comprehension, written);
            if gathers {
                // The list that a loop begins with stays as the evaluator knows it.
                if let Expr::List(list) = &mut comprehension.accu_init.expr {
                    pay_in_list(list, written);
                }
            } else {
                pay_in(&mut comprehension.accu_init, written);
            }
            if_paid(stepping_part(comprehension), weight);
            if !matches!(comprehension.accu_init.expr, Expr::Literal(_)) {
                wrap(expression, SHARE);
            }
        }
    }
}

fn pay_in_list(list: &mut ListExpr, written: &mut Written) {
    for element in &mut list.elements {
        pay_in(element, written);
    }
}

fn pay_in_entry(entry: &mut EntryExpr, written: &mut Written) {
    match entry {
        EntryExpr::StructField(field) => pay_in(&mut field.value, written),
        EntryExpr::MapEntry(entry) => {
            pay_in(&mut entry.key, written);
            pay_in(&mut entry.value, written);
            // A text that becomes a key is copied.
            wrap_unless_literal(&mut entry.key, TEXT);
        }
    }
}

/// Makes the call itself pay. Returns true if its value may be large and new.
fn pay_in_call(call: &mut CallExpr, written: &mut Written) -> bool {
    let operands = call.args.len() + usize::from(call.target.is_some());
    let name = call.func_name.as_str();
    match (name, call.args.as_mut_slice()) {
        (operators::INDEX | operators::OPT_INDEX, [_, index]) => {
            wrap_unless_literal(index, KEY);
            return false;
        }
        (
            operators::CONDITIONAL
            | operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::NEGATE
            | operators::NOT_STRICTLY_FALSE
            | operators::OPT_SELECT,
            _,
        ) => return false,
        (MATCHES, _) if operands == 2 => {
            if let Some(target) = call.target.take() {
                call.args.insert(0, *target);
            }
            if let Some(Expr::Literal(LiteralValue::String(source))) =
                call.args.get(1).map(|it| &it.expr)
            {
                written.add(source.inner());
            }
            PATTERN.clone_into(&mut call.func_name);
            return false;
        }
        _ => {}
    }
    if let (Some(paying), 2, None) = (paying(name), call.args.len(), &call.target) {
        paying.clone_into(&mut call.func_name);
        return false;
    }
    if FREE.contains(&name) {
        return false;
    }
    let (price, looks_at_target) = match name {
        // Only as far as the other text goes.
        "startsWith" | "endsWith" => (TEXT, false),
        name if READING.contains(&name) => (TEXT, true),
        _ => (SIZED, true),
    };
    let is_new = matches!(name, "string" | "bytes");
    for argument in &mut call.args {
        wrap_unless_literal(argument, price);
    }
    // A name before the function may be a part of the function's own name.
    if let Some(target) = &mut call.target
        && looks_at_target
        && !matches!(&target.expr, Expr::Ident(name) if name == "optional")
    {
        wrap_unless_literal(target, price);
    }
    is_new
}

/// Makes what a loop does at each step pay. The evaluator knows `map` and `filter` by their shape,
/// `@result + [part]` and `part ? … : @result`, and then does not copy the result at each step. The shape stays.
fn pay_in_step(comprehension: &mut ComprehensionExpr, written: &mut Written) -> bool {
    let accumulator = comprehension.accu_var.clone();
    let is_accumulator =
        |it: &IdedExpr| matches!(&it.expr, Expr::Ident(name) if *name == accumulator);
    let appended = |call: &CallExpr| {
        call.func_name == operators::ADD
            && matches!(call.args.as_slice(), [to, part] if is_accumulator(to) && matches!(part.expr, Expr::List(_)))
    };
    let pay_in_part = |call: &mut CallExpr, written: &mut Written| {
        if let [_, part] = call.args.as_mut_slice()
            && let Expr::List(list) = &mut part.expr
        {
            pay_in_list(list, written);
        }
    };
    if let Expr::Call(step) = &mut comprehension.loop_step.expr {
        if appended(step) {
            pay_in_part(step, written);
            return true;
        }
        if step.func_name == operators::CONDITIONAL
            && let [guard, then, otherwise] = step.args.as_mut_slice()
            && is_accumulator(otherwise)
            && let Expr::Call(then) = &mut then.expr
            && appended(then)
        {
            pay_in(guard, written);
            pay_in_part(then, written);
            return true;
        }
    }
    // `all` and `exists` are known by `&&` and `||` around `@result`, which stay as well.
    pay_in(&mut comprehension.loop_step, written);
    false
}

/// The part that is evaluated at each step, whatever its outcome was before.
fn stepping_part(comprehension: &mut ComprehensionExpr) -> &mut IdedExpr {
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

/// The parts that are evaluated once for each step, without those of loops inside.
fn weight(expression: &IdedExpr) -> i64 {
    let of_entry = |entry: &EntryExpr| match entry {
        EntryExpr::StructField(field) => weight(&field.value),
        EntryExpr::MapEntry(entry) => weight(&entry.key) + weight(&entry.value),
    };
    1 + match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => 0,
        Expr::Select(select) => match &select.operand.expr {
            // A name with its fields is looked up at once.
            Expr::Ident(_) => 0,
            Expr::Unspecified
            | Expr::Literal(_)
            | Expr::Select(_)
            | Expr::Call(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Comprehension(_) => weight(&select.operand),
        },
        Expr::Call(call) => {
            let target = call.target.as_ref().map_or(0, |it| weight(it));
            target + call.args.iter().map(weight).sum::<i64>()
        }
        Expr::List(list) => list.elements.iter().map(weight).sum(),
        Expr::Map(map) => map.entries.iter().map(|it| of_entry(&it.expr)).sum(),
        Expr::Struct(structure) => structure.entries.iter().map(|it| of_entry(&it.expr)).sum(),
        Expr::Comprehension(inner) => {
            weight(&inner.iter_range) + weight(&inner.accu_init) + weight(&inner.result)
        }
    }
}

/// Makes it `@step(weight) ? part : false`.
fn if_paid(part: &mut IdedExpr, weight: i64) {
    let id = part.id;
    let of = |expr| IdedExpr { id, expr };
    let weight = of(Expr::Literal(LiteralValue::Int(weight.into())));
    let step = of(Expr::Call(CallExpr {
        func_name: STEP.to_owned(),
        target: None,
        args: vec![weight],
    }));
    let never = of(Expr::Literal(LiteralValue::Boolean(false.into())));
    let original = std::mem::take(part);
    *part = of(Expr::Call(CallExpr {
        func_name: operators::CONDITIONAL.to_owned(),
        target: None,
        args: vec![step, original, never],
    }));
}

/// Wraps a part that the statement can make large. A literal is the operator's, and small.
fn wrap_unless_literal(part: &mut IdedExpr, function: &str) {
    if !matches!(part.expr, Expr::Literal(_)) {
        wrap(part, function);
    }
}

/// Makes it `function(part)`.
fn wrap(part: &mut IdedExpr, function: &str) {
    let id = part.id;
    let original = std::mem::take(part);
    *part = IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: function.to_owned(),
            target: None,
            args: vec![original],
        }),
    };
}
