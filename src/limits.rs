//! Every limit on what a peer may send, with its default, in one place.
//!
//! What exceeds a count is refused, never truncated; what exceeds a size is not read to its end.

use std::time::Duration;

/// The limits in force. Names end in their unit; all can be set under `limits:` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a manifest or index that are read at most.
    pub manifest_bytes_max: u64,
    /// Bytes of a legacy payload or attestation that are read at most.
    pub payload_bytes_max: u64,
    /// Bytes of a Sigstore bundle that are read at most.
    pub bundle_bytes_max: u64,
    /// Bytes of all signature material that is read for one digest.
    pub discovery_bytes_max: u64,
    /// Bytes of one page of a tag list or referrers list.
    pub list_bytes_max: u64,
    /// Bytes of all pages of referrers that are passed on to a client.
    pub referrers_bytes_max: u64,
    /// Bytes of a token answer.
    pub token_bytes_max: u64,
    /// Layers that a legacy signature manifest may list.
    pub signature_layers_max: usize,
    /// Referrers that all pages together may list.
    pub referrers_listed_max: usize,
    /// Referrers that are opened for one digest.
    pub referrers_opened_max: usize,
    /// Pages of a list that are followed.
    pub list_pages_max: usize,
    /// Signatures and attestations that are read for one decision.
    pub candidates_max: usize,
    /// Signatures that are tried cryptographically for one decision.
    pub attempts_max: usize,
    /// Log entries in one bundle.
    pub log_entries_max: usize,
    /// Signed timestamps in one bundle.
    pub signed_timestamps_max: usize,
    /// Certificates in one chain.
    pub chain_certificates_max: usize,
    /// Subjects of one statement.
    pub subjects_max: usize,
    /// Manifests that one index may list.
    pub index_manifests_max: usize,
    /// Indexes between a manifest and the signed one that endorses it.
    pub endorsement_depth_max: usize,
    /// Parents that are asked for an endorsement.
    pub endorsement_parents_max: usize,
    /// Redirects that are followed for one request.
    pub redirects_max: usize,
    /// Requests that are under way at one upstream. One client has at most half of the places.
    pub upstream_requests_max: usize,
    /// Requests of one client that wait for a place at one upstream, of each purpose.
    pub upstream_waiting_max: usize,
    /// Time to set up a connection.
    pub connect_time_max: Duration,
    /// Time to the headers of an answer, after which a request is sent once more beside the first. Twice this time ends
    /// both.
    pub header_time_max: Duration,
    /// Time to the headers of a blob on its way into the store, which storage may have to fetch first.
    pub blob_header_time_max: Duration,
    /// Time without a byte of a body.
    pub body_idle_time_max: Duration,
    /// Time for all that a decision asks of upstreams, retries included.
    pub decision_time_max: Duration,
    /// The same, where a stale answer may serve.
    pub stale_decision_time_max: Duration,
    /// Attempts at one upstream request.
    pub upstream_attempts_max: u32,
    /// Attempts at one blob transfer, each from where the last one stopped.
    pub transfer_attempts_max: u32,
    /// Bytes of manifests and small blobs kept in memory.
    pub memory_bytes_max: u64,
    /// A blob up to this size in bytes may be kept in memory.
    pub memory_blob_bytes_max: u64,
    /// Bytes of what is read and held while requests are worked on: manifests, lists, signature material.
    pub reading_bytes_max: u64,
    /// Bytes of content kept on disk.
    pub store_bytes_max: u64,
    /// Bytes of the records that the log keeps.
    pub log_bytes_max: u64,
    /// Processor time for the conditions of one decision, over all attestations and enforcing policies. Auditing policies
    /// have as much of their own.
    pub condition_cpu_time_max: Duration,
    /// Client connections. Lowered at the start to what fits into the limit of open files.
    pub connections_max: usize,
    /// Requests that are being answered at one time, those from memory aside. A client may have half of them.
    pub client_requests_max: usize,
    /// Wrong passwords of one user from one address in a minute. An address may give four times as many.
    pub password_failures_max: u32,
    /// Time for a client to begin a connection, and to send the headers and the body of a request.
    pub client_header_time_max: Duration,
    /// Time without a request on a connection.
    pub client_idle_time_max: Duration,
    /// Time in which a client that is being sent something must take `client_progress_bytes_min`.
    pub client_progress_time_max: Duration,
    /// Bytes that a client must take in `client_progress_time_max`. A stream of HTTP/2 must take one piece of its response
    /// (16 KiB) in that time.
    pub client_progress_bytes_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            manifest_bytes_max: 4 * MIB,
            payload_bytes_max: 10 * MIB,
            bundle_bytes_max: 10 * MIB,
            discovery_bytes_max: 64 * MIB,
            list_bytes_max: 4 * MIB,
            referrers_bytes_max: 16 * MIB,
            token_bytes_max: MIB,
            signature_layers_max: 1000,
            referrers_listed_max: 1000,
            referrers_opened_max: 100,
            list_pages_max: 50,
            candidates_max: 2500,
            attempts_max: 100,
            log_entries_max: 32,
            signed_timestamps_max: 32,
            chain_certificates_max: 10,
            subjects_max: 1024,
            index_manifests_max: 1000,
            endorsement_depth_max: 3,
            endorsement_parents_max: 32,
            redirects_max: 5,
            upstream_requests_max: 128,
            upstream_waiting_max: 256,
            connect_time_max: Duration::from_secs(3),
            header_time_max: Duration::from_secs(5),
            blob_header_time_max: Duration::from_secs(30),
            body_idle_time_max: Duration::from_secs(10),
            decision_time_max: Duration::from_secs(10),
            stale_decision_time_max: Duration::from_secs(2),
            upstream_attempts_max: 3,
            transfer_attempts_max: 5,
            memory_bytes_max: 64 * MIB,
            memory_blob_bytes_max: MIB / 4,
            reading_bytes_max: 96 * MIB,
            store_bytes_max: 100 * 1024 * MIB,
            log_bytes_max: 10 * 1024 * MIB,
            condition_cpu_time_max: Duration::from_millis(200),
            connections_max: 20_000,
            client_requests_max: 4096,
            password_failures_max: 5,
            client_header_time_max: Duration::from_secs(30),
            client_idle_time_max: Duration::from_secs(75),
            client_progress_time_max: Duration::from_secs(60),
            client_progress_bytes_min: MIB / 64,
        }
    }
}
