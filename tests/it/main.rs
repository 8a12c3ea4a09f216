//! The integration tests: the real binary between a client and a registry that does what it is told.
//!
//! See `tests/README.md`. Every test has its own proxy, registry, ports and directories.

#[cfg(test)]
mod absent;
#[cfg(test)]
mod admits_signed;
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod audit_mode;
#[cfg(test)]
mod blob_gate;
#[cfg(test)]
mod client_tokens;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod config_errors;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod data_directory;
#[cfg(test)]
mod decision_log;
#[cfg(test)]
mod declared_types;
#[cfg(test)]
mod denial_messages;
#[cfg(test)]
mod denies_unsigned;
#[cfg(test)]
mod exceptions;
#[cfg(test)]
mod failure_never_passes;
#[cfg(test)]
mod fake_registry;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod hostile_text;
#[cfg(test)]
mod image_validating_policy;
#[cfg(test)]
mod immunity;
#[cfg(test)]
mod index_children;
#[cfg(test)]
mod key_services;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod names_and_routing;
#[cfg(test)]
mod other_hosts;
#[cfg(test)]
mod policy_change;
#[cfg(test)]
mod policy_documents;
#[cfg(test)]
mod probes_and_metrics;
#[cfg(test)]
mod ranges;
#[cfg(test)]
mod redirected_registries;
#[cfg(test)]
mod referrers_pages;
#[cfg(test)]
mod refusal_shares;
#[cfg(test)]
mod refused_clients;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod revoked;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod signature_artifacts;
#[cfg(test)]
mod signed_tags;
#[cfg(test)]
mod single_flight;
#[cfg(test)]
mod slow_peers;
#[cfg(test)]
mod stale;
#[cfg(test)]
mod supply_chain;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod tags_list;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod transfers;
#[cfg(test)]
mod trusted_roots;
#[cfg(test)]
mod upstream_failure;
#[cfg(test)]
mod upstream_tokens;
