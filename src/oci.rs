//! The OCI vocabulary: names, references, digests, descriptors and manifests.
//!
//! Pure: nothing here reads a clock, a file, the network or the environment. Everything that arrives as text is parsed
//! once, here, into a type that cannot hold anything else (distribution specification v1.1, image specification v1.1).

pub mod annotation;
pub mod descriptor;
pub mod digest;
pub mod digest_prefix;
pub mod error_code;
pub mod manifest;
pub mod media_type;
pub mod page_query;
pub mod reference;
pub mod repository;

pub use descriptor::Descriptor;
pub use digest::Digest;
pub use digest_prefix::{DigestPrefix, DigestPrefixError};
pub use error_code::ErrorCode;
pub use manifest::Manifest;
pub use page_query::PageQuery;
pub use reference::{Reference, Tag};
pub use repository::RepositoryName;
