//! The operators and functions of the language that pay for their work before they do it.
//!
//! [`super::work`] puts them in the place of the evaluator's own, and they answer alike. Where an operand is of a wrong
//! type, the evaluator's own errors hold a copy of it, which may be large; these errors name its type.

use std::cmp::Ordering;
use std::sync::Arc;

use cel::common::ast::operators;
use cel::common::traits::Indexer as _;
use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, CelUInt};
use cel::common::value::{BuiltinRef, CowVal, Val};
use cel::{Context, DeclarationError, ExecutionError, FunctionContext};

use super::patterns::{MATCHES, Written, pay};
use super::shared::Shared;
use crate::policy::fuel::{Fuel, price};
use crate::policy::received::Received;

/// Pays for a step of a loop. No source can contain such a name.
pub(super) const STEP: &str = "@step";
/// Pays for reading a text.
pub(super) const TEXT: &str = "@text";
/// Pays for reading a text, or for looking at each element of a list.
pub(super) const SIZED: &str = "@sized";
/// Pays for looking up a key.
pub(super) const KEY: &str = "@key";
/// Makes a value cheap to copy.
pub(super) const SHARE: &str = "@share";
/// Searches a text for a pattern.
pub(super) const PATTERN: &str = "@pattern";

/// The operators that pay, each with the name of the function in its place.
const BINARY: [(&str, &str); 12] = [
    (operators::EQUALS, "@equals"),
    (operators::NOT_EQUALS, "@not_equals"),
    (operators::IN, "@is_in"),
    (operators::ADD, "@add"),
    (operators::SUBSTRACT, "@subtract"),
    (operators::MULTIPLY, "@multiply"),
    (operators::DIVIDE, "@divide"),
    (operators::MODULO, "@modulo"),
    (operators::LESS, "@less"),
    (operators::LESS_EQUALS, "@less_equals"),
    (operators::GREATER, "@greater"),
    (operators::GREATER_EQUALS, "@greater_equals"),
];

/// A function as the evaluator calls it.
type Function = dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Outcome<'c, 'v> + Send + Sync;
type Outcome<'c, 'v> = Result<CowVal<'c, 'v>, ExecutionError>;

/// The function in the place of an operator.
pub(super) fn paying(operator: &str) -> Option<&'static str> {
    let mut known = BINARY.iter();
    known.find(|(of, _)| *of == operator).map(|(_, name)| *name)
}

/// Makes all of them known to `context`, paying from `fuel`.
pub(super) fn add_to(
    context: &mut Context<'_, '_>,
    fuel: &Fuel,
    written: &Arc<Written>,
) -> Result<(), DeclarationError> {
    for (name, call) in UNARY {
        let fuel = fuel.clone();
        let call = boxed(move |it| {
            let [operand] = operands(it)?;
            call(&fuel, operand)
        });
        context.add_function(name, call)?;
    }
    for (operator, name) in BINARY {
        let fuel = fuel.clone();
        let call = boxed(move |it| {
            let [left, right] = operands(it)?;
            binary(&fuel, operator, &left, &right)
        });
        context.add_function(name, call)?;
    }
    let (fuel, written, received) = (fuel.clone(), Arc::clone(written), Received::default());
    let call = boxed(move |it| {
        let [text, source] = operands(it)?;
        let (Some(words), Some(pattern)) = (text_of(&text), text_of(&source)) else {
            return Err(wrong_types(MATCHES, [&text, &source]));
        };
        let matches = written.matches(&received, words, pattern, &fuel)?;
        Ok(bool(matches))
    });
    context.add_function(PATTERN, call)
}

fn boxed(
    function: impl for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Outcome<'c, 'v>
    + Send
    + Sync
    + 'static,
) -> Box<Function> {
    Box::new(function)
}

type Unary = for<'c, 'v> fn(&Fuel, CowVal<'c, 'v>) -> Outcome<'c, 'v>;

const UNARY: [(&str, Unary); 5] = [
    (STEP, |fuel, nodes| {
        let nodes = nodes.downcast_ref::<CelInt>().map_or(1, |it| *it.inner());
        pay(fuel, price::NODE * u64::try_from(nodes).unwrap_or(1))?;
        Ok(bool(true))
    }),
    (TEXT, |fuel, value| {
        pay(fuel, price::read(bytes_of(&*value)))?;
        Ok(value)
    }),
    (SIZED, |fuel, value| {
        let elements = price::words(elements_of(&*value));
        pay(
            fuel,
            price::read(bytes_of(&*value)) + price::VALUE * elements,
        )?;
        Ok(value)
    }),
    (KEY, |fuel, key| {
        pay(fuel, price::read(bytes_of(&*key)))?;
        Ok(if is_key(&*key) {
            key
        } else {
            CowVal::owned(CelNull)
        })
    }),
    (SHARE, |_, value| Ok(Shared::of(value))),
];

