//! The decision, check by check: with keys and logs made at run time, the corpus of signed images, and a scripted
//! upstream.

mod attestations;
mod corpus;
mod forge;
mod identities;
mod outcomes;
mod question;
mod signatures;
