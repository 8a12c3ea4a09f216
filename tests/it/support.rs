//! What the tests stand on: a registry that misbehaves on demand, the proxy as a process, and images with signatures.

pub(crate) mod assertions;
pub(crate) mod canary;
pub(crate) mod client;
pub(crate) mod configuration;
pub(crate) mod corpus;
pub(crate) mod google_kms;
pub(crate) mod image;
pub(crate) mod ports;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod replay;
pub(crate) mod scene;
pub(crate) mod service;
pub(crate) mod signing;
pub(crate) mod store;
pub(crate) mod tuf;

pub(crate) use assertions::*;
pub(crate) use canary::Canary;
pub(crate) use client::{Answer, open, send, send_with};
pub(crate) use configuration::{Configuration, key_policy};
pub(crate) use image::{Image, descriptor, sha256};
pub(crate) use proxy::Proxy;
pub(crate) use registry::{FakeRegistry, Fault, Paging, PagingBy, TokenRules};
pub(crate) use replay::{Replay, Workbench, replay};
pub(crate) use scene::{Scene, together};
pub(crate) use signing::SigningKey;
