//! Bodies on their way to and from a peer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::activity::Answering;
use super::streams;
use crate::pace::{PIECE_BYTES_MIN, Pace};

/// The body of a response on its way to the peer. The request counts as being answered until it is dropped.
#[derive(Debug)]
pub(super) struct Sent {
    body: Body,
    /// Absent in HTTP/1.1, where the progress of the connection is that of the response.
    pieces: Option<Pieces>,
    _answering: Answering,
}

/// Divides a body, so that an HTTP/2 stream ends only when its peer has made room for all of it.
///
/// The HTTP/2 layer takes a piece when the peer has room for a byte of it, and then keeps it. The last piece is
/// therefore a single byte: when that is taken, everything before it has room.
#[derive(Debug)]
struct Pieces {
    pace: Pace,
    /// Bytes that are to be given before those of the body.
    kept: Bytes,
    /// Bytes of the whole body that were not given yet, if known.
    left: Option<u64>,
    is_divided: bool,
}

impl Sent {
    pub(super) fn response(
        response: Response<Body>,
        answering: Answering,
        is_multiplexed: bool,
    ) -> Response<Self> {
        let (head, body) = response.into_parts();
        let pieces = is_multiplexed.then(|| Pieces::new(&head.headers, &body));
        let sent = Self {
            body,
            pieces,
            _answering: answering,
        };
        Response::from_parts(head, sent)
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let sent = &mut *self;
        let Some(pieces) = &mut sent.pieces else {
            return Pin::new(&mut sent.body).poll_frame(context);
        };
        if pieces.kept.is_empty() {
            let polled = Pin::new(&mut sent.body).poll_frame(context);
            if polled.is_pending() {
                streams::note_waiting_for_proxy();
            }
            let frame = match ready!(polled) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) => pieces.kept = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = pieces.next(sent.body.is_end_stream());
        streams::note_piece();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let pieces = self.pieces.as_ref();
        pieces.is_none_or(|pieces| pieces.kept.is_empty()) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.pieces.as_ref().map_or(0, |pieces| pieces.kept.len());
        let (kept, hint) = (kept as u64, self.body.size_hint());
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + kept);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + kept);
        }
        all
    }
}

impl Pieces {
    fn new(headers: &HeaderMap, body: &Body) -> Self {
        let declared = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let left = body.size_hint().exact().or_else(declared);
        Self {
            pace: Pace::careful(),
            kept: Bytes::new(),
            left,
            // A small body is kept anyway, because it is in memory whole.
            is_divided: left.is_none_or(|bytes| bytes > PIECE_BYTES_MIN as u64),
        }
    }

    fn next(&mut self, is_last: bool) -> Bytes {
        let mut bytes = self.kept.len();
        if self.is_divided {
            bytes = bytes.min(self.pace.next_bytes());
            let is_end = is_last || self.left == Some(self.kept.len() as u64);
            if is_end && bytes == self.kept.len() && bytes > 1 {
                bytes -= 1;
            }
        }
        let piece = self.kept.split_to(bytes);
        self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
        piece
    }
}

/// The body of a request, which must arrive within a time.
#[derive(Debug)]
pub(super) struct Received {
    incoming: Incoming,
    deadline: Pin<Box<Sleep>>,
}

/// A body took too long to arrive.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request took too long to arrive")]
struct TooSlow;

impl Received {
    /// A body that fails if it is not complete after `time_max`.
    pub(super) fn body(incoming: Incoming, time_max: Duration) -> Body {
        if incoming.is_end_stream() {
            return Body::empty();
        }
        Body::new(Self {
            incoming,
            deadline: Box::pin(tokio::time::sleep(time_max)),
        })
    }
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let received = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut received.incoming).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        ready!(received.deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a body whose frames have these sizes, all taken quickly.
    fn pieces(frames: &[usize], is_length_known: bool) -> Vec<usize> {
        let mut headers = HeaderMap::new();
        let total: usize = frames.iter().sum();
        if is_length_known {
            headers.insert(CONTENT_LENGTH, total.into());
        }
        let stream = futures::stream::empty::<Result<Bytes, std::io::Error>>();
        let mut pieces = Pieces::new(&headers, &Body::from_stream(stream));
        let mut given = Vec::new();
        for frame in frames {
            pieces.kept = Bytes::from(vec![0; *frame]);
            while !pieces.kept.is_empty() {
                given.push(pieces.next(false).len());
            }
        }
        assert_eq!(given.iter().sum::<usize>(), total);
        given
    }

    #[test]
    fn large_body_ends_with_a_single_byte() {
        const KIB: usize = 1024;
        assert_eq!(
            pieces(&[300 * KIB], true),
            [16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, 60 * KIB - 1, 1]
        );
        assert_eq!(
            pieces(&[16 * KIB, 20 * KIB], true),
            [16 * KIB, 20 * KIB - 1, 1]
        );
    }

    #[test]
    fn small_body_is_given_whole() {
        assert_eq!(pieces(&[5000], true), [5000]);
        assert_eq!(pieces(&[1], true), [1]);
    }
}
