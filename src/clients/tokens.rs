//! Bearer tokens of the proxy's own.
//!
//! A token says who asks and until when. It says nothing about what the client may do: the rules in force decide that
//! for each request. It names the password entries that vouched for the user, so it ends at once when a reload removes
//! the user or changes the password.
//!
//! The form is fixed, and a token does not name an algorithm, so there is none to confuse (RFC 8725 §2.1). It is the
//! URL-safe base64 without padding of
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version |
//! | 8 | seconds since 1970 at which it ends, big endian |
//! | 1 | number of marks; 0 in a token for clients without credentials |
//! | 16 each | marks of the password entries |
//! | up to 255 | the user's name |
//! | 32 | HMAC-SHA-256 over everything before |

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::htpasswd::{MARK_BYTES, Mark, USER_BYTES_MAX};

/// Issues tokens and tells its own tokens from all others.
pub struct Tokens {
    key: hmac::Key,
}

/// The content of a token that this proxy issued and that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claims<'t> {
    user: &'t str,
    marks: &'t [Mark],
}

/// Room for the bytes of the longest token.
pub(super) type Buffer = [u8; TOKEN_BYTES_MAX];

/// An empty buffer.
pub(super) fn buffer() -> Buffer {
    [0; TOKEN_BYTES_MAX]
}

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 8 + 1;
const MAC_BYTES: usize = 32;
/// One mark for each password file, at most.
pub(super) const MARKS_MAX: usize = 64;
const TOKEN_BYTES_MAX: usize = HEAD_BYTES + MARKS_MAX * MARK_BYTES + USER_BYTES_MAX + MAC_BYTES;
/// The difference that is allowed between the clocks of replicas with the same key.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Keeps these keys apart from any other use of the same secret.
const PURPOSE: &[u8] = b"countersign: tokens of clients, version 1";

impl Tokens {
    /// The time for which a token can be used.
    pub const LIFETIME: Duration = Duration::from_secs(30 * 60);

    /// Signs with a random key, so that the tokens end with the process.
    #[must_use]
    pub fn with_random_key() -> Self {
        let secret: [u8; 32] = rand::random();
        Self::from_secret(&secret)
    }

    /// Signs with a key derived from `secret`. Processes with the same secret accept each other's tokens.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), PURPOSE);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        }
    }

    /// A token for `user`, whose password was right in the entries with these marks. A token for clients without
    /// credentials has an empty name and no marks.
    pub(super) fn issue(&self, user: &str, marks: &[Mark], now: Timestamp) -> String {
        let lifetime = i64::try_from(Self::LIFETIME.as_secs()).unwrap_or(0);
        let ends = now.as_second().saturating_add(lifetime);
        let mut bytes = Vec::with_capacity(TOKEN_BYTES_MAX);
        bytes.push(VERSION);
        bytes.extend_from_slice(&ends.to_be_bytes());
        bytes.push(u8::try_from(marks.len().min(MARKS_MAX)).unwrap_or(0));
        for mark in marks.iter().take(MARKS_MAX) {
            bytes.extend_from_slice(mark);
        }
        bytes.extend_from_slice(user.as_bytes());
        bytes.extend_from_slice(hmac::sign(&self.key, &bytes).as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token into `buffer`. Returns nothing unless this key signed it and it has not ended. Allocates nothing.
    pub(super) fn read<'b>(
        &self,
        token: &str,
        now: Timestamp,
        buffer: &'b mut Buffer,
    ) -> Option<Claims<'b>> {
        let length = URL_SAFE_NO_PAD.decode_slice(token, buffer).ok()?;
        let bytes: &'b [u8] = buffer.get(..length)?;
        let (signed, mac) = bytes.split_at_checked(length.checked_sub(MAC_BYTES)?)?;
        // Compares in constant time.
        hmac::verify(&self.key, signed, mac).ok()?;
        let (head, rest) = signed.split_first_chunk::<HEAD_BYTES>()?;
        let [version, ends @ .., count] = *head;
        let remaining = i64::from_be_bytes(ends).saturating_sub(now.as_second());
        let remaining = Duration::from_secs(u64::try_from(remaining).ok()?);
        // A clock that was put back does not lengthen the life of a token.
        let runs = !remaining.is_zero() && remaining <= Self::LIFETIME + CLOCK_SKEW_MAX;
        if version != VERSION || !runs {
            return None;
        }
        let (marks, user) = rest.split_at_checked(usize::from(count) * MARK_BYTES)?;
        let (marks, _none) = marks.as_chunks::<MARK_BYTES>();
        Some(Claims {
            user: std::str::from_utf8(user).ok()?,
            marks,
        })
    }
}

