//! Reads files of configuration and policies.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{Problem, permissions};

/// The most bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

pub(super) fn read_file(path: &Path) -> Result<String, Box<Problem>> {
    let problem = |message: String, help: &str| {
        Box::new(Problem {
            position: None,
            key: String::new(),
            message,
            help: help.to_owned(),
        })
    };
    let unreadable = |error: std::io::Error| {
        problem(
            format!(
                "cannot read {}: {}",
                path.display(),
                permissions::explain(path, &error)
            ),
            "name a readable file with --config",
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(problem(
            format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display()),
            "this is no configuration",
        ));
    }
    String::from_utf8(bytes).map_err(|_not_text| {
        problem(
            format!("{} is not UTF-8 text", path.display()),
            "save it as UTF-8",
        )
    })
}
