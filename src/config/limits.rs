//! `limits:`

use std::time::Duration;

use serde_json::Value;

use super::quantity::{write_duration, write_size};
use super::reader::{Field, Reader};
use crate::limits::Limits;

/// More than anybody needs, and little enough for every counter.
pub(super) const COUNT_MAX: u64 = 1_000_000_000;

/// What there is to say about a limit.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) name: &'static str,
    /// The form of its value in the schema.
    pub(super) form: &'static str,
    pub(super) description: &'static str,
    pub(super) default: Value,
}

/// How the value of a limit is written, whether it may be zero, and what it limits.
macro_rules! limits {
    ($($kind:ident $name:ident $description:literal)*) => {
        pub(super) const KEYS: &[&str] = &[$(stringify!($name)),*];

        /// The limits, with their defaults where they are not set.
        pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Limits {
            let mut limits = Limits::default();
            let Some(section) = field.map(|field| field.section(KEYS, reader)) else {
                return limits;
            };
            $(if let Some(value) = section.get(stringify!($name))
                .and_then(|field| $kind(&field, reader))
            {
                limits.$name = value;
            })*
            limits
        }

        /// Every limit, in order.
        pub(super) fn describe() -> Vec<Described> {
            let limits = Limits::default();
            vec![$(Described {
                name: stringify!($name),
                form: form(stringify!($kind)),
                description: $description,
                default: limits.$name.write(),
            }),*]
        }
    };
}

limits! {
    bytes manifest_bytes_max "A manifest or index; registries refuse more, too."
    bytes payload_bytes_max "A legacy signature payload or attestation."
    bytes bundle_bytes_max "A Sigstore bundle."
    bytes discovery_bytes_max "All signature material of one digest together."
    bytes list_bytes_max "One page of tags or referrers."
    bytes referrers_bytes_max "All pages of referrers that are passed on to a client."
    bytes token_bytes_max "The answer of a token endpoint."
    count signature_layers_max "Layers of a legacy signature manifest."
    count referrers_listed_max "Referrers on all pages together."
    count referrers_opened_max "Referrers opened for one digest."
    count list_pages_max "Pages of one list."
    count candidates_max "Signatures and attestations read for one decision."
    count attempts_max "Signatures tried for one decision."
    count log_entries_max "Log entries in a bundle."
    count signed_timestamps_max "Timestamps in a bundle."
    count chain_certificates_max "Certificates in a chain."
    count subjects_max "Subjects of a statement."
    count index_manifests_max "Manifests in an index."
    count_or_zero endorsement_depth_max "Indexes between a manifest and the signed one; 0 endorses nothing."
    count_or_zero endorsement_parents_max "Parents asked for an endorsement."
    count_or_zero redirects_max "Redirects of one request; 0 follows none."
    count upstream_requests_max "Requests under way at one upstream; one client has at most half of the places."
    count upstream_waiting_max "Requests of one client that wait for a place at one upstream, of each purpose."
    time connect_time_max "To set up a connection."
    time header_time_max "To the headers of an answer; then the request is sent once more beside the first."
    time blob_header_time_max "To the headers of a blob, which storage may have to fetch first."
    time body_idle_time_max "Without a byte of a body."
    time decision_time_max "All that a decision asks of upstreams, retries included."
    time stale_decision_time_max "The same where a stale answer may serve."
    count upstream_attempts_max "Attempts at one upstream request."
    count transfer_attempts_max "Attempts in a row at one blob that bring next to nothing; those that bring it further are free."
    bytes_or_zero memory_bytes_max "Manifests and small blobs in memory."
    bytes_or_zero memory_blob_bytes_max "A blob up to this size may be kept in memory."
    bytes reading_bytes_max "What is read and held while requests are worked on: manifests, lists, signature material."
    bytes store_bytes_max "Content on disk."
    bytes log_bytes_max "Records of the log; the oldest go first."
    time condition_cpu_time_max "Processor time for the conditions of one decision, over all attestations and enforcing policies; auditing policies have as much of their own."
    count connections_max "Client connections; lowered to what fits into the limit of open files."
    count client_requests_max "Requests being answered at one time, those from memory aside; a client may have half."
    count password_failures_max "Wrong passwords of one user from one address in a minute; four times as many of an address."
    time client_header_time_max "For a client to begin a connection, and to send the headers and the body of a request."
    time client_idle_time_max "Without a request on a connection."
    time client_progress_time_max "For a client to take client_progress_bytes_min of what it is sent."
    bytes client_progress_bytes_min "What a client must take in client_progress_time_max."
}

/// The form in the schema, by who reads it.
fn form(kind: &str) -> &'static str {
    match kind {
        "bytes" => "size_above_zero",
        "bytes_or_zero" => "size",
        "count" => "count_above_zero",
        "count_or_zero" => "count",
        "time" => "duration_above_zero",
        // A test finds what is not among the definitions.
        _ => "",
    }
}

/// A value as configuration has it.
trait Write {
    fn write(&self) -> Value;
}

impl Write for u64 {
    fn write(&self) -> Value {
        Value::String(write_size(*self))
    }
}

impl Write for u32 {
    fn write(&self) -> Value {
        Value::from(*self)
    }
}

impl Write for usize {
    fn write(&self) -> Value {
        Value::from(*self)
    }
}

impl Write for Duration {
    fn write(&self) -> Value {
        Value::String(write_duration(*self))
    }
}

fn bytes(field: &Field<'_>, reader: &mut Reader) -> Option<u64> {
    let value = bytes_or_zero(field, reader)?;
    above_zero(value > 0, field, reader).then_some(value)
}

fn bytes_or_zero(field: &Field<'_>, reader: &mut Reader) -> Option<u64> {
    field.size(reader)
}

fn count<T: TryFrom<u64>>(field: &Field<'_>, reader: &mut Reader) -> Option<T> {
    let value = whole_number(field, reader)?;
    if !above_zero(value > 0, field, reader) {
        return None;
    }
    T::try_from(value).ok()
}

fn count_or_zero<T: TryFrom<u64>>(field: &Field<'_>, reader: &mut Reader) -> Option<T> {
    T::try_from(whole_number(field, reader)?).ok()
}

fn time(field: &Field<'_>, reader: &mut Reader) -> Option<Duration> {
    let value = field.duration(reader)?;
    above_zero(!value.is_zero(), field, reader).then_some(value)
}

fn whole_number(field: &Field<'_>, reader: &mut Reader) -> Option<u64> {
    let help = "write a whole number";
    let value: u64 = field.parse(help, reader)?;
    if value > COUNT_MAX {
        reader.problem(
            field,
            format!("`{}` is too much", field.written()),
            format!("the most is {COUNT_MAX}"),
        );
        return None;
    }
    Some(value)
}

fn above_zero(holds: bool, field: &Field<'_>, reader: &mut Reader) -> bool {
    if !holds {
        reader.problem(
            field,
            "zero would refuse everything",
            "leave the key out for the default; no limit can be switched off",
        );
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set() {
        let shown = format!("{:#?}", Limits::default());
        let fields: Vec<_> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(fields, KEYS);
    }
}
