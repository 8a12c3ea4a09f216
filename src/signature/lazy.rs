//! Layers that are read when they are first tried.
//!
//! An image signed every night has hundreds of signatures, and the newest one mostly suffices.

use std::sync::{Arc, LazyLock};

use super::{Blob, Content, Shape, parse};
use crate::limits::Limits;
use crate::oci::Descriptor;

/// What a layer holds: read once, by whoever asks first, and shared by all attempts.
#[derive(Debug, Clone)]
pub(crate) struct LazyContent(Arc<LazyLock<Content, Read>>);

type Read = Box<dyn FnOnce() -> Content + Send>;

impl LazyContent {
    pub(super) fn of(
        shape: Shape,
        descriptor: &Descriptor,
        blob: &Blob,
        lone: bool,
        limits: &Limits,
    ) -> Self {
        let (descriptor, blob, limits) = (descriptor.clone(), blob.clone(), limits.clone());
        Self::new(Box::new(move || {
            parse(shape, &descriptor, &blob, lone, &limits).map_or_else(
                |failure| failure.content(shape.role()),
                |signed| Content::Signed(Box::new(signed)),
            )
        }))
    }

    /// What is known without reading.
    pub(super) fn known(content: Content) -> Self {
        Self::new(Box::new(|| content))
    }

    fn new(read: Read) -> Self {
        Self(Arc::new(LazyLock::new(read)))
    }
}

impl AsRef<Content> for LazyContent {
    fn as_ref(&self) -> &Content {
        &self.0
    }
}
