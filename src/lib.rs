//! A pull-through registry proxy that serves only what an authority has signed.
//!
//! A request becomes one canonical name ([`server::route`]), and the client is asked about first ([`clients`]).
//! [`pull::Pull`] resolves a tag to a digest once and hands the subject, repository and digest, to
//! [`admission::Admission`]. That asks [`policy`] what is required, [`discovery`] (through [`upstream`]) or [`state`] and
//! [`store`] what signature material there is, and [`verify`] what it proves. The decision is recorded durably
//! ([`state`], [`decision_log`]), remembered in memory, and only then told. A decision to admit yields an
//! [`admission::Admitted`], which nobody else can make and without which [`server`] has no bytes to send. Blobs follow
//! the same way: an admitted manifest of the same repository must refer to them.
//!
//! `ARCHITECTURE.md` has the walks in full, who may import whom, and why it is so.

// What everything is made of. Nothing in here knows of a request.
pub mod clock;
pub mod compute;
pub mod disk;
pub mod flights;
pub mod foreign;
pub mod limits;
pub mod oci;
pub mod pace;
mod private;
pub mod secret;
pub mod shares;

// Judging: pure, without files, sockets, clock or logging.
pub mod policy;
pub mod signature;
pub mod verify;

// The outside: registries, disk, database, trusted files.
pub mod keys;
pub mod state;
pub mod store;
pub mod trust;
pub mod upstream;

// From a name to a decision.
pub mod admission;
pub mod discovery;
pub mod in_force;
pub mod manifests;

// From a request to an answer.
pub mod clients;
pub mod listener;
pub mod pull;
pub mod server;

// What operators see.
pub mod admin;
pub mod decision_log;
pub mod telemetry;

// Put together: a configuration, a process, its commands.
pub mod app;
pub mod cli;
pub mod config;