fn operands<'c, 'v, const N: usize>(
    call: &mut FunctionContext<'c, 'v>,
) -> Result<[CowVal<'c, 'v>; N], ExecutionError> {
    let operands = std::mem::take(&mut call.args);
    <[_; N]>::try_from(operands)
        .map_err(|others| ExecutionError::invalid_argument_count(N, others.len()))
}

fn binary<'c, 'v>(
    fuel: &Fuel,
    operator: &str,
    left: &CowVal<'c, 'v>,
    right: &CowVal<'c, 'v>,
) -> Outcome<'c, 'v> {
    let wrong = || wrong_types(operator, [left, right]);
    match operator {
        operators::EQUALS => Ok(bool(are_equal(fuel, &**left, &**right)?)),
        operators::NOT_EQUALS => Ok(bool(!are_equal(fuel, &**left, &**right)?)),
        operators::IN => Ok(bool(
            is_in(fuel, &**left, &**right).map_err(|error| error.unwrap_or_else(wrong))?,
        )),
        operators::LESS => Ok(bool(order(fuel, &**left, &**right, wrong)?.is_lt())),
        operators::LESS_EQUALS => Ok(bool(order(fuel, &**left, &**right, wrong)?.is_le())),
        operators::GREATER => Ok(bool(order(fuel, &**left, &**right, wrong)?.is_gt())),
        operators::GREATER_EQUALS => Ok(bool(order(fuel, &**left, &**right, wrong)?.is_ge())),
        operators::ADD => add(fuel, left, right).unwrap_or_else(|| Err(wrong())),
        _ if !is_scalar(&**left) || !is_scalar(&**right) => Err(wrong()),
        _ => calculate(operator, left, right).unwrap_or_else(|| Err(wrong())),
    }
}

