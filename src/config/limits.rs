//! `limits:`

use super::reader::{Field, Reader};
use crate::limits::Limits;

/// More than anybody needs, and little enough for every counter.
const COUNT_MAX: u64 = 1_000_000_000;

/// How the value of a limit is written, and whether it may be zero.
macro_rules! limits {
    ($($kind:ident $name:ident)*) => {
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
    };
}

limits! {
    bytes manifest_bytes_max
    bytes payload_bytes_max
    bytes bundle_bytes_max
    bytes discovery_bytes_max
    bytes list_bytes_max
    bytes token_bytes_max
    count signature_layers_max
    count referrers_listed_max
    count referrers_opened_max
    count list_pages_max
    count attempts_max
    count log_entries_max
    count signed_timestamps_max
    count chain_certificates_max
    count subjects_max
    count index_manifests_max
    count_or_zero endorsement_depth_max
    count_or_zero endorsement_parents_max
    count_or_zero redirects_max
    count upstream_requests_max
    time connect_time_max
    time header_time_max
    time body_idle_time_max
    time decision_time_max
    time stale_decision_time_max
    count upstream_attempts_max
    count transfer_attempts_max
    bytes_or_zero memory_bytes_max
    bytes_or_zero memory_blob_bytes_max
    bytes store_bytes_max
    count connections_max
    time client_header_time_max
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

fn time(field: &Field<'_>, reader: &mut Reader) -> Option<std::time::Duration> {
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
