//! Values that cost nothing to copy.
//!
//! The evaluator copies a value whenever a loop binds it to a variable, and whenever a list takes it in. Its own lists,
//! maps and texts are copied whole. These are the same values behind a reference count.

use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Adder, Comparer, Container, Indexer, Iterable, Sizer, Zeroer};
use cel::common::types::{CelBytes, CelList, CelMap, CelString, Type};
use cel::common::value::{Builtin, BuiltinRef, CowVal, Val};

/// A list, map, text or bytes that several values are.
#[derive(Debug, Clone)]
pub(super) enum Shared<'v> {
    List(Arc<CelList<'v>>),
    Map(Arc<CelMap<'v>>),
    Text(Arc<CelString<'v>>),
    Bytes(Arc<CelBytes<'v>>),
}

impl<'v> Shared<'v> {
    /// The same value, shared where that saves copies.
    pub(super) fn of<'b>(value: CowVal<'b, 'v>) -> CowVal<'b, 'v> {
        let CowVal::Owned(owned) = value else {
            return value;
        };
        let is_large = match owned.as_builtin() {
            BuiltinRef::List(_) | BuiltinRef::Map(_) | BuiltinRef::Bytes(_) => true,
            BuiltinRef::String(text) => text.as_borrowed().is_none(),
            BuiltinRef::Optional(_) | BuiltinRef::Struct(_) | BuiltinRef::Other | _ => false,
        };
        if !is_large {
            return CowVal::Owned(owned);
        }
        match owned.into_builtin() {
            Some(Builtin::List(list)) => CowVal::owned(Self::List(Arc::new(list))),
            Some(Builtin::Map(map)) => CowVal::owned(Self::Map(Arc::new(map))),
            Some(Builtin::String(text)) => CowVal::owned(Self::Text(Arc::new(text))),
            Some(Builtin::Bytes(bytes)) => CowVal::owned(Self::Bytes(Arc::new(bytes))),
            Some(Builtin::Optional(optional)) => CowVal::owned(optional),
            Some(_) | None => CowVal::owned(cel::common::types::CelNull),
        }
    }

    fn inner(&self) -> &(dyn Val + 'v) {
        match self {
            Self::List(list) => list.as_ref(),
            Self::Map(map) => map.as_ref(),
            Self::Text(text) => text.as_ref(),
            Self::Bytes(bytes) => bytes.as_ref(),
        }
    }
}

impl<'a> Val for Shared<'a> {
    fn get_type(&self) -> &Type {
        self.inner().get_type()
    }

    fn cel_type() -> &'static Type {
        &cel::common::types::DYN_TYPE
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        match self {
            Self::List(list) => list.as_adder(),
            Self::Map(map) => map.as_adder(),
            Self::Text(text) => text.as_adder(),
            Self::Bytes(bytes) => bytes.as_adder(),
        }
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        self.inner().as_comparer()
    }

    fn as_container(&self) -> Option<&dyn Container> {
        self.inner().as_container()
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        match self {
            Self::List(list) => list.as_indexer(),
            Self::Map(map) => map.as_indexer(),
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
    where
        Self: 'v,
    {
        match *self {
            Self::List(_) | Self::Map(_) => Some(self),
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        match self {
            Self::List(list) => list.as_iterable(),
            Self::Map(map) => map.as_iterable(),
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        self.inner().as_sizer()
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        self.inner().as_zeroer()
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.inner().equals(other)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    /// The evaluator takes it for the value that is shared.
    fn as_builtin<'b, 'v>(&'b self) -> BuiltinRef<'b, 'v>
    where
        Self: 'v,
    {
        match self {
            Self::List(list) => list.as_builtin(),
            Self::Map(map) => map.as_builtin(),
            Self::Text(text) => text.as_builtin(),
            Self::Bytes(bytes) => bytes.as_builtin(),
        }
    }

    fn into_builtin<'v>(self: Box<Self>) -> Option<Builtin<'v>>
    where
        Self: 'v,
    {
        Some(match *self {
            Self::List(list) => Builtin::List(Arc::unwrap_or_clone(list)),
            Self::Map(map) => Builtin::Map(Arc::unwrap_or_clone(map)),
            Self::Text(text) => Builtin::String(Arc::unwrap_or_clone(text)),
            Self::Bytes(bytes) => Builtin::Bytes(Arc::unwrap_or_clone(bytes)),
        })
    }
}

impl<'a> Indexer for Shared<'a> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.as_indexer()
            .ok_or_else(|| ExecutionError::no_such_key("index"))?
            .get(index)
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}