/// Returns true if both are the same value: lists element by element, maps key by key.
fn are_equal(fuel: &Fuel, left: &dyn Val, right: &dyn Val) -> Result<bool, ExecutionError> {
    match (left.as_builtin(), right.as_builtin()) {
        (BuiltinRef::String(left), BuiltinRef::String(right)) => {
            let (left, right) = (left.inner(), right.inner());
            if left.len() != right.len() {
                return Ok(false);
            }
            pay(fuel, price::compared(left.len()))?;
            Ok(left == right)
        }
        (BuiltinRef::Bytes(left), BuiltinRef::Bytes(right)) => {
            pay(fuel, price::compared(left.inner().len()))?;
            Ok(left.inner() == right.inner())
        }
        (BuiltinRef::List(left), BuiltinRef::List(right)) => {
            let (left, right) = (left.inner(), right.inner());
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right) {
                pay(fuel, price::ELEMENT)?;
                if !are_equal(fuel, left.as_ref(), right.as_ref())? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (BuiltinRef::Map(left), BuiltinRef::Map(right)) => {
            if left.inner().len() != right.inner().len() {
                return Ok(false);
            }
            for (key, left) in left.inner() {
                pay(fuel, price::VALUE + price::read(bytes_of(key.inner())))?;
                let Ok(right) = right.get(key.inner()) else {
                    return Ok(false);
                };
                if !are_equal(fuel, left.as_ref(), right.as_ref())? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (BuiltinRef::Optional(left), BuiltinRef::Optional(right)) => {
            match (left.option(), right.option()) {
                (Some(left), Some(right)) => are_equal(fuel, left, right),
                (left, right) => Ok(left.is_none() && right.is_none()),
            }
        }
        _ => Ok(left.equals(right)),
    }
}

/// Returns true if a list has such an element, or a map such a key. Without an error of its own, an operand is of a
/// wrong type.
fn is_in(
    fuel: &Fuel,
    value: &dyn Val,
    container: &dyn Val,
) -> Result<bool, Option<ExecutionError>> {
    if let BuiltinRef::List(list) = container.as_builtin() {
        for element in list.inner() {
            pay(fuel, price::ELEMENT)?;
            if are_equal(fuel, element.as_ref(), value)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let is_double = value.downcast_ref::<CelDouble>().is_some();
    let container = container
        .as_container()
        .filter(|_| is_double || is_key(value))
        .ok_or(None)?;
    pay(fuel, price::VALUE + price::read(bytes_of(value)))?;
    container.contains(value).map_err(|_of_the_types| None)
}

fn order(
    fuel: &Fuel,
    left: &dyn Val,
    right: &dyn Val,
    wrong: impl Fn() -> ExecutionError,
) -> Result<Ordering, ExecutionError> {
    let comparable = match (left.as_builtin(), right.as_builtin()) {
        (BuiltinRef::String(_), BuiltinRef::String(_))
        | (BuiltinRef::Bytes(_), BuiltinRef::Bytes(_)) => true,
        _ => is_scalar(left) && is_scalar(right),
    };
    let comparer = left
        .as_comparer()
        .filter(|_| comparable)
        .ok_or_else(&wrong)?;
    pay(fuel, price::compared(bytes_of(left).min(bytes_of(right))))?;
    comparer.compare(right).map_err(|_of_the_types| wrong())
}

/// Nothing where the operands cannot be added.
fn add<'c, 'v>(
    fuel: &Fuel,
    left: &CowVal<'c, 'v>,
    right: &CowVal<'c, 'v>,
) -> Option<Outcome<'c, 'v>> {
    let addable = match (left.as_builtin(), right.as_builtin()) {
        (BuiltinRef::String(_), BuiltinRef::String(_))
        | (BuiltinRef::Bytes(_), BuiltinRef::Bytes(_))
        | (BuiltinRef::List(_), BuiltinRef::List(_) | BuiltinRef::Map(_)) => true,
        _ => is_scalar(&**left) && is_scalar(&**right),
    };
    let adder = left.as_adder().filter(|_| addable)?;
    let bytes = bytes_of(&**left) + bytes_of(&**right);
    let elements = elements_of(&**left) + elements_of(&**right);
    // The sum stays in memory, which is scarcer than time.
    let paid = pay(
        fuel,
        2 * price::read(bytes) + price::VALUE * price::words(elements),
    );
    let sum = paid.and_then(|()| adder.add(right.as_ref()));
    Some(sum.map(|sum| Shared::of(CowVal::Owned(sum.into_owned()))))
}

/// Nothing where the operands are no numbers, or no numbers of the same kind.
fn calculate<'c, 'v>(
    operator: &str,
    left: &CowVal<'c, 'v>,
    right: &CowVal<'c, 'v>,
) -> Option<Outcome<'c, 'v>> {
    let right = right.as_ref();
    let result = match operator {
        operators::SUBSTRACT => left.as_subtractor()?.sub(right),
        operators::MULTIPLY => left.as_multiplier()?.mul(right),
        operators::DIVIDE => left.as_divider()?.div(right),
        operators::MODULO => left.as_modder()?.modulo(right),
        _ => return None,
    };
    Some(result.map(|it| CowVal::Owned(it.into_owned())))
}

fn bool<'c, 'v>(value: bool) -> CowVal<'c, 'v> {
    CowVal::owned(CelBool::from(value))
}

/// Neither text nor a container: copies of it cost nothing.
fn is_scalar(value: &dyn Val) -> bool {
    matches!(value.as_builtin(), BuiltinRef::Other)
}

/// Returns true if the value can be a key or an index. With anything else the evaluator would copy the list into its
/// error.
fn is_key(value: &dyn Val) -> bool {
    const END: f64 = 9_223_372_036_854_775_808.0;
    match value.downcast_ref::<CelDouble>() {
        Some(number) => number.inner().fract() == 0.0 && number.inner().abs() < END,
        None => {
            value.downcast_ref::<CelString<'_>>().is_some()
                || value.downcast_ref::<CelInt>().is_some()
                || value.downcast_ref::<CelUInt>().is_some()
                || value.downcast_ref::<CelBool>().is_some()
        }
    }
}

fn text_of<'t>(value: &'t CowVal<'_, '_>) -> Option<&'t str> {
    value.downcast_ref::<CelString<'_>>().map(CelString::inner)
}

fn bytes_of(value: &dyn Val) -> usize {
    match value.as_builtin() {
        BuiltinRef::String(text) => text.inner().len(),
        BuiltinRef::Bytes(bytes) => bytes.inner().len(),
        BuiltinRef::List(_)
        | BuiltinRef::Map(_)
        | BuiltinRef::Optional(_)
        | BuiltinRef::Struct(_)
        | BuiltinRef::Other
        | _ => 0,
    }
}

fn elements_of(value: &dyn Val) -> usize {
    match value.as_builtin() {
        BuiltinRef::List(list) => list.inner().len(),
        BuiltinRef::Map(map) => map.inner().len(),
        BuiltinRef::String(_)
        | BuiltinRef::Bytes(_)
        | BuiltinRef::Optional(_)
        | BuiltinRef::Struct(_)
        | BuiltinRef::Other
        | _ => 0,
    }
}

fn wrong_types<const N: usize>(function: &str, operands: [&CowVal<'_, '_>; N]) -> ExecutionError {
    let types = operands.map(|it| it.get_type().name().to_owned());
    ExecutionError::no_such_overload(function, types.into())
}
