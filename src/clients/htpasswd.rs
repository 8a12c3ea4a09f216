//! Password files as `htpasswd -B` writes them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::oci::Digest;

/// The users of one file with their bcrypt hashes.
pub struct Users {
    entries: HashMap<Arc<str>, Entry>,
    /// The highest cost of a hash.
    cost_max: u32,
}

struct Entry {
    hash: String,
    cost: u32,
    mark: Mark,
}

/// Stands for one user with one password hash. It changes when the password changes, because each hash has a salt of
/// its own.
pub(super) type Mark = [u8; MARK_BYTES];

/// The bytes of a [`Mark`].
pub(super) const MARK_BYTES: usize = 16;

/// The most bytes of a user name, as in `htpasswd` itself.
pub(super) const USER_BYTES_MAX: usize = 255;

/// A line of a password file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct HtpasswdError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: HtpasswdProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HtpasswdProblem {
    /// No colon, or nothing before it.
    #[error("not `user:hash`")]
    Shape,
    /// MD5, SHA-1, crypt or plain text, all of which are guessed in no time.
    #[error("only bcrypt is supported: make the entry with `htpasswd -B`")]
    NotBcrypt,
    /// The right prefix and nothing usable after it.
    #[error("the bcrypt hash is damaged")]
    Damaged,
    /// A check would take seconds.
    #[error("the bcrypt cost is above {COST_MAX}: a check would take seconds")]
    TooCostly,
    /// A longer name than `htpasswd` writes.
    #[error("the user name has more than {USER_BYTES_MAX} bytes")]
    LongName,
    /// The user is there already.
    #[error("the user is listed twice")]
    Duplicate,
}

/// About a second on a fast core.
const COST_MAX: u32 = 14;

