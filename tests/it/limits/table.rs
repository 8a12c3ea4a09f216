//! Every limit has a test that crosses it.

use std::path::Path;

/// The fields of `Limits`, each with where it is crossed: a file and a test in it.
const CROSSED: &[(&str, &str, &str)] = &[
    (
        "manifest_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_a_manifest",
    ),
    (
        "payload_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_a_payload",
    ),
    (
        "bundle_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_a_bundle",
    ),
    (
        "discovery_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_all_signatures_of_an_image",
    ),
    ("list_bytes_max", "tests/it/limits/sizes.rs", "of_a_list"),
    (
        "referrers_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_all_pages_of_referrers",
    ),
    ("token_bytes_max", "tests/it/limits/sizes.rs", "of_a_token"),
    (
        "signature_layers_max",
        "tests/it/limits/counts.rs",
        "of_layers_of_a_signature",
    ),
    (
        "referrers_listed_max",
        "tests/it/limits/counts.rs",
        "of_referrers_listed",
    ),
    (
        "referrers_opened_max",
        "tests/it/limits/counts.rs",
        "of_referrers_opened",
    ),
    (
        "list_pages_max",
        "tests/it/limits/counts.rs",
        "of_pages_that_lead_to_themselves",
    ),
    (
        "candidates_max",
        "tests/it/limits/counts.rs",
        "of_signatures_read",
    ),
    ("attempts_max", "tests/it/limits/counts.rs", "of_attempts"),
    (
        "log_entries_max",
        "tests/it/limits/counts.rs",
        "of_log_entries_timestamps_and_certificates",
    ),
    (
        "signed_timestamps_max",
        "tests/it/limits/counts.rs",
        "of_log_entries_timestamps_and_certificates",
    ),
    (
        "chain_certificates_max",
        "tests/it/limits/counts.rs",
        "of_log_entries_timestamps_and_certificates",
    ),
    ("subjects_max", "tests/it/limits/counts.rs", "of_subjects"),
    (
        "index_manifests_max",
        "tests/it/limits/counts.rs",
        "of_manifests_of_an_index",
    ),
    (
        "endorsement_depth_max",
        "tests/it/limits/counts.rs",
        "of_indexes_above_a_manifest",
    ),
    (
        "endorsement_parents_max",
        "src/admission/tests/endorsement.rs",
        "as_many_parents_are_asked_as_the_limit_says",
    ),
    (
        "store_bytes_max",
        "src/store/tests/eviction.rs",
        "the_least_recently_used_goes_first",
    ),
    (
        "log_bytes_max",
        "src/state/tests/bounds.rs",
        "oldest_records_go_when_they_take_too_many_bytes",
    ),
    ("redirects_max", "tests/it/limits/counts.rs", "of_redirects"),
    (
        "upstream_requests_max",
        "src/upstream/lane.rs",
        "one_purpose_never_takes_the_whole_budget",
    ),
    (
        "upstream_waiting_max",
        "src/upstream/lane.rs",
        "requests_of_one_party_that_wait_are_bounded",
    ),
    (
        "connect_time_max",
        "tests/it/limits/times.rs",
        "of_connecting",
    ),
    ("header_time_max", "tests/it/limits/times.rs", "of_headers"),
    (
        "blob_header_time_max",
        "tests/it/transfers.rs",
        "the_headers_of_a_blob_are_waited_for_no_longer_than_the_limit",
    ),
    (
        "body_idle_time_max",
        "tests/it/limits/times.rs",
        "without_a_byte_of_a_body",
    ),
    (
        "decision_time_max",
        "tests/it/limits/times.rs",
        "of_a_decision",
    ),
    (
        "stale_decision_time_max",
        "tests/it/stale.rs",
        "a_hung_upstream_delays_a_warm_tag_by_two_seconds_at_most",
    ),
    (
        "upstream_attempts_max",
        "tests/it/limits/counts.rs",
        "of_attempts_at_an_upstream",
    ),
    (
        "transfer_attempts_max",
        "tests/it/limits/counts.rs",
        "of_attempts_at_an_upstream",
    ),
    (
        "reading_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_all_that_is_read_at_a_time",
    ),
    (
        "memory_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_what_is_kept_in_memory",
    ),
    (
        "memory_blob_bytes_max",
        "tests/it/limits/sizes.rs",
        "of_what_is_kept_in_memory",
    ),
    (
        "condition_cpu_time_max",
        "tests/it/limits/counts.rs",
        "of_the_work_of_conditions",
    ),
    (
        "connections_max",
        "tests/it/limits/times.rs",
        "in_which_connections_are_used_up",
    ),
    (
        "client_requests_max",
        "tests/it/slow_peers.rs",
        "requests_beyond_the_share_of_a_client_are_answered_with_503",
    ),
    (
        "password_failures_max",
        "tests/it/clients.rs",
        "wrong_passwords_are_429_after_five_and_known_users_are_served",
    ),
    (
        "client_header_time_max",
        "tests/it/limits/times.rs",
        "of_the_headers_of_a_client",
    ),
    (
        "client_idle_time_max",
        "tests/it/limits/times.rs",
        "of_an_idle_client",
    ),
    (
        "client_progress_time_max",
        "tests/it/limits/times.rs",
        "in_which_a_client_takes_nothing",
    ),
    (
        "client_progress_bytes_min",
        "tests/it/limits/times.rs",
        "in_which_a_client_takes_nothing",
    ),
];

#[test]
fn every_limit_is_crossed_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("src/limits.rs")).unwrap();
    let (_, fields) = text.split_once("pub struct Limits {").unwrap();
    let (fields, _) = fields.split_once("\n}").unwrap();
    let fields: Vec<&str> = fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert!(fields.len() > 20, "{fields:?}");
    for field in &fields {
        let crossed = CROSSED.iter().any(|(name, ..)| name == field);
        assert!(crossed, "no test crosses {field}");
    }
    for (name, file, test) in CROSSED {
        assert!(fields.contains(name), "{name} is no limit");
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{file}: no {test}");
    }
}
