//! The integration tests: the real binary between a client and a registry that does what it is told.
//!
//! See `tests/README.md`. Every test has its own proxy, registry, ports and directories.

#[cfg(test)]
mod support;
