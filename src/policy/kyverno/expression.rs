//! Texts with `{{ JMESPath }}` in them, over the predicate of an attestation.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jmespath::ast::Ast;
use jmespath::{Rcvar, Runtime};
use serde_json::Value;

use super::functions;
use super::patterns::Patterns;
use super::search::Search;
use crate::policy::fuel::price;
use crate::policy::{ConditionError, Fuel};

/// Variables that Kyverno has at an admission request, and nobody has at a pull.
const AT_ADMISSION: [&str; 12] = [
    "request",
    "images",
    "image",
    "element",
    "elementIndex",
    "target",
    "object",
    "oldObject",
    "serviceAccountName",
    "serviceAccountNamespace",
    "globalReference",
    "variables",
];

/// What a text with variables cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SyntaxError {
    /// `{{` without its `}}`.
    #[error("`{{{{` without `}}}}`")]
    Unclosed,
    /// A backslash before `{{`.
    #[error("escaped braces are not supported")]
    Escaped,
    /// No expression of `JMESPath`.
    #[error("not a JMESPath expression: {0}")]
    Expression(String),
    /// A function that is not known here.
    #[error("the function `{0}` is not supported at a pull")]
    UnknownFunction(String),
    /// A variable that a pull does not have.
    #[error(
        "the variable `{0}` is not known at a pull; a condition sees the fields of the predicate"
    )]
    UnknownVariable(String),
    /// `{{ … {{ … }} … }}` where the inner one is no part of a quoted text, and could change what the outer one means.
    #[error("a variable inside an expression must stand in single quotes")]
    Unquoted,
    /// Variables inside a mapping.
    #[error("variables inside a mapping are not supported")]
    InMapping,
}

/// A text, of which parts may be expressions.
#[derive(Debug, Clone)]
pub(super) struct Template {
    parts: Vec<Part>,
    depends_on_time: bool,
    /// The texts that expressions write out.
    texts: BTreeSet<String>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Expression(Template),
}

impl Template {
    /// Parses and checks a text. `context` are names of variables that the policy defines and a pull does not have.
    pub(super) fn parse(text: &str, context: &BTreeSet<String>) -> Result<Self, SyntaxError> {
        let (mut template, rest) = Self::read(text, false)?;
        debug_assert!(
            rest.is_empty(),
            "only an expression ends before the text does"
        );
        // Which functions there are is the same at any time.
        let runtime = functions::runtime(
            Timestamp::UNIX_EPOCH,
            &Fuel::default(),
            &Arc::new(Patterns::default()),
        );
        for part in &template.parts {
            if let Part::Expression(expression) = part {
                template.depends_on_time |=
                    expression.check(&runtime, context, &mut template.texts)?;
            }
        }
        Ok(template)
    }

