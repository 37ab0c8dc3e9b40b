//! How many inserts may be in flight: fewer when ClickHouse is overloaded, more again when it is not.
//!
//! Additive increase and multiplicative decrease, as TCP finds out what a network carries.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The pace, shared by all inserts.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Inserts confirmed since the limit last changed.
    confirmed: usize,
}

impl Pace {
    /// Begins with all that is allowed, one at least.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, state: Mutex::new(State { limit: most, confirmed: 0 }) }
    }

    /// How many may be in flight now.
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    /// ClickHouse said that it has too much to do.
    pub(super) fn overloaded(&self) {
        let mut state = self.state();
        state.limit = (state.limit / 2).max(1);
        state.confirmed = 0;
    }

    /// An insert was confirmed. One more is tried when as many went through as are allowed at once.
    pub(super) fn confirmed(&self) {
        let mut state = self.state();
        state.confirmed += 1;
        if state.confirmed >= state.limit && state.limit < self.most {
            state.limit += 1;
            state.confirmed = 0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changed in steps that cannot panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_by_halves_and_rises_by_ones() {
        let pace = Pace::new(8);
        assert_eq!(pace.limit(), 8);
        pace.overloaded();
        pace.overloaded();
        assert_eq!(pace.limit(), 2);
        pace.confirmed();
        assert_eq!(pace.limit(), 2);
        pace.confirmed();
        assert_eq!(pace.limit(), 3);
        for _ in 0..100 {
            pace.confirmed();
        }
        assert_eq!(pace.limit(), 8);
        for _ in 0..10 {
            pace.overloaded();
        }
        assert_eq!(pace.limit(), 1, "one is always allowed");
        assert_eq!(Pace::new(0).limit(), 1);
    }
}
