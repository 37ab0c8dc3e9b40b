//! Ranges of event ids, in the order of the table's key: a UUID as a number of 128 bits. The shards of a dataset lie
//! side by side in that space and fill it, so a row belongs to one of them whenever it is read.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Ids from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct IdRange {
    /// The first.
    #[serde(rename = "first_id")]
    pub first: Uuid,
    /// The last.
    #[serde(rename = "last_id")]
    pub last: Uuid,
}

impl IdRange {
    /// Every id there can be.
    pub const ALL: Self = Self { first: Uuid::nil(), last: Uuid::max() };

    /// Whether both have an id in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether all of another's ids are in this one.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// What the ranges, which overlap nowhere, leave of all ids, in order.
#[must_use]
pub fn gaps(ranges: impl IntoIterator<Item = IdRange>) -> Vec<IdRange> {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_by_key(|range| range.first);
    let mut gaps = Vec::new();
    let mut next = Some(Uuid::nil());
    for range in ranges {
        if let Some(first) = next
            && let Some(last) = before(range.first)
            && first <= last
        {
            gaps.push(IdRange { first, last });
        }
        next = after(range.last);
    }
    if let Some(first) = next {
        gaps.push(IdRange { first, last: Uuid::max() });
    }
    gaps
}

fn before(id: Uuid) -> Option<Uuid> {
    id.as_u128().checked_sub(1).map(Uuid::from_u128)
}

fn after(id: Uuid) -> Option<Uuid> {
    id.as_u128().checked_add(1).map(Uuid::from_u128)
}

/// How a gap is cut: ids drawn evenly from its rows, and how many rows there are.
#[derive(Clone, Debug)]
pub struct Plan {
    gap: IdRange,
    rows: u64,
    sample: Vec<Uuid>,
}

impl Plan {
    /// A plan for a gap with so many rows, of which a sample's ids are known.
    #[must_use]
    pub fn new(gap: IdRange, rows: u64, mut sample: Vec<Uuid>) -> Self {
        sample.retain(|id| gap.first <= *id && *id <= gap.last);
        sample.sort_unstable();
        // Several tenants may have one id.
        sample.dedup();
        Self { gap, rows, sample }
    }

    /// How many rows it began with.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether what is left cannot be cut.
    #[must_use]
    pub const fn is_of_one_id(&self) -> bool {
        self.sample.len() <= 1
    }

    /// The next range of about so many rows; the rest of the gap when that has hardly more.
    #[must_use]
    pub fn next(&self, rows: u64) -> IdRange {
        let every = self.rows.max(1).div_ceil(self.sample.len().max(1) as u64);
        let wanted = usize::try_from(rows / every).unwrap_or(usize::MAX).max(1);
        // A last shard of a few rows helps nobody.
        if self.sample.len() <= wanted.saturating_add(wanted / 4) {
            return self.gap;
        }
        let last = self.sample[wanted - 1];
        if last == self.gap.last { self.gap } else { IdRange { first: self.gap.first, last } }
    }

    /// Goes on after a range that [`next`](Self::next) gave; false when nothing is left.
    pub fn advance(&mut self, done: IdRange) -> bool {
        let kept = self.sample.iter().filter(|id| **id > done.last).count();
        let left = (self.rows as u128 * kept as u128).div_ceil(self.sample.len().max(1) as u128);
        self.rows = u64::try_from(left).unwrap_or(u64::MAX);
        self.sample.drain(..self.sample.len() - kept);
        match after(done.last) {
            Some(first) if first <= self.gap.last => {
                self.gap.first = first;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn range(first: u128, last: u128) -> IdRange {
        IdRange { first: id(first), last: id(last) }
    }

    #[test]
    fn gaps_are_what_ranges_leave() {
        assert_eq!(gaps([]), [IdRange::ALL]);
        assert_eq!(gaps([IdRange::ALL]), []);
        assert_eq!(gaps([range(5, 9), range(0, 3)]), [range(4, 4), range(10, u128::MAX)]);
        assert_eq!(gaps([range(7, u128::MAX)]), [range(0, 6)]);
    }

    proptest! {
        /// Cut into ranges however large, every id of a gap is in one of them, and in one alone.
        #[test]
        fn ranges_lie_side_by_side(
            ids in prop::collection::vec(any::<u128>(), 0..300),
            rows in 0_u64..1_000_000,
            targets in prop::collection::vec(1_u64..200_000, 1..8),
            bounds in any::<(u128, u128)>(),
        ) {
            let gap = range(bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let mut plan = Plan::new(gap, rows, ids.into_iter().map(id).collect());
            let mut first = gap.first;
            let mut cut = Vec::new();
            for target in targets.iter().cycle() {
                let next = plan.next(*target);
                prop_assert_eq!(next.first, first);
                prop_assert!(next.first <= next.last && gap.holds(&next));
                cut.push(next);
                if !plan.advance(next) {
                    break;
                }
                prop_assert!(cut.len() <= 301, "every range takes an id of the sample");
                first = after(next.last).unwrap();
            }
            prop_assert_eq!(cut.last().unwrap().last, gap.last);
            let outside: Vec<_> = gaps(cut);
            prop_assert!(outside.iter().all(|it| !it.overlaps(&gap)));
        }
    }

    #[test]
    fn ranges_are_about_as_large_as_asked_for() {
        let plan = Plan::new(IdRange::ALL, 10_000, (0..1_000).map(|n| id(n * 10)).collect());
        assert_eq!(plan.next(1_000).last, id(990));
        assert_eq!(plan.next(9_000), IdRange::ALL, "a tenth more is not worth a shard of its own");
        assert_eq!(plan.next(1).last, id(0), "no finer than the sample");
    }
}
