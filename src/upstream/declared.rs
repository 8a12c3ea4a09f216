//! Compares the headers of an answer with its body.
//!
//! The digest decides about content, and the document itself about a manifest that is asked for by a tag. An answer of
//! status 200 with something else (a captive portal, a login page, compressed bytes that were not asked for) says nothing
//! about the content, so it is [`Error::OtherContent`].

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};

use super::Error;
use crate::oci::digest::Algorithm;
use crate::oci::{Digest, Reference, manifest, media_type};

/// The headers that describe a body.
#[derive(Debug)]
pub(super) struct Declared {
    /// `Content-Type` without parameters, empty if absent or not text.
    pub(super) content_type: String,
    /// `Content-Encoding`, if it says that the body is encoded. We accept only `identity`.
    encoding: Option<String>,
}

/// The most characters of a header that a message repeats.
const SHOWN_MAX: usize = 100;

impl Declared {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().trim().to_owned()
        };
        let encoding = text(CONTENT_ENCODING);
        let is_encoded = !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity");
        Self {
            content_type: media_type::essence(&text(CONTENT_TYPE)).to_owned(),
            encoding: is_encoded.then_some(encoding),
        }
    }

    /// Returns the digest of a manifest that was asked for by `reference`. Bytes that have the digest asked for are the
    /// manifest, and the declared type does not matter.
    ///
    /// # Errors
    /// `OtherContent` if the body is no manifest at all, `WrongDigest` if it is another one than was asked for.
    pub(super) fn check_manifest(
        &self,
        host: &str,
        reference: &Reference,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        if let Reference::Digest(expected) = reference
            && expected.matches(bytes)
        {
            return Ok(*expected);
        }
        let is_encoded = self.encoding.is_some() && !starts_an_object(bytes);
        if is_encoded || manifest::is_other_content(bytes, &self.content_type) {
            return Err(self.other_content(host, bytes.is_empty()));
        }
        match reference {
            Reference::Tag(_) => Ok(Digest::of(Algorithm::Sha256, bytes)),
            Reference::Digest(_) => Err(Error::WrongDigest {
                host: host.to_owned(),
            }),
        }
    }

    /// Returns the bytes of a blob if they have its digest.
    ///
    /// # Errors
    /// `WrongDigest` if they do not; `OtherContent` if the body was too large or has another digest, and its headers say
    /// that it is a page or encoded; otherwise the error of reading it.
    pub(super) fn check_blob(
        &self,
        host: &str,
        digest: &Digest,
        read: Result<Bytes, Error>,
    ) -> Result<Bytes, Error> {
        let error = match read {
            Ok(bytes) if digest.matches(&bytes) => return Ok(bytes),
            Ok(_) => Error::WrongDigest {
                host: host.to_owned(),
            },
            Err(error @ Error::TooLarge { .. }) => error,
            Err(error) => return Err(error),
        };
        Err(self.doubt(host).unwrap_or(error))
    }

    /// Returns the error that an answer for a blob is if its bytes are not the blob's, where the headers declare a web page
    /// or an encoding. Storage may declare any other type for a blob.
    pub(super) fn doubt(&self, host: &str) -> Option<Error> {
        let is_page = media_type::same(&self.content_type, "text/html");
        (is_page || self.encoding.is_some()).then(|| self.other_content(host, false))
    }

    /// Checks an answer for a blob of `size` bytes by the size that it announces. An answer of the right size is believed
    /// whatever it declares.
    ///
    /// # Errors
    /// `OtherContent` if the headers declare a page or an encoding, `WrongDigest` if another size is announced.
    pub(super) fn check_size(
        &self,
        host: &str,
        announced: Option<u64>,
        size: u64,
    ) -> Result<(), Error> {
        if announced == Some(size) {
            return Ok(());
        }
        if let Some(doubt) = self.doubt(host) {
            return Err(doubt);
        }
        match announced {
            None => Ok(()),
            Some(_) => Err(Error::WrongDigest {
                host: host.to_owned(),
            }),
        }
    }

    /// Refuses a list whose bytes are encoded, because its entries cannot be read.
    ///
    /// # Errors
    /// `OtherContent`.
    pub(super) fn check_list(&self, host: &str, bytes: &[u8]) -> Result<(), Error> {
        let is_encoded = self.encoding.is_some() && !starts_an_object(bytes);
        if is_encoded {
            return Err(self.other_content(host, bytes.is_empty()));
        }
        Ok(())
    }

    fn other_content(&self, host: &str, is_empty: bool) -> Error {
        let shown = |text: &str| text.chars().take(SHOWN_MAX).collect::<String>();
        let found = match &self.encoding {
            _ if is_empty => "an empty body".to_owned(),
            Some(encoding) => format!(
                "a body encoded as `{}`, which was not asked for",
                shown(encoding)
            ),
            None if self.content_type.is_empty() => "a body without a type".to_owned(),
            None => format!("a body of type `{}`", shown(&self.content_type)),
        };
        Error::OtherContent {
            host: host.to_owned(),
            found,
        }
    }
}

