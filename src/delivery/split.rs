//! Finding the rows to blame: what ClickHouse refuses for good is halved until it takes all but them.

use serde::{Deserialize, Serialize};

/// Refusals that one insert is taken apart for. Each bad row among good ones costs about two for every
/// doubling of the rows around it; when more is refused than this allows, most rows are bad, and finding
/// the good ones by halves would cost ClickHouse more parts than they are worth.
const MAX_REFUSALS: u32 = 512;

/// Rows of an insert, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowRange {
    /// The first one.
    pub start: u32,
    /// The one after the last.
    pub end: u32,
}

impl RowRange {
    /// How many they are.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.end - self.start
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The two halves, the second one first, as a stack takes them.
    fn halves(self) -> [Self; 2] {
        let middle = self.start + self.len() / 2;
        [Self { start: middle, ..self }, Self { end: middle, ..self }]
    }
}

/// A refused insert that goes in by parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// What is still to be inserted, the next part last. Parts before it are settled.
    todo: Vec<RowRange>,
    /// How many parts were refused.
    refusals: u32,
}

/// What to do with a part that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its halves come next.
    Halved,
    /// Put it aside, and [settle](Split::settled) it then.
    PutAside,
}

impl Split {
    /// The halves of an insert of so many rows, two at least.
    #[must_use]
    pub fn of(rows: u32) -> Self {
        Self { todo: RowRange { start: 0, end: rows }.halves().to_vec(), refusals: 1 }
    }

    /// The part to insert next; none at the end.
    #[must_use]
    pub fn current(&self) -> Option<RowRange> {
        self.todo.last().copied()
    }

    /// The current part is in ClickHouse, or was put aside.
    pub fn settled(&mut self) {
        self.todo.pop();
    }

    /// The current part was refused for good.
    pub fn refused(&mut self) -> Refused {
        self.refusals += 1;
        let Some(part) = self.current() else { return Refused::PutAside };
        if part.len() <= 1 || self.refusals > MAX_REFUSALS {
            return Refused::PutAside;
        }
        self.todo.pop();
        self.todo.extend(part.halves());
        Refused::Halved
    }

    /// Whether its parts are parts of an insert of so many rows, one after the other to its end.
    #[must_use]
    pub fn is_of(&self, rows: u32) -> bool {
        let mut end = rows;
        for part in &self.todo {
            if part.is_empty() || part.end != end {
                return false;
            }
            end = part.start;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What a server that refuses every insert with a bad row in it ends up with, and after how many
    /// inserts.
    fn deliver(rows: u32, bad: &BTreeSet<u32>) -> (Vec<u32>, Vec<RowRange>, u32) {
        let (mut stored, mut aside, mut inserts) = (Vec::new(), Vec::new(), 1);
        let mut split = Split::of(rows);
        while let Some(part) = split.current() {
            assert!(split.is_of(rows));
            inserts += 1;
            if bad.range(part.start..part.end).next().is_none() {
                stored.extend(part.start..part.end);
                split.settled();
            } else if split.refused() == Refused::PutAside {
                aside.push(part);
                split.settled();
            }
        }
        (stored, aside, inserts)
    }

    #[test]
    fn one_bad_row_costs_few_inserts() {
        let (stored, aside, inserts) = deliver(100_000, &BTreeSet::from([77_777]));
        assert_eq!(stored.len(), 99_999);
        assert_eq!(aside, [RowRange { start: 77_777, end: 77_778 }]);
        assert!(inserts <= 36, "{inserts}");
    }

    #[test]
    fn if_all_rows_are_bad_the_search_ends_soon() {
        let (stored, aside, inserts) = deliver(100_000, &(0..100_000).collect());
        assert!(stored.is_empty());
        assert_eq!(aside.iter().map(|it| it.len()).sum::<u32>(), 100_000);
        assert!(inserts <= 2 * MAX_REFUSALS, "{inserts}");
    }

    proptest! {
        #[test]
        fn each_row_ends_up_in_one_place(
            rows in 2..2_000_u32,
            bad in proptest::collection::btree_set(0..2_000_u32, 1..20),
        ) {
            let bad: BTreeSet<u32> = bad.into_iter().map(|it| it % rows).collect();
            let (stored, aside, _) = deliver(rows, &bad);
            let aside: Vec<u32> = aside.iter().flat_map(|it| it.start..it.end).collect();
            prop_assert_eq!(&aside, &bad.into_iter().collect::<Vec<_>>());
            let mut all = stored;
            all.extend(aside);
            all.sort_unstable();
            prop_assert_eq!(all, (0..rows).collect::<Vec<_>>());
        }
    }
}