impl<'t> Claims<'t> {
    /// The user's name; nothing in a token for clients without credentials.
    pub(super) fn user(&self) -> Option<&'t str> {
        (!self.marks.is_empty()).then_some(self.user)
    }

    /// Returns true when the entry with this mark vouched for the user.
    pub(super) fn names(&self, mark: &Mark) -> bool {
        self.marks.contains(mark)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const MARK: Mark = [7; MARK_BYTES];

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(NOW.as_second() + seconds).unwrap()
    }

    fn accepts(tokens: &Tokens, token: &str, now: Timestamp) -> bool {
        let mut buffer = buffer();
        tokens.read(token, now, &mut buffer).is_some()
    }

    #[test]
    fn token_gives_back_user_and_marks() {
        let tokens = Tokens::with_random_key();
        let other = [8; MARK_BYTES];
        let longest = "u".repeat(USER_BYTES_MAX);
        for (user, marks) in [
            ("alice", vec![MARK]),
            ("jürgen", vec![MARK, other]),
            (longest.as_str(), vec![MARK; MARKS_MAX]),
        ] {
            let token = tokens.issue(user, &marks, NOW);
            let mut buffer = buffer();
            let claims = tokens.read(&token, NOW, &mut buffer).unwrap();
            assert_eq!((claims.user(), claims.marks), (Some(user), &*marks));
            assert!(claims.names(&MARK) && !claims.names(&[9; MARK_BYTES]));
        }
        let token = tokens.issue("", &[], NOW);
        let mut buffer = buffer();
        assert_eq!(tokens.read(&token, NOW, &mut buffer).unwrap().user(), None);
    }

    #[test]
    fn token_ends_after_its_lifetime() {
        let tokens = Tokens::with_random_key();
        let token = tokens.issue("alice", &[MARK], NOW);
        let lifetime = i64::try_from(Tokens::LIFETIME.as_secs()).unwrap();
        let skew = i64::try_from(CLOCK_SKEW_MAX.as_secs()).unwrap();
        for (seconds, accepted) in [
            (0, true),
            (lifetime - 1, true),
            (lifetime, false),
            (lifetime * 100, false),
            (-skew, true),
            (-skew - 1, false),
            (-lifetime * 100, false),
        ] {
            let now = after(seconds);
            assert_eq!(accepts(&tokens, &token, now), accepted, "{seconds} s");
        }
    }

    #[test]
    fn token_of_another_key_is_refused() {
        let token = Tokens::from_secret(b"one").issue("alice", &[MARK], NOW);
        assert!(accepts(&Tokens::from_secret(b"one"), &token, NOW));
        for other in [
            Tokens::from_secret(b"two"),
            Tokens::from_secret(b""),
            Tokens::with_random_key(),
        ] {
            assert!(!accepts(&other, &token, NOW));
        }
    }

    #[test]
    fn token_with_one_changed_byte_is_refused() {
        let tokens = Tokens::with_random_key();
        let token = tokens.issue("alice", &[MARK], NOW);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert!(!accepts(&tokens, &changed, NOW), "byte {index}");
        }
        // The last character of an unpadded text has bits that no byte needs.
        let spelled_otherwise = format!("{}=", token);
        assert!(!accepts(&tokens, &spelled_otherwise, NOW));
    }

    #[test]
    fn text_of_any_length_is_refused_without_a_panic() {
        let tokens = Tokens::with_random_key();
        let token = tokens.issue("alice", &[MARK], NOW);
        for length in 0..token.len() {
            assert!(!accepts(&tokens, &token[..length], NOW), "{length}");
        }
        for text in ["A".repeat(100_000), "\u{e4}".repeat(10), ".".repeat(50)] {
            assert!(!accepts(&tokens, &text, NOW));
        }
        // Signed rightly, and too short for what its head announces.
        for signed in [
            &[][..],
            &[VERSION],
            &[VERSION, 0, 0, 0, 0, 107, 73, 210, 1, 200],
        ] {
            let mut bytes = signed.to_vec();
            bytes.extend_from_slice(hmac::sign(&tokens.key, signed).as_ref());
            assert!(!accepts(&tokens, &URL_SAFE_NO_PAD.encode(bytes), NOW));
        }
        // An unsigned JSON Web Token.
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.";
        assert!(!accepts(&tokens, unsigned, NOW));
    }

    #[test]
    fn key_does_not_print() {
        let text = format!("{:?}", Tokens::from_secret(b"secret"));
        assert_eq!(text, "Tokens { .. }");
    }
}
