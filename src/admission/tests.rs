//! The decision, check by check: with keys and logs made at run time, the corpus of signed images, and a scripted
//! upstream.

mod attestations;
mod blobs;
mod corpus;
mod endorsement;
mod evidence;
mod examples;
mod failures;
mod forge;
mod groups;
mod house;
mod identities;
mod keys_and_roots;
mod material;
mod mutation;
mod outcomes;
mod question;
mod registry;
mod signatures;
