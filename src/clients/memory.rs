//! Passwords that were checked before, so that bcrypt is not run for every request.

use std::time::Duration;

use aws_lc_rs::hmac;
use moka::sync::Cache;

/// Remembers proofs of user and password under a key that lives as long as the rules; the password itself is not kept.
pub(super) struct Memory {
    key: hmac::Key,
    right: Cache<Proof, u64>,
    wrong: Cache<Proof, ()>,
}

/// Stands for a user and a password. Only this process can compute it.
pub(super) type Proof = [u8; 32];

/// A reload begins with an empty memory, so this is not the time for which a removed user gets in. It is long, because
/// a client that is known needs no turn while others guess.
const RIGHT_FOR: Duration = Duration::from_secs(12 * 60 * 60);
/// A client that goes on with a wrong password costs one hash in this time.
const WRONG_FOR: Duration = Duration::from_secs(30);

const REMEMBERED_MAX: u64 = 10_000;

impl Memory {
    pub(super) fn new() -> Self {
        let secret: [u8; 32] = rand::random();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            right: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(RIGHT_FOR)
                .build(),
            wrong: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(WRONG_FOR)
                .build(),
        }
    }

    /// Returns the files in which they were right, none if they were wrong a moment ago.
    pub(super) fn recall(&self, proof: &Proof) -> Option<u64> {
        let right = self.right.get(proof);
        right.or_else(|| self.wrong.get(proof).map(|()| 0))
    }

    /// Remembers the files in which they were right.
    pub(super) fn remember(&self, proof: Proof, valid_in: u64) {
        if valid_in == 0 {
            self.wrong.insert(proof, ());
        } else {
            self.right.insert(proof, valid_in);
        }
    }

    /// Returns the proof of a user name alone.
    pub(super) fn user(&self, user: &str) -> Proof {
        self.proof(user, "")
    }

    /// Returns the proof of a user and a password.
    pub(super) fn proof(&self, user: &str, password: &str) -> Proof {
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
        for (valid_in, recalled) in [(5, Some(5)), (0, Some(0))] {
            let memory = Memory::new();
            memory.remember(memory.proof("ab", "c"), valid_in);
            assert_eq!(memory.recall(&memory.proof("ab", "c")), recalled);
            for (user, password) in [("a", "bc"), ("abc", ""), ("ab", "C"), ("ab", "")] {
                assert_eq!(memory.recall(&memory.proof(user, password)), None);
            }
            let other = Memory::new();
            assert_eq!(other.recall(&other.proof("ab", "c")), None);
        }
    }
}
