//! JSON as CEL sees it.

use std::collections::HashMap;
use std::sync::Arc;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;

use super::shared::Shared;
use crate::policy::fuel::{Fuel, OutOfFuel, price};

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
    /// Converts a value, whose texts stay where they are.
    pub(super) fn to_cel<'v>(
        self,
        value: &'v serde_json::Value,
        fuel: &Fuel,
    ) -> Result<Box<dyn Val + 'v>, OutOfFuel> {
        fuel.pay(price::VALUE)?;
        Ok(match value {
            serde_json::Value::Null => Box::new(CelNull),
            serde_json::Value::Bool(value) => Box::new(CelBool::from(*value)),
            serde_json::Value::Number(number) => self.number(number),
            serde_json::Value::String(text) => Box::new(CelString::from(text.as_str())),
            serde_json::Value::Array(items) => {
                let items = items.iter().map(|item| self.to_cel(item, fuel));
                let items: Vec<_> = items.collect::<Result<_, _>>()?;
                Box::new(Shared::List(Arc::new(CelList::from(items))))
            }
            serde_json::Value::Object(entries) => {
                let mut map = HashMap::with_capacity(entries.len());
                for (key, value) in entries {
                    fuel.pay(price::read(key.len()))?;
                    let key = CelMapKey::String(CelString::from(key.as_str()));
                    map.insert(key, self.to_cel(value, fuel)?);
                }
                Box::new(Shared::Map(Arc::new(CelMap::from(map))))
            }
        })
    }

    fn number(self, number: &serde_json::Number) -> Box<dyn Val> {
        let floating =
            || -> Box<dyn Val> { Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))) };
        let whole = || {
            let int = number
                .as_i64()
                .map(|it| -> Box<dyn Val> { Box::new(CelInt::from(it)) });
            int.or_else(|| {
                let uint = number.as_u64()?;
                Some(Box::new(CelUInt::from(uint)))
            })
        };
        match self {
            Self::Floating => floating(),
            Self::Whole => whole().unwrap_or_else(floating),
        }
    }
}
