//! What Kyverno's policies mean, as its own code has it: image names and wildcards, and conditions over attestations.

mod condition;
mod coverage;
mod expression;
mod functions;
pub mod glob;
mod image;
mod layout;
mod operator;
mod patterns;
mod places;
pub mod reference;
mod references;
mod scalar;
mod search;
mod time;
mod version;
pub mod wildcard;

pub use condition::{Block, Comparison, Conditions, Operand};
pub use coverage::ImageCoverage;
pub use expression::SyntaxError;
pub use image::Image;
pub use operator::{Operator, Order, UnknownOperator};
pub use references::{ReferenceCoverage, ReferenceMatcher};

#[cfg(test)]
mod tests;