    /// Reads up to the end, or up to the `}}` that ends an expression.
    fn read(mut rest: &str, in_expression: bool) -> Result<(Self, &str), SyntaxError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut braces = 0_usize;
        while let Some(character) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{") {
                if text.ends_with('\\') {
                    return Err(SyntaxError::Escaped);
                }
                parts.push(Part::Text(std::mem::take(&mut text)));
                let (inner, after) = Self::read(after, true)?;
                parts.push(Part::Expression(inner));
                rest = after;
                continue;
            }
            if in_expression
                && braces == 0
                && let Some(after) = rest.strip_prefix("}}")
            {
                parts.push(Part::Text(text));
                return Ok((Self::of(parts), after));
            }
            match character {
                '{' if in_expression => braces += 1,
                '}' if in_expression => braces = braces.saturating_sub(1),
                _ => {}
            }
            text.push(character);
            rest = rest.get(character.len_utf8()..).unwrap_or_default();
        }
        if in_expression {
            return Err(SyntaxError::Unclosed);
        }
        parts.push(Part::Text(text));
        Ok((Self::of(parts), rest))
    }

    fn of(parts: Vec<Part>) -> Self {
        Self {
            parts,
            depends_on_time: false,
            texts: BTreeSet::new(),
        }
    }

    /// As an expression: what is nested in it must not be able to change its meaning. Whether it depends on the time.
    fn check(
        &self,
        runtime: &Runtime,
        context: &BTreeSet<String>,
        texts: &mut BTreeSet<String>,
    ) -> Result<bool, SyntaxError> {
        let mut depends_on_time = false;
        let mut source = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => source.push_str(text),
                Part::Expression(inner) => {
                    let quoted = source.matches('\'').count() % 2 == 1;
                    if !quoted || source.contains(['"', '`', '\\']) {
                        return Err(SyntaxError::Unquoted);
                    }
                    depends_on_time |= inner.check(runtime, context, texts)?;
                    source.push('x');
                }
            }
        }
        let ast = jmespath::parse(&source)
            .map_err(|error| SyntaxError::Expression(error.reason.to_string()))?;
        depends_on_time |= check_functions(&ast, runtime)?;
        collect_texts(&ast, texts);
        for root in roots(&ast) {
            if AT_ADMISSION.contains(&root) || context.contains(root) {
                return Err(SyntaxError::UnknownVariable(root.to_owned()));
            }
        }
        Ok(depends_on_time)
    }

    /// Whether its value depends on when it is asked for.
    pub(super) fn depends_on_time(&self) -> bool {
        self.depends_on_time
    }

    /// Adds the texts that its expressions write out.
    pub(super) fn collect_texts(&self, texts: &mut BTreeSet<String>) {
        texts.extend(self.texts.iter().cloned());
    }

    pub(super) fn is_constant(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.all(|part| matches!(part, Part::Text(_)))
    }

    /// The value of a text that is one expression, and otherwise the text with all expressions replaced.
    pub(super) fn resolve(
        &self,
        predicate: &Rcvar,
        search: &Search<'_>,
    ) -> Result<Value, ConditionError> {
        let mut parts = self.parts.iter().filter(|part| !part.is_empty());
        if let (Some(Part::Expression(only)), None) = (parts.next(), parts.next()) {
            return only.search(predicate, search);
        }
        let mut resolved = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => resolved.push_str(text),
                Part::Expression(expression) => match expression.search(predicate, search)? {
                    Value::String(text) => resolved.push_str(&text),
                    other @ (Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::Array(_)
                    | Value::Object(_)) => {
                        search.fuel.pay_for_copy(&other)?;
                        resolved.push_str(&other.to_string());
                    }
                },
            }
        }
        Ok(Value::String(resolved))
    }

    fn search(&self, predicate: &Rcvar, search: &Search<'_>) -> Result<Value, ConditionError> {
        let mut source = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => source.push_str(text),
                Part::Expression(inner) => {
                    let value = inner.search(predicate, search)?;
                    let text = super::scalar::text(&value)
                        .filter(|text| !text.contains(['\'', '\\']))
                        .ok_or_else(|| {
                            failed("a nested variable is no plain text without quotes")
                        })?;
                    source.push_str(&text);
                }
            }
        }
        // The text of an inner expression becomes part of this one, and is read again.
        search.fuel.pay(10 * price::read(source.len()))?;
        let ast = jmespath::parse(&source).map_err(|error| failed(&error.reason.to_string()))?;
        match search.value(predicate, &ast, &source)? {
            Value::Null => Err(failed(&format!("`{}` is not there", source.trim()))),
            value @ (Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_)) => Ok(value),
        }
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Expression(_) => false,
        }
    }
}

fn failed(reason: &str) -> ConditionError {
    ConditionError::Failed(reason.to_owned())
}

/// Whether one of them depends on the time.
fn check_functions(ast: &Ast, runtime: &Runtime) -> Result<bool, SyntaxError> {
    if let Ast::Function { name, args, .. } = ast {
        if runtime.get_function(name).is_none() {
            return Err(SyntaxError::UnknownFunction(name.clone()));
        }
        let mut depends_on_time = functions::depends_on_time(name);
        for argument in args {
            depends_on_time |= check_functions(argument, runtime)?;
        }
        return Ok(depends_on_time);
    }
    let mut depends_on_time = false;
    for child in children(ast) {
        depends_on_time |= check_functions(child, runtime)?;
    }
    Ok(depends_on_time)
}

fn collect_texts(ast: &Ast, texts: &mut BTreeSet<String>) {
    if let Ast::Literal { value, .. } = ast {
        texts.extend(value.as_string().cloned());
    }
    for child in children(ast) {
        collect_texts(child, texts);
    }
}

/// The expressions that an expression consists of.
pub(super) fn children(ast: &Ast) -> Vec<&Ast> {
    match ast {
        Ast::Identity { .. }
        | Ast::Field { .. }
        | Ast::Index { .. }
        | Ast::Literal { .. }
        | Ast::Slice { .. } => Vec::new(),
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => vec![node],
        Ast::Function { args, .. } => args.iter().collect(),
        Ast::MultiList { elements, .. } => elements.iter().collect(),
        Ast::MultiHash { elements, .. } => elements.iter().map(|pair| &pair.value).collect(),
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => vec![lhs, rhs],
        Ast::Condition {
            predicate, then, ..
        } => vec![predicate, then],
    }
}

/// The fields that are asked of the whole, and not of a part of it.
fn roots(ast: &Ast) -> Vec<&str> {
    match ast {
        Ast::Field { name, .. } => vec![name],
        Ast::Subexpr { lhs, .. } | Ast::Projection { lhs, .. } => roots(lhs),
        Ast::Identity { .. }
        | Ast::Index { .. }
        | Ast::Literal { .. }
        | Ast::Slice { .. }
        | Ast::Expref { .. } => Vec::new(),
        Ast::Comparison { .. }
        | Ast::Condition { .. }
        | Ast::Flatten { .. }
        | Ast::Function { .. }
        | Ast::MultiList { .. }
        | Ast::MultiHash { .. }
        | Ast::Not { .. }
        | Ast::ObjectValues { .. }
        | Ast::And { .. }
        | Ast::Or { .. } => children(ast).into_iter().flat_map(roots).collect(),
    }
}
