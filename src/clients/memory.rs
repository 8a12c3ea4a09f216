//! Passwords that were right a moment ago, so that bcrypt is not run for every request.

use std::time::Duration;

use aws_lc_rs::hmac;
use moka::sync::Cache;

/// Remembers proofs of user and password under a key that lives as long as the process; the password itself is not
/// kept. Only what was right is remembered: a wrong guess costs its full price every time.
pub(super) struct Memory {
    key: hmac::Key,
    valid: Cache<[u8; 32], u64>,
}

/// A user who was removed or whose password changed gets in for as long as this at most.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);

const REMEMBERED_MAX: u64 = 10_000;

impl Memory {
    pub(super) fn new() -> Self {
        let secret: [u8; 32] = rand::random();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            valid: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(REMEMBERED_FOR)
                .build(),
        }
    }

    /// In which files they were right.
    pub(super) fn recall(&self, user: &str, password: &str) -> Option<u64> {
        self.valid.get(&self.proof(user, password))
    }

    pub(super) fn remember(&self, user: &str, password: &str, valid_in: u64) {
        self.valid.insert(self.proof(user, password), valid_in);
    }

    fn proof(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // The length keeps `a` + `bc` apart from `ab` + `c`.
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        let mut proof = [0; 32];
        for (to, from) in proof.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_exactly_one_user_and_password() {
        let memory = Memory::new();
        memory.remember("ab", "c", 5);
        assert_eq!(memory.recall("ab", "c"), Some(5));
        for (user, password) in [("a", "bc"), ("abc", ""), ("ab", "C"), ("ab", "")] {
            assert_eq!(memory.recall(user, password), None);
        }
        assert_eq!(Memory::new().recall("ab", "c"), None);
    }
}
