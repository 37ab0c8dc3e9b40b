//! Who may take how much of a budget: the rule alone, over plain numbers.
//!
//! It is the *dynamic threshold* of shared switch buffers (A. K. Choudhury, E. L. Hahne: "Dynamic
//! queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking
//! 6(2), 1998). A budget has a hard mark H and a soft mark S. With U bytes used, nobody may hold more
//! than k times what is free, k · (H − U), with k = S / (H − S). So one that is alone stops at S; n that
//! want all they can get stop at k·H / (1 + k·n) each and leave some room free, whatever n is; and one that
//! holds little finds that room, until H. Nothing has to be known of how many there are or what they
//! will want, and a share that is not used is not kept from the others.

/// A budget in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    soft_bytes: u64,
    hard_bytes: u64,
}

/// What becomes of a request for a part of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may have it.
    Admit,
    /// It has its share: others may still get some.
    ShareSpent,
    /// Nobody may have so much now.
    Full,
}

impl Marks {
    /// From `soft_bytes` on, shares count. `soft_bytes` is at most `hard_bytes`.
    #[must_use]
    pub const fn new(soft_bytes: u64, hard_bytes: u64) -> Self {
        Self { soft_bytes, hard_bytes }
    }

    /// Shares count from half of it on.
    #[must_use]
    pub const fn half(hard_bytes: u64) -> Self {
        Self::new(hard_bytes / 2, hard_bytes)
    }

    /// For one that has nobody to be fair to.
    #[must_use]
    pub const fn unshared(hard_bytes: u64) -> Self {
        Self::new(hard_bytes, hard_bytes)
    }

