//! The error codes of the distribution specification.

/// An error code as it stands in `errors[].code` (distribution specification, "Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The blob is not known to the registry.
    BlobUnknown,
    /// The request was refused on purpose.
    Denied,
    /// A digest is malformed.
    DigestInvalid,
    /// A tag is malformed.
    ManifestInvalid,
    /// The manifest is not known to the registry.
    ManifestUnknown,
    /// The repository name is malformed.
    NameInvalid,
    /// The repository is not known to the registry.
    NameUnknown,
    /// The range asked for does not exist.
    RangeInvalid,
    /// The client asked too often.
    TooManyRequests,
    /// The client must authenticate.
    Unauthorized,
    /// The service cannot answer now; widely used beside the specified codes.
    Unavailable,
    /// Something else went wrong here.
    Unknown,
    /// The operation is not supported.
    Unsupported,
    /// A path or a method that is none of ours.
    NotFound,
}

impl ErrorCode {
    /// The code as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::Denied => "DENIED",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
            Self::Unsupported => "UNSUPPORTED",
            Self::NotFound => "NOT_FOUND",
        }
    }
}
