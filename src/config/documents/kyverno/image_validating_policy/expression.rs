//! An expression of a document, and why it has no meaning at a pull.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, SourceInfo};
use cel::parser::Parser;

use crate::config::reader::{Field, Reader};
use crate::policy::Condition;

/// An expression with the places of its parts.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) source: String,
    pub(super) root: IdedExpr,
    places: SourceInfo,
}

/// Why an expression cannot be used.
#[derive(Debug)]
pub(super) struct Refusal {
    message: String,
    help: String,
    /// Which part of the expression; absent where that is in another expression.
    part: Option<u64>,
}

impl Refusal {
    pub(super) fn new(
        part: &IdedExpr,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
            part: Some(part.id),
        }
    }

    /// Returns true if it is about the same place and says the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.part == other.part && self.message == other.message
    }

    /// The same, of a part of an expression that is used in another one.
    pub(super) fn within(self, expression: &Expression, name: &str) -> Self {
        Self {
            message: format!("in `{name}`: {}", expression.placed(&self)),
            help: self.help,
            part: None,
        }
    }
}

impl Expression {
    /// The expression that a field is; one that is none has been reported.
    pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Option<Self> {
        let source = field.text(reader)?;
        let help = "write an expression in the Common Expression Language";
        if source.len() > Condition::SOURCE_BYTES_MAX {
            let message = format!("longer than {} bytes", Condition::SOURCE_BYTES_MAX);
            reader.problem(field, message, "write a shorter one");
            return None;
        }
        let parser = Parser::new().enable_optional_syntax(true);
        match parser.parse_with_source_info(source) {
            Ok((root, places)) => Some(Self {
                source: source.trim().to_owned(),
                root,
                places,
            }),
            Err(errors) => {
                let errors = errors.to_string().trim().replace('\n', " ");
                reader.problem(field, format!("not a CEL expression: {errors}"), help);
                None
            }
        }
    }

    pub(super) fn report(&self, refusal: Refusal, field: &Field<'_>, reader: &mut Reader) {
        let message = self.placed(&refusal);
        reader.problem(field, message, refusal.help);
    }

    fn placed(&self, refusal: &Refusal) -> String {
        let place = refusal.part.and_then(|part| self.places.offset_for(part));
        match place {
            Some((start, _)) => format!("{} (character {})", refusal.message, start + 1),
            None => refusal.message.clone(),
        }
    }
}

/// The text that a part of an expression is.
pub(super) fn literal_text(part: &IdedExpr) -> Option<&str> {
    match &part.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        Expr::Literal(
            LiteralValue::Boolean(_)
            | LiteralValue::Bytes(_)
            | LiteralValue::Double(_)
            | LiteralValue::Int(_)
            | LiteralValue::Null
            | LiteralValue::UInt(_),
        )
        | Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::Ident(_)
        | Expr::List(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => None,
    }
}
