//! The ways in which something is satisfied, for counting each signer once.

use std::collections::BTreeSet;

use super::attempts::Voucher;

/// Signers who together satisfy something.
pub(super) type Way = BTreeSet<Voucher>;

/// All ways that are known, none a repetition.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways {
    ways: Vec<Way>,
    /// A key or root that could show more ways and is not to be had.
    pub(super) open: Option<String>,
}

/// The most ways that are kept of anything. What is lost beyond it can only be missing, never count too much.
const WAYS_MAX: usize = 256;

/// The most steps of one search for members without a signer in common, for the same reason.
const STEPS_MAX: usize = 20_000;

impl Ways {
    /// Satisfied by each of these alone.
    pub(super) fn by_each(signers: impl IntoIterator<Item = Voucher>) -> Self {
        let mut ways = Self::default();
        for signer in signers {
            ways.add(Way::from([signer]));
        }
        ways
    }

    /// Satisfied without anybody: what more is demanded is joined to it.
    pub(super) fn by_nobody() -> Self {
        let mut ways = Self::default();
        ways.add(Way::new());
        ways
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Satisfied in one way or another.
    pub(super) fn or(&mut self, others: Self) {
        for way in others.ways {
            self.add(way);
        }
        self.note_open(others.open);
    }

    /// Both satisfied: every way of the one with every way of the other. The same signer may serve both.
    pub(super) fn and(&mut self, others: Self) {
        let mut both = Self::default();
        for way in &self.ways {
            for other in &others.ways {
                both.add(way.union(other).cloned().collect());
            }
        }
        both.open = self.open.take();
        both.note_open(others.open);
        *self = both;
    }

    pub(super) fn note_open(&mut self, open: Option<String>) {
        if self.open.is_none() {
            self.open = open;
        }
    }

    /// `count` of `members` satisfied by signers none of whom serves two of them: up to `ways_max` ways.
    pub(super) fn of_distinct(members: &[Self], count: usize, every: bool) -> Self {
        let ways_max = if every { WAYS_MAX } else { 1 };
        let mut search = Search {
            members,
            found: Self::default(),
            ways_max,
            steps: 0,
        };
        search.from(0, count, &Way::new());
        search.found
    }

    /// How many of `members` are satisfied by signers none of whom serves two of them.
    pub(super) fn distinct(members: &[Self]) -> usize {
        (0..=members.len())
            .rev()
            .find(|count| !Self::of_distinct(members, *count, false).is_empty())
            .unwrap_or_default()
    }

    fn add(&mut self, way: Way) {
        if self.ways.len() < WAYS_MAX && !self.ways.contains(&way) {
            self.ways.push(way);
        }
    }
}

struct Search<'m> {
    members: &'m [Ways],
    found: Ways,
    ways_max: usize,
    steps: usize,
}

impl Search<'_> {
    /// Chooses `count` of the members from `position` on that have no signer in common with `chosen`.
    fn from(&mut self, position: usize, count: usize, chosen: &Way) {
        if count == 0 {
            self.found.add(chosen.clone());
            return;
        }
        let members = self.members;
        let Some(member) = members.get(position) else {
            return;
        };
        if members.len() - position < count {
            return;
        }
        for way in &member.ways {
            self.steps += 1;
            if self.is_over() {
                return;
            }
            if way.is_disjoint(chosen) {
                let chosen = chosen.union(way).cloned().collect();
                self.from(position + 1, count - 1, &chosen);
            }
        }
        if !self.is_over() {
            self.from(position + 1, count, chosen);
        }
    }

    fn is_over(&self) -> bool {
        self.found.ways.len() >= self.ways_max || self.steps > STEPS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn signer(name: &str) -> Voucher {
        Voucher::Key(Digest::sha256(name.as_bytes()))
    }

    /// One of these alone.
    fn any(names: &[&str]) -> Ways {
        Ways::by_each(names.iter().map(|name| signer(name)))
    }

    /// All of these.
    fn all(names: &[&str]) -> Ways {
        let mut ways = Ways::by_nobody();
        for name in names {
            ways.and(any(&[name]));
        }
        ways
    }

    #[test]
    fn a_signer_counts_for_one_member() {
        let rows: [(&[Ways], usize); 13] = [
            (&[], 0),
            (&[any(&[]), any(&[])], 0),
            (&[any(&["a"]), any(&["a"])], 1),
            (&[any(&["a"]), any(&["b"])], 2),
            // However many satisfy a member, it counts once.
            (&[any(&["a", "b"]), any(&[])], 1),
            (&[any(&[]), any(&["a", "b", "c"])], 1),
            // The first one must give way to the second.
            (&[any(&["a", "b"]), any(&["a"])], 2),
            (&[any(&["a", "b"]), any(&["a"]), any(&["b"])], 2),
            (&[any(&["a", "b"]), any(&["b", "c"]), any(&["a"])], 3),
            // Whoever is needed for the one is not there for the other.
            (&[all(&["a", "b"]), any(&["b"])], 1),
            (&[all(&["a", "b"]), any(&["b", "c"])], 2),
            (&[all(&["a", "b"]), any(&["a"]), any(&["b"])], 2),
            (&[all(&["a", "b"]), all(&["b", "c"]), all(&["d"])], 2),
        ];
        for (members, count) in rows {
            assert_eq!(Ways::distinct(members), count, "{members:?}");
        }
    }

    #[test]
    fn either_way_and_both() {
        let mut either = all(&["a", "b"]);
        either.or(any(&["c"]));
        assert_eq!(Ways::distinct(&[either.clone(), any(&["a"])]), 2);
        let mut both = either;
        both.and(any(&["a"]));
        assert_eq!(Ways::distinct(&[both, any(&["a"])]), 1);
    }

    #[test]
    fn every_way_of_choosing_is_found() {
        let members = [any(&["a"]), any(&["b"]), any(&["c"])];
        let ways = Ways::of_distinct(&members, 2, true);
        assert_eq!(ways.ways.len(), 3);
        assert_eq!(Ways::of_distinct(&members, 2, false).ways.len(), 1);
        assert!(Ways::of_distinct(&members, 4, true).is_empty());
    }

    #[test]
    fn the_search_is_bounded() {
        let names: Vec<_> = (0..40).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        // 40 signers for 41 members: there is no way, and 40! tries to find that out.
        let members = vec![any(&names); 41];
        let _none = Ways::of_distinct(&members, 41, false);
        assert!(Ways::of_distinct(&members, 41, true).is_empty());
        let mut many = any(&names);
        for _ in 0..4 {
            many.and(any(&names));
        }
        assert_eq!(many.ways.len(), WAYS_MAX);
    }
}
