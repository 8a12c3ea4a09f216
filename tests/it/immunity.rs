//! The published attacks on verifiers of signatures, replayed on the running proxy.
//!
//! Each test is named after the identifier of the attack; SECURITY.md lists all of them and where each is tested. What
//! needs certificates and logs comes from the corpus, beside the untouched signature that is admitted (`replay`).

mod binding;
mod exceptions;
mod exhaustion;
mod files;
mod found_by_reading;
mod requests;
mod table;
mod trust_and_time;
