//! The ways in which a registry fails.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

/// What happens to a request instead of the right answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with an OCI error body.
    Status(u16),
    /// 429, asking to come back after so many seconds.
    Throttled(u64),
    /// The right answer, later.
    Delay(Duration),
    /// No answer, ever.
    Hang,
    /// The connection is reset before a byte of the answer.
    Reset,
    /// The whole length is announced, this many bytes are sent, and the connection is closed.
    Truncate(usize),
    /// Other bytes of the same length.
    WrongBytes,
    /// The right bytes under another type.
    ContentType(&'static str),
    /// The right bytes without a type.
    NoContentType,
    /// A body without end, of no announced length.
    Endless,
    /// The right bytes in pieces of this size, with a pause before each.
    Trickle(usize, Duration),
    /// This answer, whatever the right one is.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    },
    /// A redirect to the same path and query at this origin.
    RedirectTo(String),
    /// The right bytes with this header, in the place of the right one.
    Header(&'static str, &'static str),
    /// The right answer without this header.
    Without(&'static str),
    /// 307 to this address.
    Redirect(String),
    /// The right bytes, with a length announced that they do not have.
    Announce(usize),
    /// The right bytes of no announced length.
    Chunked,
    /// This many of the right bytes, and then nothing, with the connection open.
    StallAfter(usize),
}

/// A fault with the requests it happens to.
#[derive(Debug)]
pub(super) struct Rule {
    expression: regex::Regex,
    fault: Fault,
    left: usize,
}

impl Rule {
    pub(super) fn new(expression: &str, fault: Fault, count: usize) -> Self {
        Self {
            expression: regex::Regex::new(expression).unwrap(),
            fault,
            left: count,
        }
    }

    /// The fault for this `METHOD path`, if the rule has one left.
    pub(super) fn take(&mut self, line: &str) -> Option<Fault> {
        if self.left == 0 || !self.expression.is_match(line) {
            return None;
        }
        self.left -= 1;
        Some(self.fault.clone())
    }
}

impl Fault {
    /// 200 with this type, or none, and this body.
    pub(crate) fn page(content_type: Option<&str>, body: impl Into<Bytes>) -> Self {
        let content_type = content_type.map(|it| ("Content-Type", it.to_owned()));
        Self::Answer {
            status: 200,
            headers: content_type.into_iter().collect(),
            body: body.into(),
        }
    }

    /// The same, of no announced length.
    pub(crate) fn chunked_page(content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = [
            ("Content-Type", content_type),
            ("Transfer-Encoding", "chunked"),
        ];
        Self::Answer {
            status: 200,
            headers: headers.map(|(name, value)| (name, value.to_owned())).into(),
            body: body.into(),
        }
    }

    /// The right bytes under this type, or under none.
    pub(crate) fn typed(content_type: Option<&'static str>) -> Self {
        content_type.map_or(Self::NoContentType, Self::ContentType)
    }

    /// The body as it is sent.
    pub(super) fn body(&self, bytes: Bytes) -> BoxStream<'static, io::Result<Bytes>> {
        match *self {
            Self::Truncate(count) => {
                let part = bytes.slice(..count.min(bytes.len()));
                let end = stream::once(async {
                    // What was sent shall arrive before the connection closes.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Err(io::Error::other("truncated on purpose"))
                });
                stream::iter([Ok(part)]).chain(end).boxed()
            }
            Self::WrongBytes => {
                let wrong: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
                stream::iter([Ok(Bytes::from(wrong))]).boxed()
            }
            Self::Endless => {
                let piece = Bytes::from(vec![b' '; 64 * 1024]);
                stream::repeat_with(move || Ok(piece.clone())).boxed()
            }
            Self::Trickle(size, pause) => {
                let pieces: Vec<Bytes> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
                stream::iter(pieces)
                    .then(move |piece| async move {
                        tokio::time::sleep(pause).await;
                        Ok(piece)
                    })
                    .boxed()
            }
            Self::StallAfter(count) => {
                let part = bytes.slice(..count.min(bytes.len()));
                stream::iter([Ok(part)]).chain(stream::pending()).boxed()
            }
            Self::Status(_)
            | Self::Throttled(_)
            | Self::Delay(_)
            | Self::Hang
            | Self::Reset
            | Self::Answer { .. }
            | Self::RedirectTo(_)
            | Self::Header(..)
            | Self::Without(_)
            | Self::Redirect(_)
            | Self::Announce(_)
            | Self::Chunked
            | Self::ContentType(_)
            | Self::NoContentType => stream::iter([Ok(bytes)]).boxed(),
        }
    }

    /// Whether the length of the body is announced.
    pub(super) fn announces_length(&self) -> bool {
        if let Self::Answer { headers, .. } = self {
            return headers.iter().all(|(name, _)| *name != "Transfer-Encoding");
        }
        !matches!(self, Self::Endless | Self::Chunked)
    }
}
