//! The form of a line in the log.

use serde::Serialize;

use super::{AccessLine, Change, Record};

/// One line. It begins with `"log"`, which names the sort of line, so that several sorts can share one stream. A name has
/// the same type in every sort, because an index over the stream gives each name one type.
#[derive(Debug, Serialize)]
#[serde(tag = "log", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// A decision.
    Decision(&'a Record),
    /// A pull.
    Access(&'a AccessLine),
    /// A change of the configuration, a trusted root or a key.
    Change(&'a Change),
}
