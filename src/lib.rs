//! A pull-through registry proxy that serves only what an authority has signed.
pub mod admission;
pub mod clients;
pub mod clock;
pub mod config;
pub mod decision_log;
pub mod discovery;
pub mod limits;
pub mod manifests;
pub mod oci;
pub mod policy;
pub mod pull;
pub mod signature;
pub mod state;
pub mod store;
pub mod trust;
pub mod upstream;
pub mod verify;
