//! A stream that notes in the state of its connection what passes through it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// GOAWAY of HTTP/2 without an error, in which every stream may still be answered (RFC 9113 §6.8).
///
/// The HTTP/2 library would send a PING behind it to learn when the peer has seen it. Some clients take a frame after
/// GOAWAY for an error, and an idle connection needs no such care.
const GOODBYE: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0,
];

/// A stream with the bytes that were read from it already.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    /// Bytes to give again before those of the stream.
    read_before: Bytes,
    activity: Arc<Activity>,
    /// Bytes that arrive begin a request. In HTTP/2 they may belong to any kind of frame.
    has_one_request: bool,
}

impl<S> Metered<S> {
    pub(super) fn new(
        stream: S,
        read_before: Bytes,
        activity: Arc<Activity>,
        has_one_request: bool,
    ) -> Self {
        Self {
            stream,
            read_before,
            activity,
            has_one_request,
        }
    }

    /// Writes GOAWAY between two frames, once, after the connection was told to leave.
    fn say_goodbye(&mut self, context: &mut Context<'_>)
    where
        S: AsyncWrite + Unpin,
    {
        if !self.has_one_request && self.activity.says_goodbye() {
            let written = Pin::new(&mut self.stream).poll_write(context, &GOODBYE);
            if !matches!(written, Poll::Ready(Ok(bytes)) if bytes == GOODBYE.len()) {
                tracing::debug!("A connection ends without GOAWAY");
            }
            let _flushed = Pin::new(&mut self.stream).poll_flush(context);
        }
    }

    fn note_write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(bytes)) => self.activity.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.set_blocked(true),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.say_goodbye(context);
        let before = buffer.filled().len();
        let outcome = if self.read_before.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        } else {
            let bytes = self.read_before.len().min(buffer.remaining());
            buffer.put_slice(&self.read_before.slice(..bytes));
            self.read_before.advance(bytes);
            Poll::Ready(Ok(()))
        };
        if self.has_one_request && buffer.filled().len() > before {
            self.activity.read();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        // TLS keeps bytes of its own, so a stream that took all may still have something to send.
        self.activity.set_blocked(outcome.is_pending());
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        if outcome.is_pending() {
            self.activity.set_blocked(true);
        }
        outcome
    }
}
