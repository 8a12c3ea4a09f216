//! The decision, check by check: with keys and logs made at run time, the corpus of signed images, and a scripted
//! upstream.

mod attestations;
mod blobs;
mod corpus;
mod cost;
mod endorsement;
mod evidence;
mod forge;
mod house;
mod identities;
mod material;
mod outcomes;
mod question;
mod registry;
mod signatures;