fn starts_an_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

    fn declared(headers: &[(HeaderName, &str)]) -> Declared {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Declared::of(&headers.collect())
    }

    fn plain() -> Declared {
        declared(&[(CONTENT_TYPE, media_type::OCI_MANIFEST)])
    }

    fn encoded() -> Declared {
        declared(&[
            (CONTENT_TYPE, media_type::OCI_MANIFEST),
            (CONTENT_ENCODING, "br"),
        ])
    }

    fn tag() -> Reference {
        Reference::Tag("v1".parse().unwrap())
    }

    #[test]
    fn a_manifest_with_the_digest_asked_for_is_the_manifest_whatever_is_declared() {
        for declared in [plain(), encoded(), declared(&[(CONTENT_TYPE, "text/html")])] {
            for bytes in [MANIFEST, b"<html>", b"\x1f\x8b"] {
                let reference = Reference::Digest(Digest::sha256(bytes));
                let found = declared.check_manifest("host", &reference, bytes);
                assert_eq!(found.unwrap(), Digest::sha256(bytes));
            }
        }
    }

    #[test]
    fn another_manifest_has_the_wrong_digest_and_a_page_is_other_content() {
        let reference = Reference::Digest(Digest::sha256(b"expected"));
        let wrong = plain().check_manifest("host", &reference, MANIFEST);
        assert!(matches!(wrong, Err(Error::WrongDigest { .. })), "{wrong:?}");
        for reference in [reference, tag()] {
            for bytes in [&b"<html>"[..], b"", b"\x1f\x8b"] {
                let other = plain().check_manifest("host", &reference, bytes);
                assert!(
                    matches!(other, Err(Error::OtherContent { .. })),
                    "{bytes:?}"
                );
            }
            // No prefix tells Brotli.
            let other = encoded().check_manifest("host", &reference, b"\x0b\x02");
            assert!(
                matches!(other, Err(Error::OtherContent { .. })),
                "{other:?}"
            );
        }
    }

    #[test]
    fn an_encoding_that_was_not_applied_does_no_harm() {
        assert!(encoded().check_manifest("host", &tag(), MANIFEST).is_ok());
        assert!(encoded().check_list("host", MANIFEST).is_ok());
        assert!(encoded().check_list("host", b"\x0b").is_err());
        assert!(plain().check_list("host", b"<html>").is_ok());
        let identity = declared(&[(CONTENT_ENCODING, "Identity")]);
        assert!(identity.check_list("host", b"\x0b").is_ok());
    }

    #[test]
    fn a_page_in_place_of_a_blob_is_no_blob_that_is_too_large() {
        let digest = Digest::sha256(b"blob");
        let too_large = || {
            Err(Error::TooLarge {
                host: "host".to_owned(),
                limit_bytes: 1,
            })
        };
        let page = declared(&[(CONTENT_TYPE, "Text/HTML; charset=utf-8")]);
        let bytes = || Ok(Bytes::from_static(b"<html>"));
        for read in [too_large(), bytes()] {
            let error = page.check_blob("host", &digest, read).unwrap_err();
            assert!(matches!(error, Error::OtherContent { .. }), "{error:?}");
        }
        let error = plain()
            .check_blob("host", &digest, too_large())
            .unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
        let error = plain().check_blob("host", &digest, bytes()).unwrap_err();
        assert!(matches!(error, Error::WrongDigest { .. }), "{error:?}");
        let blob = Bytes::from_static(b"blob");
        assert_eq!(
            page.check_blob("host", &digest, Ok(blob.clone())).unwrap(),
            blob
        );
    }
}
