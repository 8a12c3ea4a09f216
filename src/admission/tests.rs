//! The decision, check by check: with keys and logs made at run time, the corpus of signed images, and a scripted
//! upstream.

mod asked_tags;
mod attestations;
mod blobs;
mod corpus;
mod cost;
mod endorsement;
mod evidence;
mod examples;
mod exceptions;
mod failures;
mod forge;
mod groups;
mod house;
mod identities;
mod keys_and_roots;
mod kyverno;
mod material;
mod mutation;
mod outcomes;
mod question;
mod registry;
mod replays;
mod scenarios;
mod signatures;
mod swaps;
