//! The decision, check by check: with keys and logs made at run time, the corpus of signed images, and a scripted
//! upstream.

mod attestations;
mod blobs;
mod corpus;
mod endorsement;
mod evidence;
mod failures;
mod forge;
mod house;
mod identities;
mod kyverno;
mod material;
mod mutation;
mod outcomes;
mod question;
mod registry;
mod signatures;
