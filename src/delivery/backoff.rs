//! Pauses between tries: each twice as long as the one before, with jitter, up to a limit.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// The pauses of one thing that is tried again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { pause: first.min(most), most }
    }

    /// The next pause is this long at least, if the limit lets it.
    pub(crate) fn at_least(&mut self, pause: Duration) {
        self.pause = self.pause.max(pause).min(self.most);
    }

    /// The pause to make now: half of what it has grown to, to all of it, so that collectors which
    /// failed together do not come back together.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(self.most);
        let random = RandomState::new().build_hasher().finish() % 1_000;
        pause / 2 + pause / 2 * u32::try_from(random).unwrap_or(0) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_never_fall_below_half() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1_000));
        for expected in [100, 200, 400, 800, 1_000, 1_000].map(ms) {
            let pause = backoff.next();
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
        }
        let mut backoff = Backoff::new(ms(100), ms(500));
        backoff.at_least(ms(1_000));
        assert!(backoff.next() >= ms(250));
        assert!(Backoff::new(ms(100), ms(10)).next() <= ms(10));
    }
}
