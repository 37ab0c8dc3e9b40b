//! Whose the bytes in the spool are that are not delivered yet.
//!
//! What was appended is known by the position where its commit ends, and given back when delivery's
//! cursor has passed that. To remember every commit would take memory without a limit, so the log is
//! cut into ranges, of which the spool holds some 64 at most, and a range is given back as a whole.

use std::collections::BTreeMap;

use crate::spool::Position;

/// A spool that is full lies in so many ranges.
const RANGES: u64 = 64;

/// Bytes by tenant, and by range of positions.
#[derive(Debug)]
pub(super) struct Undelivered {
    range_bytes: u64,
    ranges: BTreeMap<u64, Range>,
    /// By tenant, over all ranges.
    held_bytes: Vec<u64>,
    delivered: Position,
}

#[derive(Debug)]
struct Range {
    /// The last commit in it that is counted here. At the end of the log, that is sooner reached
    /// than the range's own end.
    last: Position,
    by_tenant: Box<[u64]>,
}

impl Undelivered {
    pub(super) fn new(tenants: usize, max_spool_bytes: u64) -> Self {
        Self {
            range_bytes: (max_spool_bytes / RANGES).max(1),
            ranges: BTreeMap::new(),
            held_bytes: vec![0; tenants],
            delivered: Position(0),
        }
    }

    /// A tenant's bytes lie in the commit that ends at `end`.
    pub(super) fn charge(&mut self, tenant: usize, end: Position, bytes: u64) {
        if end <= self.delivered {
            return;
        }
        let tenants = self.held_bytes.len();
        let range = self
            .ranges
            .entry(end.0 / self.range_bytes)
            .or_insert_with(|| Range { last: end, by_tenant: vec![0; tenants].into_boxed_slice() });
        range.last = range.last.max(end);
        range.by_tenant[tenant] += bytes;
        self.held_bytes[tenant] += bytes;
    }

    /// Everything before `cursor` is delivered.
    pub(super) fn give_back(&mut self, cursor: Position) {
        self.delivered = self.delivered.max(cursor);
        while let Some(oldest) = self.ranges.first_entry().filter(|it| it.get().last <= self.delivered) {
            for (held, bytes) in self.held_bytes.iter_mut().zip(oldest.remove().by_tenant) {
                *held -= bytes;
            }
        }
    }

    /// What a tenant holds of the spool's bytes. What was charged is an estimate from before compression, and may be
    /// several times what lies there; then each tenant has the same part of these as of what was charged.
    pub(super) fn held_on_disk(&self, tenant: usize, spool_bytes: u64) -> u64 {
        let (held, all) = (self.held_bytes[tenant], self.held_bytes.iter().sum::<u64>());
        if all <= spool_bytes {
            return held;
        }
        let part = u128::from(held) * u128::from(spool_bytes) / u128::from(all);
        // Less than `spool_bytes`.
        u64::try_from(part).unwrap_or(held)
    }

    /// What a tenant was charged with; at most a range more than what is really left of it.
    pub(super) fn held_bytes(&self, tenant: usize) -> u64 {
        self.held_bytes[tenant]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_delivered_is_given_back_and_nothing_else() {
        let mut undelivered = Undelivered::new(2, 6_400);
        undelivered.charge(0, Position(50), 50);
        undelivered.charge(1, Position(90), 40);
        undelivered.charge(0, Position(250), 160);
        undelivered.give_back(Position(89));
        assert_eq!((undelivered.held_bytes(0), undelivered.held_bytes(1)), (210, 40));
        undelivered.give_back(Position(90));
        assert_eq!((undelivered.held_bytes(0), undelivered.held_bytes(1)), (160, 0));
        // What is told late may be delivered already.
        undelivered.charge(1, Position(90), 7);
        assert_eq!(undelivered.held_bytes(1), 0);
        undelivered.give_back(Position(250));
        assert_eq!(undelivered.held_bytes(0), 0);
        assert!(undelivered.ranges.is_empty());
    }

    proptest! {
        /// Against the list of all commits: never less than what a tenant has there, at most a range
        /// more, nothing at the end; and never more than a spool's ranges at once.
        #[test]
        fn it_agrees_with_a_list_of_all_commits(
            commits in prop::collection::vec((0..3_usize, 1..400_u64, 0..500_u64, 0..200_u64), 1..200),
        ) {
            const SPOOL_BYTES: u64 = 12_800;
            let mut undelivered = Undelivered::new(3, SPOOL_BYTES);
            let (mut end, mut cursor) = (0, 0);
            let mut all: Vec<(usize, u64, u64)> = Vec::new();
            for (tenant, bytes, delivered, told_late) in commits {
                end += bytes;
                all.push((tenant, end, bytes));
                // Answers do not arrive in the order of the commits.
                undelivered.charge(tenant, Position(end.saturating_sub(told_late).max(1)), bytes);
                let least = end.saturating_sub(SPOOL_BYTES);
                cursor = (cursor + delivered).clamp(least, end);
                undelivered.give_back(Position(cursor));
                for tenant in 0..3 {
                    let held = undelivered.held_bytes(tenant);
                    let of = |from: u64| -> u64 {
                        all.iter().filter(|it| it.0 == tenant && it.1 > from).map(|it| it.2).sum()
                    };
                    prop_assert!(held >= of(cursor + 200), "{held} < {}", of(cursor + 200));
                    prop_assert!(held <= of(cursor.saturating_sub(200)), "{held}");
                }
                prop_assert!(undelivered.ranges.len() <= 66);
            }
            undelivered.give_back(Position(end));
            prop_assert!((0..3).all(|tenant| undelivered.held_bytes(tenant) == 0));
        }
    }
}
