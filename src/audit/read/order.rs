//! Whether records stand in the order of their numbers, and what happened where they do not.

use std::collections::BTreeSet;

use super::report::What;

/// The numbers seen so far, as stretches that count up.
#[derive(Debug)]
pub(super) struct Order {
    /// Index and number of the stretch's first record.
    stretch: (u64, u64),
    /// The number that goes on where the stretch is one that does not belong.
    resume: Option<u64>,
    /// Numbers that stood too early: they are no news where they are missing.
    early: BTreeSet<u64>,
}

/// Of those, at most.
const EARLY_MAX: usize = 1000;

impl Order {
    /// The `first`th record of a log has the number `first`.
    pub fn new(first: u64) -> Self {
        Self { stretch: (first, first), resume: None, early: BTreeSet::new() }
    }

    /// The record at `index` says it is `found`, the one behind it that it is `next`. What that means, if anything is wrong.
    pub fn look(&mut self, index: u64, found: u64, next: Option<u64>) -> Option<What> {
        let counted = self.stretch.1.wrapping_add(index.wrapping_sub(self.stretch.0));
        if found == counted {
            return None;
        }
        let mut expected = self.resume.unwrap_or(counted);
        while found != expected && self.early.remove(&expected) {
            expected += 1;
        }
        self.stretch = (index, found);
        self.resume = None;
        if found == expected {
            return None;
        }
        if found > expected && self.early.len() < EARLY_MAX {
            self.early.insert(found);
        }
        let after = expected.wrapping_add(1);
        Some(if next == Some(after) {
            self.resume = Some(after);
            What::Moved { number: found }
        } else if next == Some(expected) || found < expected {
            self.resume = Some(expected);
            What::Inserted { number: found }
        } else {
            self.early.remove(&found);
            What::Dropped { missing: found - expected }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 on, and what is found, with where.
    fn check(numbers: &[u64], expected: &[(u64, What)]) {
        let mut order = Order::new(0);
        let mut found = Vec::new();
        for (index, number) in numbers.iter().enumerate() {
            let next = numbers.get(index + 1).copied();
            found.extend(order.look(index as u64, *number, next).map(|what| (index as u64, what)));
        }
        assert_eq!(found, expected, "{numbers:?}");
    }

    #[test]
    fn every_edit_has_its_name_and_is_told_once() {
        let dropped = |missing| What::Dropped { missing };
        let inserted = |number| What::Inserted { number };
        let moved = |number| What::Moved { number };
        check(&[0, 1, 2, 3], &[]);
        check(&[1, 2, 3, 4], &[(0, dropped(1))]);
        check(&[0, 1, 4, 5, 6], &[(2, dropped(2))]);
        check(&[0, 1, 2, 2, 3, 4], &[(3, inserted(2))]);
        check(&[0, 1, 2, 0, 1, 2, 3, 4], &[(3, inserted(0))]);
        check(&[0, 1, 9, 2, 3, 4], &[(2, inserted(9))]);
        check(&[0, 2, 1, 3, 4], &[(1, inserted(2))]);
        check(&[0, 3, 2, 1, 4, 5], &[(1, moved(3)), (3, inserted(1))]);
        check(&[0, 1, 77, 3, 4], &[(2, moved(77))]);
        check(&[0, 2, 3, 4, 1], &[(1, dropped(1)), (4, inserted(1))]);
        check(&[0, 3, 1, 2, 4, 5], &[(1, inserted(3))]);
        check(&[0, 1, 3, 4, 7, 8], &[(2, dropped(1)), (4, dropped(2))]);
        check(&[u64::MAX, 1, 2], &[(0, moved(u64::MAX))]);
    }
}
