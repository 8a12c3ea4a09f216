//! The sizes of the pieces in which a peer is handed a body.
//!
//! A piece stays in memory until the peer takes it. The pieces are small at first and while the peer is slow, and grow while
//! it is quick, so a stream that takes nothing holds little.

use std::time::{Duration, Instant};

/// Bytes of the smallest piece.
pub const PIECE_BYTES_MIN: usize = 16 * 1024;
/// Bytes of the largest piece. System calls do not count at this size, and it fits into a core's own cache.
pub const PIECE_BYTES_MAX: usize = 128 * 1024;

/// Time within which a quick peer asks for the next piece.
const QUICK: Duration = Duration::from_millis(100);

/// The pace of one body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    bytes: usize,
    last: Option<Instant>,
    is_steady: bool,
}

impl Pace {
    /// A pace for a stream of its own flow control (HTTP/2). Begins with small pieces.
    #[must_use]
    pub fn careful() -> Self {
        Self {
            bytes: PIECE_BYTES_MIN / 2,
            last: None,
            is_steady: false,
        }
    }

    /// A pace of large pieces, for a connection with one response at a time.
    #[must_use]
    pub fn steady() -> Self {
        Self {
            bytes: PIECE_BYTES_MAX,
            last: None,
            is_steady: true,
        }
    }

    /// Returns the bytes of the next piece.
    pub fn next_bytes(&mut self) -> usize {
        if self.is_steady {
            return self.bytes;
        }
        let now = Instant::now();
        let is_quick = self.last.is_none_or(|last| now - last < QUICK);
        self.last = Some(now);
        self.bytes = if is_quick {
            (self.bytes * 2).min(PIECE_BYTES_MAX)
        } else {
            PIECE_BYTES_MIN
        };
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_while_the_peer_is_quick() {
        let mut pace = Pace::careful();
        let pieces: Vec<_> = (0..5).map(|_| pace.next_bytes() / 1024).collect();
        assert_eq!(pieces, [16, 32, 64, 128, 128]);
    }

    #[test]
    fn pieces_are_small_again_after_a_pause() {
        let mut pace = Pace::careful();
        for _ in 0..4 {
            pace.next_bytes();
        }
        pace.last = pace.last.map(|last| last - QUICK * 2);
        assert_eq!(pace.next_bytes(), PIECE_BYTES_MIN);
    }
}
