//! What can be told of a condition before there is a statement.

use cel::common::ast::{Expr, LiteralValue, operators};
use cel::{Context, IdedExpr};

/// The first function, in the order of the alphabet, that the language does not have.
pub(super) fn unknown_function(expression: &IdedExpr) -> Option<String> {
    let references = expression.references();
    let mut names = references.functions();
    names.sort_unstable();
    let is_unknown = |name: &&str| {
        // Operators are functions with names that no source can contain.
        let is_name = name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '_');
        // Only a name that is not taken can be.
        is_name && Context::default().add_function(name, || true).is_ok()
    };
    names.into_iter().find(is_unknown).map(str::to_owned)
}

/// Whether it says the same of every statement.
pub(super) fn is_constant(expression: &IdedExpr) -> bool {
    let references = expression.references();
    !references.has_variable("statement") && !references.has_variable("predicate")
}

/// What it is, if it can be neither true nor false.
pub(super) fn never_boolean(expression: &IdedExpr) -> Option<&'static str> {
    match &expression.expr {
        Expr::Unspecified | Expr::Select(_) => None,
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => None,
            LiteralValue::Bytes(_) | LiteralValue::String(_) => Some("a text"),
            LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => {
                Some("a number")
            }
            LiteralValue::Null => Some("null"),
        },
        // Of the predicate anything may be signed.
        Expr::Ident(name) => match name.as_str() {
            "statement" => Some("the statement"),
            name if super::KNOWN_NAMES.contains(&name) && name != "predicate" => Some("a type"),
            _ => None,
        },
        Expr::List(_) => Some("a list"),
        Expr::Map(_) | Expr::Struct(_) => Some("a map"),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [_, met, unmet]) => {
                never_boolean(met).and_then(|_| never_boolean(unmet))
            }
            (operators::ADD, _) => Some("a sum"),
            (
                operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE
                | "size"
                | "int"
                | "uint"
                | "double",
                _,
            ) => Some("a number"),
            ("string" | "bytes", _) => Some("a text"),
            ("duration" | "timestamp", _) => Some("a time"),
            ("type", _) => Some("a type"),
            _ => None,
        },
        // What a loop gathers begins as what it ends as.
        Expr::Comprehension(loops) => {
            let gathers =
                matches!(&loops.result.expr, Expr::Ident(name) if *name == loops.accu_var);
            never_boolean(if gathers {
                &loops.accu_init
            } else {
                &loops.result
            })
        }
    }
}