    /// Whether somebody who holds `held_bytes` of the `used_bytes` may have `more_bytes`. Who holds
    /// nothing is asked for no share, so that a request of any size gets in that fits at all.
    #[must_use]
    pub fn judge(self, used_bytes: u64, held_bytes: u64, more_bytes: u64) -> Verdict {
        let used = used_bytes.saturating_add(more_bytes);
        if used > self.soft_bytes && held_bytes > 0 {
            let held = u128::from(held_bytes.saturating_add(more_bytes));
            let free = u128::from(self.hard_bytes.saturating_sub(used));
            let above_soft = u128::from(self.hard_bytes.saturating_sub(self.soft_bytes));
            // held > k · free, without a division. With nothing above the soft mark, there are no shares.
            if above_soft > 0 && held * above_soft > u128::from(self.soft_bytes) * free {
                return Verdict::ShareSpent;
            }
        }
        if used > self.hard_bytes { Verdict::Full } else { Verdict::Admit }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes pieces until it is refused, and says what it has then.
    fn fill(marks: Marks, held: &mut [u64], who: usize, piece: u64) -> Verdict {
        loop {
            match marks.judge(held.iter().sum(), held[who], piece) {
                Verdict::Admit => held[who] += piece,
                refused => return refused,
            }
        }
    }

    #[test]
    fn one_that_is_alone_stops_at_the_soft_mark_and_leaves_the_rest() {
        let marks = Marks::new(800, 1000);
        let mut held = [0, 0];
        assert_eq!(fill(marks, &mut held, 0, 1), Verdict::ShareSpent);
        assert_eq!(held[0], 800);
        // k = 4; the second one gets 4 · (200 - x) = x, of which the room is 160.
        assert_eq!(fill(marks, &mut held, 1, 1), Verdict::ShareSpent);
        assert_eq!(held[1], 160);
        // And a third one, with a little, is still let in.
        assert_eq!(marks.judge(960, 0, 40), Verdict::Admit);
        assert_eq!(marks.judge(960, 0, 41), Verdict::Full);
    }

    #[test]
    fn equals_that_come_together_get_equal_shares() {
        let marks = Marks::new(8_000, 10_000);
        let mut held = [0_u64; 4];
        let mut admitted = true;
        while std::mem::take(&mut admitted) {
            for who in 0..held.len() {
                if marks.judge(held.iter().sum(), held[who], 1) == Verdict::Admit {
                    held[who] += 1;
                    admitted = true;
                }
            }
        }
        // k·H / (1 + k·n) = 40,000 / 17.
        assert!(held.iter().all(|held| (2_352..=2_353).contains(held)), "{held:?}");
    }

    #[test]
    fn without_anybody_to_be_fair_to_the_hard_mark_alone_counts() {
        let mut held = [0];
        assert_eq!(fill(Marks::unshared(1000), &mut held, 0, 7), Verdict::Full);
        assert_eq!(held[0], 994);
    }

    #[test]
    fn below_the_soft_mark_nobody_is_refused() {
        assert_eq!(Marks::half(1000).judge(0, 499, 1), Verdict::Admit);
        assert_eq!(Marks::half(1000).judge(400, 400, 100), Verdict::Admit);
        assert_eq!(Marks::half(1000).judge(400, 400, 101), Verdict::ShareSpent);
    }

    #[test]
    fn what_nobody_holds_leaves_less_to_all() {
        // A restart: 900 of 1000 bytes belong to nobody. Who comes gets k · free, not nothing.
        let marks = Marks::new(800, 1000);
        let mut mine = 0;
        while marks.judge(900 + mine, mine, 1) == Verdict::Admit {
            mine += 1;
        }
        assert_eq!(mine, 80);
    }

    fn marks() -> impl Strategy<Value = Marks> {
        (1..100_000_u64)
            .prop_flat_map(|hard| (1..=hard, Just(hard)))
            .prop_map(|(soft, hard)| Marks::new(soft, hard))
    }

    proptest! {
        #[test]
        fn the_hard_mark_holds_and_who_holds_nothing_gets_in(
            marks in marks(),
            asks in prop::collection::vec((0..4_usize, 1..5_000_u64, any::<bool>()), 1..300),
        ) {
            let mut held = [0_u64; 4];
            for (who, bytes, gives_back) in asks {
                if gives_back {
                    held[who] -= held[who].min(bytes);
                    continue;
                }
                let used: u64 = held.iter().sum();
                let verdict = marks.judge(used, held[who], bytes);
                if held[who] == 0 {
                    let fits = used + bytes <= marks.hard_bytes;
                    prop_assert_eq!(verdict == Verdict::Admit, fits);
                    prop_assert_ne!(verdict, Verdict::ShareSpent);
                }
                if used + bytes <= marks.soft_bytes {
                    prop_assert_eq!(verdict, Verdict::Admit);
                }
                if verdict == Verdict::Admit {
                    held[who] += bytes;
                }
                prop_assert!(held.iter().sum::<u64>() <= marks.hard_bytes);
            }
        }

        /// However many are greedy, each one that came before gets its share, and the next one that
        /// comes finds room for a share of its own.
        #[test]
        fn nobody_starves(hard in 10_000..1_000_000_u64, percent in 10..95_u64, greedy in 1..8_usize) {
            let marks = Marks::new(hard * percent / 100, hard);
            let mut held = vec![0_u64; greedy + 1];
            for _ in 0..2 {
                for who in 0..greedy {
                    fill(marks, &mut held, who, 1);
                }
            }
            let free_before = hard - held.iter().sum::<u64>();
            prop_assert!(held[..greedy].iter().all(|held| *held > 0), "{:?}", held);
            fill(marks, &mut held, greedy, 1);
            // x = k · (free - x), but for the rounding to whole bytes.
            let k = marks.soft_bytes as f64 / (hard - marks.soft_bytes) as f64;
            let share = free_before as f64 * k / (1.0 + k);
            prop_assert!(held[greedy] as f64 >= share - 2.0, "{} of {}", held[greedy], share);
        }

        #[test]
        fn numbers_of_any_size_are_judged(soft: u64, hard: u64, used: u64, held: u64, more: u64) {
            let _ = Marks::new(soft.min(hard), hard).judge(used, held, more);
        }
    }
}
