//! JSON as CEL sees it.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};

/// What the numbers of JSON are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Numbers {
    /// Whole numbers are `int`, so that `predicate.count > 3` works as written; the crate's own conversion makes them
    /// `uint`.
    Whole,
    /// All are `double`.
    Floating,
}

impl Numbers {
    pub(super) fn to_cel(self, value: &serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => self.number(number),
            serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
            serde_json::Value::Array(items) => {
                let items = items.iter().map(|item| self.to_cel(item));
                Value::List(Arc::new(items.collect()))
            }
            serde_json::Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let key = Key::String(Arc::new(key.clone()));
                    (key, self.to_cel(value))
                });
                let map: HashMap<_, _> = entries.collect();
                Value::Map(Map { map: Arc::new(map) })
            }
        }
    }

    fn number(self, number: &serde_json::Number) -> Value {
        let floating = || Value::Float(number.as_f64().unwrap_or(f64::NAN));
        match self {
            Self::Floating => floating(),
            Self::Whole => number
                .as_i64()
                .map(Value::Int)
                .or_else(|| number.as_u64().map(Value::UInt))
                .unwrap_or_else(floating),
        }
    }
}