impl Users {
    /// Reads a password file. Blank lines and lines that begin with `#` do not count.
    ///
    /// # Errors
    /// All lines that cannot be used; a file with one bad line is not used at all.
    pub fn from_text(text: &str) -> Result<Self, Vec<HtpasswdError>> {
        let mut entries = HashMap::new();
        let mut errors = Vec::new();
        let mut cost_max = 0;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let outcome = parse(line).and_then(|(user, hash, cost)| {
                cost_max = cost_max.max(cost);
                let entry = Entry {
                    hash: hash.to_owned(),
                    cost,
                    mark: mark(line),
                };
                match entries.insert(Arc::from(user), entry) {
                    None => Ok(()),
                    Some(_) => Err(HtpasswdProblem::Duplicate),
                }
            });
            if let Err(reason) = outcome {
                errors.push(HtpasswdError {
                    line: index + 1,
                    reason,
                });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let cost_max = if cost_max == 0 { 10 } else { cost_max };
        Ok(Self { entries, cost_max })
    }

    /// Whether there are no users.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The user as the file has it, and the mark of the entry.
    pub(super) fn entry(&self, user: &str) -> Option<(&Arc<str>, &Mark)> {
        let (name, entry) = self.entries.get_key_value(user)?;
        Some((name, &entry.mark))
    }

    /// Returns true when the password is the user's. A wrong one takes as long for every user, and for a user who is not
    /// in the file, as for one with the highest cost.
    #[must_use]
    pub fn verify(&self, user: &str, password: &str) -> bool {
        let verify = |hash: &str| bcrypt::verify(password, hash).unwrap_or(false);
        let Some(entry) = self.entries.get(user) else {
            verify(&dummy(self.cost_max));
            return false;
        };
        if verify(&entry.hash) {
            return true;
        }
        for cost in costs_that_lack(entry.cost, self.cost_max) {
            verify(&dummy(cost));
        }
        false
    }
}

/// A hash of nothing in particular. It is well-formed, so that checking against it does all the work.
fn dummy(cost: u32) -> String {
    format!("$2b${cost:02}$abcdefghijklmnopqrstu.ABCDEFGHIJKLMNOPQRSTUVWXYZ0123.")
}

/// The costs of the hashes that together with one of `cost` take as long as one of `cost_max`. Each step doubles the time.
fn costs_that_lack(cost: u32, cost_max: u32) -> std::ops::Range<u32> {
    cost..cost_max
}

fn mark(line: &str) -> Mark {
    let mut mark = Mark::default();
    let digest = Digest::sha256(line.as_bytes());
    for (to, from) in mark.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    mark
}

fn parse(line: &str) -> Result<(&str, &str, u32), HtpasswdProblem> {
    let (user, hash) = line.split_once(':').ok_or(HtpasswdProblem::Shape)?;
    if user.is_empty() || user.contains(char::is_control) {
        return Err(HtpasswdProblem::Shape);
    }
    if user.len() > USER_BYTES_MAX {
        return Err(HtpasswdProblem::LongName);
    }
    // `$2x$` marks hashes of an implementation that ignored most of a password with bytes above 127 (CVE-2011-2483).
    if !["$2y$", "$2b$", "$2a$"]
        .iter()
        .any(|prefix| hash.starts_with(prefix))
    {
        return Err(HtpasswdProblem::NotBcrypt);
    }
    let parts: bcrypt::HashParts = hash.parse().map_err(|_error| HtpasswdProblem::Damaged)?;
    let cost = parts.get_cost();
    match cost {
        0..4 => Err(HtpasswdProblem::Damaged),
        4..=COST_MAX => Ok((user, hash, cost)),
        _ => Err(HtpasswdProblem::TooCostly),
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Users")
            .field("count", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    #[test]
    fn checks_passwords_of_every_bcrypt_prefix() {
        let hash = hash("secret");
        let text = ["2a", "2b", "2y"]
            .map(|version| format!("user{version}:${version}{}", &hash[3..]))
            .join("\n");
        let users = Users::from_text(&format!("# comment\n\n{text}\r\n")).unwrap();
        for version in ["2a", "2b", "2y"] {
            let user = format!("user{version}");
            assert!(users.verify(&user, "secret"), "{version}");
            assert!(!users.verify(&user, "Secret"), "{version}");
            assert!(!users.verify(&user, ""), "{version}");
        }
        assert!(!users.verify("nobody", "secret"));
        assert!(!users.verify("", ""));
    }

    #[test]
    fn names_every_line_that_it_cannot_use() {
        let good = hash("x");
        let text = format!(
            "a:{good}\nb:$apr1$salt$hash\nc\n:{good}\nd:{}\ne:{}\nf:plain\na:{good}\ng:{}",
            good.replace("$2b$04", "$2b$31"),
            &good[..40],
            good.replace("$2b$", "$2x$"),
        );
        let errors = Users::from_text(&text).unwrap_err();
        let expected = [
            (2, HtpasswdProblem::NotBcrypt),
            (3, HtpasswdProblem::Shape),
            (4, HtpasswdProblem::Shape),
            (5, HtpasswdProblem::TooCostly),
            (6, HtpasswdProblem::Damaged),
            (7, HtpasswdProblem::NotBcrypt),
            (8, HtpasswdProblem::Duplicate),
            (9, HtpasswdProblem::NotBcrypt),
        ]
        .map(|(line, reason)| HtpasswdError { line, reason });
        assert_eq!(errors, expected);
    }

    #[test]
    fn an_unknown_user_costs_what_a_known_one_does() {
        let users = Users::from_text(&format!("a:{}", hash("x"))).unwrap();
        let dummy = dummy(users.cost_max);
        let parts: bcrypt::HashParts = dummy.parse().unwrap();
        assert_eq!(parts.get_cost(), 4);
        // The hash is well-formed, so checking against it does all the work.
        assert!(!bcrypt::verify("x", &dummy).unwrap());
    }

    #[test]
    fn wrong_password_costs_the_same_for_every_user() {
        let rounds = |cost: u32| 1_u32 << cost;
        for cost in 4..=COST_MAX {
            let lacking: u32 = costs_that_lack(cost, COST_MAX).map(rounds).sum();
            assert_eq!(rounds(cost) + lacking, rounds(COST_MAX));
        }
    }

    #[test]
    fn hashes_do_not_print() {
        let users = Users::from_text(&format!("alice:{}", hash("x"))).unwrap();
        assert_eq!(format!("{users:?}"), "Users { count: 1, .. }");
    }
}
